//! Portable int8 kernel in plain Rust. It defines the results that all other kernel sets reproduce.

use super::{FINE_BITS, Finish, RowJob, Segments, ZERO, pack::LINE};

/// Computes one row.
pub(super) fn run(mut job: RowJob<'_>) {
    let pixels = job.check();
    let outputs = job.weights.outputs();
    for first in (0..outputs).step_by(LINE) {
        let width = LINE.min(outputs - first);
        let (_, scales) = job.weights.block_scales(first);
        let scales: [f32; LINE] = std::array::from_fn(|o| scales[o]);
        for x in 0..pixels {
            let sums = match job.segments {
                Segments::Coarse(segments) => sums(&job, segments, first, x, |input, word| {
                    let weights = word.to_le_bytes();
                    (0..4).map(|i| i32::from(input[i]) * i32::from(weights[i] as i8)).sum()
                }),
                Segments::Fine(segments) => sums(&job, segments, first, x, |input, word| {
                    let weights = [word as i16, (word >> 16) as i16];
                    (0..2).map(|i| i32::from(input[i]) * i32::from(weights[i])).sum()
                }),
            };
            let values = std::array::from_fn::<f32, LINE, _>(|o| sums[o] as f32 * scales[o]);
            finish(&mut job.finish, job.weights.ratio(), x * outputs + first, &values[..width]);
        }
    }
}

/// Returns the accumulators of pixel `x` for the outputs from `first` on, biases included.
/// `product` multiplies the input values of a word with a word of weights.
fn sums<T>(
    job: &RowJob<'_>,
    segments: &[&[T]],
    first: usize,
    x: usize,
    product: impl Fn(&[T], u32) -> i32,
) -> [i32; LINE] {
    let (depth, words) = (job.weights.depth(), job.weights.words());
    let mut sums: [i32; LINE] = std::array::from_fn(|o| job.weights.block_scales(first).0[o]);
    for (segment, lines) in segments.iter().zip(job.weights.block_lines(first).chunks_exact(words))
    {
        let input = &segment[x * job.pitch..][..depth];
        for (input, line) in input.chunks_exact(depth / words).zip(lines) {
            for (sum, word) in sums.iter_mut().zip(line.0) {
                *sum = sum.wrapping_add(product(input, word));
            }
        }
    }
    sums
}

/// Applies the epilogue to the outputs `values` at index `at` of the slices.
fn finish(finish: &mut Finish<'_>, ratio: f32, at: usize, values: &[f32]) {
    match finish {
        Finish::Relu { coarse } => {
            for (to, t) in coarse[at..].iter_mut().zip(values) {
                *to = round(t.clamp(0.0, 255.0)) as u8;
            }
        }
        Finish::Signed { add, fine, coarse } => {
            for (i, t) in values.iter().enumerate() {
                let t = add.map_or(*t, |add| t + f32::from(add[at + i]) * ratio);
                let value = round(t.clamp(-32768.0, 32767.0));
                fine[at + i] = value as i16;
                coarse[at + i] = coarse_of(value as i16);
            }
        }
        Finish::Float { out } => out[at..][..values.len()].copy_from_slice(values),
    }
}

/// Requantises an i16 residual to a u8 activation.
fn coarse_of(fine: i16) -> u8 {
    let steps = (i32::from(fine) + (1 << (FINE_BITS - 1))) >> FINE_BITS;
    (steps.clamp(-128, 127) + i32::from(ZERO)) as u8
}

/// Rounds a number of magnitude below 2^22 to the nearest integer, ties to even, without a call to
/// the C library. After the addition of 1.5 * 2^23, the significand has no bits left for the
/// fraction.
fn round(value: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (value + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}
