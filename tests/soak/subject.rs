// SPDX-License-Identifier: MIT OR Apache-2.0

//! The elements under test, and one way to push frames through each of them.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};

use crate::common::video::{bytes, info};

/// An element under test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// Description in the syntax of gst-launch-1.0.
    pub(crate) description: &'static str,
}

/// All elements of the plugin.
pub(crate) const SUBJECTS: [Subject; 7] = [
    Subject { description: "cnndenoise" },
    Subject { description: "cnnsmooth" },
    Subject { description: "cnndeband" },
    Subject { description: "cnnsegment seeds=fg:50%,50%" },
    Subject {
        description: "watermarkembed payload=0123456789abcdef \
                      key=5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
    },
    Subject {
        description: "watermarkdetect interval=24 search=none \
                      key=5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
    },
    Subject { description: "videoquality" },
];

/// An element that outputs frames later than it receives them.
pub(crate) const DELAYED: Subject = Subject { description: "cnndenoise lookahead=4" };

/// Sizes of frames with the same number of pixels, so that the times of all frames compare.
const SIZES: [(u32, u32); 4] = [(320, 180), (240, 240), (180, 320), (576, 100)];
/// Formats of frames.
const FORMATS: [VideoFormat; 5] =
    [VideoFormat::I420, VideoFormat::Rgb, VideoFormat::Nv12, VideoFormat::Gray8, VideoFormat::Bgrx];

/// Returns one of the sizes and formats of frames.
pub(crate) fn caps(number: u64) -> VideoInfo {
    let [size, format] = [SIZES.len(), FORMATS.len()].map(|count| number as usize % count);
    info(FORMATS[format], SIZES[size].0, SIZES[size].1)
}

/// Returns a frame with a bright disc in the middle and noise that depends on `seed`.
pub(crate) fn scene(info: &VideoInfo, seed: u64) -> Vec<u8> {
    let mut frame = bytes(info, 4.0, seed);
    let (width, height) = (info.width() as usize, info.height() as usize);
    let (stride, pixel) = (info.stride()[0] as usize, info.comp_pstride(0) as usize);
    let radius = width.min(height) as f32 / 4.0;
    for (y, row) in frame.chunks_mut(stride).take(height).enumerate() {
        for (x, pixel) in row.chunks_mut(pixel).take(width).enumerate() {
            let distance = (x as f32 - width as f32 / 2.0).hypot(y as f32 - height as f32 / 2.0);
            if distance < radius {
                pixel.iter_mut().for_each(|value| *value = value.saturating_add(90));
            }
        }
    }
    frame
}

impl Subject {
    /// Returns the name of the element.
    pub(crate) fn name(&self) -> &'static str {
        self.description.split(' ').next().unwrap()
    }

    /// Creates the element.
    pub(crate) fn element(&self) -> gst::Element {
        gst::parse::launch(self.description).unwrap()
    }

    /// Creates the element and starts it.
    pub(crate) fn start(&self) -> Running {
        let element = self.element();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let input = Harness::with_element(&element, Some("sink"), Some("src"));
        let reference = element
            .static_pad("reference")
            .map(|_| Harness::with_element(&element, Some("reference"), None));
        Running { element, input, reference, bus }
    }
}

/// A started element with a harness at its pads.
pub(crate) struct Running {
    pub(crate) element: gst::Element,
    pub(crate) input: Harness,
    /// Harness at the pad `reference` of `videoquality`.
    reference: Option<Harness>,
    bus: gst::Bus,
}

impl Running {
    /// Calls a function with the harness of each sink pad.
    pub(crate) fn for_each_input(&mut self, mut call: impl FnMut(&mut Harness)) {
        call(&mut self.input);
        self.reference.iter_mut().for_each(call);
    }

    /// Pushes the frame of each input and returns the frame that comes out.
    ///
    /// # Panics
    /// If the element posts an error or outputs no frame.
    pub(crate) fn process(&mut self, frame: gst::Buffer) -> gst::Buffer {
        self.push(frame);
        self.input.pull().unwrap()
    }

    /// Pushes the frame of each input.
    ///
    /// # Panics
    /// If the element posts an error.
    pub(crate) fn push(&mut self, frame: gst::Buffer) {
        if let Some(reference) = &mut self.reference {
            reference.push(frame.clone()).unwrap();
        }
        self.input.push(frame).unwrap();
        for message in self.bus.iter() {
            if let gst::MessageView::Error(error) = message.view() {
                panic!("{}: {error:?}", self.element.name());
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.element.set_state(gst::State::Null).unwrap();
        // The element owns the bus, and the messages on the bus own the element.
        self.bus.set_flushing(true);
    }
}
