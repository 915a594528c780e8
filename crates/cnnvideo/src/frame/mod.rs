// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures as typed views of their components, for all pixel formats.
//!
//! A component (Y, U, V, R, G, B or alpha) is a two-dimensional array with a row stride and a
//! column stride. So an `ndarray` view represents it in planar, semi-planar and packed formats,
//! with padded strides, odd sizes and single fields of interlaced pictures. Views are generic over
//! the sample type ([`Sample`]). Main types: [`Picture`], [`PictureMut`], [`Format`], [`Regions`].

pub(crate) mod box_mean;
pub(crate) mod convert;
pub(crate) mod dither;
mod field;
mod format;
pub(crate) mod interpolate;
pub mod luma;
mod picture;
mod pyramid;
mod reduce_2x2;
mod regions;
pub(crate) mod resample;
mod sample;
mod ten_bit;
pub mod training;
pub(crate) mod unshuffle;

pub use field::Field;
pub use format::{Colour, ComponentLayout, Format};
pub use picture::{Picture, PictureMut, Plane, PlaneMut};
pub(crate) use pyramid::{OddSize, Pyramid};
pub(crate) use reduce_2x2::reduce_2x2;
pub use regions::Regions;
pub use sample::{FixedSample, Sample};
pub use ten_bit::{Lsb10, Msb10};

/// Errors of [`Picture::new`] and [`PictureMut::new`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A plane of the format is not among the given planes.
    #[error("plane {plane} is missing")]
    MissingPlane {
        /// Index of the plane.
        plane: usize,
    },
    /// The memory or the stride of a plane is too small.
    #[error("plane {plane} with a stride of {stride} samples is too small for {width}x{height}")]
    TooSmall {
        /// Index of the plane.
        plane: usize,
        /// Samples from one row to the next.
        stride: usize,
        /// Width of the component.
        width: usize,
        /// Height of the component.
        height: usize,
    },
    /// A plane exceeds the memory of its frame.
    #[error(
        "plane {plane} takes {extent} bytes from offset {offset}, but the memory has {memory} bytes"
    )]
    OutsideMemory {
        /// Index of the plane.
        plane: usize,
        /// Bytes before the first sample of the plane.
        offset: usize,
        /// Bytes from the first to the last sample of the plane.
        extent: usize,
        /// Bytes of memory.
        memory: usize,
    },
    /// The stride of a plane is negative, shorter than a row or not a whole number of samples.
    #[error(
        "plane {plane} has a stride of {stride} bytes; it must be at least {row} bytes (one row) \
         and a multiple of {sample}"
    )]
    InvalidStride {
        /// Index of the plane.
        plane: usize,
        /// Bytes from one row to the next.
        stride: i32,
        /// Bytes of a row.
        row: usize,
        /// Bytes of a sample.
        sample: usize,
    },
    /// The memory of a plane is not aligned to its sample type.
    #[error("plane {plane} is not aligned to {alignment} bytes")]
    Misaligned {
        /// Index of the plane.
        plane: usize,
        /// Alignment of a sample in bytes.
        alignment: usize,
    },
    /// Two planes that are to be written share memory.
    #[error("planes {plane} and {other} overlap in memory, so they cannot be written")]
    Overlap {
        /// Index of one plane.
        plane: usize,
        /// Index of the other plane.
        other: usize,
    },
    /// Width or height is 0.
    #[error("a picture of {width}x{height} has no pixels; width and height must be at least 1")]
    Empty {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
}
