//! Shared state and streaming logic of the elements that process one frame at a time.
//!
//! An element implements [`Process`] for its algorithm and forwards its `BaseTransform` and
//! `VideoFilter` callbacks to [`Pictures`].

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

use super::{
    Depth, RegionMask, Timing, ends_a_scene, follow_controls, is_interlaced, layout_of, lock,
    picture, picture_mut, with_samples,
};
use cnnvideo::frame::{Format, Picture, PictureMut, Regions, Sample};

/// Interlaced frames with fewer rows than this are processed as progressive ones.
const MIN_INTERLACED_HEIGHT: u32 = 8;

/// Algorithm that an element applies to the pictures of a stream.
pub(crate) trait Process: Sized + Send {
    /// Data loaded when the element starts, for example networks.
    type Model: Send;
    /// Values of the properties that may change with each frame.
    type Parameters: Send;
    /// Measurements of a picture that the element publishes, for example the noise sigma.
    type Report: Default + Send;
    /// Error of the algorithm.
    type Error: Display;

    /// Verb for error messages, as in "Cannot *denoise* a frame".
    const VERB: &'static str;

    /// Creates the state for a stream. `deep`: samples have more than 8 bits. `threads`: 0 for the
    /// number of cores.
    ///
    /// # Errors
    /// A format that the model does not support.
    fn new(
        model: &Self::Model,
        format: Format,
        deep: bool,
        threads: usize,
    ) -> Result<Self, Self::Error>;
    /// Returns the name of the backend and device that the network runs on.
    fn backend(&self) -> String;
    /// Allocates buffers for pictures of a size in pixels, so that the first picture takes no
    /// longer than others.
    ///
    /// # Errors
    /// A size that the network cannot process.
    fn prepare(&mut self, width: usize, height: usize) -> Result<(), Self::Error>;
    /// Discards the temporal state: the next picture does not continue the previous one.
    fn reset(&mut self);
    /// Processes `input` into `output`, which holds a copy of `input` on entry. `field` is 1 for
    /// the second field of an interlaced picture, else 0.
    ///
    /// # Errors
    /// Pictures that do not match each other or the network, or a failing backend.
    fn process<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Self::Parameters,
        regions: Option<Regions<'_>>,
        field: usize,
    ) -> Result<Self::Report, Self::Error>;
}

/// Values that the properties have at the time of a frame.
pub(crate) struct Request<P> {
    /// Parameters of the algorithm.
    pub parameters: P,
    /// Factors on the strength inside and outside of regions.
    pub factors: [f32; 2],
    /// Whether the element passes frames through unchanged.
    pub idle: bool,
}

/// State of an element that runs the algorithm `P`.
pub(crate) struct Pictures<P: Process> {
    /// Results for property reads; locked briefly, never during inference.
    published: Mutex<Published<P::Report>>,
    /// Locked by the streaming thread during a frame, and by `start` and `stop`, which run while
    /// the streaming thread is stopped.
    state: Mutex<State<P>>,
    /// Whether the temporal state must be reset before the next frame.
    reset: AtomicBool,
}

/// Results that other threads may read.
#[derive(Default)]
struct Published<R> {
    report: R,
    timing: Timing,
    backend: String,
}

/// State of a started element.
struct State<P: Process> {
    model: Option<P::Model>,
    stream: Option<Stream<P>>,
}

/// State that depends on the negotiated caps.
struct Stream<P: Process> {
    format: Format,
    depth: Depth,
    process: P,
    request: Request<P::Parameters>,
}

impl<P: Process> Default for Pictures<P> {
    fn default() -> Self {
        Self {
            published: Mutex::default(),
            state: Mutex::new(State { model: None, stream: None }),
            reset: AtomicBool::new(false),
        }
    }
}

impl<P: Process> std::fmt::Debug for Pictures<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pictures").finish_non_exhaustive()
    }
}

impl<P: Process> Pictures<P> {
    /// Starts the element with its loaded model and the name of its backend. Resets the statistics.
    pub fn start(&self, model: P::Model, backend: String) {
        *lock(&self.published) = Published { backend, ..Default::default() };
        *lock(&self.state) = State { model: Some(model), stream: None };
    }

    /// Stops the element and drops its model.
    pub fn stop(&self) {
        *lock(&self.state) = State { model: None, stream: None };
    }

    /// Handles a sink event: schedules a reset if the event ends the scene.
    pub fn event(&self, event: &gst::Event) {
        if ends_a_scene(event) {
            self.reset.store(true, Ordering::Release);
        }
    }

    /// Returns a structure `name` with the statistics so far: `frames`, `dropped`, `mean-ms`,
    /// `p99-ms` and `backend`.
    pub fn stats(&self, name: &str) -> gst::structure::Builder {
        let Published { timing, backend, .. } = &*lock(&self.published);
        gst::Structure::builder(name)
            .field("frames", timing.frames())
            .field("dropped", timing.dropped())
            .field("mean-ms", timing.mean_ms())
            .field("p99-ms", timing.p99_ms())
            .field("backend", backend)
    }

