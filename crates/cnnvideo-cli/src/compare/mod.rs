// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo compare`: measures a video against a reference.

mod measures;
mod page;
mod pictures;
mod plot;
mod report;

use gst::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    args::{CompareArguments, ProgressMode},
    error::{Result, failed, usage},
    formats,
    media::{Input, decode::add_input},
    output::{check_new_folder, is_standard, note, print_line},
    run::{Next, Running},
    stop::Stop,
    transcode::structure_to_json,
    watch::{Measure, watch},
};

use measures::FrameMeasures;

/// Name of the messages of `videoquality`.
const MESSAGE: &str = "video-quality";
/// Measures that are printed for people, with their names and units.
const MEASURES: [(&str, &str, &str); 9] = [
    ("psnr", "PSNR", " dB"),
    ("psnr-y", "PSNR of Y", " dB"),
    ("psnr-u", "PSNR of U", " dB"),
    ("psnr-v", "PSNR of V", " dB"),
    ("psnr-r", "PSNR of R", " dB"),
    ("psnr-g", "PSNR of G", " dB"),
    ("psnr-b", "PSNR of B", " dB"),
    ("ssim", "SSIM", ""),
    ("ms-ssim", "MS-SSIM", ""),
];

/// Prints the mean measures of a video against a reference, and writes a report where asked for.
///
/// # Errors
/// A video cannot be decoded, the sizes differ, no frames have the same times, or the report cannot
/// be written.
pub(crate) fn compare(arguments: &CompareArguments, stop: &Stop) -> Result<()> {
    let CompareArguments { reference, test, folder, progress } = arguments;
    let pipes = [reference, test].into_iter().filter(|path| is_standard(path)).count();
    if pipes == 2 {
        return Err(usage!("only one of the videos can come from the standard input"));
    }
    if let Some(folder) = folder {
        if pipes > 0 {
            return Err(usage!("--report reads the videos twice: give files, not a pipe"));
        }
        check_new_folder(folder)?;
    }
    let inputs = [Input::of(reference)?, Input::of(test)?];
    let measured = measure(&inputs, folder.is_some(), progress.progress, stop)?;
    let mut result =
        json!({"reference": reference.to_string_lossy(), "test": test.to_string_lossy()});
    if let (Some(result), Value::Object(report)) = (result.as_object_mut(), &measured.report) {
        result.extend(report.clone());
    }
    if let Some(folder) = folder {
        report::write(folder, &inputs, &measured.frames, &mut result, stop)?;
        note(format_args!("report     {}", folder.join(report::PAGE).display()));
    }
    match progress.report.json {
        true => print_line(result),
        false => print_line(to_text(&result)),
    }
}

/// The result of [`measure`].
struct Measured {
    /// Counts and means.
    report: Value,
    /// Measures of all frames, if asked for.
    frames: Vec<FrameMeasures>,
}

/// Measures the second input against the first one.
fn measure(
    inputs: &[Input; 2],
    each_frame: bool,
    mode: ProgressMode,
    stop: &Stop,
) -> Result<Measured> {
    let pipeline = Running(gst::Pipeline::new());
    let quality = gst::ElementFactory::make("videoquality").build()?;
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).build()?;
    pipeline.0.add_many([&quality, &sink])?;
    quality.link(&sink)?;
    if each_frame {
        quality.set_property("interval", 1u32);
    }
    for (pad, input) in ["reference", "sink"].into_iter().zip(inputs) {
        let first = add_branch(&pipeline.0, &quality, pad)?;
        add_input(&pipeline.0, input, &first, stop)?;
    }
    let tested = quality.static_pad("sink").ok_or_else(|| failed!("there is no input"))?;
    let mut messages = Messages { each_frame, frames: Vec::new(), summary: None };
    let about = format!("{} and {}", inputs[0].name(), inputs[1].name());
    watch(&pipeline, &tested, mode, &about, &mut messages, stop)?;
    let summary = messages.summary.ok_or_else(|| {
        failed!("{about} have no frames at the same times: give files of the same length and rate")
    })?;
    Ok(Measured { report: report(&summary), frames: messages.frames })
}

/// Adds the elements in front of a pad of `videoquality`, which takes 8 bits.
fn add_branch(pipeline: &gst::Pipeline, quality: &gst::Element, pad: &str) -> Result<gst::Element> {
    let make = |factory: &str| gst::ElementFactory::make(factory).build();
    let queue = make("queue")?;
    let convert = make("videoconvert")?;
    let filter = gst::ElementFactory::make("capsfilter")
        .property("caps", formats::caps_of_depth(8))
        .build()?;
    pipeline.add_many([&queue, &convert, &filter])?;
    gst::Element::link_many([&queue, &convert, &filter])?;
    filter.link_pads(Some("src"), quality, Some(pad))?;
    Ok(queue)
}

/// The messages of the element.
struct Messages {
    each_frame: bool,
    frames: Vec<FrameMeasures>,
    /// The last one.
    summary: Option<gst::Structure>,
}

impl Measure for Messages {
    fn message(&mut self, message: &gst::StructureRef) -> Result<Next> {
        if message.name() == MESSAGE {
            if message.get("summary") == Ok(true) {
                self.summary = Some(message.to_owned());
            } else if self.each_frame {
                self.frames.push(FrameMeasures::of(message));
            }
        }
        Ok(Next::Continue)
    }
}

/// Returns the counts and the means of a summary. The PSNR of equal videos is infinite, which JSON
/// does not know; it is null.
fn report(summary: &gst::StructureRef) -> Value {
    let all = structure_to_json(summary);
    let mut mean = Map::new();
    let fields = all.as_object().into_iter().flatten();
    for (name, value) in fields {
        if let Some(name) = name.strip_prefix("mean-") {
            mean.insert(name.to_owned(), value.clone());
        }
    }
    json!({
        "frames": all["frames"],
        "unpaired_reference": all["unpaired-reference"],
        "unpaired_test": all["unpaired-test"],
        "equal": mean.get("mse").and_then(Value::as_f64) == Some(0.0),
        "mean": mean,
    })
}

/// Returns a report for people.
fn to_text(report: &Value) -> String {
    let mut lines = vec![format!("frames     {}", report["frames"])];
    for (name, words) in
        [("unpaired_reference", "frames of A without partner"), ("unpaired_test", "of B")]
    {
        if report[name].as_u64().is_some_and(|count| count > 0) {
            lines.push(format!("unpaired   {} {words}", report[name]));
        }
    }
    for (field, name, unit) in MEASURES {
        match &report["mean"].get(field) {
            Some(Value::Null) => lines.push(format!("{name:<10} infinite (equal)")),
            Some(value) => {
                let number = value.as_f64().unwrap_or_default();
                lines.push(format!("{name:<10} {}", number_text(number, unit)));
            }
            None => (),
        }
    }
    lines.join("\n")
}

/// Returns a measure for people.
fn number_text(number: f64, unit: &str) -> String {
    let digits = if unit.is_empty() { 4 } else { 2 };
    match number.is_finite() {
        true => format!("{number:.digits$}{unit}"),
        false => "infinite".to_owned(),
    }
}
