//! Helpers that the integration tests share.
#![allow(dead_code)]

pub mod random;
mod temporary;
pub mod video;

use std::{path::PathBuf, process::Command, sync::Once};

use gst::prelude::*;

pub use temporary::Temporary;

/// Initialises GStreamer and registers the plugin of this build in this process.
pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gstcnnvideo::plugin_register_static().unwrap();
    });
}

/// Waits for the error message of a pipeline and returns its error.
pub fn error_of(pipeline: &gst::Pipeline) -> glib::Error {
    let bus = pipeline.bus().unwrap();
    let message =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    match message.expect("an error").view() {
        gst::MessageView::Error(error) => error.error(),
        _ => unreachable!(),
    }
}

/// Returns the folder in which cargo has built `libgstcnnvideo.so`.
pub fn plugin_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().find(|f| f.join("libgstcnnvideo.so").exists());
    folder.expect("libgstcnnvideo.so is not in the target folder of the tests").to_owned()
}

/// Returns the command for a GStreamer tool that loads the built plugin, with a registry of its
/// own.
pub fn tool(name: &str, registry: &Temporary) -> Command {
    let mut command = Command::new(name);
    command
        .env("GST_REGISTRY", &registry.0)
        .env("GST_PLUGIN_PATH", plugin_folder())
        .env_remove("GST_PLUGIN_PATH_1_0");
    command
}
