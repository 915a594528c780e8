// SPDX-License-Identifier: MIT OR Apache-2.0

//! Outputs, metas and caps.

use super::{DISC, RADIUS, mask, overlap, scene};
use crate::common::{
    pipeline,
    video::{FORMATS, buffer, components, element, harness, info, to_bytes},
};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};
use gstcnnvideo::shared::RegionMask;

#[test]
fn outputs_show_the_regions() {
    for format in FORMATS {
        let info = info(format, 400, 240);
        let bytes = scene(&info, DISC, RADIUS);
        let seeds = "seeds=fg:200,120;bg:20,20";
        let mut h = harness(&format!("cnnsegment output=mask {seeds}"), &info);
        let out = h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
        let caps = h.sinkpad().unwrap().current_caps().unwrap();
        let grey = VideoInfo::from_caps(&caps).unwrap();
        assert_eq!(grey.format(), VideoFormat::Gray8);
        let labels = ndarray::Array2::from_shape_vec(
            (240, 400),
            components(&grey, &to_bytes(&out)).remove(0),
        )
        .unwrap();
        assert!(
            labels.iter().all(|v| [0, 255].contains(v)) && overlap(&labels, DISC, RADIUS) > 0.85,
            "{format:?}"
        );

        let mut h = harness(&format!("cnnsegment output=alpha {seeds}"), &info);
        let out = h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
        let caps = h.sinkpad().unwrap().current_caps().unwrap();
        let transparent = VideoInfo::from_caps(&caps).unwrap();
        assert!(transparent.has_alpha(), "{format:?}: {caps}");
        let after = components(&transparent, &to_bytes(&out));
        let before = components(&info, &bytes);
        assert_eq!(after[3], labels.into_raw_vec_and_offset().0, "{format:?}");
        assert_eq!(after[0], before[0], "{format:?}");
        if before[1..].first().is_some_and(|chroma| chroma.len() == after[1].len()) {
            assert_eq!((&after[1], &after[2]), (&before[1], &before[2]), "{format:?}");
        }

        let mut h = harness(&format!("cnnsegment output=overlay {seeds}"), &info);
        let out = h.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
        let after = components(&info, &to_bytes(&out));
        let changed = |x: usize, y: usize| {
            let scaled = |c: &Vec<u8>| {
                (if c.len() == 400 * 240 { 0 } else { 1 }, if c.len() == 200 * 120 { 1 } else { 0 })
            };
            before.iter().zip(&after).any(|(a, b)| {
                let (sx, sy) = scaled(a);
                let at = (y >> sy) * (400 >> sx) + (x >> sx);
                a[at] != b[at]
            })
        };
        assert!(!changed(10, 10), "{format:?}");
        assert!((140..=260).any(|x| changed(x, 120)), "{format:?}");
        assert!(mask(&out, &info).is_some());
    }
}

/// Returns the samples from a pipeline between `appsrc name=i` and `appsink name=o`.
fn run_through(description: &str, from: &VideoInfo, frames: &[Vec<u8>]) -> Vec<gst::Sample> {
    let pipeline =
        pipeline(&format!("appsrc name=i format=time ! {description} ! appsink name=o sync=false"));
    let input = pipeline.by_name("i").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let output = pipeline.by_name("o").unwrap().downcast::<gst_app::AppSink>().unwrap();
    input.set_caps(Some(&from.to_caps().unwrap()));
    pipeline.set_state(gst::State::Playing).unwrap();
    let samples = frames
        .iter()
        .enumerate()
        .map(|(number, frame)| {
            input.push_buffer(buffer(frame.clone(), number as u64)).unwrap();
            output.pull_sample().unwrap()
        })
        .collect();
    pipeline.set_state(gst::State::Null).unwrap();
    samples
}

