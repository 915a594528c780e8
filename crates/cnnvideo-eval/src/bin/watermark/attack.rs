// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measures which attacks watermarks survive.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use cnnvideo::watermark::Payload;
use serde::Deserialize;

use crate::{init, launch, path, quoted};
use cnnvideo_eval::{
    Result,
    output::{create_folder, write_file},
    say, say_line,
};

/// Number of frames of each clip.
const FRAMES: u32 = 72;

/// Arguments of the subcommand `attack`.
#[derive(Args)]
pub(crate) struct Attack {
    #[command(flatten)]
    clips: Clips,
    /// Luma PSNR of marked frames in dB; several, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "45,42")]
    target_psnr: Vec<f32>,
    /// Frames over which the detector accumulates evidence.
    #[arg(long, default_value_t = 48)]
    window: u32,
}

/// Clips, keys and attacks.
#[derive(Args)]
pub(crate) struct Clips {
    /// Video files, or folders with the frames of a clip as JPEG files.
    #[arg(required = true)]
    clips: Vec<PathBuf>,
    /// JSON file with the attacks.
    #[arg(long, default_value = "benches/attacks.json")]
    attacks: PathBuf,
    /// Run only attacks whose name contains this; several, separated by semicolons.
    #[arg(long, value_delimiter = ';')]
    only: Vec<String>,
    /// Number of keys with which each clip is marked in turn.
    #[arg(long, default_value_t = 1)]
    keys: u32,
    /// Size to which clips are scaled first.
    #[arg(long, default_value = "1280x720")]
    size: String,
    /// Folder for temporary files.
    #[arg(long, default_value = "demo/attacks")]
    folder: PathBuf,
}

/// A marked clip after an attack.
pub(crate) struct Attacked<'a> {
    /// Index of the attack.
    pub attack: usize,
    /// Index of the target PSNR.
    pub strength: usize,
    /// The attacked video file.
    pub file: &'a Path,
    /// The key file.
    pub key: &'a Path,
    /// The payload that the clip was marked with.
    pub payload: Payload,
}

/// An attack: GStreamer elements, then an ffmpeg filter and ffmpeg codec options.
#[derive(Deserialize)]
struct AttackStep {
    name: String,
    elements: Option<String>,
    filter: Option<String>,
    codec: Option<String>,
}

impl Clips {
    /// Returns the names of the attacks.
    ///
    /// # Errors
    /// Returns an error if the list of attacks cannot be read.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        Ok(self.steps()?.into_iter().map(|step| step.name).collect())
    }

    /// Reads the attacks that `only` selects.
    fn steps(&self) -> Result<Vec<AttackStep>> {
        let mut steps: Vec<AttackStep> = serde_json::from_str(&fs::read_to_string(&self.attacks)?)?;
        steps.retain(|step| {
            self.only.is_empty() || self.only.iter().any(|only| step.name.contains(only))
        });
        Ok(steps)
    }

    /// Marks every clip at each target PSNR, applies each attack, and calls `each` with the result.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or written, if a pipeline or ffmpeg fails, or if
    /// `each` returns one.
    pub(crate) fn attacked(
        &self,
        psnrs: &[f32],
        mut each: impl FnMut(&Attacked<'_>) -> Result<()>,
    ) -> Result<()> {
        create_folder(&self.folder)?;
        let steps = self.steps()?;
        // GStreamer 1.22's y4mdec cannot read all files of ffmpeg, and y4menc cannot encode frames
        // with padded strides.
        let clean = self.folder.join("clean.mkv");
        let marked = self.folder.join("marked.y4m");
        let file = self.folder.join("attacked.mkv");
        let key_file = self.folder.join("key");
        for (number, clip) in self.clips.iter().enumerate() {
            scale_clip(clip, &self.size, &clean)?;
            for key in 0..self.keys {
                let seed = (number as u32 * self.keys + key) as u8;
                // The elements refuse a key of zeros.
                let byte = seed.wrapping_mul(37).wrapping_add(11).max(1);
                write_file(&key_file, |file| Ok(fs::write(file, [byte; 32])?))?;
                let payload = Payload(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(u64::from(seed) + 1));
                for (strength, psnr) in psnrs.iter().enumerate() {
                    mark(&clean, &key_file, payload, *psnr, &marked)?;
                    for (i, step) in steps.iter().enumerate() {
                        attack(step, &marked, &file)
                            .map_err(|err| format!("{}: {err}", step.name))?;
                        each(&Attacked {
                            attack: i,
                            strength,
                            file: &file,
                            key: &key_file,
                            payload,
                        })
                        .map_err(|err| format!("{}: {err}", step.name))?;
                    }
                }
            }
            eprintln!("{} of {} clips", number + 1, self.clips.len());
        }
        Ok(())
    }
}

/// Runs the subcommand.
pub(crate) fn run(task: &Attack) -> Result<()> {
    init()?;
    let names = task.clips.names()?;
    let mut results = vec![vec![AttackResult::default(); task.target_psnr.len()]; names.len()];
    task.clips.attacked(
        &task.target_psnr,
        |Attacked { attack, strength, file, key, payload }| {
            let (mut first_window, mut wrong, mut min_log10_p) = (None, false, 0.0f64);
            launch(
                &format!(
                    "filesrc location={} ! matroskademux ! avdec_ffv1 ! videoconvert ! \
                 watermarkdetect key-file={} window={} post-all=true ! fakesink",
                    quoted(path(file)?),
                    quoted(path(key)?),
                    task.window
                ),
                |message| {
                    if message.report.payload == Some(*payload) && first_window.is_none() {
                        first_window = Some(message.report.frames);
                    }
                    min_log10_p = min_log10_p.min(message.report.log10_p);
                    wrong |= message.report.payload.is_some_and(|other| other != *payload);
                    Ok(())
                },
            )?;
            let result = &mut results[*attack][*strength];
            result.detections.add(first_window.is_some(), min_log10_p);
            result.wrong += u32::from(wrong);
            result.frames += first_window.unwrap_or(0);
            Ok(())
        },
    )?;
    print_table(task, &names, &results)
}

