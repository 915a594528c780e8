//! 10-bit samples stored in 16-bit little-endian words: [`Low10`] and [`High10`].

use bytemuck::{Pod, Zeroable};

use super::Sample;
use crate::simd;

/// 10-bit code values per 8-bit code value.
const STEPS: f32 = 4.0;
/// Largest 10-bit code value.
const LARGEST: u16 = 1023;
/// Padding bits below a sample in the upper bits of its word.
const BELOW: u32 = 6;

/// 10-bit sample in the lower bits of a little-endian word, as in I420_10LE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Low10([u8; 2]);

/// 10-bit sample in the upper bits of a little-endian word, as in P010_10LE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct High10([u8; 2]);

/// Returns the nearest 10-bit code value of an 8-bit code value with a fraction.
#[inline(always)]
fn nearest(level: f32) -> u16 {
    simd::nearest(level * STEPS, f32::from(LARGEST)) as u16
}

impl Sample for Low10 {
    #[inline(always)]
    fn level(self) -> f32 {
        f32::from(u16::from_le_bytes(self.0)) / STEPS
    }

    #[inline(always)]
    fn from_level(level: f32) -> Self {
        Self(nearest(level).to_le_bytes())
    }
}

impl Sample for High10 {
    #[inline(always)]
    fn level(self) -> f32 {
        f32::from(u16::from_le_bytes(self.0) >> BELOW) / STEPS
    }

    #[inline(always)]
    fn from_level(level: f32) -> Self {
        Self((nearest(level) << BELOW).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_comes_back_and_levels_beyond_the_range_give_its_ends() {
        for value in 0..=LARGEST {
            let level = f32::from(value) / 4.0;
            assert_eq!(
                (Low10(value.to_le_bytes()).level(), Low10::from_level(level).0),
                (level, value.to_le_bytes())
            );
            let high = value << 6;
            assert_eq!(
                (High10(high.to_le_bytes()).level(), High10::from_level(level).0),
                (level, high.to_le_bytes())
            );
        }
        for (level, value) in [(-3.0, 0), (256.0, 1023), (1e9, 1023), (f32::NAN, 0)] {
            assert_eq!(Low10::from_level(level), Low10(u16::to_le_bytes(value)));
            assert_eq!(High10::from_level(level), High10(u16::to_le_bytes(value << 6)));
        }
    }
}
