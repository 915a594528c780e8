// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compares the visibility of watermarks of the same PSNR by mask: uniform, analytic, and predicted
//! by the network.

use std::path::PathBuf;

use clap::Args;
use cnnvideo::{
    frame::{Format, Picture, PictureMut, Plane, PlaneMut},
    quality::{ms_ssim, mse, psnr, ssim},
    watermark::{Collector, Decoder, Embedder, Key, Payload, Search, Strength},
};
use image::{GrayImage, codecs::jpeg::JpegEncoder};
use ndarray::Array2;

use crate::ONE_EPOCH;
use cnnvideo_eval::{Result, output::write_image, say_line};

/// Payload of all watermarks.
const PAYLOAD: Payload = Payload(0x0123_4567_89ab_cdef);
/// Standard deviation, in 8-bit units, below which a block counts as flat.
const FLAT: f32 = 2.0;
/// Side of a block in pixels.
const BLOCK: usize = 8;
/// Amplification of errors in the picture that is written.
const ERROR_GAIN: f32 = 20.0;
/// JPEG quality at which the evidence is measured.
const JPEG_QUALITY: u8 = 40;

/// Arguments of the subcommand `visible`.
#[derive(Args)]
pub(crate) struct Visible {
    /// Pictures to mark, each by itself.
    #[arg(required = true)]
    pictures: Vec<PathBuf>,
    /// Target PSNR of the network's watermarks; the other masks are matched to the PSNR reached.
    #[arg(long, default_value_t = 45.0)]
    target_psnr: f32,
    /// Writes the first picture and its amplified errors side by side to this file.
    #[arg(long)]
    picture: Option<PathBuf>,
}

/// MaskKind that distributes a watermark over the picture.
#[derive(Clone, Copy)]
enum MaskKind {
    /// The network's prediction.
    Network,
    /// The analytic model of masking.
    Analytic,
    /// The same amplitude everywhere.
    Uniform,
}

/// Masks to compare, with the names that are printed.
const MASKS: [(MaskKind, &str); 3] = [
    (MaskKind::Uniform, "uniform"),
    (MaskKind::Analytic, "analytic"),
    (MaskKind::Network, "network"),
];

/// Runs the subcommand.
pub(crate) fn run(task: &Visible) -> Result<()> {
    let mut sums = [[0.0; 5]; MASKS.len()];
    for (number, path) in task.pictures.iter().enumerate() {
        let clean = image::open(path)?.into_luma8();
        let network_psnr = psnr_of(&clean, &mark(&clean, MaskKind::Network, task.target_psnr)?);
        let mut errors = Vec::new();
        for ((mask, _), sums) in MASKS.iter().zip(&mut sums) {
            let marked = mark_with_psnr(&clean, *mask, task.target_psnr, network_psnr)?;
            let (a, b) = (plane(&clean), plane(&marked));
            let similar = ssim(&a.view(), &b.view()).ok_or("the picture is too small")?;
            let multiscale = ms_ssim(&a.view(), &b.view()).ok_or("the picture is too small")?;
            let results = [
                psnr_of(&clean, &marked),
                similar,
                multiscale,
                flat_psnr(&a, &b),
                evidence(&marked)?,
            ];
            sums.iter_mut().zip(results).for_each(|(sum, v)| *sum += v);
            errors.push((&b - &a).mapv(|e| (128.0 + ERROR_GAIN * e).clamp(0.0, 255.0) as u8));
        }
        if let Some(path) = task.picture.as_ref().filter(|_| number == 0) {
            errors.insert(0, plane(&clean).mapv(|v| v as u8));
            let (height, width) = errors[0].dim();
            let sheet = GrayImage::from_fn(2 * width as u32, 2 * height as u32, |x, y| {
                let (x, y) = (x as usize, y as usize);
                image::Luma([errors[2 * (y / height) + x / width][[y % height, x % width]]])
            });
            write_image(path, &sheet)?;
        }
    }
    say_line!(
        "{} pictures; flat: blocks of {BLOCK}x{BLOCK} with a standard deviation below {FLAT}\n",
        task.pictures.len()
    )?;
    say_line!(
        "| mask | PSNR | 1 - SSIM | 1 - MS-SSIM | PSNR in flat blocks | \
         z after JPEG {JPEG_QUALITY} |\n| --- | --- | --- | --- | --- | --- |"
    )?;
    for ((_, name), sums) in MASKS.iter().zip(sums) {
        let [a, b, c, d, e] = sums.map(|sum| sum / task.pictures.len() as f64);
        say_line!("| {name} | {a:.2} | {:.5} | {:.5} | {d:.2} | {e:.1} |", 1.0 - b, 1.0 - c)?;
    }
    Ok(())
}

/// Marks a picture with a mask.
fn mark(clean: &GrayImage, mask: MaskKind, target_psnr: f32) -> Result<GrayImage> {
    let embedder = Embedder::new(Key::new([7; 32]), PAYLOAD)?;
    let mut embedder =
        if matches!(mask, MaskKind::Analytic) { embedder.with_analytic_mask() } else { embedder };
    let mut marked = clean.clone();
    let (width, height) = (clean.width() as usize, clean.height() as usize);
    let samples: &mut [u8] = &mut marked;
    let mut view = PictureMut::new(Format::GRAY8, width, height, [PlaneMut::new(samples, width)])?;
    embedder.process(
        &mut view,
        &Strength { target_psnr, texture_aware: !matches!(mask, MaskKind::Uniform) },
    );
    Ok(marked)
}

/// Marks a picture so that its PSNR, rounding to 8 bits included, is `psnr`. The target PSNR of
/// the embedder starts at `first_target`.
fn mark_with_psnr(
    clean: &GrayImage,
    mask: MaskKind,
    first_target: f32,
    psnr: f64,
) -> Result<GrayImage> {
    let mut target = first_target;
    let mut marked = mark(clean, mask, target)?;
    for _ in 0..4 {
        let miss = psnr - psnr_of(clean, &marked);
        if miss.abs() < 0.02 {
            break;
        }
        target += miss as f32;
        marked = mark(clean, mask, target)?;
    }
    Ok(marked)
}

/// Returns the luma of a picture as an array.
fn plane(picture: &GrayImage) -> Array2<f32> {
    let (width, height) = picture.dimensions();
    Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        f32::from(picture[(x as u32, y as u32)].0[0])
    })
}

/// Returns the PSNR between two pictures in dB.
fn psnr_of(a: &GrayImage, b: &GrayImage) -> f64 {
    psnr(mse(&plane(a).view(), &plane(b).view()))
}

/// Returns the PSNR over the flat blocks.
fn flat_psnr(clean: &Array2<f32>, marked: &Array2<f32>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (clean, marked) in
        clean.exact_chunks((BLOCK, BLOCK)).into_iter().zip(marked.exact_chunks((BLOCK, BLOCK)))
    {
        if clean.std(0.0) < FLAT {
            sum += clean.iter().zip(&marked).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            count += clean.len() as f64;
        }
    }
    psnr(f64::max(sum, 1e-3) / f64::max(count, 1.0))
}

/// Returns the correlation `z` that the decoder finds in the picture after JPEG compression.
fn evidence(marked: &GrayImage) -> Result<f64> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(marked)?;
    let received = image::load_from_memory(&bytes)?.into_luma8();
    let (width, height) = (received.width() as usize, received.height() as usize);
    let mut collector = Collector::new(1);
    collector.push(&Picture::new(Format::GRAY8, width, height, &[Plane::new(&received, width)])?);
    Ok(Decoder::new(Key::new([7; 32]), ONE_EPOCH).decode(&collector.window(), Search::WholeFrame).z)
}
