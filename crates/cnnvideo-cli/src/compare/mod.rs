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
    args::{CompareArguments, ExtraMeasure},
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
const MEASURES: [(&str, &str, &str); 11] = [
    ("psnr", "PSNR", " dB"),
    ("psnr-y", "PSNR of Y", " dB"),
    ("psnr-u", "PSNR of U", " dB"),
    ("psnr-v", "PSNR of V", " dB"),
    ("psnr-r", "PSNR of R", " dB"),
    ("psnr-g", "PSNR of G", " dB"),
    ("psnr-b", "PSNR of B", " dB"),
    ("ssim", "SSIM", ""),
    ("ms-ssim", "MS-SSIM", ""),
    ("xpsnr-y", "XPSNR of Y", " dB"),
    ("ssimulacra2", "SSIMULACRA2", ""),
];
/// Percentiles of the statistics of `videoquality`.
const PERCENTILES: [&str; 4] = ["p1", "p5", "p10", "p50"];

/// Prints the mean measures of a video against a reference, and writes a report where asked for.
///
/// # Errors
/// A video cannot be decoded, the sizes differ, no frames have the same times, or the report cannot
/// be written.
pub(crate) fn compare(arguments: &CompareArguments, stop: &Stop) -> Result<()> {
    let CompareArguments { reference, test, folder, progress, .. } = arguments;
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
    let measured = measure(&inputs, arguments, stop)?;
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
fn measure(inputs: &[Input; 2], arguments: &CompareArguments, stop: &Stop) -> Result<Measured> {
    let each_frame = arguments.folder.is_some();
    let mode = arguments.progress.progress;
    let pipeline = Running(gst::Pipeline::new());
    let quality = gst::ElementFactory::make("videoquality").build()?;
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).build()?;
    pipeline.0.add_many([&quality, &sink])?;
    quality.link(&sink)?;
    if each_frame {
        quality.set_property("interval", 1u32);
    }
    quality.set_property_from_str("measures", &flags(&arguments.measures));
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

/// Returns measures as the value of the property `measures`.
fn flags(measures: &[ExtraMeasure]) -> String {
    let name = |measure: &ExtraMeasure| match measure {
        ExtraMeasure::Xpsnr => "xpsnr",
        ExtraMeasure::Ssimulacra2 => "ssimulacra2",
    };
    measures.iter().map(name).collect::<Vec<_>>().join("+")
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

/// Returns the counts, means and percentiles of a summary. The PSNR of equal videos is infinite,
/// which JSON does not know; it is null.
fn report(summary: &gst::StructureRef) -> Value {
    let all = structure_to_json(summary);
    let mean = with_prefix(&all, "mean-");
    let percentiles = PERCENTILES
        .map(|name| (name.to_owned(), Value::Object(with_prefix(&all, &format!("{name}-")))));
    json!({
        "frames": all["frames"],
        "unpaired_reference": all["unpaired-reference"],
        "unpaired_test": all["unpaired-test"],
        "frame_offset": all["frame-offset"],
        "equal": mean.get("mse").and_then(Value::as_f64) == Some(0.0),
        "mean": mean,
        "harmonic_mean": with_prefix(&all, "harmonic-mean-"),
        "percentiles": percentiles.into_iter().collect::<Map<_, _>>(),
    })
}

/// Returns the fields of a structure whose names have a prefix, without it.
fn with_prefix(structure: &Value, prefix: &str) -> Map<String, Value> {
    let fields = structure.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect()
}

/// Returns a report for people.
fn to_text(report: &Value) -> String {
    let mut lines = vec![format!("frames      {}", report["frames"])];
    for (name, words) in
        [("unpaired_reference", "frames of A without partner"), ("unpaired_test", "of B")]
    {
        if report[name].as_u64().is_some_and(|count| count > 0) {
            lines.push(format!("unpaired    {} {words}", report[name]));
        }
    }
    lines.extend(offset_text(&report["frame_offset"]));
    for (field, name, unit) in MEASURES {
        let Some(mean) = report["mean"].get(field) else { continue };
        let mean = mean.as_f64().map_or("infinite (equal)".to_owned(), |v| number_text(v, unit));
        let low = report["percentiles"]["p5"].get(field).and_then(Value::as_f64);
        let low = low.map_or(String::new(), |low| {
            format!(", in 5% of the frames at most {}", number_text(low, unit))
        });
        lines.push(format!("{name:<11} {mean}{low}"));
    }
    lines.join("\n")
}

/// Returns a line about an offset between the videos other than 0.
fn offset_text(offset: &Value) -> Option<String> {
    let frames = offset.as_i64().filter(|frames| *frames != 0)?;
    let (late, other) = if frames > 0 { ("B", "A") } else { ("A", "B") };
    let count = frames.unsigned_abs();
    let s = if count == 1 { "" } else { "s" };
    Some(format!(
        "offset      {late} is {count} frame{s} late: without its first {count} frame{s} it fits \
         {other} best"
    ))
}

/// Returns a measure for people.
fn number_text(number: f64, unit: &str) -> String {
    let digits = if unit.is_empty() && number.abs() <= 1.0 { 4 } else { 2 };
    match number.is_finite() {
        true => format!("{number:.digits$}{unit}"),
        false => "infinite".to_owned(),
    }
}
