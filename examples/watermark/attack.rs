//! What marks survive.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use gstcnnvideo::watermark::Payload;
use serde::Deserialize;

use crate::{Result, init, launch, path, quoted};

/// Frames of a clip that are attacked.
const FRAMES: u32 = 72;

#[derive(Args)]
pub struct Attack {
    /// Video files, or folders with the frames of one as pictures.
    #[arg(required = true)]
    clips: Vec<PathBuf>,
    /// Attacks, as in benches/attacks.json.
    #[arg(long, default_value = "benches/attacks.json")]
    attacks: PathBuf,
    /// Only attacks whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Keys that each clip is marked with, one after the other.
    #[arg(long, default_value_t = 1)]
    keys: u32,
    #[arg(long, value_delimiter = ',', default_value = "45,42")]
    target_psnr: Vec<f32>,
    /// Size that clips are brought to first.
    #[arg(long, default_value = "1280x720")]
    size: String,
    /// Folder for what is made on the way.
    #[arg(long, default_value = "demo/attacks")]
    folder: PathBuf,
}

/// What is done to a marked clip: a pipeline's elements, then a filter and a codec of ffmpeg.
#[derive(Deserialize)]
struct Step {
    name: String,
    elements: Option<String>,
    filter: Option<String>,
    codec: Option<String>,
}

pub fn run(task: &Attack) -> Result<()> {
    init()?;
    fs::create_dir_all(&task.folder)?;
    let mut steps: Vec<Step> = serde_json::from_str(&fs::read_to_string(&task.attacks)?)?;
    if let Some(only) = &task.only {
        steps.retain(|step| step.name.contains(only));
    }
    // y4mdec of GStreamer 1.22 does not read all that ffmpeg writes, and y4menc no padded frames.
    let clean = task.folder.join("clean.mkv");
    let marked = task.folder.join("marked.y4m");
    let attacked = task.folder.join("attacked.mkv");
    let key_file = task.folder.join("key");
    let mut counts = vec![vec![Count::default(); task.target_psnr.len()]; steps.len()];
    for (number, clip) in task.clips.iter().enumerate() {
        normalise(clip, &task.size, &clean)?;
        for key in 0..task.keys {
            let seed = (number as u32 * task.keys + key) as u8;
            fs::write(&key_file, [seed.wrapping_mul(37).wrapping_add(11); 32])?;
            let payload = Payload(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(u64::from(seed) + 1));
            for (strength, psnr) in task.target_psnr.iter().enumerate() {
                launch(
                    &format!(
                        "filesrc location={} ! matroskademux ! avdec_ffv1 direct-rendering=false ! videoconvert ! watermarkembed key-file={} payload={payload} target-psnr={psnr} \
                         ! y4menc ! filesink location={}",
                        quoted(path(&clean)?),
                        quoted(path(&key_file)?),
                        quoted(path(&marked)?)
                    ),
                    |_| (),
                )?;
                for (step, counts) in steps.iter().zip(&mut counts) {
                    attack(step, &marked, &attacked).map_err(|err| format!("{}: {err}", step.name))?;
                    let (mut found, mut wrong, mut best) = (None, false, 0.0f64);
                    launch(
                        &format!(
                            "filesrc location={} ! matroskademux ! avdec_ffv1 ! videoconvert ! watermarkdetect key-file={} \
                             post-all=true ! fakesink",
                            quoted(path(&attacked)?),
                            quoted(path(&key_file)?)
                        ),
                        |message| {
                            if message.report.payload == Some(payload) && found.is_none() {
                                found = Some(message.report.frames);
                            }
                            best = best.min(message.report.log10_p);
                            wrong |= message.report.payload.is_some_and(|other| other != payload);
                        },
                    )
                    .map_err(|err| format!("{}: {err}", step.name))?;
                    let count = &mut counts[strength];
                    count.tried += 1;
                    count.right += u32::from(found.is_some());
                    count.wrong += u32::from(wrong);
                    count.frames += found.unwrap_or(0);
                    count.log10_p += best;
                }
            }
        }
        eprintln!("{} of {} clips", number + 1, task.clips.len());
    }
    print_table(task, &steps, &counts);
    Ok(())
}

/// What became of an attack's clips.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    right: u32,
    tried: u32,
    wrong: u32,
    /// Sums of the frames that were needed and of the logarithms of chance.
    frames: u32,
    log10_p: f64,
}

fn print_table(task: &Attack, steps: &[Step], counts: &[Vec<Count>]) {
    print!("| attack |");
    task.target_psnr.iter().for_each(|psnr| print!(" {psnr} dB: payload right | after frames | chance |"));
    print!("\n| --- |");
    task.target_psnr.iter().for_each(|_| print!(" --- | --- | --- |"));
    println!();
    for (step, counts) in steps.iter().zip(counts) {
        print!("| {} |", step.name);
        for count in counts {
            print!(" {} of {}", count.right, count.tried);
            if count.wrong > 0 {
                print!(" ({} wrong)", count.wrong);
            }
            let frames = f64::from(count.frames) / f64::from(count.right.max(1));
            print!(" | {frames:.0} | 10^{:.0} |", count.log10_p / f64::from(count.tried.max(1)));
        }
        println!();
    }
}

fn ffmpeg(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-y"]).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ffmpeg {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into())
}

/// Brings the first frames of a clip to a size; what is of another shape is cropped.
fn normalise(clip: &Path, size: &str, to: &Path) -> Result<()> {
    let pattern = clip.join("*.jpg");
    let (width, height) = size.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    let filter = format!(
        "scale={width}:{height}:force_original_aspect_ratio=increase:flags=bicubic,crop={width}:{height},setsar=1"
    );
    let frames = FRAMES.to_string();
    let mut arguments = Vec::new();
    if clip.is_dir() {
        arguments.extend(["-framerate", "25", "-pattern_type", "glob", "-i", path(&pattern)?]);
    } else {
        arguments.extend(["-i", path(clip)?]);
    }
    arguments.extend(["-frames:v", &frames, "-vf", &filter, "-pix_fmt", "yuv420p", "-c:v", "ffv1", path(to)?]);
    ffmpeg(&arguments)
}

fn attack(step: &Step, marked: &Path, attacked: &Path) -> Result<()> {
    let between = attacked.with_extension("elements.y4m");
    let coded = attacked.with_extension("coded.mkv");
    let mut from = marked;
    if let Some(elements) = &step.elements {
        launch(
            &format!(
                "filesrc location={} ! y4mdec ! {elements} ! video/x-raw,format=I420 ! y4menc ! filesink location={}",
                quoted(path(from)?),
                quoted(path(&between)?)
            ),
            |_| (),
        )?;
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
            let mut arguments = vec!["-i", path(from)?, "-vf", filter, "-pix_fmt", "yuv420p", "-c:v", "ffv1"];
            arguments.extend(codec.iter().flat_map(|codec| codec.split(' ')));
            arguments.push(path(attacked)?);
            ffmpeg(&arguments)
        }
    }
}
