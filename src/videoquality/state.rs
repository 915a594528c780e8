// SPDX-License-Identifier: MIT OR Apache-2.0

//! State of a running `videoquality`.

use cnnvideo::quality::{Alignment, Comparison, Measures, Panel, Pooling, RunningMean};
use gst_video::VideoInfo;

use super::{frame::Frame, log_file::LogFile, output::Output, settings::OutputKind};

/// A value for each of the compared streams.
#[derive(Debug, Default, Clone)]
pub(super) struct PerStream<T> {
    pub(super) reference: T,
    pub(super) test: T,
}

/// State of the streams.
#[derive(Default)]
pub(super) struct State {
    /// `None` while the element is stopped.
    pub(super) comparison: Option<Comparison>,
    pub(super) panel: Panel,
    pub(super) running_mean: RunningMean,
    pub(super) pooling: Pooling,
    pub(super) alignment: Option<Alignment>,
    /// Log, `None` without a log file, after the end of the stream and after an error.
    pub(super) log: Option<LogFile>,
    /// Measures and running time of the last pair.
    pub(super) last: Option<(Measures, Option<gst::ClockTime>)>,
    /// Number of frames without a partner.
    pub(super) unpaired: PerStream<u64>,
    /// Formats of the sink pads.
    pub(super) infos: PerStream<Option<VideoInfo>>,
    /// Caps of the tested stream.
    pub(super) test_caps: Option<gst::Caps>,
    /// Reference frame taken from the pad in order to see the time of the next one.
    pub(super) held: Option<Frame>,
    /// Running times in nanoseconds of the frames that left the pads last.
    pub(super) previous: PerStream<Option<i64>>,
    pub(super) output: Output,
    /// Kind of output that the caps of the source pad are for, `None` after new caps.
    pub(super) negotiated: Option<OutputKind>,
    /// Whether the summary was posted.
    pub(super) summary_posted: bool,
    /// Whether the warning about the early end of the reference was posted.
    pub(super) reference_eos_warned: bool,
}
