// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests that the watermark elements leave no copy of the key in memory.
//!
//! The tests hold the key only as its complement, so that every copy found is one of the elements.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    thread,
    time::Duration,
};

use gst::prelude::*;
use zeroize::Zeroizing;

use crate::common::{Temporary, pipeline};

const KEY_LEN: usize = 32;
/// Number of bytes of memory to read at once.
const CHUNK: usize = 1 << 20;

/// Returns the number of copies of a key in the writable memory of this process, by the complement
/// of the key.
fn copies(complement: &[u8; KEY_LEN]) -> io::Result<usize> {
    let memory = File::open("/proc/self/mem")?;
    // Cleared on drop, so that the next search does not find what this one has read.
    let mut chunk = Zeroizing::new(vec![0; CHUNK]);
    // A read of this buffer into itself would repeat what lies before it.
    let own = chunk.as_ptr_range();
    let own = (own.start.addr() as u64, own.end.addr() as u64);
    let mut count = 0;
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(access)) = (fields.next(), fields.next()) else { continue };
        let address = |text: &str| u64::from_str_radix(text, 16).map_err(io::Error::other);
        let (start, end) = range.split_once('-').expect("maps lists ranges");
        let (mut at, end) = (address(start)?, address(end)?);
        while access.starts_with("rw") && at < end {
            if (own.0..own.1).contains(&at) {
                at = own.1;
                continue;
            }
            let end = if at < own.0 { end.min(own.0) } else { end };
            let wanted = CHUNK.min((end - at) as usize);
            // Memory that another thread has unmapped since, and special mappings, cannot be read.
            let Ok(read) = memory.read_at(&mut chunk[..wanted], at) else { break };
            // The first byte alone is found quickly.
            let starts =
                chunk[..read].iter().enumerate().filter(|(_, byte)| **byte == !complement[0]);
            let is_key = |window: &[u8]| window.iter().zip(complement).all(|(a, b)| *a == !b);
            count +=
                starts.filter(|(i, _)| chunk[*i..read].get(..KEY_LEN).is_some_and(is_key)).count();
            if read < wanted {
                break;
            }
            if at + read as u64 == end {
                at = end;
                continue;
            }
            // Chunks overlap, so that no copy is split.
            at += (read - (KEY_LEN - 1)) as u64;
        }
    }
    Ok(count)
}

/// Returns the number of copies that remain: the thread of a detector may end after its element has
/// stopped.
fn remaining_copies(complement: &[u8; KEY_LEN]) -> usize {
    for _ in 0..50 {
        if copies(complement).unwrap() == 0 {
            return 0;
        }
        thread::sleep(Duration::from_millis(200));
    }
    copies(complement).unwrap()
}

/// Runs both watermark elements with the keys that `property` sets, and returns the numbers of
/// copies of the key while the pipeline runs, after it has stopped and after it is gone.
fn copies_over_time(property: &str, complement: &[u8; KEY_LEN]) -> [usize; 3] {
    let pipeline = pipeline(&format!(
        "videotestsrc num-buffers=12 ! video/x-raw,format=I420,width=64,height=48 ! \
         watermarkembed {property} payload=0123456789abcdef ! \
         watermarkdetect {property} interval=4 epochs=2 search=scale ! fakesink"
    ));
    pipeline.set_state(gst::State::Playing).unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted)
        .expect("the stream ends");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    let playing = copies(complement).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let stopped = remaining_copies(complement);
    drop(pipeline);
    [playing, stopped, remaining_copies(complement)]
}

#[test]
fn a_key_stays_in_one_place_and_is_cleared() {
    let complement: [u8; KEY_LEN] = rand::random();
    let file = Temporary::new("memory.key");
    // Byte by byte: the test never has the whole key in memory.
    let mut writer = File::create(&file.0).unwrap();
    complement.iter().for_each(|byte| writer.write_all(&[!byte]).unwrap());
    let hex: String = complement.iter().map(|byte| format!("{:02x}", !byte)).collect();
    for property in [format!("key-file={}", file.0.display()), format!("key={hex}")] {
        // The embedder has one copy and the detector another one.
        let found = copies_over_time(&property, &complement);
        assert_eq!(found, [2, 0, 0], "{}", property.split('=').next().unwrap());
    }
}
