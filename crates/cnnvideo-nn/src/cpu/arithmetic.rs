// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interface between the streaming executor and an arithmetic (float32, int8): the storage of
//! feature maps, and the computation of rows.

use std::{fmt::Debug, ops::Range};

use super::kernels::ROW_BLOCK;
use crate::{
    Source,
    arch::{Activation, ConvId},
};

/// Whether the values of a feature map can be negative. It determines the zero point of u8
/// activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signedness {
    /// Values can be negative; the zero point is in the middle of the range.
    Signed,
    /// Values come from a ReLU or ReLU6; the zero point is 0.
    NonNegative,
}

/// Operations that read a stored feature map. They determine the storage forms that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reads {
    /// A convolution reads it (u8 activations in int8).
    pub convolved: bool,
    /// A residual or skip connection adds it (i16 residuals in int8).
    pub added: bool,
}

impl Reads {
    /// Both kinds of reads.
    pub(super) const ALL: Self = Self { convolved: true, added: true };
}

/// Storage of feature map values in the forms that an arithmetic needs. Ranges and lengths count
/// values.
pub(super) trait Storage: Debug + Send + Sync + 'static {
    /// Shared view of a range of values.
    type Ref<'a>: Copy;
    /// Mutable view of a range of values.
    type Mut<'a>: Send;

    /// Creates `count` zeros with storage for `reads`.
    fn zeros(count: usize, sign: Signedness, reads: Reads) -> Self;

    /// Sets a range of values to zero.
    fn clear(&mut self, range: Range<usize>, sign: Signedness);

    /// Returns a shared view of a range.
    fn view(&self, range: Range<usize>) -> Self::Ref<'_>;
    /// Returns a mutable view of a range.
    fn view_mut(&mut self, range: Range<usize>) -> Self::Mut<'_>;

    /// Returns a part of a shared view.
    fn slice(rows: Self::Ref<'_>, range: Range<usize>) -> Self::Ref<'_>;
    /// Returns a part of a mutable view.
    fn slice_mut<'a>(rows: &'a mut Self::Mut<'_>, range: Range<usize>) -> Self::Mut<'a>;
    /// Splits a mutable view in two at `index`.
    fn split_at(rows: Self::Mut<'_>, index: usize) -> (Self::Mut<'_>, Self::Mut<'_>);
    /// Returns the number of values in a view.
    fn len(rows: &Self::Mut<'_>) -> usize;

    /// Returns the destination of a row that is kept both in a ring buffer and in a whole map. Each
    /// storage form is written to the ring if later steps of the chain read it there (`reads`),
    /// otherwise directly to the map.
    fn destination<'a>(ring: Self::Mut<'a>, map: Self::Mut<'a>, reads: Reads) -> Self::Mut<'a>;
    /// Copies to a map the storage forms that [`Self::destination`] has directed to the ring.
    fn copy_to_map(ring: Self::Ref<'_>, map: Self::Mut<'_>, reads: Reads);
}

/// Shared view of the rows of an arithmetic.
pub(super) type StorageRef<'a, A> = <<A as Arithmetic>::Storage as Storage>::Ref<'a>;
/// Mutable view of the rows of an arithmetic.
pub(super) type StorageMut<'a, A> = <<A as Arithmetic>::Storage as Storage>::Mut<'a>;

/// Upper limit of the segments (runs of contiguous input values) of a convolution: the input rows
/// of a row block of a 3x3 convolution, or the five rows of a 5x5 depthwise kernel.
pub(super) const MAX_SEGMENTS: usize = ROW_BLOCK + 2;

/// Location of the inputs of one output row of a convolution.
pub(super) struct ConvInputs<'a, A: Arithmetic> {
    /// The convolution.
    pub conv: ConvId,
    /// Index of the weight matrix: `Transposed2x2` has one for each of the two output rows of an
    /// input row, the others have one.
    pub matrix: usize,
    /// Input rows, from the first input of the first output pixel on. Only the first `count` are
    /// valid.
    pub segments: [StorageRef<'a, A>; MAX_SEGMENTS],
    /// Number of valid segments.
    pub count: usize,
    /// Distance between the inputs of neighbouring output pixels, in values.
    pub pitch: usize,
}

/// A model prepared to run in one arithmetic.
pub(super) trait Arithmetic: Debug + Send + Sync + Sized + 'static {
    /// Storage of feature maps.
    type Storage: Storage;

    /// The channels of the network's input are padded to a multiple of this.
    const INPUT_ALIGNMENT: usize;

    /// Whether row blocks start at multiples of [`ROW_BLOCK`]. Otherwise they start anywhere, for
    /// less work at the edges of bands. With float32, a row in a block differs from a single row in
    /// the last bits, and alignment makes the result independent of the division into bands.
    const ALIGNED_ROW_BLOCKS: bool;

    /// Name, as in the values of the property `precision`.
    const NAME: &'static str;

    /// Returns the name of the kernel set.
    fn kernel_set(&self) -> &'static str;

    /// Reads row `y` of the network's input into `row`. `scratch` has room for the row in float32.
    fn read_input(
        &self,
        source: &dyn Source,
        y: usize,
        scratch: &mut [f32],
        row: StorageMut<'_, Self>,
    );

    /// Computes one row of a feature map: `out = activation(conv(inputs) + residual)`.
    fn convolve(
        &self,
        inputs: &ConvInputs<'_, Self>,
        residual: Option<StorageRef<'_, Self>>,
        activation: Activation,
        out: StorageMut<'_, Self>,
    );

    /// Returns whether the kernels compute rows of `width` pixels of this convolution faster as a
    /// row block ([`Self::convolve_row_block`]).
    fn prefers_row_blocks(&self, conv: ConvId, width: usize) -> bool;

    /// Computes a row block, [`ROW_BLOCK`] consecutive rows of a 3x3 convolution. `inputs` holds
    /// the input rows of all of them.
    fn convolve_row_block(
        &self,
        inputs: &ConvInputs<'_, Self>,
        residuals: [Option<StorageRef<'_, Self>>; ROW_BLOCK],
        activation: Activation,
        out: [StorageMut<'_, Self>; ROW_BLOCK],
    );

    /// Computes one row of the network's output.
    fn convolve_output(&self, inputs: &ConvInputs<'_, Self>, out: &mut [f32]);
}
