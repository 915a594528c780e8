//! Pictures as typed views of their components, for all pixel formats.
//!
//! A component (Y, U, V, R, G, B or alpha) is a two-dimensional array with a row stride and a
//! column stride. So an `ndarray` view represents it in planar, semi-planar and packed formats,
//! with padded strides, odd sizes and single fields of interlaced pictures. Views are generic over
//! the sample type ([`Sample`]). Main types: [`Picture`], [`PictureMut`], [`Format`], [`Regions`].

mod deep;
mod format;
mod halve;
mod interpolate;
pub(crate) mod levels;
pub mod luma;
mod picture;
pub(crate) mod reduce;
mod regions;
pub(crate) mod unshuffle;

pub use deep::{High10, Low10};
pub use format::{Colour, Format, Place};
pub(crate) use halve::halve;
pub use interpolate::cubic;
pub use picture::{Picture, PictureMut, Plane, PlaneMut};
pub use regions::Regions;

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
    /// Width or height is 0.
    #[error("a picture of {width}x{height} has no pixels; width and height must be at least 1")]
    Empty {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
}

/// Sample of a component.
pub trait Sample: bytemuck::Pod + Send + Sync {
    /// Returns the code value on the 8-bit scale. Samples of more than 8 bits have a fraction.
    fn level(self) -> f32;
    /// Returns the sample nearest to a code value on the 8-bit scale. Saturates at the type's
    /// range.
    fn from_level(level: f32) -> Self;
}

impl Sample for u8 {
    #[inline(always)]
    fn level(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn from_level(level: f32) -> Self {
        crate::simd::nearest(level, 255.0) as u8
    }
}

/// Code value in 16-bit fixed point, in units of 1/128, relative to mid-grey (128).
///
/// For intermediate pictures. The range of -128 to 384 leaves headroom below black and above white,
/// for noise and overshoot of interpolation.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Fixed(pub(crate) i16);

impl Fixed {
    /// Units in one 8-bit code value.
    const STEPS: f32 = 128.0;
    /// Code value that is stored as 0.
    const GREY: f32 = 128.0;
    /// Code values from the smallest representable one to black.
    const BELOW: f32 = -(i16::MIN as f32) / Self::STEPS - Self::GREY;

    /// Returns the nearest integer code value, clamped to 0 to 255.
    #[inline(always)]
    pub(crate) fn byte(self) -> u8 {
        const HALF: i16 = Fixed::STEPS as i16 / 2;
        const SHIFT: u32 = (Fixed::STEPS as u32).ilog2();
        ((self.0.saturating_add(HALF) >> SHIFT) + Self::GREY as i16).clamp(0, 255) as u8
    }
}

impl Default for Fixed {
    fn default() -> Self {
        Self::from_level(0.0)
    }
}

impl Sample for Fixed {
    #[inline(always)]
    fn level(self) -> f32 {
        f32::from(self.0) * (1.0 / Self::STEPS) + Self::GREY
    }

    #[inline(always)]
    fn from_level(level: f32) -> Self {
        let steps = crate::simd::nearest((level + Self::BELOW) * Self::STEPS, f32::from(u16::MAX));
        Self((steps as u16 ^ 0x8000).cast_signed())
    }
}

/// For intermediate pictures: code values on the 8-bit scale, without limits.
impl Sample for f32 {
    #[inline(always)]
    fn level(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_level(level: f32) -> Self {
        level
    }
}
