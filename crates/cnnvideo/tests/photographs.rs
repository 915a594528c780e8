//! Tests of the shipped networks and the noise estimator on photographs with known noise.

#[path = "../../../tests/common/random.rs"]
mod random;

use cnnvideo::{
    denoise::{Denoiser, Estimator, Networks, Parameters, Rung},
    frame::{Colour, Format, Picture, PictureMut},
    nn::{Device, Precision},
};
use ndarray::Array2;
use rand::{SeedableRng, rngs::StdRng};
use random::normal;

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

/// Adds white noise of sigma `level`.
fn noisy(clean: &[f32], level: f32, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    clean.iter().map(|v| v + level * normal(&mut rng)).collect()
}

fn psnr(a: &[f32], b: &[f32]) -> f64 {
    let mse = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64;
    10.0 * (255.0 * 255.0 / mse).log10()
}

#[test]
fn the_noise_level_is_found_within_ten_percent_or_one_and_a_half() {
    for photograph in photographs() {
        let green: Vec<f32> = photograph.rgb.chunks(3).map(|pixel| pixel[1]).collect();
        for level in [3.0, 5.0, 8.0, 12.0, 18.0, 25.0, 35.0, 50.0] {
            let noisy = noisy(&green, level, 1);
            let component =
                Array2::from_shape_vec((photograph.height, photograph.width), noisy).unwrap();
            let found =
                Estimator::built_in(2).unwrap().noise(&component.view(), 3).unwrap().unwrap().level;
            let allowed = 1.5f32.max(0.1 * level);
            assert!((found - level).abs() <= allowed, "{} at {level}: {found}", photograph.name);
        }
    }
}

/// Denoises a noisy photograph in float, because 8-bit integers would clip it.
fn denoise_rgb(
    networks: &Networks,
    photograph: &Photograph,
    noisy: &[f32],
    level: f32,
) -> Vec<f32> {
    let format = Format::packed_rgb([0, 1, 2], None, 3);
    let (width, height) = (photograph.width, photograph.height);
    let mut output = noisy.to_vec();
    let input = Picture::new(format, width, height, &[(noisy, 3 * width)]).unwrap();
    let mut view =
        PictureMut::new(format, width, height, [(output.as_mut_slice(), 3 * width)]).unwrap();
    let mut denoiser = networks.denoiser(Colour::Rgb, false, 2).unwrap();
    let parameters = Parameters { noise_level: Some(level), strength: 1.0, temporal: false };
    denoiser.process(&input, &mut view, &parameters, None, 0).unwrap();
    output
}

#[test]
fn rgb_photographs_gain() {
    let networks = Networks::built_in(Rung::Fast, Device::Cpu, Precision::Fp32).unwrap();
    // Minimum gains: well below those of the networks, and far above those of blurring.
    for (level, gain) in [(2.0, 0.0), (10.0, 5.0), (25.0, 8.0), (50.0, 10.5)] {
        for photograph in photographs() {
            let Photograph { name, rgb, .. } = &photograph;
            let noisy = noisy(rgb, level, 2);
            let output = denoise_rgb(&networks, &photograph, &noisy, level);
            let (before, after) = (psnr(&noisy, rgb), psnr(&output, rgb));
            assert!(after > before + gain, "{name} at {level}: {before:.2} to {after:.2}");
        }
    }
}

#[test]
fn each_rung_is_better_than_the_one_below() {
    let rungs = [Rung::Fast, Rung::Balanced, Rung::Best];
    let rungs = rungs.map(|rung| Networks::built_in(rung, Device::Cpu, Precision::Fp32).unwrap());
    let (colour, level) = (Format::I420.colour(), 25.0);
    let (mut rgb, mut luma) = ([0.0; 3], [0.0; 3]);
    for photograph in photographs() {
        let noise = noisy(&photograph.rgb, level, 8);
        let (width, height) = (photograph.width & !1, photograph.height & !1);
        let (planes, clean) = window(&photograph, [0, 0, width, height], level, 8);
        for (i, networks) in rungs.iter().enumerate() {
            rgb[i] +=
                psnr(&denoise_rgb(networks, &photograph, &noise, level), &photograph.rgb) / 4.0;
            let mut denoiser = networks.denoiser(colour, false, 2).unwrap();
            let (output, _) =
                denoise_420(&mut denoiser, &planes, [width, height], Some(level), false);
            luma[i] += psnr(&levels(&output), &clean) / 4.0;
        }
    }
    println!("{rgb:.2?} and {luma:.2?} dB");
    let better = |by: [f64; 3]| by[1] > by[0] + 0.04 && by[2] > by[1] + 0.2;
    assert!(better(rgb) && better(luma), "{rgb:?} and {luma:?}");
}

