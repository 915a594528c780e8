// SPDX-License-Identifier: MIT OR Apache-2.0

//! The element `watermarkembed`: hides a keyed payload in the luma of video.

use std::sync::{LazyLock, Mutex};

use glib::{ParamSpec, subclass::prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::subclass::prelude::*;
use gst_video::{VideoInfo, subclass::prelude::*};

use super::{
    pad_templates,
    payload_file::Segments,
    settings::{SetError, Settings},
};
use crate::shared::{
    SampleDepth, layout_of, lock, map_frame_mut, refuse_crop_meta, sync_controlled_properties,
    view_frame_mut, with_samples,
};
use cnnvideo::{
    frame::Format,
    watermark::{Embedder, Payload, Strength},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "watermarkembed",
        gst::DebugColorFlags::empty(),
        Some("Watermark embedder"),
    )
});

/// Implementation of the element `watermarkembed`.
#[derive(Default)]
pub struct WatermarkEmbed {
    settings: Mutex<Settings>,
    /// Locked by the streaming thread, and by state changes, which cannot run at the same time as
    /// it.
    state: Mutex<State>,
}

/// State of the stream.
#[derive(Default)]
struct State {
    embedder: Option<Embedder>,
    /// Payloads of segments, if there is a file of them.
    segments: Option<Segments>,
    /// Number of the next frame in the video.
    next_frame: u64,
    /// Caps of the frames, with the layout of their format.
    input: Option<(VideoInfo, Format, SampleDepth)>,
    /// Strength for the next frame.
    strength: Strength,
}

impl WatermarkEmbed {
    /// Marks a frame in place. Returns the payload if it takes effect with this frame.
    ///
    /// # Errors
    /// Posts an element error if the frame cannot be mapped or marked.
    fn mark(&self, buffer: &mut gst::BufferRef) -> Result<Option<Payload>, gst::FlowError> {
        let mut state = lock(&self.state);
        let State {
            embedder: Some(embedder),
            input: Some((info, format, depth)),
            strength,
            segments,
            next_frame,
        } = &mut *state
        else {
            return Err(gst::FlowError::NotNegotiated);
        };
        if let Some(segments) = segments {
            embedder.set_payload(segments.payload(*next_frame));
        }
        *next_frame = next_frame.wrapping_add(1);
        let mut mark = || -> Result<Option<Payload>, String> {
            let mut frame = map_frame_mut(buffer, info)?;
            with_samples!(*depth, T => {
                let mut picture = view_frame_mut::<T>(&mut frame, *format)
                    .map_err(|err| err.to_string())?;
                Ok(embedder.process(&mut picture, strength))
            })
        };
        let marked = mark();
        let mask_error = embedder.take_mask_error();
        drop(state);
        if let Some(err) = mask_error {
            gst::warning!(
                CAT,
                imp = self,
                "The mask network failed, falling back to the analytic mask: {err}"
            );
        }
        marked.map_err(|err| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("Cannot mark a frame: {err}"));
            gst::FlowError::Error
        })
    }

    /// Posts the message that a payload has taken effect with the frame of time `pts`.
    fn post_embedding(&self, payload: Payload, pts: Option<gst::ClockTime>) {
        gst::info!(CAT, imp = self, "Embedding payload {payload} from {}", pts.display());
        let structure = gst::Structure::builder("watermark-embedding")
            .field("payload", payload.to_string())
            .field("timestamp", pts.map_or(u64::MAX, gst::ClockTime::nseconds))
            .build();
        let obj = self.obj();
        // Posting fails only without a bus, and then the message has no receiver.
        let _ = obj.post_message(gst::message::Element::builder(structure).src(&*obj).build());
    }
}

#[glib::object_subclass]
impl ObjectSubclass for WatermarkEmbed {
    const NAME: &'static str = "GstWatermarkEmbed";
    type Type = super::WatermarkEmbed;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for WatermarkEmbed {
    fn constructed(&self) {
        self.parent_constructed();
        // A late frame with its watermark is better than one that QoS skips and leaves unmarked.
        self.obj().set_property("qos", false);
    }

    fn properties() -> &'static [ParamSpec] {
        static PROPERTIES: LazyLock<Vec<ParamSpec>> = LazyLock::new(Settings::properties);
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &ParamSpec) {
        let result = lock(&self.settings).set(pspec.name(), value);
        match result {
            Ok(()) => (),
            Err(SetError::Payload(err)) => gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ("The payload stays as it is: {err}")
            ),
            Err(SetError::Value(err)) => {
                gst::error!(CAT, imp = self, "Cannot set {}: {err}", pspec.name());
            }
        }
    }

    fn property(&self, _id: usize, pspec: &ParamSpec) -> glib::Value {
        lock(&self.settings).get(pspec.name()).unwrap_or_else(|| pspec.default_value().clone())
    }
}

impl GstObjectImpl for WatermarkEmbed {}

impl ElementImpl for WatermarkEmbed {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Watermark embedder",
                "Filter/Effect/Video",
                "Hides a keyed 64-bit payload in video, adapted to its texture",
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

impl BaseTransformImpl for WatermarkEmbed {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let key = settings.key.load(&*self.obj())?;
        let (payload, segments) = lock(&self.settings).start()?;
        let embedder = Embedder::new(key, payload)
            .map_err(|err| {
                lock(&self.settings).stop();
                gst::error_msg!(gst::ResourceError::Failed, ("{}", err))
            })?
            .with_epoch(settings.epoch)
            .with_security(settings.security.into())
            .with_first_frame(settings.frame_offset);
        *lock(&self.state) = State {
            embedder: Some(embedder),
            segments,
            next_frame: settings.frame_offset,
            ..Default::default()
        };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        lock(&self.settings).stop();
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

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        sync_controlled_properties(self.obj().upcast_ref(), *CAT, inbuf);
        let (strength, payload) = lock(&self.settings).frame_settings();
        let mut state = lock(&self.state);
        state.strength = strength;
        let has_segments = state.segments.is_some();
        if let (Some(embedder), Some(payload), false) = (&mut state.embedder, payload, has_segments)
        {
            embedder.set_payload(payload);
        }
    }

    /// Maps and marks a frame. `GstVideoFilter`, which would map it, lets frames that it cannot map
    /// pass, and this element must not let an unmarked frame pass.
    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(payload) = self.mark(buffer)? {
            self.post_embedding(payload, buffer.pts());
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

impl VideoFilterImpl for WatermarkEmbed {
    fn set_info(
        &self,
        _incaps: &gst::Caps,
        in_info: &VideoInfo,
        _outcaps: &gst::Caps,
        _out_info: &VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let mut state = lock(&self.state);
        let (format, depth) = layout_of(in_info.format())
            .ok_or_else(|| gst::loggable_error!(CAT, "No support for {:?}", in_info.format()))?;
        state.input = Some((in_info.clone(), format, depth));
        if let Some(embedder) = &mut state.embedder {
            embedder.prepare(in_info.width() as usize, in_info.height() as usize);
        }
        Ok(())
    }
}
