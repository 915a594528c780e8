// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ordered dither of smooth areas ([`add_dither`]), so that gradients do not band when a more
//! precise result is rounded to 8 bits.
//!
//! Dither doubles the error of rounding, so it is limited to areas that would band: elsewhere,
//! texture and noise break up the steps.

use crate::simd::vectorise;

/// Distances, in samples, at which the values along a row are compared.
const REACH: [usize; 2] = [3, 8];
/// Largest difference at these distances, in 8-bit code values, in a smooth area. Bands of a
/// steeper gradient are too narrow to be visible.
const MAX_STEP: f32 = 1.0;
/// Steps of the phase of the pattern per column and row, as fractions of 2^32: the reciprocals of
/// the plastic number and of its square, whose multiples fill the unit interval evenly (Roberts,
/// "The unreasonable effectiveness of quasirandom sequences", 2018).
const PHASE_STEP: [u32; 2] = [0xc13f_a9a9, 0x91e1_0da5];
/// Range of the offsets in code values. Less than 1 keeps the error of dither smaller: it turns the
/// steps between bands into ramps, and whole code values stay what they are.
const RANGE: f32 = 0.7;

/// Returns the dither pattern at a sample of a row with a phase of [`row_phase`], evenly
/// distributed from -0.5 to 0.5.
#[inline(always)]
pub(crate) fn pattern(x: u32, row_phase: u32) -> f32 {
    let phase = row_phase.wrapping_add(x.wrapping_mul(PHASE_STEP[0]));
    // Folding the phase to a triangle wave avoids diagonal lines in the pattern.
    let distance = phase.cast_signed().unsigned_abs();
    distance as f32 * (1.0 / (1u64 << 31) as f32) - 0.5
}

/// Returns the phase of the pattern in row `y`.
pub(crate) fn row_phase(y: usize) -> u32 {
    (y as u32).wrapping_mul(PHASE_STEP[1])
}

/// Writes `values`, row `y` of a component on the 8-bit scale, to the row `to` of the same length,
/// with dither in smooth areas. Rounding `to` to 8 bits completes the dither.
///
/// # Panics
/// Panics if the rows differ in length.
pub(crate) fn add_dither(values: &[f32], y: usize, to: &mut [f32]) {
    assert_eq!(values.len(), to.len(), "both are rows of one component");
    let count = values.len();
    let row_phase = row_phase(y);
    let margin = REACH[1].min(count);
    let inner = margin..count.saturating_sub(margin).max(margin);
    for x in (0..inner.start).chain(inner.end..count) {
        let [near, far] = REACH
            .map(|reach| [x.saturating_sub(reach), (x + reach).min(count - 1)].map(|x| values[x]));
        to[x] = dithered(values[x], near, far, x as u32, row_phase);
    }
    if !inner.is_empty() {
        let to = &mut to[inner.clone()];
        vectorise(
            #[inline(always)]
            || add_to_inner(values, inner.start, row_phase, to),
        );
    }
}

/// Returns the value of a sample with dither if its neighbours, two at each of the distances
/// [`REACH`], show a smooth area.
#[inline(always)]
fn dithered(value: f32, near: [f32; 2], far: [f32; 2], x: u32, row_phase: u32) -> f32 {
    // Written out, because closures over arrays are not always inlined into vectorised loops.
    let near = (value - near[0]).abs().max((value - near[1]).abs());
    let far = (value - far[0]).abs().max((value - far[1]).abs());
    if near.max(far) <= MAX_STEP { value + RANGE * pattern(x, row_phase) } else { value }
}

/// Writes the samples from `first` on, all of which have neighbours at the distances [`REACH`].
#[inline(always)]
fn add_to_inner(values: &[f32], first: usize, row_phase: u32, to: &mut [f32]) {
    let count = to.len();
    let at = |start: usize| values[start..start + count].iter();
    let near = at(first - REACH[0]).zip(at(first + REACH[0]));
    let far = at(first - REACH[1]).zip(at(first + REACH[1]));
    let all = to.iter_mut().zip(at(first)).zip(near).zip(far);
    for ((((to, value), near), far), x) in all.zip(first as u32..) {
        *to = dithered(*value, [*near.0, *near.1], [*far.0, *far.1], x, row_phase);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView1};

    use super::*;
    use crate::frame::Sample;

    fn dither(values: &[f32], y: usize) -> Vec<u8> {
        let mut to = vec![0.0; values.len()];
        add_dither(values, y, &mut to);
        to.into_iter().map(u8::from_code_value).collect()
    }

    /// Returns the root mean square error of the means of 9x9 samples.
    fn error_of_means(truth: &Array2<f32>, result: &Array2<u8>) -> f32 {
        let means = |plane: &Array2<f32>| {
            let windows = plane.windows((9, 9));
            windows.into_iter().map(|window| window.mean().unwrap()).collect::<Vec<_>>()
        };
        let (truth, result) = (means(truth), means(&result.mapv(f32::from)));
        let squares = truth.iter().zip(&result).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        (squares / truth.len() as f32).sqrt()
    }

    #[test]
    fn means_of_dithered_gradients_are_close() {
        for (slope_x, slope_y) in [(0.02, 0.0), (0.0, 0.02), (0.013, 0.021), (0.03, 0.004)] {
            let truth = Array2::from_shape_fn((64, 200), |(y, x)| {
                90.3 + slope_x * x as f32 + slope_y * y as f32
            });
            let mut dithered = Array2::<u8>::zeros(truth.dim());
            for (y, row) in truth.rows().into_iter().enumerate() {
                let dithered_row = dither(row.as_slice().unwrap(), y);
                dithered.row_mut(y).assign(&ArrayView1::from(&dithered_row));
            }
            let rounded = truth.mapv(u8::from_code_value);
            let [error, error_of_rounded] =
                [&dithered, &rounded].map(|result| error_of_means(&truth, result));
            assert!(
                error < 0.1 && error_of_rounded > 2.5 * error,
                "{slope_x} {slope_y}: {error}, rounded {error_of_rounded}"
            );
        }
    }

    #[test]
    fn whole_code_values_and_texture_are_rounded() {
        for count in [1, 5, 16, 17, 40] {
            let whole: Vec<f32> = (0..count).map(|x| 100.0 + (x / 9) as f32).collect();
            let texture: Vec<f32> = (0..count).map(|x| 60.3 + 5.0 * (x % 2) as f32).collect();
            for values in [&whole, &texture[..if count > 5 { count } else { 0 }]] {
                for y in 0..50 {
                    let to = dither(values, y);
                    let rounded: Vec<u8> = values.iter().map(|v| v.round() as u8).collect();
                    assert_eq!(to, rounded, "{count} {y}");
                }
            }
        }
    }
}
