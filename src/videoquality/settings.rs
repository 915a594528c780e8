// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `videoquality` element.

use glib::{ParamSpec, ParamSpecEnum, ParamSpecUInt, prelude::*};
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

/// Includes the property types in the plugin's documentation.
#[cfg(feature = "doc")]
pub(super) fn mark_for_documentation() {
    use glib::types::StaticType;
    OutputKind::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
}

/// Values of the properties.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Output of the source pad.
    pub output: OutputKind,
    /// Frame pairs between two messages.
    pub interval: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { output: OutputKind::default(), interval: 25 }
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
            _ => return Err(format!("there is no property {name}")),
        }
        Ok(())
    }

    /// Returns the value of the property `name`, `None` if it does not exist.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        match name {
            "output" => Some(self.output.to_value()),
            "interval" => Some(self.interval.to_value()),
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
    ]
}
