// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames in file descriptors, DMABuf and shared memory, and memory that the elements refuse.

use std::{fs::File, io::Write, os::fd::IntoRawFd};

use gst::prelude::*;
use gst_allocators::{DmaBufAllocator, FdAllocator, FdMemory, FdMemoryFlags, prelude::*};
use gst_video::{VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta};
use gstcnnvideo::shared::RegionMask;

use crate::common::{
    Temporary, error_of, pipeline, tool,
    video::{buffer, bytes, harness, info, to_bytes},
};

const ELEMENTS: [&str; 5] = [
    "cnndenoise noise-level=10",
    "cnnsmooth",
    "cnndeband",
    "cnnsegment seeds=fg:50%,50%",
    "watermarkembed payload=0123456789abcdef \
     key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
];

/// Returns a file descriptor of memory with some bytes.
fn memory_file(name: &str, data: &[u8]) -> File {
    let name = Temporary::new(name);
    let mut file = File::options().read(true).write(true).create_new(true).open(&name.0).unwrap();
    file.write_all(data).unwrap();
    // The name goes, the file stays as long as it is open.
    file
}

/// How the planes of a frame are in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    OneFd,
    FdForEachPlane,
    DmaBuf,
}

/// Returns a frame whose bytes are in files.
fn in_files(info: &VideoInfo, data: &[u8], layout: Layout) -> gst::Buffer {
    let mut frame = gst::Buffer::new();
    let planes = info.n_planes() as usize;
    let offsets: Vec<usize> = info.offset()[..planes].to_vec();
    let parts: Vec<_> = match layout {
        Layout::FdForEachPlane => {
            let ends = offsets.iter().skip(1).copied().chain([data.len()]);
            offsets.iter().zip(ends).map(|(start, end)| &data[*start..end]).collect()
        }
        _ => vec![data],
    };
    let writable = frame.get_mut().unwrap();
    for part in parts {
        let file =
            memory_file(&format!("frame-{layout:?}-{:?}", std::thread::current().id()), part);
        // SAFETY: the descriptor is open, and the memory owns it from here on.
        let memory = unsafe {
            match layout {
                Layout::DmaBuf => DmaBufAllocator::new().alloc_dmabuf(file, part.len()),
                _ => {
                    let flags = FdMemoryFlags::NONE;
                    FdAllocator::new().alloc_fd(file.into_raw_fd(), part.len(), flags)
                }
            }
        };
        writable.append_memory(memory.unwrap());
    }
    let strides = info.stride()[..planes].to_vec();
    let flags = VideoFrameFlags::empty();
    let (width, height) = (info.width(), info.height());
    VideoMeta::add_full(writable, flags, info.format(), width, height, &offsets, &strides).unwrap();
    writable.set_pts(gst::ClockTime::ZERO);
    writable.set_duration(gst::ClockTime::from_mseconds(40));
    frame
}

#[test]
fn frames_in_files_and_dmabuf_are_read_where_they_are() {
    for format in [VideoFormat::I420, VideoFormat::Nv12, VideoFormat::Rgb] {
        let info = info(format, 160, 120);
        let data = bytes(&info, 8.0, 1);
        for description in ELEMENTS {
            let expected = to_bytes(
                &harness(description, &info).push_and_pull(buffer(data.clone(), 0)).unwrap(),
            );
            for layout in [Layout::OneFd, Layout::FdForEachPlane, Layout::DmaBuf] {
                let frame = in_files(&info, &data, layout);
                let is_fd =
                    |memory: &gst::MemoryRef| memory.downcast_memory_ref::<FdMemory>().is_some();
                assert!(frame.iter_memories().all(is_fd));
                let memories = frame.n_memory();
                let mut harness = harness(description, &info);
                let out = harness.push_and_pull(frame).unwrap();
                // In place: the memory of the input. Before the bytes are read, which may merge it.
                if description.starts_with("watermark") || description.starts_with("cnnsegment") {
                    assert_eq!(out.n_memory(), memories, "{description} {layout:?}");
                    assert!(out.iter_memories().all(is_fd), "{description} {layout:?}");
                }
                assert!(to_bytes(&out) == expected, "{description} {format:?} {layout:?}");
            }
        }
    }
}

