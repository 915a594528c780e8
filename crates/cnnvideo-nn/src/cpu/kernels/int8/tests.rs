//! Tests of the int8 kernel sets against the portable one, and of that against float32.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// Output slices of an epilogue; `float` as bits, so that NaN compares equal.
#[derive(PartialEq, Debug, Default)]
struct Made {
    coarse: Vec<u8>,
    fine: Vec<i16>,
    float: Vec<u32>,
}

#[test]
fn kernels_agree_bit_for_bit_on_random_shapes() {
    let mut rng = StdRng::seed_from_u64(11);
    for round in 0..600 {
        let input = if rng.random_bool(0.7) { Input::Coarse } else { Input::Fine };
        let (segments, depth) = (rng.random_range(1..=3), 4 * rng.random_range(1..=30));
        let (outputs, pixels) = (rng.random_range(1..=70), rng.random_range(0..=150));
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
        let add: Vec<i16> = (0..pixels * outputs).map(|_| rng.random()).collect();
        let add = rng.random::<bool>().then_some(add.as_slice());
        let finish = rng.random_range(0..3);
        // Accumulators from small values to values far beyond the clamps.
        let step = 10f32.powf(rng.random_range(-1.0..4.0))
            * if input == Input::Fine { 128.0 } else { 1.0 };

        let compute = |kernels: Kernels| {
            let packed = Packed::new(
                kernels,
                Quantised {
                    input,
                    zero: if finish == 1 { ZERO } else { 0 },
                    segments,
                    depth,
                    outputs,
                    taps: segments * depth,
                    weight: &|s, d, o| weights[(s * depth + d) * outputs + o],
                    bias: &bias,
                    step,
                    ratio: 0.37,
                },
            );
            let count = pixels * outputs;
            let mut made = Made::default();
            let mut float = vec![f32::NAN; count];
            let finish = match finish {
                0 => {
                    made.coarse = vec![77; count];
                    Finish::Relu { coarse: &mut made.coarse }
                }
                1 => {
                    (made.coarse, made.fine) = (vec![77; count], vec![77; count]);
                    Finish::Signed { add, fine: &mut made.fine, coarse: &mut made.coarse }
                }
                _ => Finish::Float { out: &mut float },
            };
            let segments = match input {
                Input::Coarse => Segments::Coarse(&bytes),
                Input::Fine => Segments::Fine(&words),
            };
            kernels.run(RowJob { segments, pitch, weights: &packed, finish });
            made.float = float.iter().map(|v| v.to_bits()).collect();
            made
        };
        let expected = compute(Kernels::PORTABLE);
        for kernels in Kernels::available() {
            assert_eq!(compute(kernels), expected, "{} round {round}", kernels.name());
        }
    }
}

#[test]
fn rows_together_are_what_they_are_one_by_one() {
    let mut rng = StdRng::seed_from_u64(12);
    let mut joined = 0;
    for round in 0..100 {
        let pitch = 4 * rng.random_range(1..=21);
        let (depth, outputs, pixels) =
            (3 * pitch, rng.random_range(1..=40), rng.random_range(20..=80));
        // Some rounds use extreme values, which yield the largest possible accumulators.
        let extreme = rng.random_bool(0.2);
        let rows: [Vec<u8>; TOGETHER + 2] = std::array::from_fn(|_| {
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
        let add: Vec<i16> = (0..pixels * outputs).map(|_| rng.random()).collect();
        let compute = |kernels: Kernels| {
            let packed = Packed::new(
                kernels,
                Quantised {
                    input: Input::Coarse,
                    zero: ZERO,
                    segments: 3,
                    depth,
                    outputs,
                    taps: 3 * depth,
                    weight: &|s, d, o| weights[(s * depth + d) * outputs + o],
                    bias: &vec![0.3; outputs],
                    step: 0.07,
                    ratio: 0.37,
                },
            );
            let mut made: [Made; TOGETHER] = std::array::from_fn(|_| Made {
                coarse: vec![77; pixels * outputs],
                fine: vec![77; pixels * outputs],
                float: Vec::new(),
            });
            let finish = made.each_mut().map(|made| Finish::Signed {
                add: Some(&add),
                fine: &mut made.fine,
                coarse: &mut made.coarse,
            });
            let segments = rows.each_ref().map(Vec::as_slice);
            let joins = kernels.joins(&packed, pixels);
            kernels.run_rows(RowsJob { segments, pitch, weights: &packed, finish });
            (made, joins)
        };
        let (expected, _) = compute(Kernels::PORTABLE);
        for kernels in Kernels::available() {
            let (made, joins) = compute(kernels);
            assert_eq!(made, expected, "{} round {round}", kernels.name());
            joined += usize::from(joins);
        }
    }
    assert_eq!(joined > 0, Kernels::available().iter().any(|kernels| kernels.name() == "avx2"));
}

#[test]
fn a_convolution_is_what_it_is_in_floats() {
    let (depth, outputs, pixels) = (36, 5, 7);
    let mut rng = StdRng::seed_from_u64(5);
    let weights: Vec<f32> = (0..depth * outputs).map(|_| rng.random_range(-1.0..1.0)).collect();
    let row: Vec<u8> = (0..pixels * 4 + depth).map(|_| rng.random()).collect();
    let packed = Packed::new(
        Kernels::PORTABLE,
        Quantised {
            input: Input::Coarse,
            zero: ZERO,
            segments: 1,
            depth,
            outputs,
            taps: depth,
            weight: &|_, d, o| weights[d * outputs + o],
            bias: &[3.0; 5],
            step: 1.0,
            ratio: 1.0,
        },
    );
    let mut out = vec![0.0; pixels * outputs];
    let finish = Finish::Float { out: &mut out };
    Kernels::PORTABLE.run(RowJob {
        segments: Segments::Coarse(&[&row]),
        pitch: 4,
        weights: &packed,
        finish,
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
fn short_input_is_refused() {
    let quantised = Quantised {
        input: Input::Coarse,
        zero: 0,
        segments: 1,
        depth: 8,
        outputs: 1,
        taps: 8,
        weight: &|_, _, _| 1.0,
        bias: &[0.0],
        step: 1.0,
        ratio: 1.0,
    };
    let packed = Packed::new(Kernels::PORTABLE, quantised);
    let finish = Finish::Float { out: &mut [0.0; 2] };
    Kernels::PORTABLE.run(RowJob {
        segments: Segments::Coarse(&[&[0; 8]]),
        pitch: 1,
        weights: &packed,
        finish,
    });
}
