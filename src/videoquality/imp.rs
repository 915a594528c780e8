// SPDX-License-Identifier: MIT OR Apache-2.0

//! GObject implementation of `videoquality`: an aggregator that pairs the frames of a tested stream
//! with those of a reference by running time, compares them and posts messages.

use std::sync::{LazyLock, Mutex, OnceLock};

use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, AggregatorPad, prelude::*, subclass::prelude::*};
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};

use super::{
    frame::Frame,
    message::VideoQualityMessage,
    output::{self, Output},
    pairing::{Pairing, estimate_duration, lies_before, pair},
    settings::{self, OutputKind, Settings},
};
use crate::shared::{FORMATS_8BIT, RegionMask, format_of, lock, view_frame};
use cnnvideo::quality::{Comparison, Measures, Panel, RunningMean, iou};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "videoquality",
        gst::DebugColorFlags::empty(),
        Some("Video quality measures"),
    )
});

/// A value for each of the compared streams.
#[derive(Debug, Default, Clone)]
struct PerStream<T> {
    reference: T,
    test: T,
}

/// State of a `videoquality` element.
#[derive(Default)]
pub struct VideoQuality {
    settings: Mutex<Settings>,
    /// Sink pads, set when the object is constructed.
    pads: PerStream<OnceLock<AggregatorPad>>,
    /// Only locked by the source pad's task, or while that task is stopped or flushed. Not locked
    /// while caps, events and frames are pushed: elements downstream can call back.
    state: Mutex<State>,
}

/// State of the streams.
#[derive(Default)]
struct State {
    /// `None` while the element is stopped.
    comparison: Option<Comparison>,
    panel: Panel,
    running_mean: RunningMean,
    /// Measures and running time of the last pair.
    last: Option<(Measures, Option<gst::ClockTime>)>,
    /// Number of frames without a partner.
    unpaired: PerStream<u64>,
    /// Formats of the sink pads.
    infos: PerStream<Option<VideoInfo>>,
    /// Caps of the tested stream.
    test_caps: Option<gst::Caps>,
    /// Reference frame taken from the pad in order to see the time of the next one.
    held: Option<Frame>,
    /// Running times in nanoseconds of the frames that left the pads last.
    previous: PerStream<Option<i64>>,
    output: Output,
    /// Kind of output that the caps of the source pad are for, `None` after new caps.
    negotiated: Option<OutputKind>,
    /// Whether the summary was posted.
    summary_posted: bool,
    /// Whether the warning about the early end of the reference was posted.
    reference_eos_warned: bool,
}

/// Result of a look at the next frames of both streams.
enum Step {
    /// Continue, after the waiting events were pushed.
    Continue,
    /// Push a frame.
    Push(gst::Buffer),
    /// The tested stream has ended.
    End,
}

impl VideoQuality {
    /// Returns the sink pads.
    fn pads(&self) -> PerStream<&AggregatorPad> {
        let PerStream { reference, test } = &self.pads;
        let [reference, test] =
            [reference, test].map(|pad| pad.get().expect("pads are added on construction"));
        PerStream { reference, test }
    }

