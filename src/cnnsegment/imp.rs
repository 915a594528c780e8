// SPDX-License-Identifier: MIT OR Apache-2.0

//! Implementation of the `cnnsegment` element: a transform that segments and tracks regions and
//! outputs them as a meta, an overlay, a mask or an alpha channel.

use std::sync::{
    LazyLock, Mutex,
    atomic::{AtomicBool, Ordering},
};

use glib::subclass::{Signal, prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{BaseTransformMode, prelude::*},
};
use gst_video::{NavigationEvent, VideoInfo};

use super::{
    buffers, caps,
    commands::CommandQueue,
    settings::{self, Settings},
    signals,
    state::{SegmentState, SegmentStatistics, load_networks},
    stream::SegmentStream,
};
use crate::shared::{QualityPreset, format_of, is_discontinuity, lock};
use cnnvideo::segment::{self, Segmenter};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "cnnsegment",
        gst::DebugColorFlags::empty(),
        Some("Interactive video segmentation"),
    )
});

/// Implementation of the element.
#[derive(Debug, Default)]
pub struct CnnSegment {
    pub(super) settings: Mutex<Settings>,
    /// User input for the next frame. Locked only to queue or take it, never while a frame is
    /// processed, so that user interface threads do not wait.
    pub(super) queue: Mutex<CommandQueue>,
    pub(super) statistics: Mutex<SegmentStatistics>,
    /// Locked by the streaming thread while it processes a frame, and by state changes while that
    /// thread is stopped.
    pub(super) state: Mutex<SegmentState>,
    /// Whether the next frame does not continue the previous one, so that regions must be dropped.
    pub(super) discontinuity: AtomicBool,
    /// Whether the element has been started, so that it has used the property `seeds`.
    pub(super) started: AtomicBool,
}

impl CnnSegment {
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
        let networks = load_networks(&settings.model).map_err(|err| match &err {
            segment::Error::Network(err) => settings.model.load_error(err),
            err => gst::error_msg!(gst::ResourceError::Settings, ("Cannot use the model: {}", err)),
        })?;
        gst::info!(CAT, imp = self, "Running on {}", networks.backend());
        *lock(&self.statistics) =
            SegmentStatistics { backend: networks.backend(), ..Default::default() };
        *lock(&self.state) = SegmentState { networks: Some(networks), stream: None };
        self.queue_initial_seeds()
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
        let mut settings = lock(&self.settings);
        let before = settings.output;
        if let Err(err) = settings.set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "Cannot set {}: {err}", pspec.name());
        }
        let after = settings.output;
        drop(settings);
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
        self.process_in_place(buffer).map(|()| gst::FlowSuccess::Ok)
    }

    fn transform(
        &self,
        inbuf: &gst::Buffer,
        outbuf: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.process_to(inbuf, outbuf).map(|()| gst::FlowSuccess::Ok)
    }
}
