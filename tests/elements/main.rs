// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the elements. They are one program, so that they are linked once.
//!
//! Every test can share a process with the others: none changes the environment or the registry of
//! its own process. Those that need another environment run GStreamer's tools as child processes.

#[path = "../common/mod.rs"]
mod common;

mod auto_quality;
mod cnndeband;
mod cnndemosaic;
mod cnndenoise;
mod cnnsegment;
mod cnnsegment_drawings;
mod cnnsmooth;
mod determinism;
mod docs;
mod filters;
#[cfg(target_os = "linux")]
mod key_memory;
mod live;
mod lookahead;
#[cfg(target_os = "linux")]
mod memory;
mod plugin;
mod plugin_cache;
mod roi;
mod segmentation_meta;
mod ten_bit;
mod videoquality;
mod watermark;
mod watermark_segments;
