// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interface between a filter element and its algorithm ([`FrameProcessor`]).

use std::fmt::Display;

use ndarray::Array2;

use super::FramePace;
use crate::shared::{FrameTimes, RoiTypes, SampleDepth};
use cnnvideo::frame::{Field, Format, Picture, PictureMut, Regions, Sample};

/// Algorithm that a filter element applies to the pictures of a stream.
pub trait FrameProcessor: Sized + Send {
    /// Data loaded when the element starts, for example networks.
    type Model: Send;
    /// Values of the properties that may change with each frame.
    type Parameters: Send;
    /// Measurements of a picture that the element publishes, for example the noise sigma.
    type Report: Default + Send;
    /// Error of the algorithm.
    type Error: Display;

    /// Verb for error messages, as in "Cannot *denoise* a frame".
    const VERB: &'static str;

    /// Creates the state for a stream whose input has samples of `depth`. `threads`: 0 for the
    /// number of cores.
    ///
    /// # Errors
    /// A format that the model does not support.
    fn new(
        model: &Self::Model,
        format: Format,
        depth: SampleDepth,
        threads: usize,
    ) -> Result<Self, Self::Error>;

    /// Returns the name of the backend and device that the network runs on.
    fn backend(&self) -> String;

    /// Allocates buffers for pictures of a size in pixels, so that the first picture takes no
    /// longer than others.
    ///
    /// # Errors
    /// A size that the network cannot process.
    fn prepare(&mut self, width: usize, height: usize) -> Result<(), Self::Error>;

    /// Discards the temporal state: the next picture does not continue the previous one.
    fn reset(&mut self);

    /// Queues the next picture of the stream, so that pictures before it are processed with it too.
    /// Each queued picture is then processed, in the same order. Without effect for algorithms that
    /// use no future pictures.
    ///
    /// # Errors
    /// A failing backend.
    fn look_ahead<T: Sample>(
        &mut self,
        _picture: &Picture<'_, T>,
        _parameters: &Self::Parameters,
        _field: Field,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Processes `input` into `output`. Writes every sample of the components of `output`, which
    /// may hold any values before and whose samples may have more bits. `field` is [`Field::First`]
    /// for progressive pictures.
    ///
    /// # Errors
    /// Pictures that do not match each other or the network, or a failing backend.
    fn process<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Self::Parameters,
        regions: Option<Regions<'_>>,
        field: Field,
    ) -> Result<Self::Report, Self::Error>;

    /// Takes the times of the next frame before its pictures are processed. Returns the structure
    /// of an element message for the bus.
    fn frame_started(&mut self, _times: FrameTimes) -> Option<gst::Structure> {
        None
    }

    /// Takes the pace of a processed frame, if the time until the next frame is known.
    fn frame_processed(&mut self, _pace: FramePace) {}
}

/// Values that the properties have at the time of a frame.
pub struct FrameSettings<P> {
    /// Parameters of the algorithm.
    pub parameters: P,
    /// Factors on the strength by region.
    pub region_factors: RegionFactors,
    /// Types of the regions of interest that count where a frame has no region mask.
    pub roi_types: RoiTypes,
    /// Whether the element passes frames through unchanged.
    pub passthrough: bool,
}

/// Factors on a filter's strength inside and outside of the regions of a region mask, or of regions
/// of interest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionFactors {
    /// Factor inside regions.
    pub foreground: f32,
    /// Factor outside of regions.
    pub background: f32,
}

impl Default for RegionFactors {
    fn default() -> Self {
        Self { foreground: 1.0, background: 1.0 }
    }
}

impl RegionFactors {
    /// Returns the regions of a label mask with these factors.
    pub(super) fn regions(self, labels: &Array2<u8>) -> Regions<'_> {
        let Self { foreground, background } = self;
        Regions { labels: labels.view(), foreground, background }
    }
}
