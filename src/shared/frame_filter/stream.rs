// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streaming state of a filter element ([`FrameStream`]): runs its [`FrameProcessor`] on each frame
//! and collects statistics.

use std::{
    fmt::Display,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use gst_base::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo, VideoInterlaceMode};

use super::{FrameProcessor, FrameSettings};
use crate::shared::{
    RegionMask, SampleDepth, Timing, is_discontinuity, is_interlaced, layout_of, lock,
    sync_controlled_properties, view_frame, view_frame_mut, with_samples,
};
use cnnvideo::frame::{Field, Format, Picture, PictureMut, Sample};

/// Interlaced frames with fewer rows than this are processed as progressive ones.
const MIN_INTERLACED_HEIGHT: u32 = 8;

/// Streaming state of an element that runs the algorithm `P`.
pub(super) struct FrameStream<P: FrameProcessor> {
    /// Results for property reads; locked briefly, never during inference.
    statistics: Mutex<Statistics<P::Report>>,
    /// Locked by the streaming thread during a frame, and by `start` and `stop`, which run while
    /// the streaming thread is stopped.
    state: Mutex<State<P>>,
    /// Whether the temporal state must be reset before the next frame.
    reset: AtomicBool,
}

/// Results that other threads may read.
#[derive(Default)]
struct Statistics<R> {
    report: R,
    timing: Timing,
    backend: String,
}

/// State of a started element.
struct State<P: FrameProcessor> {
    model: Option<P::Model>,
    negotiated: Option<Negotiated<P>>,
}

/// State that depends on the negotiated caps.
struct Negotiated<P: FrameProcessor> {
    format: Format,
    depth: SampleDepth,
    processor: P,
    settings: FrameSettings<P::Parameters>,
}

impl<P: FrameProcessor> Default for FrameStream<P> {
    fn default() -> Self {
        Self {
            statistics: Mutex::default(),
            state: Mutex::new(State { model: None, negotiated: None }),
            reset: AtomicBool::new(false),
        }
    }
}

impl<P: FrameProcessor> FrameStream<P> {
    /// Starts the element with its loaded model and the name of its backend. Resets the statistics.
    pub(super) fn start(&self, model: P::Model, backend: String) {
        *lock(&self.statistics) = Statistics { backend, ..Default::default() };
        *lock(&self.state) = State { model: Some(model), negotiated: None };
    }

    /// Stops the element and drops its model.
    pub(super) fn stop(&self) {
        *lock(&self.state) = State { model: None, negotiated: None };
    }

    /// Handles a sink event: schedules a reset if the event is a discontinuity.
    pub(super) fn sink_event(&self, event: &gst::Event) {
        if is_discontinuity(event) {
            self.reset.store(true, Ordering::Release);
        }
    }

    /// Returns a structure `name` with the statistics so far: `frames`, `dropped`, `mean-ms`,
    /// `p99-ms`, `backend`, and what `add_report` adds for the report on the last frame.
    pub(super) fn stats(
        &self,
        name: &str,
        add_report: impl FnOnce(gst::structure::Builder, &P::Report) -> gst::structure::Builder,
    ) -> gst::structure::Builder {
        let Statistics { report, timing, backend } = &*lock(&self.statistics);
        let stats = gst::Structure::builder(name)
            .field("frames", timing.frames())
            .field("dropped", timing.dropped())
            .field("mean-ms", timing.mean_ms())
            .field("p99-ms", timing.p99_ms())
            .field("backend", backend);
        add_report(stats, report)
    }

    /// Reads a value from the report on the last frame.
    pub(super) fn with_report<R>(&self, read: impl FnOnce(&P::Report) -> R) -> R {
        read(&lock(&self.statistics).report)
    }

