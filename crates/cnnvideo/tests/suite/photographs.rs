// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the shipped networks and the noise estimator on photographs with known noise.

use cnnvideo::{
    denoise::{BitDepth, Denoiser, Networks, NoiseEstimator, NoiseSigmas, Parameters, Quality},
    frame::{Colour, Field, Format, Picture, PictureMut, Plane, PlaneMut, Sample},
    nn::{Device, Precision},
    quality,
};
use ndarray::Array2;
use rand::{SeedableRng, rngs::StdRng};

use crate::random::normal;

struct Photograph {
    name: &'static str,
    width: usize,
    height: usize,
    /// R, G and B of each pixel, 0 to 255, row-major.
    rgb: Vec<f32>,
}

fn photographs() -> Vec<Photograph> {
    ["astronaut", "chelsea", "coffee", "rocket"]
        .into_iter()
        .map(|name| {
            let path = format!("{}/../../tests/data/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
            let picture = image::open(path).unwrap().into_rgb8();
            let (width, height) = (picture.width() as usize, picture.height() as usize);
            Photograph {
                name,
                width,
                height,
                rgb: picture.as_raw().iter().map(|v| f32::from(*v)).collect(),
            }
        })
        .collect()
}

/// Adds white noise of the given sigma.
fn noisy(clean: &[f32], sigma: f32, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    clean.iter().map(|v| v + sigma * normal(&mut rng)).collect()
}

fn psnr(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    quality::psnr(sum / a.len() as f64)
}

/// Denoises a picture. `planes` are the planes of the format without padding. Returns the output
/// planes and the noise sigmas that were used.
fn denoise<T: Sample, const N: usize>(
    denoiser: &mut Denoiser,
    format: Format,
    [width, height]: [usize; 2],
    planes: &[Vec<T>; N],
    parameters: &Parameters,
) -> ([Vec<T>; N], NoiseSigmas) {
    let strides: [usize; N] =
        std::array::from_fn(|i| planes[i].len() / format.component_size(i, width, height).1);
    let views: Vec<_> =
        planes.iter().zip(strides).map(|(plane, stride)| Plane::new(plane, stride)).collect();
    let input = Picture::new(format, width, height, &views).unwrap();
    let mut output = planes.clone();
    let views = output.iter_mut().zip(strides).map(|(plane, s)| PlaneMut::new(plane, s));
    let mut view = PictureMut::new(format, width, height, views).unwrap();
    let sigmas = denoiser.process(&input, &mut view, parameters, None, Field::First).unwrap();
    (output, sigmas)
}

/// Returns parameters for denoising each picture on its own, with a known sigma.
fn spatial(sigma: f32) -> Parameters {
    Parameters { sigma: Some(sigma), temporal: false, ..Parameters::default() }
}

#[test]
fn estimated_sigma_is_within_ten_percent_or_1_5() {
    for photograph in photographs() {
        let green: Vec<f32> = photograph.rgb.chunks(3).map(|pixel| pixel[1]).collect();
        for sigma in [3.0, 5.0, 8.0, 12.0, 18.0, 25.0, 35.0, 50.0] {
            let noisy = noisy(&green, sigma, 1);
            let component =
                Array2::from_shape_vec((photograph.height, photograph.width), noisy).unwrap();
            let found = NoiseEstimator::built_in(2)
                .unwrap()
                .estimate(&component.view(), 3)
                .unwrap()
                .unwrap()
                .sigma;
            let allowed = 1.5f32.max(0.1 * sigma);
            assert!((found - sigma).abs() <= allowed, "{} at {sigma}: {found}", photograph.name);
        }
    }
}

/// Denoises a noisy photograph in float, because 8-bit integers would clip it.
fn denoise_rgb(
    networks: &Networks,
    photograph: &Photograph,
    noisy: &[f32],
    sigma: f32,
) -> Vec<f32> {
    let size = [photograph.width, photograph.height];
    let mut denoiser = networks.denoiser(Colour::Rgb, BitDepth::Eight, 2).unwrap();
    let planes = [noisy.to_vec()];
    let ([output], _) = denoise(&mut denoiser, Format::RGB, size, &planes, &spatial(sigma));
    output
}

#[test]
fn rgb_denoising_reaches_minimum_gains() {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Fp32).unwrap();
    // Minimum gains: well below those of the networks, and far above those of blurring.
    for (sigma, gain) in [(2.0, 0.0), (10.0, 5.0), (25.0, 8.0), (50.0, 10.5)] {
        for photograph in photographs() {
            let Photograph { name, rgb, .. } = &photograph;
            let noisy = noisy(rgb, sigma, 2);
            let output = denoise_rgb(&networks, &photograph, &noisy, sigma);
            let (before, after) = (psnr(&noisy, rgb), psnr(&output, rgb));
            assert!(after > before + gain, "{name} at {sigma}: {before:.2} to {after:.2}");
        }
    }
}

