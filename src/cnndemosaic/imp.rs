// SPDX-License-Identifier: MIT OR Apache-2.0

//! Implementation of the `cnndemosaic` element.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use glib::{ParamSpec, subclass::prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::subclass::prelude::*;
use gst_video::VideoInfo;

use super::{
    caps::{self, RawInfo},
    settings::Settings,
    stream::Stream,
};
use crate::shared::{
    ModelSettings, Timing, describes_memory, is_discontinuity, lock, sync_controlled_properties,
};
use cnnvideo::{
    demosaic::{self, Demosaicer, Parameters},
    nn::{self, Network},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("cnndemosaic", gst::DebugColorFlags::empty(), Some("CNN demosaicker"))
});

/// Private implementation struct of [`super::CnnDemosaic`].
#[derive(Default)]
pub struct CnnDemosaic {
    settings: Mutex<Settings>,
    /// Locked by the streaming thread during a frame, and by state changes, which run while the
    /// streaming thread is stopped.
    state: Mutex<State>,
    /// Locked briefly, never during inference.
    statistics: Mutex<Statistics>,
    /// Whether the noise estimate must be discarded before the next frame.
    reset: AtomicBool,
}

/// State of a started element.
#[derive(Default)]
struct State {
    network: Option<Arc<dyn Network>>,
    stream: Option<Stream>,
    /// Parameters for the next frame.
    parameters: Parameters,
}

/// Results that other threads may read.
#[derive(Default)]
struct Statistics {
    timing: Timing,
    backend: String,
    /// Noise sigma of the last frame in 8-bit units.
    noise_level: f32,
}

impl CnnDemosaic {
    /// Returns the value of the property `stats`.
    fn stats(&self) -> gst::Structure {
        let Statistics { timing, backend, noise_level } = &*lock(&self.statistics);
        gst::Structure::builder("cnndemosaic-stats")
            .field("frames", timing.frames())
            .field("dropped", timing.dropped())
            .field("mean-ms", timing.mean_ms())
            .field("p99-ms", timing.p99_ms())
            .field("backend", backend)
            .field("noise-level", noise_level)
            .build()
    }

    /// Creates the streaming state for negotiated caps.
    ///
    /// # Errors
    /// Caps that the element cannot process.
    fn create_stream(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), String> {
        let threads = lock(&self.settings).model.threads as usize;
        let mut state = lock(&self.state);
        state.stream = None;
        let network = state.network.clone().ok_or("the element is not started")?;
        let input = RawInfo::from_caps(incaps).ok_or_else(|| format!("no raw frames: {incaps}"))?;
        let output = VideoInfo::from_caps(outcaps).map_err(|err| err.to_string())?;
        let demosaicer = Demosaicer::new(network, threads).map_err(|err| err.to_string())?;
        let stream = Stream::new(demosaicer, input, output)?;
        lock(&self.statistics).backend = stream.backend();
        state.stream = Some(stream);
        Ok(())
    }
}

/// Loads the model that the settings select.
fn load_model(settings: &ModelSettings) -> Result<Arc<dyn Network>, nn::Error> {
    let device = settings.device.parse()?;
    let precision = settings.precision.into();
    match &settings.model_file {
        Some(path) => demosaic::from_file(path.clone(), device, precision),
        None => demosaic::built_in(device, precision),
    }
}

#[glib::object_subclass]
impl ObjectSubclass for CnnDemosaic {
    const NAME: &'static str = "GstCnnDemosaic";
    type Type = super::CnnDemosaic;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for CnnDemosaic {
    fn constructed(&self) {
        self.parent_constructed();
        // As in video filters: late frames are dropped if downstream reports them.
        self.obj().set_property("qos", true);
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
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        let setting = lock(&self.settings).get(pspec.name());
        setting.expect("every property but stats is a setting")
    }
}

impl GstObjectImpl for CnnDemosaic {}

impl ElementImpl for CnnDemosaic {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "CNN demosaicker",
                "Filter/Converter/Video",
                "Demosaicks and denoises raw frames of a sensor with a Bayer pattern",
                "The gst-plugin-cnnvideo authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let template = |name, direction, caps| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps)
                    .expect("name and caps of the template are valid")
            };
            vec![
                template("src", gst::PadDirection::Src, &caps::source_caps()),
                template("sink", gst::PadDirection::Sink, &caps::sink_caps()),
            ]
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for CnnDemosaic {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).model.clone();
        let network = load_model(&settings).map_err(|err| settings.load_error(&err))?;
        let backend = network.backend();
        gst::info!(CAT, imp = self, "Running on {backend}");
        *lock(&self.statistics) = Statistics { backend, ..Statistics::default() };
        *lock(&self.state) = State { network: Some(network), ..State::default() };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let caps = caps::transform(caps, direction);
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
            None => caps,
        })
    }

    fn transform_size(
        &self,
        _direction: gst::PadDirection,
        _caps: &gst::Caps,
        _size: usize,
        othercaps: &gst::Caps,
    ) -> Option<usize> {
        match RawInfo::from_caps(othercaps) {
            Some(info) => Some(info.bytes()),
            None => VideoInfo::from_caps(othercaps).ok().map(|info| info.size()),
        }
    }

    fn set_caps(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        self.create_stream(incaps, outcaps).map_err(|reason| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("Cannot demosaic this video: {reason}")
            );
            gst::loggable_error!(CAT, "Cannot demosaic {incaps} to {outcaps}: {reason}")
        })
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if is_discontinuity(&event) {
            self.reset.store(true, Ordering::Release);
        }
        self.parent_sink_event(event)
    }

    /// Keeps each meta that does not describe the memory of the input: the output has its size,
    /// orientation and content.
    fn transform_meta<'a>(
        &self,
        _outbuf: &mut gst::BufferRef,
        meta: gst::MetaRef<'a, gst::Meta>,
        _inbuf: &'a gst::BufferRef,
    ) -> bool {
        !describes_memory(&meta)
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        sync_controlled_properties(self.obj().upcast_ref(), *CAT, inbuf);
        let parameters = lock(&self.settings).parameters();
        lock(&self.state).parameters = parameters;
        lock(&self.statistics).timing.frame_arrived();
    }

    fn transform(
        &self,
        inbuf: &gst::Buffer,
        outbuf: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let start = Instant::now();
        let mut state = lock(&self.state);
        let State { stream, parameters, .. } = &mut *state;
        let stream = stream.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        if self.reset.swap(false, Ordering::AcqRel) {
            stream.reset();
        }
        let noise = stream.process(inbuf, outbuf, parameters).map_err(|reason| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Failed,
                ("Cannot demosaic a frame: {reason}")
            );
            gst::FlowError::Error
        })?;
        let mut statistics = lock(&self.statistics);
        statistics.noise_level = noise.sigma;
        statistics.timing.frame_processed(start.elapsed());
        Ok(gst::FlowSuccess::Ok)
    }
}
