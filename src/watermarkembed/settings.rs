// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `watermarkembed` element.

use std::path::PathBuf;

use glib::{
    ParamSpec, ParamSpecBoolean, ParamSpecEnum, ParamSpecString, ParamSpecUInt, ParamSpecUInt64,
    prelude::*,
};
use gst::prelude::*;

use super::payload_file::Segments;
use crate::shared::{KeySettings, controllable_float, get_value};
use cnnvideo::watermark::{Payload, Security, Strength};

/// Values of the property `security`: protection against attackers without the key.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstWatermarkSecurity")]
pub(super) enum SecurityKind {
    /// Version 2 of the format.
    #[default]
    #[enum_value(
        name = "Copy-resistant: a mark copied to another video is refused",
        nick = "copy-resistant"
    )]
    CopyResistant,
    /// Version 1 of the format.
    #[enum_value(
        name = "Robust: the patterns of version 1, which anyone with a marked copy can copy",
        nick = "robust"
    )]
    Robust,
}

impl From<SecurityKind> for Security {
    fn from(kind: SecurityKind) -> Self {
        match kind {
            SecurityKind::CopyResistant => Self::CopyResistant,
            SecurityKind::Robust => Self::Robust,
        }
    }
}

/// Marks the enumeration as API of the plugin for GStreamer's documentation tools.
#[cfg(feature = "doc")]
pub(super) fn mark_for_documentation() {
    SecurityKind::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
}

/// Values of the element's properties.
#[derive(Clone, Default)]
pub(super) struct Settings {
    /// Properties `key-file` and `key`.
    pub(super) key: KeySettings,
    /// Property `payload`, unparsed.
    payload: Option<String>,
    /// Property `payload-file`, which comes before `payload`.
    payload_file: Option<PathBuf>,
    /// `payload`, parsed, while the element is started. It then changes to valid payloads only.
    current_payload: Option<Payload>,
    /// Properties `target-psnr` and `texture-aware`.
    pub(super) strength: Strength,
    /// Property `security`.
    pub(super) security: SecurityKind,
    /// Key epoch.
    pub(super) epoch: u32,
    /// Property `frame-offset`: number of the first frame in the video.
    pub(super) frame_offset: u64,
}

/// Errors of [`Settings::set`].
#[derive(Debug)]
pub(super) enum SetError {
    /// A value for the property `payload` of a started element that is not a payload.
    Payload(String),
    /// A value of another type, or an unknown property. GObject checks both first.
    Value(String),
}

impl From<String> for SetError {
    fn from(reason: String) -> Self {
        Self::Value(reason)
    }
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
            ParamSpecString::builder("payload-file")
                .nick("Payload file")
                .blurb(
                    "File with the payloads of the segments of the video, instead of the property \
                     payload: a line 'FIRST-FRAME PAYLOAD' for each, the first one with frame 0",
                )
                .mutable_ready()
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
            ParamSpecEnum::builder_with_default("security", default.security)
                .nick("Security")
                .blurb("Protection against attackers who have marked video, but not the key")
                .mutable_ready()
                .build(),
            ParamSpecUInt::builder("epoch")
                .nick("Epoch")
                .blurb(
                    "Key epoch: the watermark depends on the key and on this number; detectors try \
                     the lowest numbers",
                )
                .default_value(default.epoch)
                .mutable_ready()
                .build(),
            ParamSpecUInt64::builder("frame-offset")
                .nick("Frame offset")
                .blurb(
                    "Number of the first frame in the video: parts of a video that are marked \
                     apart get the same watermark as the whole",
                )
                .default_value(default.frame_offset)
                .mutable_ready()
                .build(),
        ]);
        properties
    }

    /// Sets the property `name`.
    ///
    /// # Errors
    /// [`SetError`]; the property then keeps its value.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), SetError> {
        match name {
            "payload" => self.set_payload(get_value(value)?)?,
            "payload-file" => self.payload_file = get_value(value)?,
            "target-psnr" => self.strength.target_psnr = get_value(value)?,
            "texture-aware" => self.strength.texture_aware = get_value(value)?,
            "security" => self.security = get_value(value)?,
            "epoch" => self.epoch = get_value(value)?,
            "frame-offset" => self.frame_offset = get_value(value)?,
            _ => self.key.set(name, value)?,
        }
        Ok(())
    }

    /// Returns the value of the property `name`, or `None` if it is not readable.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "payload" => self.payload.to_value(),
            "payload-file" => self.payload_file.to_value(),
            "target-psnr" => self.strength.target_psnr.to_value(),
            "texture-aware" => self.strength.texture_aware.to_value(),
            "security" => self.security.to_value(),
            "epoch" => self.epoch.to_value(),
            "frame-offset" => self.frame_offset.to_value(),
            _ => return self.key.get(name),
        })
    }

    /// Sets the property `payload`. Its value is checked while the element is started; before,
    /// [`Self::start`] checks it.
    fn set_payload(&mut self, text: Option<String>) -> Result<(), SetError> {
        if self.current_payload.is_some() {
            self.current_payload = Some(parse(text.as_deref()).map_err(SetError::Payload)?);
        }
        self.payload = text;
        Ok(())
    }

    /// Returns the payload to start with, and the segments if there is a file of them. From now on,
    /// only a valid payload can be set.
    ///
    /// # Errors
    /// Returns the error for the user if the file is wrong, or if the property `payload` is not set
    /// or not a payload.
    pub(super) fn start(&mut self) -> Result<(Payload, Option<Segments>), gst::ErrorMessage> {
        let segments = self.payload_file.as_deref().map(Segments::load).transpose()?;
        let payload = match &segments {
            Some(segments) => segments.payload(self.frame_offset),
            None => parse(self.payload.as_deref())
                .map_err(|err| gst::error_msg!(gst::ResourceError::Settings, ("{}", err)))?,
        };
        self.current_payload = Some(payload);
        Ok((payload, segments))
    }

    /// Allows any value of the property `payload` again.
    pub(super) fn stop(&mut self) {
        self.current_payload = None;
    }

    /// Returns strength and payload for the next frame; no payload unless the element is started.
    pub(super) fn frame_settings(&self) -> (Strength, Option<Payload>) {
        (self.strength, self.current_payload)
    }
}

/// Parses the property `payload`.
///
/// # Errors
/// Returns the message for the user if the property is not set or not a payload.
fn parse(payload: Option<&str>) -> Result<Payload, String> {
    match payload {
        Some(text) => text.parse().map_err(|err| format!("payload '{text}': {err}")),
        None => {
            Err("no payload: set the property payload to 16 hex digits, or payload-file".to_owned())
        }
    }
}
