//! The element `watermarkdetect`: decodes watermarks on a worker thread and posts results on the
//! bus.

use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicBool, Ordering},
};

use glib::{
    ParamSpec, ParamSpecBoolean, ParamSpecDouble, ParamSpecEnum, ParamSpecString, ParamSpecUInt,
    subclass::prelude::*,
};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo, subclass::prelude::*};

use super::{
    message::WatermarkMessage,
    worker::{Job, Worker},
};
use crate::shared::{
    Depth, KeySettings, ends_a_scene, layout_of, lock, pad_templates, picture, value_of,
    with_samples,
};
use cnnvideo::{
    frame::Format,
    watermark::{Collector, Decoder, Payload, Report, Search},
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

/// Values of the property `search`: geometries that the detector searches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstWatermarkSearch")]
pub enum SearchKind {
    /// Whole frames at any size.
    #[enum_value(name = "None: whole frames, scaled to any size", nick = "none")]
    None,
    /// Also cropped, enlarged, reduced and letterboxed frames.
    #[enum_value(name = "Scale: also cropped, enlarged and letterboxed frames", nick = "scale")]
    Scale,
    /// Also rotated frames.
    #[default]
    #[enum_value(name = "Full: also frames rotated by up to 16 degrees", nick = "full")]
    Full,
}

impl From<SearchKind> for Search {
    fn from(kind: SearchKind) -> Self {
        match kind {
            SearchKind::None => Self::Identity,
            SearchKind::Scale => Self::Scale,
            SearchKind::Full => Self::Full,
        }
    }
}

/// Marks the enumeration as API of the plugin for GStreamer's documentation tools.
#[cfg(feature = "doc")]
pub(super) fn mark_for_documentation() {
    use glib::types::StaticType;
    SearchKind::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
}

/// Values of the element's properties.
#[derive(Clone)]
struct Settings {
    key: KeySettings,
    window: u32,
    false_positive_rate: f64,
    search: SearchKind,
    interval: u32,
    epochs: u32,
    post_all: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key: KeySettings::default(),
            window: 48,
            false_positive_rate: 1e-9,
            search: SearchKind::default(),
            interval: 12,
            epochs: 8,
            post_all: false,
        }
    }
}

impl Settings {
    fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "window" => self.window = value_of(value)?,
            "false-positive-rate" => self.false_positive_rate = value_of(value)?,
            "search" => self.search = value_of(value)?,
            "interval" => self.interval = value_of(value)?,
            "epochs" => self.epochs = value_of(value)?,
            "post-all" => self.post_all = value_of(value)?,
            _ => return self.key.set(name, value).unwrap_or(Ok(())),
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "window" => self.window.to_value(),
            "false-positive-rate" => self.false_positive_rate.to_value(),
            "search" => self.search.to_value(),
            "interval" => self.interval.to_value(),
            "epochs" => self.epochs.to_value(),
            "post-all" => self.post_all.to_value(),
            _ => return self.key.get(name),
        })
    }
}

/// Times of a window's last frame.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    timestamp: Option<gst::ClockTime>,
    stream_time: Option<gst::ClockTime>,
    running_time: Option<gst::ClockTime>,
    duration: Option<gst::ClockTime>,
    /// Whether a report without a watermark may be posted: the window is full or the stream has
    /// ended, and the configured geometries were searched.
    conclusive: bool,
}

/// Results so far.
#[derive(Debug, Default)]
struct Known {
    /// Result posted last; `None` before the first, `Some(None)` for "no watermark".
    payload: Option<Option<Payload>>,
    /// Value of `last-payload`.
    last: Option<Payload>,
}

/// Implementation of the element `watermarkdetect`.
#[derive(Default)]
pub struct WatermarkDetect {
    settings: Mutex<Settings>,
    known: Arc<Mutex<Known>>,
    /// Locked by the streaming thread, and by state changes and events, which cannot run at the
    /// same time as it.
    state: Mutex<State>,
    /// Set by events that end a scene; the next frame then discards the residuals.
    reset: AtomicBool,
}

/// State of the stream.
#[derive(Default)]
struct State {
    worker: Option<Arc<Worker<Frame>>>,
    collector: Option<Collector>,
    layout: Option<(Format, Depth)>,
    /// Number of frames since the start or the last reset.
    frames: u64,
    /// Number of frames since the last decode.
    fresh: u32,
    /// Number of windows passed to the worker.
    decodes: u64,
    /// Whether the source is live, once that was queried.
    live: Option<bool>,
    /// Times of the last frame.
    last: Frame,
}

