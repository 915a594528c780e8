//! Pictures as typed views of their components, whatever the pixel format.
//!
//! A component (Y, U, V, R, G, B or alpha) of any supported format is a two-dimensional array with some distance
//! between rows and between neighbouring values, so an `ndarray` view of it is right for planar, semi-planar and packed
//! formats, padded strides, odd sizes and single fields of interlaced pictures alike. Views are generic over the sample
//! type, so that deeper formats need no new code here.

mod deep;
mod format;
mod halve;
mod interpolate;
pub(crate) mod levels;
pub(crate) mod luma;
mod picture;
pub(crate) mod reduce;
mod regions;
pub(crate) mod unshuffle;

pub use deep::{High10, Low10};
pub use format::{Colour, Format, Place};
pub(crate) use halve::halve;
pub(crate) use interpolate::cubic;
pub use picture::{Picture, PictureMut, Plane, PlaneMut};
pub use regions::Regions;

/// What can be wrong with the memory of a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("plane {plane} is missing")]
    MissingPlane { plane: usize },
    #[error("plane {plane} with a stride of {stride} is too small for {width}x{height}")]
    TooSmall { plane: usize, stride: usize, width: usize, height: usize },
    #[error("a picture of {width}x{height} is empty")]
    Empty { width: usize, height: usize },
}

/// A sample of a component.
pub trait Sample: bytemuck::Pod + Send + Sync {
    /// As a value from 0 to 255, deeper samples with a fraction.
    fn level(self) -> f32;
    /// The nearest sample; levels out of range give the nearest end.
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

/// For pictures in memory: a level in 16 bits, with 128 steps to each, from medium grey. There is room beyond black and white, where noise and
/// interpolation lead.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Fixed(pub(crate) i16);

impl Fixed {
    const STEPS: f32 = 128.0;
    const GREY: f32 = 128.0;
    /// Levels between black and what the lowest number stands for.
    const BELOW: f32 = -(i16::MIN as f32) / Self::STEPS - Self::GREY;

    /// The nearest whole level from 0 to 255.
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

/// For pictures in memory, with values of any size.
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