/// How often the detector found the payload.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Detections {
    /// Clips in total.
    pub clips: u32,
    /// Clips whose payload was found.
    pub found: u32,
    /// Sum of the logarithms of the probability of chance.
    log10_p: f64,
}

impl Detections {
    /// Counts a clip.
    pub(crate) fn add(&mut self, found: bool, log10_p: f64) {
        self.clips += 1;
        self.found += u32::from(found);
        self.log10_p += log10_p;
    }

    /// Returns the mean logarithm of the probability of chance, 0 without clips.
    pub(crate) fn mean_log10_p(&self) -> f64 {
        self.log10_p / f64::from(self.clips.max(1))
    }
}

/// Results of the clips after one attack.
#[derive(Debug, Default, Clone, Copy)]
struct AttackResult {
    /// Detections, with the lowest probability of chance of each clip.
    detections: Detections,
    /// Clips for which a wrong payload was reported.
    wrong: u32,
    /// Sum of the number of frames in the first window with the payload.
    frames: u32,
}

/// Prints one row per attack and three columns per target PSNR.
fn print_table(task: &Attack, names: &[String], results: &[Vec<AttackResult>]) -> Result<()> {
    say!("| attack |")?;
    for psnr in &task.target_psnr {
        say!(" {psnr} dB: payload right | after frames | chance |")?;
    }
    say_line!("\n| --- |{}", " --- | --- | --- |".repeat(task.target_psnr.len()))?;
    for (name, results) in names.iter().zip(results) {
        say!("| {name} |")?;
        for AttackResult { detections, wrong, frames } in results {
            say!(" {} of {}", detections.found, detections.clips)?;
            if *wrong > 0 {
                say!(" ({wrong} wrong)")?;
            }
            let frames = f64::from(*frames) / f64::from(detections.found.max(1));
            say!(" | {frames:.0} | 10^{:.0} |", detections.mean_log10_p())?;
        }
        say_line!()?;
    }
    Ok(())
}

/// Marks a clip.
fn mark(clean: &Path, key: &Path, payload: Payload, psnr: f32, marked: &Path) -> Result<()> {
    write_file(marked, |file| {
        launch(
            &format!(
                "filesrc location={} ! matroskademux ! avdec_ffv1 direct-rendering=false ! \
                 videoconvert ! watermarkembed key-file={} payload={payload} target-psnr={psnr} ! \
                 y4menc ! filesink location={}",
                quoted(path(clean)?),
                quoted(path(key)?),
                quoted(path(file)?)
            ),
            |_| Ok(()),
        )
    })
}

/// Runs ffmpeg; overwrites its output files.
fn ffmpeg(arguments: &[&str]) -> Result<()> {
    let output =
        Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-y"]).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ffmpeg {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr))
        .into())
}

/// Scales the first frames of a clip to a size, cropping them to its aspect ratio.
fn scale_clip(clip: &Path, size: &str, to: &Path) -> Result<()> {
    let pattern = clip.join("*.jpg");
    let (width, height) = size.split_once('x').ok_or("expected a size as WIDTHxHEIGHT")?;
    let filter = format!(
        "scale={width}:{height}:force_original_aspect_ratio=increase:flags=bicubic,\
         crop={width}:{height},setsar=1"
    );
    let frames = FRAMES.to_string();
    let mut arguments = Vec::new();
    if clip.is_dir() {
        arguments.extend(["-framerate", "25", "-pattern_type", "glob", "-i", path(&pattern)?]);
    } else {
        arguments.extend(["-i", path(clip)?]);
    }
    arguments.extend([
        "-frames:v",
        &frames,
        "-vf",
        &filter,
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "ffv1",
        path(to)?,
    ]);
    ffmpeg(&arguments)
}

/// Applies an attack to a marked clip.
fn attack(step: &AttackStep, marked: &Path, attacked: &Path) -> Result<()> {
    let between = attacked.with_extension("elements.y4m");
    let coded = attacked.with_extension("coded.mkv");
    let mut from = marked;
    if let Some(elements) = &step.elements {
        write_file(&between, |file| {
            launch(
                &format!(
                    "filesrc location={} ! y4mdec ! {elements} ! video/x-raw,format=I420 ! \
                     y4menc ! filesink location={}",
                    quoted(path(from)?),
                    quoted(path(file)?)
                ),
                |_| Ok(()),
            )
        })?;
        from = &between;
    }
    let filter = step.filter.as_deref().unwrap_or("null");
    match &step.codec {
        Some(codec) if codec.contains("-c:v") => {
            let mut arguments = vec!["-i", path(from)?, "-vf", filter];
            arguments.extend(codec.split(' '));
            arguments.push(path(&coded)?);
            ffmpeg(&arguments)?;
            ffmpeg(&["-i", path(&coded)?, "-pix_fmt", "yuv420p", "-c:v", "ffv1", path(attacked)?])
        }
        codec => {
            let mut arguments =
                vec!["-i", path(from)?, "-vf", filter, "-pix_fmt", "yuv420p", "-c:v", "ffv1"];
            arguments.extend(codec.iter().flat_map(|codec| codec.split(' ')));
            arguments.push(path(attacked)?);
            ffmpeg(&arguments)
        }
    }
}
