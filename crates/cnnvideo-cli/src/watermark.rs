// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo watermark`: embeds and detects payloads, and creates keys.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use cnnvideo::watermark::{KEY_LEN, Key, KeyError, Payload};
use gst::prelude::*;
use gstcnnvideo::watermarkdetect::WatermarkMessage;
use rand::{TryRngCore, rngs::OsRng};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    args::{EmbedArguments, KeyCommand, ProgressArguments, ProgressMode, Watermark},
    chunks::resume,
    error::{Result, failed, usage},
    filter::Filter,
    media::{Input, decode::add_input},
    output::{note, print_line},
    run::{Next, Running},
    stop::Stop,
    transcode::{Job, transcode},
    variants,
    watch::{Measure, watch},
};

/// Exit status if a file has no payload.
pub(crate) const NOT_FOUND: u8 = 3;

/// Executes a subcommand.
///
/// # Errors
/// It fails.
pub(crate) fn watermark(command: &Watermark, stop: &Stop) -> Result<ExitCode> {
    match command {
        Watermark::Embed(arguments) => {
            embed(arguments, stop)?;
            Ok(ExitCode::SUCCESS)
        }
        Watermark::Detect { files, key_file, nonce, all, progress } => {
            let mut status = ExitCode::SUCCESS;
            check_key(key_file)?;
            for file in files {
                let settings = key_settings(key_file, nonce.as_deref())?;
                if !detect(file, &settings, *all, *progress, stop)? {
                    status = ExitCode::from(NOT_FOUND);
                }
            }
            Ok(status)
        }
        Watermark::Variants(arguments) => {
            variants::make(arguments, stop)?;
            Ok(ExitCode::SUCCESS)
        }
        Watermark::Playlist(arguments) => {
            variants::write_playlist(arguments)?;
            Ok(ExitCode::SUCCESS)
        }
        Watermark::Trace(arguments) => variants::trace(arguments, stop),
        #[cfg(feature = "c2pa")]
        Watermark::Credential(command) => crate::credential::credential(command, stop),
        Watermark::Key(KeyCommand::New { file, report }) => {
            new_key(file)?;
            if report.json {
                print_line(json!({"file": file.to_string_lossy()}))?;
            } else {
                note(format_args!(
                    "{}: created; keep it secret, and keep a copy: it alone reads the payloads",
                    file.display()
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn embed(arguments: &EmbedArguments, stop: &Stop) -> Result<()> {
    let EmbedArguments { key_file, nonce, payload, payload_file, target_psnr, .. } = arguments;
    check_key(key_file)?;
    let mut settings = embed_settings(key_file, nonce.as_deref(), *payload, *target_psnr)?;
    if let Some(file) = payload_file {
        settings.push(format!("payload-file={}", text(file)?));
    }
    let job = Job {
        command: "watermark embed",
        files: &arguments.files,
        filter: Filter::element("watermarkembed", &settings)?,
        encoding: &arguments.encoding,
        progress: arguments.progress,
        read: std::iter::once(key_file).chain(payload_file).cloned().collect(),
        key_frame_interval: None,
    };
    match arguments.resume {
        true => resume(&job, stop),
        false => transcode(job, stop),
    }
}

/// Returns the properties of the element that embeds a payload.
///
/// # Errors
/// The name of the key file is not UTF-8.
pub(crate) fn embed_settings(
    key_file: &Path,
    nonce: Option<&str>,
    payload: Option<Payload>,
    target_psnr: Option<f32>,
) -> Result<Vec<String>> {
    let mut settings = key_settings(key_file, nonce)?;
    settings.extend(payload.map(|payload| format!("payload={payload}")));
    settings.extend(target_psnr.map(|psnr| format!("target-psnr={psnr}")));
    Ok(settings)
}

/// Reads a key, before any work.
///
/// # Errors
/// It cannot be read, or is not a key.
pub(crate) fn check_key(file: &Path) -> Result<Key> {
    Key::from_file(file).map_err(|err| match err {
        KeyError::Read { .. } => {
            failed!("{err}: cnnvideo watermark key new FILE creates a key")
        }
        KeyError::Format | KeyError::Zero => failed!("cannot use {}: {err}", file.display()),
    })
}

/// Returns the properties of the elements for a key.
///
/// # Errors
/// The name of the file is not UTF-8.
pub(crate) fn key_settings(key_file: &Path, nonce: Option<&str>) -> Result<Vec<String>> {
    let file = format!("key-file={}", text(key_file)?);
    Ok(std::iter::once(file).chain(nonce.map(|nonce| format!("nonce={nonce}"))).collect())
}

/// Returns a path as text, which properties need.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| usage!("the name of {} is not UTF-8: rename it", path.display()))
}

/// Creates a file with a random key. It never replaces a file, which could be a key in use.
fn new_key(path: &Path) -> Result<()> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    OsRng
        .try_fill_bytes(&mut *key)
        .map_err(|err| failed!("the system gives no random numbers: {err}"))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let shown = path.display();
    let mut file = options.open(path).map_err(|err| match err.kind() {
        io::ErrorKind::AlreadyExists => {
            failed!("{shown} exists: choose another name, for a key in use must not be lost")
        }
        _ => failed!("cannot create {shown}: {err}"),
    })?;
    let written = file.write_all(&*key).and_then(|()| file.sync_all());
    written.map_err(|err| {
        // A part of a key is of no use.
        let _ = std::fs::remove_file(path);
        failed!("cannot write {shown}: {err}")
    })
}

/// A run of the detector over a file.
pub(crate) struct Detector<'a> {
    pub(crate) file: &'a Path,
    /// Properties of the element.
    pub(crate) settings: &'a [String],
    pub(crate) mode: ProgressMode,
}

impl Detector<'_> {
    /// Runs it to the end of the file, or until `measure` has enough. Returns the number of frames.
    ///
    /// # Errors
    /// The file cannot be read, or a signal arrives.
    pub(crate) fn run(&self, measure: &mut impl Measure, stop: &Stop) -> Result<u64> {
        let input = Input::of(self.file)?;
        let pipeline = Running(gst::Pipeline::new());
        let make = |factory: &str| gst::ElementFactory::make(factory).build();
        let elements = [
            make("queue")?,
            make("videoconvert")?,
            Filter::element("watermarkdetect", self.settings)?.build()?,
            gst::ElementFactory::make("fakesink").property("sync", false).build()?,
        ];
        pipeline.0.add_many(&elements)?;
        gst::Element::link_many(&elements)?;
        add_input(&pipeline.0, &input, &elements[0], stop)?;
        let pad = elements[2].static_pad("sink");
        let pad = pad.ok_or_else(|| failed!("the detector has no input"))?;
        watch(&pipeline, &pad, self.mode, &input.name(), measure, stop)
    }
}

/// The payloads of a file.
struct Found {
    marks: Vec<WatermarkMessage>,
    until_first: bool,
}

impl Measure for Found {
    fn message(&mut self, message: &gst::StructureRef) -> Result<Next> {
        let Ok(message) = WatermarkMessage::try_from(message) else { return Ok(Next::Continue) };
        if let Some(payload) = message.report.payload {
            let known = self.marks.iter_mut().find(|mark| mark.report.payload == Some(payload));
            match known {
                Some(known) if message.report.log10_p < known.report.log10_p => {
                    known.report = message.report;
                }
                Some(_) => (),
                None => self.marks.push(message),
            }
            if self.until_first {
                return Ok(Next::Finish);
            }
        }
        Ok(Next::Continue)
    }
}

/// Returns the payloads of a file, or the first one unless `all`, and the number of frames read.
///
/// # Errors
/// As [`Detector::run`].
pub(crate) fn read_marks(
    detector: &Detector<'_>,
    all: bool,
    stop: &Stop,
) -> Result<(Vec<WatermarkMessage>, u64)> {
    let mut found = Found { marks: Vec::new(), until_first: !all };
    let frames = detector.run(&mut found, stop)?;
    Ok((found.marks, frames))
}

/// Looks for payloads in a file and prints them. Returns whether there is one.
fn detect(
    file: &Path,
    settings: &[String],
    all: bool,
    progress: ProgressArguments,
    stop: &Stop,
) -> Result<bool> {
    let detector = Detector { file, settings, mode: progress.progress };
    let (marks, frames) = read_marks(&detector, all, stop)?;
    if progress.report.json {
        let marks_json: Vec<_> = marks.iter().map(mark_json).collect();
        print_line(json!({
            "file": file.to_string_lossy(),
            "found": !marks.is_empty(),
            "frames": frames,
            "payloads": marks_json,
        }))?;
    } else if marks.is_empty() {
        print_line(format_args!("{}: no watermark of this key", file.display()))?;
    } else {
        for mark in &marks {
            print_line(format_args!("{}: {}", file.display(), mark_text(mark)))?;
        }
    }
    Ok(!marks.is_empty())
}

/// Returns the end of the window in which a payload was found, in seconds of the video.
fn seconds(mark: &WatermarkMessage) -> Option<f64> {
    mark.stream_time.map(|time| time.nseconds() as f64 / 1e9)
}

/// Returns what was found, for programs.
pub(crate) fn mark_json(mark: &WatermarkMessage) -> Value {
    let report = &mark.report;
    json!({
        "payload": report.payload.map(|payload| payload.to_string()),
        "seconds": seconds(mark),
        "log10_p": report.log10_p,
        "epoch": report.epoch,
        "bit_errors": report.bit_errors,
        "scale": report.scale,
        "angle": report.angle,
        "orientation": report.orientation.name(),
        "version": report.version.number(),
        "described": report.described,
    })
}

/// Returns what was found, for people.
pub(crate) fn mark_text(mark: &WatermarkMessage) -> String {
    let report = &mark.report;
    let payload = report.payload.map(|payload| payload.to_string()).unwrap_or_default();
    let time = seconds(mark).map(|time| format!("at {time:.2} s, ")).unwrap_or_default();
    let turned = match report.orientation.is_upright() {
        true => String::new(),
        false => format!(", orientation {}", report.orientation),
    };
    format!(
        "payload {payload} ({time}probability of chance 1e{:.0}, epoch {}, scale {:.3}, angle \
         {:.2}{turned})",
        report.log10_p, report.epoch, report.scale, report.angle
    )
}
