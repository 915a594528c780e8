// SPDX-License-Identifier: MIT OR Apache-2.0

//! Many instances at the same time.

use std::{
    hash::{DefaultHasher, Hasher},
    thread,
};

use gst_video::VideoFormat;

use crate::{
    Amount,
    common::video::{buffer, info, to_bytes},
    subject::{Subject, scene},
};

/// Number of instances.
const INSTANCES: usize = 16;

/// Runs the same frames through all instances at the same time; their output is that of an
/// instance on its own.
pub(crate) fn run(subject: &Subject, amount: Amount) {
    let expected = output(subject, amount.parallel_frames);
    let outputs: Vec<u64> = thread::scope(|scope| {
        let start = |_| scope.spawn(|| output(subject, amount.parallel_frames));
        let threads: Vec<_> = (0..INSTANCES).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    println!(
        "{:<16}{INSTANCES} instances in parallel, {} frames each",
        subject.name(),
        amount.parallel_frames
    );
    assert_eq!(outputs, [expected; INSTANCES], "{}: outputs differ", subject.name());
}

/// Returns a hash of all frames that an instance outputs.
fn output(subject: &Subject, frames: u64) -> u64 {
    let info = info(VideoFormat::I420, 160, 96);
    let mut running = subject.start();
    let caps = info.to_caps().unwrap();
    running.for_each_input(|input| input.set_src_caps(caps.clone()));
    let inputs: Vec<_> = (0..4).map(|seed| scene(&info, seed)).collect();
    let mut hash = DefaultHasher::new();
    for number in 0..frames {
        let input = buffer(inputs[number as usize % inputs.len()].clone(), number);
        hash.write(&to_bytes(&running.process(input)));
    }
    hash.finish()
}
