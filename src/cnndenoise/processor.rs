// SPDX-License-Identifier: MIT OR Apache-2.0

//! The algorithm of `cnndenoise` for [`FrameFilter`](crate::shared::FrameFilter): a denoiser with
//! the choice of its network.

use super::presets::{PresetInUse, Presets};
use crate::shared::{FramePace, FrameProcessor, FrameTimes, SampleDepth};
use cnnvideo::{
    denoise::{AssumedNoise, BitDepth, Denoiser, Error, NoiseSigmas, Parameters},
    frame::{Field, Format, Picture, PictureMut, Regions, Sample},
};

/// Measurements of a frame.
#[derive(Default)]
pub struct Report {
    /// The noise sigmas that the denoiser assumed.
    pub(super) sigmas: NoiseSigmas,
    /// The noise by component and brightness.
    pub(super) noise: AssumedNoise,
    /// Share of the frame whose result was kept.
    pub(super) skipped: f32,
    /// Name of the preset.
    pub(super) quality: &'static str,
}

/// Denoiser of a stream.
pub struct Processor {
    denoiser: Denoiser,
    preset: PresetInUse,
    /// Whether the network ran on all of the last frame, both fields of interlaced video.
    is_full: bool,
}

impl FrameProcessor for Processor {
    type Model = Presets;
    type Parameters = Parameters;
    type Report = Report;
    type Error = Error;

    const VERB: &'static str = "denoise";

    fn new(
        presets: &Presets,
        format: Format,
        depth: SampleDepth,
        threads: usize,
    ) -> Result<Self, Error> {
        let bit_depth = match depth {
            SampleDepth::U8 => BitDepth::Eight,
            SampleDepth::Lsb10 | SampleDepth::Msb10 => BitDepth::High,
        };
        let (denoiser, preset) = presets.denoiser(format.colour(), bit_depth, threads)?;
        Ok(Self { denoiser, preset, is_full: false })
    }

    fn backend(&self) -> String {
        self.denoiser.backend()
    }

    fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.denoiser.prepare(width, height)
    }

    fn reset(&mut self) {
        self.denoiser.reset();
    }

    fn look_ahead<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        parameters: &Parameters,
        field: Field,
    ) -> Result<(), Error> {
        self.denoiser.look_ahead(picture, parameters, field)
    }

    fn process<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: Field,
    ) -> Result<Report, Error> {
        let Self { denoiser, preset, is_full } = self;
        let sigmas = denoiser.process(input, output, parameters, regions, field)?;
        let is_rest_full = field == Field::First || *is_full;
        *is_full = is_rest_full && denoiser.computed_share() >= 1.0;
        Ok(Report {
            sigmas,
            noise: denoiser.noise(),
            skipped: denoiser.skipped_share(),
            quality: preset.name(),
        })
    }

    fn frame_started(&mut self, times: FrameTimes) -> Option<gst::Structure> {
        match &mut self.preset {
            PresetInUse::Fixed(_) => None,
            PresetInUse::Auto(auto) => {
                auto.frame_started(&mut self.denoiser, times).map(|message| (&message).into())
            }
        }
    }

    fn frame_processed(&mut self, pace: FramePace) {
        if let PresetInUse::Auto(auto) = &mut self.preset {
            auto.frame_processed(pace, self.is_full);
        }
    }
}
