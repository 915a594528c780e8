//! Implementation of the `cnnsegment` element: a transform that segments and tracks regions and
//! outputs them as a meta, an overlay, a mask or an alpha channel.

use std::{
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use glib::subclass::{Signal, prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{BaseTransformMode, prelude::*},
};
use gst_video::{NavigationEvent, VideoFormat, VideoFrameExt, VideoFrameRef, VideoInfo};
use ndarray::Array2;

use super::{
    alpha, draw,
    input::{Command, Input},
    message::SegmentMessage,
    settings::{self, Output, Settings},
    signals,
    stream::{News, Stream},
};
use crate::shared::{
    FORMATS, ModelSettings, Quality, RegionMask, Timing, ends_a_scene, format_of, lock, picture,
    picture_mut,
};
use cnnvideo::{
    frame::{Format, PictureMut},
    segment::{self, Networks, Seeds, Segmenter, Shape, seeds::WrittenSeeds},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "cnnsegment",
        gst::DebugColorFlags::empty(),
        Some("Interactive video segmentation"),
    )
});

/// Implementation of the element.
#[derive(Debug, Default)]
pub struct CnnSegment {
    settings: Mutex<Settings>,
    /// User input for the next frame. Locked only to queue or take it, never while a frame is
    /// processed, so that user interface threads do not wait.
    input: Mutex<Input>,
    published: Mutex<Published>,
    /// Locked by the streaming thread while it processes a frame, and by state changes while that
    /// thread is stopped.
    state: Mutex<State>,
    /// Whether the next frame does not continue the previous one, so that regions must be dropped.
    reset: AtomicBool,
}

/// Statistics that the streaming thread shares with other threads.
#[derive(Debug, Default)]
struct Published {
    timing: Timing,
    backend: String,
    /// Number of regions in the latest frame.
    regions: u32,
}

impl Published {
    /// Returns the value of the property `stats`.
    fn stats(&self) -> gst::Structure {
        gst::Structure::builder("cnnsegment-stats")
            .field("frames", self.timing.frames())
            .field("mean-ms", self.timing.mean_ms())
            .field("p99-ms", self.timing.p99_ms())
            .field("backend", &self.backend)
            .field("regions", self.regions)
            .build()
    }
}

/// State between start and stop.
#[derive(Default)]
struct State {
    networks: Option<Networks>,
    stream: Option<Stream>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl CnnSegment {
    /// Loads the networks that the settings ask for.
    ///
    /// # Errors
    /// Fails if the device is unknown or not available, or if the model file cannot be used.
    fn load(settings: &ModelSettings) -> Result<Networks, segment::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        match &settings.model_file {
            Some(path) => Networks::from_file(path.clone(), device, precision),
            None => Ok(Networks::built_in(device, precision)?),
        }
    }

    /// Queues a seed for the next frame and returns whether it was accepted ([`Input::add`]).
    pub(super) fn point(
        &self,
        label: u32,
        shape: impl FnOnce(&dyn Fn([f64; 2]) -> [f32; 2]) -> Option<Shape>,
    ) -> bool {
        lock(&self.input).add(label, shape)
    }

    /// Queues a command for the next frame.
    pub(super) fn command(&self, command: Command) {
        lock(&self.input).push(command);
    }

    /// Sets the property `seeds`, which replaces all seeds at the next frame.
    fn set_seeds(&self, value: &glib::Value) {
        let text = value.get::<Option<String>>().ok().flatten();
        let seeds = text.as_deref().unwrap_or_default().parse::<WrittenSeeds>();
        lock(&self.settings).seeds = text;
        match seeds {
            Ok(seeds) => self.command(Command::Replace(seeds)),
            // Before the start there may be no bus to post to; start() then reports the error.
            Err(err) => {
                gst::element_imp_warning!(
                    self,
                    gst::LibraryError::Settings,
                    ("Cannot parse the property seeds, keeping the previous seeds: {err}")
                );
            }
        }
    }

