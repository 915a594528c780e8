// SPDX-License-Identifier: MIT OR Apache-2.0

//! A row of elements through which frames are pushed one by one, on the calling thread.
//!
//! A push returns when all elements have done their work, so input and output need no queue and
//! no pairing across threads.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use gst::prelude::*;

use super::frame::Frame;
use crate::problem::{Problem, Result, of_message};

/// Elements with an open input and an open output.
pub(crate) struct Strand {
    pipeline: gst::Pipeline,
    source: gst::Pad,
    sink: gst::Pad,
    output: Arc<Mutex<VecDeque<Frame>>>,
    caps: Option<gst::Caps>,
}

/// An error and its element.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Name of the element that posted the error.
    pub(crate) element: Option<String>,
    /// The error.
    pub(crate) problem: Problem,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { element: None, problem }
    }
}

impl From<glib::BoolError> for Fault {
    fn from(err: glib::BoolError) -> Self {
        Problem::from(err).into()
    }
}

impl Strand {
    /// Links and starts elements. Without elements, frames pass unchanged.
    ///
    /// # Errors
    /// They do not link, or one does not start.
    pub(crate) fn start(elements: &[gst::Element]) -> std::result::Result<Self, Fault> {
        let output = Arc::<Mutex<VecDeque<Frame>>>::default();
        let arrived = Arc::clone(&output);
        let sink = gst::Pad::builder(gst::PadDirection::Sink)
            .name("sink")
            .chain_function(move |pad, _, buffer| {
                let caps = pad.current_caps().ok_or(gst::FlowError::NotNegotiated)?;
                let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
                arrived.push_back(Frame { buffer, caps });
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(|_, _, _| true)
            .build();
        let source = gst::Pad::builder(gst::PadDirection::Src).name("src").build();
        let strand = Self { pipeline: gst::Pipeline::new(), source, sink, output, caps: None };
        strand.link(elements)?;
        strand.sink.set_active(true)?;
        if strand.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(strand.fault());
        }
        strand.source.set_active(true)?;
        strand.source.push_event(gst::event::StreamStart::new("studio"));
        Ok(strand)
    }

    fn link(&self, elements: &[gst::Element]) -> std::result::Result<(), Fault> {
        let no_link = |_| Problem::new("two cards do not fit", "switch one of them off");
        self.pipeline.add_many(elements)?;
        gst::Element::link_many(elements)?;
        let first = elements.first().and_then(|element| element.static_pad("sink"));
        let last = elements.last().and_then(|element| element.static_pad("src"));
        self.source.link(first.as_ref().unwrap_or(&self.sink)).map_err(no_link)?;
        if let Some(last) = last {
            last.link(&self.sink).map_err(no_link)?;
        }
        Ok(())
    }

    /// Pushes a frame and returns the frames that leave the elements.
    ///
    /// # Errors
    /// An element fails or refuses the format.
    pub(crate) fn push(&mut self, frame: &Frame) -> std::result::Result<Vec<Frame>, Fault> {
        if self.caps.as_ref() != Some(&frame.caps) {
            self.caps = Some(frame.caps.clone());
            self.source.push_event(gst::event::Caps::new(&frame.caps));
            self.push_segment();
        }
        match self.source.push(frame.buffer.clone()) {
            Ok(_) => Ok(self.take()),
            Err(_) => Err(self.fault()),
        }
    }

    /// Ends the stream, and returns the frames that the elements have kept back. [`Self::reset`]
    /// begins a new one.
    pub(crate) fn drain(&mut self) -> Vec<Frame> {
        self.source.push_event(gst::event::Eos::new());
        self.take()
    }

    /// Makes the elements forget all frames.
    pub(crate) fn reset(&mut self) {
        self.source.push_event(gst::event::FlushStart::new());
        self.source.push_event(gst::event::FlushStop::new(true));
        self.take();
        if self.caps.is_some() {
            self.push_segment();
        }
    }

    /// Returns the next message that an element has posted.
    pub(crate) fn message(&self) -> Option<gst::Message> {
        let kinds = [gst::MessageType::Element, gst::MessageType::Error, gst::MessageType::Warning];
        self.pipeline.bus()?.pop_filtered(&kinds)
    }

    fn push_segment(&self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.source.push_event(gst::event::Segment::new(&segment));
    }

    fn take(&self) -> Vec<Frame> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Returns the error that the elements have posted.
    fn fault(&self) -> Fault {
        let posted =
            self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match posted.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => Fault {
                element: error.src().map(|source| source.name().to_string()),
                problem: of_message(error),
            },
            _ => Problem::new(
                "an element does not take this video format",
                "switch cards off to find the one",
            )
            .into(),
        }
    }
}

impl Drop for Strand {
    fn drop(&mut self) {
        let _ = self.source.set_active(false);
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.sink.set_active(false);
    }
}

/// Makes an element.
///
/// # Errors
/// Its plugin is missing.
pub(crate) fn make(factory: &str) -> Result<gst::Element> {
    Ok(gst::ElementFactory::make(factory).build()?)
}

/// Makes an element that lets only these caps pass.
///
/// # Errors
/// The element is missing, or the text is not that of caps.
pub(crate) fn make_caps(caps: &gst::Caps) -> Result<gst::Element> {
    Ok(gst::ElementFactory::make("capsfilter").property("caps", caps).build()?)
}
