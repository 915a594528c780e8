// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packing of weights for i16 residuals.

use super::config::chunk_bytes;
use crate::cpu::{
    kernels::int8::pack::{LINE, WordLine},
    matrix::{MatrixShape, WeightIndex},
};

/// Largest magnitude of weights for i16 residuals: the sum of two 8-bit weights.
const MAX_SPLIT_WEIGHT: i32 = 2 * i8::MAX as i32;
/// Weight matrices per chunk of i16 residuals.
pub(super) const SPLIT_MATRICES: usize = 4;

/// Packs weights for i16 residuals, which AMX multiplies as separate low and high bytes. Each
/// weight is the sum of two 8-bit weights. A chunk of a segment therefore has four matrices: two
/// for the low bytes of the residuals and two for the high bytes, with zeros at the positions of
/// the other bytes. Returns `None` if a weight exceeds [`MAX_SPLIT_WEIGHT`], or if there are more
/// outputs than one vector holds.
pub(in crate::cpu::kernels::int8) fn pack(
    MatrixShape { segments, depth, outputs }: MatrixShape,
    weight: &dyn Fn(WeightIndex) -> i32,
) -> Option<Vec<WordLine>> {
    if outputs > LINE {
        return None;
    }
    let words = chunk_bytes(2 * depth) / 4;
    let mut lines = Vec::with_capacity(segments * depth / 2 * SPLIT_MATRICES);
    for segment in 0..segments {
        for first in (0..depth / 2).step_by(words) {
            // Whether the matrix is for the high bytes, and whether it has the second summands.
            for (high, second) in [(false, false), (false, true), (true, false), (true, true)] {
                for word in first..first + words {
                    let mut line = WordLine([0; LINE]);
                    for (output, line) in line.0.iter_mut().enumerate().take(outputs) {
                        for i in 0..2 {
                            let input = 2 * word + i;
                            let weight = weight(WeightIndex { segment, input, output });
                            if weight.abs() > MAX_SPLIT_WEIGHT {
                                return None;
                            }
                            let summand = weight.clamp(-i32::from(i8::MAX), i8::MAX.into());
                            let byte = if second { weight - summand } else { summand };
                            *line |= (byte as u32 & 0xff) << (16 * i + if high { 8 } else { 0 });
                        }
                    }
                    lines.push(line);
                }
            }
        }
    }
    Some(lines)
}
