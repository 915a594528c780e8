// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the denoiser on small pictures.

use ndarray::{Array2, s};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    denoise::{BitDepth, Networks, Quality},
    frame::Colour,
    nn::{Device, Precision},
};

const COLOURS: [Colour; 6] = [
    Colour::Gray,
    Colour::Yuv { shift_x: 1, shift_y: 1 },
    Colour::Yuv { shift_x: 1, shift_y: 0 },
    Colour::Yuv { shift_x: 0, shift_y: 1 },
    Colour::Yuv { shift_x: 0, shift_y: 0 },
    Colour::Rgb,
];

fn denoiser(colour: Colour) -> Denoiser {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto).unwrap();
    networks.denoiser(colour, BitDepth::Eight, 2).unwrap()
}

/// Components of 37x21 pixels with pseudo-random samples.
fn components(colour: Colour) -> Vec<Array2<u8>> {
    let count = if colour == Colour::Gray { 1 } else { 3 };
    let component = |i| {
        let [shift_x, shift_y] = colour.subsampling(i);
        Array2::from_shape_fn(
            (21usize.div_ceil(1 << shift_y), 37usize.div_ceil(1 << shift_x)),
            |(y, x)| (100 + (y * y * 31 + x * x * 17 + y * x) % 29) as u8,
        )
    };
    (0..count).map(component).collect()
}

#[test]
fn every_sample_of_the_output_is_written() {
    let labels = Array2::from_shape_fn((21, 37), |(y, _)| u8::from(y < 9));
    for colour in COLOURS {
        let components = components(colour);
        let input = Picture { colour, components: components.iter().map(|c| c.view()).collect() };
        for (temporal, has_regions) in [(false, false), (false, true), (true, false), (true, true)]
        {
            let parameters = Parameters { sigma: Some(8.0), temporal, ..Parameters::default() };
            let results = [0, 255].map(|value| {
                let mut results = components.clone();
                results.iter_mut().for_each(|component| component.fill(value));
                let components = results.iter_mut().map(|c| c.view_mut()).collect();
                let mut output = PictureMut { colour, components };
                let regions = has_regions.then(|| Regions {
                    labels: labels.view(),
                    foreground: 0.0,
                    background: 0.7,
                });
                denoiser(colour)
                    .process(&input, &mut output, &parameters, regions, Field::First)
                    .unwrap();
                results
            });
            assert_eq!(results[0], results[1], "{colour:?} {temporal} {has_regions}");
            let unchanged = results[0][0].row(0) == components[0].row(0);
            assert_eq!(unchanged, has_regions, "{colour:?} {temporal}");
        }
    }
}

#[test]
fn strong_subsampling_is_an_error() {
    let colour = Colour::Yuv { shift_x: 2, shift_y: 0 };
    let (components, mut results) = (components(colour), components(colour));
    let input = Picture { colour, components: components.iter().map(|c| c.view()).collect() };
    let components = results.iter_mut().map(|c| c.view_mut()).collect();
    let mut output = PictureMut { colour, components };
    let parameters = Parameters { temporal: false, ..Parameters::default() };
    let result = denoiser(colour).process(&input, &mut output, &parameters, None, Field::First);
    assert!(matches!(result, Err(Error::Subsampling)));
}

/// Denoises a grey picture.
fn denoise(denoiser: &mut Denoiser, plane: &Array2<u8>, parameters: &Parameters) -> Array2<u8> {
    let colour = Colour::Gray;
    let mut result = Array2::zeros(plane.dim());
    let input = Picture { colour, components: vec![plane.view()] };
    let mut output = PictureMut { colour, components: vec![result.view_mut()] };
    denoiser.process(&input, &mut output, parameters, None, Field::First).unwrap();
    result
}

/// Returns the mean squared difference of two pictures.
fn mse(a: &Array2<u8>, b: &Array2<u8>) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    squares.sum::<f64>() / a.len() as f64
}

