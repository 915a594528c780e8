// SPDX-License-Identifier: MIT OR Apache-2.0

//! Portable int8 kernel in plain Rust. It defines the results that all other kernel sets reproduce.

use super::{Epilogue, Int8RowJob, RESIDUAL_BITS, Segments, ZERO_POINT, pack::LINE};

/// Computes one row.
pub(super) fn run(mut job: Int8RowJob<'_>) {
    let pixels = job.check();
    let outputs = job.weights.outputs();
    for first in (0..outputs).step_by(LINE) {
        let width = LINE.min(outputs - first);
        let (_, scales) = job.weights.block_scales(first);
        let scales: [f32; LINE] = std::array::from_fn(|o| scales[o]);
        for x in 0..pixels {
            let accumulators = match job.segments {
                Segments::U8(segments) => accumulate(&job, segments, first, x, |input, word| {
                    let weights = word.to_le_bytes();
                    (0..4).map(|i| i32::from(input[i]) * i32::from(weights[i] as i8)).sum()
                }),
                Segments::I16(segments) => accumulate(&job, segments, first, x, |input, word| {
                    let weights = [word as i16, (word >> 16) as i16];
                    (0..2).map(|i| i32::from(input[i]) * i32::from(weights[i])).sum()
                }),
            };
            let values =
                std::array::from_fn::<f32, LINE, _>(|o| accumulators[o] as f32 * scales[o]);
            apply_epilogue(&mut job, x * outputs + first, &values[..width]);
        }
    }
}

/// Returns the accumulators of pixel `x` for the outputs from `first` on, biases included.
/// `product` multiplies the input values of a word with a word of weights.
fn accumulate<T>(
    job: &Int8RowJob<'_>,
    segments: &[&[T]],
    first: usize,
    x: usize,
    product: impl Fn(&[T], u32) -> i32,
) -> [i32; LINE] {
    let (depth, words) = (job.weights.depth(), job.weights.words());
    let mut accumulators: [i32; LINE] =
        std::array::from_fn(|o| job.weights.block_scales(first).0[o]);
    for (segment, lines) in segments.iter().zip(job.weights.block_lines(first).chunks_exact(words))
    {
        let input = &segment[x * job.pitch..][..depth];
        for (input, line) in input.chunks_exact(depth / words).zip(lines) {
            for (sum, word) in accumulators.iter_mut().zip(line.0) {
                *sum = sum.wrapping_add(product(input, word));
            }
        }
    }
    accumulators
}

/// Applies the epilogue to the scaled accumulators `values`, whose outputs begin at index `at`.
fn apply_epilogue(job: &mut Int8RowJob<'_>, at: usize, values: &[f32]) {
    let residual_scale = job.weights.residual_scale();
    match &mut job.epilogue {
        Epilogue::Relu { activations_u8 } => {
            for (to, t) in activations_u8[at..].iter_mut().zip(values) {
                *to = round(t.clamp(0.0, 255.0)) as u8;
            }
        }
        Epilogue::Signed { residual_in, residuals_i16, activations_u8 } => {
            for (i, t) in values.iter().enumerate() {
                let t = residual_in
                    .map_or(*t, |residual| t + f32::from(residual[at + i]) * residual_scale);
                let value = round(t.clamp(-32768.0, 32767.0));
                residuals_i16[at + i] = value as i16;
                activations_u8[at + i] = requantise(value as i16);
            }
        }
        Epilogue::Float { out } => out[at..][..values.len()].copy_from_slice(values),
    }
}

/// Requantises an i16 residual to a u8 activation.
fn requantise(residual: i16) -> u8 {
    let rounded = (i32::from(residual) + (1 << (RESIDUAL_BITS - 1))) >> RESIDUAL_BITS;
    (rounded.clamp(-128, 127) + i32::from(ZERO_POINT)) as u8
}

/// Rounds a number of magnitude below 2^22 to the nearest integer, ties to even, without a call to
/// the C library. After the addition of 1.5 * 2^23, the significand has no bits left for the
/// fraction.
fn round(value: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (value + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}
