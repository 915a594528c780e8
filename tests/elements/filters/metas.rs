// SPDX-License-Identifier: MIT OR Apache-2.0

//! Times, flags and metas of buffers that the output keeps or drops.

use gst_video::VideoFormat;

use super::{FILTERS, name, padded_frame, with_meta};
use crate::common::video::{buffer, bytes, harness, info};

#[test]
fn metas_about_the_content_are_kept() {
    for filter in FILTERS {
        let info = info(VideoFormat::I420, 32, 32);
        for strength in ["0", "1"] {
            let mut h = harness(&format!("{} strength={strength}", name(filter)), &info);
            let input = with_meta(buffer(bytes(&info, 5.0, 7), 3), |input| {
                let region = (5, 6, 20, 20);
                gst_video::VideoRegionOfInterestMeta::add(input, "face", region);
                gst_video::VideoCropMeta::add(input, (0, 0, 32, 32));
                let kind = gst_video::VideoCaptionType::Cea608Raw;
                gst_video::VideoCaptionMeta::add(input, kind, &[0x80, 0x80]);
                let aspect = gst_video::VideoAFDValue::_43Full169Full;
                gst_video::VideoAFDMeta::add(input, 0, gst_video::VideoAFDSpec::AtscA53, aspect);
                gst_video::VideoBarMeta::add(input, 0, true, 4, 5);
                let flags = gst_video::VideoTimeCodeFlags::empty();
                let code = gst_video::VideoTimeCode::new(
                    gst::Fraction::new(25, 1),
                    None,
                    flags,
                    1,
                    2,
                    3,
                    4,
                    0,
                );
                gst_video::VideoTimeCodeMeta::add(input, &code.try_into().unwrap());
            });
            let out = h.push_and_pull(input).unwrap();
            assert!(out.meta::<gst_video::VideoCropMeta>().is_some(), "{filter}");
            assert!(out.meta::<gst_video::VideoCaptionMeta>().is_some(), "{filter}");
            assert!(out.meta::<gst_video::VideoAFDMeta>().is_some(), "{filter}");
            assert!(out.meta::<gst_video::VideoBarMeta>().is_some(), "{filter}");
            assert!(out.meta::<gst_video::VideoTimeCodeMeta>().is_some(), "{filter}");
            let region = out.meta::<gst_video::VideoRegionOfInterestMeta>();
            assert_eq!(region.expect("the region is kept").rect(), (5, 6, 20, 20), "{filter}");
        }
    }
}

#[test]
fn metas_about_the_memory_of_the_input_are_dropped() {
    let info = info(VideoFormat::Gray8, 48, 31);
    for filter in FILTERS {
        let mut h = harness(filter, &info);
        let parent = gst::Buffer::with_size(8).unwrap();
        let input = with_meta(padded_frame(&info, 1).0, |input| {
            gst::ParentBufferMeta::add(input, &parent);
        });
        let out = h.push_and_pull(input).unwrap();
        assert!(out.meta::<gst::ParentBufferMeta>().is_none(), "{filter}");
        let meta = out.meta::<gst_video::VideoMeta>();
        assert!(meta.is_none_or(|meta| meta.stride() == info.stride()), "{filter}");
    }
}

#[test]
fn times_and_metas_are_kept() {
    for filter in FILTERS {
        let info = info(VideoFormat::I420, 32, 32);
        for strength in ["0", "1"] {
            let mut h = harness(&format!("{} strength={strength}", name(filter)), &info);
            let mut input = buffer(bytes(&info, 5.0, 7), 3);
            {
                let input = input.get_mut().unwrap();
                input.set_offset(33);
                input.set_flags(gst::BufferFlags::MARKER);
                let reference = gst::Caps::builder("timestamp/x-test").build();
                gst::ReferenceTimestampMeta::add(
                    input,
                    &reference,
                    gst::ClockTime::from_seconds(7),
                    None,
                );
            }
            let out = h.push_and_pull(input).unwrap();
            assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(120)));
            assert_eq!(out.duration(), Some(gst::ClockTime::from_mseconds(40)));
            assert_eq!(out.offset(), 33);
            assert!(out.flags().contains(gst::BufferFlags::MARKER));
            let meta =
                out.meta::<gst::ReferenceTimestampMeta>().expect("the reference timestamp is kept");
            assert_eq!(meta.timestamp(), gst::ClockTime::from_seconds(7));
        }
    }
}
