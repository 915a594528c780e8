//! GObject implementation of `videoquality`: an aggregator that pairs the frames of a tested stream
//! with those of a reference by running time, compares them and posts messages.

use std::sync::{LazyLock, Mutex};

use glib::{ParamSpec, ParamSpecEnum, ParamSpecUInt, subclass::prelude::*};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, AggregatorPad, prelude::*, subclass::prelude::*};
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};

use super::{
    message::VideoQualityMessage,
    pairing::{Pairing, pair},
};
use crate::shared::{FORMATS, RegionMask, format_of, lock, picture, value_of};
use cnnvideo::quality::{
    Comparison, Measures, Panel, Running, iou,
    panel::{HEIGHT, WIDTH},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "videoquality",
        gst::DebugColorFlags::empty(),
        Some("Video quality measures"),
    )
});

/// Frame duration assumed if neither buffer has one.
const DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// Output of the source pad.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstVideoQualityOutput")]
pub enum OutputKind {
    /// The tested stream, unchanged.
    #[default]
    #[enum_value(name = "Test: the tested stream, unchanged", nick = "test")]
    Test,
    /// A picture of the comparison, see [`Panel`].
    #[enum_value(
        name = "Panel: both pictures, luma error, gradients, histograms and measures, 1280x720 RGB",
        nick = "panel"
    )]
    Panel,
}

/// Includes the property types in the plugin's documentation.
#[cfg(feature = "doc")]
pub(super) fn mark_for_documentation() {
    use glib::types::StaticType;
    OutputKind::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
}

/// Values of the properties.
#[derive(Debug, Clone, Copy)]
struct Settings {
    output: OutputKind,
    /// Frame pairs between two messages.
    interval: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { output: OutputKind::default(), interval: 25 }
    }
}

/// State of a `videoquality` element.
#[derive(Default)]
pub struct VideoQuality {
    settings: Mutex<Settings>,
    /// Pad `reference`.
    reference: std::sync::OnceLock<AggregatorPad>,
    /// Pad `sink`, of the tested stream.
    test: std::sync::OnceLock<AggregatorPad>,
    /// Caps of the reference and of the tested stream.
    infos: Mutex<[Option<VideoInfo>; 2]>,
    /// Only locked by the source pad's task, or while that task is stopped or flushed.
    state: Mutex<State>,
}

/// State of the streams.
#[derive(Default)]
struct State {
    /// `None` while the element is stopped.
    comparison: Option<Comparison>,
    panel: Panel,
    running: Running,
    /// Measures and running time of the last pair.
    last: Option<(Measures, Option<gst::ClockTime>)>,
    /// Number of reference frames and of tested frames without a partner.
    unpaired: [u64; 2],
    /// Output kind and caps of the tested stream that the source pad's caps were set for.
    negotiated: Option<(OutputKind, VideoInfo)>,
    /// Whether the summary was posted.
    told_end: bool,
    /// Whether the warning about the early end of the reference was posted.
    told_alone: bool,
}

impl VideoQuality {
    /// Returns the pads of the reference and of the tested stream.
    fn pads(&self) -> Result<(&AggregatorPad, &AggregatorPad), gst::FlowError> {
        Ok((
            self.reference.get().ok_or(gst::FlowError::Error)?,
            self.test.get().ok_or(gst::FlowError::Error)?,
        ))
    }

