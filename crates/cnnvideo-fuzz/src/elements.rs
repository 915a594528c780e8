// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs elements of the plugin with single buffers and events, and checks what they promise.

use std::{
    sync::OnceLock,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};

use crate::{scratch, targets::model};

/// Key of the watermark elements.
pub(crate) const KEY: &str = "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";
/// Longest wait for the end of a stream, generous for a loaded machine.
const MAX_WAIT: Duration = Duration::from_secs(20);

/// Description of `watermarkembed` with valid properties. It takes a tenth of a second to start, so
/// the targets use it rarely.
pub(crate) const EMBED: &str = "watermarkembed payload=0123456789abcdef \
     key=5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";

/// Initialises GStreamer, registers the plugin and keeps its networks loaded. Else every element
/// that starts would load them again.
pub(crate) fn init() {
    static KEPT: OnceLock<Vec<gst::Element>> = OnceLock::new();
    KEPT.get_or_init(|| {
        gst::init().expect("GStreamer is installed");
        gstcnnvideo::plugin_register_static().expect("the plugin can be registered");
        ["cnndenoise", "cnnsmooth", "cnndeband", "cnndemosaic", segment(), EMBED]
            .map(started)
            .into()
    });
}

/// Returns the description of `cnnsegment` on one thread, with a tiny network. The built-in one
/// takes a tenth of a second for a click, whatever the size of the frame.
pub(crate) fn segment() -> &'static str {
    static DESCRIPTION: OnceLock<String> = OnceLock::new();
    DESCRIPTION.get_or_init(|| {
        let path = scratch::folder().join("segment.safetensors");
        std::fs::write(&path, model::segmentation())
            .expect("the folder for temporary files is writable");
        format!("cnnsegment threads=1 model-file={}", path.display())
    })
}

/// Creates an element and starts it.
///
/// # Panics
/// If it does not start.
pub(crate) fn started(description: &str) -> gst::Element {
    let element = gst::parse::launch(description).expect("the description is right");
    element.set_state(gst::State::Paused).expect("an element with valid properties starts");
    element
}

/// Returns the video info of a format at 25 frames per second.
pub(crate) fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    VideoInfo::builder(format, width, height)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .expect("the size is valid")
}

/// Returns the time of frame `number` at 25 frames per second.
pub(crate) fn time(number: u64) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(40) * number
}

/// Returns a buffer of `size` bytes as frame `number`, with a gradient and a bright square.
pub(crate) fn frame(size: usize, number: u64) -> gst::Buffer {
    let pixel = |i: usize| if i % 32 > 20 && i / 64 % 16 > 9 { 220 } else { (i % 97) as u8 };
    let mut buffer = gst::Buffer::from_mut_slice((0..size).map(pixel).collect::<Vec<_>>());
    let writable = buffer.get_mut().expect("a new buffer has one owner");
    writable.set_pts(time(number));
    writable.set_duration(time(1));
    buffer
}

/// An element with a harness around it and a bus that collects its messages.
pub(crate) struct Running {
    pub(crate) element: gst::Element,
    pub(crate) harness: Harness,
    bus: MessageBus,
}

impl Running {
    /// Starts the described element, which has a sink pad and a source pad, for frames of `info`.
    ///
    /// # Panics
    /// If it does not start.
    pub(crate) fn new(description: &str, info: &VideoInfo) -> Self {
        Self::start(description, info).expect("an element with valid properties starts")
    }

    /// Like [`Self::new`], but returns the error message if the element does not start.
    pub(crate) fn start(description: &str, info: &VideoInfo) -> Result<Self, String> {
        Self::with_caps(description, &info.to_caps().expect("the info is valid"))
    }

    /// Like [`Self::start`], for any caps.
    pub(crate) fn with_caps(description: &str, caps: &gst::Caps) -> Result<Self, String> {
        let element = gst::parse::launch(description).expect("the description is right");
        let bus = MessageBus::of(&element);
        // The harness aborts the process if an element does not start.
        if element.set_state(gst::State::Paused).is_err() {
            let error = bus.first_error().expect("an element that does not start says why");
            element.set_state(gst::State::Null).expect("an element stops");
            return Err(error);
        }
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_src_caps(caps.clone());
        Ok(Self { element, harness, bus })
    }

