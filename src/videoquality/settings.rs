// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `videoquality` element.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use glib::{ParamSpec, ParamSpecEnum, ParamSpecFlags, ParamSpecString, ParamSpecUInt, prelude::*};
use gst::prelude::*;

use crate::shared::get_value;

/// Output of the source pad.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstVideoQualityOutput")]
pub enum OutputKind {
    /// The tested stream, unchanged.
    #[default]
    #[enum_value(name = "Test: the tested stream, unchanged", nick = "test")]
    Test,
    /// A picture of the comparison, see [`Panel`](cnnvideo::quality::Panel).
    #[enum_value(
        name = "Panel: both pictures, luma error, gradients, histograms and measures, 1280x720 RGB",
        nick = "panel"
    )]
    Panel,
}

pub use extra::ExtraMeasures;

// The macro drops the comments.
#[allow(missing_docs)]
mod extra {
    /// Measures that take much time and are left out by default.
    #[glib::flags(name = "GstVideoQualityMeasures")]
    pub enum ExtraMeasures {
        /// XPSNR, see [`Xpsnr`](cnnvideo::quality::Xpsnr).
        #[flags_value(name = "XPSNR: PSNR with weights by visual activity", nick = "xpsnr")]
        XPSNR = 1,
        /// SSIMULACRA2, see [`ssimulacra2`](cnnvideo::quality::ssimulacra2()).
        #[flags_value(name = "SSIMULACRA2: perceptual score, slow", nick = "ssimulacra2")]
        SSIMULACRA2 = 2,
    }
}

/// Largest value of the property `alignment-range`.
const MAX_ALIGNMENT_RANGE: u32 = 60;

/// Includes the property types in the plugin's documentation.
#[cfg(feature = "doc")]
pub(super) fn mark_for_documentation() {
    use glib::types::StaticType;
    for kind in [OutputKind::static_type(), ExtraMeasures::static_type()] {
        kind.mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
}

/// Values of the properties.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Output of the source pad.
    pub output: OutputKind,
    /// Frame pairs between two messages.
    pub interval: u32,
    /// Additional measures.
    pub measures: ExtraMeasures,
    /// Largest frame offset of the alignment check, 0 for none.
    pub alignment_range: u32,
    /// File with a row for each pair.
    pub log_file: Option<Arc<Path>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            output: OutputKind::default(),
            interval: 25,
            measures: ExtraMeasures::empty(),
            alignment_range: 10,
            log_file: None,
        }
    }
}

impl Settings {
    /// Sets the property `name`.
    ///
    /// # Errors
    /// If the value has another type or the property does not exist. GObject checks both first.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "output" => self.output = get_value(value)?,
            "interval" => self.interval = get_value(value)?,
            "measures" => self.measures = get_value(value)?,
            "alignment-range" => self.alignment_range = get_value(value)?,
            "log-file" => {
                let path = get_value::<Option<PathBuf>>(value)?;
                self.log_file = path.filter(|path| !path.as_os_str().is_empty()).map(PathBuf::into);
            }
            _ => return Err(format!("there is no property {name}")),
        }
        Ok(())
    }

    /// Returns the value of the property `name`, `None` if it does not exist.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        match name {
            "output" => Some(self.output.to_value()),
            "interval" => Some(self.interval.to_value()),
            "measures" => Some(self.measures.to_value()),
            "alignment-range" => Some(self.alignment_range.to_value()),
            "log-file" => Some(self.log_file.as_deref().to_value()),
            _ => None,
        }
    }
}

/// Returns the specifications of all properties of the element.
pub(super) fn properties() -> Vec<ParamSpec> {
    let default = Settings::default();
    vec![
        ParamSpecEnum::builder_with_default("output", default.output)
            .nick("Output")
            .blurb("Output of the source pad")
            .mutable_ready()
            .build(),
        ParamSpecUInt::builder("interval")
            .nick("Interval")
            .blurb("Frame pairs between two messages; a summary is always posted at EOS")
            .minimum(1)
            .default_value(default.interval)
            .mutable_playing()
            .build(),
        ParamSpecFlags::builder::<ExtraMeasures>("measures")
            .nick("Measures")
            .blurb("Additional measures, which take more time than the others")
            .default_value(default.measures)
            .mutable_playing()
            .build(),
        ParamSpecUInt::builder("alignment-range")
            .nick("Alignment range")
            .blurb("Largest offset between the streams, in frames, that the alignment check tries")
            .maximum(MAX_ALIGNMENT_RANGE)
            .default_value(default.alignment_range)
            .mutable_ready()
            .build(),
        ParamSpecString::builder("log-file")
            .nick("Log file")
            .blurb(
                "File with the measures of each pair of frames: JSON lines if the name ends in \
                 .jsonl, .ndjson or .json, else CSV",
            )
            .mutable_ready()
            .build(),
    ]
}
