// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo watermark trace`: reads the variants of the segments of a leaked copy and finds the
//! receivers that it comes from.

use std::{fs, path::Path, process::ExitCode};

use cnnvideo::{
    nn::files::Temporary,
    watermark::{Accusation, Key, MAX_CANDIDATES, Observed, Payload, SegmentMark, Variant},
};
use gstcnnvideo::watermarkdetect::WatermarkMessage;
use serde_json::json;

use super::manifest::Manifest;
use crate::{
    args::TraceArguments,
    error::{Result, failed},
    output::print_line,
    run::Next,
    stop::Stop,
    watch::Measure,
    watermark::{Detector, NOT_FOUND, check_key, text},
};

/// Largest window of the detector in frames.
const MAX_WINDOW: u32 = 480;

/// The variants that a copy shows.
struct Copy {
    asset: u32,
    observed: Vec<Observed>,
}

impl Copy {
    /// Adds what a payload says. Payloads of other assets are not of this video.
    fn add(&mut self, payload: Payload) {
        let mark = SegmentMark::from(payload);
        let observed = self.observed.get_mut(mark.segment as usize);
        if let Some(observed) = observed.filter(|_| mark.asset == self.asset) {
            observed.add(mark.variant);
        }
    }

    /// Returns a letter for each segment: a, b, - if none was read, and * for both.
    fn text(&self) -> String {
        let letter = |observed: &Observed| match observed {
            Observed::Nothing => "-",
            Observed::One(variant) => variant.name(),
            Observed::Both => "*",
        };
        self.observed.iter().map(letter).collect()
    }

    fn count(&self) -> usize {
        self.observed.iter().filter(|observed| **observed != Observed::Nothing).count()
    }
}

impl Measure for Copy {
    fn message(&mut self, message: &gst::StructureRef) -> Result<Next> {
        if let Ok(message) = WatermarkMessage::try_from(message) {
            let report = message.report;
            report.payload.into_iter().chain(report.named).for_each(|payload| self.add(payload));
        }
        Ok(Next::Continue)
    }
}

/// Executes the command. The exit status is 0 if a receiver is found, and 3 if none is.
///
/// # Errors
/// A file cannot be read, or the folder is not one of variants.
pub(crate) fn trace(arguments: &TraceArguments, stop: &Stop) -> Result<ExitCode> {
    let TraceArguments { folder, files, key_file, receivers, false_accusations, progress } =
        arguments;
    let key: Key = check_key(key_file)?;
    let manifest = Manifest::read(folder)?;
    // Soft decoding against the payloads of the video reads more of weak and of mixed copies.
    let list = payload_list(&manifest)?;
    let settings = [
        format!("key-file={}", text(key_file)?),
        format!("candidates-file={}", text(list.path())?),
        // A longer window would mix the payloads of two segments.
        format!("window={}", manifest.frames_per_segment.clamp(1, MAX_WINDOW)),
    ];
    let observed = vec![Observed::default(); manifest.segments];
    let mut copy = Copy { asset: manifest.asset, observed };
    for file in files {
        Detector { file, settings: &settings, mode: progress.progress }.run(&mut copy, stop)?;
    }
    let accused = manifest.patterns(&key).trace(&copy.observed, *receivers, *false_accusations);
    print(arguments, &copy, &accused)?;
    Ok(if accused.is_empty() { ExitCode::from(NOT_FOUND) } else { ExitCode::SUCCESS })
}

/// Returns a list of the payloads of a video, removed at the end. It has no more than the detector
/// takes.
fn payload_list(manifest: &Manifest) -> Result<Temporary> {
    let path = std::env::temp_dir().join("cnnvideo-payloads");
    let list = Temporary::file(&path)
        .map_err(|err| failed!("cannot create a file in {}: {err}", shown(&path)))?;
    let segments = manifest.segments.min(MAX_CANDIDATES / 2) as u32;
    let payloads = (0..segments).flat_map(|segment| {
        Variant::ALL.map(|variant| {
            SegmentMark { asset: manifest.asset, segment, variant }.payload().to_string() + "\n"
        })
    });
    fs::write(list.path(), payloads.collect::<String>())
        .map_err(|err| failed!("cannot write {}: {err}", shown(list.path())))?;
    Ok(list)
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

fn print(arguments: &TraceArguments, copy: &Copy, accused: &[Accusation]) -> Result<()> {
    if arguments.progress.report.json {
        let accused: Vec<_> = accused
            .iter()
            .map(|a| json!({"receiver": a.receiver, "score": a.score, "log10_p": a.log10_p}))
            .collect();
        return print_line(json!({"variants": copy.text(), "receivers": accused}));
    }
    print_line(format_args!(
        "{} of {} segments read: {}",
        copy.count(),
        copy.observed.len(),
        copy.text()
    ))?;
    for accusation in accused {
        print_line(format_args!(
            "receiver {} (score {:.1}, probability for any innocent receiver 1e{:.1})",
            accusation.receiver, accusation.score, accusation.log10_p
        ))?;
    }
    match accused {
        [] => {
            print_line("no receiver: the segments read are not enough, or the copy is of another")
        }
        _ => Ok(()),
    }
}
