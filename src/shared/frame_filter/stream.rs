// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streaming state of a filter element ([`FrameStream`]): runs its [`FrameProcessor`] on each frame
//! and collects statistics.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gst_base::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo, VideoInterlaceMode, VideoMeta};

use super::{
    FrameProcessor, FrameSettings, RegionFactors,
    layout::{components_cover_planes, copy_frame, is_packed, scan_of, scan_of_input},
    pace::Pace,
};
use crate::shared::{
    Continuity, FrameTimes, RegionMask, SampleDepth, Scan, Timing, is_discontinuity, layout_of,
    lock, map_frame, map_frame_mut, sync_controlled_properties, view_scan, view_scan_mut,
    with_sample_pairs, with_samples,
};
use cnnvideo::frame::{Field, Format, Picture, PictureMut, Sample};

/// Streaming state of an element that runs the algorithm `P`.
pub(super) struct FrameStream<P: FrameProcessor> {
    /// Results for property reads; locked briefly, never during inference.
    statistics: Mutex<Statistics<P::Report>>,
    /// Locked by the streaming thread during a frame, and by `start` and `stop`, which run while
    /// the streaming thread is stopped.
    state: Mutex<State<P>>,
    /// Whether the temporal state must be reset before the next frame.
    reset: AtomicBool,
    /// Whether downstream reads the strides and offsets in video metas.
    reads_video_meta: AtomicBool,
    /// Whether downstream has reported a late frame since the last processed one.
    late_downstream: AtomicBool,
}

/// Results that other threads may read.
#[derive(Default)]
struct Statistics<R> {
    report: R,
    timing: Timing,
    /// Time of [`FrameStream::look_ahead`] that the next processed frame counts.
    look_ahead_time: Duration,
    backend: String,
}

/// State of a started element.
struct State<P: FrameProcessor> {
    model: Option<P::Model>,
    /// Number of future frames that each frame waits for.
    lookahead: usize,
    negotiated: Option<Negotiated<P>>,
}

/// State that depends on the negotiated caps.
struct Negotiated<P: FrameProcessor> {
    /// Caps of the input and of the output.
    infos: [VideoInfo; 2],
    /// Layout of both formats.
    format: Format,
    /// Storage of the samples of the input and of the output.
    depths: [SampleDepth; 2],
    processor: P,
    settings: FrameSettings<P::Parameters>,
    continuity: Continuity,
    pace: Pace,
}

impl<P: FrameProcessor> Default for FrameStream<P> {
    fn default() -> Self {
        Self {
            statistics: Mutex::default(),
            state: Mutex::new(State { model: None, lookahead: 0, negotiated: None }),
            reset: AtomicBool::new(false),
            reads_video_meta: AtomicBool::new(false),
            late_downstream: AtomicBool::new(false),
        }
    }
}

impl<P: FrameProcessor> FrameStream<P> {
    /// Starts the element with its loaded model, the name of its backend and the number of future
    /// frames that each frame waits for. Resets the statistics.
    pub(super) fn start(&self, model: P::Model, backend: String, lookahead: usize) {
        *lock(&self.statistics) = Statistics { backend, ..Default::default() };
        *lock(&self.state) = State { model: Some(model), lookahead, negotiated: None };
        self.late_downstream.store(false, Ordering::Release);
    }

    /// Stops the element and drops its model.
    pub(super) fn stop(&self) {
        *lock(&self.state) = State { model: None, lookahead: 0, negotiated: None };
    }

    /// Handles a source event: notes a frame that downstream reports as late.
    pub(super) fn src_event(&self, event: &gst::Event) {
        if let gst::EventView::Qos(qos) = event.view()
            && let (gst::QOSType::Underflow, _, jitter, _) = qos.get()
            && jitter > 0
        {
            self.late_downstream.store(true, Ordering::Release);
        }
    }

    /// Handles a sink event: schedules a reset if the event is a discontinuity.
    pub(super) fn sink_event(&self, event: &gst::Event) {
        if is_discontinuity(event) {
            self.reset.store(true, Ordering::Release);
        }
    }

