//! What an element that makes pictures of pictures is, but for what it does to them.

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
use crate::frame::{Format, Picture, PictureMut, Regions, Sample};

/// Fewer rows than this cannot be taken apart into fields.
const MIN_INTERLACED_HEIGHT: u32 = 8;

/// What is done to the pictures of a stream.
pub(crate) trait Process: Sized + Send {
    /// What is loaded when the element starts.
    type Model: Send;
    type Parameters: Send;
    /// What is found out about a picture on the way.
    type Report: Default + Send;
    type Error: Display;

    /// What is done, for messages: "Cannot ... a frame".
    const VERB: &'static str;

    /// Starts with a stream of pictures; `deep` ones have more than 8 bits a sample.
    fn new(
        model: &Self::Model,
        format: Format,
        deep: bool,
        threads: usize,
    ) -> Result<Self, Self::Error>;
    /// What the network runs on.
    fn backend(&self) -> String;
    /// Makes room for pictures of a size.
    fn prepare(&mut self, width: usize, height: usize) -> Result<(), Self::Error>;
    /// The next picture does not continue the last one.
    fn reset(&mut self);
    /// Makes `output`, which holds a copy of `input`. `field` is 1 for the second field of an interlaced picture, else 0.
    fn process<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, T>,
        parameters: &Self::Parameters,
        regions: Option<Regions<'_>>,
        field: usize,
    ) -> Result<Self::Report, Self::Error>;
}

/// What properties ask for.
pub(crate) struct Request<P> {
    pub parameters: P,
    /// Factors on the strength inside and outside of regions.
    pub factors: [f32; 2],
    /// Frames are to pass by untouched.
    pub idle: bool,
}

/// State of an element that does `P`.
pub(crate) struct Pictures<P: Process> {
    published: Mutex<Published<P::Report>>,
    /// Used by the streaming thread, and where that is known to stand still.
    state: Mutex<State<P>>,
    /// The next frame does not continue the last one.
    reset: AtomicBool,
}

/// What other threads may ask for.
#[derive(Default)]
struct Published<R> {
    report: R,
    timing: Timing,
    backend: String,
}

struct State<P: Process> {
    model: Option<P::Model>,
    stream: Option<Stream<P>>,
}

/// What belongs to the caps that are negotiated.
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
    /// The element starts with what it has loaded.
    pub fn start(&self, model: P::Model, backend: String) {
        *lock(&self.published) = Published { backend, ..Default::default() };
        *lock(&self.state) = State { model: Some(model), stream: None };
    }

    /// The element stops.
    pub fn stop(&self) {
        *lock(&self.state) = State { model: None, stream: None };
    }

    /// Looks at what comes down the stream beside buffers.
    pub fn event(&self, event: &gst::Event) {
        if ends_a_scene(event) {
            self.reset.store(true, Ordering::Release);
        }
    }

    /// Statistics so far, under a name.
    pub fn stats(&self, name: &str) -> gst::structure::Builder {
        let Published { timing, backend, .. } = &*lock(&self.published);
        gst::Structure::builder(name)
            .field("frames", timing.frames())
            .field("dropped", timing.dropped())
            .field("mean-ms", timing.mean_ms())
            .field("p99-ms", timing.p99_ms())
            .field("backend", backend)
    }

    /// Of the last picture.
    pub fn report<R>(&self, read: impl FnOnce(&P::Report) -> R) -> R {
        read(&lock(&self.published).report)
    }

    /// Before each frame: takes over what properties ask for at its time.
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
            // What passes by unseen is missing from the past.
            self.reset.store(true, Ordering::Release);
        } else {
            lock(&self.published).timing.arrive();
        }
        if let Some(stream) = &mut lock(&self.state).stream {
            stream.request = request;
        }
    }

    /// New caps.
    ///
    /// # Errors
    /// Pictures that cannot be worked on, which is told on the bus too.
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

    /// Makes a frame of another.
    ///
    /// # Errors
    /// A frame that is not what the caps say, or a backend that fails; told on the bus too.
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
        // Alpha, padding bytes and whatever else is not touched.
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
    /// Makes a frame, of interlaced ones each field by itself.
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