    /// Reads a value from the report of the last picture.
    pub fn report<R>(&self, read: impl FnOnce(&P::Report) -> R) -> R {
        read(&lock(&self.published).report)
    }

    /// Prepares for a frame: updates controlled properties and takes over what `request` returns.
    /// Call from `before_transform`.
    pub fn before(
        &self,
        element: &gst_base::BaseTransform,
        category: gst::DebugCategory,
        buffer: &gst::BufferRef,
        request: impl FnOnce() -> Request<P::Parameters>,
    ) {
        follow_controls(element, category, buffer);
        let request = request();
        element.set_passthrough(request.idle);
        if request.idle {
            // Frames that pass through are missing from the temporal state.
            self.reset.store(true, Ordering::Release);
        } else {
            lock(&self.published).timing.arrive();
        }
        if let Some(stream) = &mut lock(&self.state).stream {
            stream.request = request;
        }
    }

    /// Creates the stream state for new caps.
    ///
    /// # Errors
    /// A format or size that the algorithm cannot process. The element also posts an error message
    /// on the bus.
    pub fn set_info(
        &self,
        element: &gst_base::BaseTransform,
        category: gst::DebugCategory,
        info: &VideoInfo,
        threads: usize,
        request: Request<P::Parameters>,
    ) -> Result<(), gst::LoggableError> {
        let mut state = lock(&self.state);
        state.stream = None;
        let (format, depth) = layout_of(info.format())
            .ok_or_else(|| gst::loggable_error!(category, "No support for {:?}", info.format()))?;
        let Some(model) = &state.model else {
            return Err(gst::loggable_error!(category, "Not started"));
        };
        let process =
            P::new(model, format, depth != Depth::Eight, threads).and_then(|mut process| {
                let fields =
                    if info.interlace_mode() == VideoInterlaceMode::Interleaved { 2 } else { 1 };
                process
                    .prepare(info.width() as usize, (info.height() as usize).div_ceil(fields))?;
                Ok(process)
            });
        let process = process.map_err(|err| {
            let what = format!("{} of {}x{}", info.format(), info.width(), info.height());
            gst::element_error!(
                element,
                gst::StreamError::Format,
                ("Cannot {} {what}: {err}", P::VERB)
            );
            gst::loggable_error!(category, "Cannot {} {info:?}: {err}", P::VERB)
        })?;
        lock(&self.published).backend = process.backend();
        state.stream = Some(Stream { format, depth, process, request });
        Ok(())
    }

    /// Processes a frame.
    ///
    /// # Errors
    /// A frame that does not match the caps, or a failing backend. The element also posts an error
    /// message on the bus.
    pub fn transform(
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
        // Alpha and padding bytes that the algorithm does not write must match the input.
        inframe.copy(outframe).map_err(|err| failed(&err))?;

        let mut state = lock(&self.state);
        let stream = state.stream.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let discont = inframe.buffer().flags().contains(gst::BufferFlags::DISCONT);
        if self.reset.swap(false, Ordering::AcqRel) || discont {
            stream.process.reset();
        }
        let report = with_samples!(stream.depth, T => stream.transform::<T>(inframe, outframe));
        let report = report.map_err(|err| failed(&err))?;
        drop(state);

        let mut published = lock(&self.published);
        published.report = report;
        published.timing.add(start.elapsed());
        Ok(gst::FlowSuccess::Ok)
    }
}

impl<P: Process> Stream<P> {
    /// Processes a frame; of interlaced frames, each field separately.
    fn transform<T: Sample>(
        &mut self,
        inframe: &VideoFrameRef<&gst::BufferRef>,
        outframe: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<P::Report, String> {
        let input = picture::<T>(inframe, self.format).map_err(|err| err.to_string())?;
        let mut output = picture_mut::<T>(outframe, self.format).map_err(|err| err.to_string())?;
        let size = (inframe.width(), inframe.height());
        let labels = RegionMask::of(inframe.buffer(), size).and_then(|mask| mask.labels(size));
        let [foreground, background] = self.request.factors;
        let regions =
            labels.as_ref().map(|labels| Regions { labels: labels.view(), foreground, background });
        let mut make = |input: &Picture<'_, T>, output: &mut PictureMut<'_, T>, regions, field| {
            self.process
                .process(input, output, &self.request.parameters, regions, field)
                .map_err(|err| err.to_string())
        };
        if !is_interlaced(inframe) || inframe.height() < MIN_INTERLACED_HEIGHT {
            return make(&input, &mut output, regions, 0);
        }
        let field = |parity| regions.map(|regions| regions.field(parity));
        make(&input.field(0), &mut output.field(0), field(0), 0)?;
        make(&input.field(1), &mut output.field(1), field(1), 1)
    }
}
