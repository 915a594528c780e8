// SPDX-License-Identifier: MIT OR Apache-2.0

//! Comparison of streams of different formats, lengths, rates and masks.

use gst::prelude::*;

use super::{CAPS, run, source};
use crate::common::pipeline;

#[test]
fn identical_streams_have_no_error_and_messages_follow_the_interval() {
    let (a, b) = (source(25, CAPS), source(25, CAPS));
    let found =
        run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q interval=10 ! fakesink"))
            .unwrap();
    assert_eq!(
        found.iter().map(|m| (m.frames, m.summary)).collect::<Vec<_>>(),
        [(10, false), (20, false), (25, true)]
    );
    for message in &found {
        assert_eq!((message.mean.mse_total, message.mean.psnr()), (0.0, f64::INFINITY));
        assert!((message.mean.ssim.unwrap() - 1.0).abs() < 1e-6);
        assert_eq!((message.unpaired_reference, message.unpaired_test), (0, 0));
    }
}

#[test]
fn a_change_is_measured_across_formats() {
    let other = "format=NV12,width=320,height=240";
    let a = source(5, CAPS);
    let b = format!("{} ! videobalance brightness=0.1", source(5, other));
    let found =
        run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap();
    let mean = found.last().unwrap().mean;
    assert!((15.0..30.0).contains(&mean.psnr()), "{mean:?}");
    assert!(
        mean.mse[1] == Some(0.0) && mean.ssim.unwrap() < 1.0 && mean.histogram_earth_movers > 5.0,
        "{mean:?}"
    );
    let rgb = source(5, "format=RGB,width=320,height=240");
    let found =
        run(&format!("{rgb} ! q.reference {rgb} ! q.sink videoquality name=q ! fakesink")).unwrap();
    assert!(found[0].mean.rgb && found[0].mean.mse == [Some(0.0); 3]);
}

#[test]
fn streams_of_unequal_length_end() {
    for (reference, test, pairs, unpaired) in [(5, 12, 5, 7), (12, 5, 5, 0)] {
        let (a, b) = (source(reference, CAPS), source(test, CAPS));
        let found =
            run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap();
        let last = found.last().unwrap();
        assert_eq!((last.frames, last.unpaired_test, last.summary), (pairs, unpaired, true));
    }
}

#[test]
fn an_endless_stream_does_not_delay_eos() {
    let endless = source(u32::MAX, CAPS);
    let found = run(&format!(
        "{endless} ! q.reference {} ! q.sink videoquality name=q ! fakesink",
        source(7, CAPS)
    ));
    let found = found.unwrap();
    assert_eq!((found.last().unwrap().frames, found.last().unwrap().summary), (7, true));

    // If the reference ends first, a warning reports that nothing is measured any more.
    let pipeline = pipeline(&format!(
        "{} ! q.reference {endless} ! q.sink videoquality name=q ! fakesink",
        source(3, CAPS)
    ));
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = pipeline.bus().unwrap().timed_pop_filtered(
        gst::ClockTime::from_seconds(20),
        &[gst::MessageType::Warning, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null).unwrap();
    let gst::MessageView::Warning(warning) = message.as_ref().unwrap().view() else {
        panic!("{message:?}")
    };
    assert!(warning.error().to_string().contains("reference ended first"));
}

#[test]
fn region_masks_are_compared() {
    let segment = |seeds: &str| format!("cnnsegment seeds={seeds}");
    let a = format!("{} ! {}", source(4, CAPS), segment("fg:100,100"));
    let both = |other: &str| {
        let b = format!("{} ! {other}", source(4, CAPS));
        let found =
            run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap();
        found.last().unwrap().mean.iou
    };
    assert_eq!(both(&segment("fg:100,100")), Some(1.0));
    assert!(both(&segment("fg:300,20")).unwrap() < 1.0);
    assert_eq!(both("identity"), None);
}

#[test]
fn frame_rates_may_differ_but_sizes_must_agree() {
    let a = source(20, CAPS);
    let b = "videotestsrc num-buffers=10 ! \
             video/x-raw,framerate=25/2,format=I420,width=320,height=240 ! queue";
    let found =
        run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap();
    let last = found.last().unwrap();
    assert_eq!((last.frames, last.unpaired_test), (10, 0));
    assert!(last.unpaired_reference >= 9, "{last:?}");

    let b = source(5, "format=I420,width=160,height=120");
    let error =
        run(&format!("{a} ! q.reference {b} ! q.sink videoquality name=q ! fakesink")).unwrap_err();
    assert!(error.contains("320x240") && error.contains("160x120"), "{error}");
}
