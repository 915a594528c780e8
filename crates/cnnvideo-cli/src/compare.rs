// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo compare`: measures a video against a reference.

use std::path::Path;

use gst::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    args::ProgressArguments,
    error::{Result, failed, usage},
    formats,
    media::{Input, decode::add_input},
    output::{is_standard, print_line},
    run::{Next, Running},
    stop::Stop,
    transcode::structure_to_json,
    watch::{Measure, watch},
};

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

/// Prints the mean measures of `test` against `reference`.
///
/// # Errors
/// A video cannot be decoded, the sizes differ, or no frames have the same times.
pub(crate) fn compare(
    reference: &Path,
    test: &Path,
    progress: ProgressArguments,
    stop: &Stop,
) -> Result<()> {
    if is_standard(reference) && is_standard(test) {
        return Err(usage!("only one of the videos can come from the standard input"));
    }
    let inputs = [("reference", Input::of(reference)?), ("sink", Input::of(test)?)];
    let pipeline = Running(gst::Pipeline::new());
    let quality = gst::ElementFactory::make("videoquality").build()?;
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).build()?;
    pipeline.0.add_many([&quality, &sink])?;
    quality.link(&sink)?;
    for (pad, input) in &inputs {
        let first = add_branch(&pipeline.0, &quality, pad)?;
        add_input(&pipeline.0, input, &first, stop)?;
    }
    let tested = quality.static_pad("sink").ok_or_else(|| failed!("there is no input"))?;
    let mut summary = Summary(None);
    let mode = progress.progress;
    let about = format!("{} and {}", inputs[0].1.name(), inputs[1].1.name());
    watch(&pipeline, &tested, mode, &about, &mut summary, stop)?;
    let summary = summary.0.ok_or_else(|| {
        failed!("{about} have no frames at the same times: give files of the same length and rate")
    })?;
    let report = report(&summary);
    if progress.report.json {
        let mut object =
            json!({"reference": reference.to_string_lossy(), "test": test.to_string_lossy()});
        if let (Some(object), Value::Object(report)) = (object.as_object_mut(), report) {
            object.extend(report);
        }
        return print_line(object);
    }
    print_line(to_text(&report))
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

/// The last message of the element.
struct Summary(Option<gst::Structure>);

impl Measure for Summary {
    fn message(&mut self, message: &gst::StructureRef) -> Result<Next> {
        if message.name() == MESSAGE && message.get("summary") == Ok(true) {
            self.0 = Some(message.to_owned());
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
                let digits = if unit.is_empty() { 4 } else { 2 };
                lines.push(format!("{name:<10} {number:.digits$}{unit}"));
            }
            None => (),
        }
    }
    lines.join("\n")
}
