// SPDX-License-Identifier: MIT OR Apache-2.0

//! The element `watermarkembed`: hides a keyed payload in the luma of video.

use std::sync::{LazyLock, Mutex};

use glib::{ParamSpec, subclass::prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::subclass::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo, subclass::prelude::*};

use super::settings::Settings;
use crate::shared::{
    SampleDepth, layout_of, lock, pad_templates, sync_controlled_properties, view_frame_mut,
    with_samples,
};
use cnnvideo::{
    frame::Format,
    watermark::{Embedder, Strength},
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
    layout: Option<(Format, SampleDepth)>,
    /// Strength for the next frame.
    strength: Strength,
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
        if let Err(err) = lock(&self.settings).set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "Cannot set {}: {err}", pspec.name());
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
        let key = settings.key.load()?;
        let payload = settings
            .payload()
            .map_err(|err| gst::error_msg!(gst::ResourceError::Settings, ("{}", err)))?;
        let embedder = Embedder::new(key, payload)
            .map_err(|err| gst::error_msg!(gst::ResourceError::Failed, ("{}", err)))?
            .with_epoch(settings.epoch);
        *lock(&self.state) = State { embedder: Some(embedder), ..Default::default() };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        sync_controlled_properties(self.obj().upcast_ref(), *CAT, inbuf);
        let settings = lock(&self.settings).clone();
        let mut state = lock(&self.state);
        state.strength = settings.strength;
        if let Some(embedder) = &mut state.embedder {
            match settings.payload() {
                Ok(payload) => embedder.set_payload(payload),
                Err(err) => gst::warning!(CAT, imp = self, "Keeping {}: {err}", embedder.payload()),
            }
        }
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
        let layout = layout_of(in_info.format())
            .ok_or_else(|| gst::loggable_error!(CAT, "No support for {:?}", in_info.format()))?;
        state.layout = Some(layout);
        if let Some(embedder) = &mut state.embedder {
            embedder.prepare(in_info.width() as usize, in_info.height() as usize);
        }
        Ok(())
    }

    fn transform_frame_ip(
        &self,
        frame: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let pts = frame.buffer().pts();
        let mut state = lock(&self.state);
        let State { embedder: Some(embedder), layout: Some((format, depth)), strength } =
            &mut *state
        else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let embedded = with_samples!(*depth, T => {
            view_frame_mut::<T>(frame, *format)
                .map(|mut picture| embedder.process(&mut picture, strength))
        });
        let new_payload = embedded.map_err(|err| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("Cannot mark a frame: {err}"));
            gst::FlowError::Error
        })?;
        let mask_error = embedder.take_mask_error();
        drop(state);
        if let Some(err) = mask_error {
            gst::warning!(
                CAT,
                imp = self,
                "The mask network failed, falling back to the analytic mask: {err}"
            );
        }
        if let Some(payload) = new_payload {
            gst::info!(CAT, imp = self, "Embedding payload {payload} from {}", pts.display());
            let structure = gst::Structure::builder("watermark-embedding")
                .field("payload", payload.to_string())
                .field("timestamp", pts.map_or(u64::MAX, gst::ClockTime::nseconds))
                .build();
            let obj = self.obj();
            // Posting fails only without a bus, and then the message has no receiver.
            let _ = obj.post_message(gst::message::Element::builder(structure).src(&*obj).build());
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
