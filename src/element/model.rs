//! Properties of the network that an element runs.

use std::path::PathBuf;

use glib::{ParamSpec, ParamSpecEnum, ParamSpecString, ParamSpecUInt, prelude::*};
use gst::prelude::*;

use super::{ModelPrecision, Quality};
use crate::nn;

/// What a user asks of the network; read when the element starts.
#[derive(Debug, Clone)]
pub(crate) struct ModelSettings {
    pub quality: Quality,
    pub model_file: Option<PathBuf>,
    pub device: String,
    pub precision: ModelPrecision,
    pub threads: u32,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            quality: Quality::default(),
            model_file: None,
            device: "auto".to_owned(),
            precision: ModelPrecision::default(),
            threads: 0,
        }
    }
}

/// A property's value as another type; GObject checks types before it comes to this.
pub(crate) fn value_of<'a, T: glib::value::FromValue<'a>>(
    value: &'a glib::Value,
) -> Result<T, String> {
    value.get::<T>().map_err(|err| err.to_string())
}

impl ModelSettings {
    /// Takes over the value of a property.
    ///
    /// # Errors
    /// A value of another type, a name that is not one of these.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "quality" => self.quality = value_of(value)?,
            "model-file" => self.model_file = value_of::<Option<PathBuf>>(value)?,
            "device" => {
                self.device =
                    value_of::<Option<String>>(value)?.unwrap_or_else(|| "auto".to_owned())
            }
            "precision" => self.precision = value_of(value)?,
            "threads" => self.threads = value_of(value)?,
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
            _ => return None,
        })
    }

    /// What to tell the user where the network cannot be used.
    pub fn error(&self, err: &nn::Error) -> gst::ErrorMessage {
        let domain = match err {
            nn::Error::NotFound(_) => gst::ResourceError::NotFound,
            nn::Error::Read { .. } => gst::ResourceError::Read,
            _ => gst::ResourceError::Settings,
        };
        let from = self
            .model_file
            .as_ref()
            .map_or("built-in model".to_owned(), |p| p.display().to_string());
        gst::error_msg!(domain, ("Cannot use {} on device '{}': {}", from, self.device, err))
    }

    /// The properties.
    pub fn properties() -> Vec<ParamSpec> {
        let default = Self::default();
        vec![
            ParamSpecEnum::builder_with_default("quality", default.quality)
                .nick("Quality")
                .blurb("Size of the network: fast for live video, balanced between, best for files or CUDA; what an element has no network for runs as fast")
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
                .blurb(
                    "Arithmetic of the network: auto takes int8 where the model was trained for it and the device is \
                     the CPU, but not to denoise video of more than 8 bits",
                )
                .mutable_ready()
                .build(),
            ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Threads to work on, 0 for as many as the machine has cores")
                .maximum(64)
                .default_value(default.threads)
                .mutable_ready()
                .build(),
        ]
    }
}
