//! Plain Rust, the definition of what the others compute.

use super::{FINE_BITS, Finish, RowJob, Segments, ZERO, pack::LINE};

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

/// The coarse form of a fine value.
fn coarse_of(fine: i16) -> u8 {
    let steps = (i32::from(fine) + (1 << (FINE_BITS - 1))) >> FINE_BITS;
    (steps.clamp(-128, 127) + i32::from(ZERO)) as u8
}

/// Rounds a number below 2^22, ties to even, without a call to the C library: after the addition its fraction no longer
/// fits the significand.
fn round(value: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (value + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}
