//! Properties of the `cnndenoise` element.

use glib::{ParamSpec, ParamSpecBoolean, ParamSpecBoxed, ParamSpecFloat, prelude::*};
use gst::prelude::*;

use crate::shared::{ModelSettings, live, value_of};
use cnnvideo::denoise::Parameters;

/// Values of the writable properties.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Model properties.
    pub model: ModelSettings,
    /// Noise sigma in 8-bit units; negative to estimate it.
    pub noise_level: f32,
    /// Strength, 0 to 2.
    pub strength: f32,
    /// Whether to apply temporal fusion.
    pub temporal: bool,
    /// Factor on the strength inside the regions of a region mask.
    pub foreground_strength: f32,
    /// Factor on the strength outside the regions of a region mask.
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
    /// Returns the denoiser's parameters.
    pub fn parameters(&self) -> Parameters {
        Parameters {
            noise_level: (self.noise_level >= 0.0).then_some(self.noise_level),
            strength: self.strength,
            temporal: self.temporal,
        }
    }

    /// Sets the property `name`.
    ///
    /// # Errors
    /// An unknown name, or a value of another type; GObject checks both before.
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

    /// Returns the value of the property `name`, or `None` if it is unknown.
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

/// Returns the specifications of all properties of the element.
pub(super) fn properties() -> Vec<ParamSpec> {
    let default = Settings::default();
    let mut properties = ModelSettings::properties();
    properties.extend([
        live(
            "noise-level",
            "Noise level",
            "Standard deviation of the noise of luma (or of R, G and B) in 8-bit units, \
             -1 = estimate it from the video; that of chroma is always estimated",
            [-1.0, 75.0],
            default.noise_level,
        ),
        live(
            "strength",
            "Strength",
            "Up to 1: share of the noise that is removed, 0 = pass frames through unchanged; \
             beyond 1: also a factor on the noise level that the network assumes",
            [0.0, 2.0],
            default.strength,
        ),
        ParamSpecBoolean::builder("temporal")
            .nick("Temporal")
            .blurb("Average each frame with motion-compensated previous frames before the network")
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
            .blurb(
                "Standard deviation of the noise of luma (or of R, G and B) that was assumed for \
                 the last frame, in 8-bit units",
            )
            .minimum(0.0)
            .maximum(f32::MAX)
            .read_only()
            .build(),
        ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "Number of frames, number of frames dropped because they were late, \
                 mean and 99th percentile of the processing time in ms, backend, noise levels",
            )
            .read_only()
            .build(),
    ]);
    properties
}
