// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `cnnsegment` element.

use glib::{ParamSpec, ParamSpecBoxed, ParamSpecEnum, ParamSpecString, prelude::*};
use gst::prelude::*;

use crate::shared::{ModelSettings, get_value};

/// Values of the property `output`: the form in which the element outputs regions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstCnnSegmentOutput")]
pub enum SegmentOutput {
    /// The unchanged frame, with the label mask as a meta.
    #[default]
    #[enum_value(name = "Meta: the frame, with the regions as a meta", nick = "meta")]
    Meta,
    /// The frame with the regions drawn into it, with the label mask as a meta.
    #[enum_value(name = "Overlay: the frame with the regions drawn into it", nick = "overlay")]
    Overlay,
    /// A grey frame, 255 inside of regions and 0 outside.
    #[enum_value(name = "Mask: a grey frame, white inside of regions", nick = "mask")]
    Mask,
    /// The frame with an alpha channel, transparent outside of regions.
    #[enum_value(name = "Alpha: the frame, transparent outside of regions", nick = "alpha")]
    Alpha,
}

/// Includes the enumeration in the documentation of the plugin.
#[cfg(feature = "doc")]
pub(super) fn mark_for_documentation() {
    use glib::types::StaticType;
    SegmentOutput::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
}

impl SegmentOutput {
    /// Returns whether the output has the caps of the input, so that frames are processed in place.
    pub(super) fn in_place(self) -> bool {
        matches!(self, Self::Meta | Self::Overlay)
    }
}

/// Values of the writable properties.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// Properties that all elements with a model share.
    pub model: ModelSettings,
    /// Property `output`.
    pub output: SegmentOutput,
    /// Property `seeds`, unparsed.
    pub seeds: Option<String>,
}

impl Settings {
    /// Sets a property other than `seeds`.
    ///
    /// # Errors
    /// Fails if the value has another type than the property; GObject checks that before.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "output" => self.output = get_value(value)?,
            _ => self.model.set(name, value)?,
        }
        Ok(())
    }

    /// Returns the value of a property, `None` if there is no such property.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "output" => self.output.to_value(),
            "seeds" => self.seeds.to_value(),
            _ => return self.model.get(name),
        })
    }
}

/// Returns the specifications of all properties of the element.
pub(super) fn properties() -> Vec<ParamSpec> {
    let mut properties = ModelSettings::properties();
    properties.extend([
        ParamSpecEnum::builder_with_default("output", SegmentOutput::default())
            .nick("Output")
            .blurb(
                "Form in which regions are output; changes between meta and overlay keep the \
                 regions, others change the caps and drop the regions",
            )
            .mutable_playing()
            .build(),
        ParamSpecString::builder("seeds")
            .nick("Seeds")
            .blurb(
                "Seeds in pixels of the frame or in percent, as in \
                 \"fg:320,240;bg:1%,1%;box:80,60,560,420;stroke-fg:10,10,20,14,30,20\"; \
                 fg2 to fg8 are seeds of further regions. Setting this replaces all seeds",
            )
            .mutable_playing()
            .build(),
        ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "Number of frames, mean and 99th percentile of the processing time in \
                 milliseconds, backend and number of regions",
            )
            .read_only()
            .build(),
    ]);
    properties
}