    /// Returns a structure `name` with the statistics so far: `frames`, `dropped` (without the
    /// `waiting` frames), `mean-ms`, `p99-ms`, `backend`, and what `add_report` adds for the report
    /// on the last frame.
    pub(super) fn stats(
        &self,
        name: &str,
        waiting: usize,
        add_report: impl FnOnce(gst::structure::Builder, &P::Report) -> gst::structure::Builder,
    ) -> gst::structure::Builder {
        let Statistics { report, timing, backend, .. } = &*lock(&self.statistics);
        let stats = gst::Structure::builder(name)
            .field("frames", timing.frames())
            .field("dropped", timing.dropped().saturating_sub(waiting as u64))
            .field("mean-ms", timing.mean_ms())
            .field("p99-ms", timing.p99_ms())
            .field("backend", backend);
        add_report(stats, report)
    }

    /// Reads a value from the report on the last frame.
    pub(super) fn with_report<R>(&self, read: impl FnOnce(&P::Report) -> R) -> R {
        read(&lock(&self.statistics).report)
    }

    /// Prepares for a frame that has arrived, as [`Self::update_settings`], and counts it.
    pub(super) fn before_transform(
        &self,
        element: &gst_base::BaseTransform,
        category: gst::DebugCategory,
        buffer: &gst::BufferRef,
        settings: impl FnOnce() -> FrameSettings<P::Parameters>,
    ) {
        if self.update_settings(element, category, buffer, settings) {
            // Frames that pass through are missing from the temporal state.
            self.reset.store(true, Ordering::Release);
        } else {
            lock(&self.statistics).timing.frame_arrived();
        }
    }

    /// Updates controlled properties to the time of a frame, then takes over the settings that
    /// `settings` returns. Returns whether the frame passes through.
    pub(super) fn update_settings(
        &self,
        element: &gst_base::BaseTransform,
        category: gst::DebugCategory,
        buffer: &gst::BufferRef,
        settings: impl FnOnce() -> FrameSettings<P::Parameters>,
    ) -> bool {
        sync_controlled_properties(element, category, buffer);
        let settings = settings();
        let passthrough = settings.passthrough;
        if let Some(negotiated) = &mut lock(&self.state).negotiated {
            negotiated.settings = settings;
        }
        passthrough
    }

    /// Takes over a frame that is to be processed next, and returns whether it does not continue
    /// the previous one. Frames that pass through leave a reset to the next processed frame.
    pub(super) fn starts_scene(
        &self,
        element: &gst_base::BaseTransform,
        buffer: &gst::BufferRef,
    ) -> bool {
        let mut state = lock(&self.state);
        let Some(negotiated) = state.negotiated.as_mut().filter(|n| !n.settings.passthrough) else {
            return false;
        };
        let segment = element.segment().downcast::<gst::ClockTime>().ok();
        let time = segment.and_then(|segment| segment.to_running_time(buffer.pts()));
        let continues = negotiated.continuity.continues(time, buffer.duration());
        self.reset.swap(false, Ordering::AcqRel) || !continues
    }

    /// Discards the temporal state of the algorithm.
    pub(super) fn reset_processor(&self) {
        if let Some(negotiated) = &mut lock(&self.state).negotiated {
            negotiated.processor.reset();
        }
    }

    /// Returns the frame rate of the caps; `None` if they have none.
    pub(super) fn frame_rate(&self) -> Option<gst::Fraction> {
        let frame_rate = lock(&self.state).negotiated.as_ref()?.infos[0].fps();
        (frame_rate.numer() > 0 && frame_rate.denom() > 0).then_some(frame_rate)
    }

    /// Queues a frame for the algorithm, which then uses it for the frames before.
    ///
    /// # Errors
    /// As [`Self::transform`].
    pub(super) fn look_ahead(
        &self,
        element: &gst_base::BaseTransform,
        buffer: &gst::BufferRef,
    ) -> Result<(), gst::FlowError> {
        let start = Instant::now();
        let mut state = lock(&self.state);
        let negotiated = state.negotiated.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let result = with_samples!(negotiated.depths[0], T => negotiated.look_ahead::<T>(buffer));
        result.map_err(|reason| frame_error::<P>(element, &reason))?;
        lock(&self.statistics).look_ahead_time += start.elapsed();
        Ok(())
    }

    /// Stores whether downstream reads the strides and offsets in video metas, from its answer to
    /// an allocation query.
    pub(super) fn set_reads_video_meta(&self, query: &gst::query::Allocation) {
        let reads = query.find_allocation_meta::<VideoMeta>().is_some();
        self.reads_video_meta.store(reads, Ordering::Release);
    }