    /// Prepares for a frame: updates controlled properties, then takes over the settings that
    /// `settings` returns.
    pub(super) fn before_transform(
        &self,
        element: &gst_base::BaseTransform,
        category: gst::DebugCategory,
        buffer: &gst::BufferRef,
        settings: impl FnOnce() -> FrameSettings<P::Parameters>,
    ) {
        sync_controlled_properties(element, category, buffer);
        let settings = settings();
        element.set_passthrough(settings.passthrough);
        if settings.passthrough {
            // Frames that pass through are missing from the temporal state.
            self.reset.store(true, Ordering::Release);
        } else {
            lock(&self.statistics).timing.frame_arrived();
        }
        if let Some(negotiated) = &mut lock(&self.state).negotiated {
            negotiated.settings = settings;
        }
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
        info: &VideoInfo,
        threads: usize,
        settings: FrameSettings<P::Parameters>,
    ) -> Result<(), gst::LoggableError> {
        let mut state = lock(&self.state);
        state.negotiated = None;
        let (format, depth) = layout_of(info.format())
            .ok_or_else(|| gst::loggable_error!(category, "No support for {:?}", info.format()))?;
        let Some(model) = &state.model else {
            return Err(gst::loggable_error!(category, "Not started"));
        };
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
        state.negotiated = Some(Negotiated { format, depth, processor, settings });
        Ok(())
    }

    /// Processes a frame.
    ///
    /// # Errors
    /// A frame that does not match the caps, or a failing backend. The element also posts an error
    /// message on the bus.
    pub(super) fn transform(
        &self,
        element: &gst_base::BaseTransform,
        inframe: &VideoFrameRef<&gst::BufferRef>,
        outframe: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let start = Instant::now();
        let failed = |reason: &dyn Display| {
            gst::element_error!(
                element,
                gst::StreamError::Failed,
                ("Cannot {} a frame: {reason}", P::VERB)
            );
            gst::FlowError::Error
        };
        let mut state = lock(&self.state);
        let negotiated = state.negotiated.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        if !components_cover_planes(negotiated.format) {
            // The processor does not write alpha and unused samples.
            inframe.copy(outframe).map_err(|err| failed(&err))?;
        }
        let discont = inframe.buffer().flags().contains(gst::BufferFlags::DISCONT);
        if self.reset.swap(false, Ordering::AcqRel) || discont {
            negotiated.processor.reset();
        }
        let report =
            with_samples!(negotiated.depth, T => negotiated.transform::<T>(inframe, outframe));
        let report = report.map_err(|err| failed(&err))?;
        drop(state);

        let mut statistics = lock(&self.statistics);
        statistics.report = report;
        statistics.timing.frame_processed(start.elapsed());
        Ok(gst::FlowSuccess::Ok)
    }
}

impl<P: FrameProcessor> Negotiated<P> {
    /// Processes a frame; of interlaced frames, each field separately.
    fn transform<T: Sample>(
        &mut self,
        inframe: &VideoFrameRef<&gst::BufferRef>,
        outframe: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<P::Report, String> {
        let input = view_frame::<T>(inframe, self.format).map_err(|err| err.to_string())?;
        let mut output =
            view_frame_mut::<T>(outframe, self.format).map_err(|err| err.to_string())?;
        let size = (inframe.width(), inframe.height());
        let labels = RegionMask::of(inframe.buffer(), size).and_then(|mask| mask.labels(size));
        let FrameSettings { parameters, region_factors, .. } = &self.settings;
        let regions = labels.as_ref().map(|labels| region_factors.regions(labels));
        let mut process =
            |input: &Picture<'_, T>, output: &mut PictureMut<'_, T>, regions, field| {
                self.processor
                    .process(input, output, parameters, regions, field)
                    .map_err(|err| err.to_string())
            };
        if !is_interlaced(inframe) || inframe.height() < MIN_INTERLACED_HEIGHT {
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

/// Returns whether the components of a format are all samples of its planes. Formats with alpha or
/// with unused samples have more.
fn components_cover_planes(format: Format) -> bool {
    let layouts = format.component_layouts();
    let covers_plane = |plane: usize, pixel_stride: usize| {
        layouts.iter().filter(|layout| layout.plane == plane).count() == pixel_stride
    };
    format.alpha().is_none()
        && layouts.iter().all(|layout| covers_plane(layout.plane, layout.pixel_stride))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_with_alpha_or_unused_samples_are_not_covered() {
        for format in [Format::GRAY8, Format::I420, Format::NV12, Format::Y444, Format::RGB] {
            assert!(components_cover_planes(format), "{format:?}");
        }
        for format in [Format::RGBA, Format::ARGB, Format::BGRX, Format::A420, Format::AYUV] {
            assert!(!components_cover_planes(format), "{format:?}");
        }
    }
}
