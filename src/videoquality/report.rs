// SPDX-License-Identifier: MIT OR Apache-2.0

//! What `videoquality` reports: messages on the bus and rows of the log file.

use glib::subclass::prelude::*;
use gst::prelude::*;

use super::{imp::VideoQuality, log_file::LogFile, message::VideoQualityMessage, state::State};
use cnnvideo::quality::{Alignment, Measures};

impl VideoQuality {
    /// Posts an error message with `reason`.
    pub(super) fn post_error(&self, reason: &dyn std::fmt::Display) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Format, ("Cannot compare: {reason}"));
        gst::FlowError::Error
    }

    /// Posts a `video-quality` message with the measures of the last pair and the means.
    pub(super) fn post_measures(&self, state: &State, summary: bool) {
        let (Some((frame, running_time)), Some(mean)) = (state.last, state.running_mean.mean())
        else {
            return;
        };
        let message = VideoQualityMessage {
            frame,
            mean,
            frames: state.running_mean.frames(),
            unpaired_reference: state.unpaired.reference,
            unpaired_test: state.unpaired.test,
            summary,
            running_time,
            frame_offset: summary.then(|| state.alignment.as_ref()?.offset()).flatten(),
            statistics: if summary { state.pooling.pooled() } else { Vec::new() },
        };
        let obj = self.obj();
        let _ =
            obj.post_message(gst::message::Element::builder((&message).into()).src(&*obj).build());
    }

    /// Posts the summary message at the end of the stream, once.
    pub(super) fn post_summary(&self, state: &mut State) {
        if std::mem::replace(&mut state.summary_posted, true) {
            return;
        }
        if state.running_mean.frames() == 0
            && state.unpaired.test > 0
            && !state.reference_eos_warned
        {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                (
                    "No frame was measured: none of the {} tested frames has the running time of a \
                     reference frame",
                    state.unpaired.test
                )
            );
        }
        self.post_measures(state, true);
        self.post_offset(state);
        if let Some(Err(err)) = state.log.take().map(LogFile::finish) {
            self.end_log(state, &err);
        }
    }

    /// Posts an info message if the streams fit better at another frame offset.
    fn post_offset(&self, state: &State) {
        let offset = state.alignment.as_ref().and_then(Alignment::offset).unwrap_or(0);
        if offset != 0 {
            let (frames, direction) =
                (offset.unsigned_abs(), if offset > 0 { "late" } else { "early" });
            gst::element_imp_info!(
                self,
                gst::StreamError::Failed,
                ("The frames fit best if the tested stream counts as {frames} frames \
                     {direction}; check that both streams start with the same frame")
            );
        }
    }

    /// Adds a row to the log. After an error, a warning tells that the log ends.
    pub(super) fn log(&self, state: &mut State, running_time: Option<u64>, measures: &Measures) {
        let number = state.running_mean.frames() - 1;
        if let Some(log) = &mut state.log
            && let Err(err) = log.add(number, running_time, measures)
        {
            self.end_log(state, &err);
        }
    }

    /// Gives up the log because of an error.
    pub(super) fn end_log(&self, state: &mut State, err: &std::io::Error) {
        let kind = match err.kind() {
            std::io::ErrorKind::StorageFull => gst::ResourceError::NoSpaceLeft,
            _ => gst::ResourceError::Write,
        };
        state.log = None;
        gst::element_imp_warning!(
            self,
            kind,
            ("Cannot write log-file: {err}; the rows so far are in the file with .partial added \
                 to its name, and the measurement continues without a log")
        );
    }
}
