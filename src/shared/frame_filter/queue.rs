// SPDX-License-Identifier: MIT OR Apache-2.0

//! Queue of the frames that wait for future frames ([`FrameQueue`]).

use std::collections::VecDeque;

/// Frames that wait for future frames, and the events between them.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
    items: VecDeque<QueueItem>,
    /// Number of future frames that a frame waits for.
    lookahead: usize,
}

/// Frame or event in a [`FrameQueue`].
#[derive(Debug)]
pub(super) enum QueueItem {
    /// A frame of the input.
    Frame(gst::Buffer),
    /// A serialized event behind a frame.
    Event(gst::Event),
}

/// What a serialized event means for frames that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    /// No frame follows that continues those that wait, so they leave first.
    EndsScene,
    /// The frames that wait are dropped.
    Flush,
    /// The event waits behind the frames.
    Waits,
    /// The event does not wait.
    Passes,
}

impl EventKind {
    /// Returns the kind of an event.
    pub(super) fn of(event: &gst::Event) -> Self {
        match event.view() {
            gst::EventView::FlushStop(_) => Self::Flush,
            gst::EventView::StreamStart(_)
            | gst::EventView::Caps(_)
            | gst::EventView::Segment(_)
            | gst::EventView::SegmentDone(_)
            | gst::EventView::Gap(_)
            | gst::EventView::StreamGroupDone(_)
            | gst::EventView::Eos(_) => Self::EndsScene,
            _ if event.is_serialized() => Self::Waits,
            _ => Self::Passes,
        }
    }
}

impl FrameQueue {
    /// Creates an empty queue in which a frame waits for `lookahead` future frames.
    pub(super) fn new(lookahead: usize) -> Self {
        Self { items: VecDeque::new(), lookahead }
    }

    /// Returns the number of future frames that a frame waits for.
    pub(super) fn lookahead(&self) -> usize {
        self.lookahead
    }

    /// Returns the frames that wait, the oldest first.
    pub(super) fn frames(&self) -> impl Iterator<Item = &gst::Buffer> {
        self.items.iter().filter_map(|item| match item {
            QueueItem::Frame(frame) => Some(frame),
            QueueItem::Event(_) => None,
        })
    }

    /// Removes all frames and events.
    pub(super) fn clear(&mut self) {
        self.items.clear();
    }

    /// Adds a frame or an event.
    pub(super) fn push(&mut self, item: QueueItem) {
        self.items.push_back(item);
    }

    /// Returns whether the oldest item need not wait: an event, or a frame with enough future
    /// frames.
    fn is_ready(&self) -> bool {
        match self.items.front() {
            Some(QueueItem::Frame(_)) => self.frames().count() > self.lookahead,
            Some(QueueItem::Event(_)) => true,
            None => false,
        }
    }

    /// Removes and returns the oldest item that need not wait.
    pub(super) fn pop_ready(&mut self) -> Option<QueueItem> {
        if self.is_ready() { self.items.pop_front() } else { None }
    }

    /// Removes and returns the oldest item.
    pub(super) fn pop(&mut self) -> Option<QueueItem> {
        self.items.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_wait_and_events_keep_their_order() {
        gst::init().unwrap();
        let mut queue = FrameQueue::new(2);
        let event = || QueueItem::Event(gst::event::Tag::new(gst::TagList::new()));
        queue.push(QueueItem::Frame(gst::Buffer::new()));
        queue.push(event());
        queue.push(QueueItem::Frame(gst::Buffer::new()));
        assert!(queue.pop_ready().is_none());
        queue.push(QueueItem::Frame(gst::Buffer::new()));
        assert!(matches!(queue.pop_ready(), Some(QueueItem::Frame(_))));
        assert!(matches!(queue.pop_ready(), Some(QueueItem::Event(_))));
        assert!(queue.pop_ready().is_none());
        assert_eq!(queue.frames().count(), 2);
    }

    #[test]
    fn events_that_end_a_scene_do_not_wait() {
        gst::init().unwrap();
        for (event, kind) in [
            (gst::event::Eos::new(), EventKind::EndsScene),
            (gst::event::Gap::new(gst::ClockTime::ZERO, None), EventKind::EndsScene),
            (gst::event::FlushStart::new(), EventKind::Passes),
            (gst::event::FlushStop::new(true), EventKind::Flush),
            (gst::event::Tag::new(gst::TagList::new()), EventKind::Waits),
        ] {
            assert_eq!(EventKind::of(&event), kind, "{event:?}");
        }
    }
}
