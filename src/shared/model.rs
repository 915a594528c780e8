// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties that select the network an element runs, its device and its arithmetic.

use std::path::PathBuf;

use glib::{ParamSpec, ParamSpecEnum, ParamSpecString, ParamSpecUInt, prelude::*};
use gst::prelude::*;

use super::{ModelPrecision, QualityPreset, get_value};
use cnnvideo::nn;

/// Values of the model properties. An element reads them when it starts.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// Quality preset, which selects the built-in network.
    pub quality: QualityPreset,
    /// Model file to load instead of a built-in network.
    pub model_file: Option<PathBuf>,
    /// Device string: `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Arithmetic of the network.
    pub precision: ModelPrecision,
    /// Number of threads, 0 for the number of cores.
    pub threads: u32,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            quality: QualityPreset::default(),
            model_file: None,
            device: "auto".to_owned(),
            precision: ModelPrecision::default(),
            threads: 0,
        }
    }
}

impl ModelSettings {
    /// Sets the field that belongs to the property `name`.
    ///
    /// # Errors
    /// A value of another type, or a name that is not a model property.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "quality" => self.quality = get_value(value)?,
            "model-file" => self.model_file = get_value::<Option<PathBuf>>(value)?,
            "device" => {
                self.device =
                    get_value::<Option<String>>(value)?.unwrap_or_else(|| "auto".to_owned())
            }
            "precision" => self.precision = get_value(value)?,
            "threads" => self.threads = get_value(value)?,
            _ => return Err("unknown property".to_owned()),
        }
        Ok(())
    }

    /// Returns the value of the property `name`, or `None` if it is not a model property.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "quality" => self.quality.to_value(),
            "model-file" => self.model_file.to_value(),
            "device" => self.device.to_value(),
            "precision" => self.precision.to_value(),
            "threads" => self.threads.to_value(),
            _ => return None,
        })
    }

    /// Returns the element error for a model that failed to load.
    pub fn load_error(&self, err: &nn::Error) -> gst::ErrorMessage {
        let domain = match err {
            nn::Error::NotFound(_) => gst::ResourceError::NotFound,
            nn::Error::Read { .. } => gst::ResourceError::Read,
            _ => gst::ResourceError::Settings,
        };
        let source = self
            .model_file
            .as_ref()
            .map_or("built-in model".to_owned(), |p| p.display().to_string());
        gst::error_msg!(domain, ("Cannot use {} on device '{}': {}", source, self.device, err))
    }

    /// Returns the specifications of the model properties.
    pub fn properties() -> Vec<ParamSpec> {
        let default = Self::default();
        vec![
            ParamSpecEnum::builder_with_default("quality", default.quality)
                .nick("Quality")
                .blurb(
                    "Size of the built-in network: fast for live video, balanced for small video \
                     and files, best for files or CUDA, auto for the best that keeps up with the \
                     frame rate; elements without this size use fast",
                )
                .mutable_ready()
                .build(),
            ParamSpecString::builder("model-file")
                .nick("Model file")
                .blurb(
                    "Network to use instead of the built-in ones: a .safetensors file of this \
                     project, or a TorchScript .pt file if built with torch; the element runs the \
                     code in a .pt file, so use only files that you trust",
                )
                .mutable_ready()
                .build(),
            ParamSpecString::builder("device")
                .nick("Device")
                .blurb(
                    "Device that runs the network: auto (CUDA if the build and the machine have \
                     it, else CPU), cpu or cuda:N",
                )
                .default_value("auto")
                .mutable_ready()
                .build(),
            ParamSpecEnum::builder_with_default("precision", default.precision)
                .nick("Precision")
                .blurb(
                    "Arithmetic of the network: auto uses int8 on the CPU if the model was \
                     trained for it, except for denoising video of more than 8 bits",
                )
                .mutable_ready()
                .build(),
            ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Number of threads to use, 0 = number of CPU cores")
                .maximum(64)
                .default_value(default.threads)
                .mutable_ready()
                .build(),
        ]
    }
}
