//! Pushes pictures through an element.

use gst::prelude::*;

use crate::Result;

/// Runs an RGB picture through `element` as a video of one frame.
pub fn through(element: &gst::Element, rgb: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>> {
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height).build()?;
    let pipeline = gst::Pipeline::new();
    let source = gst_app::AppSrc::builder().caps(&info.to_caps()?).format(gst::Format::Time).build();
    let sink = gst_app::AppSink::builder().sync(false).build();
    pipeline.add_many([source.upcast_ref(), element, sink.upcast_ref()])?;
    gst::Element::link_many([source.upcast_ref(), element, sink.upcast_ref()])?;
    pipeline.set_state(gst::State::Playing)?;

    let (row, stride) = (3 * width as usize, info.stride()[0] as usize);
    let mut padded = vec![0; info.size()];
    for (to, from) in padded.chunks_mut(stride).zip(rgb.chunks(row)) {
        to[..row].copy_from_slice(from);
    }
    let mut buffer = gst::Buffer::from_mut_slice(padded);
    buffer.get_mut().ok_or("the buffer is new")?.set_pts(gst::ClockTime::ZERO);
    source.push_buffer(buffer)?;
    source.end_of_stream()?;
    let sample = sink.pull_sample();
    pipeline.set_state(gst::State::Null)?;
    pipeline.remove(element)?;
    let sample = sample?;
    let map = sample.buffer().ok_or("no buffer")?.map_readable()?;
    Ok(map.chunks(stride).flat_map(|line| &line[..row]).copied().collect())
}
