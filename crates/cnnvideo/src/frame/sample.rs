// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sample types of components ([`Sample`]): 8 bits, fixed point and floating point.

use crate::simd;

/// Sample of a component.
pub trait Sample: bytemuck::Pod + PartialEq + Send + Sync {
    /// Whether samples can lie between two 8-bit code values.
    const HAS_FRACTION: bool;

    /// Returns the code value on the 8-bit scale. Samples of more than 8 bits have a fraction.
    fn code_value(self) -> f32;
    /// Returns the sample nearest to a code value on the 8-bit scale. Saturates at the type's
    /// range.
    fn from_code_value(code_value: f32) -> Self;
}

impl Sample for u8 {
    const HAS_FRACTION: bool = false;

    #[inline(always)]
    fn code_value(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn from_code_value(code_value: f32) -> Self {
        simd::round_clamped(code_value, 255.0) as u8
    }
}

/// Code value in 16-bit fixed point, in units of 1/128, relative to mid-grey (128).
///
/// For intermediate pictures. The range of -128 to 384 leaves headroom below black and above white,
/// for noise and overshoot of interpolation.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct FixedSample(pub(crate) i16);

impl FixedSample {
    /// Units in one 8-bit code value.
    const SCALE: f32 = 128.0;
    /// Code value that is stored as 0.
    const ZERO: f32 = 128.0;
    /// Code values from the smallest representable one to black.
    const HEADROOM: f32 = -(i16::MIN as f32) / Self::SCALE - Self::ZERO;

    /// Returns the sample in units of fixed point, for sums; see [`Self::mean`].
    #[inline(always)]
    pub(crate) fn units(self) -> i32 {
        i32::from(self.0)
    }

    /// Returns the mean code value of `count` samples from the sum of their units.
    pub(crate) fn mean(units: i32, count: usize) -> f32 {
        units as f32 / count as f32 * (1.0 / Self::SCALE) + Self::ZERO
    }

    /// Returns the nearest integer code value, clamped to 0 to 255.
    #[inline(always)]
    pub(crate) fn to_u8(self) -> u8 {
        const HALF: i16 = FixedSample::SCALE as i16 / 2;
        const SHIFT: u32 = (FixedSample::SCALE as u32).ilog2();
        ((self.0.saturating_add(HALF) >> SHIFT) + Self::ZERO as i16).clamp(0, 255) as u8
    }
}

impl Default for FixedSample {
    fn default() -> Self {
        Self::from_code_value(0.0)
    }
}

impl Sample for FixedSample {
    const HAS_FRACTION: bool = true;

    #[inline(always)]
    fn code_value(self) -> f32 {
        f32::from(self.0) * (1.0 / Self::SCALE) + Self::ZERO
    }

    #[inline(always)]
    fn from_code_value(code_value: f32) -> Self {
        let units =
            simd::round_clamped((code_value + Self::HEADROOM) * Self::SCALE, f32::from(u16::MAX));
        Self((units as u16 ^ 0x8000).cast_signed())
    }
}

/// For intermediate pictures: code values on the 8-bit scale, without limits.
impl Sample for f32 {
    const HAS_FRACTION: bool = true;

    #[inline(always)]
    fn code_value(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_code_value(code_value: f32) -> Self {
        code_value
    }
}
