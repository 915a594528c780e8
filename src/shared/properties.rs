// SPDX-License-Identifier: MIT OR Apache-2.0

//! Property types and helpers for properties that several elements use.

use gst::prelude::*;

use cnnvideo::{denoise::Quality, nn::Precision};

/// Quality preset: the size of the network, a trade-off between quality and time per frame.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstCnnVideoQuality")]
pub enum QualityPreset {
    /// For live video on two ordinary cores.
    #[default]
    #[enum_value(name = "Fast: live video on two ordinary cores", nick = "fast")]
    Fast,
    /// For small video and for files.
    #[enum_value(
        name = "Balanced: small video and files (cnndenoise; other elements use fast)",
        nick = "balanced"
    )]
    Balanced,
    /// For files, or for live video with CUDA.
    #[enum_value(
        name = "Best: files, or CUDA (cnndenoise; other elements use fast)",
        nick = "best"
    )]
    Best,
    /// The best of the others that keeps up with the stream.
    #[enum_value(
        name = "Auto: the best that keeps up with the stream (cnndenoise; other elements use fast)",
        nick = "auto"
    )]
    Auto,
}

impl QualityPreset {
    /// Returns the name of the preset, as in properties, statistics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Best => "best",
            Self::Auto => "auto",
        }
    }

    /// Returns the networks of the preset, `None` for [`Self::Auto`], which has several.
    pub fn quality(self) -> Option<Quality> {
        match self {
            Self::Fast => Some(Quality::Fast),
            Self::Balanced => Some(Quality::Balanced),
            Self::Best => Some(Quality::Best),
            Self::Auto => None,
        }
    }
}

/// Arithmetic of the network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstCnnVideoPrecision")]
pub enum ModelPrecision {
    /// The fastest arithmetic that keeps the quality.
    #[default]
    #[enum_value(name = "Auto: the fastest that keeps the quality", nick = "auto")]
    Auto,
    /// 8-bit integers.
    #[enum_value(name = "8-bit integers, on the CPU", nick = "int8")]
    Int8,
    /// 32-bit floating point.
    #[enum_value(name = "32-bit floating point", nick = "fp32")]
    Fp32,
}

impl From<ModelPrecision> for Precision {
    fn from(precision: ModelPrecision) -> Self {
        match precision {
            ModelPrecision::Auto => Self::Auto,
            ModelPrecision::Int8 => Self::Int8,
            ModelPrecision::Fp32 => Self::Fp32,
        }
    }
}

/// Builds a float property that the user may change, or a controller may drive, while the pipeline
/// plays. `range` is the minimum and maximum.
pub(crate) fn controllable_float(
    name: &'static str,
    nick: &'static str,
    blurb: &'static str,
    range: [f32; 2],
    default: f32,
) -> glib::ParamSpec {
    glib::ParamSpecFloat::builder(name)
        .nick(nick)
        .blurb(blurb)
        .minimum(range[0])
        .maximum(range[1])
        .default_value(default)
        .controllable()
        .mutable_playing()
        .build()
}

/// Returns a property's value as a Rust type.
///
/// # Errors
/// A value of another type; GObject checks types before, so this does not occur in practice.
pub(crate) fn get_value<'a, T: glib::value::FromValue<'a>>(
    value: &'a glib::Value,
) -> Result<T, String> {
    value.get::<T>().map_err(|err| err.to_string())
}

/// Marks the property types as plugin API, so that GStreamer's plugin cache documents them.
#[cfg(feature = "doc")]
pub(crate) fn mark_for_documentation() {
    for kind in [QualityPreset::static_type(), ModelPrecision::static_type()] {
        kind.mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
}
