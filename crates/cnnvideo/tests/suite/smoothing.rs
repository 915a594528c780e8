// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the shipped smoothing network on photographs.

use cnnvideo::{
    frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision},
    smooth::{self, Parameters, Smoother},
};
use image::{GrayImage, imageops};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Smoothing scales in pixels.
const SCALES: [f32; 8] = [8.0, 12.0, 16.0, 18.0, 20.0, 24.0, 32.0, 48.0];
/// Largest growth of the remaining detail from one scale to the next.
const MAX_GROWTH: f64 = 0.05;

/// Returns the luma of a photograph.
fn photograph(name: &str) -> GrayImage {
    let path = format!("{}/../../tests/data/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
    image::open(path).unwrap().into_luma8()
}

/// Returns a smoother with the network for int8.
fn smoother() -> Smoother {
    Smoother::new(smooth::built_in(Device::Cpu, Precision::Int8).unwrap(), 2).unwrap()
}

/// Returns a picture after smoothing.
fn smoothed(smoother: &mut Smoother, picture: &GrayImage, parameters: &Parameters) -> GrayImage {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let plane = [Plane::new(picture.as_raw().as_slice(), width)];
    let input = Picture::new(Format::GRAY8, width, height, &plane).unwrap();
    let mut result = vec![0; width * height];
    let plane = PlaneMut::new(&mut result, width);
    let mut output = PictureMut::new(Format::GRAY8, width, height, [plane]).unwrap();
    smoother.process(&input, &mut output, parameters, None, Field::First).unwrap();
    GrayImage::from_raw(picture.width(), picture.height(), result).unwrap()
}

/// Returns the standard deviation of what differs from the Gaussian mean, within a rectangle (x, y,
/// width, height).
fn detail_within(picture: &GrayImage, [x, y, width, height]: [u32; 4]) -> f64 {
    let mean = imageops::blur(picture, 8.0);
    let places = (y..y + height).flat_map(|y| (x..x + width).map(move |x| (x, y)));
    let sum: f64 = places
        .map(|(x, y)| {
            let [value, mean] = [picture, &mean].map(|p| f64::from(p.get_pixel(x, y).0[0]));
            (value - mean).powi(2)
        })
        .sum();
    (sum / f64::from(width * height)).sqrt()
}

/// Returns [`detail_within`] of the whole picture.
fn detail(picture: &GrayImage) -> f64 {
    detail_within(picture, [0, 0, picture.width(), picture.height()])
}

/// Returns parameters of a scale for single pictures.
fn parameters(scale: f32) -> Parameters {
    Parameters { scale, temporal: false, ..Parameters::default() }
}

#[test]
fn the_remaining_detail_hardly_grows_with_the_scale() {
    let mut smoother = smoother();
    for name in ["astronaut", "chelsea", "coffee", "rocket"] {
        let picture = photograph(name);
        let before = detail(&picture);
        let left = SCALES
            .map(|scale| detail(&smoothed(&mut smoother, &picture, &parameters(scale))) / before);
        println!("| {name} | {} |", left.map(|v| format!("{v:.2}")).join(" | "));
        let grows = left.windows(2).any(|pair| pair[1] > pair[0] + MAX_GROWTH);
        assert!(!grows, "{name}: {left:?}");
    }
}

/// Eyes and mouth of the astronaut, and hair above them (x, y, width, height).
const FACE: [u32; 4] = [130, 80, 68, 66];
const HAIR: [u32; 4] = [115, 20, 100, 40];

#[test]
fn adaptive_strength_keeps_a_face_and_removes_hair() {
    let mut smoother = smoother();
    let picture = photograph("astronaut");
    let before = [FACE, HAIR].map(|part| detail_within(&picture, part));
    let mut left = |parameters: &Parameters| {
        let result = smoothed(&mut smoother, &picture, parameters);
        let after = [FACE, HAIR].map(|part| detail_within(&result, part));
        [0, 1].map(|i| after[i] / before[i])
    };
    let print = |what: String, [face, hair]: [f64; 2]| {
        println!("| {what} | {face:.2} | {hair:.2} |");
    };
    let fixed = [1.0, 0.5, 0.25, 0.1].map(|strength| {
        let left = left(&Parameters { strength, ..parameters(12.0) });
        print(format!("strength={strength}"), left);
        left
    });
    let adaptive = left(&Parameters { adaptive: true, ..parameters(12.0) });
    print("adaptive=true".to_owned(), adaptive);
    assert!(adaptive[0] > fixed[0][0] + 0.15, "{adaptive:?}");
    assert!(adaptive[1] < fixed[0][1] + 0.1, "{adaptive:?}");
    // A fixed strength that keeps as much of the face removes less of the hair.
    for [face, hair] in fixed {
        assert!(face < adaptive[0] || hair > adaptive[1] + 0.1, "{face} {hair} {adaptive:?}");
    }
}

#[test]
fn adaptive_strength_removes_noise() {
    let mut smoother = smoother();
    let mut random = StdRng::seed_from_u64(3);
    // Noise of sigma 5: the sum of three uniform values of variance 8.3 each.
    let noisy = GrayImage::from_fn(160, 120, |_, _| {
        let noise: f32 = (0..3).map(|_| random.random_range(-5.0..5.0f32)).sum();
        image::Luma([(120.0 + noise).round() as u8])
    });
    let [fixed, adaptive] = [false, true].map(|adaptive| {
        detail(&smoothed(&mut smoother, &noisy, &Parameters { adaptive, ..parameters(8.0) }))
    });
    assert!(adaptive < 1.05 * fixed && fixed < 0.2 * detail(&noisy), "{fixed} {adaptive}");
}
