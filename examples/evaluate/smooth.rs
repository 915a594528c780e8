//! PSNR and SSIM of cnnsmooth on pictures with texture over structure.

use std::path::{Path, PathBuf};

use clap::Args;
use gstcnnvideo::quality::ssim;
use ndarray::Array2;

use crate::{Result, element, support};

#[derive(Args)]
pub struct Smooth {
    /// Folder with pairs NUMBER-SCALE-input.png and NUMBER-SCALE-target.png, as `train smooth-set` writes them.
    #[arg(long)]
    data: PathBuf,
    /// Model file to use instead of the built-in one.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Scale asked for, in terms of the texture's.
    #[arg(long, default_value_t = 1.0)]
    factor: f32,
    #[arg(long, default_value_t = 0.5)]
    structure: f32,
    /// Folder to write the results to.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub fn run(task: &Smooth) -> Result<()> {
    gst::init()?;
    gstcnnvideo::plugin_register_static()?;
    let mut inputs: Vec<_> = std::fs::read_dir(&task.data)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with("-input.png"))
        .collect();
    inputs.sort();
    if inputs.is_empty() {
        return Err(format!("no pictures in {}", task.data.display()).into());
    }
    let mut sums = std::collections::BTreeMap::<u32, ([f64; 4], f64)>::new();
    for input in &inputs {
        let name = input.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let scale: f32 = name.split('-').nth(1).and_then(|scale| scale.parse().ok()).ok_or("no scale in the name")?;
        let target = input.with_file_name(name.replace("input", "target")).with_extension("png");
        let (noisy, target) = (open(input)?, open(&target)?);
        let element = gst::ElementFactory::make("cnnsmooth")
            .property("scale", (scale * task.factor).clamp(1.0, 64.0))
            .property("structure", task.structure)
            .property("model-file", task.model.as_deref().and_then(Path::to_str))
            .build()?;
        let result = element::through(&element, &noisy, noisy.dimensions())?;
        if let Some(out) = &task.out {
            std::fs::create_dir_all(out)?;
            let picture = image::RgbImage::from_raw(noisy.width(), noisy.height(), result.clone()).ok_or("size")?;
            picture.save(out.join(format!("{name}.png")))?;
        }
        let target_luma = luma(&target, noisy.dimensions());
        let figures = [noisy.as_raw(), &result].map(|picture| {
            let clean: Vec<f32> = target.iter().map(|v| f32::from(*v)).collect();
            let psnr = support::psnr(support::mse(picture, &clean));
            (psnr, ssim(&luma(picture, noisy.dimensions()).view(), &target_luma.view()).unwrap_or(f64::NAN))
        });
        for key in [scale as u32, u32::MAX] {
            let (sum, count) = sums.entry(key).or_default();
            let all = [figures[0].0, figures[0].1, figures[1].0, figures[1].1];
            sum.iter_mut().zip(all).for_each(|(sum, v)| *sum += v);
            *count += 1.0;
        }
    }
    println!("| scale | pictures | input PSNR | SSIM | smoothed PSNR | SSIM |\n| --- | --- | --- | --- | --- | --- |");
    for (scale, (sum, count)) in sums {
        let name = if scale == u32::MAX { "all".to_owned() } else { scale.to_string() };
        let [a, b, c, d] = sum.map(|v| v / count);
        println!("| {name} | {count} | {a:.2} | {b:.3} | {c:.2} | {d:.3} |");
    }
    Ok(())
}

fn open(path: &Path) -> Result<image::RgbImage> {
    Ok(image::open(path)?.into_rgb8())
}

fn luma(rgb: &[u8], (width, height): (u32, u32)) -> Array2<f32> {
    let value = |rgb: &[u8]| 0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2]);
    Array2::from_shape_fn((height as usize, width as usize), |(y, x)| value(&rgb[3 * (y * width as usize + x)..]))
}
