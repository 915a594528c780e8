// SPDX-License-Identifier: MIT OR Apache-2.0

//! The result of a run, for people and for programs.

use std::time::Duration;

use gst::prelude::*;
use serde_json::{Value, json};

use super::Job;
use crate::{
    codec::Encoder,
    error::Result,
    output::{is_standard, note, print_line},
};

/// The result of a run.
pub(crate) struct Report {
    /// Number of frames.
    pub(crate) frames: u64,
    /// End of the last frame in the video.
    pub(crate) time: gst::ClockTime,
    /// Time that the run took.
    pub(crate) elapsed: Duration,
    /// Frames per second of the run.
    pub(crate) rate: f64,
    /// Encoder, or `None` for raw video.
    pub(crate) encoder: Option<Encoder>,
    /// Bits of a sample.
    pub(crate) depth: u32,
    /// What happened with each stream of the file, if the input is one.
    pub(crate) streams: Option<Value>,
    /// Statistics of the filter, if it has any.
    pub(crate) stats: Value,
}

impl Report {
    /// Prints the result: as JSON on the standard output, or as a line on the standard error.
    ///
    /// # Errors
    /// The standard output cannot be written.
    pub(crate) fn print(&self, job: &Job<'_>) -> Result<()> {
        let seconds = self.time.nseconds() as f64 / 1e9;
        let codec = self.encoder.map_or("y4m", |encoder| encoder.codec.name());
        if job.progress.report.json {
            return print_line(json!({
                "event": "done",
                "command": job.command,
                "input": job.files.input.to_string_lossy(),
                "output": job.files.output.to_string_lossy(),
                "frames": self.frames,
                "seconds": seconds,
                "codec": codec,
                "encoder": self.encoder.map(|encoder| encoder.factory),
                "depth": self.depth,
                "streams": self.streams,
                "elapsed_seconds": self.elapsed.as_secs_f64(),
                "fps": self.rate,
                "stats": self.stats,
            }));
        }
        let output = if is_standard(&job.files.output) {
            "standard output".to_owned()
        } else {
            job.files.output.display().to_string()
        };
        let noise = self.stats.get("noise-level").and_then(Value::as_f64);
        let noise = noise.map(|sigma| format!(", noise sigma {sigma:.1}")).unwrap_or_default();
        note(format_args!(
            "{output}: {} frames, {seconds:.2} s, {codec} {} bit, {:.1} fps{noise}",
            self.frames, self.depth, self.rate
        ));
        Ok(())
    }
}

/// Returns the property `stats` of an element, or null.
pub(crate) fn filter_stats(element: &gst::Element) -> Value {
    let is_structure = |spec: &glib::ParamSpec| spec.value_type() == gst::Structure::static_type();
    if element.find_property("stats").filter(is_structure).is_none() {
        return Value::Null;
    }
    let stats = element.property::<Option<gst::Structure>>("stats");
    stats.map_or(Value::Null, |stats| structure_to_json(&stats))
}

/// Returns the numbers, texts, booleans and structures in a structure.
pub(crate) fn structure_to_json(structure: &gst::StructureRef) -> Value {
    let field = |(name, value): (&glib::GStr, &glib::SendValue)| {
        let number = || value.transform::<f64>().ok().and_then(|value| value.get::<f64>().ok());
        let json = if let Ok(text) = value.get::<Option<String>>() {
            json!(text)
        } else if let Ok(boolean) = value.get::<bool>() {
            json!(boolean)
        } else if let Ok(count) = value.get::<u64>() {
            // GStreamer's value for unknown times and counts.
            if count == u64::MAX { Value::Null } else { json!(count) }
        } else if let Ok(count) = value.get::<u32>() {
            json!(count)
        } else if let Ok(number) = value.get::<i64>() {
            json!(number)
        } else if let Ok(structure) = value.get::<gst::Structure>() {
            structure_to_json(&structure)
        } else {
            number().map_or(Value::Null, |number| json!(number))
        };
        (name.to_string(), json)
    };
    Value::Object(structure.iter().map(field).collect())
}
