//! The element `watermarkembed`: hides a keyed payload in the luma of video.

use std::sync::{LazyLock, Mutex};

use glib::{ParamSpec, ParamSpecBoolean, ParamSpecString, ParamSpecUInt, subclass::prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::subclass::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo, subclass::prelude::*};

use crate::shared::KeySettings;
use crate::shared::{
    Depth, follow_controls, layout_of, live, lock, pad_templates, picture_mut, value_of,
    with_samples,
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

/// Values of the element's properties.
#[derive(Clone)]
struct Settings {
    key: KeySettings,
    payload: Option<String>,
    strength: Strength,
    epoch: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let strength = Strength { target_psnr: 45.0, texture_aware: true };
        Self { key: KeySettings::default(), payload: None, strength, epoch: 0 }
    }
}

impl Settings {
    fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "payload" => self.payload = value_of(value)?,
            "target-psnr" => self.strength.target_psnr = value_of(value)?,
            "texture-aware" => self.strength.texture_aware = value_of(value)?,
            "epoch" => self.epoch = value_of(value)?,
            _ => return self.key.set(name, value).unwrap_or(Ok(())),
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "payload" => self.payload.to_value(),
            "target-psnr" => self.strength.target_psnr.to_value(),
            "texture-aware" => self.strength.texture_aware.to_value(),
            "epoch" => self.epoch.to_value(),
            _ => return self.key.get(name),
        })
    }

    /// Parses the property `payload`.
    fn payload(&self) -> Result<Payload, String> {
        match &self.payload {
            Some(text) => text.parse().map_err(|err| format!("payload '{text}': {err}")),
            None => Err("no payload: set the property payload to 16 hex digits".to_owned()),
        }
    }
}

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
    layout: Option<(Format, Depth)>,
    /// Strength for the next frame.
    strength: Option<Strength>,
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
        static PROPERTIES: LazyLock<Vec<ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            let mut properties = KeySettings::properties();
            properties.extend([
                ParamSpecString::builder("payload")
                    .nick("Payload")
                    .blurb(
                        "64-bit payload to hide, as 16 hex digits; a change takes effect at the \
                         next hop, within 24 frames",
                    )
                    .mutable_playing()
                    .build(),
                live(
                    "target-psnr",
                    "Target PSNR",
                    "Lowest luma PSNR of marked frames in dB; flat frames are marked more weakly",
                    [30.0, 60.0],
                    default.strength.target_psnr,
                ),
                ParamSpecBoolean::builder("texture-aware")
                    .nick("Texture aware")
                    .blurb("Embed more strongly in textured areas and more weakly in flat ones")
                    .default_value(default.strength.texture_aware)
                    .controllable()
                    .mutable_playing()
                    .build(),
                ParamSpecUInt::builder("epoch")
                    .nick("Epoch")
                    .blurb(
                        "Key epoch: the carriers depend on the key and on this number; detectors \
                         try the lowest numbers",
                    )
                    .default_value(default.epoch)
                    .mutable_ready()
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
        let embedder = Embedder::new(key, settings.epoch, payload)
            .map_err(|err| gst::error_msg!(gst::ResourceError::Failed, ("{}", err)))?;
        *lock(&self.state) = State { embedder: Some(embedder), ..Default::default() };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        follow_controls(self.obj().upcast_ref(), *CAT, inbuf);
        let settings = lock(&self.settings).clone();
        let mut state = lock(&self.state);
        state.strength = Some(settings.strength);
        if let Some(embedder) = &mut state.embedder {
            match settings.payload() {
                Ok(payload) => embedder.change(payload),
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
        let strength = strength.unwrap_or(Settings::default().strength);
        let taken = with_samples!(*depth, T => {
            picture_mut::<T>(frame, *format).map(|mut picture| embedder.process(&mut picture, &strength))
        });
        let taken = taken.map_err(|err| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("Cannot mark a frame: {err}"));
            gst::FlowError::Error
        })?;
        let failure = embedder.take_failure();
        drop(state);
        if let Some(err) = failure {
            gst::warning!(
                CAT,
                imp = self,
                "The mask network failed, falling back to the analytic mask: {err}"
            );
        }
        if let Some(payload) = taken {
            gst::info!(CAT, imp = self, "Embedding payload {payload} from {}", pts.display());
            let structure = gst::Structure::builder("watermark-embedding")
                .field("payload", payload.to_string())
                .field("timestamp", pts.map_or(u64::MAX, gst::ClockTime::nseconds))
                .build();
            let obj = self.obj();
            let _ = obj.post_message(gst::message::Element::builder(structure).src(&*obj).build());
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
