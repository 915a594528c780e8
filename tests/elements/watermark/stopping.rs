// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stopping and flushing while the worker thread of the detector is busy.

use std::{
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use gst::prelude::*;

use super::KEY;
use crate::common::pipeline;

/// A playing pipeline whose detector cannot go on: its worker thread is stopped in the handler of
/// its first message, and its streaming thread waits for the worker.
struct Blocked {
    pipeline: gst::Pipeline,
    /// Lets the worker thread go on when it is dropped.
    _release: Sender<()>,
}

impl Blocked {
    fn new() -> Self {
        let pipeline = pipeline(&format!(
            "videotestsrc ! video/x-raw,format=GRAY8,width=64,height=48 ! identity name=source ! \
             watermarkdetect name=detector key={KEY} interval=1 window=1 search=none epochs=1 \
             post-all=true ! fakesink"
        ));
        let (entered, is_entered) = channel();
        let (release, is_released): (Sender<()>, Receiver<()>) = channel();
        let is_released = Mutex::new(is_released);
        pipeline.bus().unwrap().set_sync_handler(move |_, message| {
            if matches!(message.view(), gst::MessageView::Element(_)) {
                let _ = entered.send(());
                // An error means that the sender was dropped.
                let _ = is_released.lock().unwrap().recv();
            }
            gst::BusSyncReply::Drop
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        is_entered.recv_timeout(Duration::from_secs(20)).unwrap();
        // The frames of this time fill the queue many times.
        thread::sleep(Duration::from_millis(300));
        Self { pipeline, _release: release }
    }

    /// Runs a function on another thread. Returns whether it returns although the worker does not
    /// go on.
    fn returns(&self, run: impl FnOnce(gst::Pipeline) + Send + 'static) -> bool {
        let (done, is_done) = channel();
        let pipeline = self.pipeline.clone();
        thread::spawn(move || {
            run(pipeline);
            let _ = done.send(());
        });
        is_done.recv_timeout(Duration::from_secs(10)).is_ok()
    }
}

#[test]
fn stopping_and_flushing_do_not_wait_for_the_detector() {
    let blocked = Blocked::new();
    let flushes = blocked.returns(|pipeline| {
        let pad = pipeline.by_name("source").unwrap().static_pad("src").unwrap();
        pad.push_event(gst::event::FlushStart::new());
        // This event waits for the streaming thread.
        pad.push_event(gst::event::FlushStop::new(true));
    });
    assert!(flushes, "flushing waits for the worker");
    let stops = blocked.returns(|pipeline| {
        pipeline.set_state(gst::State::Null).unwrap();
    });
    assert!(stops, "stopping after a flush waits for the worker");
    drop(blocked);

    let blocked = Blocked::new();
    let stops = blocked.returns(|pipeline| {
        pipeline.set_state(gst::State::Null).unwrap();
    });
    assert!(stops, "stopping waits for the worker");
}
