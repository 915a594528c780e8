// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `cnndeband` element.

use glib::{ParamSpec, ParamSpecBoxed, prelude::*};

use crate::shared::{
    FilterSettings, FrameSettings, ModelSettings, RegionFactors, RoiTypes, controllable_float,
    get_value,
};
use cnnvideo::deband::{MAX_THRESHOLD, Parameters};

/// Least threshold in code values other than 0, which passes frames through.
const MIN_THRESHOLD: f32 = 0.5;

/// Values of the writable properties.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Model file, device, precision, quality preset and number of threads.
    pub model: ModelSettings,
    /// Range, threshold and grain.
    pub parameters: Parameters,
}

impl FilterSettings for Settings {
    type Parameters = Parameters;

    fn properties() -> Vec<ParamSpec> {
        let default = Parameters::default();
        let mut properties = ModelSettings::properties();
        properties.extend([
            controllable_float(
                "range",
                "Range",
                "Distance of contours in pixels up to which they are removed",
                [4.0, 64.0],
                default.range,
            ),
            controllable_float(
                "threshold",
                "Threshold",
                "Largest change of a sample in code values of 8 bits; contours of twice this \
                 height disappear, 0 = pass frames through unchanged, otherwise at least 0.5",
                [0.0, MAX_THRESHOLD],
                default.threshold,
            ),
            controllable_float(
                "grain",
                "Grain",
                "Sigma of the dither of 8-bit output where contours are removed; output of more \
                 bits is not dithered",
                [0.0, 2.0],
                default.grain,
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

    fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "range" => self.parameters.range = get_value(value)?,
            "threshold" => self.parameters.threshold = get_value(value)?,
            "grain" => self.parameters.grain = get_value(value)?,
            _ => self.model.set(name, value)?,
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "range" => self.parameters.range.to_value(),
            "threshold" => self.parameters.threshold.to_value(),
            "grain" => self.parameters.grain.to_value(),
            _ => return self.model.get(name),
        })
    }

    fn model(&self) -> &ModelSettings {
        &self.model
    }

    fn frame_settings(&self) -> FrameSettings<Parameters> {
        let threshold = self.parameters.threshold;
        FrameSettings {
            parameters: Parameters { threshold: threshold.max(MIN_THRESHOLD), ..self.parameters },
            region_factors: RegionFactors::default(),
            roi_types: RoiTypes::default(),
            passthrough: threshold == 0.0,
        }
    }
}
