// SPDX-License-Identifier: MIT OR Apache-2.0

//! Properties of the `watermarkdetect` element.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use glib::{
    ParamSpec, ParamSpecBoolean, ParamSpecDouble, ParamSpecEnum, ParamSpecString, ParamSpecUInt,
    prelude::*,
};
use gst::prelude::*;

use crate::shared::{KeySettings, get_value};
use cnnvideo::{
    nn::model::open_regular_file,
    watermark::{DecoderOptions, MAX_CANDIDATES, Payload, Search, parse_candidates},
};

/// Length of the longest list of payloads in bytes.
const MAX_LIST_LEN: u64 = 64 * MAX_CANDIDATES as u64;

/// Values of the property `search`: geometries that the detector searches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstWatermarkSearch")]
pub(super) enum SearchKind {
    /// Whole frames at any size.
    #[enum_value(name = "None: whole frames, scaled to any size", nick = "none")]
    None,
    /// Also cropped, enlarged, reduced and letterboxed frames.
    #[enum_value(name = "Scale: also cropped, enlarged and letterboxed frames", nick = "scale")]
    Scale,
    /// Also rotated, stretched, mirrored and turned frames.
    #[default]
    #[enum_value(name = "Full: also rotated, stretched and mirrored frames", nick = "full")]
    Full,
}

impl From<SearchKind> for Search {
    fn from(kind: SearchKind) -> Self {
        match kind {
            SearchKind::None => Self::WholeFrame,
            SearchKind::Scale => Self::Scale,
            SearchKind::Full => Self::Full,
        }
    }
}

/// Marks the enumeration as API of the plugin for GStreamer's documentation tools.
#[cfg(feature = "doc")]
pub(super) fn mark_for_documentation() {
    SearchKind::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
}

/// Values of the element's writable properties.
#[derive(Clone)]
pub(super) struct Settings {
    /// Properties `key-file` and `key`.
    pub(super) key: KeySettings,
    /// Number of most recent frames to accumulate evidence over.
    pub(super) window: u32,
    /// Highest probability of reporting a watermark in a window without one of the key.
    pub(super) false_positive_rate: f64,
    /// Geometries to search.
    pub(super) search: SearchKind,
    /// Whether `search=full` includes mirrored and turned frames.
    pub(super) search_orientations: bool,
    /// Number of frames from one decode to the next.
    pub(super) interval: u32,
    /// Number of key epochs to decode.
    pub(super) epochs: u32,
    /// Whether to post a message at every decode.
    pub(super) post_all: bool,
    /// Property `candidates-file`: file with the issued payloads.
    candidates_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        let DecoderOptions { false_positive_rate, epoch_count, orientations } =
            DecoderOptions::default();
        Self {
            key: KeySettings::default(),
            window: 48,
            false_positive_rate,
            search: SearchKind::default(),
            search_orientations: orientations,
            interval: 12,
            epochs: epoch_count,
            post_all: false,
            candidates_file: None,
        }
    }
}

