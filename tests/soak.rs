// SPDX-License-Identifier: MIT OR Apache-2.0

//! Soak test for memory leaks over thousands of frames. It is the only test of its process, so that
//! nothing else allocates.

mod common;

use common::video::{buffer, bytes, element, harness, info};
use gst::prelude::*;
use gst_video::VideoFormat;

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    fn malloc_trim(pad: usize) -> i32;
    fn mallopt(parameter: i32, value: i32) -> i32;
}

/// Makes all threads share one malloc arena. With an arena for each thread, the retained memory
/// would depend on the scheduling.
fn share_an_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no other thread allocates yet; -8 is `M_ARENA_MAX`.
    unsafe {
        mallopt(-8, 1);
    }
}

/// Returns the resident memory of this process in KiB, after glibc's allocator has returned free
/// memory.
fn resident_kib() -> u64 {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called at any time from any thread.
    unsafe {
        malloc_trim(0);
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

#[test]
fn memory_stays_flat_over_thousands_of_frames() {
    share_an_arena();
    let info = info(VideoFormat::I420, 160, 96);
    let frame_bytes: Vec<_> = (0..8).map(|seed| bytes(&info, 12.0, seed)).collect();
    for (name, frames) in
        [("cnndenoise", 10_000), ("cnnsmooth", 4_000), ("cnnsegment seeds=fg:50%,50%", 4_000)]
    {
        let mut h = harness(name, &info);
        let element = element(&h);
        // The resident memory fluctuates. The minimum of each quarter shows what is not freed.
        let mut quarter_minima = [u64::MAX; 4];
        for number in 0..frames {
            if name.starts_with("cnnsegment") {
                if number % 50 == 0 {
                    element.emit_by_name::<bool>(
                        "add-seed",
                        &[&80.0f64, &48.0f64, &((number / 50 % 3) as u32)],
                    );
                }
            } else {
                element.set_property("strength", (number % 21) as f32 * 0.05);
            }
            let out =
                h.push_and_pull(buffer(frame_bytes[number as usize % 8].clone(), number)).unwrap();
            assert_eq!(out.size(), info.size());
            if number % 10 == 0 {
                let quarter = &mut quarter_minima[(4 * number / frames) as usize];
                *quarter = resident_kib().min(*quarter);
            }
        }
        let growth = quarter_minima[3].saturating_sub(quarter_minima[1]);
        // A frame is 23 KiB. A leak of one frame in ten would exceed this limit at least twice.
        assert!(growth < 2048, "{name}: the resident memory grew by {growth} KiB");
    }
}