#[test]
fn each_quality_preset_is_better_than_the_previous() {
    let presets = [Quality::Fast, Quality::Balanced, Quality::Best];
    let presets =
        presets.map(|quality| Networks::built_in(quality, Device::Cpu, Precision::Fp32).unwrap());
    let (colour, sigma) = (Format::I420.colour(), 25.0);
    let (mut rgb, mut luma) = ([0.0; 3], [0.0; 3]);
    for photograph in photographs() {
        let noise = noisy(&photograph.rgb, sigma, 8);
        let (width, height) = (photograph.width & !1, photograph.height & !1);
        let (planes, clean) = window(&photograph, [0, 0, width, height], sigma, 8);
        for (i, networks) in presets.iter().enumerate() {
            rgb[i] +=
                psnr(&denoise_rgb(networks, &photograph, &noise, sigma), &photograph.rgb) / 4.0;
            let mut denoiser = networks.denoiser(colour, BitDepth::Eight, 2).unwrap();
            let ([output, ..], _) =
                denoise(&mut denoiser, Format::I420, [width, height], &planes, &spatial(sigma));
            luma[i] += psnr(&to_f32(&output), &clean) / 4.0;
        }
    }
    println!("{rgb:.2?} and {luma:.2?} dB");
    let better = |by: [f64; 3]| by[1] > by[0] + 0.04 && by[2] > by[1] + 0.2;
    assert!(better(rgb) && better(luma), "{rgb:?} and {luma:?}");
}

/// Returns an I420 window `[x, y, width, height]` of a photograph: monochrome, with noise in luma;
/// and its clean luma.
fn window(
    photograph: &Photograph,
    [x, y, width, height]: [usize; 4],
    sigma: f32,
    seed: u64,
) -> ([Vec<u8>; 3], Vec<f32>) {
    let luma = |x: usize, y: usize| {
        let at = 3 * (y * photograph.width + x);
        (photograph.rgb[at] + photograph.rgb[at + 1] + photograph.rgb[at + 2]) / 3.0
    };
    let clean: Vec<f32> = (0..height * width).map(|i| luma(x + i % width, y + i / width)).collect();
    let noisy = noisy(&clean, sigma, seed).iter().map(|v| v.round() as u8).collect();
    let neutral = vec![128; width / 2 * (height / 2)];
    ([noisy, neutral.clone(), neutral], clean)
}

fn to_f32(values: &[u8]) -> Vec<f32> {
    values.iter().map(|v| f32::from(*v)).collect()
}