#[test]
fn videoquality_compares_frames_in_files() {
    let info = info(VideoFormat::I420, 64, 48);
    let data = bytes(&info, 8.0, 1);
    crate::common::init();
    let element = gst::ElementFactory::make("videoquality").build().unwrap();
    let mut test = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    let mut reference = gst_check::Harness::with_element(&element, Some("reference"), None);
    test.set_src_caps(info.to_caps().unwrap());
    reference.set_src_caps(info.to_caps().unwrap());
    test.play();
    reference.push(in_files(&info, &data, Layout::FdForEachPlane)).unwrap();
    test.push(in_files(&info, &data, Layout::DmaBuf)).unwrap();
    assert_eq!(to_bytes(&test.pull().unwrap()), data);
}

/// Memory features that the elements do not read.
const FEATURES: [&str; 5] = ["DMABuf", "GLMemory", "VAMemory", "CUDAMemory", "VulkanImage"];

#[test]
fn memory_of_gpus_is_refused_before_the_first_frame() {
    for feature in FEATURES {
        for element in ELEMENTS.into_iter().chain(["watermarkdetect", "videoquality"]) {
            let caps = format!("video/x-raw(memory:{feature}),format=NV12,width=64,height=48");
            crate::common::init();
            let text = format!("fakesrc ! capsfilter caps=\"{caps}\" ! {element} ! fakesink");
            let error = gst::parse::launch(&text).expect_err(&format!("{feature}: {element}"));
            assert!(error.matches(gst::ParseError::Link), "{element}: {error}");
        }
        // An application that sets the caps gets an error instead of frames.
        let caps =
            format!("video/x-raw(memory:{feature}),format=NV12,width=64,height=48,framerate=25/1");
        let pipeline = pipeline("appsrc name=source ! cnnsmooth ! fakesink");
        let source: gst_app::AppSrc = pipeline.by_name("source").unwrap().downcast().unwrap();
        source.set_caps(Some(&caps.parse().unwrap()));
        pipeline.set_state(gst::State::Playing).unwrap();
        source.push_buffer(buffer(vec![0; 64 * 72], 0)).unwrap();
        let error = error_of(&pipeline);
        assert!(error.matches(gst::StreamError::Failed), "{feature}: {error}");
    }
}

/// Starts a pipeline that sends frames with a region mask to shared memory.
fn send(info: &VideoInfo, socket: &Temporary, frames: &[Vec<u8>]) -> gst::Pipeline {
    let pipeline = pipeline(&format!(
        "appsrc name=source format=time ! cnnsegment seeds=fg:50%,50% ! \
         shmsink socket-path={} wait-for-connection=true sync=false shm-size=4000000",
        socket.0.display()
    ));
    let source: gst_app::AppSrc = pipeline.by_name("source").unwrap().downcast().unwrap();
    source.set_caps(Some(&info.to_caps().unwrap()));
    pipeline.set_state(gst::State::Playing).unwrap();
    for (number, frame) in (0..).zip(frames) {
        source.push_buffer(buffer(frame.clone(), number)).unwrap();
    }
    pipeline
}

#[test]
fn shared_memory_passes_frames_but_no_region_mask() {
    let info = info(VideoFormat::I420, 160, 120);
    let frames: Vec<_> = (1..4).map(|seed| bytes(&info, 8.0, seed)).collect();
    let socket = Temporary::new("shm.socket");
    let sender = send(&info, &socket, &frames);
    // Bounded, so that a sender that fails ends the test.
    for _ in 0..3000 {
        if socket.0.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let receiver = pipeline(&format!(
        "shmsrc socket-path={} num-buffers=3 ! {} ! identity name=input ! \
         cnnsmooth temporal=false foreground-strength=0 ! appsink name=sink sync=false",
        socket.0.display(),
        info.to_caps().unwrap()
    ));
    let (sender_of_flags, flags) = std::sync::mpsc::channel();
    let pad = receiver.by_name("input").unwrap().static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &probe.data else { unreachable!() };
        let read_only = buffer.peek_memory(0).flags().contains(gst::MemoryFlags::READONLY);
        sender_of_flags.send((read_only, RegionMask::of(buffer, (160, 120)).is_some())).unwrap();
        gst::PadProbeReturn::Ok
    });
    receiver.set_state(gst::State::Playing).unwrap();
    let sink: gst_app::AppSink = receiver.by_name("sink").unwrap().downcast().unwrap();
    for frame in frames {
        let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(20)).expect("a frame");
        let mut direct = harness("cnnsmooth temporal=false", &info);
        let expected = to_bytes(&direct.push_and_pull(buffer(frame, 0)).unwrap());
        assert!(to_bytes(&sample.buffer_owned().unwrap()) == expected);
        // Memory of the sender, and no mask.
        assert_eq!(flags.recv(), Ok((true, false)));
    }
    receiver.set_state(gst::State::Null).unwrap();
    sender.set_state(gst::State::Null).unwrap();
}

