// SPDX-License-Identifier: MIT OR Apache-2.0

//! Implementation of video filter elements that process one frame at a time with a model.
//!
//! [`FrameFilter`] implements the virtual methods of GObject, `GstElement`, `GstBaseTransform` and
//! `GstVideoFilter` for all of them. An element adds its properties ([`FilterSettings`]), its
//! algorithm ([`FrameProcessor`]) and its description and model ([`FilterElement`]), and registers
//! its type with `#[glib::object_subclass]`.

mod caps;
mod delay;
mod layout;
mod pace;
mod processor;
mod queue;
mod stream;

use std::sync::Mutex;

use glib::{ParamSpec, subclass::prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use gst_video::{VideoFilter, VideoInfo, subclass::prelude::*};

use self::{queue::FrameQueue, stream::FrameStream};
use super::{MAX_SIDE, ModelSettings, QualityPreset, describes_memory, lock, pad_templates};
use cnnvideo::nn;

pub(crate) use self::{
    layout::components_cover_planes,
    pace::FramePace,
    processor::{FrameProcessor, FrameSettings, RegionFactors},
};

/// Model of a filter element.
type Model<E> = <<E as FilterElement>::Processor as FrameProcessor>::Model;
/// Report of a filter element.
type Report<E> = <<E as FilterElement>::Processor as FrameProcessor>::Report;

/// Properties of a filter element.
pub trait FilterSettings: Default + Send + 'static {
    /// Parameters of the algorithm that follow from the properties.
    type Parameters: Send;

    /// Returns the specifications of all properties, read-only ones included, in their order.
    fn properties() -> Vec<ParamSpec>;

    /// Sets the writable property `name`.
    ///
    /// # Errors
    /// An invalid value. An unknown name or a value of another type does not occur, because GObject
    /// checks both before.
    fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String>;

    /// Returns the value of the writable property `name`, or `None` if there is no such property or
    /// its value follows from the report on the last frame.
    fn get(&self, name: &str) -> Option<glib::Value>;

    /// Returns the model properties.
    fn model(&self) -> &ModelSettings;

    /// Returns the number of future frames that each frame waits for.
    fn lookahead(&self) -> usize {
        0
    }

    /// Returns the settings for the next frame.
    fn frame_settings(&self) -> FrameSettings<Self::Parameters>;
}

/// What distinguishes a filter element from the others.
pub trait FilterElement: Sized + 'static {
    /// The element's GObject type.
    type Object: IsA<glib::Object>
        + IsA<gst::Object>
        + IsA<gst::Element>
        + IsA<gst_base::BaseTransform>
        + IsA<VideoFilter>;
    /// Properties of the element.
    type Settings: FilterSettings<Parameters = <Self::Processor as FrameProcessor>::Parameters>;
    /// Algorithm of the element.
    type Processor: FrameProcessor;

    /// Quality presets that have a built-in model. The element uses the model of
    /// [`QualityPreset::Fast`] for the others, with a warning.
    const QUALITY_PRESETS: &'static [QualityPreset];

    /// Returns the element's class data, the same at each call.
    fn class() -> &'static FilterClass;

    /// Loads the model that the settings select.
    ///
    /// # Errors
    /// An unknown or missing device, or a model that does not load.
    fn load_model(settings: &ModelSettings) -> Result<Model<Self>, nn::Error>;

    /// Returns the name of the backend and device that a model runs on.
    fn backend(model: &Model<Self>) -> String;

    /// Returns the value of a read-only property that is part of the report on the last frame, or
    /// `None` if `name` is not such a property. The property `stats` is not one of them.
    fn report_property(_report: &Report<Self>, _name: &str) -> Option<glib::Value> {
        None
    }

    /// Adds fields for the report on the last frame to the value of the property `stats`.
    fn add_report(
        stats: gst::structure::Builder,
        _report: &Report<Self>,
    ) -> gst::structure::Builder {
        stats
    }
}

