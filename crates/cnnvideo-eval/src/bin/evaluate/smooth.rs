// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evaluation of cnnsmooth: PSNR and SSIM on images with texture over structure, and its response
//! to gratings and bars.

use std::path::{Path, PathBuf};

use clap::Args;
use cnnvideo::quality::{psnr, ssim};
use ndarray::Array2;

use cnnvideo_eval::{
    Noise, Result,
    colour::full_range_luma,
    element::run_element,
    frame::RawFrame,
    images, init, mse,
    output::{create_folder, write_image},
    say_line,
};

#[derive(Args)]
pub(crate) struct SmoothArguments {
    /// Folder with pairs NUMBER-SCALE-input.png and NUMBER-SCALE-target.png, as written by
    /// `train smooth-set`
    #[arg(long)]
    data: PathBuf,
    /// Model file to use instead of the built-in model
    #[arg(long)]
    model: Option<PathBuf>,
    /// Ratio of the `scale` property to the scale of the texture
    #[arg(long, default_value_t = 1.0)]
    factor: f32,
    /// Value of the `structure` property
    #[arg(long, default_value_t = 0.5)]
    structure: f32,
    /// Sigma in 8-bit units of white noise to add to the images
    #[arg(long, default_value_t = 0.0)]
    noise: f32,
    /// Run cnndenoise before cnnsmooth
    #[arg(long)]
    denoise: bool,
    /// Folder to write the results to
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Measures PSNR and SSIM by scale.
pub(crate) fn run(arguments: &SmoothArguments) -> Result<()> {
    init()?;
    let mut inputs = images::image_files(&arguments.data)?;
    inputs.retain(|path| path.to_string_lossy().ends_with("-input.png"));
    if inputs.is_empty() {
        return Err(format!("no images (*-input.png) in {}", arguments.data.display()).into());
    }
    let mut sums = std::collections::BTreeMap::<u32, ([f64; 4], f64)>::new();
    for (number, input) in inputs.iter().enumerate() {
        let name = images::stem(input);
        let scale: f32 = name
            .split('-')
            .nth(1)
            .and_then(|scale| scale.parse().ok())
            .ok_or("a file name has no scale; NUMBER-SCALE-input.png is expected")?;
        let target = input.with_file_name(name.replace("input", "target")).with_extension("png");
        let target = images::open_rgb(&target)?;
        let mut noisy = RawFrame::from_image(&images::open_rgb(input)?)?;
        if arguments.noise > 0.0 {
            noisy.add_noise(arguments.noise, &mut Noise::new(number as u64));
        }
        let (size, noisy) = (noisy.size(), [noisy]);
        let element = gst::ElementFactory::make("cnnsmooth")
            .property("scale", (scale * arguments.factor).clamp(1.0, 64.0))
            .property("structure", arguments.structure)
            .property("model-file", arguments.model.as_deref().and_then(Path::to_str))
            .build()?;
        let smoothed = if arguments.denoise {
            let denoiser = gst::ElementFactory::make("cnndenoise").build()?;
            run_element(&element, &run_element(&denoiser, &noisy)?.frames)?
        } else {
            run_element(&element, &noisy)?
        };
        let smoothed = smoothed.frames[0].first_plane();
        if let Some(out) = &arguments.out {
            create_folder(out)?;
            let picture = image::RgbImage::from_raw(size.0, size.1, smoothed.clone())
                .ok_or("the result has an unexpected size")?;
            write_image(&out.join(format!("{name}.png")), &picture)?;
        }
        let target_luma = full_range_luma(&target, size);
        let measures = [noisy[0].first_plane(), smoothed].map(|rgb| {
            let luma = full_range_luma(&rgb, size);
            let ssim = ssim(&luma.view(), &target_luma.view()).unwrap_or(f64::NAN);
            (psnr(mse(&rgb, target.as_raw())), ssim)
        });
        for key in [scale as u32, u32::MAX] {
            let (sum, count) = sums.entry(key).or_default();
            let all = [measures[0].0, measures[0].1, measures[1].0, measures[1].1];
            sum.iter_mut().zip(all).for_each(|(sum, v)| *sum += v);
            *count += 1.0;
        }
    }
    say_line!(
        "| scale | images | input PSNR | SSIM | smoothed PSNR | SSIM |\n\
         | --- | --- | --- | --- | --- | --- |"
    )?;
    for (scale, (sum, count)) in sums {
        let name = if scale == u32::MAX { "all".to_owned() } else { scale.to_string() };
        let [a, b, c, d] = sum.map(|v| v / count);
        say_line!("| {name} | {count} | {a:.2} | {b:.3} | {c:.2} | {d:.3} |")?;
    }
    Ok(())
}

/// Side of the test images in pixels.
const SIDE: usize = 256;
/// Values of the `scale` property.
const SCALES: [f32; 5] = [2.0, 4.0, 8.0, 16.0, 32.0];
/// Periods of the gratings relative to the scale.
const PERIODS: [f32; 7] = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0];

