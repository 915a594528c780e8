//! Runs frames through a GStreamer element.

use gst::prelude::*;

use crate::Result;

/// Runs an RGB image through `element` as a video of one frame.
pub fn through(element: &gst::Element, rgb: &[u8], size: (u32, u32)) -> Result<Vec<u8>> {
    Ok(through_all(element, &[rgb], size)?.swap_remove(0))
}

/// Runs RGB images through `element` as the frames of a video.
pub fn through_all(
    element: &gst::Element,
    frames: &[&[u8]],
    (width, height): (u32, u32),
) -> Result<Vec<Vec<u8>>> {
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height).build()?;
    let pipeline = gst::Pipeline::new();
    let source =
        gst_app::AppSrc::builder().caps(&info.to_caps()?).format(gst::Format::Time).build();
    let sink = gst_app::AppSink::builder().sync(false).build();
    pipeline.add_many([source.upcast_ref(), element, sink.upcast_ref()])?;
    gst::Element::link_many([source.upcast_ref(), element, sink.upcast_ref()])?;
    pipeline.set_state(gst::State::Playing)?;

    let (row, stride) = (3 * width as usize, info.stride()[0] as usize);
    let mut results = Vec::with_capacity(frames.len());
    for (number, rgb) in frames.iter().enumerate() {
        let mut padded = vec![0; info.size()];
        for (to, from) in padded.chunks_mut(stride).zip(rgb.chunks(row)) {
            to[..row].copy_from_slice(from);
        }
        let mut buffer = gst::Buffer::from_mut_slice(padded);
        buffer
            .get_mut()
            .ok_or("the buffer is new")?
            .set_pts(gst::ClockTime::from_mseconds(40 * number as u64));
        source.push_buffer(buffer)?;
        let sample = sink.pull_sample()?;
        let map = sample.buffer().ok_or("no buffer")?.map_readable()?;
        results.push(map.chunks(stride).flat_map(|line| &line[..row]).copied().collect());
    }
    source.end_of_stream()?;
    pipeline.set_state(gst::State::Null)?;
    pipeline.remove(element)?;
    Ok(results)
}
