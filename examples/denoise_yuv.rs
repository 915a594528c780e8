// SPDX-License-Identifier: MIT OR Apache-2.0

//! Denoises raw I420 frames from standard input to standard output with the library, without
//! GStreamer.
//!
//! `ffmpeg -i in.mp4 -f rawvideo -pix_fmt yuv420p - \
//!     | cargo run --release --example denoise_yuv -- 1280 720 \
//!     | ffmpeg -f rawvideo -pix_fmt yuv420p -s 1280x720 -i - out.mkv`

use std::io::{self, ErrorKind, Read, Write};

use cnnvideo::{
    denoise::{BitDepth, Networks, Parameters, Quality},
    frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [width, height] = arguments.as_slice() else {
        return Err("usage: denoise_yuv WIDTH HEIGHT < IN.yuv > OUT.yuv".into());
    };
    let (width, height): (usize, usize) = (width.parse()?, height.parse()?);
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    let (luma, chroma) = (width * height, chroma_width * chroma_height);
    let strides = [width, chroma_width, chroma_width];

    let networks = Networks::built_in(Quality::Fast, Device::Auto, Precision::Auto)?;
    let mut denoiser = networks.denoiser(Format::I420.colour(), BitDepth::Eight, 0)?;
    let (mut noisy, mut clean) = (vec![0; luma + 2 * chroma], vec![0; luma + 2 * chroma]);
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    loop {
        match input.read_exact(&mut noisy) {
            Err(err) if err.kind() == ErrorKind::UnexpectedEof => break,
            result => result?,
        }
        let (y, uv) = noisy.split_at(luma);
        let (u, v) = uv.split_at(chroma);
        let planes =
            [Plane::new(y, strides[0]), Plane::new(u, strides[1]), Plane::new(v, strides[2])];
        let from = Picture::new(Format::I420, width, height, &planes)?;

        let (y, uv) = clean.split_at_mut(luma);
        let (u, v) = uv.split_at_mut(chroma);
        let planes = [y, u, v].into_iter().zip(strides).map(|(p, stride)| PlaneMut::new(p, stride));
        let mut to = PictureMut::new(Format::I420, width, height, planes)?;

        denoiser.process(&from, &mut to, &Parameters::default(), None, Field::First)?;
        output.write_all(&clean)?;
    }
    Ok(())
}