/// Prints how much of gratings and of single bars cnnsmooth keeps, by scale.
pub(crate) fn response(model: Option<&Path>) -> Result<()> {
    init()?;
    let header: String = PERIODS.iter().map(|p| format!(" {p} |")).collect();
    say_line!(
        "Remaining energy of gratings by period over scale; remaining contrast of a bar \
         of twice the scale's width\n"
    )?;
    say_line!("| scale |{header} bar |\n| --- |{} --- |", " --- |".repeat(PERIODS.len()))?;
    for scale in SCALES {
        let mut line = format!("| {scale} |");
        for factor in PERIODS {
            let period = scale * factor;
            // Shorter periods are beyond the Nyquist limit; longer ones do not fit into the image.
            if period < 2.0 || period > SIDE as f32 / 3.0 {
                line += " - |";
                continue;
            }
            let wave = |x: usize, y: usize| {
                let along = 0.8 * x as f32 + 0.6 * y as f32;
                20.0 * (along / period * std::f32::consts::TAU).sin()
            };
            line += &format!(
                " {:.2} |",
                energy(&smoothed(model, scale, wave)?) / energy(&test_image(wave))
            );
        }
        let half = scale;
        let bar = move |x: usize, _: usize| {
            30.0 * (half - (x as f32 + 0.5 - SIDE as f32 / 2.0).abs() + 0.5).clamp(0.0, 1.0)
        };
        let result = smoothed(model, scale, bar)?;
        let luma = |x: usize| result.row(SIDE / 2)[x];
        let contrast = luma(SIDE / 2) - 0.5 * (luma(SIDE / 8) + luma(SIDE - SIDE / 8));
        say_line!("{line} {:.2} |", contrast / 30.0)?;
    }
    Ok(())
}

/// Returns a grey test image: 128 plus `value(x, y)`.
fn test_image(value: impl Fn(usize, usize) -> f32) -> Array2<f32> {
    Array2::from_shape_fn((SIDE, SIDE), |(y, x)| (128.0 + value(x, y)).round())
}

/// Returns luma of a test image after cnnsmooth.
fn smoothed(
    model: Option<&Path>,
    scale: f32,
    value: impl Fn(usize, usize) -> f32,
) -> Result<Array2<f32>> {
    let rgb: Vec<u8> = test_image(value).iter().flat_map(|v| [*v as u8; 3]).collect();
    let element = gst::ElementFactory::make("cnnsmooth")
        .property("scale", scale)
        .property("model-file", model.and_then(Path::to_str))
        .build()?;
    let size = (SIDE as u32, SIDE as u32);
    let output = run_element(&element, &[RawFrame::from_rgb(&rgb, size)?])?;
    Ok(full_range_luma(&output.frames[0].first_plane(), size))
}

/// Returns the variance, without a margin along the borders.
fn energy(plane: &Array2<f32>) -> f32 {
    let inner = plane.slice(ndarray::s![32..SIDE - 32, 32..SIDE - 32]);
    inner.var(0.0)
}
