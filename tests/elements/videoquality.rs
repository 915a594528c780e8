// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the quality measures against scikit-image and OpenCV, and of the element
//! `videoquality`.

use crate::common::{
    pipeline, run_to_end,
    video::{self, buffer},
};
use cnnvideo::quality::{Gradient, Histogram, gradient_difference, ms_ssim, mse, psnr, ssim};
use gst::prelude::*;
use gst_check::Harness;
use gstcnnvideo::videoquality::VideoQualityMessage;
use ndarray::Array2;

fn grey(name: &str) -> Array2<f32> {
    let file = format!("{}/tests/data/quality-{name}.png", env!("CARGO_MANIFEST_DIR"));
    let picture = image::open(file).unwrap().into_luma8();
    let (width, height) = picture.dimensions();
    Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        f32::from(picture.get_pixel(x as u32, y as u32).0[0])
    })
}

#[test]
fn measures_match_scikit_image_and_opencv() {
    let numbers: serde_json::Value =
        serde_json::from_str(include_str!("../data/quality.json")).unwrap();
    let clean = grey("clean");
    for name in ["noise", "blur", "dark"] {
        let changed = grey(name);
        let expected = |what: &str| numbers[name][what].as_f64().unwrap();
        let error = mse(&clean.view(), &changed.view());
        assert!((error - expected("mse")).abs() < 1e-3, "{name}: {error}");
        assert!((psnr(error) - expected("psnr")).abs() < 1e-3, "{name}: {}", psnr(error));
        // Both implementations average over positions where the window fits into the image.
        let found = ssim(&clean.view(), &changed.view()).unwrap();
        assert!(
            (found - expected("ssim")).abs() < 2e-4,
            "{name}: {found}, not {}",
            expected("ssim")
        );
        let coarse = ms_ssim(&clean.view(), &changed.view()).unwrap();
        assert!((0.0..1.0).contains(&coarse), "{name}: {coarse}");

        let (a, b) = (clean.view(), changed.view());
        for (what, kind) in [("sobel", Gradient::Sobel), ("laplacian", Gradient::Laplacian)] {
            let found = gradient_difference(&a, &b, kind);
            assert!(
                (found - expected(what)).abs() < 1e-3,
                "{name}: {what} {found}, not {}",
                expected(what)
            );
        }
        let (a, b) = (Histogram::from_plane(&a), Histogram::from_plane(&b));
        assert!(
            (a.chi_square_distance(&b) - expected("chi-square")).abs() < 1e-5,
            "{name}: {}",
            a.chi_square_distance(&b)
        );
        assert!(
            (a.earth_movers_distance(&b) - expected("earth-movers")).abs() < 1e-3,
            "{name}: {}",
            a.earth_movers_distance(&b)
        );
    }
}

/// Runs a pipeline. Returns the messages of `videoquality` until the end of the stream, or the
/// error.
fn run(description: &str) -> Result<Vec<VideoQualityMessage>, String> {
    let structures = run_to_end(description)?;
    Ok(structures.iter().filter_map(|s| VideoQualityMessage::try_from(s.as_ref()).ok()).collect())
}

fn source(count: u32, caps: &str) -> String {
    format!("videotestsrc num-buffers={count} ! video/x-raw,framerate=25/1,{caps} ! queue")
}

const CAPS: &str = "format=I420,width=320,height=240";

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

#[test]
fn output_is_the_tested_stream_or_the_panel() {
    let info = video::info(gst_video::VideoFormat::I420, 64, 48);
    for output in ["test", "panel"] {
        let element = gst::ElementFactory::make("videoquality").build().unwrap();
        element.set_property_from_str("output", output);
        let mut test = Harness::with_element(&element, Some("sink"), Some("src"));
        let mut reference = Harness::with_element(&element, Some("reference"), None);
        let caps = info.to_caps().unwrap();
        test.set_src_caps(caps.clone());
        reference.set_src_caps(caps.clone());
        test.play();
        let [clean, noisy] = [0.0, 20.0].map(|sigma| video::bytes(&info, sigma, 3));
        reference.push(buffer(clean, 1)).unwrap();
        test.push(buffer(noisy.clone(), 1)).unwrap();
        let out = test.pull().unwrap();
        assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(40)));
        let caps = test.sinkpad().unwrap().current_caps().unwrap();
        let own = gst_video::VideoInfo::from_caps(&caps).unwrap();
        if output == "test" {
            assert_eq!(video::to_bytes(&out), noisy);
            assert_eq!((own.width(), own.height()), (64, 48));
        } else {
            assert_eq!((own.width(), own.height(), out.size()), (1280, 720, 3 * 1280 * 720));
            let colours: std::collections::HashSet<_> =
                video::to_bytes(&out).chunks(3).map(<[u8]>::to_vec).collect();
            assert!(colours.len() > 50, "the panel is nearly empty");
        }
    }
}
