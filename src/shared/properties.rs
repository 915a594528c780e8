//! Enum property types that several elements use.

use cnnvideo::nn::Precision;

/// Size of the network, a trade-off between quality and time per frame.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstCnnVideoQuality")]
pub enum Quality {
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

/// Marks the property types as plugin API, so that GStreamer's plugin cache documents them.
#[cfg(feature = "doc")]
pub(crate) fn mark_for_documentation() {
    use glib::types::StaticType;
    use gst::prelude::*;
    for kind in [Quality::static_type(), ModelPrecision::static_type()] {
        kind.mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
}
