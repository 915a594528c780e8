// SPDX-License-Identifier: MIT OR Apache-2.0

//! Denoises a PNG or JPEG image with the library, without GStreamer.
//!
//! `cargo run --release --example denoise_png -- IN.png OUT.png [SIGMA]`

use cnnvideo::{
    denoise::{BitDepth, Networks, Parameters, Quality},
    frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision},
};
use image::RgbImage;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (input, output, sigma) = match arguments.as_slice() {
        [input, output] => (input, output, None),
        [input, output, sigma] => (input, output, Some(sigma.parse()?)),
        _ => return Err("usage: denoise_png IN.png OUT.png [SIGMA in 8-bit units]".into()),
    };
    let noisy = image::open(input)?.into_rgb8();
    let (width, height) = (noisy.width() as usize, noisy.height() as usize);
    let mut clean = RgbImage::new(noisy.width(), noisy.height());

    let from = Picture::new(Format::RGB, width, height, &[Plane::new(&noisy, 3 * width)])?;
    let plane = PlaneMut::new(&mut clean, 3 * width);
    let mut to = PictureMut::new(Format::RGB, width, height, [plane])?;

    let networks = Networks::built_in(Quality::Best, Device::Auto, Precision::Auto)?;
    let mut denoiser = networks.denoiser(from.colour, BitDepth::Eight, 0)?;
    let parameters = Parameters { sigma, temporal: false, ..Parameters::default() };
    let sigmas = denoiser.process(&from, &mut to, &parameters, None, Field::First)?;
    println!("noise sigma {:.1}, {}", sigmas.main, denoiser.backend());

    clean.save(output)?;
    Ok(())
}
