//! Tests that all backends and kernel sets compute the same output for the same weights.

use cnnvideo_nn::{
    Network, Size,
    cpu::{FloatNetwork, Int8Network, kernels::float::Kernels, kernels::int8},
    model::Quantisation,
};

use crate::networks::{
    GUIDE, MOST_OF_FINER, REGION, RGB, YUV420, quantised_model, random_input, random_model, run,
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
            let picture = random_input(size, signature.io.inputs(), 5);
            let reference = FloatNetwork::with_kernels(model.clone(), Kernels::Portable).unwrap();
            let expected = run(&reference, &picture, 1);
            for kernels in Kernels::available() {
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
            let most = if width % 3 == 0 { MOST_OF_FINER } else { f32::INFINITY };
            let picture = random_input(size, signature.io.inputs(), 5).with_max_control(most);
            let reference =
                Int8Network::with_kernels(model.clone(), int8::Kernels::PORTABLE).unwrap();
            let expected = run(&reference, &picture, 1);
            for kernels in int8::Kernels::available() {
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
        let picture = random_input(Size { width: 132, height: 68 }, signature.io.inputs(), 5);
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
fn finer_steps_are_taken_where_control_maps_are_low() {
    let model = quantised_model(YUV420, 7);
    let quantisation = model.quantisation().unwrap().clone();
    let of = |convs: &[f32]| {
        let quantisation = Quantisation::new(quantisation.input.clone(), convs.to_vec());
        Int8Network::new(model.clone().with_quantisation(quantisation).unwrap()).unwrap()
    };
    let [coarse, fine] = [&quantisation.convs, &quantisation.finer[0].convs].map(|convs| of(convs));
    let both = Int8Network::new(model.clone()).unwrap();
    let picture = random_input(Size { width: 132, height: 68 }, YUV420.io.inputs(), 5);
    let [coarse, fine] = [coarse, fine].map(|network| run(&network, &picture, 2));
    assert_ne!(coarse, fine);
    for (most, expected) in
        [(0.0, &fine), (MOST_OF_FINER, &fine), (0.11, &coarse), (f32::NAN, &coarse)]
    {
        let picture = picture.clone().with_max_control(most);
        assert!(run(&both, &picture, 2) == *expected, "{most}");
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
            let picture = random_input(Size { width, height }, signature.io.inputs(), 6);
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
