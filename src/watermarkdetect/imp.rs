// SPDX-License-Identifier: MIT OR Apache-2.0

//! The element `watermarkdetect`: decodes watermarks on a worker thread and posts results on the
//! bus.

use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicBool, Ordering},
};

use glib::{ParamSpec, subclass::prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::{VideoInfo, subclass::prelude::*};

use super::{
    message::WatermarkMessage,
    settings::Settings,
    worker::{Job, WhenFull, Worker},
};
use crate::{
    shared::{
        FrameTimes, SampleDepth, is_discontinuity, layout_of, lock, map_frame, refuse_crop_meta,
        view_frame, with_samples,
    },
    watermarkembed::pad_templates,
};
use cnnvideo::{
    frame::Format,
    watermark::{Collector, Decoder, DecoderOptions, Payload, Report, Search},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "watermarkdetect",
        gst::DebugColorFlags::empty(),
        Some("Watermark detector"),
    )
});

/// Until a watermark is found, every such decode searches geometries; the others decode the frames
/// as they are.
const SEARCH_EVERY: u64 = 2;

/// Longer over shorter side of a frame, above which geometries are not searched. The time of a
/// decode grows with this ratio.
const MAX_ASPECT_RATIO: u32 = 64;

/// Information about a window that [`WatermarkDetect::report`] needs.
#[derive(Debug, Clone, Copy)]
struct WindowInfo {
    /// Times of the window's last frame.
    last_frame: FrameTimes,
    /// Whether a report without a watermark may be posted: the window is full or the stream has
    /// ended, and the configured geometries were searched.
    may_report_absence: bool,
}

/// Result that was posted last.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Posted {
    /// No message was posted yet.
    #[default]
    Nothing,
    /// The video has no watermark of the key.
    NoWatermark,
    /// The video has a watermark with this payload.
    Watermark(Payload),
}

/// Results so far.
#[derive(Debug, Default)]
struct Results {
    /// Number of the current start of the element. Reports of earlier ones are discarded.
    start: u64,
    posted: Posted,
    /// Value of `last-payload`.
    last_payload: Option<Payload>,
}

/// Implementation of the element `watermarkdetect`.
#[derive(Default)]
pub struct WatermarkDetect {
    settings: Mutex<Settings>,
    results: Mutex<Results>,
    /// Locked by the streaming thread, and by state changes and events, which cannot run at the
    /// same time as it. Never locked while a thread waits for the worker or for another element.
    state: Mutex<State>,
    /// Worker thread while the element is started. Apart from `state`, because state changes and
    /// flushes release a streaming thread that waits for the worker.
    worker: Mutex<Option<Arc<Worker<WindowInfo>>>>,
    /// Set by events that end a scene; the next frame then discards the residuals.
    reset: AtomicBool,
}

/// State of the stream.
#[derive(Default)]
struct State {
    collector: Option<Collector>,
    /// Caps of the frames, with the layout of their format.
    input: Option<(VideoInfo, Format, SampleDepth)>,
    /// Whether the warning about frames that cannot be read was posted.
    unreadable_warned: bool,
    /// Number of frames since the start or the last reset.
    frames: u64,
    /// Number of frames since the last decode.
    frames_since_decode: u32,
    /// Number of windows passed to the worker.
    decodes: u64,
    /// Whether the report of the last of them may be that there is no watermark.
    absence_searched: bool,
    /// Whether the source is live, once that was queried.
    live: Option<bool>,
    /// Times of the last frame.
    last_frame: FrameTimes,
}

impl WatermarkDetect {
    /// Updates the results with a report and posts a message. Called by the worker thread.
    fn report(&self, report: Report, window: WindowInfo, start: u64) {
        let post_all = lock(&self.settings).post_all;
        let changed = {
            let mut results = lock(&self.results);
            if results.start != start {
                return;
            }
            let result = report.payload.map_or(Posted::NoWatermark, Posted::Watermark);
            let changed =
                results.posted != result && (report.payload.is_some() || window.may_report_absence);
            if changed {
                results.posted = result;
            }
            results.last_payload = report.payload.or(results.last_payload);
            changed
        };
        gst::debug!(CAT, imp = self, "{report:?}");
        if !changed && !post_all {
            return;
        }
        let FrameTimes { timestamp, stream_time, running_time, duration } = window.last_frame;
        let message = WatermarkMessage { report, timestamp, stream_time, running_time, duration };
        let obj = self.obj();
        // Posting fails only without a bus, and then the message has no receiver.
        let _ =
            obj.post_message(gst::message::Element::builder((&message).into()).src(&*obj).build());
    }

