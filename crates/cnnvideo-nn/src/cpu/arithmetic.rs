//! Interface between the streaming executor and an arithmetic (float32, int8): the storage of
//! feature maps, and the computation of rows.

use std::{fmt::Debug, ops::Range};

pub(super) use super::kernels::TOGETHER;
use crate::{
    Source,
    arch::{Activation, ConvId},
};

/// Whether the values of a feature map can be negative. It determines the zero point of u8
/// activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// Values can be negative; the zero point is in the middle of the range.
    Signed,
    /// Values come from a ReLU or ReLU6; the zero point is 0.
    Positive,
}

/// Operations that read a stored feature map. They determine the storage forms that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Uses {
    /// A convolution reads it (u8 activations in int8).
    pub convolved: bool,
    /// A residual or skip connection adds it (i16 residuals in int8).
    pub added: bool,
}

impl Uses {
    /// Both kinds of reads.
    pub const ALL: Self = Self { convolved: true, added: true };
}

/// Storage of feature map values in the forms that an arithmetic needs. Ranges and lengths count
/// values.
pub(super) trait Rows: Debug + Send + Sync + 'static {
    /// Shared view of a range of values.
    type Ref<'a>: Copy;
    /// Mutable view of a range of values.
    type Mut<'a>: Send;

    /// Creates `count` zeros with storage for `uses`.
    fn zeros(count: usize, sign: Sign, uses: Uses) -> Self;

    /// Sets a range of values to zero.
    fn clear(&mut self, range: Range<usize>, sign: Sign);

    /// Returns a shared view of a range.
    fn view(&self, range: Range<usize>) -> Self::Ref<'_>;
    /// Returns a mutable view of a range.
    fn view_mut(&mut self, range: Range<usize>) -> Self::Mut<'_>;

    /// Returns a part of a shared view.
    fn part(rows: Self::Ref<'_>, range: Range<usize>) -> Self::Ref<'_>;
    /// Returns a part of a mutable view.
    fn part_mut<'a>(rows: &'a mut Self::Mut<'_>, range: Range<usize>) -> Self::Mut<'a>;
    /// Splits a mutable view in two at `at`.
    fn split(rows: Self::Mut<'_>, at: usize) -> (Self::Mut<'_>, Self::Mut<'_>);
    /// Returns the number of values in a view.
    fn length(rows: &Self::Mut<'_>) -> usize;

    /// Returns the destination of a row that is kept both in a ring buffer and in a whole map. Each
    /// storage form is written to the ring if later steps of the chain read it there (`uses`),
    /// otherwise directly to the map.
    fn placed<'a>(ring: Self::Mut<'a>, map: Self::Mut<'a>, uses: Uses) -> Self::Mut<'a>;
    /// Copies to a map the storage forms that [`Self::placed`] has directed to the ring.
    fn copy(ring: Self::Ref<'_>, map: Self::Mut<'_>, uses: Uses);
}

/// Shared view of the rows of an arithmetic.
pub(super) type RowsRef<'a, A> = <<A as Arithmetic>::Rows as Rows>::Ref<'a>;
/// Mutable view of the rows of an arithmetic.
pub(super) type RowsMut<'a, A> = <<A as Arithmetic>::Rows as Rows>::Mut<'a>;

/// Upper limit of the segments (runs of contiguous input values) of a convolution: the input rows
/// of a row block of a 3x3 convolution, or the five rows of a 5x5 depthwise kernel.
pub(super) const MAX_SEGMENTS: usize = TOGETHER + 2;

/// Location of the inputs of one output row of a convolution.
pub(super) struct Inputs<'a, A: Arithmetic> {
    /// The convolution.
    pub conv: ConvId,
    /// Index of the weight matrix: `Up2x2` has one for each of the two output rows of an input row,
    /// the others have one.
    pub matrix: usize,
    /// Input rows, from the first input of the first output pixel on. Only the first `count` are
    /// valid.
    pub segments: [RowsRef<'a, A>; MAX_SEGMENTS],
    /// Number of valid segments.
    pub count: usize,
    /// Distance between the inputs of neighbouring output pixels, in values.
    pub pitch: usize,
}

/// A model prepared to run in one arithmetic.
pub(super) trait Arithmetic: Debug + Send + Sync + Sized + 'static {
    /// Storage of feature maps.
    type Rows: Rows;

    /// The channels of the network's input are padded to a multiple of this.
    const INPUT_ALIGNMENT: usize;

    /// Name, as in the values of the property `precision`.
    const NAME: &'static str;

    /// Returns the name of the kernel set.
    fn kernels(&self) -> &'static str;

    /// Reads row `y` of the network's input into `row`. `scratch` has room for the row in float32.
    fn read(&self, source: &dyn Source, y: usize, scratch: &mut [f32], row: RowsMut<'_, Self>);

    /// Computes one row of a feature map: `out = activation(conv(inputs) + add)`.
    fn convolve(
        &self,
        inputs: &Inputs<'_, Self>,
        add: Option<RowsRef<'_, Self>>,
        activation: Activation,
        out: RowsMut<'_, Self>,
    );

    /// Returns whether the kernels compute rows of `width` pixels of this convolution faster as a
    /// row block ([`Self::convolve_rows`]).
    fn joins(&self, conv: ConvId, width: usize) -> bool;

    /// Computes a row block, [`TOGETHER`] consecutive rows of a 3x3 convolution. `inputs` holds the
    /// input rows of all of them.
    fn convolve_rows(
        &self,
        inputs: &Inputs<'_, Self>,
        add: [Option<RowsRef<'_, Self>>; TOGETHER],
        activation: Activation,
        out: [RowsMut<'_, Self>; TOGETHER],
    );

    /// Computes one row of the network's output.
    fn finish(&self, inputs: &Inputs<'_, Self>, out: &mut [f32]);
}
