// SPDX-License-Identifier: MIT OR Apache-2.0

//! The parts of `make demo` that are not GStreamer pipelines: adding noise to a clean video and
//! comparing videos.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use cnnvideo::quality::psnr;
use cnnvideo_eval::{
    Noise, Result,
    colour::yuv_to_rgb,
    mse,
    output::{run_program, write_file, write_image},
    say_line, y4m,
};
use image::{Rgb, RgbImage};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add noise like that of a small camera sensor in low light
    Noise {
        /// Clean video (.y4m, 8-bit 4:2:0)
        clean: PathBuf,
        /// Noisy video to write (.y4m)
        noisy: PathBuf,
    },
    /// Print the PSNR of the noisy and of the denoised video and draw a frame of each side by side
    Compare {
        /// Clean video (.y4m)
        clean: PathBuf,
        /// Noisy video (.y4m)
        noisy: PathBuf,
        /// Denoised video (.y4m)
        denoised: PathBuf,
        /// PNG file to write
        #[arg(long)]
        picture: PathBuf,
        /// Number of the frame to draw
        #[arg(long, default_value_t = 100)]
        frame: usize,
    },
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    run_program("demo", || match command {
        Command::Noise { clean, noisy } => {
            write_file(&noisy, |temporary| add_noise(&clean, temporary))
        }
        Command::Compare { clean, noisy, denoised, picture, frame } => {
            compare([&clean, &noisy, &denoised], &picture, frame)
        }
    })
}

/// Adds shot noise, whose variance grows with luma, and signal-independent read noise; low-pass
/// filtered noise of a lower sigma in chroma.
fn add_noise(clean: &Path, noisy: &Path) -> Result<()> {
    /// Variance of the read noise in squared 8-bit units.
    const READ_VARIANCE: f32 = 120.0;
    /// Variance of the shot noise per 8-bit unit of luma.
    const SHOT_VARIANCE_PER_CODE_VALUE: f32 = 1.6;
    /// Sigma of the chroma noise in 8-bit units.
    const CHROMA_SIGMA: f32 = 9.0;
    let mut reader = y4m::Reader::open(clean)?;
    let mut writer = y4m::Writer::create(noisy, &reader.header)?;
    let mut noise = Noise::new(1);
    let mut frame = Vec::new();
    while reader.read(&mut frame)? {
        let (luma, chroma) = frame.split_at_mut(reader.header.luma_len());
        for value in luma {
            let light = f32::from(*value);
            let sigma = (READ_VARIANCE + SHOT_VARIANCE_PER_CODE_VALUE * light).sqrt();
            *value = (light + sigma * noise.sample()).round() as u8;
        }
        let (width, _) = reader.header.chroma_size();
        let white: Vec<f32> = chroma.iter().map(|_| noise.sample()).collect();
        for (i, value) in chroma.iter_mut().enumerate() {
            // The sum of four values times 0.5 has a standard deviation of 1 again.
            let at = |j: usize| white.get(j).copied().unwrap_or(0.0);
            let blotch = 0.5 * (at(i) + at(i + 1) + at(i + width) + at(i + width + 1));
            *value = (f32::from(*value) + CHROMA_SIGMA * blotch).round() as u8;
        }
        writer.write(&frame)?;
    }
    Ok(writer.finish()?)
}

/// Compares a clean, a noisy and a denoised video, prints the PSNR and draws frame number `drawn`.
fn compare(files: [&Path; 3], picture: &Path, drawn: usize) -> Result<()> {
    let mut readers =
        files.iter().map(|f| y4m::Reader::open(f)).collect::<std::io::Result<Vec<_>>>()?;
    let header = readers[0].header.clone();
    if readers.iter().any(|r| (r.header.width, r.header.height) != (header.width, header.height)) {
        return Err("the videos differ in size".into());
    }
    let mut frames = [const { Vec::new() }; 3];
    let mut count = 0;
    // By video (noisy, denoised): mean square error of luma and of all planes.
    let mut sums = [[0.0; 2]; 2];
    loop {
        let mut more = [false; 3];
        for ((reader, frame), more) in readers.iter_mut().zip(&mut frames).zip(&mut more) {
            *more = reader.read(frame)?;
        }
        if more != [true; 3] {
            if more.contains(&true) {
                return Err("the videos differ in length".into());
            }
            break;
        }
        let luma = header.luma_len();
        for (sums, frame) in sums.iter_mut().zip(&frames[1..]) {
            sums[0] += mse(&frames[0][..luma], &frame[..luma]);
            sums[1] += mse(&frames[0], frame);
        }
        if count == drawn {
            write_image(picture, &side_by_side(&header, &frames))?;
        }
        count += 1;
    }
    if count <= drawn {
        return Err(
            format!("the videos have only {count} frames; choose --frame below that").into()
        );
    }
    let result = |i: usize, plane: usize| psnr(sums[i][plane] / f64::from(count as u32));
    say_line!("{count} frames             noisy   denoised   gain")?;
    for (plane, name) in ["PSNR of luma      ", "PSNR of all planes"].into_iter().enumerate() {
        let (before, after) = (result(0, plane), result(1, plane));
        say_line!("{name} {before:8.2} {after:10.2} {:+7.2} dB", after - before)?;
    }
    Ok(())
}

/// Returns the left half noisy and the right half denoised; below, enlarged crops from the centre
/// of the noisy, the denoised and the clean frame.
fn side_by_side(header: &y4m::Header, frames: &[Vec<u8>; 3]) -> RgbImage {
    const WHOLE_ZOOM: u32 = 2;
    const CROP_ZOOM: u32 = 4;
    let (width, height) = (header.width as u32, header.height as u32);
    let crop_width = WHOLE_ZOOM * width / (3 * CROP_ZOOM);
    let crop_height = (crop_width * 3 / 4).min(height);
    let upper = WHOLE_ZOOM * height;
    RgbImage::from_fn(3 * CROP_ZOOM * crop_width, upper + CROP_ZOOM * crop_height, |x, y| {
        if y < upper {
            let (x, y) = ((x / WHOLE_ZOOM).min(width - 1), y / WHOLE_ZOOM);
            let side = if x < width / 2 { 1 } else { 2 };
            rgb(header, &frames[side], x, y)
        } else {
            let which = [1, 2, 0][(x / (CROP_ZOOM * crop_width)) as usize];
            let (x, y) = (x % (CROP_ZOOM * crop_width) / CROP_ZOOM, (y - upper) / CROP_ZOOM);
            rgb(
                header,
                &frames[which],
                (width - crop_width) / 2 + x,
                (height - crop_height) / 2 + y,
            )
        }
    })
}

/// Converts a pixel to RGB (ITU-R BT.601, limited range).
fn rgb(header: &y4m::Header, frame: &[u8], x: u32, y: u32) -> Rgb<u8> {
    let (x, y) = (x as usize, y as usize);
    let (cw, ch) = header.chroma_size();
    let chroma = header.luma_len() + y / 2 * cw + x / 2;
    let [u, v] = [chroma, chroma + cw * ch].map(|i| f32::from(frame[i]));
    Rgb(yuv_to_rgb([f32::from(frame[y * header.width + x]), u, v]).map(|c| c.round() as u8))
}