    /// Returns whether `buffer` goes downstream as it is. Frames that pass through do, unless their
    /// rows have padding that downstream would read as pixels.
    ///
    /// The passthrough mode of `GstBaseTransform` does not serve here: it forwards allocation
    /// queries, and keeps a buffer pool of earlier caps when the mode ends.
    pub(super) fn passes_through(&self, buffer: &gst::BufferRef) -> bool {
        let state = lock(&self.state);
        let Some(Negotiated { settings, infos: [info, output], .. }) = &state.negotiated else {
            return false;
        };
        settings.passthrough
            && info.format() == output.format()
            && (self.reads_video_meta.load(Ordering::Acquire) || is_packed(buffer, info))
    }

    /// Creates the state for new caps.
    ///
    /// # Errors
    /// A format or size that the algorithm cannot process. The element also posts an error message
    /// on the bus.
    pub(super) fn set_info(
        &self,
        element: &gst_base::BaseTransform,
        category: gst::DebugCategory,
        [info, out_info]: [&VideoInfo; 2],
        threads: usize,
        settings: FrameSettings<P::Parameters>,
    ) -> Result<(), gst::LoggableError> {
        let mut state = lock(&self.state);
        state.negotiated = None;
        let layout = |info: &VideoInfo| {
            layout_of(info.format())
                .ok_or_else(|| gst::loggable_error!(category, "No support for {:?}", info.format()))
        };
        let ((format, depth), (_, out_depth)) = (layout(info)?, layout(out_info)?);
        let lookahead = state.lookahead;
        let Some(model) = &state.model else {
            return Err(gst::loggable_error!(category, "Not started"));
        };
        if info.interlace_mode() == VideoInterlaceMode::Fields {
            let reason = "interlace-mode=fields is not supported, only progressive, interleaved \
                          and mixed; deinterlace or interleave the fields first";
            gst::element_error!(
                element,
                gst::StreamError::Format,
                ("Cannot {} this video: {reason}", P::VERB)
            );
            return Err(gst::loggable_error!(category, "{reason}"));
        }
        let processor = P::new(model, format, depth, threads).and_then(|mut processor| {
            let fields =
                if info.interlace_mode() == VideoInterlaceMode::Interleaved { 2 } else { 1 };
            processor.prepare(info.width() as usize, (info.height() as usize).div_ceil(fields))?;
            Ok(processor)
        });
        let processor = processor.map_err(|err| {
            let what = format!("{} of {}x{}", info.format(), info.width(), info.height());
            gst::element_error!(
                element,
                gst::StreamError::Format,
                ("Cannot {} {what}: {err}", P::VERB)
            );
            gst::loggable_error!(category, "Cannot {} {info:?}: {err}", P::VERB)
        })?;
        lock(&self.statistics).backend = processor.backend();
        state.negotiated = Some(Negotiated {
            infos: [info.clone(), out_info.clone()],
            format,
            depths: [depth, out_depth],
            processor,
            settings,
            continuity: Continuity::default(),
            pace: Pace::new(info, lookahead),
        });
        Ok(())
    }

