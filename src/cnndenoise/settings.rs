// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `cnndenoise` element.

use glib::{ParamSpec, ParamSpecBoolean, ParamSpecBoxed, ParamSpecFloat, prelude::*};
use gst::prelude::*;

use crate::shared::{
    FilterSettings, FrameSettings, ModelSettings, RegionFactors, controllable_float, get_value,
};
use cnnvideo::denoise::Parameters;

/// Values of the writable properties.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Model properties.
    pub model: ModelSettings,
    /// Noise sigma in 8-bit units; negative to estimate it.
    pub noise_level: f32,
    /// Strength, 0 to 2.
    pub strength: f32,
    /// Whether to apply temporal fusion.
    pub temporal: bool,
    /// Factors on the strength by region of a region mask.
    pub region_factors: RegionFactors,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: ModelSettings::default(),
            noise_level: -1.0,
            strength: 1.0,
            temporal: true,
            region_factors: RegionFactors::default(),
        }
    }
}

impl FilterSettings for Settings {
    type Parameters = Parameters;

    fn properties() -> Vec<ParamSpec> {
        let default = Settings::default();
        let mut properties = ModelSettings::properties();
        properties.extend([
            controllable_float(
                "noise-level",
                "Noise level",
                "Standard deviation of the noise of luma (or of R, G and B) in 8-bit units, \
                 -1 = estimate it from the video; that of chroma is always estimated",
                [-1.0, 75.0],
                default.noise_level,
            ),
            controllable_float(
                "strength",
                "Strength",
                "Up to 1: share of the noise that is removed, 0 = pass frames through unchanged; \
                 beyond 1: also a factor on the noise level that the network assumes",
                [0.0, 2.0],
                default.strength,
            ),
            ParamSpecBoolean::builder("temporal")
                .nick("Temporal")
                .blurb(
                    "Average each frame with motion-compensated previous frames before the \
                     network",
                )
                .default_value(default.temporal)
                .controllable()
                .mutable_playing()
                .build(),
            controllable_float(
                "foreground-strength",
                "Foreground strength",
                "Factor on strength inside the regions of a region mask",
                [0.0, 2.0],
                default.region_factors.foreground,
            ),
            controllable_float(
                "background-strength",
                "Background strength",
                "Factor on strength outside the regions of a region mask",
                [0.0, 2.0],
                default.region_factors.background,
            ),
            ParamSpecFloat::builder("estimated-noise-level")
                .nick("Estimated noise level")
                .blurb(
                    "Standard deviation of the noise of luma (or of R, G and B) that was assumed \
                     for the last frame, in 8-bit units",
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

    fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "noise-level" => self.noise_level = get_value(value)?,
            "strength" => self.strength = get_value(value)?,
            "temporal" => self.temporal = get_value(value)?,
            "foreground-strength" => self.region_factors.foreground = get_value(value)?,
            "background-strength" => self.region_factors.background = get_value(value)?,
            _ => self.model.set(name, value)?,
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "noise-level" => self.noise_level.to_value(),
            "strength" => self.strength.to_value(),
            "temporal" => self.temporal.to_value(),
            "foreground-strength" => self.region_factors.foreground.to_value(),
            "background-strength" => self.region_factors.background.to_value(),
            _ => return self.model.get(name),
        })
    }

    fn model(&self) -> &ModelSettings {
        &self.model
    }

    fn frame_settings(&self) -> FrameSettings<Parameters> {
        let parameters = Parameters {
            sigma: (self.noise_level >= 0.0).then_some(self.noise_level),
            strength: self.strength,
            temporal: self.temporal,
        };
        FrameSettings {
            parameters,
            region_factors: self.region_factors,
            passthrough: self.strength == 0.0,
        }
    }
}
