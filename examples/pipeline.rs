// SPDX-License-Identifier: MIT OR Apache-2.0

//! An application that denoises a file or a test pattern in a GStreamer pipeline and prints the
//! element's statistics.
//!
//! `cargo run --release --example pipeline -- [FILE]`

use gst::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gst::init()?;
    // The plugin is linked into the program, so `GST_PLUGIN_PATH` is not needed.
    gstcnnvideo::plugin_register_static()?;

    let source = match std::env::args().nth(1) {
        Some(file) => {
            let uri = glib::filename_to_uri(std::fs::canonicalize(file)?, None)?;
            format!("uridecodebin uri=\"{uri}\"")
        }
        None => {
            "videotestsrc pattern=snow num-buffers=50 ! video/x-raw,width=640,height=360".into()
        }
    };
    let description = format!("{source} ! videoconvert ! cnndenoise name=denoise ! fakesink");
    let pipeline = gst::parse::launch(&description)?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "not a pipeline")?;
    let denoise = pipeline.by_name("denoise").ok_or("no element named denoise")?;

    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::NONE, &wanted);
    // The statistics are reset when the element stops, so they are read before.
    println!("{}", denoise.property::<gst::Structure>("stats"));
    pipeline.set_state(gst::State::Null)?;
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(error.error().into()),
        _ => Ok(()),
    }
}