#[test]
fn mask_meta_passes_elements_that_keep_the_geometry() {
    let info = info(VideoFormat::I420, 400, 240);
    let frame = [scene(&info, DISC, RADIUS)];
    let seg = "cnnsegment seeds=fg:200,120;bg:20,20";
    for (then, kept) in [
        ("queue ! tee ! queue", true),
        ("videoconvert ! video/x-raw,format=RGB", true),
        ("cnndenoise ! cnnsmooth", true),
        ("videoscale ! video/x-raw,width=200,height=120", true),
        ("videocrop left=100", false),
        ("videoflip video-direction=90r", false),
    ] {
        let sample = run_through(&format!("{seg} ! {then}"), &info, &frame).remove(0);
        let after = VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let labels = mask(&sample.buffer_owned().unwrap(), &after);
        assert_eq!(labels.is_some(), kept, "{then}: {}", sample.caps().unwrap());
        if let Some(labels) = labels {
            let scale = after.width() as f32 / 400.0;
            assert!(overlap(&labels, DISC.map(|v| v * scale), RADIUS * scale) > 0.85, "{then}");
        }
    }
}

#[test]
fn region_strengths_apply_with_sharp_borders() {
    for format in FORMATS {
        let info = info(format, 400, 240);
        let bytes = scene(&info, DISC, RADIUS);
        let before = components(&info, &bytes);
        for filter in [
            "cnndenoise noise-level=20 temporal=false",
            "cnndenoise noise-level=20",
            "cnnsmooth scale=12",
        ] {
            for (foreground, background) in [(0.0, 1.0), (1.0, 0.0)] {
                let name = filter.split(' ').next().unwrap();
                let mut h = harness(filter, &info);
                let filter_element = element(&h);
                filter_element.set_property("foreground-strength", foreground as f32);
                filter_element.set_property("background-strength", background as f32);
                let labels = ndarray::Array2::from_shape_fn((240, 400), |(y, x)| {
                    u8::from((150..250).contains(&x) && (60..180).contains(&y))
                });
                let mut buffer = buffer(bytes.clone(), 0);
                let mask = RegionMask::new(400, 240, labels.iter().copied().collect()).unwrap();
                mask.attach(buffer.make_mut(), (400, 240));
                let after = components(&info, &to_bytes(&h.push_and_pull(buffer).unwrap()));
                let colours = if info.has_alpha() { 3 } else { before.len() };
                let (mut kept, mut changed) = (0, 0);
                for (before, after) in before.iter().zip(&after).take(colours) {
                    // A chroma sample is protected if the mask protects its top left pixel.
                    let (sx, sy) = match before.len() {
                        n if n == 400 * 240 => (0, 0),
                        n if n == 200 * 240 => (1, 0),
                        _ => (1, 1),
                    };
                    for (i, (a, b)) in before.iter().zip(after).enumerate() {
                        let (x, y) = ((i % (400 >> sx)) << sx, (i / (400 >> sx)) << sy);
                        let inside = labels[[y, x]] > 0;
                        let stays = inside == (foreground == 0.0);
                        if stays {
                            assert_eq!(a, b, "{name} {format:?} at {x},{y}");
                            kept += 1;
                        } else {
                            changed += u32::from(a != b);
                        }
                    }
                }
                assert!(kept > 1000 && changed > 1000, "{name} {format:?}: {kept} {changed}");
            }
        }
    }
}

/// Returns a buffer with the frame of `bytes` in rows that are padded by `padding` bytes.
fn padded(info: &VideoInfo, bytes: Vec<u8>, padding: i32) -> gst::Buffer {
    use gst_video::VideoFrameExt;
    let frame =
        gst_video::VideoFrame::from_buffer_readable(gst::Buffer::from_slice(bytes), info).unwrap();
    let (mut memory, mut offsets, mut strides) = (Vec::new(), Vec::new(), Vec::new());
    for (plane, stride) in frame.plane_stride().iter().enumerate() {
        offsets.push(memory.len());
        strides.push(stride + padding);
        for row in frame.plane_data(plane as u32).unwrap().chunks(*stride as usize) {
            memory.extend_from_slice(row);
            memory.resize(memory.len() + padding as usize, 99);
        }
    }
    let mut buffer = buffer(memory, 0);
    let (format, width, height) = (info.format(), info.width(), info.height());
    gst_video::VideoMeta::add_full(
        buffer.make_mut(),
        gst_video::VideoFrameFlags::empty(),
        format,
        width,
        height,
        &offsets,
        &strides,
    )
    .unwrap();
    buffer
}

