// SPDX-License-Identifier: MIT OR Apache-2.0

//! The fuzz target `raw-frame` for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cnnvideo_fuzz::run("raw-frame", data));