    /// Returns the worker, `None` unless the element is started.
    fn worker(&self) -> Option<Arc<Worker<WindowInfo>>> {
        lock(&self.worker).clone()
    }

    /// Returns whether the upstream source is live, so that the streaming thread must not block.
    /// Queries it once.
    fn is_live(&self) -> bool {
        if let Some(live) = lock(&self.state).live {
            return live;
        }
        let mut query = gst::query::Latency::new();
        let live = self.obj().sink_pad().peer_query(&mut query) && query.result().0;
        lock(&self.state).live = Some(live);
        live
    }

    /// Starts or ends flushing, which releases a streaming thread that waits for the worker.
    fn set_flushing(&self, flushing: bool) {
        if let Some(worker) = self.worker() {
            worker.set_flushing(flushing);
        }
    }

    /// Posts a warning, once for a stream, about a frame that cannot be read. The element passes
    /// frames through unchanged, so it does not fail on such a frame.
    fn warn_of_unreadable_frame(&self, state: &mut State, reason: &str) {
        gst::warning!(CAT, imp = self, "Skipping a frame that cannot be read: {reason}");
        if !std::mem::replace(&mut state.unreadable_warned, true) {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Format,
                ("Frames that cannot be read pass without detection: {reason}")
            );
        }
    }

    /// Adds a frame to the window. Returns the window if it is to be decoded.
    fn collect(&self, buffer: &gst::BufferRef) -> Result<Option<Job<WindowInfo>>, gst::FlowError> {
        let (configured, interval, window) = lock(&self.settings).decoding();
        let mut state = lock(&self.state);
        let state = &mut *state;
        let State { collector: Some(collector), input: Some((info, format, depth)), .. } = state
        else {
            return Err(gst::FlowError::NotNegotiated);
        };
        if self.reset.swap(false, Ordering::AcqRel) {
            collector.reset();
            state.live = None;
            state.frames = 0;
        }
        let size = (info.width(), info.height());
        let collected = map_frame(buffer, info).and_then(|frame| {
            with_samples!(*depth, T => view_frame::<T>(&frame, *format)
                .map(|picture| collector.push(&picture))
                .map_err(|err| err.to_string()))
        });
        if let Err(err) = collected {
            self.warn_of_unreadable_frame(state, &err);
            return Ok(None);
        }
        state.frames += 1;
        state.frames_since_decode += 1;
        state.last_frame = FrameTimes::of(self.obj().upcast_ref(), buffer);
        if state.frames_since_decode < interval {
            return Ok(None);
        }
        let marked = matches!(lock(&self.results).posted, Posted::Watermark(_));
        let configured = limited_search(configured, size);
        let search = if marked || state.decodes.is_multiple_of(SEARCH_EVERY) {
            configured
        } else {
            Search::WholeFrame
        };
        // A decode without geometry search does not prove that there is no watermark.
        state.absence_searched = state.frames >= u64::from(window) && search == configured;
        let info =
            WindowInfo { last_frame: state.last_frame, may_report_absence: state.absence_searched };
        state.decodes += 1;
        state.frames_since_decode = 0;
        Ok(Some(Job { window: collector.window(), search, info }))
    }

    /// Decodes the end of the stream if necessary, and waits for all results.
    fn finish(&self) {
        let Some(worker) = self.worker() else { return };
        worker.drain();
        if let Some(job) = self.last_job() {
            worker.push(job, WhenFull::Wait);
            worker.drain();
        }
    }

    /// Returns the last window of the stream if it has frames that were not decoded, or if no
    /// result was posted and the last decode was not entitled to report that there is no watermark.
    fn last_job(&self) -> Option<Job<WindowInfo>> {
        let (search, ..) = lock(&self.settings).decoding();
        let has_result = lock(&self.results).posted != Posted::Nothing;
        let mut state = lock(&self.state);
        let decided = has_result || state.absence_searched || state.frames == 0;
        if state.frames_since_decode == 0 && decided {
            return None;
        }
        state.frames_since_decode = 0;
        state.absence_searched = true;
        let (info, ..) = state.input.as_ref()?;
        Some(Job {
            window: state.collector.as_ref()?.window(),
            search: limited_search(search, (info.width(), info.height())),
            info: WindowInfo { last_frame: state.last_frame, may_report_absence: true },
        })
    }
}

/// Returns the search that is possible for a frame size. Frames of an extreme shape are searched as
/// whole frames only: their canonical plane is a line of tens of thousands of pixels, the bounding
/// box of a rotated one takes seconds to decode, and a rotated or enlarged strip has lost its mark.
fn limited_search(search: Search, (width, height): (u32, u32)) -> Search {
    if width.max(height) / width.min(height).max(1) > MAX_ASPECT_RATIO {
        Search::WholeFrame
    } else {
        search
    }
}