#[test]
fn padded_rows_do_not_change_the_output() {
    for format in FORMATS {
        let info = info(format, 400, 240);
        for output in ["mask", "alpha"] {
            let description = format!("cnnsegment output={output} seeds=fg:200,120;bg:20,20");
            let bytes = scene(&info, DISC, RADIUS);
            let mut tight = harness(&description, &info);
            let expected = tight.push_and_pull(buffer(bytes.clone(), 0)).unwrap();
            // Both an odd number of bytes, and whole frames in bytes.
            for padding in [37, 400] {
                let mut h = harness(&description, &info);
                let out = h.push_and_pull(padded(&info, bytes.clone(), padding)).unwrap();
                assert!(to_bytes(&out) == to_bytes(&expected), "{format:?} {output} {padding}");
                assert!(out.meta::<gst_video::VideoMeta>().is_none());
            }
        }
    }
}

/// Returns the output caps of `cnnsegment` with a property, for input caps.
fn output_caps(output: &str, caps: &str) -> gst::Caps {
    crate::common::init();
    let mut h = Harness::new_parse(&format!("cnnsegment output={output}"));
    let caps: gst::Caps = caps.parse().unwrap();
    let size = VideoInfo::from_caps(&caps).unwrap().size();
    h.set_src_caps(caps);
    h.push_and_pull(buffer(vec![100; size], 0)).unwrap();
    h.sinkpad().unwrap().current_caps().unwrap()
}

#[test]
fn caps_keep_the_meaning_of_the_samples() {
    let hdr = "mastering-display-info=(string)\
               34000:16000:13250:34500:7500:3000:15635:16450:10000000:1,\
               content-light-level=(string)1000:400,pixel-aspect-ratio=2/1,\
               multiview-mode=(string)side-by-side,interlace-mode=mixed";
    for (format, alpha, site) in [
        ("I420", "A420", Some("mpeg2")),
        ("NV12", "A420", Some("mpeg2")),
        ("Y42B", "AYUV", None),
        ("Y444", "AYUV", Some("mpeg2")),
    ] {
        // The fourth one is that of decoded JPEG.
        for colorimetry in ["bt601", "bt709", "1:3:5:1", "1:4:0:0", "bt2100-pq"] {
            let caps = format!(
                "video/x-raw,format={format},width=64,height=48,framerate=25/1,{hdr},\
                 colorimetry=(string){colorimetry},chroma-site=mpeg2"
            );
            let out = output_caps("alpha", &caps);
            let out = out.structure(0).unwrap();
            let expected: gst::Caps = caps.parse().unwrap();
            let mut expected = expected.structure(0).unwrap().to_owned();
            expected.set("format", alpha);
            if site.is_none() {
                expected.remove_field("chroma-site");
            }
            assert_eq!(out, expected.as_ref(), "{format}");
            // A mask has geometry, but no colours.
            let mask = output_caps("mask", &caps);
            let mask = mask.structure(0).unwrap();
            expected.set("format", "GRAY8");
            expected.remove_fields(["colorimetry", "chroma-site"]);
            assert_eq!(mask, expected.as_ref(), "{format}");
        }
    }
    // The default of grey is the full range, that of YUV is not.
    for (fields, expected) in [("", "1:4:0:0"), (",colorimetry=(string)bt709", "bt709")] {
        let caps = format!("video/x-raw,format=GRAY8,width=64,height=48,framerate=25/1{fields}");
        let out = output_caps("alpha", &caps);
        assert_eq!(out.structure(0).unwrap().get::<String>("colorimetry").unwrap(), expected);
        assert!(!output_caps("meta", &caps).to_string().contains("1:4:0:0"));
    }
    let rgb =
        "video/x-raw,format=RGB,width=64,height=48,framerate=25/1,colorimetry=(string)1:1:5:7";
    assert!(output_caps("alpha", rgb).to_string().contains("1:1:5:7"));
}

