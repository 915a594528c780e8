// SPDX-License-Identifier: MIT OR Apache-2.0

//! Attackers who have marked video, but not the key: they copy the mark to other video, remove it,
//! or mix the copies of several receivers.
//!
//! The attackers know the method: that patterns change every 24 frames from the first one on, and
//! how the detector computes its residual.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use cnnvideo::{
    frame::{Format, Picture, PictureMut, Plane, PlaneMut},
    watermark::{
        Collector, Decoder, Embedder, HOP_FRAMES, Key, Payload, Report, Search, Security, Strength,
    },
};
use image::{GrayImage, imageops};
use ndarray::Array2;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{ONE_EPOCH, each_frame, init};
use crate::estimate::{Estimate, add, amplitudes, block_projection, luma_psnr};
use cnnvideo_eval::{Result, say_line};

/// Frames of a hop.
const HOP: usize = HOP_FRAMES as usize;
/// Attempts after which key and payload change.
const ATTEMPTS_PER_KEY: u32 = 25;

/// Arguments of the three experiments.
#[derive(Args)]
pub(crate) struct Forge {
    /// Clips without a mark: video files, or folders with the frames as JPEG files.
    #[arg(required = true)]
    clips: Vec<PathBuf>,
    /// Number of attempts for each way to attack.
    #[arg(long, default_value_t = 1000)]
    attempts: u32,
    /// Size to which clips are scaled first.
    #[arg(long, default_value = "1280x720")]
    size: String,
    /// Frames of each clip.
    #[arg(long, default_value_t = 72)]
    frames: usize,
    /// Luma PSNR of marked frames in dB.
    #[arg(long, default_value_t = 45.0)]
    target_psnr: f32,
    /// Format of the marks.
    #[arg(long, value_enum, default_value_t = SecurityArgument::CopyResistant)]
    security: SecurityArgument,
    /// Number of issued payloads (collusion).
    #[arg(long, default_value_t = 1000)]
    receivers: usize,
    /// Seed of keys and choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Values of `--security`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SecurityArgument {
    CopyResistant,
    Robust,
}

/// Frames of luma.
type Frames = Vec<Array2<u8>>;

/// What the experiments share.
struct Bench<'a> {
    task: &'a Forge,
    clips: Vec<Frames>,
    rng: StdRng,
}

impl<'a> Bench<'a> {
    fn new(task: &'a Forge) -> Result<Self> {
        init()?;
        let clips = task.clips.iter().map(|clip| load(task, clip)).collect::<Result<Vec<_>>>()?;
        if clips.iter().any(|clip| clip.len() < HOP) {
            return Err(format!("each clip needs {HOP} frames").into());
        }
        Ok(Self { task, clips, rng: StdRng::seed_from_u64(task.seed) })
    }

    /// Returns a random key.
    fn key(&mut self) -> Key {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        Key::new(bytes)
    }

    /// Marks frames, the first of which has the number 0.
    fn mark(&self, frames: &[Array2<u8>], key: &Key, payload: Payload) -> Result<Frames> {
        let security = match self.task.security {
            SecurityArgument::CopyResistant => Security::CopyResistant,
            SecurityArgument::Robust => Security::Robust,
        };
        let mut embedder = Embedder::new(key.clone(), payload)?.with_security(security);
        let strength = Strength { target_psnr: self.task.target_psnr, texture_aware: true };
        let mut frames = frames.to_vec();
        for frame in &mut frames {
            let (height, width) = frame.dim();
            let luma = frame.as_slice_mut().ok_or("frames are contiguous")?;
            let planes = [PlaneMut::new(luma, width)];
            embedder
                .process(&mut PictureMut::new(Format::GRAY8, width, height, planes)?, &strength);
        }
        Ok(frames)
    }
}

/// Runs the detector on frames without a change of geometry.
fn detect(frames: &[Array2<u8>], key: &Key, issued: &[Payload], search: Search) -> Result<Report> {
    let mut collector = Collector::new(48);
    for frame in frames {
        let (height, width) = frame.dim();
        let luma = frame.as_slice().ok_or("frames are contiguous")?;
        collector.push(&Picture::new(Format::GRAY8, width, height, &[Plane::new(luma, width)])?);
    }
    let mut decoder = Decoder::new(key.clone(), ONE_EPOCH).with_candidates(issued.to_vec());
    Ok(decoder.decode(&collector.window(), search))
}