impl Settings {
    /// Returns the specifications of all properties of the element.
    pub(super) fn properties() -> Vec<ParamSpec> {
        let default = Self::default();
        let mut properties = KeySettings::properties();
        properties.extend([
            ParamSpecUInt::builder("window")
                .nick("Window")
                .blurb("Number of most recent frames to accumulate evidence over")
                .minimum(1)
                .maximum(480)
                .default_value(default.window)
                .mutable_ready()
                .build(),
            ParamSpecDouble::builder("false-positive-rate")
                .nick("False positive rate")
                .blurb(
                    "Highest probability of reporting a watermark in a window of frames without \
                     a watermark of this key",
                )
                .minimum(1e-30)
                .maximum(0.01)
                .default_value(default.false_positive_rate)
                .mutable_ready()
                .build(),
            ParamSpecEnum::builder_with_default("search", default.search)
                .nick("Search")
                .blurb("Geometric changes of the video to search for")
                .mutable_playing()
                .build(),
            ParamSpecBoolean::builder("search-orientations")
                .nick("Search orientations")
                .blurb(
                    "Whether search=full includes frames that were mirrored or turned by more \
                     than 45 degrees",
                )
                .default_value(default.search_orientations)
                .mutable_ready()
                .build(),
            ParamSpecUInt::builder("interval")
                .nick("Interval")
                .blurb("Number of frames from one decode to the next")
                .minimum(1)
                .maximum(480)
                .default_value(default.interval)
                .mutable_playing()
                .build(),
            ParamSpecUInt::builder("epochs")
                .nick("Epochs")
                .blurb("Number of key epochs to try, from 0 to this number minus 1")
                .minimum(1)
                .maximum(64)
                .default_value(default.epochs)
                .mutable_ready()
                .build(),
            ParamSpecBoolean::builder("post-all")
                .nick("Post all")
                .blurb("Post a message at every decode, not only when the result changes")
                .default_value(default.post_all)
                .mutable_playing()
                .build(),
            ParamSpecString::builder("candidates-file")
                .nick("Candidates file")
                .blurb(
                    "File with the issued payloads, one per line, to name receivers who mixed \
                     their copies",
                )
                .mutable_ready()
                .build(),
            ParamSpecString::builder("last-payload")
                .nick("Last payload")
                .blurb("Payload of the last watermark found, as 16 hex digits; null until then")
                .read_only()
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
            "window" => self.window = get_value(value)?,
            "false-positive-rate" => self.false_positive_rate = get_value(value)?,
            "search" => self.search = get_value(value)?,
            "search-orientations" => self.search_orientations = get_value(value)?,
            "interval" => self.interval = get_value(value)?,
            "epochs" => self.epochs = get_value(value)?,
            "post-all" => self.post_all = get_value(value)?,
            "candidates-file" => self.candidates_file = get_value(value)?,
            _ => self.key.set(name, value)?,
        }
        Ok(())
    }

    /// Returns the issued payloads, none if `candidates-file` is not set.
    ///
    /// # Errors
    /// Returns the message for the user if the file cannot be read or is not a list of payloads.
    pub(super) fn candidates(&self) -> Result<Vec<Payload>, gst::ErrorMessage> {
        let Some(path) = &self.candidates_file else { return Ok(Vec::new()) };
        let name = path.display();
        let mut text = String::new();
        open_regular_file(path)
            .and_then(|file| file.take(MAX_LIST_LEN + 1).read_to_string(&mut text))
            .map_err(|err| {
                let code = match err.kind() {
                    io::ErrorKind::NotFound => gst::ResourceError::NotFound,
                    _ => gst::ResourceError::Read,
                };
                gst::error_msg!(code, ("cannot read candidates-file {}: {}", name, err))
            })?;
        if text.len() as u64 > MAX_LIST_LEN {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                ("candidates-file {} is longer than {} bytes", name, MAX_LIST_LEN)
            ));
        }
        parse_candidates(&text).map_err(|err| {
            gst::error_msg!(gst::ResourceError::Settings, ("candidates-file {}: {}", name, err))
        })
    }

    /// Returns the values that the streaming thread needs: the geometries to search, the interval
    /// and the window.
    pub(super) fn decoding(&self) -> (Search, u32, u32) {
        (self.search.into(), self.interval, self.window)
    }

    /// Returns the value of the property `name`, or `None` if it is not one of these or not
    /// readable.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "window" => self.window.to_value(),
            "false-positive-rate" => self.false_positive_rate.to_value(),
            "search" => self.search.to_value(),
            "search-orientations" => self.search_orientations.to_value(),
            "interval" => self.interval.to_value(),
            "epochs" => self.epochs.to_value(),
            "post-all" => self.post_all.to_value(),
            "candidates-file" => self.candidates_file.to_value(),
            _ => return self.key.get(name),
        })
    }
}