    /// Processes a frame, or copies it if frames pass through.
    ///
    /// # Errors
    /// A frame that does not match the caps, or a failing backend. The element also posts an error
    /// message on the bus.
    pub(super) fn transform(
        &self,
        element: &gst_base::BaseTransform,
        inbuf: &gst::BufferRef,
        outbuf: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let start = Instant::now();
        let times = FrameTimes::of(element, inbuf);
        self.start_frame(element, times)?;
        let mut state = lock(&self.state);
        let negotiated = state.negotiated.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let [depth, out_depth] = negotiated.depths;
        let report = with_sample_pairs!(depth, out_depth, T, U => {
            negotiated.transform_buffer::<T, U>(inbuf, outbuf)
        });
        let report = report.map_err(|reason| frame_error::<P>(element, &reason))?;
        let Some(report) = report else { return Ok(gst::FlowSuccess::Ok) };

        let mut statistics = lock(&self.statistics);
        statistics.report = report;
        let time = start.elapsed() + std::mem::take(&mut statistics.look_ahead_time);
        statistics.timing.frame_processed(time);
        drop(statistics);

        let is_late = self.late_downstream.swap(false, Ordering::AcqRel);
        let rate = element.segment().rate();
        if let Some(pace) = negotiated.pace.frame(time, times.running_time, rate, is_late) {
            negotiated.processor.frame_processed(pace);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Announces a frame to the algorithm, unless it passes through, and posts the message of the
    /// algorithm.
    fn start_frame(
        &self,
        element: &gst_base::BaseTransform,
        times: FrameTimes,
    ) -> Result<(), gst::FlowError> {
        let mut state = lock(&self.state);
        let negotiated = state.negotiated.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        if negotiated.settings.passthrough {
            return Ok(());
        }
        let message = negotiated.processor.frame_started(times);
        // Receivers may read properties while the message is posted.
        drop(state);
        if let Some(structure) = message {
            // Fails only without a bus, and then there is no receiver.
            let message = gst::message::Element::builder(structure).src(element).build();
            let _ = element.post_message(message);
        }
        Ok(())
    }
}

/// Posts an error about a frame that cannot be processed.
fn frame_error<P: FrameProcessor>(
    element: &gst_base::BaseTransform,
    reason: &str,
) -> gst::FlowError {
    gst::element_error!(
        element,
        gst::StreamError::Failed,
        ("Cannot {} a frame: {reason}", P::VERB)
    );
    gst::FlowError::Error
}

impl<P: FrameProcessor> Negotiated<P> {
    /// Queues a frame for the algorithm; of interlaced frames, each field separately.
    fn look_ahead<T: Sample>(&mut self, buffer: &gst::BufferRef) -> Result<(), String> {
        let frame = map_frame(buffer, &self.infos[0])?;
        let scan = scan_of_input::<T>(&frame);
        let picture = view_scan::<T>(&frame, self.format, scan).map_err(|err| err.to_string())?;
        let parameters = &self.settings.parameters;
        let mut queue = |picture: &Picture<'_, T>, field| {
            self.processor.look_ahead(picture, parameters, field).map_err(|err| err.to_string())
        };
        if scan == Scan::Progressive {
            return queue(&picture, Field::First);
        }
        queue(&picture.field(Field::First), Field::First)?;
        queue(&picture.field(Field::Second), Field::Second)
    }

    /// Processes a frame and returns the report on it, or copies the frame if frames pass through.
    fn transform_buffer<T: Sample, U: Sample>(
        &mut self,
        inbuf: &gst::BufferRef,
        outbuf: &mut gst::BufferRef,
    ) -> Result<Option<P::Report>, String> {
        let [info, out_info] = &self.infos;
        let inframe = map_frame(inbuf, info)?;
        let mut outframe = map_frame_mut(outbuf, out_info)?;
        // The processor does not write alpha and unused samples.
        if self.settings.passthrough || !components_cover_planes(self.format) {
            copy_frame::<T, U>(&inframe, &mut outframe, self.format)?;
        }
        if self.settings.passthrough {
            return Ok(None);
        }
        self.transform::<T, U>(&inframe, &mut outframe).map(Some)
    }

    /// Processes a frame; of interlaced frames, each field separately.
    fn transform<T: Sample, U: Sample>(
        &mut self,
        inframe: &VideoFrameRef<&gst::BufferRef>,
        outframe: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<P::Report, String> {
        let scan = scan_of::<T, U>(inframe, outframe);
        let input = view_scan::<T>(inframe, self.format, scan).map_err(|err| err.to_string())?;
        let mut output =
            view_scan_mut::<U>(outframe, self.format, scan).map_err(|err| err.to_string())?;
        let size = (inframe.width(), inframe.height());
        let FrameSettings { parameters, region_factors, roi_types, .. } = &self.settings;
        let labels = if *region_factors == RegionFactors::default() {
            None
        } else {
            RegionMask::labels_of(inframe.buffer(), size)
                .or_else(|| roi_types.labels(inframe.buffer(), size))
        };
        let regions = labels.as_ref().map(|labels| region_factors.regions(labels));
        let mut process =
            |input: &Picture<'_, T>, output: &mut PictureMut<'_, U>, regions, field| {
                self.processor
                    .process(input, output, parameters, regions, field)
                    .map_err(|err| err.to_string())
            };
        if scan == Scan::Progressive {
            return process(&input, &mut output, regions, Field::First);
        }
        let mut process_field = |field| {
            let regions = regions.map(|regions| regions.field(field));
            process(&input.field(field), &mut output.field(field), regions, field)
        };
        process_field(Field::First)?;
        process_field(Field::Second)
    }
}