/// Class data of a filter element, created once.
pub struct FilterClass {
    /// Factory name. The debug category has the same name.
    name: &'static str,
    category: gst::DebugCategory,
    metadata: gst::subclass::ElementMetadata,
    properties: Vec<ParamSpec>,
    pad_templates: Vec<gst::PadTemplate>,
}

impl FilterClass {
    /// Creates the class data of the element with the factory name `name` and the properties of
    /// `S`. `long_name` also describes the debug category.
    pub fn new<S: FilterSettings>(
        name: &'static str,
        long_name: &'static str,
        description: &str,
    ) -> Self {
        Self {
            name,
            category: gst::DebugCategory::new(name, gst::DebugColorFlags::empty(), Some(long_name)),
            metadata: gst::subclass::ElementMetadata::new(
                long_name,
                "Filter/Effect/Video",
                description,
                "The gst-plugin-cnnvideo authors",
            ),
            properties: S::properties(),
            pad_templates: pad_templates(),
        }
    }
}

/// Private implementation struct of the filter element `E`.
pub struct FrameFilter<E: FilterElement> {
    /// Writable properties.
    settings: Mutex<E::Settings>,
    /// Streaming state.
    stream: FrameStream<E::Processor>,
    /// Frames that wait for future frames.
    queue: Mutex<FrameQueue>,
}

impl<E: FilterElement> Default for FrameFilter<E> {
    fn default() -> Self {
        Self { settings: Mutex::default(), stream: FrameStream::default(), queue: Mutex::default() }
    }
}

impl<E: FilterElement> FrameFilter<E> {
    /// Returns the value of the property `stats`.
    fn stats(&self) -> gst::Structure {
        let name = format!("{}-stats", E::class().name);
        let waiting = lock(&self.queue).frames().count();
        self.stream.stats(&name, waiting, E::add_report).build()
    }

    /// Returns the settings for the next frame.
    fn frame_settings(&self) -> FrameSettings<<E::Processor as FrameProcessor>::Parameters> {
        lock(&self.settings).frame_settings()
    }
}

impl<E: FilterElement> ObjectImpl for FrameFilter<E>
where
    Self: ObjectSubclass<Type = E::Object, ParentType = VideoFilter>,
{
    fn properties() -> &'static [ParamSpec] {
        &E::class().properties
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &ParamSpec) {
        let result = lock(&self.settings).set(pspec.name(), value);
        if let Err(err) = result {
            gst::element_imp_warning!(
                self,
                gst::LibraryError::Settings,
                ("Cannot set {}: {err}", pspec.name())
            );
        }
    }

    fn property(&self, _id: usize, pspec: &ParamSpec) -> glib::Value {
        let name = pspec.name();
        if name == "stats" {
            return self.stats().to_value();
        }
        let setting = lock(&self.settings).get(name);
        setting
            .or_else(|| self.stream.with_report(|report| E::report_property(report, name)))
            .expect("every readable property is in the settings or in the report")
    }
}

impl<E: FilterElement> GstObjectImpl for FrameFilter<E>
where
    Self: ObjectSubclass<Type = E::Object, ParentType = VideoFilter>,
{
    // The default implementation suffices.
}

impl<E: FilterElement> ElementImpl for FrameFilter<E>
where
    Self: ObjectSubclass<Type = E::Object, ParentType = VideoFilter>,
{
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        Some(&E::class().metadata)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        &E::class().pad_templates
    }
}

