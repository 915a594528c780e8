// SPDX-License-Identifier: MIT OR Apache-2.0

//! GObject implementation of `videoquality`: an aggregator that pairs the frames of a tested stream
//! with those of a reference by running time, compares them and posts messages.

use std::{
    path::Path,
    sync::{LazyLock, Mutex, OnceLock},
};

use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{AggregatorPad, prelude::*, subclass::prelude::*};
use gst_video::{VideoFormat, VideoInfo};

use super::{
    log_file::LogFile,
    output,
    settings::{self, OutputKind, Settings},
    state::{PerStream, State},
    step::Step,
};
use crate::shared::{FORMATS_8BIT, lock};
use cnnvideo::quality::{Alignment, Comparison, Panel};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "videoquality",
        gst::DebugColorFlags::empty(),
        Some("Video quality measures"),
    )
});

/// State of a `videoquality` element.
#[derive(Default)]
pub struct VideoQuality {
    settings: Mutex<Settings>,
    /// Sink pads, set when the object is constructed.
    pads: PerStream<OnceLock<AggregatorPad>>,
    /// Only locked by the source pad's task, or while that task is stopped or flushed. Not locked
    /// while caps, events and frames are pushed: elements downstream can call back.
    state: Mutex<State>,
}

impl VideoQuality {
    /// Returns the sink pads.
    pub(super) fn pads(&self) -> PerStream<&AggregatorPad> {
        let PerStream { reference, test } = &self.pads;
        let [reference, test] =
            [reference, test].map(|pad| pad.get().expect("pads are added on construction"));
        PerStream { reference, test }
    }

    /// Lets the source pad send caps for `output` if those of the tested stream or `output` have
    /// changed.
    pub(super) fn negotiate_output(
        &self,
        state: &mut State,
        output: OutputKind,
    ) -> Result<(), gst::FlowError> {
        let (Some(caps), Some(info)) = (&state.test_caps, &state.infos.test) else {
            return Ok(());
        };
        if state.negotiated == Some(output) {
            return Ok(());
        }
        let caps = match output {
            OutputKind::Test => caps.clone(),
            OutputKind::Panel => {
                VideoInfo::builder(VideoFormat::Rgb, Panel::WIDTH as u32, Panel::HEIGHT as u32)
                    .fps(info.fps())
                    .build()
                    .and_then(|info| info.to_caps())
                    .map_err(|err| self.post_error(&err))?
            }
        };
        state.output.set_caps(caps);
        state.negotiated = Some(output);
        Ok(())
    }

    /// Stores the caps of a sink pad.
    fn set_caps(&self, pad: &AggregatorPad, caps: gst::Caps) -> bool {
        let Ok(info) = VideoInfo::from_caps(&caps) else {
            gst::error!(CAT, imp = self, "Cannot read caps {caps}");
            return false;
        };
        let mut state = lock(&self.state);
        if self.is_test(pad) {
            state.infos.test = Some(info);
            state.test_caps = Some(caps);
            state.negotiated = None;
        } else {
            state.infos.reference = Some(info);
        }
        if let PerStream { reference: Some(a), test: Some(b) } = &state.infos
            && (a.width(), a.height()) != (b.width(), b.height())
        {
            // Only a warning: the other stream's caps may be about to change too. Comparing frames
            // of different sizes is an error.
            gst::warning!(
                CAT,
                imp = self,
                "The reference is {}x{}, the tested stream {}x{}; sizes must be the same",
                a.width(),
                a.height(),
                b.width(),
                b.height()
            );
        }
        true
    }

    /// Returns whether `pad` is the pad of the tested stream.
    fn is_test(&self, pad: &AggregatorPad) -> bool {
        self.pads().test == pad
    }

    /// Pushes an event of the tested stream, after the stream-start, caps and segment that it
    /// needs. It waits where these are not known yet.
    fn pass_event(&self, event: gst::Event) -> bool {
        let output = lock(&self.settings).output;
        let mut state = lock(&self.state);
        if self.negotiate_output(&mut state, output).is_err() {
            return false;
        }
        state.output.add_event(event);
        let outgoing = state.output.take();
        // Elements downstream can call this one while they handle an event.
        drop(state);
        outgoing.push(&self.obj());
        true
    }
}

/// Returns a template for an always pad with all supported formats.
fn pad_template(name: &str, direction: gst::PadDirection) -> gst::PadTemplate {
    let caps = gst_video::VideoCapsBuilder::new().format_list(FORMATS_8BIT).build();
    gst::PadTemplate::with_gtype(
        name,
        direction,
        gst::PadPresence::Always,
        &caps,
        AggregatorPad::static_type(),
    )
    .expect("the template is valid")
}

#[glib::object_subclass]
impl ObjectSubclass for VideoQuality {
    const NAME: &'static str = "GstVideoQuality";
    type Type = super::VideoQuality;
    type ParentType = gst_base::Aggregator;
}

impl ObjectImpl for VideoQuality {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        let PerStream { reference, test } = &self.pads;
        // A link without the name of a pad takes the first one: the tested stream.
        for (name, stored) in [("sink", test), ("reference", reference)] {
            let template = obj.pad_template(name).expect("the class has a template for each pad");
            let pad = gst::PadBuilder::<AggregatorPad>::from_template(&template).name(name).build();
            obj.add_pad(&pad).expect("a new element has no pad of this name");
            stored.set(pad).expect("an object is constructed once");
        }
        output::install_probe(obj.src_pad());
    }

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
        let value = lock(&self.settings).get(pspec.name());
        value.unwrap_or_else(|| pspec.default_value().clone())
    }
}