/// Loads a clip as luma, scaled and cropped to the size of the task.
fn load(task: &Forge, clip: &Path) -> Result<Frames> {
    let (width, height) = task.size.split_once('x').ok_or("expected a size as WIDTHxHEIGHT")?;
    let (width, height): (u32, u32) = (width.parse()?, height.parse()?);
    let mut frames = Vec::new();
    let mut push = |picture: GrayImage| {
        let scale = (f64::from(width) / f64::from(picture.width()))
            .max(f64::from(height) / f64::from(picture.height()));
        let side = |v: u32, least: u32| ((f64::from(v) * scale).round() as u32).max(least);
        let (w, h) = (side(picture.width(), width), side(picture.height(), height));
        let scaled = imageops::resize(&picture, w, h, imageops::FilterType::CatmullRom);
        let part = imageops::crop_imm(&scaled, (w - width) / 2, (h - height) / 2, width, height);
        let luma = part.to_image().into_raw();
        Array2::from_shape_vec((height as usize, width as usize), luma).map(|f| frames.push(f))
    };
    if clip.is_dir() {
        let mut files: Vec<_> = std::fs::read_dir(clip)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|e| e == "jpg"));
        files.sort();
        for file in files.into_iter().take(task.frames) {
            push(image::open(file)?.into_luma8())?;
        }
    } else {
        let mut left = task.frames;
        each_frame(clip, |picture| {
            let (w, h) = picture.size();
            let luma = picture.components[0].iter().copied().collect();
            push(GrayImage::from_raw(w as u32, h as u32, luma).ok_or("size of a frame")?)?;
            left -= 1;
            Ok(left > 0)
        })?;
    }
    Ok(frames)
}

/// Runs the subcommand `copy`: how often a mark that was copied to another clip is accepted.
pub(crate) fn copy(task: &Forge) -> Result<()> {
    let mut bench = Bench::new(task)?;
    const WAYS: [&str; 4] = [
        "flat frames",
        "24 frames of a hop",
        "all frames of a clip",
        "the hops of all other clips",
    ];
    let mut accepted = [0; WAYS.len()];
    let mut least = [0.0f64; WAYS.len()];
    let mut control = 0;
    let targets: Vec<Vec<_>> = (bench.clips.iter())
        .map(|clip| clip[..HOP / 2].iter().map(|f| (f.clone(), amplitudes(f))).collect())
        .collect();
    let mut estimates = Vec::new();
    for attempt in 0..task.attempts {
        if attempt % ATTEMPTS_PER_KEY == 0 {
            let (key, payload) = (bench.key(), Payload(bench.rng.random()));
            let marked = (bench.clips.iter())
                .map(|clip| bench.mark(clip, &key, payload))
                .collect::<Result<Vec<_>>>()?;
            let report = detect(&marked[0][..HOP], &key, &[], Search::WholeFrame)?;
            control += u32::from(report.payload == Some(payload));
            let by_target = (0..marked.len())
                .map(|target| copy_estimates(&mut bench, &marked, target, &key, payload))
                .collect::<Result<Vec<_>>>()?;
            estimates = vec![(key, by_target)];
        }
        let (key, by_target) = estimates.first().ok_or("no estimates")?;
        let target = bench.rng.random_range(0..targets.len());
        let psnr = bench.rng.random_range(34.0..50.0);
        for (way, estimate) in by_target[target].iter().enumerate() {
            let forged: Vec<_> = targets[target]
                .iter()
                .map(|(frame, amplitudes)| add(frame, amplitudes, estimate, psnr))
                .collect();
            let report = detect(&forged, key, &[], Search::Full)?;
            accepted[way] += u32::from(report.payload.is_some());
            least[way] = least[way].min(report.log10_p);
        }
        if (attempt + 1) % 50 == 0 {
            eprintln!("{} of {} attempts: {accepted:?}", attempt + 1, task.attempts);
        }
    }
    let keys = task.attempts.div_ceil(ATTEMPTS_PER_KEY);
    say_line!("genuine marks read: {control} of {keys}\n")?;
    say_line!("| estimate from | attempts | accepted | smallest bound on chance |")?;
    say_line!("| --- | --- | --- | --- |")?;
    for ((way, accepted), least) in WAYS.iter().zip(accepted).zip(least) {
        say_line!("| {way} | {} | {accepted} | 10^{least:.0} |", task.attempts)?;
    }
    Ok(())
}

