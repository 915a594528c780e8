// SPDX-License-Identifier: MIT OR Apache-2.0

//! XPSNR against that of FFmpeg's filter `xpsnr`, and SSIMULACRA2 against that of the Python
//! package, on synthetic frames. `scripts/perceptual-reference` writes the values.

use cnnvideo::{
    frame::{Format, Picture, Plane},
    quality::{Xpsnr, YuvMatrix, ssimulacra2},
};
use ndarray::Array2;
use serde::Deserialize;

#[derive(Deserialize)]
struct References {
    videos: Vec<Video>,
    pictures: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    width: usize,
    height: usize,
    change: String,
    ssimulacra2: f64,
}

#[derive(Deserialize)]
struct Video {
    width: usize,
    height: usize,
    rate: f64,
    frames: u32,
    xpsnr: Vec<[f64; 3]>,
}

/// Returns 0 to 255, random by position and seed.
fn scramble(x: u32, y: u32, seed: u32) -> u32 {
    let value = x
        .wrapping_mul(374_761_393)
        .wrapping_add(y.wrapping_mul(668_265_263))
        .wrapping_add(seed.wrapping_mul(2_246_822_519));
    let value = (value ^ (value >> 13)).wrapping_mul(1_274_126_177);
    (value ^ (value >> 16)) & 255
}

/// Returns a component of the reference and of the tested frame.
fn planes(width: usize, height: usize, plane: u32, frame: u32) -> [Array2<f32>; 2] {
    let reference = |x: u32, y: u32| {
        let is_textured = (x / 40 + y / 40).is_multiple_of(2);
        let texture = if is_textured { scramble(x, y, plane) % 48 } else { 0 };
        40 + (x * 3 + y * 2 + frame * 5) % 120 + texture
    };
    let shape = (height, width);
    [
        Array2::from_shape_fn(shape, |(y, x)| reference(x as u32, y as u32) as f32),
        Array2::from_shape_fn(shape, |(y, x)| {
            let (x, y) = (x as u32, y as u32);
            let error = (scramble(x, y, 100 + 10 * frame + plane) % 9) as f32 - 4.0;
            (reference(x, y) as f32 + error).clamp(0.0, 255.0)
        }),
    ]
}

fn references() -> References {
    serde_json::from_str(include_str!("perceptual.json")).unwrap()
}

#[test]
fn xpsnr_is_that_of_ffmpeg() {
    let mut largest = 0.0f64;
    for Video { width, height, rate, frames, xpsnr } in references().videos {
        let mut measure = Xpsnr::default();
        for (frame, expected) in (0..frames).zip(xpsnr) {
            let luma = planes(width, height, 0, frame);
            let weights = measure.weights(&luma[0].view(), rate);
            let found = [0, 1, 2].map(|plane| {
                let [a, b] = match plane {
                    0 => luma.clone(),
                    _ => planes(width / 2, height / 2, plane, frame),
                };
                weights.xpsnr(&a.view(), &b.view())
            });
            println!("{width}x{height} at {rate}, frame {frame}: {found:.4?} {expected:.4?}");
            for (found, expected) in found.into_iter().zip(expected) {
                largest = largest.max((found - expected).abs());
            }
        }
    }
    println!("largest difference: {largest:.4} dB");
    assert!(largest < 0.001, "{largest} dB");
}

#[test]
fn ssimulacra2_is_that_of_the_python_package() {
    let mut largest = 0.0f64;
    for Pair { width, height, change, ssimulacra2: expected } in references().pictures {
        let planes = [0, 1, 2].map(|plane| planes(width, height, plane, 0));
        let samples = |tested: bool| -> Vec<u8> {
            let pixels = (0..height).flat_map(|y| (0..width).map(move |x| [y, x]));
            let samples = pixels.flat_map(|at| [0, 1, 2].map(|c| (c, at)));
            let value = |(c, at): (usize, [usize; 2])| {
                let [reference, test] = [0, 1].map(|i| planes[c][i][at] as u8);
                match (tested, change.as_str()) {
                    (false, _) => reference,
                    (true, "noise") => test,
                    (true, "dark") => reference / 8 * 7,
                    (true, "coarse") => reference / 24 * 24 + 12,
                    (true, other) => panic!("{other}"),
                }
            };
            samples.map(value).collect()
        };
        let (a, b) = (samples(false), samples(true));
        let [a, b] = [&a, &b].map(|samples| {
            Picture::new(Format::RGB, width, height, &[Plane::new(samples, 3 * width)]).unwrap()
        });
        let found = ssimulacra2((&a, YuvMatrix::BT601), (&b, YuvMatrix::BT601)).unwrap();
        println!("{width}x{height} {change}: {found:.3}, Python {expected:.3}");
        largest = largest.max((found - expected).abs());
    }
    println!("largest difference: {largest:.3}");
    // The package cuts its Gaussian off and treats borders in another way.
    assert!(largest < 1.5, "{largest}");
}
