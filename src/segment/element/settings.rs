use glib::{ParamSpec, ParamSpecBoxed, ParamSpecEnum, ParamSpecString, prelude::*};
use gst::prelude::*;

use crate::element::{ModelSettings, value_of};

/// What comes out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstCnnSegmentOutput")]
pub enum Output {
    /// The frame, with the regions as a meta.
    #[default]
    #[enum_value(name = "Meta: the frame, with the regions as a meta", nick = "meta")]
    Meta,
    /// The frame with the regions drawn in, and the meta.
    #[enum_value(name = "Overlay: the frame with its regions drawn in", nick = "overlay")]
    Overlay,
    /// White where there are regions.
    #[enum_value(name = "Mask: a grey picture, white inside of regions", nick = "mask")]
    Mask,
    /// The frame, transparent outside of regions.
    #[enum_value(name = "Alpha: the frame, transparent outside of regions", nick = "alpha")]
    Alpha,
}

#[cfg(feature = "doc")]
pub(super) fn mark_for_documentation() {
    use glib::types::StaticType;
    Output::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
}

impl Output {
    /// Whether frames go through as they are, but for what is drawn into them.
    pub(super) fn in_place(self) -> bool {
        matches!(self, Self::Meta | Self::Overlay)
    }
}

/// Values of the properties that can be written.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub model: ModelSettings,
    pub output: Output,
    pub seeds: Option<String>,
}

impl Settings {
    /// Takes over the value of a property.
    ///
    /// # Errors
    /// A value of another type; GObject checks types before it comes to this.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "output" => self.output = value_of(value)?,
            _ => self.model.set(name, value)?,
        }
        Ok(())
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "output" => self.output.to_value(),
            "seeds" => self.seeds.to_value(),
            _ => return self.model.get(name),
        })
    }
}

/// All properties of the element.
pub(super) fn properties() -> Vec<ParamSpec> {
    let mut properties = ModelSettings::properties();
    properties.extend([
        ParamSpecEnum::builder_with_default("output", Output::default())
            .nick("Output")
            .blurb("What comes out; between frames of another format regions are lost")
            .mutable_playing()
            .build(),
        ParamSpecString::builder("seeds")
            .nick("Seeds")
            .blurb(
                "What is inside and outside, in pixels of the frame or percent: \
                 \"fg:320,240;bg:1%,1%;box:80,60,560,420;stroke-fg:10,10,20,14,30,20\"; fg2 to fg8 are further regions. \
                 Setting it replaces all seeds",
            )
            .mutable_playing()
            .build(),
        ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Frames, mean and 99th percentile of the milliseconds that they took, backend, regions")
            .read_only()
            .build(),
    ]);
    properties
}
