// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `cnndemosaic` element.

use glib::{ParamSpec, ParamSpecBoxed, prelude::*};

use crate::shared::{ModelSettings, controllable_float, get_value};
use cnnvideo::demosaic::{MAX_SIGMA, Parameters};

/// Noise level that stands for an estimate.
const ESTIMATE: f32 = -1.0;

/// Values of the writable properties.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Model file, device, precision, quality preset and number of threads.
    pub model: ModelSettings,
    /// Noise sigma in 8-bit units, negative to estimate it.
    noise_level: f32,
    /// Factor on the noise sigma.
    strength: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { model: ModelSettings::default(), noise_level: ESTIMATE, strength: 1.0 }
    }
}

impl Settings {
    /// Returns the specifications of all properties.
    pub(super) fn properties() -> Vec<ParamSpec> {
        let default = Self::default();
        let mut properties = ModelSettings::properties();
        properties.extend([
            controllable_float(
                "noise-level",
                "Noise level",
                "Noise sigma of the raw samples in units of 8 bits, -1 = estimate it, \
                 0 = demosaic only",
                [ESTIMATE, MAX_SIGMA],
                default.noise_level,
            ),
            controllable_float(
                "strength",
                "Strength",
                "Factor on the noise sigma, 0 = keep the noise",
                [0.0, 2.0],
                default.strength,
            ),
            ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb(
                    "Processed frames, frames dropped by QoS, mean and 99th percentile of the \
                     processing time in milliseconds, backend, and noise sigma of the last frame",
                )
                .read_only()
                .build(),
        ]);
        properties
    }

    /// Sets a writable property.
    ///
    /// # Errors
    /// A value of another type.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "noise-level" => self.noise_level = get_value(value)?,
            "strength" => self.strength = get_value(value)?,
            _ => self.model.set(name, value)?,
        }
        Ok(())
    }

    /// Returns the value of a writable property.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "noise-level" => self.noise_level.to_value(),
            "strength" => self.strength.to_value(),
            _ => return self.model.get(name),
        })
    }

    /// Returns the parameters for the next frame. The conversion to YUV is that of HD video.
    pub(super) fn parameters(&self) -> Parameters {
        Parameters {
            sigma: (self.noise_level >= 0.0).then_some(self.noise_level),
            strength: self.strength,
            ..Parameters::default()
        }
    }
}
