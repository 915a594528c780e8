//! GObject implementation of `cnnsmooth`: properties, model loading, caps and frame processing.

use std::sync::{Arc, LazyLock, Mutex};

use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::subclass::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo, subclass::prelude::*};

use super::settings::{self, Settings};
use crate::shared::{
    ModelSettings, Pictures, Process, Quality, Request, is_region_mask, lock, pad_templates,
};
use cnnvideo::{
    frame::{Format, Picture, PictureMut, Regions, Sample},
    nn::{self, Network},
    smooth::{self, Error, Parameters, Smoother},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "cnnsmooth",
        gst::DebugColorFlags::empty(),
        Some("CNN texture smoother"),
    )
});

impl Process for Smoother {
    type Model = Arc<dyn Network>;
    type Parameters = Parameters;
    type Report = ();
    type Error = Error;

    const VERB: &'static str = "smooth";

    /// Ignores `format` and `deep`: the network only predicts where to smooth, from 8-bit code
    /// values of any format.
    fn new(
        network: &Arc<dyn Network>,
        _format: Format,
        _deep: bool,
        threads: usize,
    ) -> Result<Self, Error> {
        Self::new(network.clone(), threads)
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
    ) -> Result<(), Error> {
        self.process(input, output, parameters, regions, field)
    }
}

/// State of a `cnnsmooth` element.
#[derive(Debug, Default)]
pub struct CnnSmooth {
    settings: Mutex<Settings>,
    /// Stream state shared by all picture filters.
    pictures: Pictures<Smoother>,
}

impl CnnSmooth {
    /// Loads the model file, or the built-in model if none is set.
    fn load(settings: &ModelSettings) -> Result<Arc<dyn Network>, nn::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        match &settings.model_file {
            Some(path) => smooth::from_file(path.clone(), device, precision),
            None => smooth::built_in(device, precision),
        }
    }

    /// Returns the processing request for the current property values.
    fn request(&self) -> Request<Parameters> {
        let settings = lock(&self.settings);
        Request {
            parameters: settings.parameters(),
            factors: [settings.foreground_strength, settings.background_strength],
            idle: settings.strength == 0.0,
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for CnnSmooth {
    const NAME: &'static str = "GstCnnSmooth";
    type Type = super::CnnSmooth;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for CnnSmooth {
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
            "stats" => self.pictures.stats("cnnsmooth-stats").build().to_value(),
            name => lock(&self.settings).get(name).unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for CnnSmooth {}

impl ElementImpl for CnnSmooth {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "CNN texture smoother",
                "Filter/Effect/Video",
                "Removes texture up to a chosen scale and keeps edges and other structure",
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

impl BaseTransformImpl for CnnSmooth {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).model.clone();
        if settings.quality != Quality::Fast && settings.model_file.is_none() {
            gst::warning!(
                CAT,
                imp = self,
                "No built-in network for quality {:?}, using fast",
                settings.quality
            );
        }
        let network = Self::load(&settings).map_err(|err| settings.error(&err))?;
        gst::info!(CAT, imp = self, "Running on {}", network.backend());
        let backend = network.backend();
        self.pictures.start(network, backend);
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

impl VideoFilterImpl for CnnSmooth {
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
