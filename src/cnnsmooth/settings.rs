// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `cnnsmooth` element.

use glib::{ParamSpec, ParamSpecBoolean, ParamSpecBoxed, prelude::*};
use gst::prelude::*;

use crate::shared::{
    FilterSettings, FrameSettings, ModelSettings, RegionFactors, RoiTypes, controllable_float,
    get_value,
};
use cnnvideo::smooth::{MAX_SCALE, Parameters};

/// Values of the writable properties.
#[derive(Debug, Clone)]
pub struct Settings {
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
    /// Whether the strength depends on the density of texture.
    pub adaptive: bool,
    /// Factors on the strength by region of a region mask.
    pub region_factors: RegionFactors,
    /// Types of the regions of interest that count where a frame has no region mask.
    pub roi_types: RoiTypes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: ModelSettings::default(),
            scale: 8.0,
            strength: 1.0,
            structure: 0.5,
            temporal: true,
            adaptive: false,
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
                "scale",
                "Scale",
                "Size in pixels up to which texture is removed",
                [1.0, MAX_SCALE],
                default.scale,
            ),
            controllable_float(
                "strength",
                "Strength",
                "Strength of the smoothing, 0 = pass frames through unchanged, 1 = full",
                [0.0, 1.0],
                default.strength,
            ),
            controllable_float(
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
            ParamSpecBoolean::builder("adaptive")
                .nick("Adaptive")
                .blurb(
                    "Vary the strength with the density of texture: full in dense texture and \
                     noise, little at isolated detail such as eyes and letters",
                )
                .default_value(default.adaptive)
                .controllable()
                .mutable_playing()
                .build(),
            controllable_float(
                "foreground-strength",
                "Foreground strength",
                "Factor on the strength inside the regions of a region mask or of interest",
                [0.0, 1.0],
                default.region_factors.foreground,
            ),
            controllable_float(
                "background-strength",
                "Background strength",
                "Factor on the strength outside the regions of a region mask or of interest",
                [0.0, 1.0],
                default.region_factors.background,
            ),
            RoiTypes::property(),
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

    fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "scale" => self.scale = get_value(value)?,
            "strength" => self.strength = get_value(value)?,
            "structure" => self.structure = get_value(value)?,
            "temporal" => self.temporal = get_value(value)?,
            "adaptive" => self.adaptive = get_value(value)?,
            "foreground-strength" => self.region_factors.foreground = get_value(value)?,
            "background-strength" => self.region_factors.background = get_value(value)?,
            RoiTypes::PROPERTY => self.roi_types = get_value::<Option<String>>(value)?.into(),
            _ => self.model.set(name, value)?,
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "scale" => self.scale.to_value(),
            "strength" => self.strength.to_value(),
            "structure" => self.structure.to_value(),
            "temporal" => self.temporal.to_value(),
            "adaptive" => self.adaptive.to_value(),
            "foreground-strength" => self.region_factors.foreground.to_value(),
            "background-strength" => self.region_factors.background.to_value(),
            RoiTypes::PROPERTY => self.roi_types.to_value(),
            _ => return self.model.get(name),
        })
    }

    fn model(&self) -> &ModelSettings {
        &self.model
    }

    fn frame_settings(&self) -> FrameSettings<Parameters> {
        let parameters = Parameters {
            scale: self.scale,
            strength: self.strength,
            structure: self.structure,
            temporal: self.temporal,
            adaptive: self.adaptive,
        };
        FrameSettings {
            parameters,
            region_factors: self.region_factors,
            roi_types: self.roi_types.clone(),
            passthrough: self.strength == 0.0,
        }
    }
}