/// Denoises an 8-bit I420 image. Returns its luma, row-major, and the noise sigma that was used.
fn denoise_420(
    denoiser: &mut Denoiser,
    planes: &[Vec<u8>; 3],
    [width, height]: [usize; 2],
    noise_level: Option<f32>,
    temporal: bool,
) -> (Vec<u8>, f32) {
    let strides = [width, width / 2, width / 2];
    let mut output = planes.clone();
    let views: Vec<_> = planes.iter().map(Vec::as_slice).zip(strides).collect();
    let input = Picture::new(Format::I420, width, height, &views).unwrap();
    let views = output.iter_mut().map(Vec::as_mut_slice).zip(strides);
    let mut view = PictureMut::new(Format::I420, width, height, views).unwrap();
    let parameters = Parameters { noise_level, strength: 1.0, temporal };
    let levels = denoiser.process(&input, &mut view, &parameters, None, 0).unwrap();
    let [luma, ..] = output;
    (luma, levels.main)
}

/// Returns an I420 window `[x, y, width, height]` of a photograph: monochrome, with noise in luma;
/// and its clean luma.
fn window(
    photograph: &Photograph,
    [x, y, width, height]: [usize; 4],
    level: f32,
    seed: u64,
) -> ([Vec<u8>; 3], Vec<f32>) {
    let luma = |x: usize, y: usize| {
        let at = 3 * (y * photograph.width + x);
        (photograph.rgb[at] + photograph.rgb[at + 1] + photograph.rgb[at + 2]) / 3.0
    };
    let clean: Vec<f32> = (0..height * width).map(|i| luma(x + i % width, y + i / width)).collect();
    let noisy = noisy(&clean, level, seed).iter().map(|v| v.round() as u8).collect();
    let neutral = vec![128; width / 2 * (height / 2)];
    ([noisy, neutral.clone(), neutral], clean)
}

fn levels(values: &[u8]) -> Vec<f32> {
    values.iter().map(|v| f32::from(*v)).collect()
}

