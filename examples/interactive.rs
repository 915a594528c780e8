// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interactive segmentation demo: click on an object in the video window to keep its detail; the
//! rest is smoothed.
//!
//! `cargo run --release --example interactive -- [URI, file or device]`; without a source it shows
//! a moving test pattern.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use clap::Parser;
use gst::prelude::*;
use gst_video::NavigationEvent;
use gstcnnvideo::cnnsegment::SegmentMessage;

/// Help text shown over the video.
const HELP: &str = "click: inside   right or Ctrl+click: outside   drag: stroke   Shift+drag: \
         box   1-8: region\n\
                    wheel, g, s: grow, shrink   u: undo   c: clear   o: overlay   +/-: texture \
                    scale   i: swap inside and outside   d: denoise\n\
                    h: this text   q: quit";

#[derive(Parser)]
#[command(about = "Click on objects in a video to keep their detail while the rest is smoothed")]
struct Arguments {
    /// URI, file, or camera such as /dev/video0; a test pattern if left out
    source: Option<String>,
    /// Video sink; it must send navigation events, as ximagesink, xvimagesink and glimagesink do
    #[arg(long, default_value = "autovideosink")]
    sink: String,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() {
    if let Err(err) = run(&Arguments::parse()) {
        eprintln!("interactive: {err}");
        std::process::exit(1);
    }
}

/// Returns the description of the source part of the pipeline.
fn source(name: Option<&str>) -> Result<String> {
    Ok(match name {
        None => {
            "videotestsrc pattern=ball is-live=true ! video/x-raw,width=960,height=540".to_owned()
        }
        Some(device) if device.starts_with("/dev/video") => format!("v4l2src device={device}"),
        Some(uri) if uri.contains("://") => format!("uridecodebin uri=\"{uri}\""),
        Some(file) => format!(
            "uridecodebin uri=\"{}\"",
            glib::filename_to_uri(std::fs::canonicalize(file)?, None)?
        ),
    })
}

fn run(arguments: &Arguments) -> Result<()> {
    gst::init()?;
    gstcnnvideo::plugin_register_static()?;
    let description = format!(
        "{} ! videoconvert ! video/x-raw,format=I420 ! queue ! cnnsegment name=segment \
         output=overlay \
         ! cnndenoise name=denoise strength=0 ! cnnsmooth name=smooth foreground-strength=0 \
         ! textoverlay name=help halignment=left valignment=top font-desc=\"Sans 9\" \
         shaded-background=true \
         ! videoconvert ! {}",
        source(arguments.source.as_deref())?,
        arguments.sink
    );
    let pipeline =
        gst::parse::launch(&description)?.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let named = |name: &str| pipeline.by_name(name).ok_or_else(|| format!("no element {name}"));
    let (segment, smooth, denoise, help) =
        (named("segment")?, named("smooth")?, named("denoise")?, named("help")?);
    help.set_property("text", HELP);

    // Navigation events travel upstream; this probe handles keys before cnnsegment receives them.
    let quit = Arc::new(AtomicBool::new(false));
    let pad = segment.static_pad("src").ok_or("cnnsegment has no source pad")?;
    let (over, own) = (quit.clone(), segment.clone());
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if let Some(gst::EventView::Navigation(event)) = info.event().map(|event| event.view())
            && let Ok(NavigationEvent::KeyPress { key, .. }) = NavigationEvent::parse(event)
        {
            press(&key, &own, &smooth, &denoise, &help, &over);
        }
        gst::PadProbeReturn::Ok
    });

    pipeline.set_state(gst::State::Playing)?;
    let result = watch(&pipeline, &quit);
    pipeline.set_state(gst::State::Null)?;
    result
}

/// Handles a key press.
fn press(
    key: &str,
    segment: &gst::Element,
    smooth: &gst::Element,
    denoise: &gst::Element,
    help: &gst::Element,
    quit: &AtomicBool,
) {
    let toggle = |element: &gst::Element, name: &str| {
        let on: f32 = element.property(name);
        element.set_property(name, 1.0 - on);
    };
    let zoom = |factor: f32| {
        let scale: f32 = smooth.property("scale");
        smooth.set_property("scale", (scale * factor).clamp(1.0, 64.0));
    };
    match key {
        "o" => {
            let now = segment.property_value("output");
            let shown = glib::EnumValue::from_value(&now)
                .is_some_and(|(_, value)| value.nick() == "overlay");
            segment.set_property_from_str("output", if shown { "meta" } else { "overlay" });
        }
        "plus" | "equal" | "KP_Add" => zoom(1.25),
        "minus" | "KP_Subtract" => zoom(0.8),
        "i" => {
            toggle(smooth, "foreground-strength");
            toggle(smooth, "background-strength");
        }
        "d" => toggle(denoise, "strength"),
        "h" => {
            let silent: bool = help.property("silent");
            help.set_property("silent", !silent);
        }
        "q" | "Escape" => quit.store(true, Ordering::Relaxed),
        _ => (),
    }
}

/// Prints the messages of cnnsegment until the window is closed, the stream ends or the user quits.
fn watch(pipeline: &gst::Pipeline, quit: &AtomicBool) -> Result<()> {
    let bus = pipeline.bus().ok_or("no bus")?;
    while !quit.load(Ordering::Relaxed) {
        let Some(message) = bus.timed_pop(gst::ClockTime::from_mseconds(100)) else { continue };
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => return Err(error.error().message().into()),
            gst::MessageView::Element(element) => {
                if let Some(Ok(told)) = element.structure().map(SegmentMessage::try_from) {
                    let SegmentMessage { label, seeds, area, confidence, lost, found, .. } = told;
                    if lost {
                        println!("region {label} is lost");
                    } else {
                        if found {
                            println!("region {label} is back");
                        }
                        println!(
                            "region {label}: {:.1}% of the frame, {seeds} seeds, confidence \
                             {confidence:.2}",
                            100.0 * area
                        );
                    }
                }
            }
            _ => (),
        }
    }
    Ok(())
}
