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
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo, subclass::prelude::*};

use super::{
    message::WatermarkMessage,
    settings::Settings,
    worker::{Job, WhenFull, Worker},
};
use crate::shared::{
    SampleDepth, is_discontinuity, layout_of, lock, pad_templates, view_frame, with_samples,
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

/// Times of a frame.
#[derive(Debug, Clone, Copy, Default)]
struct FrameTimes {
    timestamp: Option<gst::ClockTime>,
    stream_time: Option<gst::ClockTime>,
    running_time: Option<gst::ClockTime>,
    duration: Option<gst::ClockTime>,
}

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
    /// same time as it.
    state: Mutex<State>,
    /// Set by events that end a scene; the next frame then discards the residuals.
    reset: AtomicBool,
}

/// State of the stream.
#[derive(Default)]
struct State {
    worker: Option<Arc<Worker<WindowInfo>>>,
    collector: Option<Collector>,
    layout: Option<(Format, SampleDepth)>,
    /// Number of frames since the start or the last reset.
    frames: u64,
    /// Number of frames since the last decode.
    frames_since_decode: u32,
    /// Number of windows passed to the worker.
    decodes: u64,
    /// Whether the source is live, once that was queried.
    live: Option<bool>,
    /// Times of the last frame.
    last_frame: FrameTimes,
}

impl WatermarkDetect {
    /// Updates the results with a report and posts a message. Called by the worker thread.
    fn report(&self, report: Report, window: WindowInfo) {
        let post_all = lock(&self.settings).post_all;
        let changed = {
            let mut results = lock(&self.results);
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

    /// Returns whether the upstream source is live, so that the streaming thread must not block.
    fn is_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.obj().sink_pad().peer_query(&mut query) && query.result().0
    }

    /// Decodes the frames since the last decode, and waits for all results.
    fn finish(&self) {
        let settings = lock(&self.settings).clone();
        let mut state = lock(&self.state);
        let Some(worker) = state.worker.clone() else { return };
        if state.frames_since_decode > 0
            && let Some(collector) = &state.collector
        {
            let job = Job {
                window: collector.window(),
                search: settings.search.into(),
                info: WindowInfo { last_frame: state.last_frame, may_report_absence: true },
            };
            worker.push(job, WhenFull::Wait);
            state.frames_since_decode = 0;
        }
        drop(state);
        worker.drain();
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
        };
        let decoder = Decoder::new(settings.key.load()?, options);
        let weak = self.obj().downgrade();
        let worker = Worker::start(decoder, move |report, window| {
            if let Some(element) = weak.upgrade() {
                element.imp().report(report, window);
            }
        });
        let worker = worker.map_err(|err| {
            gst::error_msg!(gst::ResourceError::Failed, ("Cannot start the thread: {}", err))
        })?;
        *lock(&self.results) = Results::default();
        *lock(&self.state) = State {
            worker: Some(Arc::new(worker)),
            collector: Some(Collector::new(settings.window)),
            ..Default::default()
        };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let state = std::mem::take(&mut *lock(&self.state));
        if let Some(worker) = &state.worker {
            worker.stop();
        }
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Eos {
            self.finish();
        }
        if is_discontinuity(&event) {
            self.reset.store(true, Ordering::Release);
        }
        self.parent_sink_event(event)
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
        let layout = layout_of(in_info.format())
            .ok_or_else(|| gst::loggable_error!(CAT, "No support for {:?}", in_info.format()))?;
        lock(&self.state).layout = Some(layout);
        Ok(())
    }

    fn transform_frame_ip_passthrough(
        &self,
        frame: &VideoFrameRef<&gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let settings = lock(&self.settings).clone();
        let segment = self.obj().segment().downcast::<gst::ClockTime>().ok();
        let mut state = lock(&self.state);
        let state = &mut *state;
        let (Some(collector), Some((format, depth)), Some(worker)) =
            (&mut state.collector, state.layout, &state.worker)
        else {
            return Err(gst::FlowError::NotNegotiated);
        };
        if self.reset.swap(false, Ordering::AcqRel) {
            collector.reset();
            state.live = None;
            state.frames = 0;
        }
        let collected = with_samples!(depth, T => {
            view_frame::<T>(frame, format).map(|picture| collector.push(&picture))
        });
        // The element passes frames through unchanged, so it does not fail on one that it cannot
        // read.
        if let Err(err) = collected {
            gst::warning!(CAT, imp = self, "Skipping a frame that cannot be read: {err}");
            return Ok(gst::FlowSuccess::Ok);
        }
        state.frames += 1;
        state.frames_since_decode += 1;
        let pts = frame.buffer().pts();
        state.last_frame = FrameTimes {
            timestamp: pts,
            stream_time: segment.as_ref().and_then(|s| s.to_stream_time(pts)),
            running_time: segment.as_ref().and_then(|s| s.to_running_time(pts)),
            duration: frame.buffer().duration(),
        };
        if state.frames_since_decode >= settings.interval {
            let live = *state.live.get_or_insert_with(|| self.is_live());
            let marked = matches!(lock(&self.results).posted, Posted::Watermark(_));
            let search = if marked || state.decodes.is_multiple_of(SEARCH_EVERY) {
                settings.search.into()
            } else {
                Search::WholeFrame
            };
            let window_is_full = state.frames >= u64::from(settings.window);
            let info = WindowInfo {
                last_frame: state.last_frame,
                // A decode without geometry search does not prove that there is no watermark.
                may_report_absence: window_is_full && search == settings.search.into(),
            };
            let when_full = if live { WhenFull::DropOldest } else { WhenFull::Wait };
            worker.push(Job { window: collector.window(), search, info }, when_full);
            state.decodes += 1;
            state.frames_since_decode = 0;
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
