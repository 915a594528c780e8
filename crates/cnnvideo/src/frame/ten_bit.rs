// SPDX-License-Identifier: MIT OR Apache-2.0

//! 10-bit samples stored in 16-bit little-endian words: [`Lsb10`] and [`Msb10`].

use bytemuck::{Pod, Zeroable};

use super::Sample;
use crate::simd;

/// 10-bit code values per 8-bit code value.
const SCALE: f32 = 4.0;
/// Largest 10-bit code value.
const MAX: u16 = 1023;
/// Padding bits below a sample in the upper bits of its word.
const PADDING_BITS: u32 = 6;

/// 10-bit sample in the lower bits of a little-endian word, as in I420_10LE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Lsb10([u8; 2]);

/// 10-bit sample in the upper bits of a little-endian word, as in P010_10LE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Msb10([u8; 2]);

/// Returns the nearest 10-bit code value of an 8-bit code value with a fraction.
#[inline(always)]
fn quantise(code_value: f32) -> u16 {
    simd::round_clamped(code_value * SCALE, f32::from(MAX)) as u16
}

impl Sample for Lsb10 {
    const HAS_FRACTION: bool = true;

    #[inline(always)]
    fn code_value(self) -> f32 {
        // The upper bits should be zero, but nothing in a stream ensures it.
        f32::from(u16::from_le_bytes(self.0).min(MAX)) / SCALE
    }

    #[inline(always)]
    fn from_code_value(code_value: f32) -> Self {
        Self(quantise(code_value).to_le_bytes())
    }
}

impl Sample for Msb10 {
    const HAS_FRACTION: bool = true;

    #[inline(always)]
    fn code_value(self) -> f32 {
        f32::from(u16::from_le_bytes(self.0) >> PADDING_BITS) / SCALE
    }

    #[inline(always)]
    fn from_code_value(code_value: f32) -> Self {
        Self((quantise(code_value) << PADDING_BITS).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_round_trip_and_saturate() {
        for value in 0..=MAX {
            let code_value = f32::from(value) / 4.0;
            let lsb = Lsb10(value.to_le_bytes());
            assert_eq!((lsb.code_value(), Lsb10::from_code_value(code_value)), (code_value, lsb));
            let msb = Msb10((value << 6).to_le_bytes());
            assert_eq!((msb.code_value(), Msb10::from_code_value(code_value)), (code_value, msb));
        }
        for word in [MAX + 1, 0x8000, u16::MAX] {
            assert_eq!(Lsb10(word.to_le_bytes()).code_value(), 255.75);
        }
        for (code_value, value) in [(-3.0, 0), (256.0, 1023), (1e9, 1023), (f32::NAN, 0)] {
            assert_eq!(Lsb10::from_code_value(code_value), Lsb10(u16::to_le_bytes(value)));
            assert_eq!(Msb10::from_code_value(code_value), Msb10(u16::to_le_bytes(value << 6)));
        }
    }
}