    /// Posts an error message with `reason`.
    fn failed(&self, reason: &dyn std::fmt::Display) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Format, ("Cannot compare: {reason}"));
        gst::FlowError::Error
    }

    /// Posts a `video-quality` message with the measures of the last pair and the means.
    fn tell(&self, state: &State, summary: bool) {
        let (Some((frame, running_time)), Some(mean)) = (state.last, state.running.mean()) else {
            return;
        };
        let message = VideoQualityMessage {
            frame,
            mean,
            frames: state.running.frames(),
            unpaired_reference: state.unpaired[0],
            unpaired_test: state.unpaired[1],
            summary,
            running_time,
        };
        let obj = self.obj();
        let _ =
            obj.post_message(gst::message::Element::builder((&message).into()).src(&*obj).build());
    }

    /// Posts the summary message at the end of the stream, once.
    fn end(&self, state: &mut State) {
        if std::mem::replace(&mut state.told_end, true) {
            return;
        }
        if state.running.frames() == 0 {
            gst::warning!(
                CAT,
                imp = self,
                "No frame was measured: no reference frame has the running time of a tested frame"
            );
        }
        self.tell(state, true);
    }

    /// Sets the caps of the source pad for `output` and the caps `info` of the tested stream.
    fn negotiate_output(
        &self,
        state: &mut State,
        output: OutputKind,
        info: &VideoInfo,
    ) -> Result<(), gst::FlowError> {
        if state.negotiated.as_ref().is_some_and(|(kind, known)| *kind == output && known == info) {
            return Ok(());
        }
        let own = match output {
            OutputKind::Test => info.clone(),
            OutputKind::Panel => VideoInfo::builder(VideoFormat::Rgb, WIDTH as u32, HEIGHT as u32)
                .fps(info.fps())
                .build()
                .map_err(|err| self.failed(&err))?,
        };
        let caps = own.to_caps().map_err(|err| self.failed(&err))?;
        self.obj().set_src_caps(&caps);
        state.negotiated = Some((output, info.clone()));
        Ok(())
    }

    /// Measures a pair of frames. Returns the panel to push, if one is drawn.
    fn compare(
        &self,
        state: &mut State,
        settings: Settings,
        (reference, test): (&gst::Buffer, &gst::Buffer),
        running_time: Option<gst::ClockTime>,
    ) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let [Some(reference_info), Some(test_info)] = lock(&self.infos).clone() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let frames = [(reference, &reference_info), (test, &test_info)].map(|(buffer, info)| {
            VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(|err| self.failed(&err))
        });
        let [reference_frame, test_frame] = frames;
        let (reference_frame, test_frame) = (reference_frame?, test_frame?);
        let format =
            |info: &VideoInfo| format_of(info.format()).ok_or(gst::FlowError::NotNegotiated);
        let a = picture::<u8>(&reference_frame, format(&reference_info)?)
            .map_err(|err| self.failed(&err))?;
        let b = picture(&test_frame, format(&test_info)?).map_err(|err| self.failed(&err))?;
        let State { comparison: Some(comparison), panel, running, .. } = state else {
            return Err(gst::FlowError::Flushing);
        };
        let mut measures = comparison.measure(&a, &b).map_err(|err| self.failed(&err))?;
        let labels = [(reference, &reference_info), (test, &test_info)].map(|(buffer, info)| {
            let size = (info.width(), info.height());
            RegionMask::of(buffer, size)?.labels(size)
        });
        if let [Some(a), Some(b)] = &labels {
            measures.iou = iou(&a.view(), &b.view());
        }
        running.add(&measures);
        let mean = running.mean().unwrap_or(measures);
        let drawn = (settings.output == OutputKind::Panel).then(|| {
            let rows = panel.draw(&a, &b, comparison, &measures, &mean);
            let mut buffer = gst::Buffer::from_mut_slice(rows.to_vec());
            if let Some(own) = buffer.get_mut() {
                let _ = test.copy_into(
                    own,
                    gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::FLAGS,
                    ..,
                );
            }
            buffer
        });
        drop((a, b));
        drop((reference_frame, test_frame));
        state.last = Some((measures, running_time));
        if state.running.frames().is_multiple_of(u64::from(settings.interval)) {
            self.tell(state, false);
        }
        Ok(drawn)
    }
}

/// Returns a template for an always pad with all supported formats.
fn pad_template(name: &str, direction: gst::PadDirection) -> Option<gst::PadTemplate> {
    let caps = gst_video::VideoCapsBuilder::new().format_list(FORMATS).build();
    gst::PadTemplate::with_gtype(
        name,
        direction,
        gst::PadPresence::Always,
        &caps,
        AggregatorPad::static_type(),
    )
    .ok()
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
        for (name, own) in [("reference", &self.reference), ("sink", &self.test)] {
            let Some(template) = obj.pad_template(name) else { continue };
            let pad = gst::PadBuilder::<AggregatorPad>::from_template(&template).name(name).build();
            if obj.add_pad(&pad).is_ok() {
                let _ = own.set(pad);
            }
        }
    }

    fn properties() -> &'static [ParamSpec] {
        static PROPERTIES: LazyLock<Vec<ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            vec![
                ParamSpecEnum::builder_with_default("output", default.output)
                    .nick("Output")
                    .blurb("Output of the source pad")
                    .mutable_ready()
                    .build(),
                ParamSpecUInt::builder("interval")
                    .nick("Interval")
                    .blurb("Frame pairs between two messages; a summary is always posted at EOS")
                    .minimum(1)
                    .default_value(default.interval)
                    .mutable_playing()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &ParamSpec) {
        let mut settings = lock(&self.settings);
        let result = match pspec.name() {
            "output" => value_of(value).map(|output| settings.output = output),
            _ => value_of(value).map(|interval| settings.interval = interval),
        };
        if let Err(err) = result {
            gst::error!(CAT, imp = self, "Cannot set {}: {err}", pspec.name());
        }
    }

    fn property(&self, _id: usize, pspec: &ParamSpec) -> glib::Value {
        let settings = *lock(&self.settings);
        match pspec.name() {
            "output" => settings.output.to_value(),
            _ => settings.interval.to_value(),
        }
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
                ("reference", gst::PadDirection::Sink),
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ];
            all.into_iter().filter_map(|(name, direction)| pad_template(name, direction)).collect()
        });
        &TEMPLATES
    }
}

