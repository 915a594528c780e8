// SPDX-License-Identifier: MIT OR Apache-2.0

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

use super::{
    SegmentOutput, alpha, buffers, caps,
    commands::{Command, CommandQueue, ToShare},
    message::SegmentMessage,
    overlay,
    settings::{self, Settings},
    signals,
    stream::{RegionEvent, SegmentStream},
};
use crate::shared::{
    FrameTimes, ModelSettings, QualityPreset, RegionMask, Timing, format_of, is_discontinuity,
    lock, map_frame, map_frame_mut, view_frame, view_frame_mut,
};
use cnnvideo::{
    frame::Format,
    segment::{self, SegmentNetworks, Segmenter, Shape, seeds::ParsedSeeds},
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
    queue: Mutex<CommandQueue>,
    statistics: Mutex<SegmentStatistics>,
    /// Locked by the streaming thread while it processes a frame, and by state changes while that
    /// thread is stopped.
    state: Mutex<SegmentState>,
    /// Whether the next frame does not continue the previous one, so that regions must be dropped.
    discontinuity: AtomicBool,
    /// Whether the element has been started, so that it has used the property `seeds`.
    started: AtomicBool,
}

/// Statistics that the streaming thread shares with other threads.
#[derive(Debug, Default)]
struct SegmentStatistics {
    timing: Timing,
    backend: String,
    /// Number of regions in the latest frame.
    regions: u32,
}

impl SegmentStatistics {
    /// Returns the value of the property `stats`.
    fn to_structure(&self) -> gst::Structure {
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
struct SegmentState {
    networks: Option<SegmentNetworks>,
    stream: Option<SegmentStream>,
}

impl std::fmt::Debug for SegmentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentState").finish_non_exhaustive()
    }
}