    /// Tracks the regions into a new frame, executes the queued commands and posts messages.
    /// Returns whether there are any regions; `stream.labels` then holds their mask.
    ///
    /// # Errors
    /// Fails if the frame has an unexpected layout or a network cannot be run.
    fn follow(
        &self,
        stream: &mut Stream,
        frame: &VideoFrameRef<&gst::BufferRef>,
    ) -> Result<bool, segment::Error> {
        let commands = lock(&self.input).take();
        let discont = frame.buffer().flags().contains(gst::BufferFlags::DISCONT);
        let mut messages = Vec::new();
        if self.reset.swap(false, Ordering::AcqRel) || discont {
            let labels: Vec<_> = stream.segmenter.status().map(|status| status.label).collect();
            stream.segmenter.reset();
            stream.lose(&labels, &mut messages);
        }
        if commands.is_empty() && !stream.segmenter.has_regions() {
            // There is nothing to track. Tracking must start anew, as it has not received this
            // frame.
            stream.segmenter.reset();
        } else {
            let view = picture::<u8>(frame, stream.format)?;
            let lost = stream.segmenter.see(&view, &mut stream.seeds)?;
            stream.lose(&lost, &mut messages);
            let answered = !commands.is_empty();
            stream.obey(commands)?;
            stream.tell(answered, &mut messages);
        }
        let any = stream.segmenter.has_regions();
        if any {
            stream.segmenter.mask(stream.labels.view_mut());
        } else {
            stream.labels.fill(0);
        }
        lock(&self.published).regions = stream.segmenter.status().count() as u32;
        self.post(&messages, stream.seeds.len(), frame.buffer());
        Ok(any)
    }

    /// Posts an element message on the bus for each event. `seeds` is the number of all seeds,
    /// `buffer` the frame that the events belong to.
    fn post(&self, news: &[News], seeds: usize, buffer: &gst::BufferRef) {
        let obj = self.obj();
        let segment = obj.segment().downcast::<gst::ClockTime>().ok();
        let pts = buffer.pts();
        for news in news {
            let message = SegmentMessage {
                label: u32::from(news.label),
                seeds: seeds as u32,
                area: f64::from(news.area),
                confidence: f64::from(news.confidence),
                lost: news.lost,
                timestamp: pts,
                stream_time: segment.as_ref().and_then(|s| s.to_stream_time(pts)),
                running_time: segment.as_ref().and_then(|s| s.to_running_time(pts)),
            };
            let _ = obj
                .post_message(gst::message::Element::builder((&message).into()).src(&*obj).build());
        }
    }

    /// Posts an error message and returns the flow error for the streaming thread.
    fn failed(&self, reason: &dyn std::fmt::Display) -> gst::FlowError {
        gst::element_imp_error!(
            self,
            gst::StreamError::Failed,
            ("Cannot segment a frame: {reason}")
        );
        gst::FlowError::Error
    }

    /// Adds the time since `start` to the statistics.
    fn time(&self, start: Instant) {
        lock(&self.published).timing.add(start.elapsed());
    }
}

#[glib::object_subclass]
impl ObjectSubclass for CnnSegment {
    const NAME: &'static str = "GstCnnSegment";
    type Type = super::CnnSegment;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for CnnSegment {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(settings::properties);
        &PROPERTIES
    }