impl AggregatorImpl for VideoQuality {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let comparison = Comparison::new(0)
            .map_err(|err| gst::error_msg!(gst::ResourceError::Failed, ("{}", err)))?;
        *lock(&self.state) = State { comparison: Some(comparison), ..Default::default() };
        *lock(&self.infos) = Default::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn flush(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = lock(&self.state);
        state.told_end = false;
        if let Some(comparison) = &mut state.comparison {
            comparison.reset();
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Does nothing: [`Self::negotiate_output`] sets the caps of the source pad with each frame.
    fn negotiate(&self) -> bool {
        true
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        if let gst::EventView::Caps(caps) = event.view() {
            let Ok(info) = VideoInfo::from_caps(caps.caps()) else {
                gst::error!(CAT, imp = self, "Cannot read caps {}", caps.caps());
                return false;
            };
            let mut infos = lock(&self.infos);
            infos[usize::from(pad.name() == "sink")] = Some(info);
            if let [Some(a), Some(b)] = &*infos
                && (a.width(), a.height()) != (b.width(), b.height())
            {
                // Only a warning: the other stream's caps may be about to change too. Comparing
                // frames of different sizes is an error.
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
            return true;
        }
        self.parent_sink_event(pad, event)
    }

    fn sink_query(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Caps(caps) = query.view_mut()
            && pad.name() == "sink"
            && lock(&self.settings).output == OutputKind::Test
        {
            // The tested stream passes through, so downstream's caps restrict this pad's.
            let own = pad.pad_template_caps();
            let own = caps.filter().map_or(own.clone(), |filter| {
                filter.intersect_with_mode(&own, gst::CapsIntersectMode::First)
            });
            let result = self
                .obj()
                .src_pad()
                .peer_query_caps(Some(&own))
                .intersect_with_mode(&own, gst::CapsIntersectMode::First);
            caps.set_result(&result);
            return true;
        }
        self.parent_sink_query(pad, query)
    }

    fn aggregate(&self, timeout: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        let settings = *lock(&self.settings);
        let (reference_pad, test_pad) = self.pads()?;
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let Some(test) = test_pad.peek_buffer() else {
            if test_pad.is_eos() {
                self.end(state);
                return Err(gst::FlowError::Eos);
            }
            // Without a tested frame there is nothing to push, not even after a timeout.
            return Err(AGGREGATOR_FLOW_NEED_DATA);
        };
        let reference = reference_pad.peek_buffer();
        if reference.is_none() && !reference_pad.is_eos() && !timeout {
            return Err(AGGREGATOR_FLOW_NEED_DATA);
        }
        let test_segment = test_pad.segment();
        let time = |pad: &AggregatorPad, buffer: &gst::Buffer| {
            let segment = pad.segment().downcast::<gst::ClockTime>().ok()?;
            segment.to_running_time(buffer.pts())
        };
        let test_time = time(test_pad, &test);
        let pairing = match &reference {
            None => Pairing::PassTest,
            Some(reference) => match (time(reference_pad, reference), test_time) {
                (Some(a), Some(b)) => {
                    // The shorter duration: if two frames fall into one longer frame, only the
                    // nearer is its partner.
                    let durations = [test.duration(), reference.duration()].into_iter().flatten();
                    let duration = durations.min().unwrap_or(DURATION);
                    pair(a.nseconds(), b.nseconds(), duration.nseconds())
                }
                // Streams without timestamps are paired in order of arrival.
                (None, None) => Pairing::Both,
                (None, Some(_)) => Pairing::SkipReference,
                (Some(_), None) => Pairing::PassTest,
            },
        };
        if pairing == Pairing::SkipReference {
            reference_pad.drop_buffer();
            state.unpaired[0] += 1;
            return Ok(gst::FlowSuccess::Ok);
        }
        let Some(test_info) = lock(&self.infos)[1].clone() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let mut output = None;
        if pairing == Pairing::Both
            && let Some(reference) = &reference
        {
            output = self.compare(state, settings, (reference, &test), test_time)?;
            reference_pad.drop_buffer();
        } else {
            state.unpaired[1] += 1;
            if reference_pad.is_eos() && !std::mem::replace(&mut state.told_alone, true) {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Failed,
                    ("The reference ended first; the remaining tested frames are not measured")
                );
            }
        }
        test_pad.drop_buffer();
        if settings.output == OutputKind::Panel && output.is_none() {
            // There is no panel without a partner; the gap event lets downstream's running time
            // advance.
            let gap = gst::event::Gap::builder(test.pts().unwrap_or_default())
                .duration(test.duration())
                .build();
            drop(guard);
            self.obj().src_pad().push_event(gap);
            return Ok(gst::FlowSuccess::Ok);
        }
        self.negotiate_output(state, settings.output, &test_info)?;
        drop(guard);
        let obj = self.obj();
        if obj.src_pad().segment() != test_segment
            && let Some(segment) = test_segment.downcast_ref::<gst::ClockTime>()
        {
            obj.update_segment(segment);
        }
        self.finish_buffer(output.unwrap_or(test))
    }
}