/// Returns the names of the metas in the answer to an allocation query, empty without an answer.
fn offered_metas(h: &mut Harness, info: &VideoInfo) -> Vec<String> {
    let mut query = gst::query::Allocation::new(Some(&info.to_caps().unwrap()), true);
    if !h.srcpad().unwrap().peer_query(&mut query) {
        return Vec::new();
    }
    query.allocation_metas().map(|(api, _)| api.name().to_owned()).collect()
}

#[test]
fn allocation_answers_promise_what_is_kept() {
    use gst::meta::MetaAPI;
    use gst_video::{VideoCropMeta, VideoMeta};
    let info = info(VideoFormat::I420, 400, 240);
    for output in ["meta", "overlay", "mask", "alpha"] {
        for offered in [vec![], vec![VideoCropMeta::meta_api()], vec![VideoMeta::meta_api()]] {
            let mut h = harness(&format!("cnnsegment output={output}"), &info);
            // A harness answers the query only if it offers something.
            let region = glib::Type::from_name("GstVideoRegionOfInterestMetaAPI");
            let region = region.unwrap_or_else(gst_video::VideoRegionOfInterestMeta::meta_api);
            for api in offered.iter().copied().chain([region]) {
                h.add_propose_allocation_meta(api, None);
            }
            h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
            let answer = offered_metas(&mut h, &info);
            let has = |api: glib::Type| answer.iter().filter(|name| *name == api.name()).count();
            // In place, buffers of upstream go downstream; otherwise the element reads them.
            let reads = ["mask", "alpha"].contains(&output);
            let expected = usize::from(reads || offered.contains(&VideoMeta::meta_api()));
            assert_eq!(has(VideoMeta::meta_api()), expected, "{output}: {offered:?}, {answer:?}");
            assert_eq!(has(VideoCropMeta::meta_api()), 0, "{output}: {answer:?}");
        }
    }
}

#[test]
fn metas_that_suit_the_output_are_kept() {
    use gst_video::{
        VideoAFDMeta, VideoAFDSpec, VideoAFDValue, VideoBarMeta, VideoCaptionMeta,
        VideoCaptionType, VideoRegionOfInterestMeta,
    };
    for format in [VideoFormat::I420, VideoFormat::Rgb] {
        let info = info(format, 400, 240);
        for output in ["meta", "overlay", "mask", "alpha"] {
            let mut h = harness(&format!("cnnsegment output={output} seeds=fg:200,120"), &info);
            let mut buffer = buffer(scene(&info, DISC, RADIUS), 0);
            let writable = buffer.make_mut();
            VideoRegionOfInterestMeta::add(writable, "face", (5, 6, 20, 20));
            VideoAFDMeta::add(writable, 0, VideoAFDSpec::AtscA53, VideoAFDValue::Unavailable);
            VideoBarMeta::add(writable, 0, true, 4, 5);
            VideoCaptionMeta::add(writable, VideoCaptionType::Cea608Raw, &[0x80, 0x80]);
            let out = h.push_and_pull(buffer).unwrap();
            let region = out.meta::<VideoRegionOfInterestMeta>().expect(output);
            assert_eq!(region.rect(), (5, 6, 20, 20));
            assert!(out.meta::<VideoAFDMeta>().is_some(), "{output}");
            assert!(out.meta::<VideoBarMeta>().is_some(), "{output}");
            assert!(out.meta::<VideoCaptionMeta>().is_some(), "{output}");
        }
    }
}

#[test]
fn caps_end_at_8192_pixels() {
    crate::common::init();
    for (width, height, accepted) in [(8192, 2, true), (2, 8192, true), (8193, 2, false)] {
        let info = info(VideoFormat::I420, width, height);
        let s = gst::ElementFactory::make("cnnsegment").build().unwrap();
        for pad in ["sink", "src"] {
            let template = s.pad_template(pad).unwrap().caps().clone();
            let is_subset = info.to_caps().unwrap().is_subset(&template);
            assert_eq!(is_subset, accepted, "{pad}: {width}x{height}");
        }
    }
}
