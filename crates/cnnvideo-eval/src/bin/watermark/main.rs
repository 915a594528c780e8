// SPDX-License-Identifier: MIT OR Apache-2.0

//! Embeds and detects watermarks in video files, and measures their robustness and visibility.
//!
//! `cargo run --release -p cnnvideo-eval --bin watermark -- SUBCOMMAND --help`, with the
//! subcommands `embed`, `detect`, `attack`, `copy`, `removal`, `collusion`, `patterns`, `chance`,
//! `visible` and `residual`.

mod attack;
mod estimate;
mod false_positives;
mod forge;
mod patterns;
mod residual;
mod visible;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use cnnvideo::{
    frame::{Format, Picture, Plane},
    nn::files::is_same_file,
    watermark::DecoderOptions,
};
use cnnvideo_eval::{
    Result,
    output::{run_program, write_file},
    say_line,
};
use gst::prelude::*;
use gst_video::{VideoFrameExt, VideoInfo};
use gstcnnvideo::watermarkdetect::WatermarkMessage;

/// Options for clips and pictures that were marked in key epoch 0.
const ONE_EPOCH: DecoderOptions =
    DecoderOptions { false_positive_rate: 1e-9, epoch_count: 1, orientations: true };

#[derive(Parser)]
#[command(about = "Embeds and detects keyed watermarks in video files")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Embeds a watermark in a video file; writes raw video (.y4m) or VP8 (.webm).
    Embed {
        /// Video file to read.
        input: PathBuf,
        /// Video file to write, .y4m or .webm.
        output: PathBuf,
        /// File with the secret key: 32 bytes or 64 hex digits.
        #[arg(long)]
        key_file: PathBuf,
        /// Payload of 64 bits, as 16 hex digits.
        #[arg(long)]
        payload: String,
        /// Lowest luma PSNR of marked frames in dB.
        #[arg(long, default_value_t = 45.0)]
        target_psnr: f32,
    },
    /// Detects watermarks in a video file; prints a line whenever the result changes.
    Detect {
        /// Video file to read.
        input: PathBuf,
        /// File with the secret key: 32 bytes or 64 hex digits.
        #[arg(long)]
        key_file: PathBuf,
    },
    /// Measures the statistics of the detector on clips without a watermark.
    Chance(false_positives::FalsePositives),
    /// Compares the visibility of watermarks by mask: uniform, analytic, and predicted by the
    /// network.
    Visible(visible::Visible),
    /// Compares the detector's high-pass residual with the residual of the denoiser. Needs ffmpeg.
    Residual(residual::Residuals),
    /// Measures which attacks watermarks survive, with the GStreamer elements. Needs ffmpeg.
    Attack(attack::Attack),
    /// Measures how often a mark is accepted that was copied to another clip without the key.
    Copy(forge::Forge),
    /// Measures how often a mark is read after an estimate of it was removed without the key.
    Removal(forge::Forge),
    /// Measures how often mixed copies name their receivers, and innocent ones.
    Collusion(forge::Forge),
    /// Simulates how many segments of A/B variants find receivers who mix their copies.
    Patterns(patterns::Simulation),
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    run_program("watermark", || match task {
        Task::Embed { input, output, key_file, payload, target_psnr } => {
            embed(&input, &output, &key_file, &payload, target_psnr)
        }
        Task::Detect { input, key_file } => detect(&input, &key_file),
        Task::Chance(task) => false_positives::run(&task),
        Task::Visible(task) => visible::run(&task),
        Task::Residual(task) => residual::run(&task),
        Task::Attack(task) => attack::run(&task),
        Task::Copy(task) => forge::copy(&task),
        Task::Removal(task) => forge::removal(&task),
        Task::Collusion(task) => forge::collusion(&task),
        Task::Patterns(task) => patterns::run(&task),
    })
}

/// Initialises GStreamer and registers the plugin.
fn init() -> Result<()> {
    gst::init()?;
    Ok(gstcnnvideo::plugin_register_static()?)
}

/// Returns a path as text.
fn path(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}

/// Quotes a value for a pipeline description.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Runs a pipeline until it ends; calls `each` with every message of `watermarkdetect`.
fn launch(description: &str, mut each: impl FnMut(&WatermarkMessage) -> Result<()>) -> Result<()> {
    let pipeline = gst::parse::launch(description)?;
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let mut result: Result<()> = Ok(());
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(err) => {
                result = Err(err.error().to_string().into());
                break;
            }
            gst::MessageView::Element(element) => {
                if let Some(Ok(message)) = element.structure().map(WatermarkMessage::try_from) {
                    result = each(&message);
                    if result.is_err() {
                        break;
                    }
                }
            }
            _ => (),
        }
    }
    pipeline.set_state(gst::State::Null)?;
    result?;
    started?;
    Ok(())
}