    /// Pushes a buffer and returns how many buffers come out.
    ///
    /// # Panics
    /// If the flow fails without an error message of the element, or the other way round.
    pub(crate) fn push(&mut self, buffer: gst::Buffer) -> Result<usize, String> {
        let flow = self.harness.push(buffer);
        let error = self.bus.first_error();
        let count = std::iter::from_fn(|| self.harness.try_pull()).count();
        match (flow, error) {
            (Ok(_), None) => Ok(count),
            (Err(gst::FlowError::Error | gst::FlowError::NotNegotiated), Some(error)) => Err(error),
            (flow, error) => panic!("flow {flow:?} with the error message {error:?}"),
        }
    }
}

/// Bus that collects the messages of an element.
pub(crate) struct MessageBus(gst::Bus);

impl MessageBus {
    /// Gives an element a bus.
    pub(crate) fn of(element: &gst::Element) -> Self {
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        Self(bus)
    }

    /// Returns the text of the first error message, and removes all messages.
    ///
    /// # Panics
    /// If the error is that of a panic.
    pub(crate) fn first_error(&self) -> Option<String> {
        let errors = self.0.iter().filter_map(|message| match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        });
        let errors: Vec<_> = errors.collect();
        assert!(!errors.iter().any(|error| error.contains("Panicked")), "{errors:?}");
        errors.into_iter().next()
    }
}

impl Drop for MessageBus {
    fn drop(&mut self) {
        // The element owns the bus, and the messages on the bus own the element.
        self.0.set_flushing(true);
    }
}

/// Pushes frames and the end of the stream; stops at the first frame that is refused.
fn push_all(harness: &mut Harness, frames: Vec<gst::Buffer>) {
    for frame in frames {
        if harness.push(frame).is_err() {
            return;
        }
    }
    harness.push_event(gst::event::Eos::new());
}

/// A `videoquality` with a harness for each sink pad.
pub(crate) struct Meter {
    pub(crate) test: Harness,
    reference: Harness,
    bus: MessageBus,
}

impl Meter {
    /// Starts the element for two streams of frames of `info`.
    pub(crate) fn new(output: &str, info: &VideoInfo) -> Self {
        let element = gst::parse::launch(&format!("videoquality output={output}"))
            .expect("the description is right");
        let bus = MessageBus::of(&element);
        let mut test = Harness::with_element(&element, Some("sink"), Some("src"));
        let mut reference = Harness::with_element(&element, Some("reference"), None);
        let caps = info.to_caps().expect("the info is valid");
        test.set_src_caps(caps.clone());
        reference.set_src_caps(caps);
        test.play();
        Self { test, reference, bus }
    }

    /// Pushes pairs of a tested frame and a reference frame, ends both streams, and waits for the
    /// end or an error of the element.
    ///
    /// # Panics
    /// If there is neither.
    pub(crate) fn compare(mut self, pairs: Vec<[gst::Buffer; 2]>) -> Result<(), String> {
        let (tests, references): (Vec<_>, Vec<_>) =
            pairs.into_iter().map(|[test, reference]| (test, reference)).unzip();
        // A thread for each stream: the element lets one wait for the other.
        thread::scope(|scope| {
            scope.spawn(|| push_all(&mut self.reference, references));
            push_all(&mut self.test, tests);
        });
        let start = Instant::now();
        loop {
            if let Some(error) = self.bus.first_error() {
                return Err(error);
            }
            let mut events = std::iter::from_fn(|| self.test.try_pull_event());
            if events.any(|event| event.type_() == gst::EventType::Eos) {
                return Ok(());
            }
            assert!(start.elapsed() < MAX_WAIT, "videoquality neither ends nor fails");
            sleep(Duration::from_micros(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_released() {
        init();
        let info = info(VideoFormat::Gray8, 16, 16);
        let mut running = Running::new("cnnsmooth threads=1", &info);
        let element = running.element.downgrade();
        assert_eq!(running.push(frame(info.size(), 0)), Ok(1));
        drop(running);
        assert!(element.upgrade().is_none());

        let meter = Meter::new("test", &info);
        let element = meter.test.element().unwrap().downgrade();
        meter.compare(vec![[0, 0].map(|number| frame(info.size(), number))]).unwrap();
        assert!(element.upgrade().is_none());
        scratch::remove(std::process::id());
    }
}
