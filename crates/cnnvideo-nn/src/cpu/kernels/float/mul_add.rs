// SPDX-License-Identifier: MIT OR Apache-2.0

//! Multiply-add with one rounding, on all processors.

use pulp::{Simd, bytemuck};

/// Multiply-add of vectors with one rounding.
pub(super) trait MulAdd {
    /// Returns `a * b + c`, rounded once.
    fn mul_add<S: Simd>(isa: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s;
}

/// The instruction of the processor.
pub(super) struct Native;

impl MulAdd for Native {
    #[inline(always)]
    fn mul_add<S: Simd>(isa: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        isa.mul_add_f32s(a, b, c)
    }
}

/// Plain Rust for processors without the instruction. `f32::mul_add` would call a function of the
/// C library for each value.
pub(super) struct Emulated;

impl MulAdd for Emulated {
    #[inline(always)]
    fn mul_add<S: Simd>(_: S, a: S::f32s, b: S::f32s, mut c: S::f32s) -> S::f32s {
        let [a, b] = [&a, &b].map(|v| bytemuck::cast_slice::<_, f32>(std::slice::from_ref(v)));
        let sums = bytemuck::cast_slice_mut::<_, f32>(std::slice::from_mut(&mut c));
        for ((a, b), sum) in a.iter().zip(b).zip(sums) {
            *sum = mul_add(*a, *b, *sum);
        }
        c
    }
}

/// Returns `a * b + c`, rounded once.
///
/// The product is exact in `f64`. The sum is rounded to odd there, so that the second rounding, to
/// `f32`, gives the nearest value (Boldo and Melquiond, "Emulation of a FMA and Correctly Rounded
/// Sums: Proved Algorithms Using Rounding to Odd", IEEE Transactions on Computers 57(4), 2008).
#[inline(always)]
pub(super) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // Error of the sum (Knuth's TwoSum); NaN if the sum is infinite.
    let part = sum - product;
    let error = (product - (sum - part)) + (c - part);
    let is_inexact = (error > 0.0) | (error < 0.0);
    let bits = sum.to_bits();
    let is_even = bits & 1 == 0;
    // An even sum moves to its odd neighbour in the direction of the error.
    let step = if (error > 0.0) == (sum > 0.0) { 1 } else { u64::MAX };
    let odd = bits.wrapping_add(if is_inexact & is_even { step } else { 0 });
    f64::from_bits(odd) as f32
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::mul_add;

    #[test]
    fn emulation_equals_the_fused_operation() {
        let mut rng = StdRng::seed_from_u64(1);
        // Any bit pattern, and values of similar size, whose sums cancel.
        for _ in 0..1_000_000 {
            let [a, b, c] = std::array::from_fn(|_| f32::from_bits(rng.random()));
            let [d, e] = std::array::from_fn(|_| rng.random_range(-2.0..2.0f32));
            let near = f32::from_bits((-(d * e)).to_bits().wrapping_add(rng.random_range(0..4)));
            for [a, b, c] in [[a, b, c], [d, e, near], [d, e, rng.random_range(-1e-6..1e-6)]] {
                let (found, expected) = (mul_add(a, b, c), a.mul_add(b, c));
                assert!(
                    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                    "{a:e} * {b:e} + {c:e}: {found:e}, not {expected:e}"
                );
            }
        }
    }
}
