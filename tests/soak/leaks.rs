// SPDX-License-Identifier: MIT OR Apache-2.0

//! Objects that outlive the element that holds them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gst::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    actions,
    common::{Temporary, tool, video::buffer},
    states,
    subject::{Subject, scene},
};

/// Frames of an element: enough for every action once.
const FRAMES: u64 = 130;

/// Checks that an element releases all frames and itself, and with GStreamer's tracer that no
/// object of a pipeline is left.
pub(crate) fn run(subject: &Subject) {
    let frames = Arc::new(AtomicUsize::new(0));
    let element = run_all_actions(subject, &frames);
    assert!(element.upgrade().is_none(), "{}: the element is leaked", subject.name());
    assert_eq!(frames.load(Ordering::Relaxed), 0, "{}: frames are leaked", subject.name());

    let registry = Temporary::new("soak.registry");
    let description = states::pipeline_description(subject, "num-buffers=40");
    let output = tool("gst-launch-1.0", &registry)
        .env("GST_TRACERS", "leaks")
        .env("GST_DEBUG", "GST_TRACER:7")
        .env("GST_DEBUG_NO_COLOR", "1")
        .args(description.split_whitespace())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {log}", subject.name());
    assert!(log.contains("GST_TRACER"), "{}: the tracer does not run: {log}", subject.name());
    let alive: Vec<_> =
        log.lines().filter(|line| line.contains(": object-alive, type-name=(string)Gst")).collect();
    assert!(alive.is_empty(), "{}: {alive:#?}", subject.name());
    println!("{:<16}no leaked objects", subject.name());
}

/// Memory of a frame that counts itself.
struct Counted {
    bytes: Vec<u8>,
    count: Arc<AtomicUsize>,
}

impl Counted {
    fn new(bytes: Vec<u8>, count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self { bytes, count: count.clone() }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Counted {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs an element with every action and stops it. `count` counts the input frames that exist.
fn run_all_actions(subject: &Subject, count: &Arc<AtomicUsize>) -> glib::WeakRef<gst::Element> {
    let mut rng = StdRng::seed_from_u64(5);
    let mut running = subject.start();
    for number in 0..FRAMES {
        let info = actions::before_frame(&mut running, number, &mut rng);
        let memory = Counted::new(scene(&info, number), count);
        let mut frame = buffer(Vec::new(), number);
        frame.get_mut().unwrap().append_memory(gst::Memory::from_mut_slice(memory));
        running.push(frame);
        while running.input.try_pull().is_some() {}
    }
    assert!(count.load(Ordering::Relaxed) < 20, "{}: frames pile up", subject.name());
    running.element.downgrade()
}
