// SPDX-License-Identifier: MIT OR Apache-2.0

//! Many starts and stops of one pipeline.

use gst::prelude::*;

use crate::{
    Amount,
    common::pipeline,
    resources::{files_and_threads, resident_kib},
    subject::Subject,
};

/// Largest growth of the resident memory from the first to the second half of the cycles, in KiB.
/// The heap fluctuates by 6 MiB with the frames in flight when a pipeline stops, over any number of
/// cycles. Over 200 of them, a leak of 160 KiB at each start, such as a session, exceeds the limit;
/// the tracer of `leaks` finds smaller ones.
const MAX_GROWTH: u64 = 16_384;

/// Returns the description of a pipeline with an element, and with `source` among the properties of
/// each test source.
pub(crate) fn pipeline_description(subject: &Subject, source: &str) -> String {
    let source = format!("videotestsrc {source} ! video/x-raw,format=I420,width=160,height=96");
    let element = subject.description;
    match subject.name() {
        "videoquality" => format!(
            "{source} ! queue ! q.reference {source} ! queue ! q.sink {element} name=q ! fakesink"
        ),
        _ => format!("{source} ! {element} ! fakesink"),
    }
}

/// Starts and stops a pipeline with an element, each time until a frame has arrived.
pub(crate) fn run(subject: &Subject, amount: Amount) {
    let pipeline = pipeline(&pipeline_description(subject, ""));
    let mut memory = [u64::MAX; 2];
    let mut resources = Vec::new();
    for cycle in 0..amount.cycles {
        pipeline.set_state(gst::State::Playing).unwrap();
        // The pipeline plays when the first frame is at the sink.
        let (result, state, _) = pipeline.state(gst::ClockTime::from_seconds(60));
        assert_eq!((result, state), (Ok(gst::StateChangeSuccess::Success), gst::State::Playing));
        pipeline.set_state(gst::State::Null).unwrap();
        pipeline.bus().unwrap().set_flushing(true);
        pipeline.bus().unwrap().set_flushing(false);
        let half = &mut memory[(2 * cycle / amount.cycles) as usize];
        *half = resident_kib().min(*half);
        resources.push(files_and_threads());
    }
    println!("{:<16}{} starts: memory {memory:?} KiB", subject.name(), amount.cycles);
    let growth = memory[1].saturating_sub(memory[0]);
    assert!(growth < MAX_GROWTH, "{}: {growth} KiB more memory", subject.name());
    // GStreamer keeps idle threads for a while, so their number fluctuates.
    let [files, threads] = [0, 1].map(|i| resources.iter().map(|counts| counts[i]).max().unwrap());
    let last = resources[resources.len() - 1];
    assert!(
        files <= resources[0][0] + 2 && threads <= resources[0][1] + 8,
        "{}: {files} files and {threads} threads, in the end {last:?}",
        subject.name()
    );
}