impl WatermarkDetect {
    /// Updates the results with a report and posts a message. Called by the worker thread.
    fn report(&self, report: Report, frame: Frame) {
        let post_all = lock(&self.settings).post_all;
        let changed = {
            let mut known = lock(&self.known);
            let news = known.payload != Some(report.payload)
                && (report.payload.is_some() || frame.conclusive);
            if news {
                known.payload = Some(report.payload);
            }
            known.last = report.payload.or(known.last);
            news
        };
        gst::debug!(CAT, imp = self, "{report:?}");
        if !changed && !post_all {
            return;
        }
        let message = WatermarkMessage {
            report,
            timestamp: frame.timestamp,
            stream_time: frame.stream_time,
            running_time: frame.running_time,
            duration: frame.duration,
        };
        let obj = self.obj();
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
        if state.fresh > 0
            && let Some(collector) = &state.collector
        {
            let frame = Frame { conclusive: true, ..state.last };
            worker.push(
                Job { window: collector.window(), search: settings.search.into(), frame },
                true,
            );
            state.fresh = 0;
        }
        drop(state);
        worker.finish();
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
        static PROPERTIES: LazyLock<Vec<ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            let mut properties = KeySettings::properties();
            properties.extend([
                ParamSpecUInt::builder("window")
                    .nick("Window")
                    .blurb("Number of most recent frames to accumulate evidence over")
                    .minimum(1)
                    .maximum(480)
                    .default_value(default.window)
                    .mutable_ready()
                    .build(),
                ParamSpecDouble::builder("false-positive-rate")
                    .nick("False positive rate")
                    .blurb(
                        "Highest probability of reporting a watermark in a window of frames \
                         without a watermark of this key",
                    )
                    .minimum(1e-30)
                    .maximum(0.01)
                    .default_value(default.false_positive_rate)
                    .mutable_ready()
                    .build(),
                ParamSpecEnum::builder_with_default("search", default.search)
                    .nick("Search")
                    .blurb("Geometric changes of the video to search for")
                    .mutable_playing()
                    .build(),
                ParamSpecUInt::builder("interval")
                    .nick("Interval")
                    .blurb("Number of frames from one decode to the next")
                    .minimum(1)
                    .maximum(480)
                    .default_value(default.interval)
                    .mutable_playing()
                    .build(),
                ParamSpecUInt::builder("epochs")
                    .nick("Epochs")
                    .blurb("Number of key epochs to try, from 0 to this number minus 1")
                    .minimum(1)
                    .maximum(64)
                    .default_value(default.epochs)
                    .mutable_ready()
                    .build(),
                ParamSpecBoolean::builder("post-all")
                    .nick("Post all")
                    .blurb("Post a message at every decode, not only when the result changes")
                    .default_value(default.post_all)
                    .mutable_playing()
                    .build(),
                ParamSpecString::builder("last-payload")
                    .nick("Last payload")
                    .blurb("Payload of the last watermark found, as 16 hex digits; null until then")
                    .read_only()
                    .build(),
            ]);
            properties
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &ParamSpec) {
        if let Err(err) = lock(&self.settings).set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "Cannot set {}: {err}", pspec.name());
        }
    }

    fn property(&self, _id: usize, pspec: &ParamSpec) -> glib::Value {
        match pspec.name() {
            "last-payload" => lock(&self.known).last.map(|payload| payload.to_string()).to_value(),
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
        let decoder =
            Decoder::new(settings.key.load()?, settings.false_positive_rate, settings.epochs);
        let weak = self.obj().downgrade();
        let worker = Worker::start(decoder, move |report, frame| {
            if let Some(element) = weak.upgrade() {
                element.imp().report(report, frame);
            }
        });
        let worker = worker.map_err(|err| {
            gst::error_msg!(gst::ResourceError::Failed, ("Cannot start the thread: {}", err))
        })?;
        *lock(&self.known) = Known::default();
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
        if ends_a_scene(&event) {
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
        let seen = with_samples!(depth, T => picture::<T>(frame, format).map(|picture| collector.push(&picture)));
        // The element passes frames through unchanged, so it does not fail on one that it cannot
        // read.
        if let Err(err) = seen {
            gst::warning!(CAT, imp = self, "Skipping a frame that cannot be read: {err}");
            return Ok(gst::FlowSuccess::Ok);
        }
        state.frames += 1;
        state.fresh += 1;
        let pts = frame.buffer().pts();
        state.last = Frame {
            timestamp: pts,
            stream_time: segment.as_ref().and_then(|s| s.to_stream_time(pts)),
            running_time: segment.as_ref().and_then(|s| s.to_running_time(pts)),
            duration: frame.buffer().duration(),
            conclusive: state.frames >= u64::from(settings.window),
        };
        if state.fresh >= settings.interval {
            let live = *state.live.get_or_insert_with(|| self.is_live());
            let marked = lock(&self.known).payload.flatten().is_some();
            let search = if marked || state.decodes.is_multiple_of(SEARCH_EVERY) {
                settings.search.into()
            } else {
                Search::Identity
            };
            // A decode without geometry search does not prove that there is no watermark.
            let conclusive = state.last.conclusive && search == settings.search.into();
            worker.push(
                Job {
                    window: collector.window(),
                    search,
                    frame: Frame { conclusive, ..state.last },
                },
                !live,
            );
            state.decodes += 1;
            state.fresh = 0;
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
