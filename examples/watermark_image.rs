// SPDX-License-Identifier: MIT OR Apache-2.0

//! Embeds a watermark in an image that pans over some frames, and reads it from the frames, with
//! the library and without GStreamer.
//!
//! `cargo run --release --example watermark_image -- IN.jpg [MARKED.png]`

use cnnvideo::{
    frame::{Format, Picture, PictureMut, Plane, PlaneMut},
    watermark::{Collector, Decoder, DecoderOptions, Embedder, Key, Payload, Search, Strength},
};
use image::{GrayImage, imageops};

/// Number of frames over which the detector accumulates evidence.
const FRAMES: u32 = 24;
/// Size of the frames.
const SIZE: (u32, u32) = (960, 540);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let input = arguments.first().ok_or("usage: watermark_image IN.jpg [MARKED.png]")?;
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let filter = imageops::FilterType::Triangle;
    let photo = image::open(input)?.resize_to_fill(SIZE.0 + FRAMES, SIZE.1, filter).into_luma8();

    let key = Key::new(*b"a secret key of thirty-two bytes");
    let payload = Payload(0xc0ff_ee42);
    let mut embedder = Embedder::new(key.clone(), payload)?;
    let mut collector = Collector::new(FRAMES);
    for left in 0..FRAMES {
        let mut frame: GrayImage = imageops::crop_imm(&photo, left, 0, SIZE.0, SIZE.1).to_image();
        let plane = PlaneMut::new(&mut frame, width);
        let mut picture = PictureMut::new(Format::GRAY8, width, height, [plane])?;
        embedder.process(&mut picture, &Strength::default());
        if let Some(file) = arguments.get(1).filter(|_| left == 0) {
            frame.save(file)?;
        }
        collector.push(&Picture::new(Format::GRAY8, width, height, &[Plane::new(&frame, width)])?);
    }

    let mut decoder = Decoder::new(key, DecoderOptions::default());
    let report = decoder.decode(&collector.window(), Search::WholeFrame);
    match report.payload {
        Some(found) => println!("payload {found}, false positive rate 10^{:.0}", report.log10_p),
        None => println!("no watermark"),
    }
    Ok(())
}
