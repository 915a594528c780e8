// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the float32 kernel sets: against plain sums, and bit for bit against each other.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    arch::{Activation, DepthwiseWindow},
    cpu::matrix::{MatrixShape, WeightIndex},
};

const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Relu6];

fn values(rng: &mut StdRng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Packs weights in the order `[segment][input][output]`.
fn pack(kernels: FloatKernels, shape: MatrixShape, weights: &[f32], bias: &[f32]) -> PackedWeights {
    let weight = |WeightIndex { segment, input, output }: WeightIndex| {
        weights[(segment * shape.depth + input) * shape.outputs + output]
    };
    PackedWeights::new(kernels, shape, weight, bias)
}

#[test]
fn kernel_sets_agree_on_random_shapes() {
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..400 {
        let (segments, depth) = (rng.random_range(1..=3), rng.random_range(1..=100));
        let outputs = rng.random_range(1..=70);
        let shape = MatrixShape { segments, depth, outputs };
        let pixels = rng.random_range(0..=40);
        let pitch = rng.random_range(1..=40);
        let input: Vec<Vec<f32>> =
            (0..segments).map(|_| values(&mut rng, (pixels + 1) * pitch + depth)).collect();
        let input: Vec<&[f32]> = input.iter().map(Vec::as_slice).collect();
        let weights = values(&mut rng, segments * depth * outputs);
        let bias = values(&mut rng, outputs);
        let residual = values(&mut rng, pixels * outputs);
        let residual = rng.random::<bool>().then_some(residual.as_slice());
        let activation = ACTIVATIONS[rng.random_range(0..3)];

        let compute = |kernels: FloatKernels| {
            let weights = pack(kernels, shape, &weights, &bias);
            let mut out = vec![f32::NAN; pixels * outputs];
            kernels.run(FloatRowJob {
                segments: &input,
                pitch,
                weights: &weights,
                residual,
                activation,
                out: &mut out,
            });
            out
        };
        let expected = compute(FloatKernels::PORTABLE);
        for (i, value) in expected.iter().enumerate() {
            let (x, output) = (i / outputs, i % outputs);
            let products = input.iter().enumerate().flat_map(|(segment, values)| {
                let weights = weights[segment * depth * outputs + output..].iter().step_by(outputs);
                values[x * pitch..][..depth].iter().zip(weights)
            });
            let sum: f64 = products.map(|(v, w)| f64::from(*v) * f64::from(*w)).sum();
            let sum = sum as f32 + bias[output] + residual.map_or(0.0, |residual| residual[i]);
            let sum = activation.clamp_range().map_or(sum, |[min, max]| sum.clamp(min, max));
            assert!((value - sum).abs() <= 1e-4, "round {round} value {i}: {value} {sum}");
        }
        for kernels in FloatKernels::available() {
            assert_eq!(compute(kernels), expected, "{} round {round}", kernels.name());
        }
    }
}

#[test]
fn row_blocks_match_single_rows() {
    let mut rng = StdRng::seed_from_u64(9);
    let mut row_blocks = 0;
    for round in 0..150 {
        let (channels, outputs) = (8 * rng.random_range(1..=10), rng.random_range(1..=90));
        let shape = MatrixShape { segments: 3, depth: 3 * channels, outputs };
        let pixels = rng.random_range(1..=120);
        let segments: [Vec<f32>; ROW_BLOCK + 2] =
            std::array::from_fn(|_| values(&mut rng, (pixels + 2) * channels));
        let weights = values(&mut rng, 9 * channels * outputs);
        let bias = values(&mut rng, outputs);
        let residuals: [Vec<f32>; ROW_BLOCK] =
            std::array::from_fn(|_| values(&mut rng, pixels * outputs));
        let has_residual: bool = rng.random();
        let activation = ACTIVATIONS[rng.random_range(0..3)];
        let mut of_first_set = None;
        for kernels in FloatKernels::available() {
            let weights = pack(kernels, shape, &weights, &bias);
            let mut block: [_; ROW_BLOCK] =
                std::array::from_fn(|_| vec![f32::NAN; pixels * outputs]);
            let mut single = block.clone();
            let mut job = FloatRowBlockJob {
                segments: segments.each_ref().map(Vec::as_slice),
                pitch: channels,
                weights: &weights,
                residuals: residuals.each_ref().map(|row| has_residual.then_some(row.as_slice())),
                activation,
                out: single.each_mut().map(Vec::as_mut_slice),
            };
            (0..ROW_BLOCK).for_each(|y| kernels.run(job.row(y)));
            kernels.run_row_block(FloatRowBlockJob {
                out: block.each_mut().map(Vec::as_mut_slice),
                ..job
            });
            for (a, b) in block.iter().flatten().zip(single.iter().flatten()) {
                assert!((a - b).abs() <= 1e-3, "{} round {round}: {a} {b}", kernels.name());
            }
            row_blocks += usize::from(kernels.prefers_row_blocks(&weights, pixels));
            let expected = of_first_set.get_or_insert_with(|| block.clone());
            assert!(block == *expected, "{} round {round}", kernels.name());
        }
    }
    assert!(row_blocks > 0);
}

#[test]
fn depthwise_kernels_match_a_plain_sum() {
    let mut rng = StdRng::seed_from_u64(8);
    for round in 0..200 {
        let kernel_size = [3, 5][rng.random_range(0..2)];
        let window = DepthwiseWindow { kernel_size, stride: rng.random_range(1..=2) };
        let (channels, pixels) = (rng.random_range(1..=70), rng.random_range(0..=20));
        let length = (pixels * window.stride + kernel_size) * channels;
        let rows: Vec<Vec<f32>> = (0..kernel_size).map(|_| values(&mut rng, length)).collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let weights: Vec<f32> = values(&mut rng, kernel_size * kernel_size * channels);
        let bias = values(&mut rng, channels);
        let packed = PackedDepthwise::new(window, &weights, &bias);
        let mut of_first_set = None;
        for kernels in FloatKernels::available() {
            let mut out = vec![f32::NAN; pixels * channels];
            kernels.run_depthwise(DepthwiseJob {
                segments: &rows,
                pitch: window.stride * channels,
                weights: &packed,
                out: &mut out,
            });
            for (i, value) in out.iter().enumerate() {
                let (x, c) = (i / channels, i % channels);
                let mut sum = bias[c];
                for dy in 0..kernel_size {
                    for dx in 0..kernel_size {
                        let input = rows[dy][(x * window.stride + dx) * channels + c];
                        sum += weights[(c * kernel_size + dy) * kernel_size + dx] * input;
                    }
                }
                assert!(
                    (value - sum.clamp(0.0, 6.0)).abs() < 1e-4,
                    "{} round {round}: {value} {sum}",
                    kernels.name()
                );
            }
            let expected = of_first_set.get_or_insert_with(|| out.clone());
            assert!(out == *expected, "{} round {round}", kernels.name());
        }
    }
}

#[test]
#[should_panic(expected = "reach")]
fn short_input_panics() {
    let shape = MatrixShape { segments: 1, depth: 8, outputs: 1 };
    let weights = pack(FloatKernels::PORTABLE, shape, &[1.0; 8], &[0.0]);
    FloatKernels::PORTABLE.run(FloatRowJob {
        segments: &[&[0.0; 8]],
        pitch: 1,
        weights: &weights,
        residual: None,
        activation: Activation::None,
        out: &mut [0.0; 2],
    });
}
