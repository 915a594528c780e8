//! Properties of the `cnnsmooth` element.

use glib::{ParamSpec, ParamSpecBoolean, ParamSpecBoxed, prelude::*};
use gst::prelude::*;

use crate::shared::{ModelSettings, live, value_of};
use cnnvideo::smooth::{MAX_SCALE, Parameters};

/// Values of the writable properties.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Model file, device, precision, quality preset and number of threads.
    pub model: ModelSettings,
    /// Largest size of removed texture in pixels, 1 to [`MAX_SCALE`].
    pub scale: f32,
    /// Strength of the smoothing, 0 (none) to 1 (full).
    pub strength: f32,
    /// Sensitivity to weak edges, 0 to 1.
    pub structure: f32,
    /// Whether the guide is averaged with previous frames.
    pub temporal: bool,
    /// Factor on `strength` inside the regions of a region mask, 0 to 1.
    pub foreground_strength: f32,
    /// Factor on `strength` outside the regions of a region mask, 0 to 1.
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
    /// Returns the parameters of [`Smoother::process`](cnnvideo::smooth::Smoother::process).
    pub fn parameters(&self) -> Parameters {
        Parameters {
            scale: self.scale,
            strength: self.strength,
            structure: self.structure,
            temporal: self.temporal,
        }
    }

    /// Sets the property `name`.
    ///
    /// # Errors
    /// If the value has another type or the property does not exist. GObject checks both first.
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

    /// Returns the value of the property `name`, `None` if it is not one of these.
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

/// Returns the specifications of all properties of the element.
pub(super) fn properties() -> Vec<ParamSpec> {
    let default = Settings::default();
    let mut properties = ModelSettings::properties();
    properties.extend([
        live(
            "scale",
            "Scale",
            "Size in pixels up to which texture is removed",
            [1.0, MAX_SCALE],
            default.scale,
        ),
        live(
            "strength",
            "Strength",
            "Strength of the smoothing, 0 = pass frames through unchanged, 1 = full",
            [0.0, 1.0],
            default.strength,
        ),
        live(
            "structure",
            "Structure",
            "Sensitivity to weak edges, 0 = keep strong edges only, 1 = keep weak edges too",
            [0.0, 1.0],
            default.structure,
        ),
        ParamSpecBoolean::builder("temporal")
            .nick("Temporal")
            .blurb("Average the guide with previous frames where luma is unchanged")
            .default_value(default.temporal)
            .controllable()
            .mutable_playing()
            .build(),
        live(
            "foreground-strength",
            "Foreground strength",
            "Factor on the strength inside the regions of a region mask",
            [0.0, 1.0],
            default.foreground_strength,
        ),
        live(
            "background-strength",
            "Background strength",
            "Factor on the strength outside the regions of a region mask",
            [0.0, 1.0],
            default.background_strength,
        ),
        ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "Processed frames, frames dropped by QoS, mean and 99th percentile of the \
                 processing time in milliseconds, and backend",
            )
            .read_only()
            .build(),
    ]);
    properties
}
