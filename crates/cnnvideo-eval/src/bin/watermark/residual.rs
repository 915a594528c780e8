// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compares two residuals for detection: the detector's high-pass, and the difference between a
//! frame and its denoised version.

use clap::Args;
use cnnvideo::{
    denoise::{BitDepth, Denoiser, Networks, Parameters, Quality},
    frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision},
    watermark::{Collector, Decoder, Key, Report, Search},
};

use crate::{
    ONE_EPOCH,
    attack::{Attacked, Clips, Detections},
    each_frame, init,
};
use cnnvideo_eval::{Result, say, say_line};

/// Arguments of the subcommand `residual`.
#[derive(Args)]
pub(crate) struct Residuals {
    #[command(flatten)]
    clips: Clips,
    /// Noise sigmas, in 8-bit units, at which the denoiser runs.
    #[arg(
        long = "levels",
        value_name = "LEVELS",
        value_delimiter = ',',
        default_value = "5,10,20"
    )]
    sigmas: Vec<f32>,
    /// Luma PSNR of marked frames in dB.
    #[arg(long, default_value_t = 45.0)]
    target_psnr: f32,
    /// Frames of a window.
    #[arg(long, default_value_t = 48)]
    window: u32,
}

/// Runs the subcommand.
pub(crate) fn run(task: &Residuals) -> Result<()> {
    init()?;
    let names = task.clips.names()?;
    let residual_kinds = 1 + task.sigmas.len();
    let mut detections = vec![vec![Detections::default(); residual_kinds]; names.len()];
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto)?;
    task.clips.attacked(&[task.target_psnr], |attacked| {
        for (count, report) in
            detections[attacked.attack].iter_mut().zip(decode(task, &networks, attacked)?)
        {
            count.add(report.payload == Some(attacked.payload), report.log10_p);
        }
        Ok(())
    })?;
    say!("| attack | high-pass |")?;
    for sigma in &task.sigmas {
        say!(" denoiser at sigma {sigma} |")?;
    }
    say_line!("\n|{}", " --- |".repeat(1 + residual_kinds))?;
    for (name, detections) in names.iter().zip(detections) {
        say!("| {name} |")?;
        for count in detections {
            say!(" {} of {}, 10^{:.0} |", count.found, count.clips, count.mean_log10_p())?;
        }
        say_line!()?;
    }
    Ok(())
}

/// Returns the report for the high-pass residual, then those for the denoiser at each sigma.
fn decode(task: &Residuals, networks: &Networks, attacked: &Attacked<'_>) -> Result<Vec<Report>> {
    let mut collectors: Vec<_> =
        (0..=task.sigmas.len()).map(|_| Collector::new(task.window)).collect();
    let key = Key::from_file(attacked.key)?;
    let mut denoisers = Vec::new();
    let mut frames = 0;
    let mut halves = Vec::<f32>::new();
    each_frame(attacked.file, |picture| {
        collectors[0].push(picture);
        // Patterns are made for pictures of the area of 640x360, half the size of 1280x720 clips.
        let (width, height) = picture.size();
        let (width, height) = (width / 2, height / 2);
        halve(picture, &mut halves);
        let half = Picture::new(Format::GRAY8, width, height, &[Plane::new(&halves, width)])?;
        if denoisers.is_empty() {
            let make = |_: &f32| networks.denoiser(half.colour, BitDepth::Eight, 0);
            denoisers =
                task.sigmas.iter().map(make).collect::<std::result::Result<Vec<Denoiser>, _>>()?;
        }
        for ((sigma, denoiser), collector) in
            task.sigmas.iter().zip(&mut denoisers).zip(&mut collectors[1..])
        {
            let mut clean = halves.clone();
            let mut output = PictureMut::new(
                Format::GRAY8,
                width,
                height,
                [PlaneMut::new(clean.as_mut_slice(), width)],
            )?;
            let parameters =
                Parameters { sigma: Some(*sigma), temporal: false, ..Parameters::default() };
            denoiser.process(&half, &mut output, &parameters, None, Field::First)?;
            let residual: Vec<f32> = halves.iter().zip(&clean).map(|(a, b)| a - b).collect();
            collector.push(&Picture::new(
                Format::GRAY8,
                width,
                height,
                &[Plane::new(&residual, width)],
            )?);
        }
        frames += 1;
        Ok(frames < task.window)
    })?;
    let decode = |collector: &Collector| {
        Decoder::new(key.clone(), ONE_EPOCH).decode(&collector.window(), Search::Full)
    };
    Ok(collectors.iter().map(decode).collect())
}

/// Computes the means of blocks of 2x2 pixels.
fn halve(picture: &Picture<'_, u8>, to: &mut Vec<f32>) {
    let (luma, (width, height)) = (&picture.components[0], picture.size());
    to.clear();
    for y in 0..height / 2 {
        let at = |x: usize, dy: usize| f32::from(luma[[2 * y + dy, x]]);
        to.extend(
            (0..width / 2).map(|x| {
                0.25 * (at(2 * x, 0) + at(2 * x + 1, 0) + at(2 * x, 1) + at(2 * x + 1, 1))
            }),
        );
    }
}
