use std::path::PathBuf;

use glib::{
    ParamSpec, ParamSpecBoolean, ParamSpecBoxed, ParamSpecEnum, ParamSpecFloat, ParamSpecString, ParamSpecUInt,
    prelude::*,
};
use gst::prelude::*;

use crate::{
    denoise::Parameters,
    element::{ModelPrecision, Quality},
};

/// Values of the properties that can be written.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub quality: Quality,
    pub model_file: Option<PathBuf>,
    pub device: String,
    pub precision: ModelPrecision,
    pub threads: u32,
    pub noise_level: f32,
    pub strength: f32,
    pub temporal: bool,
    pub foreground_strength: f32,
    pub background_strength: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quality: Quality::default(),
            model_file: None,
            device: "auto".to_owned(),
            precision: ModelPrecision::default(),
            threads: 0,
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
        fn get<'a, T: glib::value::FromValue<'a>>(value: &'a glib::Value) -> Result<T, String> {
            value.get::<T>().map_err(|err| err.to_string())
        }
        match name {
            "quality" => self.quality = get(value)?,
            "model-file" => self.model_file = get::<Option<PathBuf>>(value)?,
            "device" => self.device = get::<Option<String>>(value)?.unwrap_or_else(|| "auto".to_owned()),
            "precision" => self.precision = get(value)?,
            "threads" => self.threads = get(value)?,
            "noise-level" => self.noise_level = get(value)?,
            "strength" => self.strength = get(value)?,
            "temporal" => self.temporal = get(value)?,
            "foreground-strength" => self.foreground_strength = get(value)?,
            "background-strength" => self.background_strength = get(value)?,
            _ => return Err("no such property".to_owned()),
        }
        Ok(())
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "quality" => self.quality.to_value(),
            "model-file" => self.model_file.to_value(),
            "device" => self.device.to_value(),
            "precision" => self.precision.to_value(),
            "threads" => self.threads.to_value(),
            "noise-level" => self.noise_level.to_value(),
            "strength" => self.strength.to_value(),
            "temporal" => self.temporal.to_value(),
            "foreground-strength" => self.foreground_strength.to_value(),
            "background-strength" => self.background_strength.to_value(),
            _ => return None,
        })
    }
}

/// All properties of the element.
pub(super) fn properties() -> Vec<ParamSpec> {
    let default = Settings::default();
    // For those that may change with every frame.
    let live = |name: &'static str, nick: &'static str, blurb: &'static str, range: [f32; 2], default: f32| {
        ParamSpecFloat::builder(name)
            .nick(nick)
            .blurb(blurb)
            .minimum(range[0])
            .maximum(range[1])
            .default_value(default)
            .controllable()
            .mutable_playing()
            .build()
    };
    vec![
        ParamSpecEnum::builder_with_default("quality", default.quality)
            .nick("Quality")
            .blurb("Size of the network; balanced and best are not trained yet and run as fast")
            .mutable_ready()
            .build(),
        ParamSpecString::builder("model-file")
            .nick("Model file")
            .blurb(
                "Network to use instead of the built-in ones: a .safetensors file of this project, \
                 or in builds with torch a TorchScript .pt file",
            )
            .mutable_ready()
            .build(),
        ParamSpecString::builder("device")
            .nick("Device")
            .blurb("Where the network runs: auto (CUDA if this build and machine have it, else CPU), cpu or cuda:N")
            .default_value("auto")
            .mutable_ready()
            .build(),
        ParamSpecEnum::builder_with_default("precision", default.precision)
            .nick("Precision")
            .blurb("Arithmetic of the network: auto takes int8 where the model was trained for it and the device is the CPU")
            .mutable_ready()
            .build(),
        ParamSpecUInt::builder("threads")
            .nick("Threads")
            .blurb("Threads to work on, 0 for as many as the machine has cores")
            .maximum(64)
            .default_value(default.threads)
            .mutable_ready()
            .build(),
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
            "Factor on strength inside the regions of a region mask (not built yet: has no effect)",
            [0.0, 2.0],
            default.foreground_strength,
        ),
        live(
            "background-strength",
            "Background strength",
            "Factor on strength outside the regions of a region mask (not built yet: has no effect)",
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
            .blurb("Frames, mean and 99th percentile of the milliseconds that they took, backend, noise levels")
            .read_only()
            .build(),
    ]
}
