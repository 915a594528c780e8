// SPDX-License-Identifier: MIT OR Apache-2.0

//! Implementation of the `cnndenoise` element: its algorithm, model and statistics for
//! [`FrameFilter`].

use std::sync::LazyLock;

use glib::subclass::prelude::*;
use gst::prelude::*;

use super::{noise_model, settings::Settings};
use crate::shared::{
    FilterClass, FilterElement, FrameFilter, FrameProcessor, ModelSettings, QualityPreset,
    SampleDepth,
};
use cnnvideo::{
    denoise::{AssumedNoise, BitDepth, Denoiser, Error, Networks, NoiseSigmas, Parameters},
    frame::{Field, Format, Picture, PictureMut, Regions, Sample},
    nn,
};

/// Measurements of a frame.
#[derive(Default)]
pub struct Report {
    /// The noise sigmas that the denoiser assumed.
    sigmas: NoiseSigmas,
    /// The noise by component and brightness.
    noise: AssumedNoise,
    /// Share of the frame whose result was kept.
    skipped: f32,
}

impl FrameProcessor for Denoiser {
    type Model = Networks;
    type Parameters = Parameters;
    type Report = Report;
    type Error = Error;

    const VERB: &'static str = "denoise";

    fn new(
        networks: &Networks,
        format: Format,
        depth: SampleDepth,
        threads: usize,
    ) -> Result<Self, Error> {
        let bit_depth = match depth {
            SampleDepth::U8 => BitDepth::Eight,
            SampleDepth::Lsb10 | SampleDepth::Msb10 => BitDepth::High,
        };
        networks.denoiser(format.colour(), bit_depth, threads)
    }

    fn backend(&self) -> String {
        self.backend()
    }

    fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.prepare(width, height)
    }

    fn reset(&mut self) {
        self.reset();
    }

    fn look_ahead<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        parameters: &Parameters,
        field: Field,
    ) -> Result<(), Error> {
        self.look_ahead(picture, parameters, field)
    }

    fn process<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: Field,
    ) -> Result<Report, Error> {
        let sigmas = self.process(input, output, parameters, regions, field)?;
        Ok(Report { sigmas, noise: self.noise(), skipped: self.skipped_share() })
    }
}

/// The element `cnndenoise` as a [`FilterElement`].
pub struct Denoise;

impl FilterElement for Denoise {
    type Object = super::CnnDenoise;
    type Settings = Settings;
    type Processor = Denoiser;

    const QUALITY_PRESETS: &'static [QualityPreset] =
        &[QualityPreset::Fast, QualityPreset::Balanced, QualityPreset::Best];

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

    fn load_model(settings: &ModelSettings) -> Result<Networks, nn::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        match &settings.model_file {
            Some(path) => Networks::from_file(path.clone(), device, precision),
            None => Networks::built_in(settings.quality.into(), device, precision),
        }
    }

    fn backend(networks: &Networks) -> String {
        networks.backend()
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
        Report { sigmas, noise, skipped }: &Report,
    ) -> gst::structure::Builder {
        stats
            .field("noise-level", sigmas.main)
            .field("chroma-noise-level", sigmas.chroma)
            .field("noise-model", noise_model::to_structure(noise))
            .field("skipped", f64::from(*skipped))
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