#[test]
fn int8_is_as_good_as_float32() {
    let mut failed = Vec::new();
    // Rounding costs more under weak noise, and most in networks with few channels.
    for (quality, weak) in [(Quality::Fast, 0.15), (Quality::Balanced, 0.08), (Quality::Best, 0.08)]
    {
        let [int8, fp32] = [Precision::Int8, Precision::Fp32]
            .map(|p| Networks::built_in(quality, Device::Cpu, p).unwrap());
        let colour = Format::I420.colour();
        for (sigma, allowed) in [(5.0, weak), (15.0, 0.05), (25.0, 0.05), (50.0, 0.05)] {
            let mut lost = 0.0;
            for photograph in photographs() {
                let (width, height) = (photograph.width & !1, photograph.height & !1);
                let (planes, clean) = window(&photograph, [0, 0, width, height], sigma, 4);
                let result = |networks: &Networks| {
                    let mut denoiser = networks.denoiser(colour, BitDepth::Eight, 2).unwrap();
                    let ([output, ..], _) = denoise(
                        &mut denoiser,
                        Format::I420,
                        [width, height],
                        &planes,
                        &spatial(sigma),
                    );
                    psnr(&to_f32(&output), &clean)
                };
                lost += (result(&fp32) - result(&int8)) / 4.0;
            }
            println!("{quality:?}, sigma {sigma}: {lost:.3} dB lost");
            if lost > allowed {
                failed.push(format!("{quality:?} loses {lost:.3} dB at sigma {sigma}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn temporal_fusion_improves_a_pan() {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto).unwrap();
    let (width, height, sigma) = (320, 240, 25.0);
    for photograph in photographs() {
        let last = |temporal: bool| {
            let mut denoiser =
                networks.denoiser(Format::I420.colour(), BitDepth::Eight, 2).unwrap();
            let mut last = 0.0;
            for frame in 0..10 {
                let (planes, clean) = window(
                    &photograph,
                    [3 * frame, frame, width, height],
                    sigma,
                    10 + frame as u64,
                );
                let parameters = Parameters { temporal, ..spatial(sigma) };
                let ([output, ..], _) =
                    denoise(&mut denoiser, Format::I420, [width, height], &planes, &parameters);
                last = psnr(&to_f32(&output), &clean);
            }
            last
        };
        let (single, temporal) = (last(false), last(true));
        assert!(temporal > single + 0.8, "{}: {single:.2} to {temporal:.2} dB", photograph.name);
    }
}

#[test]
fn correlated_noise_is_estimated_and_removed() {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto).unwrap();
    let (width, height, sigma) = (320, 240, 9.0);
    for photograph in photographs() {
        let mut rng = StdRng::seed_from_u64(6);
        let mut denoiser = networks.denoiser(Format::I420.colour(), BitDepth::Eight, 2).unwrap();
        let mut results = Vec::new();
        for frame in 0..10 {
            let ([mut noisy, ..], clean) =
                window(&photograph, [2 * frame, frame, width, height], 0.0, 0);
            // The mean of nine values, which approximates noise after demosaicking and scaling.
            let white =
                Array2::from_shape_fn((height + 2, width + 2), |_| 3.0 * sigma * normal(&mut rng));
            for (i, value) in noisy.iter_mut().enumerate() {
                let (y, x) = (i / width, i % width);
                let soft = white.slice(ndarray::s![y..y + 3, x..x + 3]).mean().unwrap();
                *value = (clean[i] + soft).round() as u8;
            }
            let neutral = vec![128; width / 2 * (height / 2)];
            let planes = [noisy, neutral.clone(), neutral];
            let parameters = Parameters::default();
            let ([output, ..], sigmas) =
                denoise(&mut denoiser, Format::I420, [width, height], &planes, &parameters);
            results.push((
                sigmas.main,
                psnr(&to_f32(&output), &clean) - psnr(&to_f32(&planes[0]), &clean),
            ));
        }
        let (first, last) = (results[0], results[9]);
        println!("{}: {first:.2?} to {last:.2?}", photograph.name);
        for (assumed, _) in [first, last] {
            assert!(
                (0.7..1.3).contains(&(assumed / sigma)),
                "{}: {assumed} of {sigma}",
                photograph.name
            );
        }
        assert!(first.1 > 0.7 && last.1 > 2.0, "{}: {first:?}, {last:?}", photograph.name);
    }
}

#[test]
fn luma_gains_the_same_in_grey_and_in_colour() {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto).unwrap();
    let sigma = 25.0;
    for photograph in photographs() {
        let Photograph { name, width, height, rgb } = &photograph;
        let (width, height) = (*width, *height);
        let luma: Vec<f32> =
            rgb.chunks(3).map(|p| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]).collect();
        let noisy = noisy(&luma, sigma, 3);
        let neutral = vec![128.0; width / 2 * (height / 2)];
        let denoiser =
            |format: Format| networks.denoiser(format.colour(), BitDepth::Eight, 2).unwrap();
        let (size, parameters) = ([width, height], spatial(sigma));
        let grey = [noisy.clone()];
        let ([grey], _) =
            denoise(&mut denoiser(Format::GRAY8), Format::GRAY8, size, &grey, &parameters);
        let colour = [noisy.clone(), neutral.clone(), neutral];
        let ([colour, ..], _) =
            denoise(&mut denoiser(Format::I420), Format::I420, size, &colour, &parameters);
        let results = [psnr(&grey, &luma), psnr(&colour, &luma)];
        let before = psnr(&noisy, &luma);
        assert!(results[0] > before + 7.0, "{name}: {before:.2} to {results:?}");
        assert!((results[0] - results[1]).abs() < 1e-3, "{name}: {results:?}");
    }
}

#[test]
fn sigma_zero_leaves_a_photograph_unchanged() {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto).unwrap();
    for photograph in photographs() {
        let Photograph { name, rgb, .. } = &photograph;
        assert_eq!(denoise_rgb(&networks, &photograph, rgb, 0.0), *rgb, "{name}");
    }
}

/// Converts a photograph to Y, U and V (BT.601, full range); each chroma sample is the mean of its
/// pixels.
fn yuv(
    photograph: &Photograph,
    [width, height]: [usize; 2],
    [shift_x, shift_y]: [u32; 2],
) -> [Vec<f32>; 3] {
    let pixel = |x: usize, y: usize| {
        let at = 3 * (y * photograph.width + x);
        [0, 1, 2].map(|i| photograph.rgb[at + i])
    };
    let plane = |weights: [f32; 3], offset: f32, across: usize, down: usize| -> Vec<f32> {
        let value = |x: usize, y: usize| {
            offset + pixel(x, y).iter().zip(weights).map(|(v, w)| v * w).sum::<f32>()
        };
        let cell = |i: usize| {
            let (x, y) = (i % (width / across) * across, i / (width / across) * down);
            (0..across * down).map(|i| value(x + i % across, y + i / across)).sum::<f32>()
                / (across * down) as f32
        };
        (0..width / across * (height / down)).map(cell).collect()
    };
    let (across, down) = (1 << shift_x, 1 << shift_y);
    [
        plane([0.299, 0.587, 0.114], 0.0, 1, 1),
        plane([-0.169, -0.331, 0.5], 128.0, across, down),
        plane([0.5, -0.419, -0.081], 128.0, across, down),
    ]
}

#[test]
fn chroma_gains_at_every_subsampling() {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto).unwrap();
    let sigma = 12.0;
    for photograph in photographs() {
        let (width, height) = (photograph.width & !1, photograph.height & !1);
        let mut all = Vec::new();
        for format in [Format::I420, Format::Y42B, Format::Y444] {
            let [shift_x, shift_y] = format.colour().subsampling(1);
            let clean = yuv(&photograph, [width, height], [shift_x, shift_y]);
            let mut seed = 30;
            let noisy = clean.each_ref().map(|plane| {
                seed += 1;
                noisy(plane, sigma, seed).iter().map(|v| v.round() as u8).collect::<Vec<_>>()
            });
            for temporal in [false, true] {
                let mut denoiser = networks.denoiser(format.colour(), BitDepth::Eight, 2).unwrap();
                let parameters = Parameters { temporal, ..Parameters::default() };
                let (output, sigmas) =
                    denoise(&mut denoiser, format, [width, height], &noisy, &parameters);
                assert!(
                    (sigmas.chroma / sigma - 1.0).abs() < 0.25,
                    "{}: {sigmas:?}",
                    photograph.name
                );
                let gain = |i: usize| {
                    psnr(&to_f32(&output[i]), &clean[i]) - psnr(&to_f32(&noisy[i]), &clean[i])
                };
                all.push([0, 1, 2].map(gain));
            }
        }
        println!("{}: {all:.1?}", photograph.name);
        let (subsampled, higher_resolution) = all.split_at(2);
        for gains in higher_resolution {
            assert!(
                (gains[0] - subsampled[0][0]).abs() < 0.4,
                "{}: luma {all:.2?}",
                photograph.name
            );
            let near = gains[1..]
                .iter()
                .zip(&subsampled[0][1..])
                .all(|(gain, of_420)| *gain > of_420 - 2.5);
            assert!(
                near && gains[1..].iter().all(|gain| *gain > 6.0),
                "{}: {all:.2?}",
                photograph.name
            );
        }
    }
}

#[test]
fn output_does_not_depend_on_the_number_of_threads() {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto).unwrap();
    for (width, height) in [(1, 1), (2, 2), (3, 1), (1, 7), (17, 2), (20, 21)] {
        for format in [Format::Y42B, Format::Y444] {
            let size = |i: usize| format.component_size(i, width, height);
            let noise = noisy(&vec![120.0; width * height], 9.0, 1);
            let noise: Vec<u8> = noise.iter().map(|v| v.round() as u8).collect();
            for temporal in [false, true] {
                let mut results = Vec::new();
                for threads in [1, 4] {
                    let planes = [0, 1, 2].map(|i| noise[..size(i).0 * size(i).1].to_vec());
                    let mut denoiser =
                        networks.denoiser(format.colour(), BitDepth::Eight, threads).unwrap();
                    let parameters = Parameters { temporal, ..spatial(9.0) };
                    let size = [width, height];
                    denoise(&mut denoiser, format, size, &planes, &parameters);
                    let (output, _) = denoise(&mut denoiser, format, size, &planes, &parameters);
                    results.push(output);
                }
                assert_eq!(results[0], results[1], "{width}x{height} {format:?}");
            }
        }
    }
}