impl CnnSegment {
    /// Loads the networks that the settings ask for.
    ///
    /// # Errors
    /// Fails if the device is unknown or not available, or if the model file cannot be used.
    fn load(settings: &ModelSettings) -> Result<SegmentNetworks, segment::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        match &settings.model_file {
            Some(path) => SegmentNetworks::from_file(path.clone(), device, precision),
            None => Ok(SegmentNetworks::built_in(device, precision)?),
        }
    }

    /// Queues a seed for the next frame and returns whether it was accepted
    /// ([`CommandQueue::add_seed`]).
    pub(super) fn add_seed(
        &self,
        label: u32,
        shape: impl FnOnce(&ToShare<'_>) -> Option<Shape>,
    ) -> bool {
        lock(&self.queue).add_seed(label, shape)
    }

    /// Queues a command for the next frame.
    pub(super) fn queue_command(&self, command: Command) {
        lock(&self.queue).push(command);
    }

    /// Sets the property `seeds`. A started element replaces all seeds at the next frame; if the
    /// value cannot be parsed, it posts a warning, and seeds and property stay.
    fn set_seeds(&self, value: &glib::Value) {
        let text = value.get::<Option<String>>().ok().flatten();
        // Before the start there may be no bus to post to; start() parses the value and reports
        // errors.
        if !self.started.load(Ordering::Acquire) {
            lock(&self.settings).seeds = text;
            return;
        }
        match text.as_deref().unwrap_or_default().parse::<ParsedSeeds>() {
            Ok(seeds) => {
                lock(&self.settings).seeds = text;
                self.queue_command(Command::Replace(seeds));
            }
            Err(err) => {
                gst::element_imp_warning!(
                    self,
                    gst::LibraryError::Settings,
                    ("Cannot parse the property seeds, keeping the previous seeds: {err}")
                );
            }
        }
    }

    /// Replaces all queued commands by the seeds of the property, which apply at every start.
    /// Commands queued before the start had no frame to apply to.
    ///
    /// # Errors
    /// Fails if the value of the property cannot be parsed.
    fn queue_initial_seeds(&self) -> Result<(), gst::ErrorMessage> {
        // Held while the property is read, so that a new value is either read here or queued after.
        let mut queue = lock(&self.queue);
        queue.reset();
        let text = lock(&self.settings).seeds.clone();
        if let Some(text) = text {
            let seeds = text.parse().map_err(|err| {
                gst::error_msg!(
                    gst::LibraryError::Settings,
                    ("Cannot parse the property seeds: {}", err)
                )
            })?;
            queue.push(Command::Replace(seeds));
        }
        Ok(())
    }

    /// Loads the networks and queues the seeds of the property.
    ///
    /// # Errors
    /// Fails if the networks cannot be loaded or the property `seeds` cannot be parsed.
    fn load_and_queue_seeds(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let uses_fast = matches!(settings.model.quality, QualityPreset::Fast | QualityPreset::Auto);
        if !uses_fast && settings.model.model_file.is_none() {
            gst::warning!(
                CAT,
                imp = self,
                "cnnsegment has no network for quality {:?}, using fast",
                settings.model.quality
            );
        }
        let networks = Self::load(&settings.model).map_err(|err| match &err {
            segment::Error::Network(err) => settings.model.load_error(err),
            err => gst::error_msg!(gst::ResourceError::Settings, ("Cannot use the model: {}", err)),
        })?;
        gst::info!(CAT, imp = self, "Running on {}", networks.backend());
        *lock(&self.statistics) =
            SegmentStatistics { backend: networks.backend(), ..Default::default() };
        *lock(&self.state) = SegmentState { networks: Some(networks), stream: None };
        self.queue_initial_seeds()
    }

    /// Tracks the regions into a new frame, executes the queued commands and posts messages. Fills
    /// `stream.labels` and returns whether there are any regions.
    ///
    /// # Errors
    /// Fails if the frame has an unexpected layout or a network cannot be run.
    fn process_frame(
        &self,
        stream: &mut SegmentStream,
        frame: &VideoFrameRef<&gst::BufferRef>,
    ) -> Result<bool, segment::Error> {
        let commands = lock(&self.queue).take();
        let buffer = frame.buffer();
        let continues = stream.continuity.continues(self.running_time(buffer), buffer.duration());
        let is_discontinuity = self.discontinuity.swap(false, Ordering::AcqRel) || !continues;
        let events = stream.process_frame(frame, commands, is_discontinuity)?;
        let regions = stream.region_count();
        lock(&self.statistics).regions = regions as u32;
        self.post_events(&events, stream.seed_count(), frame.buffer());
        Ok(regions > 0)
    }

    /// Returns the running time of a buffer on the sink pad, `None` where unknown.
    fn running_time(&self, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
        let segment = self.obj().segment().downcast::<gst::ClockTime>().ok()?;
        segment.to_running_time(buffer.pts())
    }

    /// Posts an element message on the bus for each event. `seeds` is the number of all seeds,
    /// `buffer` the frame that the events belong to.
    fn post_events(&self, events: &[RegionEvent], seeds: usize, buffer: &gst::BufferRef) {
        let obj = self.obj();
        let times = FrameTimes::of(obj.upcast_ref(), buffer);
        for event in events {
            let message = SegmentMessage {
                label: u32::from(event.label),
                seeds: seeds as u32,
                area: f64::from(event.area),
                confidence: f64::from(event.confidence),
                lost: event.lost,
                found: event.found,
                timestamp: times.timestamp,
                stream_time: times.stream_time,
                running_time: times.running_time,
            };
            // Fails only without a bus, and then there is no receiver.
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
    fn add_timing(&self, start: Instant) {
        lock(&self.statistics).timing.frame_processed(start.elapsed());
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
            // The formats and the layouts of rows that the element accepts change too.
            self.obj().reconfigure_sink();
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => lock(&self.statistics).to_structure().to_value(),
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
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(caps::pad_templates);
        &TEMPLATES
    }
}

impl BaseTransformImpl for CnnSegment {
    const MODE: BaseTransformMode = BaseTransformMode::Both;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        self.started.store(true, Ordering::Release);
        let result = self.load_and_queue_seeds();
        self.started.store(result.is_ok(), Ordering::Release);
        result
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.started.store(false, Ordering::Release);
        *lock(&self.state) = SegmentState::default();
        lock(&self.queue).reset();
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let caps = caps::transform(caps, direction, lock(&self.settings).output);
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
            None => caps,
        })
    }

    fn unit_size(&self, caps: &gst::Caps) -> Option<usize> {
        VideoInfo::from_caps(caps).ok().map(|info| info.size())
    }

    fn transform_size(
        &self,
        _direction: gst::PadDirection,
        _caps: &gst::Caps,
        _size: usize,
        othercaps: &gst::Caps,
    ) -> Option<usize> {
        // The size of an input buffer does not matter: its rows may be padded (`GstVideoMeta`).
        self.unit_size(othercaps)
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
        lock(&self.queue).set_frame_size(input.width(), input.height());
        self.obj().set_in_place(settings.output.in_place());
        state.stream = Some(SegmentStream::new(input, output, format, segmenter));
        Ok(())
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        self.parent_propose_allocation(decide_query, query)?;
        buffers::adapt_allocation(query, lock(&self.settings).output);
        Ok(())
    }

    fn transform_meta<'a>(
        &self,
        outbuf: &mut gst::BufferRef,
        meta: gst::MetaRef<'a, gst::Meta>,
        inbuf: &'a gst::BufferRef,
    ) -> bool {
        buffers::keeps_meta(&meta, lock(&self.settings).output)
            || self.parent_transform_meta(outbuf, meta, inbuf)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if is_discontinuity(&event) {
            self.discontinuity.store(true, Ordering::Release);
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Navigation(navigation) = event.view()
            && let Ok(navigation) = NavigationEvent::parse(navigation)
        {
            let is_used = lock(&self.queue).navigate(&navigation);
            // Elements upstream may handle navigation events as well.
            return self.parent_src_event(event) || is_used;
        }
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
        let has_regions = {
            let frame = map_frame(buffer, &stream.input_info).map_err(|err| self.failed(&err))?;
            self.process_frame(stream, &frame).map_err(|err| self.failed(&err))?
        };
        if has_regions {
            if output == SegmentOutput::Overlay {
                let mut frame =
                    map_frame_mut(buffer, &stream.input_info).map_err(|err| self.failed(&err))?;
                let mut picture =
                    view_frame_mut(&mut frame, stream.format).map_err(|err| self.failed(&err))?;
                overlay::draw(&mut picture, &stream.labels.view());
            }
            let size = (stream.input_info.width(), stream.input_info.height());
            let labels = stream.labels.as_slice().expect("the labels are contiguous").to_vec();
            let mask = RegionMask::new(size.0, size.1, labels)
                .expect("the labels have the size of the frame");
            mask.attach(buffer, size);
            if let Err(err) = mask.attach_segmentation(buffer, size) {
                gst::warning!(CAT, imp = self, "No segmentation metadata: {err}");
            }
        }
        drop(state);
        self.add_timing(start);
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
        let input = map_frame(inbuf, &stream.input_info).map_err(|err| self.failed(&err))?;
        self.process_frame(stream, &input).map_err(|err| self.failed(&err))?;
        let mut output =
            map_frame_mut(outbuf, &stream.output_info).map_err(|err| self.failed(&err))?;
        let labels = stream.labels.view();
        if stream.output_info.format() == VideoFormat::Gray8 {
            let mut mask =
                view_frame_mut(&mut output, Format::GRAY8).map_err(|err| self.failed(&err))?;
            ndarray::Zip::from(&mut mask.components[0])
                .and(labels)
                .for_each(|to, label| *to = alpha::mask_value(*label));
        } else {
            let layout = alpha::layout_with_alpha(stream.output_info.format())
                .ok_or(gst::FlowError::NotNegotiated)?;
            let picture = view_frame(&input, stream.format).map_err(|err| self.failed(&err))?;
            alpha::write_frame(&picture, &labels, &mut output, layout)
                .map_err(|err| self.failed(&err))?;
        }
        drop(output);
        drop(state);
        self.add_timing(start);
        Ok(gst::FlowSuccess::Ok)
    }
}
