// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the shipped smoothing network on photographs.

use cnnvideo::{
    frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision},
    smooth::{self, Parameters, Smoother},
};
use image::{GrayImage, imageops};

/// Smoothing scales in pixels.
const SCALES: [f32; 8] = [8.0, 12.0, 16.0, 18.0, 20.0, 24.0, 32.0, 48.0];
/// Largest growth of the remaining detail from one scale to the next.
const MAX_GROWTH: f64 = 0.05;

/// Returns the luma of a photograph.
fn photograph(name: &str) -> GrayImage {
    let path = format!("{}/../../tests/data/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
    image::open(path).unwrap().into_luma8()
}

/// Returns a picture after smoothing.
fn smoothed(smoother: &mut Smoother, picture: &GrayImage, scale: f32) -> GrayImage {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let plane = [Plane::new(picture.as_raw().as_slice(), width)];
    let input = Picture::new(Format::GRAY8, width, height, &plane).unwrap();
    let mut result = vec![0; width * height];
    let plane = PlaneMut::new(&mut result, width);
    let mut output = PictureMut::new(Format::GRAY8, width, height, [plane]).unwrap();
    let parameters = Parameters { scale, temporal: false, ..Parameters::default() };
    smoother.process(&input, &mut output, &parameters, None, Field::First).unwrap();
    GrayImage::from_raw(picture.width(), picture.height(), result).unwrap()
}

/// Returns the standard deviation of what differs from the Gaussian mean.
fn detail(picture: &GrayImage) -> f64 {
    let mean = imageops::blur(picture, 8.0);
    let pairs = picture.pixels().zip(mean.pixels());
    let sum: f64 = pairs.map(|(a, b)| (f64::from(a.0[0]) - f64::from(b.0[0])).powi(2)).sum();
    (sum / f64::from(picture.width() * picture.height())).sqrt()
}

#[test]
fn the_remaining_detail_hardly_grows_with_the_scale() {
    let network = smooth::built_in(Device::Cpu, Precision::Int8).unwrap();
    let mut smoother = Smoother::new(network, 2).unwrap();
    for name in ["astronaut", "chelsea", "coffee", "rocket"] {
        let picture = photograph(name);
        let before = detail(&picture);
        let left = SCALES.map(|scale| detail(&smoothed(&mut smoother, &picture, scale)) / before);
        println!("| {name} | {} |", left.map(|v| format!("{v:.2}")).join(" | "));
        let grows = left.windows(2).any(|pair| pair[1] > pair[0] + MAX_GROWTH);
        assert!(!grows, "{name}: {left:?}");
    }
}
