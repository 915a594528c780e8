// SPDX-License-Identifier: MIT OR Apache-2.0

//! Portable float32 kernel: plain Rust that the compiler vectorises for the baseline instruction
//! set of the target.

use super::{FloatRowJob, pack::LINE};

/// Pixels that share each load of weights.
const TILE: usize = 2;

/// Computes one row.
pub(super) fn run(mut job: FloatRowJob<'_>) {
    let pixels = job.check();
    let outputs = job.weights.shape().outputs;
    for first in (0..outputs).step_by(LINE) {
        let mut x = 0;
        while x + TILE <= pixels {
            tile::<TILE>(&mut job, first, x);
            x += TILE;
        }
        while x < pixels {
            tile::<1>(&mut job, first, x);
            x += 1;
        }
    }
}

/// Computes outputs `first..` of one block, of pixels `x..x + N`.
fn tile<const N: usize>(job: &mut FloatRowJob<'_>, first: usize, x: usize) {
    let (block, depth) = (first / LINE, job.weights.shape().depth);
    let weights = job.weights.block_lines(block);
    let mut sums = [job.weights.block_bias(block)[0].0; N];
    for (segment, weights) in job.segments.iter().zip(weights.chunks_exact(depth)) {
        let inputs: [&[f32]; N] = std::array::from_fn(|i| &segment[(x + i) * job.pitch..][..depth]);
        for (d, line) in weights.iter().enumerate() {
            for (sum, input) in sums.iter_mut().zip(&inputs) {
                let value = input[d];
                for (s, w) in sum.iter_mut().zip(&line.0) {
                    *s += value * w;
                }
            }
        }
    }
    let (outputs, range) = (job.weights.shape().outputs, job.activation.clamp_range());
    for (i, sum) in sums.iter().enumerate() {
        let at = (x + i) * outputs + first;
        let width = LINE.min(outputs - first);
        for o in 0..width {
            let value = sum[o] + job.residual.map_or(0.0, |residual| residual[at + o]);
            job.out[at + o] = range.map_or(value, |[min, max]| value.clamp(min, max));
        }
    }
}
