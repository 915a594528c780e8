// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pairs the frames that wait at the sink pads, and decides which frames are pushed or dropped.

use glib::subclass::prelude::*;
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, prelude::*};

use super::{
    frame::Frame,
    imp::VideoQuality,
    pairing::{Pairing, estimate_duration, lies_before, pair},
    settings::{OutputKind, Settings},
    state::State,
};

/// Result of a look at the next frames of both streams.
pub(super) enum Step {
    /// Continue, after the waiting events were pushed.
    Continue,
    /// Push a frame.
    Push(gst::Buffer),
    /// The tested stream has ended.
    End,
}

impl VideoQuality {
    /// Lets the source pad send a gap event for the time of `frame`.
    fn add_gap(state: &mut State, frame: &Frame) {
        if let Some(gap) = frame.gap_event() {
            state.output.add_event(gap);
        }
    }

    /// Drops the next frame or gap of the reference.
    fn drop_reference(&self, state: &mut State, reference: &Frame) {
        if state.held.take().is_none() {
            self.pads().reference.drop_buffer();
        }
        if !reference.is_gap() {
            state.previous.reference = reference.timing.start;
        }
    }

    /// Decides which of the next frames are paired.
    fn pair(&self, state: &State, reference: &Frame, test: &Frame, timeout: bool) -> Pairing {
        let (a, b) = match (reference.timing.start, test.timing.start) {
            (Some(a), Some(b)) => (a, b),
            // Streams without timestamps are paired in order of arrival.
            (None, None) => return Pairing::Pair,
            (None, Some(_)) => return Pairing::SkipReference,
            (Some(_), None) => return Pairing::PassTest,
        };
        // The shorter duration: if two frames fall into one longer frame, only the nearer is its
        // partner.
        let durations = [reference.timing.duration, test.timing.duration].into_iter().flatten();
        if let Some(duration) = durations.min() {
            return pair(a, b, duration);
        }
        if a == b {
            return Pairing::Pair;
        }
        if state.held.is_none() && !timeout {
            return Pairing::LookAhead;
        }
        let next = state.held.as_ref().and_then(|_| {
            let pad = self.pads().reference;
            Frame::new(pad.peek_buffer()?, pad, state.infos.reference.as_ref()).timing.start
        });
        let reference_times = next.map(|next| (a, next)).or(state.previous.reference.zip(Some(a)));
        let test_times = state.previous.test.zip(Some(b));
        pair(a, b, estimate_duration(&[reference_times, test_times]))
    }

    /// Decides on the next frames of both streams, measures them and drops them from the pads.
    pub(super) fn step(
        &self,
        state: &mut State,
        settings: &Settings,
        timeout: bool,
    ) -> Result<Step, gst::FlowError> {
        let pads = self.pads();
        let Some(test) = pads.test.peek_buffer() else {
            if pads.test.is_eos() {
                self.post_summary(state);
                return Ok(Step::End);
            }
            // Without a tested frame there is nothing to push, not even after a timeout.
            return Err(AGGREGATOR_FLOW_NEED_DATA);
        };
        let test = Frame::new(test, pads.test, state.infos.test.as_ref());
        let reference = state.held.clone().or_else(|| {
            let buffer = pads.reference.peek_buffer()?;
            Some(Frame::new(buffer, pads.reference, state.infos.reference.as_ref()))
        });
        let Some(reference) = reference else {
            if !pads.reference.is_eos() && !timeout {
                return Err(AGGREGATOR_FLOW_NEED_DATA);
            }
            self.warn_of_early_end(state, &test);
            return self.pass_test(state, settings, test, None);
        };
        if test.is_gap() && !lies_before(&reference.timing, &test.timing) {
            return self.pass_test(state, settings, test, None);
        }
        let pairing = match (reference.is_gap(), test.is_gap()) {
            (_, true) => Pairing::SkipReference,
            (true, false) if lies_before(&test.timing, &reference.timing) => Pairing::PassTest,
            (true, false) => Pairing::SkipReference,
            (false, false) => self.pair(state, &reference, &test, timeout),
        };
        match pairing {
            Pairing::Pair => {
                let panel = self.compare(state, settings, (&reference, &test))?;
                self.drop_reference(state, &reference);
                self.pass_test(state, settings, test, Some(panel))
            }
            Pairing::PassTest => self.pass_test(state, settings, test, None),
            Pairing::SkipReference => {
                state.unpaired.reference += u64::from(!reference.is_gap());
                self.drop_reference(state, &reference);
                Ok(Step::Continue)
            }
            Pairing::LookAhead => {
                pads.reference.drop_buffer();
                state.held = Some(reference);
                Ok(Step::Continue)
            }
        }
    }

    /// Posts a warning, once, if the reference has ended before the tested stream.
    fn warn_of_early_end(&self, state: &mut State, test: &Frame) {
        if !test.is_gap()
            && self.pads().reference.is_eos()
            && !std::mem::replace(&mut state.reference_eos_warned, true)
        {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                ("The reference ended first; the remaining tested frames are not measured")
            );
        }
    }

    /// Drops the next tested frame or gap from its pad and returns what to push in its place.
    /// `measured` holds the panel, if one is drawn, of a frame that was measured.
    fn pass_test(
        &self,
        state: &mut State,
        settings: &Settings,
        test: Frame,
        measured: Option<Option<gst::Buffer>>,
    ) -> Result<Step, gst::FlowError> {
        self.pads().test.drop_buffer();
        self.negotiate_output(state, settings.output)?;
        if test.is_gap() {
            Self::add_gap(state, &test);
            return Ok(Step::Continue);
        }
        if state.infos.test.is_none() {
            return Err(gst::FlowError::NotNegotiated);
        }
        state.previous.test = test.timing.start;
        state.unpaired.test += u64::from(measured.is_none());
        match (settings.output, measured.flatten()) {
            (OutputKind::Test, _) => Ok(Step::Push(test.buffer)),
            (OutputKind::Panel, Some(panel)) => Ok(Step::Push(panel)),
            (OutputKind::Panel, None) => {
                // There is no panel without a partner; the gap event lets downstream's running time
                // advance.
                Self::add_gap(state, &test);
                Ok(Step::Continue)
            }
        }
    }
}