#[glib::object_subclass]
impl ObjectSubclass for WatermarkDetect {
    const NAME: &'static str = "GstWatermarkDetect";
    type Type = super::WatermarkDetect;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for WatermarkDetect {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_property("qos", false);
        obj.set_passthrough(true);
    }

    fn properties() -> &'static [ParamSpec] {
        static PROPERTIES: LazyLock<Vec<ParamSpec>> = LazyLock::new(Settings::properties);
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &ParamSpec) {
        if let Err(err) = lock(&self.settings).set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "Cannot set {}: {err}", pspec.name());
        }
    }

    fn property(&self, _id: usize, pspec: &ParamSpec) -> glib::Value {
        match pspec.name() {
            "last-payload" => {
                lock(&self.results).last_payload.map(|payload| payload.to_string()).to_value()
            }
            name => lock(&self.settings).get(name).unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for WatermarkDetect {}

impl ElementImpl for WatermarkDetect {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Watermark detector",
                "Filter/Analyzer/Video",
                "Detects keyed watermarks in video and decodes their 64-bit payload, blindly",
                "The gst-plugin-cnnvideo authors",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(pad_templates);
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        // The parent waits for the streaming thread, which may be waiting for the worker.
        if transition == gst::StateChange::PausedToReady
            && let Some(worker) = self.worker()
        {
            worker.stop();
        }
        self.parent_change_state(transition)
    }
}

impl BaseTransformImpl for WatermarkDetect {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = true;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let options = DecoderOptions {
            false_positive_rate: settings.false_positive_rate,
            epoch_count: settings.epochs,
            orientations: settings.search_orientations,
        };
        let decoder = Decoder::new(settings.key.load(&*self.obj())?, options)
            .with_candidates(settings.candidates()?);
        let weak = self.obj().downgrade();
        let start = lock(&self.results).start + 1;
        let worker = Worker::start(decoder, move |report, window| {
            if let Some(element) = weak.upgrade() {
                element.imp().report(report, window, start);
            }
        });
        let worker = worker.map_err(|err| {
            gst::error_msg!(gst::ResourceError::Failed, ("Cannot start the thread: {}", err))
        })?;
        *lock(&self.results) = Results { start, ..Default::default() };
        *lock(&self.worker) = Some(Arc::new(worker));
        *lock(&self.state) =
            State { collector: Some(Collector::new(settings.window)), ..Default::default() };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(worker) = lock(&self.worker).take() {
            worker.stop();
        }
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        self.parent_propose_allocation(decide_query, query)?;
        refuse_crop_meta(query);
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.type_() {
            gst::EventType::Eos => self.finish(),
            gst::EventType::FlushStart => self.set_flushing(true),
            gst::EventType::FlushStop => self.set_flushing(false),
            _ => (),
        }
        if is_discontinuity(&event) {
            self.reset.store(true, Ordering::Release);
        }
        self.parent_sink_event(event)
    }

    /// Maps and collects a frame. `GstVideoFilter`, which would map it, logs criticals for frames
    /// that contradict the caps.
    fn transform_ip_passthrough(
        &self,
        buffer: &gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(job) = self.collect(buffer)?
            && let Some(worker) = self.worker()
        {
            let when_full = if self.is_live() { WhenFull::DropOldest } else { WhenFull::Wait };
            worker.push(job, when_full);
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

impl VideoFilterImpl for WatermarkDetect {
    fn set_info(
        &self,
        _incaps: &gst::Caps,
        in_info: &VideoInfo,
        _outcaps: &gst::Caps,
        _out_info: &VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let (format, depth) = layout_of(in_info.format())
            .ok_or_else(|| gst::loggable_error!(CAT, "No support for {:?}", in_info.format()))?;
        let mut state = lock(&self.state);
        let size = |info: &VideoInfo| (info.width(), info.height());
        if state.input.as_ref().is_none_or(|(info, ..)| size(info) != size(in_info)) {
            // The collector discards frames of another size.
            state.frames = 0;
        }
        state.input = Some((in_info.clone(), format, depth));
        state.unreadable_warned = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_extreme_shape_are_not_searched_for_geometries() {
        for size in [(1920, 1080), (1080, 1920), (3840, 60), (1, 1), (0, 0)] {
            assert_eq!(limited_search(Search::Full, size), Search::Full, "{size:?}");
        }
        for size in [(32_767, 2), (2, 32_767), (3900, 60)] {
            assert_eq!(limited_search(Search::Full, size), Search::WholeFrame, "{size:?}");
        }
    }
}