/// Returns the estimates for the first hop of a target, one for each way to make them.
fn copy_estimates(
    bench: &mut Bench<'_>,
    marked: &[Frames],
    target: usize,
    key: &Key,
    payload: Payload,
) -> Result<[Estimate; 4]> {
    let source = (target + bench.rng.random_range(1..marked.len().max(2))) % marked.len();
    let level = bench.rng.random_range(16..236);
    let flat = vec![Array2::from_elem(bench.clips[0][0].dim(), level); HOP];
    let others = (0..marked.len()).filter(|i| *i != target);
    Ok([
        Estimate::of_flat(&bench.mark(&flat, key, payload)?),
        Estimate::of_frames(marked[source][..HOP].iter()),
        Estimate::of_frames(marked[source].iter()),
        Estimate::of_frames(others.flat_map(|i| &marked[i][..HOP])),
    ])
}

/// Runs the subcommand `removal`: how often the mark is read after an estimate of it was removed,
/// and what that costs.
pub(crate) fn removal(task: &Forge) -> Result<()> {
    let mut bench = Bench::new(task)?;
    const WAYS: [&str; 3] = ["flat frames", "the same frames", "the hops of all clips"];
    // PSNR at which the estimate is subtracted, or side of the blocks in which it is projected out.
    const STRENGTHS: [Removal; 7] = [
        Removal::Subtract(45.0),
        Removal::Subtract(40.0),
        Removal::Subtract(36.0),
        Removal::Project(16),
        Removal::Project(32),
        Removal::Project(64),
        Removal::Project(256),
    ];
    let mut rows = vec![(0u32, 0.0f64); WAYS.len() * STRENGTHS.len()];
    for _ in 0..task.attempts {
        let (key, payload) = (bench.key(), Payload(bench.rng.random()));
        let marked = (bench.clips.iter())
            .map(|clip| bench.mark(&clip[..HOP], &key, payload))
            .collect::<Result<Vec<_>>>()?;
        let target = bench.rng.random_range(0..marked.len());
        let flat = vec![Array2::from_elem(bench.clips[0][0].dim(), 128); HOP];
        let estimates = [
            Estimate::of_flat(&bench.mark(&flat, &key, payload)?),
            Estimate::of_frames(marked[target].iter()),
            Estimate::of_frames(marked.iter().flatten()),
        ];
        for (way, estimate) in estimates.iter().enumerate() {
            for (i, strength) in STRENGTHS.iter().enumerate() {
                let attacked: Vec<_> = marked[target]
                    .iter()
                    .map(|frame| match strength {
                        Removal::Subtract(psnr) => {
                            add(frame, &amplitudes(frame), &estimate.negated(), *psnr)
                        }
                        Removal::Project(side) => block_projection(frame, estimate, *side),
                    })
                    .collect();
                let report = detect(&attacked, &key, &[], Search::Full)?;
                let (read, psnr) = &mut rows[way * STRENGTHS.len() + i];
                *read += u32::from(report.payload == Some(payload));
                *psnr += luma_psnr(&attacked[0], &marked[target][0]);
            }
        }
    }
    say_line!(
        "| estimate from | removal | PSNR to the marked | read |\n| --- | --- | --- | --- |"
    )?;
    for (i, (read, psnr)) in rows.into_iter().enumerate() {
        let way = WAYS[i / STRENGTHS.len()];
        let strength = match STRENGTHS[i % STRENGTHS.len()] {
            Removal::Subtract(psnr) => format!("subtracted at {psnr} dB"),
            Removal::Project(side) => format!("projected out in blocks of {side}"),
        };
        let psnr = psnr / f64::from(task.attempts);
        say_line!("| {way} | {strength} | {psnr:.1} | {read} of {} |", task.attempts)?;
    }
    Ok(())
}

