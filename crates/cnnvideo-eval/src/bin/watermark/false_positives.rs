// SPDX-License-Identifier: MIT OR Apache-2.0

//! Statistics of the detector on clips without a watermark: distribution of the decoder's
//! correlation, and runs of the element.

use std::{path::PathBuf, time::Instant};

use cnnvideo::watermark::{Collector, Decoder, DecoderOptions, Key, Window};
use rand::{RngCore, SeedableRng, rngs::StdRng};

use super::{each_frame, init, launch, path, quoted};
use cnnvideo_eval::{Result, say_line};

/// Arguments of the subcommand `chance`.
#[derive(clap::Args)]
pub(crate) struct FalsePositives {
    /// Video files without a watermark.
    #[arg(required = true)]
    clips: Vec<PathBuf>,
    /// Number of decodes with the library, each with another key or place in the sequence of hops.
    #[arg(long, default_value_t = 1_000_000)]
    trials: u32,
    /// Frames of a window.
    #[arg(long, default_value_t = 24)]
    window: u32,
    /// Number of windows taken from each clip.
    #[arg(long, default_value_t = 3)]
    windows: u32,
    /// Number of trials with each key, each at another place in the sequence of hops.
    #[arg(long, default_value_t = 2_000)]
    per_key: u32,
    /// Number of runs of watermarkdetect, each with a new key; a correct detector reports nothing.
    #[arg(long, default_value_t = 0)]
    runs: u32,
    /// Seed of the random keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Width of a bin of the printed histogram, in standard deviations.
const BIN: f64 = 0.5;
/// Number of bins; the last one also counts larger values.
const BINS: usize = 48;

/// Runs the subcommand.
pub(crate) fn run(task: &FalsePositives) -> Result<()> {
    init()?;
    let mut rng = StdRng::seed_from_u64(task.seed);
    if task.trials > 0 {
        distribution(task, &mut rng)?;
    }
    if task.runs > 0 {
        run_elements(task, &mut rng)?;
    }
    Ok(())
}

/// Returns a random key.
fn random_key(rng: &mut StdRng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Prints the distribution of the correlation over the trials.
fn distribution(task: &FalsePositives, rng: &mut StdRng) -> Result<()> {
    let mut windows = Vec::new();
    for clip in &task.clips {
        windows.extend(load(task, clip)?);
    }
    if windows.is_empty() {
        return Err("every clip is shorter than a window".into());
    }
    say_line!(
        "{} windows of {} frames from {} clips",
        windows.len(),
        task.window,
        task.clips.len()
    )?;
    let (mut trials, mut correct_checks) = (0u32, 0u32);
    let mut max_tile_z = 0.0f64;
    let (mut bins, mut min_log10_p) = ([0u64; BINS], 0.0f64);
    let (mut sum, mut squares, mut max_z) = (0.0, 0.0, 0.0f64);
    let start = Instant::now();
    for number in 0.. {
        if trials >= task.trials {
            break;
        }
        let mut decoder = Decoder::new(Key::new(random_key(rng)), DecoderOptions::default());
        let count = task.per_key.min(task.trials - trials) as usize;
        for evidence in decoder.trials(&windows[number % windows.len()], count) {
            bins[((evidence.z / BIN).max(0.0) as usize).min(BINS - 1)] += 1;
            (sum, squares) = (sum + evidence.z, squares + evidence.z * evidence.z);
            min_log10_p = min_log10_p.min(evidence.log10_p);
            max_z = max_z.max(evidence.z);
            max_tile_z = max_tile_z.max(evidence.tile_z);
            correct_checks += u32::from(evidence.payload.is_some());
            trials += 1;
        }
    }
    let mean = sum / f64::from(trials);
    let sigma = (squares / f64::from(trials) - mean * mean).sqrt();
    say_line!(
        "{trials} trials in {:.0} s, a correct keyed check in {correct_checks}",
        start.elapsed().as_secs_f64()
    )?;
    say_line!("z of the best message: mean {mean:.2}, deviation {sigma:.2}, largest {max_z:.2}")?;
    say_line!("largest correlation of the described tiles with it: {max_tile_z:.2}")?;
    say_line!(
        "smallest bound on the probability of chance: 1e{min_log10_p:.1}; at a false positive \
         rate of 1e-9 a watermark is reported from z = {:.2}",
        threshold_z(-9.0)
    )?;
    say_line!("\n| z | trials |\n| --- | --- |")?;
    for (i, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        say_line!("| {:.1} to {:.1} | {count} |", i as f64 * BIN, (i + 1) as f64 * BIN)?;
    }
    Ok(())
}

/// Returns the correlation at which the bound equals a probability.
fn threshold_z(log10_p: f64) -> f64 {
    (2.0 * (64.0 * std::f64::consts::LN_2 - log10_p * std::f64::consts::LN_10)).sqrt()
}

/// Returns the first windows of a clip.
fn load(task: &FalsePositives, clip: &std::path::Path) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    let mut collector = Collector::new(task.window);
    let mut frames = 0;
    each_frame(clip, |picture| {
        collector.push(picture);
        frames += 1;
        if frames == task.window {
            windows.push(collector.window());
            collector.reset();
            frames = 0;
        }
        Ok((windows.len() as u32) < task.windows)
    })?;
    Ok(windows)
}

/// Runs `watermarkdetect` with random keys and prints how many runs report a watermark.
fn run_elements(task: &FalsePositives, rng: &mut StdRng) -> Result<()> {
    let (mut found, mut decodes) = (0u32, 0u32);
    for number in 0..task.runs {
        let clip = &task.clips[number as usize % task.clips.len()];
        let key: String = random_key(rng).iter().map(|byte| format!("{byte:02x}")).collect();
        launch(
            &format!(
                "filesrc location={} ! decodebin ! videoconvert ! identity eos-after={} ! \
                 watermarkdetect key={key} post-all=true ! fakesink",
                quoted(path(clip)?),
                task.window + 1
            ),
            |message| {
                decodes += 1;
                found += u32::from(message.report.payload.is_some());
                Ok(())
            },
        )?;
    }
    say_line!(
        "{} runs of watermarkdetect with {decodes} decodes: {found} report a watermark",
        task.runs
    )?;
    Ok(())
}
