// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the int8 kernel sets against the portable one, and of that against float32.

use std::collections::BTreeSet;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// Output slices of an epilogue; `float` as bits, so that NaN compares equal.
#[derive(PartialEq, Debug, Default)]
struct Outputs {
    activations_u8: Vec<u8>,
    residuals_i16: Vec<i16>,
    float: Vec<u32>,
}

/// Returns weights in the order `[segment][input][output]` as a function of the index.
fn weights_by_index(weights: &[f32], shape: MatrixShape) -> impl Fn(WeightIndex) -> f32 {
    move |WeightIndex { segment, input, output }| {
        weights[(segment * shape.depth + input) * shape.outputs + output]
    }
}

#[test]
fn kernel_sets_agree_bit_for_bit_on_random_shapes() {
    let mut rng = StdRng::seed_from_u64(11);
    for round in 0..600 {
        let input_form = if rng.random_bool(0.7) { StorageForm::U8 } else { StorageForm::I16 };
        let (segments, depth) = (rng.random_range(1..=3), 4 * rng.random_range(1..=30));
        let (outputs, pixels) = (rng.random_range(1..=70), rng.random_range(0..=150));
        let shape = MatrixShape { segments, depth, outputs };
        let pitch = rng.random_range(1..=40);
        let length = pixels * pitch + depth;
        let bytes: Vec<Vec<u8>> =
            (0..segments).map(|_| (0..length).map(|_| rng.random()).collect()).collect();
        let words: Vec<Vec<i16>> =
            (0..segments).map(|_| (0..length).map(|_| rng.random()).collect()).collect();
        let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let words: Vec<&[i16]> = words.iter().map(Vec::as_slice).collect();
        let weights: Vec<f32> =
            (0..segments * depth * outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
        let bias: Vec<f32> = (0..outputs).map(|_| rng.random_range(-9.0..9.0)).collect();
        let residual: Vec<i16> = (0..pixels * outputs).map(|_| rng.random()).collect();
        let residual_in = rng.random::<bool>().then_some(residual.as_slice());
        let epilogue = rng.random_range(0..3);
        // Accumulators from small values to values far beyond the clamps.
        let output_scale = 10f32.powf(rng.random_range(-1.0..4.0))
            * if input_form == StorageForm::I16 { 128.0 } else { 1.0 };

        let compute = |kernels: Int8Kernels| {
            let weights = QuantisedWeights::new(
                kernels,
                MatrixToQuantise {
                    input_form,
                    zero_point: if epilogue == 1 { ZERO_POINT } else { 0 },
                    shape,
                    taps: segments * depth,
                    weight: &weights_by_index(&weights, shape),
                    bias: &bias,
                    scales: OutputScales { output: output_scale, residual: 0.37 },
                },
            );
            let count = pixels * outputs;
            let mut computed = Outputs::default();
            let mut float = vec![f32::NAN; count];
            let epilogue = match epilogue {
                0 => {
                    computed.activations_u8 = vec![77; count];
                    Epilogue::Relu { activations_u8: &mut computed.activations_u8 }
                }
                1 => {
                    computed.activations_u8 = vec![77; count];
                    computed.residuals_i16 = vec![77; count];
                    Epilogue::Signed {
                        residual_in,
                        residuals_i16: &mut computed.residuals_i16,
                        activations_u8: &mut computed.activations_u8,
                    }
                }
                _ => Epilogue::Float { out: &mut float },
            };
            let segments = match input_form {
                StorageForm::U8 => Segments::U8(&bytes),
                StorageForm::I16 => Segments::I16(&words),
            };
            kernels.run(Int8RowJob { segments, pitch, weights: &weights, epilogue });
            computed.float = float.iter().map(|v| v.to_bits()).collect();
            computed
        };
        let expected = compute(Int8Kernels::PORTABLE);
        for kernels in Int8Kernels::available() {
            assert_eq!(compute(kernels), expected, "{} round {round}", kernels.name());
        }
    }
}

#[test]
fn row_blocks_match_single_rows_bit_for_bit() {
    let mut rng = StdRng::seed_from_u64(12);
    let mut sets_with_row_blocks = BTreeSet::new();
    for round in 0..100 {
        let pitch = if round % 2 == 0 {
            4 * rng.random_range(1..=21)
        } else {
            16 * rng.random_range(1..=5)
        };
        let (depth, outputs, pixels) =
            (3 * pitch, rng.random_range(1..=70), rng.random_range(20..=110));
        let shape = MatrixShape { segments: 3, depth, outputs };
        // Some rounds use extreme values, which yield the largest possible accumulators.
        let extreme = rng.random_bool(0.2);
        let rows: [Vec<u8>; ROW_BLOCK + 2] = std::array::from_fn(|_| {
            let byte = |rng: &mut StdRng| {
                if extreme { 255 * rng.random_range(0..=1u8) } else { rng.random() }
            };
            (0..pixels * pitch + depth).map(|_| byte(&mut rng)).collect()
        });
        let weights: Vec<f32> = (0..3 * depth * outputs)
            .map(|_| {
                if extreme {
                    1.0f32.copysign(rng.random_range(-1.0..3.0))
                } else {
                    rng.random_range(-1.0..1.0)
                }
            })
            .collect();
        let residual: Vec<i16> = (0..pixels * outputs).map(|_| rng.random()).collect();
        let compute = |kernels: Int8Kernels| {
            let weights = QuantisedWeights::new(
                kernels,
                MatrixToQuantise {
                    input_form: StorageForm::U8,
                    zero_point: ZERO_POINT,
                    shape,
                    taps: 3 * depth,
                    weight: &weights_by_index(&weights, shape),
                    bias: &vec![0.3; outputs],
                    scales: OutputScales { output: 0.07, residual: 0.37 },
                },
            );
            let mut computed: [Outputs; ROW_BLOCK] = std::array::from_fn(|_| Outputs {
                activations_u8: vec![77; pixels * outputs],
                residuals_i16: vec![77; pixels * outputs],
                float: Vec::new(),
            });
            let epilogues = computed.each_mut().map(|row| Epilogue::Signed {
                residual_in: Some(&residual),
                residuals_i16: &mut row.residuals_i16,
                activations_u8: &mut row.activations_u8,
            });
            let segments = rows.each_ref().map(Vec::as_slice);
            let is_row_block = kernels.prefers_row_blocks(&weights, pixels);
            let job = Int8RowBlockJob { segments, pitch, weights: &weights, epilogues };
            kernels.run_row_block(job);
            (computed, is_row_block)
        };
        // The portable kernel set computes row by row.
        let (expected, _) = compute(Int8Kernels::PORTABLE);
        for kernels in Int8Kernels::available() {
            let (computed, is_row_block) = compute(kernels);
            assert_eq!(computed, expected, "{} round {round}", kernels.name());
            if is_row_block {
                sets_with_row_blocks.insert(kernels.name());
            }
        }
    }
    let available = Int8Kernels::available().into_iter().map(Int8Kernels::name);
    let expected = available.filter(|name| ["avx2", "avx512vnni"].contains(name)).collect();
    assert_eq!(sets_with_row_blocks, expected);
}

#[test]
fn portable_kernel_matches_float32() {
    let (depth, outputs, pixels) = (36, 5, 7);
    let shape = MatrixShape { segments: 1, depth, outputs };
    let mut rng = StdRng::seed_from_u64(5);
    let weights: Vec<f32> = (0..depth * outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
    let row: Vec<u8> = (0..pixels * 4 + depth).map(|_| rng.random()).collect();
    let quantised = QuantisedWeights::new(
        Int8Kernels::PORTABLE,
        MatrixToQuantise {
            input_form: StorageForm::U8,
            zero_point: ZERO_POINT,
            shape,
            taps: depth,
            weight: &weights_by_index(&weights, shape),
            bias: &[3.0; 5],
            scales: OutputScales { output: 1.0, residual: 1.0 },
        },
    );
    let mut out = vec![0.0; pixels * outputs];
    Int8Kernels::PORTABLE.run(Int8RowJob {
        segments: Segments::U8(&[&row]),
        pitch: 4,
        weights: &quantised,
        epilogue: Epilogue::Float { out: &mut out },
    });
    for x in 0..pixels {
        for o in 0..outputs {
            let exact: f32 = (0..depth)
                .map(|d| weights[d * outputs + o] * (f32::from(row[4 * x + d]) - 128.0))
                .sum();
            // The error of a weight is at most 1/254; the magnitude of a value is at most 128.
            let limit = depth as f32 * 128.0 / 254.0;
            assert!((out[x * outputs + o] - exact - 3.0).abs() < limit * 0.5, "{x} {o}");
        }
    }
}

#[test]
#[should_panic(expected = "reach")]
fn short_input_panics() {
    let matrix = MatrixToQuantise {
        input_form: StorageForm::U8,
        zero_point: 0,
        shape: MatrixShape { segments: 1, depth: 8, outputs: 1 },
        taps: 8,
        weight: &|_| 1.0,
        bias: &[0.0],
        scales: OutputScales { output: 1.0, residual: 1.0 },
    };
    let weights = QuantisedWeights::new(Int8Kernels::PORTABLE, matrix);
    Int8Kernels::PORTABLE.run(Int8RowJob {
        segments: Segments::U8(&[&[0; 8]]),
        pitch: 1,
        weights: &weights,
        epilogue: Epilogue::Float { out: &mut [0.0; 2] },
    });
}
