use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo, VideoInterlaceMode, subclass::prelude::*};

use super::settings::{self, Settings};
use crate::{
    element::{
        MIN_INTERLACED_HEIGHT, ModelSettings, Quality, RegionMask, Timing, ends_a_scene, follow_controls, format_of,
        is_interlaced, is_region_mask, lock, pad_templates, picture, picture_mut,
    },
    frame::{Format, Picture, PictureMut, Regions},
    nn::{self, Network},
    smooth::{self, Parameters, Smoother},
};

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("cnnsmooth", gst::DebugColorFlags::empty(), Some("CNN texture smoother")));

#[derive(Debug, Default)]
pub struct CnnSmooth {
    settings: Mutex<Settings>,
    published: Mutex<Published>,
    /// Used by the streaming thread, and where that is known to stand still.
    state: Mutex<State>,
    /// The next frame does not continue the last one.
    reset: AtomicBool,
}

/// What other threads may ask for.
#[derive(Debug, Default)]
struct Published {
    timing: Timing,
    backend: String,
}

impl Published {
    fn stats(&self) -> gst::Structure {
        gst::Structure::builder("cnnsmooth-stats")
            .field("frames", self.timing.frames())
            .field("dropped", self.timing.dropped())
            .field("mean-ms", self.timing.mean_ms())
            .field("p99-ms", self.timing.p99_ms())
            .field("backend", &self.backend)
            .build()
    }
}

#[derive(Default)]
struct State {
    network: Option<Arc<dyn Network>>,
    stream: Option<Stream>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// What belongs to the caps that are negotiated.
struct Stream {
    format: Format,
    smoother: Smoother,
    parameters: Parameters,
    /// Factors on the strength inside and outside of regions.
    factors: [f32; 2],
}

impl CnnSmooth {
    /// Loads what the settings ask for.
    fn load(settings: &ModelSettings) -> Result<Arc<dyn Network>, nn::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        match &settings.model_file {
            Some(path) => smooth::from_file(path.clone(), device, precision),
            None => smooth::built_in(device, precision),
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
            "stats" => lock(&self.published).stats().to_value(),
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
                "Smooths texture up to a chosen scale away and keeps structure",
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
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).model.clone();
        if settings.quality != Quality::Fast && settings.model_file.is_none() {
            gst::warning!(CAT, imp = self, "There is no network for quality {:?} yet, using fast", settings.quality);
        }
        let network = Self::load(&settings).map_err(|err| settings.error(&err))?;
        gst::info!(CAT, imp = self, "Running on {}", network.backend());
        *lock(&self.published) = Published { backend: network.backend(), ..Default::default() };
        *lock(&self.state) = State { network: Some(network), stream: None };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if ends_a_scene(&event) {
            self.reset.store(true, Ordering::Release);
        }
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
        let obj = self.obj();
        follow_controls(obj.upcast_ref(), *CAT, inbuf);
        let (parameters, factors) = {
            let settings = lock(&self.settings);
            (settings.parameters(), settings.factors())
        };
        obj.set_passthrough(parameters.strength == 0.0);
        if parameters.strength == 0.0 {
            // What passes by unseen is missing from the past.
            self.reset.store(true, Ordering::Release);
        } else {
            lock(&self.published).timing.arrive();
        }
        if let Some(stream) = &mut lock(&self.state).stream {
            (stream.parameters, stream.factors) = (parameters, factors);
        }
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
        let settings = lock(&self.settings).clone();
        let mut state = lock(&self.state);
        state.stream = None;
        let format = format_of(in_info.format())
            .ok_or_else(|| gst::loggable_error!(CAT, "No support for {:?}", in_info.format()))?;
        let Some(network) = state.network.clone() else {
            return Err(gst::loggable_error!(CAT, "Not started"));
        };
        let smoother = Smoother::new(network, settings.model.threads as usize).and_then(|mut smoother| {
            let fields = if in_info.interlace_mode() == VideoInterlaceMode::Interleaved { 2 } else { 1 };
            smoother.prepare(in_info.width() as usize, (in_info.height() as usize).div_ceil(fields))?;
            Ok(smoother)
        });
        let smoother = smoother.map_err(|err| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("Cannot smooth {} of {}x{}: {err}", in_info.format(), in_info.width(), in_info.height())
            );
            gst::loggable_error!(CAT, "Cannot smooth {in_info:?}: {err}")
        })?;
        state.stream =
            Some(Stream { format, smoother, parameters: settings.parameters(), factors: settings.factors() });
        Ok(())
    }

    fn transform_frame(
        &self,
        inframe: &VideoFrameRef<&gst::BufferRef>,
        outframe: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let start = Instant::now();
        let failed = |reason: &dyn std::fmt::Display| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("Cannot smooth a frame: {reason}"));
            gst::FlowError::Error
        };
        // Alpha, padding bytes and whatever else is not touched.
        inframe.copy(outframe).map_err(|err| failed(&err))?;

        let mut state = lock(&self.state);
        let stream = state.stream.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let discont = inframe.buffer().flags().contains(gst::BufferFlags::DISCONT);
        if self.reset.swap(false, Ordering::AcqRel) || discont {
            stream.smoother.reset();
        }
        let input = picture(inframe, stream.format).map_err(|err| failed(&err))?;
        let mut output = picture_mut(outframe, stream.format).map_err(|err| failed(&err))?;
        let size = (inframe.width(), inframe.height());
        let labels = RegionMask::of(inframe.buffer(), size).and_then(|mask| mask.labels(size));
        let [foreground, background] = stream.factors;
        let regions = labels.as_ref().map(|labels| Regions { labels: labels.view(), foreground, background });
        let interlaced = is_interlaced(inframe) && inframe.height() >= MIN_INTERLACED_HEIGHT;
        stream.process(&input, &mut output, regions, interlaced).map_err(|err| failed(&err))?;
        drop(state);

        lock(&self.published).timing.add(start.elapsed());
        Ok(gst::FlowSuccess::Ok)
    }
}

impl Stream {
    /// Smooths a frame, of interlaced ones each field by itself.
    fn process(
        &mut self,
        input: &Picture<'_, u8>,
        output: &mut PictureMut<'_, u8>,
        regions: Option<Regions<'_>>,
        interlaced: bool,
    ) -> Result<(), smooth::Error> {
        if !interlaced {
            return self.smoother.process(input, output, &self.parameters, regions, 0);
        }
        let field = |parity| regions.map(|regions| regions.field(parity));
        self.smoother.process(&input.field(0), &mut output.field(0), &self.parameters, field(0), 0)?;
        self.smoother.process(&input.field(1), &mut output.field(1), &self.parameters, field(1), 1)
    }
}
