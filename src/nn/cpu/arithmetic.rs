//! What the schedule of layers leaves open: of which numbers feature maps are, and how a row is computed.

use std::{fmt::Debug, ops::Range};

pub(super) use super::kernels::TOGETHER;
use crate::nn::{
    Source,
    arch::{Activation, ConvId},
};

/// Whether a feature map can be negative. It decides what stands for zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Signed,
    /// After a ReLU.
    Positive,
}

/// What a map in memory is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Uses {
    pub convolved: bool,
    pub added: bool,
}

impl Uses {
    pub const ALL: Self = Self { convolved: true, added: true };
}

/// Values of feature maps in memory.
pub(super) trait Rows: Debug + Send + Sync + 'static {
    type Ref<'a>: Copy;
    type Mut<'a>: Send;

    /// `count` zeros that are kept for `uses`.
    fn zeros(count: usize, sign: Sign, uses: Uses) -> Self;

    /// Sets values to zero.
    fn clear(&mut self, range: Range<usize>, sign: Sign);

    fn view(&self, range: Range<usize>) -> Self::Ref<'_>;
    fn view_mut(&mut self, range: Range<usize>) -> Self::Mut<'_>;

    fn part(rows: Self::Ref<'_>, range: Range<usize>) -> Self::Ref<'_>;
    fn part_mut<'a>(rows: &'a mut Self::Mut<'_>, range: Range<usize>) -> Self::Mut<'a>;
    fn split(rows: Self::Mut<'_>, at: usize) -> (Self::Mut<'_>, Self::Mut<'_>);
    fn length(rows: &Self::Mut<'_>) -> usize;

    /// Where a row is to be written that is kept in a map and in a ring, of which `uses` are read: to the map but for these.
    fn placed<'a>(ring: Self::Mut<'a>, map: Self::Mut<'a>, uses: Uses) -> Self::Mut<'a>;
    /// Copies from a ring what a map keeps of it and is not written there, see [`Self::placed`].
    fn copy(ring: Self::Ref<'_>, map: Self::Mut<'_>, uses: Uses);
}

pub(super) type RowsRef<'a, A> = <<A as Arithmetic>::Rows as Rows>::Ref<'a>;
pub(super) type RowsMut<'a, A> = <<A as Arithmetic>::Rows as Rows>::Mut<'a>;

/// Most runs of neighbouring values that a convolution reads: those of as many rows, or five.
pub(super) const MAX_SEGMENTS: usize = TOGETHER + 2;

/// Where the inputs of one row of a convolution lie.
pub(super) struct Inputs<'a, A: Arithmetic> {
    pub conv: ConvId,
    /// Which of the matrices of the convolution: `Up2x2` has one for each of two rows.
    pub matrix: usize,
    /// The first `count` are meant.
    pub segments: [RowsRef<'a, A>; MAX_SEGMENTS],
    pub count: usize,
    /// Values from the input of one output pixel to that of the next.
    pub pitch: usize,
}

/// A model made ready to run in some arithmetic.
pub(super) trait Arithmetic: Debug + Send + Sync + Sized + 'static {
    type Rows: Rows;

    /// Channels of the network's input are padded to a multiple of this.
    const INPUT_ALIGNMENT: usize;

    /// As the property `precision` calls it.
    const NAME: &'static str;

    fn kernels(&self) -> &'static str;

    /// Takes row `y` of the network's input. `scratch` has room for it.
    fn read(&self, source: &dyn Source, y: usize, scratch: &mut [f32], row: RowsMut<'_, Self>);

    /// Computes a row of a feature map.
    fn convolve(
        &self,
        inputs: &Inputs<'_, Self>,
        add: Option<RowsRef<'_, Self>>,
        activation: Activation,
        out: RowsMut<'_, Self>,
    );

    /// Whether rows of `width` pixels of this convolution are better made together.
    fn joins(&self, conv: ConvId, width: usize) -> bool;

    /// Computes neighbouring rows of a feature map, by a 3x3 convolution. `inputs` are those of all of them.
    fn convolve_rows(
        &self,
        inputs: &Inputs<'_, Self>,
        add: [Option<RowsRef<'_, Self>>; TOGETHER],
        activation: Activation,
        out: [RowsMut<'_, Self>; TOGETHER],
    );

    /// Computes a row of the network's output.
    fn finish(&self, inputs: &Inputs<'_, Self>, out: &mut [f32]);
}
