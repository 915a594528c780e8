// SPDX-License-Identifier: MIT OR Apache-2.0

//! Implementation of the `cnndenoise` element: its algorithm, model and statistics for
//! [`FrameFilter`].

use std::sync::LazyLock;

use glib::subclass::prelude::*;
use gst::prelude::*;

use super::{
    noise_model,
    presets::Presets,
    processor::{Processor, Report},
    settings::Settings,
};
use crate::shared::{FilterClass, FilterElement, FrameFilter, ModelSettings, QualityPreset};
use cnnvideo::nn;

/// The element `cnndenoise` as a [`FilterElement`].
pub struct Denoise;

impl FilterElement for Denoise {
    type Object = super::CnnDenoise;
    type Settings = Settings;
    type Processor = Processor;

    const QUALITY_PRESETS: &'static [QualityPreset] =
        &[QualityPreset::Fast, QualityPreset::Balanced, QualityPreset::Best, QualityPreset::Auto];

    fn class() -> &'static FilterClass {
        static CLASS: LazyLock<FilterClass> = LazyLock::new(|| {
            FilterClass::new::<Settings>(
                "cnndenoise",
                "CNN video denoiser",
                "Removes noise from video with a small convolutional network",
            )
        });
        &CLASS
    }

    fn load_model(settings: &ModelSettings) -> Result<Presets, nn::Error> {
        Presets::load(settings)
    }

    fn backend(presets: &Presets) -> String {
        presets.backend()
    }

    fn report_property(report: &Report, name: &str) -> Option<glib::Value> {
        match name {
            "estimated-noise-level" => Some(report.sigmas.main.to_value()),
            "noise-model" => Some(noise_model::to_structure(&report.noise).to_value()),
            _ => None,
        }
    }

    fn add_report(
        stats: gst::structure::Builder,
        Report { sigmas, noise, skipped, quality }: &Report,
    ) -> gst::structure::Builder {
        stats
            .field("noise-level", sigmas.main)
            .field("chroma-noise-level", sigmas.chroma)
            .field("noise-model", noise_model::to_structure(noise))
            .field("skipped", f64::from(*skipped))
            .field("quality", *quality)
    }
}

/// Private implementation struct of [`super::CnnDenoise`].
pub(super) type CnnDenoise = FrameFilter<Denoise>;

#[glib::object_subclass]
impl ObjectSubclass for CnnDenoise {
    const NAME: &'static str = "GstCnnDenoise";
    type Type = super::CnnDenoise;
    type ParentType = gst_video::VideoFilter;
}
