use glib::{ParamSpec, ParamSpecBoolean, ParamSpecBoxed, ParamSpecFloat, prelude::*};
use gst::prelude::*;

use crate::{
    denoise::Parameters,
    element::{ModelSettings, live, value_of},
};

/// Values of the properties that can be written.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub model: ModelSettings,
    pub noise_level: f32,
    pub strength: f32,
    pub temporal: bool,
    pub foreground_strength: f32,
    pub background_strength: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: ModelSettings::default(),
            noise_level: -1.0,
            strength: 1.0,
            temporal: true,
            foreground_strength: 1.0,
            background_strength: 1.0,
        }
    }
}

impl Settings {
    /// What the denoiser is asked for.
    pub fn parameters(&self) -> Parameters {
        Parameters {
            noise_level: (self.noise_level >= 0.0).then_some(self.noise_level),
            strength: self.strength,
            temporal: self.temporal,
        }
    }

    /// Takes over the value of a property.
    ///
    /// # Errors
    /// A value of another type; GObject checks types before it comes to this.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "noise-level" => self.noise_level = value_of(value)?,
            "strength" => self.strength = value_of(value)?,
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
            "noise-level" => self.noise_level.to_value(),
            "strength" => self.strength.to_value(),
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
        live(
            "noise-level",
            "Noise level",
            "Standard deviation of the noise of luma (of R, G and B) in 8-bit units, -1 to estimate it; \
             that of chroma is always estimated",
            [-1.0, 75.0],
            default.noise_level,
        ),
        live(
            "strength",
            "Strength",
            "Up to 1 the share of the noise that is removed, 0 passes frames through untouched; \
             beyond 1 the network assumes that much more noise",
            [0.0, 2.0],
            default.strength,
        ),
        ParamSpecBoolean::builder("temporal")
            .nick("Temporal")
            .blurb("Average along time first, where frames show the same things")
            .default_value(default.temporal)
            .controllable()
            .mutable_playing()
            .build(),
        live(
            "foreground-strength",
            "Foreground strength",
            "Factor on strength inside the regions of a region mask",
            [0.0, 2.0],
            default.foreground_strength,
        ),
        live(
            "background-strength",
            "Background strength",
            "Factor on strength outside the regions of a region mask",
            [0.0, 2.0],
            default.background_strength,
        ),
        ParamSpecFloat::builder("estimated-noise-level")
            .nick("Estimated noise level")
            .blurb("Level of noise of luma (of R, G and B) that the last frame was denoised for")
            .minimum(0.0)
            .maximum(f32::MAX)
            .read_only()
            .build(),
        ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Frames, those that were too late, mean and 99th percentile of the milliseconds that they took, backend, noise levels")
            .read_only()
            .build(),
    ]);
    properties
}
