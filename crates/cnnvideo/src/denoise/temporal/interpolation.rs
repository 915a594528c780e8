// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interpolation filter of motion compensation: Lanczos weights in fixed point for each sub-pixel
//! position ([`LanczosWeights`]).

use std::sync::LazyLock;

/// Number of taps of the interpolation filter in each direction.
pub(super) const TAPS: usize = 6;
/// Number of sub-pixel positions per pixel. Rounding to them means that content that rests near a
/// whole pixel is not interpolated again with each picture.
pub(super) const SUBPIXEL_POSITIONS: usize = 32;
/// Interpolation weights for each sub-pixel position.
pub(super) static WEIGHTS: LazyLock<[LanczosWeights; SUBPIXEL_POSITIONS]> = LazyLock::new(|| {
    std::array::from_fn(|i| LanczosWeights::new(lanczos(i as f32 / SUBPIXEL_POSITIONS as f32)))
});

/// Interpolation weights in fixed point. Sums take 16 bits, so that each vector instruction
/// processes as many values as possible.
pub(super) struct LanczosWeights {
    /// Fractional part of each weight in units of 2^-16. With the whole parts they sum to exactly
    /// 1.
    fractions: [i16; TAPS],
    /// All bits set for each of the two middle taps that has a whole part of 1.
    whole: [i16; 2],
    /// Mean total loss of rounding the products down, added to the sum to avoid a bias.
    rounding_bias: i16,
}

impl LanczosWeights {
    /// Index of the first of the two middle taps.
    const MIDDLE: usize = TAPS / 2 - 1;

    /// Converts weights with a sum of 1, each between -1/2 and 1/2, or up to 3/2 in the middle.
    fn new(weights: [f32; TAPS]) -> Self {
        let middle = Self::MIDDLE..Self::MIDDLE + 2;
        let whole: [bool; TAPS] = std::array::from_fn(|i| middle.contains(&i) && weights[i] >= 0.5);
        let fraction =
            |i: usize| ((weights[i] - f32::from(u8::from(whole[i]))) * 65536.0).round() as i32;
        let mut fractions: [i32; TAPS] = std::array::from_fn(fraction);
        let sum = fractions.iter().sum::<i32>()
            + (whole.iter().filter(|whole| **whole).count() as i32) * 65536;
        // The rounding remainder goes to a tap with a whole part, whose fraction is far from the
        // limits of i16.
        fractions[Self::MIDDLE + usize::from(!whole[Self::MIDDLE])] -= sum - 65536;
        Self {
            fractions: fractions
                .map(|fraction| fraction.clamp(i16::MIN.into(), i16::MAX.into()) as i16),
            whole: [0, 1].map(|i| if whole[Self::MIDDLE + i] { -1 } else { 0 }),
            rounding_bias: (fractions.iter().filter(|fraction| **fraction != 0).count() / 2) as i16,
        }
    }

    /// Returns the weighted sum of neighbouring values.
    #[inline(always)]
    pub(super) fn sum(&self, neighbours: [i16; TAPS]) -> i16 {
        let mut sum = self.rounding_bias;
        for (weight, value) in self.fractions.iter().zip(neighbours) {
            sum = sum.saturating_add(((i32::from(value) * i32::from(*weight)) >> 16) as i16);
        }
        let [a, b] = [0, 1].map(|i| neighbours[Self::MIDDLE + i] & self.whole[i]);
        sum.saturating_add(a).saturating_add(b)
    }
}

/// Returns the Lanczos weights for a position `fraction` of the way from the third tap to the
/// fourth.
pub(super) fn lanczos(fraction: f32) -> [f32; TAPS] {
    const RADIUS: f32 = TAPS as f32 / 2.0;
    let distance = |i: usize| i as f32 - (RADIUS - 1.0) - fraction;
    if let Some(exact) = (0..TAPS).find(|i| distance(*i).abs() < 1e-4) {
        return std::array::from_fn(|i| if i == exact { 1.0 } else { 0.0 });
    }
    // One of the two sines only changes its sign from tap to tap; its magnitude cancels in the
    // normalisation.
    let weights: [f32; TAPS] = std::array::from_fn(|i| {
        let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
        sign * (std::f32::consts::PI / RADIUS * distance(i)).sin() / distance(i).powi(2)
    });
    let sum: f32 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_point_weights_sum_to_one_and_sums_saturate() {
        for weights in WEIGHTS.iter().skip(1) {
            let whole = weights.whole.iter().filter(|whole| **whole != 0).count() as i32;
            assert_eq!(
                weights.fractions.iter().map(|fraction| i32::from(*fraction)).sum::<i32>()
                    + 65536 * whole,
                65536
            );
            for value in [-16384, -77, 0, 5000, 16384] {
                assert!(
                    (weights.sum([value; TAPS]) - value).abs() <= 3,
                    "{value}: {}",
                    weights.sum([value; TAPS])
                );
            }
            const SIGNS: [i16; TAPS] = [i16::MAX, i16::MIN, i16::MAX, i16::MAX, i16::MIN, i16::MAX];
            // The largest sums that can occur.
            assert!(weights.sum(SIGNS) == i16::MAX && weights.sum(SIGNS.map(|v| !v)) == i16::MIN);
        }
    }

    #[test]
    fn weights_match_the_lanczos_formula() {
        let sinc = |x: f64| {
            if x == 0.0 {
                1.0
            } else {
                (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x)
            }
        };
        for fraction in [0.0f32, 1e-5, 1e-3, 0.1, 0.25, 0.5, 0.77, 0.999] {
            let formula = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0].map(|n: f64| n - f64::from(fraction));
            let formula =
                formula.map(|d| if d.abs() < 3.0 { sinc(d) * sinc(d / 3.0) } else { 0.0 });
            let sum: f64 = formula.iter().sum();
            for (found, formula) in lanczos(fraction).iter().zip(formula) {
                assert!(
                    (f64::from(*found) - formula / sum).abs() < 1e-4,
                    "{fraction}: {found} {}",
                    formula / sum
                );
            }
        }
    }
}