impl GstObjectImpl for VideoQuality {}

impl ElementImpl for VideoQuality {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Video quality meter",
                "Filter/Analyzer/Video",
                "Compares a video to a reference: MSE, PSNR, SSIM, gradients, histograms, flicker",
                "The gst-plugin-cnnvideo authors",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let all = [
                ("sink", gst::PadDirection::Sink),
                ("reference", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ];
            all.map(|(name, direction)| pad_template(name, direction)).into()
        });
        &TEMPLATES
    }
}

impl AggregatorImpl for VideoQuality {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let comparison = Comparison::new(0)
            .map_err(|err| gst::error_msg!(gst::ResourceError::Failed, ("{}", err)))?;
        let settings = lock(&self.settings).clone();
        let log = settings.log_file.as_deref().map(LogFile::create).transpose().map_err(|err| {
            let path = settings.log_file.as_deref().unwrap_or(Path::new("")).display();
            gst::error_msg!(gst::ResourceError::OpenWrite, ("Cannot write log-file {path}: {err}"))
        })?;
        let alignment = Some(Alignment::new(settings.alignment_range as usize));
        *lock(&self.state) =
            State { comparison: Some(comparison), alignment, log, ..Default::default() };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn flush(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = lock(&self.state);
        let range = lock(&self.settings).alignment_range as usize;
        let old = std::mem::take(&mut *state);
        let State { mut comparison, panel, infos, test_caps, mut output, negotiated, log, .. } =
            old;
        if let Some(comparison) = &mut comparison {
            comparison.reset();
        }
        output.flush();
        let alignment = Some(Alignment::new(range));
        // The caps stay valid.
        *state = State {
            comparison,
            panel,
            infos,
            test_caps,
            output,
            negotiated,
            alignment,
            log,
            ..Default::default()
        };
        if let Some(Err(err)) = state.log.as_mut().map(LogFile::restart) {
            self.end_log(&mut state, &err);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Does nothing: [`Self::negotiate_output`] sets the caps of the source pad with each frame.
    fn negotiate(&self) -> bool {
        true
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        use gst::EventView;
        match event.view() {
            EventView::Caps(caps) => return self.set_caps(pad, caps.caps_owned()),
            EventView::Segment(segment) if self.is_test(pad) => {
                lock(&self.state).output.set_segment(segment.segment());
            }
            // The base class sends one for the first stream.
            EventView::StreamStart(_)
                if self.is_test(pad)
                    && lock(&self.settings).output == OutputKind::Test
                    && lock(&self.state).output.is_ready()
                    && self.obj().src_pad().has_current_caps() =>
            {
                self.pass_event(event.clone());
            }
            EventView::StreamStart(_)
            | EventView::Segment(_)
            | EventView::Gap(_)
            | EventView::Eos(_)
            | EventView::FlushStart(_)
            | EventView::FlushStop(_) => (),
            // Only events of the tested stream pass: the reference is often a copy of that stream,
            // whose events would arrive twice.
            _ if !self.is_test(pad) => return true,
            // Tags such as the orientation do not hold for the panel.
            EventView::Tag(_) if lock(&self.settings).output == OutputKind::Panel => return true,
            _ if event.is_serialized() => return self.pass_event(event),
            _ => (),
        }
        self.parent_sink_event(pad, event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Navigation(navigation) = event.view() {
            // Coordinates in the panel are not those of the tested stream.
            let has_position =
                navigation.structure().is_some_and(|structure| structure.has_field("pointer_x"));
            return (lock(&self.settings).output == OutputKind::Test || !has_position)
                && self.pads().test.push_event(event);
        }
        self.parent_src_event(event)
    }

    fn sink_query(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Caps(caps) = query.view_mut()
            && self.is_test(pad)
            && lock(&self.settings).output == OutputKind::Test
        {
            // The tested stream passes through, so downstream's caps restrict this pad's.
            let accepted = pad.pad_template_caps();
            let accepted = caps.filter().map_or(accepted.clone(), |filter| {
                filter.intersect_with_mode(&accepted, gst::CapsIntersectMode::First)
            });
            let result = self
                .obj()
                .src_pad()
                .peer_query_caps(Some(&accepted))
                .intersect_with_mode(&accepted, gst::CapsIntersectMode::First);
            caps.set_result(&result);
            return true;
        }
        self.parent_sink_query(pad, query)
    }

    fn sink_query_pre_queue(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        // Allocation queries wait behind the frames of a pad. A `tee` upstream asks on one pad
        // before it sends a frame to the other one, for which the frames of the first may wait.
        // The answer does not depend on earlier frames, so it need not wait.
        if query.type_() == gst::QueryType::Allocation {
            return self.sink_query(pad, query);
        }
        self.parent_sink_query_pre_queue(pad, query)
    }

    fn aggregate(&self, timeout: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        let settings = lock(&self.settings).clone();
        let mut state = lock(&self.state);
        let step = self.step(&mut state, &settings, timeout)?;
        if matches!(step, Step::End) {
            self.negotiate_output(&mut state, settings.output)?;
        }
        let outgoing = state.output.take();
        drop(state);
        outgoing.push(&self.obj());
        match step {
            Step::Continue => Ok(gst::FlowSuccess::Ok),
            Step::Push(buffer) => self.finish_buffer(buffer),
            Step::End => Err(gst::FlowError::Eos),
        }
    }
}
