// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests that all backends and kernel sets compute the same output for the same weights.

use cnnvideo_nn::{
    Network, Size,
    cpu::{FloatKernels, FloatNetwork, Int8Kernels, Int8Network},
    model::Quantisation,
};

use crate::networks::{
    GUIDE, LOW_NOISE_LIMIT, REGION, RGB, YUV420, quantised_model, random_input, random_model, run,
};

/// A twentieth of an 8-bit code value, in units of the networks (0 to 1).
const TOLERANCE: f32 = 0.05 / 255.0;

/// Asserts that two outputs agree within the tolerance and are not zero.
fn assert_close(name: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "{name}: largest difference {worst}");
    assert!(a.iter().any(|v| v.abs() > 1e-3), "{name}: the output is zero");
}

const SIZES: [(usize, usize); 5] = [(4, 4), (8, 12), (20, 100), (132, 68), (320, 180)];

#[test]
fn kernel_sets_and_threads_agree() {
    for signature in [RGB, YUV420, GUIDE, REGION] {
        let model = random_model(signature, 3);
        for (width, height) in SIZES {
            let size = Size { width, height };
            let picture = random_input(size, signature.io.input_channels(), 5);
            let reference =
                FloatNetwork::with_kernels(model.clone(), FloatKernels::PORTABLE).unwrap();
            let expected = run(&reference, &picture, 1);
            for kernels in FloatKernels::available() {
                let network = FloatNetwork::with_kernels(model.clone(), kernels).unwrap();
                for threads in [1, 2, 5] {
                    let name = format!("{} {width}x{height} {threads} threads", network.backend());
                    assert_close(&name, &run(&network, &picture, threads), &expected);
                }
            }
        }
    }
}

#[test]
fn int8_kernel_sets_and_threads_agree_bit_for_bit() {
    for signature in [RGB, YUV420, GUIDE] {
        let model = quantised_model(signature, 3);
        for (width, height) in SIZES {
            let size = Size { width, height };
            let max_control = if width % 3 == 0 { LOW_NOISE_LIMIT } else { f32::INFINITY };
            let picture =
                random_input(size, signature.io.input_channels(), 5).with_max_control(max_control);
            let reference =
                Int8Network::with_kernels(model.clone(), Int8Kernels::PORTABLE).unwrap();
            let expected = run(&reference, &picture, 1);
            for kernels in Int8Kernels::available() {
                let network = Int8Network::with_kernels(model.clone(), kernels).unwrap();
                for threads in [1, 2, 5] {
                    let same = run(&network, &picture, threads) == expected;
                    assert!(same, "{} {width}x{height} {threads} threads", network.backend());
                }
            }
        }
    }
}

#[test]
fn int8_is_close_to_float32() {
    for signature in [RGB, YUV420, GUIDE] {
        let model = quantised_model(signature, 9);
        let picture =
            random_input(Size { width: 132, height: 68 }, signature.io.input_channels(), 5);
        let exact = run(&FloatNetwork::new(model.clone()).unwrap(), &picture, 2);
        let rounded = run(&Int8Network::new(model).unwrap(), &picture, 2);
        let power =
            |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v * v)).sum::<f64>();
        let error = power(&mut exact.iter().zip(&rounded).map(|(a, b)| a - b));
        let ratio = 10.0 * (power(&mut exact.iter().copied()) / error).log10();
        assert!(ratio > 30.0, "{signature:?}: signal to quantisation noise {ratio:.1} dB");
    }
}

#[test]
fn low_noise_scales_are_used_where_control_maps_are_low() {
    let model = quantised_model(YUV420, 7);
    let quantisation = model.quantisation().unwrap().clone();
    let picture = random_input(Size { width: 132, height: 68 }, YUV420.io.input_channels(), 5);
    let expected = |activation_scales: &[f32]| {
        let scales = quantisation.input_scales.clone();
        let quantisation = Quantisation::new(scales, activation_scales.to_vec());
        let model = model.clone().with_quantisation(quantisation).unwrap();
        run(&Int8Network::new(model).unwrap(), &picture, 2)
    };
    let general = expected(&quantisation.activation_scales);
    let low_noise = expected(&quantisation.low_noise[0].activation_scales);
    assert_ne!(general, low_noise);
    let network = Int8Network::new(model.clone()).unwrap();
    for (max_control, expected) in
        [(0.0, &low_noise), (LOW_NOISE_LIMIT, &low_noise), (0.11, &general), (f32::NAN, &general)]
    {
        let picture = picture.clone().with_max_control(max_control);
        assert!(run(&network, &picture, 2) == *expected, "{max_control}");
    }
}

#[cfg(feature = "torch")]
#[test]
fn libtorch_agrees_with_the_embedded_engine() {
    use cnnvideo_nn::{Device, torch::TorchNetwork};
    for signature in [RGB, YUV420, GUIDE, REGION] {
        let model = random_model(signature, 4);
        let torch = TorchNetwork::new(&model, Device::Cpu).unwrap();
        let cpu = FloatNetwork::new(model).unwrap();
        for (width, height) in SIZES {
            let picture = random_input(Size { width, height }, signature.io.input_channels(), 6);
            assert_close(
                &format!("{width}x{height}"),
                &run(&torch, &picture, 2),
                &run(&cpu, &picture, 2),
            );
        }
    }
}

#[cfg(feature = "torch")]
#[test]
fn torchscript_files_run() {
    use cnnvideo_nn::{Device, Error, torch::TorchNetwork};
    let path = std::env::temp_dir().join(format!("cnnvideo-script-{}.pt", std::process::id()));
    // A network that returns the first six of its eight input channels as noise.
    let mut identity = |inputs: &[tch::Tensor]| vec![inputs[0].narrow(1, 0, 6) * 1.0];
    let example = tch::Tensor::zeros([1, 8, 16, 16], (tch::Kind::Float, tch::Device::Cpu));
    let module =
        tch::CModule::create_by_tracing("script", "forward", &[example], &mut identity).unwrap();
    module.save(&path).unwrap();

    let load = || TorchNetwork::from_script(&path, Device::Cpu, &[RGB, YUV420]);
    let network = load().unwrap();
    assert!(YUV420.matches(&network));
    let picture = random_input(Size { width: 24, height: 16 }, 8, 8);
    let expected: Vec<f32> =
        picture.values().chunks(8).flat_map(|pixel| pixel[..6].to_vec()).collect();
    assert_eq!(run(&network, &picture, 1), expected);

    std::fs::write(&path, b"no script").unwrap();
    assert!(matches!(load(), Err(Error::Read { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(load(), Err(Error::NotFound(_))));
}