#[test]
fn filters_read_shared_memory_without_a_copy() {
    let registry = Temporary::new("shm-copy.registry");
    let info = info(VideoFormat::I420, 160, 120);
    let frames: Vec<_> = (1..4).map(|seed| bytes(&info, 8.0, seed)).collect();
    // The last changes frames in place, and the memory is read-only: it shows that copies are seen.
    for (element, copies) in ELEMENTS[..3].iter().map(|e| (*e, 0)).chain([(ELEMENTS[4], 3)]) {
        let socket = Temporary::new("shm-copy.socket");
        let sender = send(&info, &socket, &frames);
        let description = format!(
            "shmsrc socket-path={} num-buffers=3 ! {} ! {element} ! fakesink",
            socket.0.display(),
            info.to_caps().unwrap()
        );
        let mut command = tool("gst-launch-1.0", &registry);
        command.env("GST_DEBUG", "GST_PERFORMANCE:6").env("GST_DEBUG_NO_COLOR", "1");
        let output = command.args(description.split(' ')).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let copied = text.lines().filter(|l| l.contains("memcpy") || l.contains("temporary copy"));
        assert_eq!(copied.count(), copies, "{element}: {text}");
        sender.set_state(gst::State::Null).unwrap();
    }
}

/// From GStreamer 1.24 on, `unixfdsink` sends a custom meta as the text of its structure.
#[test]
fn region_masks_survive_the_text_of_their_structure() {
    crate::common::init();
    let mut sent = gst::Buffer::new();
    RegionMask::new(4, 2, vec![0, 1, 2, 3, 4, 5, 6, 7]).unwrap().attach(sent.make_mut(), (4, 2));
    let name = gstcnnvideo::shared::REGION_MASK_META;
    let text = {
        let meta = gst::meta::CustomMeta::from_buffer(&sent, name).unwrap();
        meta.structure().serialize(gst::SerializeFlags::NONE)
    };
    let structure: gst::Structure = text.parse().unwrap();
    let mut received = gst::Buffer::new();
    let mut meta = gst::meta::CustomMeta::add(received.make_mut(), name).unwrap();
    for (field, value) in structure.iter() {
        meta.mut_structure().set_value(field, value.clone());
    }
    let labels = RegionMask::of(&received, (4, 2)).unwrap().labels((4, 2)).unwrap();
    assert_eq!(labels.into_raw_vec_and_offset().0, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn region_masks_pass_unixfdsink() {
    crate::common::init();
    if gst::ElementFactory::find("unixfdsink").is_none() {
        println!("not run: unixfdsink needs GStreamer 1.24");
        return;
    }
    let info = info(VideoFormat::I420, 160, 120);
    let socket = Temporary::new("unixfd.socket");
    let path = socket.0.display();
    let sender = pipeline(&format!(
        "appsrc name=source format=time ! cnnsegment seeds=fg:50%,50% ! \
         unixfdsink socket-path={path} sync=false"
    ));
    let source: gst_app::AppSrc = sender.by_name("source").unwrap().downcast().unwrap();
    source.set_caps(Some(&info.to_caps().unwrap()));
    sender.set_state(gst::State::Playing).unwrap();
    let frame = bytes(&info, 8.0, 1);
    // The sink takes frames in file descriptors only.
    let push = || source.push_buffer(in_files(&info, &frame, Layout::OneFd)).unwrap();
    push();
    // The sender prerolls.
    sender.state(gst::ClockTime::from_seconds(20)).0.unwrap();
    let receiver =
        pipeline(&format!("unixfdsrc socket-path={path} ! appsink name=sink sync=false"));
    receiver.set_state(gst::State::Playing).unwrap();
    let sink: gst_app::AppSink = receiver.by_name("sink").unwrap().downcast().unwrap();
    // The first frames may come before the connection.
    let received = (1..100).find_map(|_| {
        push();
        sink.try_pull_sample(gst::ClockTime::from_mseconds(200))
    });
    let received = received.expect("a frame").buffer_owned().unwrap();
    let labels = RegionMask::of(&received, (160, 120)).expect("a mask").labels((160, 120)).unwrap();
    assert_eq!(labels[[60, 80]], 1);
    assert_eq!(to_bytes(&received), frame);
    receiver.set_state(gst::State::Null).unwrap();
    sender.set_state(gst::State::Null).unwrap();
}
