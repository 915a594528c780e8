//! Implementation of the `cnndenoise` element. [`Pictures`] does the streaming work; this file maps
//! properties and callbacks to it.

use std::sync::{LazyLock, Mutex};

use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::subclass::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo, subclass::prelude::*};

use super::settings::{self, Settings};
use crate::shared::{
    ModelSettings, Pictures, Process, Quality, Request, is_region_mask, lock, pad_templates,
};
use cnnvideo::{
    denoise::{Denoiser, Error, Levels, Networks, Parameters, Rung},
    frame::{Format, Picture, PictureMut, Regions, Sample},
    nn,
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("cnndenoise", gst::DebugColorFlags::empty(), Some("CNN video denoiser"))
});

impl Process for Denoiser {
    type Model = Networks;
    type Parameters = Parameters;
    type Report = Levels;
    type Error = Error;

    const VERB: &'static str = "denoise";

    fn new(networks: &Networks, format: Format, deep: bool, threads: usize) -> Result<Self, Error> {
        networks.denoiser(format.colour(), deep, threads)
    }

    fn backend(&self) -> String {
        self.backend()
    }

    fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.prepare(width, height)
    }

    fn reset(&mut self) {
        self.reset();
    }

    fn process<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: usize,
    ) -> Result<Levels, Error> {
        self.process(input, output, parameters, regions, field)
    }
}

/// Private implementation struct of [`super::CnnDenoise`].
#[derive(Debug, Default)]
pub struct CnnDenoise {
    /// Writable properties.
    settings: Mutex<Settings>,
    /// Streaming state.
    pictures: Pictures<Denoiser>,
}

impl CnnDenoise {
    /// Loads the networks that the settings select.
    ///
    /// # Errors
    /// An unknown or missing device, or a model that does not load.
    fn load(settings: &ModelSettings) -> Result<Networks, nn::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        match &settings.model_file {
            Some(path) => Networks::from_file(path.clone(), device, precision),
            None => Networks::built_in(rung(settings.quality), device, precision),
        }
    }

    /// Returns the value of the property `stats`.
    fn stats(&self) -> gst::Structure {
        let Levels { main, chroma } = self.pictures.report(|levels| *levels);
        let stats = self.pictures.stats("cnndenoise-stats");
        stats.field("noise-level", main).field("chroma-noise-level", chroma).build()
    }

    /// Returns the current property values for the next frame.
    fn request(&self) -> Request<Parameters> {
        let settings = lock(&self.settings);
        Request {
            parameters: settings.parameters(),
            factors: [settings.foreground_strength, settings.background_strength],
            idle: settings.strength == 0.0,
        }
    }
}

/// Returns the denoiser's preset for a value of the property `quality`.
fn rung(quality: Quality) -> Rung {
    match quality {
        Quality::Fast => Rung::Fast,
        Quality::Balanced => Rung::Balanced,
        Quality::Best => Rung::Best,
    }
}

#[glib::object_subclass]
impl ObjectSubclass for CnnDenoise {
    const NAME: &'static str = "GstCnnDenoise";
    type Type = super::CnnDenoise;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for CnnDenoise {
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
        match pspec.name() {
            "estimated-noise-level" => self.pictures.report(|levels| levels.main).to_value(),
            "stats" => self.stats().to_value(),
            name => lock(&self.settings).get(name).unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for CnnDenoise {}

impl ElementImpl for CnnDenoise {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "CNN video denoiser",
                "Filter/Effect/Video",
                "Removes noise from video with a small convolutional network",
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

impl BaseTransformImpl for CnnDenoise {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).model.clone();
        let networks = Self::load(&settings).map_err(|err| settings.error(&err))?;
        gst::info!(CAT, imp = self, "Running on {}", networks.backend());
        let backend = networks.backend();
        self.pictures.start(networks, backend);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.pictures.stop();
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        self.pictures.event(&event);
        self.parent_sink_event(event)
    }

    fn transform_meta<'a>(
        &self,
        outbuf: &mut gst::BufferRef,
        meta: gst::MetaRef<'a, gst::Meta>,
        inbuf: &'a gst::BufferRef,
    ) -> bool {
        is_region_mask(&meta) || self.parent_transform_meta(outbuf, meta, inbuf)
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        self.pictures.before(self.obj().upcast_ref(), *CAT, inbuf, || self.request());
    }
}

impl VideoFilterImpl for CnnDenoise {
    fn set_info(
        &self,
        _incaps: &gst::Caps,
        in_info: &VideoInfo,
        _outcaps: &gst::Caps,
        _out_info: &VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let threads = lock(&self.settings).model.threads as usize;
        self.pictures.set_info(self.obj().upcast_ref(), *CAT, in_info, threads, self.request())
    }

    fn transform_frame(
        &self,
        inframe: &VideoFrameRef<&gst::BufferRef>,
        outframe: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.pictures.transform(self.obj().upcast_ref(), inframe, outframe)
    }
}
