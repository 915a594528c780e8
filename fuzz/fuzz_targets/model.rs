// SPDX-License-Identifier: MIT OR Apache-2.0

//! The fuzz target `model` for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cnnvideo_fuzz::run("model", data));