#[test]
fn int8_is_as_good_as_float32() {
    let mut failed = Vec::new();
    // Rounding costs more under weak noise, and most in networks with few channels.
    for (rung, weak) in [(Rung::Fast, 0.15), (Rung::Balanced, 0.08), (Rung::Best, 0.08)] {
        let [int8, fp32] = [Precision::Int8, Precision::Fp32]
            .map(|p| Networks::built_in(rung, Device::Cpu, p).unwrap());
        let colour = Format::I420.colour();
        for (level, allowed) in [(5.0, weak), (15.0, 0.05), (25.0, 0.05), (50.0, 0.05)] {
            let mut lost = 0.0;
            for photograph in photographs() {
                let (width, height) = (photograph.width & !1, photograph.height & !1);
                let (planes, clean) = window(&photograph, [0, 0, width, height], level, 4);
                let result = |networks: &Networks| {
                    let mut denoiser = networks.denoiser(colour, false, 2).unwrap();
                    let (output, _) =
                        denoise_420(&mut denoiser, &planes, [width, height], Some(level), false);
                    psnr(&levels(&output), &clean)
                };
                lost += (result(&fp32) - result(&int8)) / 4.0;
            }
            println!("{rung:?}, sigma {level}: {lost:.3} dB lost");
            if lost > allowed {
                failed.push(format!("{rung:?} loses {lost:.3} dB at sigma {level}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_pan_gains_from_the_past() {
    let networks = Networks::built_in(Rung::Fast, Device::Cpu, Precision::Auto).unwrap();
    let (width, height, level) = (320, 240, 25.0);
    for photograph in photographs() {
        let last = |temporal: bool| {
            let mut denoiser = networks.denoiser(Format::I420.colour(), false, 2).unwrap();
            let mut last = 0.0;
            for frame in 0..10 {
                let (planes, clean) = window(
                    &photograph,
                    [3 * frame, frame, width, height],
                    level,
                    10 + frame as u64,
                );
                let (output, _) =
                    denoise_420(&mut denoiser, &planes, [width, height], Some(level), temporal);
                last = psnr(&levels(&output), &clean);
            }
            last
        };
        let (single, temporal) = (last(false), last(true));
        assert!(temporal > single + 0.8, "{}: {single:.2} to {temporal:.2} dB", photograph.name);
    }
}

#[test]
fn noise_that_is_not_white_is_seen_and_removed() {
    let networks = Networks::built_in(Rung::Fast, Device::Cpu, Precision::Auto).unwrap();
    let (width, height, level) = (320, 240, 9.0);
    for photograph in photographs() {
        let mut rng = StdRng::seed_from_u64(6);
        let mut denoiser = networks.denoiser(Format::I420.colour(), false, 2).unwrap();
        let mut results = Vec::new();
        for frame in 0..10 {
            let ([mut noisy, ..], clean) =
                window(&photograph, [2 * frame, frame, width, height], 0.0, 0);
            // The mean of nine values, which approximates noise after demosaicking and scaling.
            let white =
                Array2::from_shape_fn((height + 2, width + 2), |_| 3.0 * level * normal(&mut rng));
            for (i, value) in noisy.iter_mut().enumerate() {
                let (y, x) = (i / width, i % width);
                let soft = white.slice(ndarray::s![y..y + 3, x..x + 3]).mean().unwrap();
                *value = (clean[i] + soft).round() as u8;
            }
            let neutral = vec![128; width / 2 * (height / 2)];
            let planes = [noisy, neutral.clone(), neutral];
            let (output, assumed) =
                denoise_420(&mut denoiser, &planes, [width, height], None, true);
            results.push((
                assumed,
                psnr(&levels(&output), &clean) - psnr(&levels(&planes[0]), &clean),
            ));
        }
        let (first, last) = (results[0], results[9]);
        println!("{}: {first:.2?} to {last:.2?}", photograph.name);
        for (assumed, _) in [first, last] {
            assert!(
                (0.7..1.3).contains(&(assumed / level)),
                "{}: {assumed} of {level}",
                photograph.name
            );
        }
        assert!(first.1 > 0.7 && last.1 > 2.0, "{}: {first:?}, {last:?}", photograph.name);
    }
}

#[test]
fn luma_gains_as_much_in_grey_as_in_colour() {
    let networks = Networks::built_in(Rung::Fast, Device::Cpu, Precision::Auto).unwrap();
    let level = 25.0;
    for photograph in photographs() {
        let Photograph { name, width, height, rgb } = &photograph;
        let (width, height) = (*width, *height);
        let luma: Vec<f32> =
            rgb.chunks(3).map(|p| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]).collect();
        let noisy = noisy(&luma, level, 3);
        let neutral = vec![128.0; width / 2 * (height / 2)];
        let mut results = Vec::new();
        for format in [Format::GRAY8, Format::I420] {
            let planes: [(&[f32], usize); 3] =
                [(&noisy, width), (&neutral, width / 2), (&neutral, width / 2)];
            let mut output = [noisy.clone(), neutral.clone(), neutral.clone()];
            let strides = [width, width / 2, width / 2];
            let input = Picture::new(format, width, height, &planes).unwrap();
            let views = output.iter_mut().map(Vec::as_mut_slice).zip(strides);
            let mut view = PictureMut::new(format, width, height, views).unwrap();
            let mut denoiser = networks.denoiser(format.colour(), false, 2).unwrap();
            denoiser
                .process(
                    &input,
                    &mut view,
                    &Parameters { noise_level: Some(level), strength: 1.0, temporal: false },
                    None,
                    0,
                )
                .unwrap();
            results.push(psnr(&output[0], &luma));
        }
        let before = psnr(&noisy, &luma);
        assert!(results[0] > before + 7.0, "{name}: {before:.2} to {results:?}");
        assert!((results[0] - results[1]).abs() < 1e-3, "{name}: {results:?}");
    }
}

#[test]
fn without_noise_a_photograph_stays_what_it_is() {
    let networks = Networks::built_in(Rung::Fast, Device::Cpu, Precision::Auto).unwrap();
    let format = Format::packed_rgb([0, 1, 2], None, 3);
    for photograph in photographs() {
        let Photograph { name, width, height, rgb } = &photograph;
        let mut output = rgb.clone();
        let input = Picture::new(format, *width, *height, &[(rgb, 3 * width)]).unwrap();
        let mut view =
            PictureMut::new(format, *width, *height, [(output.as_mut_slice(), 3 * width)]).unwrap();
        let mut denoiser = networks.denoiser(Colour::Rgb, false, 2).unwrap();
        denoiser
            .process(
                &input,
                &mut view,
                &Parameters { noise_level: Some(0.0), strength: 1.0, temporal: false },
                None,
                0,
            )
            .unwrap();
        assert_eq!(output, *rgb, "{name}");
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
fn chroma_gains_at_any_resolution() {
    let networks = Networks::built_in(Rung::Fast, Device::Cpu, Precision::Auto).unwrap();
    let level = 12.0;
    for photograph in photographs() {
        let (width, height) = (photograph.width & !1, photograph.height & !1);
        let mut all = Vec::new();
        for format in [Format::I420, Format::Y42B, Format::Y444] {
            let [shift_x, shift_y] = format.colour().shifts(1);
            let clean = yuv(&photograph, [width, height], [shift_x, shift_y]);
            let mut seed = 30;
            let noisy = clean.each_ref().map(|plane| {
                seed += 1;
                noisy(plane, level, seed).iter().map(|v| v.round() as u8).collect::<Vec<_>>()
            });
            for temporal in [false, true] {
                let strides = [width, width >> shift_x, width >> shift_x];
                let mut output = noisy.clone();
                let views: Vec<_> = noisy.iter().map(Vec::as_slice).zip(strides).collect();
                let input = Picture::new(format, width, height, &views).unwrap();
                let views = output.iter_mut().map(Vec::as_mut_slice).zip(strides);
                let mut view = PictureMut::new(format, width, height, views).unwrap();
                let mut denoiser = networks.denoiser(format.colour(), false, 2).unwrap();
                let parameters = Parameters { noise_level: None, strength: 1.0, temporal };
                let told = denoiser.process(&input, &mut view, &parameters, None, 0).unwrap();
                assert!((told.chroma / level - 1.0).abs() < 0.25, "{}: {told:?}", photograph.name);
                let gain = |i: usize| {
                    psnr(&levels(&output[i]), &clean[i]) - psnr(&levels(&noisy[i]), &clean[i])
                };
                all.push([0, 1, 2].map(gain));
            }
        }
        println!("{}: {all:.1?}", photograph.name);
        let (coarse, fine) = all.split_at(2);
        for gains in fine {
            assert!((gains[0] - coarse[0][0]).abs() < 0.4, "{}: luma {all:.2?}", photograph.name);
            let near =
                gains[1..].iter().zip(&coarse[0][1..]).all(|(fine, coarse)| *fine > coarse - 2.5);
            assert!(
                near && gains[1..].iter().all(|gain| *gain > 6.0),
                "{}: {all:.2?}",
                photograph.name
            );
        }
    }
}

#[test]
fn small_pictures_of_any_chroma_are_denoised_alike_on_any_threads() {
    let networks = Networks::built_in(Rung::Fast, Device::Cpu, Precision::Auto).unwrap();
    for (width, height) in [(1, 1), (2, 2), (3, 1), (1, 7), (17, 2), (20, 21)] {
        for format in [Format::Y42B, Format::Y444] {
            let size = |i: usize| format.component_size(i, width, height);
            let noise = noisy(&vec![120.0; width * height], 9.0, 1);
            let noise: Vec<u8> = noise.iter().map(|v| v.round() as u8).collect();
            for temporal in [false, true] {
                let mut results = Vec::new();
                for threads in [1, 4] {
                    let planes = [0, 1, 2].map(|i| noise[..size(i).0 * size(i).1].to_vec());
                    let mut output = planes.clone();
                    let views: Vec<_> =
                        planes.iter().enumerate().map(|(i, p)| (p.as_slice(), size(i).0)).collect();
                    let input = Picture::new(format, width, height, &views).unwrap();
                    let views =
                        output.iter_mut().enumerate().map(|(i, p)| (p.as_mut_slice(), size(i).0));
                    let mut view = PictureMut::new(format, width, height, views).unwrap();
                    let mut denoiser = networks.denoiser(format.colour(), false, threads).unwrap();
                    let parameters = Parameters { noise_level: Some(9.0), strength: 1.0, temporal };
                    for _ in 0..2 {
                        denoiser.process(&input, &mut view, &parameters, None, 0).unwrap();
                    }
                    results.push(output);
                }
                assert_eq!(results[0], results[1], "{width}x{height} {format:?}");
            }
        }
    }
}
