//! Compares two residuals for detection: the detector's high-pass, and the difference between a
//! frame and its denoised version.

use clap::Args;
use cnnvideo::{
    denoise::{Denoiser, Networks, Parameters, Rung},
    frame::{Format, Picture, PictureMut},
    nn::{Device, Precision},
    watermark::{Collector, Decoder, Key, Report, Search},
};

use crate::{
    Result,
    attack::{Attacked, Clips},
    each_frame, init,
};

/// Arguments of the subcommand `residual`.
#[derive(Args)]
pub struct Residuals {
    #[command(flatten)]
    what: Clips,
    /// Noise sigmas, in 8-bit units, at which the denoiser runs.
    #[arg(long, value_delimiter = ',', default_value = "5,10,20")]
    levels: Vec<f32>,
    /// Luma PSNR of marked frames in dB.
    #[arg(long, default_value_t = 45.0)]
    target_psnr: f32,
    /// Frames of a window.
    #[arg(long, default_value_t = 48)]
    window: u32,
}

/// Results of one residual for the clips after an attack.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    /// Clips whose payload was found.
    right: u32,
    /// Clips in total.
    tried: u32,
    /// Sum of the logarithms of the probability of chance.
    log10_p: f64,
}

/// Runs the subcommand.
pub fn run(task: &Residuals) -> Result<()> {
    init()?;
    let names = task.what.names()?;
    let ways = 1 + task.levels.len();
    let mut counts = vec![vec![Count::default(); ways]; names.len()];
    let networks = Networks::built_in(Rung::Fast, Device::Cpu, Precision::Auto)?;
    task.what.attacked(&[task.target_psnr], |attacked| {
        for (count, report) in
            counts[attacked.attack].iter_mut().zip(read(task, &networks, attacked)?)
        {
            count.tried += 1;
            count.right += u32::from(report.payload == Some(attacked.payload));
            count.log10_p += report.log10_p;
        }
        Ok(())
    })?;
    print!("| attack | high-pass |");
    task.levels.iter().for_each(|level| print!(" denoiser at sigma {level} |"));
    println!("\n|{}", " --- |".repeat(1 + ways));
    for (name, counts) in names.iter().zip(counts) {
        print!("| {name} |");
        for count in counts {
            print!(
                " {} of {}, 10^{:.0} |",
                count.right,
                count.tried,
                count.log10_p / f64::from(count.tried.max(1))
            );
        }
        println!();
    }
    Ok(())
}

/// Returns the report for the high-pass residual, then those for the denoiser at each sigma.
fn read(task: &Residuals, networks: &Networks, attacked: &Attacked<'_>) -> Result<Vec<Report>> {
    let mut collectors: Vec<_> =
        (0..=task.levels.len()).map(|_| Collector::new(task.window)).collect();
    let key = std::fs::read(attacked.key)?;
    let key = Key::new(key.try_into().map_err(|_| "not a key of 32 bytes")?);
    let mut denoisers = Vec::new();
    let mut frames = 0;
    let mut halves = Vec::<f32>::new();
    each_frame(attacked.file, |picture| {
        collectors[0].push(picture);
        // Patterns are made for pictures of the area of 640x360, half the size of 1280x720 clips.
        let (width, height) = picture.size();
        let (width, height) = (width / 2, height / 2);
        halve(picture, &mut halves);
        let half = Picture::new(Format::GRAY8, width, height, &[(&halves, width)])?;
        if denoisers.is_empty() {
            let make = |_: &f32| networks.denoiser(half.colour, false, 0);
            denoisers =
                task.levels.iter().map(make).collect::<std::result::Result<Vec<Denoiser>, _>>()?;
        }
        for ((level, denoiser), collector) in
            task.levels.iter().zip(&mut denoisers).zip(&mut collectors[1..])
        {
            let mut clean = halves.clone();
            let mut output =
                PictureMut::new(Format::GRAY8, width, height, [(clean.as_mut_slice(), width)])?;
            let parameters =
                Parameters { noise_level: Some(*level), strength: 1.0, temporal: false };
            denoiser.process(&half, &mut output, &parameters, None, 0)?;
            let residual: Vec<f32> = halves.iter().zip(&clean).map(|(a, b)| a - b).collect();
            collector.push(&Picture::new(Format::GRAY8, width, height, &[(&residual, width)])?);
        }
        frames += 1;
        Ok(frames < task.window)
    })?;
    let decode = |collector: &Collector| {
        Decoder::new(key.clone(), 1e-9, 1).decode(&collector.window(), Search::Full)
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
