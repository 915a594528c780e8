// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the latency and QoS of live pipelines that `docs/live.md` describes.

use gst::prelude::*;

use crate::common::{init, pipeline};

const KEY: &str = "key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Duration of a frame at 25 frames per second, which is the latency of the source.
const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// Plays a live pipeline with `elements` until its first frame is shown, and returns its latency.
fn latency_with(elements: &str, deadline: gst::ClockTime) -> gst::ClockTime {
    let pipeline = pipeline(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 ! \
         {elements} ! fakesink sync=true processing-deadline={}",
        deadline.nseconds()
    ));
    pipeline.set_state(gst::State::Playing).unwrap();
    let (result, state, _) = pipeline.state(gst::ClockTime::from_seconds(20));
    assert!(result.is_ok() && state == gst::State::Playing, "{elements}");
    let mut query = gst::query::Latency::new();
    assert!(pipeline.query(&mut query), "{elements}");
    pipeline.set_state(gst::State::Null).unwrap();
    let (live, latency, _) = query.result();
    assert!(live, "{elements}");
    latency
}

#[test]
fn the_latency_is_that_of_the_source_and_the_deadline() {
    let deadline = gst::ClockTime::from_mseconds(60);
    let meter = "tee name=t ! queue ! q.reference t. ! queue ! q.sink videoquality name=q";
    for elements in [
        "queue leaky=downstream max-size-buffers=1 ! cnndenoise ! queue max-size-buffers=2",
        "cnnsmooth ! cnnsegment seeds=fg:50%,50%",
        &format!("watermarkembed {KEY} payload=0123456789abcdef ! watermarkdetect {KEY}"),
        meter,
    ] {
        assert_eq!(latency_with(elements, deadline), FRAME + deadline, "{elements}");
    }
}

#[test]
fn the_default_of_qos_is_as_documented() {
    init();
    for (name, qos) in [
        ("cnndenoise", true),
        ("cnnsmooth", true),
        ("cnndeband", true),
        ("cnndemosaic", true),
        ("cnnsegment", false),
        ("watermarkembed", false),
        ("watermarkdetect", false),
    ] {
        let element = gst::ElementFactory::make(name).build().unwrap();
        assert_eq!(element.property::<bool>("qos"), qos, "{name}");
    }
}
