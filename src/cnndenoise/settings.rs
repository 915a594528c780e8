// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `cnndenoise` element.

use glib::{
    ParamSpec, ParamSpecBoolean, ParamSpecBoxed, ParamSpecFloat, ParamSpecUInt, prelude::*,
};
use gst::prelude::*;

use super::noise_model;
use crate::shared::{
    FilterSettings, FrameSettings, ModelSettings, RegionFactors, RoiTypes, controllable_float,
    get_value,
};
use cnnvideo::denoise::{AssumedNoise, Parameters};

/// Largest value of the property `lookahead`.
const MAX_LOOKAHEAD: u32 = 16;

/// Values of the writable properties.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Model properties.
    pub model: ModelSettings,
    /// Noise sigma in 8-bit units; negative to estimate it.
    pub noise_level: f32,
    /// Noise sigma of chroma in 8-bit units; negative to estimate it.
    pub chroma_noise_level: f32,
    /// Noise to assume where no level is set; `None` to estimate it.
    pub noise_model: Option<AssumedNoise>,
    /// Strength, 0 to 2.
    pub strength: f32,
    /// Whether to apply temporal fusion.
    pub temporal: bool,
    /// Whether to dither 8-bit output in smooth areas.
    pub dither: bool,
    /// Number of future frames that each frame is fused with.
    pub lookahead: u32,
    /// Factors on the strength by region of a region mask.
    pub region_factors: RegionFactors,
    /// Types of the regions of interest that count where a frame has no region mask.
    pub roi_types: RoiTypes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: ModelSettings::default(),
            noise_level: -1.0,
            chroma_noise_level: -1.0,
            noise_model: None,
            strength: 1.0,
            temporal: true,
            dither: true,
            lookahead: 0,
            region_factors: RegionFactors::default(),
            roi_types: RoiTypes::default(),
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
                 -1 = estimate it from the video",
                [-1.0, 75.0],
                default.noise_level,
            ),
            controllable_float(
                "chroma-noise-level",
                "Chroma noise level",
                "Standard deviation of the noise of chroma in 8-bit units, -1 = estimate it from \
                 the video",
                [-1.0, 75.0],
                default.chroma_noise_level,
            ),
            ParamSpecBoxed::builder::<gst::Structure>("noise-model")
                .nick("Noise model")
                .blurb(
                    "Noise assumed for the last frame, by component and brightness; setting it \
                     fixes the noise where no level is set, a structure without fields estimates \
                     it again",
                )
                .mutable_playing()
                .build(),
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
            ParamSpecUInt::builder("lookahead")
                .nick("Lookahead")
                .blurb(
                    "Number of future frames that each frame is averaged with, which adds that \
                     latency",
                )
                .maximum(MAX_LOOKAHEAD)
                .default_value(default.lookahead)
                .mutable_ready()
                .build(),
            ParamSpecBoolean::builder("dither")
                .nick("Dither")
                .blurb(
                    "Dither 8-bit output in smooth areas, so that gradients do not band; 10-bit \
                     output is never dithered",
                )
                .default_value(default.dither)
                .controllable()
                .mutable_playing()
                .build(),
            controllable_float(
                "foreground-strength",
                "Foreground strength",
                "Factor on strength inside the regions of a region mask or of interest",
                [0.0, 2.0],
                default.region_factors.foreground,
            ),
            controllable_float(
                "background-strength",
                "Background strength",
                "Factor on strength outside the regions of a region mask or of interest",
                [0.0, 2.0],
                default.region_factors.background,
            ),
            RoiTypes::property(),
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
            "chroma-noise-level" => self.chroma_noise_level = get_value(value)?,
            "noise-model" => {
                let structure: Option<gst::Structure> = get_value(value)?;
                let noise = structure.map(|structure| noise_model::from_structure(&structure));
                self.noise_model = noise.transpose()?.flatten();
            }
            "strength" => self.strength = get_value(value)?,
            "temporal" => self.temporal = get_value(value)?,
            "dither" => self.dither = get_value(value)?,
            "lookahead" => self.lookahead = get_value(value)?,
            "foreground-strength" => self.region_factors.foreground = get_value(value)?,
            "background-strength" => self.region_factors.background = get_value(value)?,
            RoiTypes::PROPERTY => self.roi_types = get_value::<Option<String>>(value)?.into(),
            _ => self.model.set(name, value)?,
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "noise-level" => self.noise_level.to_value(),
            "chroma-noise-level" => self.chroma_noise_level.to_value(),
            "noise-model" => noise_model::to_structure(&self.noise_model?).to_value(),
            "strength" => self.strength.to_value(),
            "temporal" => self.temporal.to_value(),
            "dither" => self.dither.to_value(),
            "lookahead" => self.lookahead.to_value(),
            "foreground-strength" => self.region_factors.foreground.to_value(),
            "background-strength" => self.region_factors.background.to_value(),
            RoiTypes::PROPERTY => self.roi_types.to_value(),
            _ => return self.model.get(name),
        })
    }

    fn model(&self) -> &ModelSettings {
        &self.model
    }

    fn lookahead(&self) -> usize {
        self.lookahead as usize
    }

    fn frame_settings(&self) -> FrameSettings<Parameters> {
        let set = |level: f32| (level >= 0.0).then_some(level);
        let parameters = Parameters {
            sigma: set(self.noise_level),
            chroma_sigma: set(self.chroma_noise_level),
            noise: self.noise_model,
            strength: self.strength,
            temporal: self.temporal,
            dither: self.dither,
        };
        FrameSettings {
            parameters,
            region_factors: self.region_factors,
            roi_types: self.roi_types.clone(),
            passthrough: self.strength == 0.0,
        }
    }
}