/// Calls `each` with the luma of a clip's frames until it returns false.
fn each_frame(clip: &Path, mut each: impl FnMut(&Picture<'_, u8>) -> Result<bool>) -> Result<()> {
    let description = format!(
        "filesrc location={} ! decodebin ! videoconvert ! video/x-raw,format=GRAY8 ! \
         appsink name=o sync=false max-buffers=4",
        quoted(path(clip)?)
    );
    let pipeline =
        gst::parse::launch(&description)?.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let output = pipeline
        .by_name("o")
        .and_then(|e| e.downcast::<gst_app::AppSink>().ok())
        .ok_or("no appsink")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut more = true;
    while more && let Some(sample) = output.try_pull_sample(gst::ClockTime::from_seconds(20)) {
        let info = VideoInfo::from_caps(sample.caps().ok_or("sample without caps")?)?;
        let buffer = sample.buffer().ok_or("sample without buffer")?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)
            .map_err(|_| "cannot map the frame")?;
        let plane = Plane::new(frame.plane_data(0)?, frame.plane_stride()[0] as usize);
        more = each(&Picture::new(
            Format::GRAY8,
            info.width() as usize,
            info.height() as usize,
            &[plane],
        )?)?;
    }
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}

fn embed(
    input: &Path,
    output: &Path,
    key_file: &Path,
    payload: &str,
    target_psnr: f32,
) -> Result<()> {
    init()?;
    let encoder = match output.extension().and_then(|e| e.to_str()) {
        Some("y4m") => "video/x-raw,format=I420 ! y4menc",
        Some("webm") => {
            "vp8enc end-usage=cq cq-level=10 target-bitrate=20000000 deadline=1 cpu-used=4 ! \
             webmmux"
        }
        _ => return Err("the output must be a .y4m or a .webm file".into()),
    };
    for read in [input, key_file] {
        if is_same_file(read, output) {
            return Err(format!("{} is read, so it cannot be the output", read.display()).into());
        }
    }
    write_file(output, |file| {
        launch(
            &format!(
                "filesrc location={} ! decodebin ! videoconvert ! \
                 watermarkembed key-file={} payload={} target-psnr={target_psnr} ! videoconvert ! \
                 {encoder} ! filesink location={}",
                quoted(path(input)?),
                quoted(path(key_file)?),
                quoted(payload),
                quoted(path(file)?)
            ),
            |_| Ok(()),
        )
    })
}

fn detect(input: &Path, key_file: &Path) -> Result<()> {
    init()?;
    launch(
        &format!(
            "filesrc location={} ! decodebin ! videoconvert ! watermarkdetect key-file={} ! \
             fakesink",
            quoted(path(input)?),
            quoted(path(key_file)?)
        ),
        |message| {
            let time = message.stream_time.unwrap_or_default();
            let report = &message.report;
            match report.payload {
                Some(payload) => say_line!(
                    "{time:.3}: {payload}, epoch {}, probability of chance 10^{:.0}, \
                     {} of 384 bits wrong, scale {:.3}, angle {:.2}",
                    report.epoch,
                    report.log10_p,
                    report.bit_errors,
                    report.scale,
                    report.angle
                ),
                None => say_line!("{time:.3}: no watermark of this key"),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PAYLOAD: &str = "0123456789abcdef";

    /// Returns a new folder with the clip `in.y4m` and the key file `key`.
    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("cnnvideo-watermark-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("key"), [7; 32]).unwrap();
        let header = b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n";
        let frame = [&b"FRAME\n"[..], &[100; 64 * 48 * 3 / 2]].concat();
        fs::write(folder.join("in.y4m"), [&header[..], &frame, &frame].concat()).unwrap();
        folder
    }

    #[test]
    fn outputs_are_written_completely_or_not_at_all() {
        let folder = folder("whole");
        let [input, key, output] = ["in.y4m", "key", "out.y4m"].map(|name| folder.join(name));
        fs::write(&output, "earlier result").unwrap();
        let failures = [
            (&input, &key, "no payload"),
            (&input, &folder.join("no-key"), PAYLOAD),
            (&folder.join("no-input"), &key, PAYLOAD),
            (&key, &key, PAYLOAD),
        ];
        for (input, key, payload) in failures {
            assert!(embed(input, &output, key, payload, 45.0).is_err());
            assert_eq!(fs::read(&output).unwrap(), b"earlier result");
        }
        embed(&input, &output, &key, PAYLOAD, 45.0).unwrap();
        assert!(fs::read(&output).unwrap().len() > 2 * 64 * 48 * 3 / 2);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "a temporary file remains");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn files_that_are_read_are_not_overwritten() {
        let folder = folder("same");
        let [input, key] = ["in.y4m", "key"].map(|name| folder.join(name));
        let before = fs::read(&input).unwrap();
        let mut outputs = vec![input.clone(), folder.join(".").join("in.y4m")];
        fs::hard_link(&input, folder.join("hard.y4m")).unwrap();
        outputs.push(folder.join("hard.y4m"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&input, folder.join("link.y4m")).unwrap();
            outputs.push(folder.join("link.y4m"));
        }
        for output in outputs {
            let error = embed(&input, &output, &key, PAYLOAD, 45.0).unwrap_err();
            assert!(error.to_string().contains("cannot be the output"), "{error}");
            assert_eq!(fs::read(&input).unwrap(), before);
        }
        let key_as_output = folder.join("key.y4m");
        fs::copy(&key, &key_as_output).unwrap();
        assert!(embed(&input, &key_as_output, &key_as_output, PAYLOAD, 45.0).is_err());
        assert_eq!(fs::read(&key_as_output).unwrap(), [7; 32]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