    /// Posts an error message with `reason`.
    fn post_error(&self, reason: &dyn std::fmt::Display) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Format, ("Cannot compare: {reason}"));
        gst::FlowError::Error
    }

    /// Posts a `video-quality` message with the measures of the last pair and the means.
    fn post_measures(&self, state: &State, summary: bool) {
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
        };
        let obj = self.obj();
        let _ =
            obj.post_message(gst::message::Element::builder((&message).into()).src(&*obj).build());
    }

    /// Posts the summary message at the end of the stream, once.
    fn post_summary(&self, state: &mut State) {
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
    }

    /// Lets the source pad send caps for `output` if those of the tested stream or `output` have
    /// changed.
    fn negotiate_output(
        &self,
        state: &mut State,
        output: OutputKind,
    ) -> Result<(), gst::FlowError> {
        let (Some(caps), Some(info)) = (&state.test_caps, &state.infos.test) else {
            return Ok(());
        };
        if state.negotiated == Some(output) {
            return Ok(());
        }
        let caps = match output {
            OutputKind::Test => caps.clone(),
            OutputKind::Panel => {
                VideoInfo::builder(VideoFormat::Rgb, Panel::WIDTH as u32, Panel::HEIGHT as u32)
                    .fps(info.fps())
                    .build()
                    .and_then(|info| info.to_caps())
                    .map_err(|err| self.post_error(&err))?
            }
        };
        state.output.set_caps(caps);
        state.negotiated = Some(output);
        Ok(())
    }

    /// Stores the caps of a sink pad.
    fn set_caps(&self, pad: &AggregatorPad, caps: gst::Caps) -> bool {
        let Ok(info) = VideoInfo::from_caps(&caps) else {
            gst::error!(CAT, imp = self, "Cannot read caps {caps}");
            return false;
        };
        let mut state = lock(&self.state);
        if self.is_test(pad) {
            state.infos.test = Some(info);
            state.test_caps = Some(caps);
            state.negotiated = None;
        } else {
            state.infos.reference = Some(info);
        }
        if let PerStream { reference: Some(a), test: Some(b) } = &state.infos
            && (a.width(), a.height()) != (b.width(), b.height())
        {
            // Only a warning: the other stream's caps may be about to change too. Comparing frames
            // of different sizes is an error.
            gst::warning!(
                CAT,
                imp = self,
                "The reference is {}x{}, the tested stream {}x{}; sizes must be the same",
                a.width(),
                a.height(),
                b.width(),
                b.height()
            );
        }
        true
    }

    /// Returns whether `pad` is the pad of the tested stream.
    fn is_test(&self, pad: &AggregatorPad) -> bool {
        self.pads().test == pad
    }

    /// Pushes an event of the tested stream, after the stream-start, caps and segment that it
    /// needs. It waits where these are not known yet.
    fn pass_event(&self, event: gst::Event) -> bool {
        let output = lock(&self.settings).output;
        let mut state = lock(&self.state);
        if self.negotiate_output(&mut state, output).is_err() {
            return false;
        }
        state.output.add_event(event);
        let outgoing = state.output.take();
        // Elements downstream can call this one while they handle an event.
        drop(state);
        outgoing.push(&self.obj());
        true
    }

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
    fn step(
        &self,
        state: &mut State,
        settings: Settings,
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
        settings: Settings,
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

    /// Measures a pair of frames. Returns the panel to push, if one is drawn.
    fn compare(
        &self,
        state: &mut State,
        settings: Settings,
        (reference, test): (&Frame, &Frame),
    ) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let (Some(reference_info), Some(test_info)) = (&reference.info, &test.info) else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let running_time = test.running_time();
        let (reference, test) = (&reference.buffer, &test.buffer);
        let frames = [(reference, reference_info), (test, test_info)].map(|(buffer, info)| {
            VideoFrameRef::from_buffer_ref_readable(buffer, info)
                .map_err(|err| self.post_error(&err))
        });
        let [reference_frame, test_frame] = frames;
        let (reference_frame, test_frame) = (reference_frame?, test_frame?);
        let format =
            |info: &VideoInfo| format_of(info.format()).ok_or(gst::FlowError::NotNegotiated);
        let a = view_frame::<u8>(&reference_frame, format(reference_info)?)
            .map_err(|err| self.post_error(&err))?;
        let b = view_frame(&test_frame, format(test_info)?).map_err(|err| self.post_error(&err))?;
        let State { comparison: Some(comparison), panel, running_mean, .. } = state else {
            return Err(gst::FlowError::Flushing);
        };
        let mut measures = comparison.measure(&a, &b).map_err(|err| self.post_error(&err))?;
        let labels = [(reference, reference_info), (test, test_info)].map(|(buffer, info)| {
            let size = (info.width(), info.height());
            RegionMask::of(buffer, size)?.labels(size)
        });
        if let [Some(a), Some(b)] = &labels {
            measures.iou = iou(&a.view(), &b.view());
        }
        running_mean.add(&measures);
        let mean = running_mean.mean().expect("there is at least this pair");
        let drawn = (settings.output == OutputKind::Panel).then(|| {
            let rows = panel.draw(&a, &b, comparison, &measures, &mean);
            let mut buffer = gst::Buffer::from_mut_slice(rows.to_vec());
            let flags = gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::FLAGS;
            let panel = buffer.get_mut().expect("a new buffer is not shared");
            test.copy_into(panel, flags, ..).expect("timestamps and flags can be copied");
            buffer
        });
        drop((a, b));
        drop((reference_frame, test_frame));
        state.last = Some((measures, running_time));
        if state.running_mean.frames().is_multiple_of(u64::from(settings.interval)) {
            self.post_measures(state, false);
        }
        Ok(drawn)
    }
}

/// Returns a template for an always pad with all supported formats.
fn pad_template(name: &str, direction: gst::PadDirection) -> gst::PadTemplate {
    let caps = gst_video::VideoCapsBuilder::new().format_list(FORMATS_8BIT).build();
    gst::PadTemplate::with_gtype(
        name,
        direction,
        gst::PadPresence::Always,
        &caps,
        AggregatorPad::static_type(),
    )
    .expect("the template is valid")
}

#[glib::object_subclass]
impl ObjectSubclass for VideoQuality {
    const NAME: &'static str = "GstVideoQuality";
    type Type = super::VideoQuality;
    type ParentType = gst_base::Aggregator;
}