/// A way to remove an estimate.
#[derive(Clone, Copy)]
enum Removal {
    /// Subtract it, scaled to a PSNR.
    Subtract(f32),
    /// Subtract its projection in blocks of this side.
    Project(usize),
}

/// Runs the subcommand `collusion`: how often mixed copies name their receivers, and others.
pub(crate) fn collusion(task: &Forge) -> Result<()> {
    let mut bench = Bench::new(task)?;
    const MIXES: [(&str, Mix); 6] = [
        ("mean", Mix::Mean),
        ("median", Mix::Median),
        ("rows in turns", Mix::Rows),
        ("frames in turns", Mix::Frames),
        ("blocks of 8 in turns", Mix::Blocks(8)),
        ("blocks of 64 in turns", Mix::Blocks(64)),
    ];
    say_line!(
        "| copies | mixed by | attempts | names a colluder | colluders named, of all | innocents named |"
    )?;
    say_line!("| --- | --- | --- | --- | --- | --- |")?;
    for copies in 2..=4 {
        let mut counts = [[0; 3]; MIXES.len()];
        for _ in 0..task.attempts {
            let key = bench.key();
            let issued: Vec<_> = (0..task.receivers).map(|_| Payload(bench.rng.random())).collect();
            let colluders: Vec<_> =
                issued.choose_multiple(&mut bench.rng, copies).copied().collect();
            let clip = bench.rng.random_range(0..bench.clips.len());
            let frames = &bench.clips[clip][..(2 * HOP).min(bench.clips[clip].len())];
            let marked = (colluders.iter())
                .map(|payload| bench.mark(frames, &key, *payload))
                .collect::<Result<Vec<_>>>()?;
            for ((_, mix), counts) in MIXES.iter().zip(&mut counts) {
                let mixed: Vec<_> = (0..frames.len()).map(|i| mix.frame(&marked, i)).collect();
                let report = detect(&mixed, &key, &issued, Search::WholeFrame)?;
                let named = report.named.iter().chain(&report.payload);
                let (guilty, innocent): (Vec<_>, Vec<_>) =
                    named.partition(|payload| colluders.contains(payload));
                let all = colluders.iter().filter(|payload| guilty.contains(payload)).count();
                counts[0] += u32::from(!guilty.is_empty());
                counts[1] += all as u32;
                counts[2] += u32::from(!innocent.is_empty());
            }
        }
        for ((name, _), [any, all, innocent]) in MIXES.iter().zip(counts) {
            let (n, total) = (task.attempts, task.attempts * copies as u32);
            let mut row = String::new();
            write!(row, "| {copies} | {name} | {n} | {any} | {all} of {total} | {innocent} |")?;
            say_line!("{row}")?;
        }
    }
    Ok(())
}

/// A way to mix copies.
#[derive(Clone, Copy)]
enum Mix {
    Mean,
    Median,
    Rows,
    Frames,
    Blocks(usize),
}

impl Mix {
    /// Mixes the frames of number `number`.
    fn frame(self, copies: &[Frames], number: usize) -> Array2<u8> {
        let count = copies.len();
        Array2::from_shape_fn(copies[0][number].dim(), |at| {
            let (y, x) = at;
            let value = |copy: usize| copies[copy][number][at];
            match self {
                Self::Mean => {
                    let sum: u32 = (0..count).map(|copy| u32::from(value(copy))).sum();
                    ((sum + count as u32 / 2) / count as u32) as u8
                }
                Self::Median => {
                    let mut values: Vec<_> = (0..count).map(value).collect();
                    values.sort_unstable();
                    values[count / 2]
                }
                Self::Rows => value(y % count),
                Self::Frames => value(number % count),
                // A multiplicative hash instead of a chequered pattern.
                Self::Blocks(side) => {
                    let block = (y / side * 7919 + x / side) as u32;
                    value((block.wrapping_mul(2_654_435_761) >> 16) as usize % count)
                }
            }
        })
    }
}
