// SPDX-License-Identifier: MIT OR Apache-2.0

//! Regions through time.

use super::{DISC, RADIUS, mask, overlap, scene};
use crate::common::video::{buffer, element, harness, info};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::VideoFormat;
use gstcnnvideo::cnnsegment::SegmentMessage;

#[test]
fn a_region_tracks_its_object_and_is_dropped_when_it_leaves() {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment seeds=fg:200,120;bg:20,20;bg:380,220", &info);
    let bus = gst::Bus::new();
    element(&h).set_bus(Some(&bus));
    for number in 0..24u64 {
        let centre = [200.0 + 4.0 * number as f32, 120.0 - 1.0 * number as f32];
        let out = h.push_and_pull(buffer(scene(&info, centre, RADIUS), number)).unwrap();
        let iou = overlap(&mask(&out, &info).unwrap(), centre, RADIUS);
        assert!(iou > 0.75, "frame {number}: {iou}");
    }
    let mut gone = 0;
    for number in 24..30 {
        let out = h.push_and_pull(buffer(scene(&info, [-500.0, 0.0], RADIUS), number)).unwrap();
        gone += u32::from(mask(&out, &info).is_none());
    }
    assert!(gone >= 2, "the mask of the lost object remained for {} frames", 6 - gone);
    let messages = messages(&bus);
    let (first, last) = (messages.first().unwrap(), messages.last().unwrap());
    assert!(!first.lost && first.seeds == 3 && (first.area - 0.118).abs() < 0.03, "{first:?}");
    assert!(last.lost && last.label == 1, "{last:?}");
}

/// Returns the messages about regions that are on a bus.
fn messages(bus: &gst::Bus) -> Vec<SegmentMessage> {
    std::iter::from_fn(|| bus.pop())
        .filter_map(|message| match message.view() {
            gst::MessageView::Element(element) => {
                SegmentMessage::try_from(element.structure()?).ok()
            }
            _ => None,
        })
        .collect()
}

/// Tracks a disc that is away for ten frames; `meanwhile` runs in the middle. Returns the messages
/// and whether there is a region in the end.
fn while_it_is_away(meanwhile: impl Fn(&mut Harness)) -> (Vec<SegmentMessage>, bool) {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment seeds=fg:200,120;bg:20,20;bg:380,220", &info);
    let bus = gst::Bus::new();
    element(&h).set_bus(Some(&bus));
    let mut is_back = false;
    for number in 0..32u64 {
        if number == 14 {
            meanwhile(&mut h);
        }
        let away = (8..18).contains(&number);
        let centre = if away { [-500.0, 0.0] } else { [200.0 + number as f32, 120.0] };
        let out = h.push_and_pull(buffer(scene(&info, centre, RADIUS), number)).unwrap();
        let mask = mask(&out, &info);
        is_back = mask.is_some_and(|mask| overlap(&mask, centre, RADIUS) > 0.75);
    }
    (messages(&bus), is_back)
}

#[test]
fn a_region_that_comes_back_is_reported() {
    let (messages, is_back) = while_it_is_away(|_| {});
    let lost = messages.iter().position(|message| message.lost).unwrap();
    let found = messages.iter().position(|message| message.found).unwrap();
    assert!(lost < found && is_back, "{messages:?}");
    let SegmentMessage { label, seeds, area, confidence, lost, .. } = messages[found];
    assert!(label == 1 && seeds >= 1 && !lost && confidence > 0.5, "{:?}", messages[found]);
    assert!((area - 0.118).abs() < 0.03, "{area}");
}

#[test]
fn a_flush_or_new_caps_end_the_search_for_a_region() {
    let flush = |h: &mut Harness| {
        h.push_event(gst::event::FlushStart::new());
        h.push_event(gst::event::FlushStop::new(true));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        h.push_event(gst::event::Segment::new(&segment));
    };
    let new_caps = |h: &mut Harness| {
        let other = info(VideoFormat::I420, 320, 200);
        h.set_src_caps(other.to_caps().unwrap());
        h.push_and_pull(buffer(scene(&other, [-500.0, 0.0], RADIUS), 14)).unwrap();
        h.set_src_caps(info(VideoFormat::I420, 400, 240).to_caps().unwrap());
    };
    for (name, meanwhile) in [("flush", &flush as &dyn Fn(&mut Harness)), ("new caps", &new_caps)] {
        let (messages, is_back) = while_it_is_away(meanwhile);
        assert!(messages.iter().any(|message| message.lost), "{name}");
        assert!(!is_back && messages.iter().all(|message| !message.found), "{name}: {messages:?}");
    }
}

#[test]
fn a_scene_cut_ends_regions() {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment seeds=fg:200,120;bg:20,20", &info);
    let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
    assert!(mask(&out, &info).is_some());
    let other: Vec<u8> =
        (0..info.size()).map(|i| if i / 4000 % 2 == 0 { 230 } else { 15 }).collect();
    let out = h.push_and_pull(buffer(other, 1)).unwrap();
    assert!(mask(&out, &info).is_none());
}

#[test]
fn only_long_gaps_end_regions() {
    let info = info(VideoFormat::I420, 400, 240);
    for (number, flags, kept) in [
        (2, gst::BufferFlags::empty(), true),
        (3, gst::BufferFlags::DISCONT, true),
        (20, gst::BufferFlags::DISCONT, true),
        (100, gst::BufferFlags::DISCONT, false),
        (100, gst::BufferFlags::empty(), false),
    ] {
        for output in ["meta", "mask"] {
            let seeds = "seeds=fg:200,120;bg:20,20";
            let mut h = harness(&format!("cnnsegment output={output} {seeds}"), &info);
            for number in 0..2 {
                h.push_and_pull(buffer(scene(&info, DISC, RADIUS), number)).unwrap();
            }
            let mut after_gap = buffer(scene(&info, DISC, RADIUS), number);
            after_gap.make_mut().set_flags(flags);
            h.push_and_pull(after_gap).unwrap();
            let stats: gst::Structure = element(&h).property("stats");
            let regions = stats.get::<u32>("regions").unwrap();
            assert_eq!(regions == 1, kept, "frame {number}, {flags:?}, {output}");
        }
    }
}

#[test]
fn a_new_segment_ends_regions() {
    let info = info(VideoFormat::I420, 400, 240);
    let mut h = harness("cnnsegment seeds=fg:200,120;bg:20,20", &info);
    let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 0)).unwrap();
    assert!(mask(&out, &info).is_some());
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(h.push_event(gst::event::Segment::new(&segment)));
    let out = h.push_and_pull(buffer(scene(&info, DISC, RADIUS), 1)).unwrap();
    assert!(mask(&out, &info).is_none());
}