#[test]
fn pictures_without_noise_are_copied() {
    let smooth = Array2::from_shape_fn((96, 128), |(y, x)| (60 + (x + y) / 4) as u8);
    let mut denoiser = denoiser(Colour::Gray);
    for _ in 0..3 {
        assert_eq!(denoise(&mut denoiser, &smooth, &Parameters::default()), smooth);
        assert_eq!(denoiser.computed_share(), 0.0);
    }
    // So are those whose noise sigma is set to 0.
    let texture = components(Colour::Gray).remove(0);
    let parameters = Parameters { sigma: Some(0.0), ..Parameters::default() };
    assert_eq!(denoise(&mut denoiser, &texture, &parameters), texture);
}

#[test]
fn still_areas_are_skipped_until_they_change() {
    let clean = Array2::from_shape_fn((512, 640), |(y, x)| {
        let (x, y) = (x as f32, y as f32);
        let wave = 30.0 * (0.05 * x + 0.02 * y).sin() + 20.0 * (0.31 * x).sin() * (0.23 * y).cos();
        120.0 + wave
    });
    let mut rng = StdRng::seed_from_u64(3);
    let mut noisy = |clean: &Array2<f32>| {
        clean.mapv(|value| {
            let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
            (value + 6.0 * noise).round() as u8
        })
    };
    let parameters = Parameters { sigma: Some(6.0), ..Parameters::default() };
    let mut denoiser = denoiser(Colour::Gray);
    let mut shares = Vec::new();
    let mut last = Array2::zeros((0, 0));
    for _ in 0..130 {
        last = denoise(&mut denoiser, &noisy(&clean), &parameters);
        shares.push(denoiser.skipped_share());
    }
    assert_eq!(shares[..60], [0.0; 60]);
    assert!(shares[129] > 0.8, "{shares:?}");
    let truth = clean.mapv(|value| value.round() as u8);
    let error = mse(&last, &truth);
    assert!(error < 0.7, "{error}");

    // A spot appears in a still tile.
    let mut changed = clean;
    changed.slice_mut(s![200..210, 300..310]).mapv_inplace(|value| value + 60.0);
    let result = denoise(&mut denoiser, &noisy(&changed), &parameters);
    assert!(denoiser.skipped_share() > 0.5);
    let [found, truth] = [result.mapv(f32::from), changed]
        .map(|picture| picture.slice(s![202..208, 302..308]).mean().unwrap());
    assert!((found - truth).abs() < 6.0, "{found} for {truth}");
}

#[test]
fn exchanging_the_network_keeps_all_other_state() {
    let load = |quality| {
        let networks = Networks::built_in(quality, Device::Cpu, Precision::Auto).unwrap();
        networks.network(Colour::Gray, BitDepth::Eight).unwrap()
    };
    let qualities = [Quality::Fast, Quality::Best].map(load);
    let mut fixed = qualities.clone().map(|network| Denoiser::new(network, 2));
    let [fast, best] = qualities;
    let mut changing = Denoiser::new(fast, 2);
    changing.add_network(best);
    changing.prepare(96, 64).unwrap();
    let texture =
        Array2::from_shape_fn((64, 96), |(y, x)| 110.0 + 40.0 * (0.2 * (x + y) as f32).sin());
    let mut rng = StdRng::seed_from_u64(5);
    for selected in [0, 0, 1, 1, 0, 1, 0, 0] {
        let noisy = texture.mapv(|v| (v + rng.random_range(-15.0..15.0f32)).round() as u8);
        changing.select_network(selected);
        let result = denoise(&mut changing, &noisy, &Parameters::default());
        let results = [0, 1].map(|i| denoise(&mut fixed[i], &noisy, &Parameters::default()));
        assert_ne!(results[0], results[1]);
        assert_eq!(result, results[selected]);
        assert_eq!(changing.computed_share(), 1.0);
    }
}
