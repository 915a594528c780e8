// SPDX-License-Identifier: MIT OR Apache-2.0

//! GObject implementation of `videoquality`: an aggregator that pairs the frames of a tested stream
//! with those of a reference by running time, compares them and posts messages.

use std::sync::{LazyLock, Mutex, OnceLock};

use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, AggregatorPad, prelude::*, subclass::prelude::*};
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};

use super::{
    message::VideoQualityMessage,
    pairing::{Pairing, pair},
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

/// Frame duration assumed if neither buffer has one.
const DEFAULT_FRAME_DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);

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
    /// Caps of the sink pads.
    infos: Mutex<PerStream<Option<VideoInfo>>>,
    /// Only locked by the source pad's task, or while that task is stopped or flushed.
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
    /// Output kind and caps of the tested stream that the source pad's caps were set for.
    negotiated: Option<(OutputKind, VideoInfo)>,
    /// Whether the summary was posted.
    summary_posted: bool,
    /// Whether the warning about the early end of the reference was posted.
    reference_eos_warned: bool,
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
        if state.running_mean.frames() == 0 {
            gst::warning!(
                CAT,
                imp = self,
                "No frame was measured: no reference frame has the running time of a tested frame"
            );
        }
        self.post_measures(state, true);
    }

    /// Sets the caps of the source pad for `output` and the caps `info` of the tested stream.
    fn negotiate_output(
        &self,
        state: &mut State,
        output: OutputKind,
        info: &VideoInfo,
    ) -> Result<(), gst::FlowError> {
        let negotiated = state.negotiated.as_ref();
        if negotiated
            .is_some_and(|(for_output, for_info)| *for_output == output && for_info == info)
        {
            return Ok(());
        }
        let source_info = match output {
            OutputKind::Test => info.clone(),
            OutputKind::Panel => {
                VideoInfo::builder(VideoFormat::Rgb, Panel::WIDTH as u32, Panel::HEIGHT as u32)
                    .fps(info.fps())
                    .build()
                    .map_err(|err| self.post_error(&err))?
            }
        };
        let caps = source_info.to_caps().map_err(|err| self.post_error(&err))?;
        self.obj().set_src_caps(&caps);
        state.negotiated = Some((output, info.clone()));
        Ok(())
    }

    /// Measures a pair of frames. Returns the panel to push, if one is drawn.
    fn compare(
        &self,
        state: &mut State,
        settings: Settings,
        (reference, test): (&gst::Buffer, &gst::Buffer),
        running_time: Option<gst::ClockTime>,
    ) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let PerStream { reference: Some(reference_info), test: Some(test_info) } =
            lock(&self.infos).clone()
        else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let frames = [(reference, &reference_info), (test, &test_info)].map(|(buffer, info)| {
            VideoFrameRef::from_buffer_ref_readable(buffer, info)
                .map_err(|err| self.post_error(&err))
        });
        let [reference_frame, test_frame] = frames;
        let (reference_frame, test_frame) = (reference_frame?, test_frame?);
        let format =
            |info: &VideoInfo| format_of(info.format()).ok_or(gst::FlowError::NotNegotiated);
        let a = view_frame::<u8>(&reference_frame, format(&reference_info)?)
            .map_err(|err| self.post_error(&err))?;
        let b =
            view_frame(&test_frame, format(&test_info)?).map_err(|err| self.post_error(&err))?;
        let State { comparison: Some(comparison), panel, running_mean, .. } = state else {
            return Err(gst::FlowError::Flushing);
        };
        let mut measures = comparison.measure(&a, &b).map_err(|err| self.post_error(&err))?;
        let labels = [(reference, &reference_info), (test, &test_info)].map(|(buffer, info)| {
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
        for (name, stored) in [("reference", reference), ("sink", test)] {
            let template = obj.pad_template(name).expect("the class has a template for each pad");
            let pad = gst::PadBuilder::<AggregatorPad>::from_template(&template).name(name).build();
            obj.add_pad(&pad).expect("a new element has no pad of this name");
            stored.set(pad).expect("an object is constructed once");
        }
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
                ("reference", gst::PadDirection::Sink),
                ("sink", gst::PadDirection::Sink),
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
        *lock(&self.infos) = Default::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn flush(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = lock(&self.state);
        state.summary_posted = false;
        if let Some(comparison) = &mut state.comparison {
            comparison.reset();
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Does nothing: [`Self::negotiate_output`] sets the caps of the source pad with each frame.
    fn negotiate(&self) -> bool {
        true
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        if let gst::EventView::Caps(caps) = event.view() {
            let Ok(info) = VideoInfo::from_caps(caps.caps()) else {
                gst::error!(CAT, imp = self, "Cannot read caps {}", caps.caps());
                return false;
            };
            let mut infos = lock(&self.infos);
            let stored = if pad.name() == "sink" { &mut infos.test } else { &mut infos.reference };
            *stored = Some(info);
            if let PerStream { reference: Some(a), test: Some(b) } = &*infos
                && (a.width(), a.height()) != (b.width(), b.height())
            {
                // Only a warning: the other stream's caps may be about to change too. Comparing
                // frames of different sizes is an error.
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
            return true;
        }
        self.parent_sink_event(pad, event)
    }

    fn sink_query(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Caps(caps) = query.view_mut()
            && pad.name() == "sink"
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
        let PerStream { reference: reference_pad, test: test_pad } = self.pads();
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let Some(test) = test_pad.peek_buffer() else {
            if test_pad.is_eos() {
                self.post_summary(state);
                return Err(gst::FlowError::Eos);
            }
            // Without a tested frame there is nothing to push, not even after a timeout.
            return Err(AGGREGATOR_FLOW_NEED_DATA);
        };
        let reference = reference_pad.peek_buffer();
        if reference.is_none() && !reference_pad.is_eos() && !timeout {
            return Err(AGGREGATOR_FLOW_NEED_DATA);
        }
        let test_segment = test_pad.segment();
        let time = |pad: &AggregatorPad, buffer: &gst::Buffer| {
            let segment = pad.segment().downcast::<gst::ClockTime>().ok()?;
            segment.to_running_time(buffer.pts())
        };
        let test_time = time(test_pad, &test);
        let pairing = match &reference {
            None => Pairing::PassTest,
            Some(reference) => match (time(reference_pad, reference), test_time) {
                (Some(a), Some(b)) => {
                    // The shorter duration: if two frames fall into one longer frame, only the
                    // nearer is its partner.
                    let durations = [test.duration(), reference.duration()].into_iter().flatten();
                    let duration = durations.min().unwrap_or(DEFAULT_FRAME_DURATION);
                    pair(a.nseconds(), b.nseconds(), duration.nseconds())
                }
                // Streams without timestamps are paired in order of arrival.
                (None, None) => Pairing::Pair,
                (None, Some(_)) => Pairing::SkipReference,
                (Some(_), None) => Pairing::PassTest,
            },
        };
        if pairing == Pairing::SkipReference {
            reference_pad.drop_buffer();
            state.unpaired.reference += 1;
            return Ok(gst::FlowSuccess::Ok);
        }
        let Some(test_info) = lock(&self.infos).test.clone() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let mut output = None;
        if pairing == Pairing::Pair
            && let Some(reference) = &reference
        {
            output = self.compare(state, settings, (reference, &test), test_time)?;
            reference_pad.drop_buffer();
        } else {
            state.unpaired.test += 1;
            if reference_pad.is_eos() && !std::mem::replace(&mut state.reference_eos_warned, true) {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Failed,
                    ("The reference ended first; the remaining tested frames are not measured")
                );
            }
        }
        test_pad.drop_buffer();
        if settings.output == OutputKind::Panel && output.is_none() {
            // There is no panel without a partner; the gap event lets downstream's running time
            // advance.
            let gap = gst::event::Gap::builder(test.pts().unwrap_or_default())
                .duration(test.duration())
                .build();
            drop(guard);
            self.obj().src_pad().push_event(gap);
            return Ok(gst::FlowSuccess::Ok);
        }
        self.negotiate_output(state, settings.output, &test_info)?;
        drop(guard);
        let obj = self.obj();
        if obj.src_pad().segment() != test_segment
            && let Some(segment) = test_segment.downcast_ref::<gst::ClockTime>()
        {
            obj.update_segment(segment);
        }
        self.finish_buffer(output.unwrap_or(test))
    }
}