impl ObjectImpl for VideoQuality {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        let PerStream { reference, test } = &self.pads;
        // A link without the name of a pad takes the first one: the tested stream.
        for (name, stored) in [("sink", test), ("reference", reference)] {
            let template = obj.pad_template(name).expect("the class has a template for each pad");
            let pad = gst::PadBuilder::<AggregatorPad>::from_template(&template).name(name).build();
            obj.add_pad(&pad).expect("a new element has no pad of this name");
            stored.set(pad).expect("an object is constructed once");
        }
        output::install_probe(obj.src_pad());
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(settings::properties);
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if let Err(err) = lock(&self.settings).set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "Cannot set {}: {err}", pspec.name());
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = *lock(&self.settings);
        settings.get(pspec.name()).unwrap_or_else(|| pspec.default_value().clone())
    }
}

impl GstObjectImpl for VideoQuality {}

impl ElementImpl for VideoQuality {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Video quality meter",
                "Filter/Analyzer/Video",
                "Compares a video to a reference: MSE, PSNR, SSIM, gradients, histograms, flicker",
                "The gst-plugin-cnnvideo authors",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let all = [
                ("sink", gst::PadDirection::Sink),
                ("reference", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ];
            all.map(|(name, direction)| pad_template(name, direction)).into()
        });
        &TEMPLATES
    }
}

impl AggregatorImpl for VideoQuality {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let comparison = Comparison::new(0)
            .map_err(|err| gst::error_msg!(gst::ResourceError::Failed, ("{}", err)))?;
        *lock(&self.state) = State { comparison: Some(comparison), ..Default::default() };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn flush(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = lock(&self.state);
        let State { mut comparison, panel, infos, test_caps, mut output, negotiated, .. } =
            std::mem::take(&mut *state);
        if let Some(comparison) = &mut comparison {
            comparison.reset();
        }
        output.flush();
        // The caps stay valid.
        *state =
            State { comparison, panel, infos, test_caps, output, negotiated, ..Default::default() };
        Ok(gst::FlowSuccess::Ok)
    }

    /// Does nothing: [`Self::negotiate_output`] sets the caps of the source pad with each frame.
    fn negotiate(&self) -> bool {
        true
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        use gst::EventView;
        match event.view() {
            EventView::Caps(caps) => return self.set_caps(pad, caps.caps_owned()),
            EventView::Segment(segment) if self.is_test(pad) => {
                lock(&self.state).output.set_segment(segment.segment());
            }
            // The base class sends one for the first stream.
            EventView::StreamStart(_)
                if self.is_test(pad)
                    && lock(&self.settings).output == OutputKind::Test
                    && lock(&self.state).output.is_ready()
                    && self.obj().src_pad().has_current_caps() =>
            {
                self.pass_event(event.clone());
            }
            EventView::StreamStart(_)
            | EventView::Segment(_)
            | EventView::Gap(_)
            | EventView::Eos(_)
            | EventView::FlushStart(_)
            | EventView::FlushStop(_) => (),
            // Only events of the tested stream pass: the reference is often a copy of that stream,
            // whose events would arrive twice.
            _ if !self.is_test(pad) => return true,
            // Tags such as the orientation do not hold for the panel.
            EventView::Tag(_) if lock(&self.settings).output == OutputKind::Panel => return true,
            _ if event.is_serialized() => return self.pass_event(event),
            _ => (),
        }
        self.parent_sink_event(pad, event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Navigation(navigation) = event.view() {
            // Coordinates in the panel are not those of the tested stream.
            let has_position =
                navigation.structure().is_some_and(|structure| structure.has_field("pointer_x"));
            return (lock(&self.settings).output == OutputKind::Test || !has_position)
                && self.pads().test.push_event(event);
        }
        self.parent_src_event(event)
    }

    fn sink_query(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Caps(caps) = query.view_mut()
            && self.is_test(pad)
            && lock(&self.settings).output == OutputKind::Test
        {
            // The tested stream passes through, so downstream's caps restrict this pad's.
            let accepted = pad.pad_template_caps();
            let accepted = caps.filter().map_or(accepted.clone(), |filter| {
                filter.intersect_with_mode(&accepted, gst::CapsIntersectMode::First)
            });
            let result = self
                .obj()
                .src_pad()
                .peer_query_caps(Some(&accepted))
                .intersect_with_mode(&accepted, gst::CapsIntersectMode::First);
            caps.set_result(&result);
            return true;
        }
        self.parent_sink_query(pad, query)
    }

    fn aggregate(&self, timeout: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        let settings = *lock(&self.settings);
        let mut state = lock(&self.state);
        let step = self.step(&mut state, settings, timeout)?;
        if matches!(step, Step::End) {
            self.negotiate_output(&mut state, settings.output)?;
        }
        let outgoing = state.output.take();
        drop(state);
        outgoing.push(&self.obj());
        match step {
            Step::Continue => Ok(gst::FlowSuccess::Ok),
            Step::Push(buffer) => self.finish_buffer(buffer),
            Step::End => Err(gst::FlowError::Eos),
        }
    }
}