    fn signals() -> &'static [Signal] {
        static SIGNALS: LazyLock<Vec<Signal>> = LazyLock::new(signals::signals);
        &SIGNALS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if pspec.name() == "seeds" {
            return self.set_seeds(value);
        }
        let before = lock(&self.settings).output;
        if let Err(err) = lock(&self.settings).set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "Cannot set {}: {err}", pspec.name());
        }
        let after = lock(&self.settings).output;
        if before != after && !(before.in_place() && after.in_place()) {
            self.obj().reconfigure_src();
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => lock(&self.published).stats().to_value(),
            name => lock(&self.settings).get(name).unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for CnnSegment {}

impl ElementImpl for CnnSegment {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Interactive video segmentation",
                "Filter/Analyzer/Video",
                "Segments regions selected by clicks, strokes and boxes, and tracks them",
                "The gst-plugin-cnnvideo authors",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut formats = FORMATS.to_vec();
            let sink =
                gst_video::VideoCapsBuilder::new().format_list(formats.iter().copied()).build();
            formats.extend([VideoFormat::A420, VideoFormat::Ayuv]);
            let src = gst_video::VideoCapsBuilder::new().format_list(formats).build();
            [("sink", gst::PadDirection::Sink, sink), ("src", gst::PadDirection::Src, src)]
                .into_iter()
                .filter_map(|(name, direction, caps)| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
                })
                .collect()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for CnnSegment {
    const MODE: BaseTransformMode = BaseTransformMode::Both;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        if settings.model.quality != Quality::Fast && settings.model.model_file.is_none() {
            gst::warning!(
                CAT,
                imp = self,
                "cnnsegment has no network for quality {:?}, using fast",
                settings.model.quality
            );
        }
        let networks = Self::load(&settings.model).map_err(|err| match &err {
            segment::Error::Network(err) => settings.model.error(err),
            err => gst::error_msg!(gst::ResourceError::Settings, ("Cannot use the model: {}", err)),
        })?;
        gst::info!(CAT, imp = self, "Running on {}", networks.backend());
        *lock(&self.published) = Published { backend: networks.backend(), ..Default::default() };
        *lock(&self.state) = State { networks: Some(networks), stream: None };
        // The seeds of the property apply at every start, not only when they are set.
        if let Some(text) = &settings.seeds {
            let seeds = text.parse().map_err(|err| {
                gst::error_msg!(
                    gst::LibraryError::Settings,
                    ("Cannot parse the property seeds: {}", err)
                )
            })?;
            let mut input = lock(&self.input);
            if input.is_empty() {
                input.push(Command::Replace(seeds));
            }
        }
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        let mut input = lock(&self.input);
        input.stop();
        input.take();
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let output = lock(&self.settings).output;
        let to_source = direction == gst::PadDirection::Sink;
        let formats = |format: VideoFormat| match (output, to_source) {
            (Output::Meta | Output::Overlay, _) => vec![format],
            (Output::Mask, true) => vec![VideoFormat::Gray8],
            (Output::Mask, false) if format == VideoFormat::Gray8 => FORMATS.to_vec(),
            (Output::Mask, false) => Vec::new(),
            (Output::Alpha, true) => alpha::with_alpha(format),
            (Output::Alpha, false) => alpha::without_alpha(format),
        };
        let mut result = gst::Caps::new_empty();
        for (structure, features) in caps.iter_with_features() {
            let all: Vec<String> = match structure.value("format") {
                Ok(value) => match value.get::<gst::List>() {
                    Ok(list) => list.iter().filter_map(|value| value.get().ok()).collect(),
                    Err(_) => value.get().into_iter().collect(),
                },
                Err(_) => FORMATS.iter().map(|format| format.to_str().to_string()).collect(),
            };
            let mut others: Vec<VideoFormat> = Vec::new();
            for format in all.iter().flat_map(|format| formats(VideoFormat::from_string(format))) {
                if !others.contains(&format) {
                    others.push(format);
                }
            }
            if others.is_empty() {
                continue;
            }
            let mut other = structure.to_owned();
            other.set(
                "format",
                gst::List::new(others.iter().map(|format| format.to_str().as_str())),
            );
            if !output.in_place() {
                other.remove_fields(["colorimetry", "chroma-site"]);
            }
            result.get_mut()?.append_structure_full(other, Some(features.to_owned()));
        }
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&result, gst::CapsIntersectMode::First),
            None => result,
        })
    }

    fn unit_size(&self, caps: &gst::Caps) -> Option<usize> {
        VideoInfo::from_caps(caps).ok().map(|info| info.size())
    }

    fn set_caps(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = |caps| {
            VideoInfo::from_caps(caps).map_err(|_| gst::loggable_error!(CAT, "Not video: {caps:?}"))
        };
        let (input, output) = (info(incaps)?, info(outcaps)?);
        let settings = lock(&self.settings).clone();
        let mut state = lock(&self.state);
        state.stream = None;
        let format = format_of(input.format())
            .ok_or_else(|| gst::loggable_error!(CAT, "No support for {:?}", input.format()))?;
        let Some(networks) = &state.networks else {
            return Err(gst::loggable_error!(CAT, "The element has not been started"));
        };
        let segmenter = Segmenter::new(networks, settings.model.threads as usize)
            .map_err(|err| gst::loggable_error!(CAT, "Cannot create the segmenter: {err}"))?;
        let labels = Array2::zeros((input.height() as usize, input.width() as usize));
        lock(&self.input).resize(input.width(), input.height());
        self.obj().set_in_place(settings.output.in_place());
        let (seeds, told) = (Seeds::default(), Default::default());
        state.stream = Some(Stream { input, output, format, segmenter, seeds, labels, told });
        Ok(())
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        self.parent_propose_allocation(decide_query, query)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if ends_a_scene(&event) {
            self.reset.store(true, Ordering::Release);
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Navigation(navigation) = event.view()
            && let Ok(navigation) = NavigationEvent::parse(navigation)
        {
            lock(&self.input).navigate(&navigation);
        }
        // Elements upstream may handle navigation events as well.
        self.parent_src_event(event)
    }

    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let start = Instant::now();
        let output = lock(&self.settings).output;
        let mut state = lock(&self.state);
        let stream = state.stream.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let any = {
            let frame = VideoFrameRef::from_buffer_ref_readable(buffer, &stream.input)
                .map_err(|err| self.failed(&err))?;
            self.follow(stream, &frame).map_err(|err| self.failed(&err))?
        };
        if any {
            if output == Output::Overlay {
                let mut frame = VideoFrameRef::from_buffer_ref_writable(buffer, &stream.input)
                    .map_err(|err| self.failed(&err))?;
                let mut view =
                    picture_mut(&mut frame, stream.format).map_err(|err| self.failed(&err))?;
                draw::overlay(&mut view, &stream.labels.view());
            }
            let (width, height) = (stream.input.width(), stream.input.height());
            if let Some(mask) = RegionMask::new(
                width,
                height,
                stream.labels.as_slice().unwrap_or_default().to_vec(),
            ) {
                mask.attach(buffer, (width, height));
            }
        }
        drop(state);
        self.time(start);
        Ok(gst::FlowSuccess::Ok)
    }

    fn transform(
        &self,
        inbuf: &gst::Buffer,
        outbuf: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let start = Instant::now();
        let mut state = lock(&self.state);
        let stream = state.stream.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let from = VideoFrameRef::from_buffer_ref_readable(inbuf, &stream.input)
            .map_err(|err| self.failed(&err))?;
        self.follow(stream, &from).map_err(|err| self.failed(&err))?;
        let mut to = VideoFrameRef::from_buffer_ref_writable(outbuf, &stream.output)
            .map_err(|err| self.failed(&err))?;
        if stream.output.format() == VideoFormat::Gray8 {
            let mut view = picture_mut(&mut to, Format::GRAY8).map_err(|err| self.failed(&err))?;
            let labels = &stream.labels;
            ndarray::Zip::from(&mut view.components[0]).and(labels).for_each(|to, label| {
                *to = 255 * u8::from(*label > 0);
            });
        } else {
            let layout =
                alpha::layout(stream.output.format()).ok_or(gst::FlowError::NotNegotiated)?;
            let place = layout.alpha().ok_or(gst::FlowError::NotNegotiated)?;
            let view = picture(&from, stream.format).map_err(|err| self.failed(&err))?;
            let mut out: PictureMut<'_, u8> =
                picture_mut(&mut to, layout).map_err(|err| self.failed(&err))?;
            alpha::copy(&view, &mut out);
            let stride = to
                .plane_stride()
                .get(place.plane)
                .and_then(|s| usize::try_from(*s).ok())
                .unwrap_or(0);
            let plane = to.plane_data_mut(place.plane as u32).map_err(|err| self.failed(&err))?;
            alpha::write(plane, stride, place, &stream.labels.view())
                .map_err(|err| self.failed(&err))?;
        }
        drop(to);
        drop(state);
        self.time(start);
        Ok(gst::FlowSuccess::Ok)
    }
}