impl<E: FilterElement> BaseTransformImpl for FrameFilter<E>
where
    Self: ObjectSubclass<Type = E::Object, ParentType = VideoFilter>,
{
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let category = E::class().category;
        let (settings, lookahead) = {
            let settings = lock(&self.settings);
            (settings.model().clone(), settings.lookahead())
        };
        *lock(&self.queue) = FrameQueue::new(lookahead);
        if settings.model_file.is_none() && !E::QUALITY_PRESETS.contains(&settings.quality) {
            gst::warning!(
                category,
                imp = self,
                "No built-in network for quality {:?}, using fast",
                settings.quality
            );
        }
        let model = E::load_model(&settings).map_err(|err| settings.load_error(&err))?;
        let backend = E::backend(&model);
        gst::info!(category, imp = self, "Running on {backend}");
        self.stream.start(model, backend, lookahead);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        lock(&self.queue).clear();
        self.stream.stop();
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        self.delayed_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        self.stream.src_event(&event);
        self.parent_src_event(event)
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Drain(_) = query.view_mut()
            && self.drain().is_err()
        {
            return false;
        }
        if !BaseTransformImplExt::parent_query(self, direction, query) {
            return false;
        }
        if let gst::QueryViewMut::Latency(latency) = query.view_mut() {
            self.add_latency(latency);
        }
        true
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
        // The size of an input buffer does not matter: its rows may be padded (`GstVideoMeta`).
        VideoInfo::from_caps(othercaps).ok().map(|info| info.size())
    }

    fn accept_caps(&self, direction: gst::PadDirection, caps: &gst::Caps) -> bool {
        if direction == gst::PadDirection::Sink
            && let Some((width, height)) = size_beyond_limit(caps)
        {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "Cannot {} video of {width}x{height}: width and height are limited to \
                     {MAX_SIDE}; scale it down first",
                    <E::Processor as FrameProcessor>::VERB
                )
            );
            return false;
        }
        self.parent_accept_caps(direction, caps)
    }

    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        self.stream.set_reads_video_meta(query);
        self.parent_decide_allocation(query)
    }

    /// Keeps each meta that does not describe the memory of the input, such as region masks and
    /// captions: the output has the size, orientation and content of the input.
    fn transform_meta<'a>(
        &self,
        _outbuf: &mut gst::BufferRef,
        meta: gst::MetaRef<'a, gst::Meta>,
        _inbuf: &'a gst::BufferRef,
    ) -> bool {
        !describes_memory(&meta)
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        let settings = || self.frame_settings();
        self.stream.before_transform(self.obj().upcast_ref(), E::class().category, inbuf, settings);
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        if self.lookahead() > 0 {
            return self.generate_delayed_output();
        }
        if self.queued_buffer().is_some_and(|buffer| self.stream.passes_through(&buffer)) {
            let buffer = self.take_queued_buffer();
            return Ok(
                buffer.map_or(GenerateOutputSuccess::NoOutput, GenerateOutputSuccess::Buffer)
            );
        }
        self.parent_generate_output()
    }

    // Replaces the function of `GstVideoFilter`, which outputs an uninitialised frame if it cannot
    // map the input.
    fn transform(
        &self,
        inbuf: &gst::Buffer,
        outbuf: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if self.stream.starts_scene(self.obj().upcast_ref(), inbuf) {
            self.stream.reset_processor();
        }
        self.stream.transform(self.obj().upcast_ref(), inbuf, outbuf)
    }
}

impl<E: FilterElement> VideoFilterImpl for FrameFilter<E>
where
    Self: ObjectSubclass<Type = E::Object, ParentType = VideoFilter>,
{
    fn set_info(
        &self,
        _incaps: &gst::Caps,
        in_info: &VideoInfo,
        _outcaps: &gst::Caps,
        out_info: &VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let threads = lock(&self.settings).model().threads as usize;
        self.stream.set_info(
            self.obj().upcast_ref(),
            E::class().category,
            [in_info, out_info],
            threads,
            self.frame_settings(),
        )?;
        if self.lookahead() > 0 {
            let _ = self.obj().post_message(gst::message::Latency::new());
            self.look_ahead_again()?;
        }
        Ok(())
    }
}

/// Returns the width and height of fixed video caps if one of them exceeds [`MAX_SIDE`].
fn size_beyond_limit(caps: &gst::Caps) -> Option<(i32, i32)> {
    let structure = caps.structure(0).filter(|_| caps.is_fixed())?;
    let [width, height] = ["width", "height"].map(|name| structure.get::<i32>(name).ok());
    let (width, height) = (width?, height?);
    (width.max(height) > MAX_SIDE as i32).then_some((width, height))
}
