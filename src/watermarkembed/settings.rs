// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `watermarkembed` element.

use glib::{ParamSpec, ParamSpecBoolean, ParamSpecString, ParamSpecUInt, prelude::*};
use gst::prelude::*;

use crate::shared::{KeySettings, controllable_float, get_value};
use cnnvideo::watermark::{Payload, Strength};

/// Values of the element's properties.
#[derive(Clone, Default)]
pub(super) struct Settings {
    /// Properties `key-file` and `key`.
    pub(super) key: KeySettings,
    /// Property `payload`, unparsed.
    payload: Option<String>,
    /// Properties `target-psnr` and `texture-aware`.
    pub(super) strength: Strength,
    /// Key epoch.
    pub(super) epoch: u32,
}

impl Settings {
    /// Returns the specifications of the properties.
    pub(super) fn properties() -> Vec<ParamSpec> {
        let default = Self::default();
        let mut properties = KeySettings::properties();
        properties.extend([
            ParamSpecString::builder("payload")
                .nick("Payload")
                .blurb(
                    "64-bit payload to hide, as 16 hex digits; a change takes effect at the next \
                     hop, within 24 frames",
                )
                .mutable_playing()
                .build(),
            controllable_float(
                "target-psnr",
                "Target PSNR",
                "Lowest luma PSNR of marked frames in dB; flat frames are marked more weakly",
                [30.0, 60.0],
                default.strength.target_psnr,
            ),
            ParamSpecBoolean::builder("texture-aware")
                .nick("Texture aware")
                .blurb("Embed more strongly in textured areas and more weakly in flat ones")
                .default_value(default.strength.texture_aware)
                .controllable()
                .mutable_playing()
                .build(),
            ParamSpecUInt::builder("epoch")
                .nick("Epoch")
                .blurb(
                    "Key epoch: the carriers depend on the key and on this number; detectors try \
                     the lowest numbers",
                )
                .default_value(default.epoch)
                .mutable_ready()
                .build(),
        ]);
        properties
    }

    /// Sets the property `name`.
    ///
    /// # Errors
    /// If the value has another type or the property does not exist. GObject checks both first.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "payload" => self.payload = get_value(value)?,
            "target-psnr" => self.strength.target_psnr = get_value(value)?,
            "texture-aware" => self.strength.texture_aware = get_value(value)?,
            "epoch" => self.epoch = get_value(value)?,
            _ => self.key.set(name, value)?,
        }
        Ok(())
    }

    /// Returns the value of the property `name`, or `None` if it is not readable.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "payload" => self.payload.to_value(),
            "target-psnr" => self.strength.target_psnr.to_value(),
            "texture-aware" => self.strength.texture_aware.to_value(),
            "epoch" => self.epoch.to_value(),
            _ => return self.key.get(name),
        })
    }

    /// Parses the property `payload`.
    ///
    /// # Errors
    /// Returns the message for the user if the property is not set or not a payload.
    pub(super) fn payload(&self) -> Result<Payload, String> {
        match &self.payload {
            Some(text) => text.parse().map_err(|err| format!("payload '{text}': {err}")),
            None => Err("no payload: set the property payload to 16 hex digits".to_owned()),
        }
    }
}
