use glib::{ParamSpec, ParamSpecBoolean, ParamSpecBoxed, prelude::*};
use gst::prelude::*;

use crate::{
    element::{ModelSettings, live, value_of},
    smooth::{MAX_SCALE, Parameters},
};

/// Values of the properties that can be written.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub model: ModelSettings,
    pub scale: f32,
    pub strength: f32,
    pub structure: f32,
    pub temporal: bool,
    pub foreground_strength: f32,
    pub background_strength: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: ModelSettings::default(),
            scale: 8.0,
            strength: 1.0,
            structure: 0.5,
            temporal: true,
            foreground_strength: 1.0,
            background_strength: 1.0,
        }
    }
}

impl Settings {
    /// What the smoother is asked for.
    pub fn parameters(&self) -> Parameters {
        Parameters {
            scale: self.scale,
            strength: self.strength,
            structure: self.structure,
            temporal: self.temporal,
        }
    }

    /// Takes over the value of a property.
    ///
    /// # Errors
    /// A value of another type; GObject checks types before it comes to this.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "scale" => self.scale = value_of(value)?,
            "strength" => self.strength = value_of(value)?,
            "structure" => self.structure = value_of(value)?,
            "temporal" => self.temporal = value_of(value)?,
            "foreground-strength" => self.foreground_strength = value_of(value)?,
            "background-strength" => self.background_strength = value_of(value)?,
            _ => self.model.set(name, value)?,
        }
        Ok(())
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "scale" => self.scale.to_value(),
            "strength" => self.strength.to_value(),
            "structure" => self.structure.to_value(),
            "temporal" => self.temporal.to_value(),
            "foreground-strength" => self.foreground_strength.to_value(),
            "background-strength" => self.background_strength.to_value(),
            _ => return self.model.get(name),
        })
    }
}

/// All properties of the element.
pub(super) fn properties() -> Vec<ParamSpec> {
    let default = Settings::default();
    let mut properties = ModelSettings::properties();
    properties.extend([
        live("scale", "Scale", "Texture up to this many pixels of the frame goes", [1.0, MAX_SCALE], default.scale),
        live(
            "strength",
            "Strength",
            "How much of the texture goes, 0 passes frames through untouched",
            [0.0, 1.0],
            default.strength,
        ),
        live(
            "structure",
            "Structure",
            "How faint an edge still counts, from 0 (strong ones only) to 1",
            [0.0, 1.0],
            default.structure,
        ),
        ParamSpecBoolean::builder("temporal")
            .nick("Temporal")
            .blurb("Look at the frame before too, against flicker")
            .default_value(default.temporal)
            .controllable()
            .mutable_playing()
            .build(),
        live(
            "foreground-strength",
            "Foreground strength",
            "Factor on strength inside the regions of a region mask",
            [0.0, 1.0],
            default.foreground_strength,
        ),
        live(
            "background-strength",
            "Background strength",
            "Factor on strength outside the regions of a region mask",
            [0.0, 1.0],
            default.background_strength,
        ),
        ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Frames, those that were too late, mean and 99th percentile of the milliseconds that they took, and backend")
            .read_only()
            .build(),
    ]);
    properties
}
