// SPDX-License-Identifier: MIT OR Apache-2.0

//! Helpers that the integration tests share. No test program uses all of them.
#![allow(dead_code)]

pub(crate) mod random;
mod temporary;
pub(crate) mod video;

use std::{path::PathBuf, process::Command, sync::Once};

use gst::prelude::*;

pub(crate) use temporary::Temporary;

/// Initialises GStreamer and registers the plugin of this build in this process.
pub(crate) fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gstcnnvideo::plugin_register_static().unwrap();
    });
}

/// Creates a pipeline from a description in the syntax of gst-launch-1.0.
pub(crate) fn pipeline(description: &str) -> gst::Pipeline {
    init();
    gst::parse::launch(description).unwrap().downcast().unwrap()
}

/// Waits for the error message of a pipeline, stops the pipeline and returns the error.
pub(crate) fn error_of(pipeline: &gst::Pipeline) -> glib::Error {
    let bus = pipeline.bus().unwrap();
    let message =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    match message.expect("an error").view() {
        gst::MessageView::Error(error) => error.error(),
        _ => unreachable!(),
    }
}

/// Starts a pipeline that fails and returns its error.
pub(crate) fn start_error(description: &str) -> glib::Error {
    let pipeline = pipeline(description);
    let _ = pipeline.set_state(gst::State::Playing);
    error_of(&pipeline)
}

/// Runs a pipeline to its end. Returns the structures of the messages that its elements posted, or
/// the error.
pub(crate) fn run_to_end(description: &str) -> Result<Vec<gst::Structure>, String> {
    let pipeline = pipeline(description);
    let _ = pipeline.set_state(gst::State::Playing);
    let mut structures = Vec::new();
    let mut result = Err("the stream did not end".to_owned());
    for message in pipeline.bus().unwrap().iter_timed(gst::ClockTime::from_seconds(60)) {
        match message.view() {
            gst::MessageView::Eos(_) => {
                result = Ok(());
                break;
            }
            gst::MessageView::Error(err) => {
                result = Err(err.error().to_string());
                break;
            }
            gst::MessageView::Element(element) => {
                structures.extend(element.structure().map(ToOwned::to_owned));
            }
            _ => (),
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    result.map(|()| structures)
}

/// Returns the folder in which cargo has built `libgstcnnvideo.so`.
pub(crate) fn plugin_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().find(|f| f.join("libgstcnnvideo.so").exists());
    folder.expect("libgstcnnvideo.so is not in the target folder of the tests").to_owned()
}

/// Returns the command for a GStreamer tool that loads the built plugin, with a registry of its
/// own.
pub(crate) fn tool(name: &str, registry: &Temporary) -> Command {
    let mut command = Command::new(name);
    command
        .env("GST_REGISTRY", &registry.0)
        .env("GST_PLUGIN_PATH", plugin_folder())
        .env_remove("GST_PLUGIN_PATH_1_0");
    command
}
