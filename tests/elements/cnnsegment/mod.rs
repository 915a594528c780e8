// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `cnnsegment`, its region mask metadata, and the elements that use it.

use crate::common::video::to_bytes;
use gst_check::Harness;
use gst_video::{NavigationEvent, VideoInfo};
use gstcnnvideo::shared::RegionMask;

mod outputs;
mod seeds;
mod tracking;

/// Draws a disc of another colour on a background with a slight gradient. Alpha and padding get
/// values too.
fn scene(info: &VideoInfo, centre: [f32; 2], radius: f32) -> Vec<u8> {
    let mut frame = gst_video::VideoFrame::from_buffer_writable(
        gst::Buffer::from_mut_slice(vec![77; info.size()]),
        info,
    )
    .unwrap();
    let rgb = info.is_rgb();
    for c in 0..info.n_components() {
        use gst_video::VideoFrameExt;
        let (width, height) = (frame.comp_width(c), frame.comp_height(c));
        let (stride, step) = (frame.comp_stride(c) as usize, frame.comp_pstride(c) as usize);
        let (sx, sy) = (info.width() as f32 / width as f32, info.height() as f32 / height as f32);
        let offset =
            frame.info().comp_offset(c as u8) - frame.info().offset()[frame.comp_plane(c) as usize];
        let data = frame.plane_data_mut(frame.comp_plane(c)).unwrap();
        for y in 0..height as usize {
            for x in 0..width as usize {
                let (px, py) = (x as f32 * sx, y as f32 * sy);
                let inside = (px - centre[0]).hypot(py - centre[1]) < radius;
                // The texture of the disc moves with it.
                let (tx, ty) = if inside { (px - centre[0], py - centre[1]) } else { (px, py) };
                let texture = 6.0 * ((tx * 0.7).sin() + (ty * 0.9 + tx * 0.2).cos());
                let value = match (c, inside, rgb) {
                    (0, true, _) => 190.0 + texture,
                    (0, false, _) => 70.0 + 0.05 * px + texture,
                    (1, true, false) => 90.0,
                    (2, true, false) => 170.0,
                    (1 | 2, false, false) => 128.0,
                    (1, true, true) => 60.0,
                    (2, true, true) => 40.0,
                    (_, false, true) => 80.0 + texture,
                    _ => 77.0,
                };
                data[y * stride + x * step + offset] = value as u8;
            }
        }
    }
    to_bytes(&frame.into_buffer())
}

fn mask(buffer: &gst::Buffer, info: &VideoInfo) -> Option<ndarray::Array2<u8>> {
    let size = (info.width(), info.height());
    RegionMask::of(buffer, size)?.labels(size)
}

/// Returns the intersection over union of the labelled region and a disc.
fn overlap(labels: &ndarray::Array2<u8>, centre: [f32; 2], radius: f32) -> f32 {
    let (mut both, mut either) = (0.0, 0.0);
    for ((y, x), label) in labels.indexed_iter() {
        let truth = (x as f32 - centre[0]).hypot(y as f32 - centre[1]) < radius;
        both += f32::from(u8::from(truth && *label > 0));
        either += f32::from(u8::from(truth || *label > 0));
    }
    both / f32::max(either, 1.0)
}

fn click(h: &mut Harness, x: f64, y: f64, button: i32) {
    for event in [
        NavigationEvent::new_mouse_button_press(button, x, y),
        NavigationEvent::new_mouse_button_release(button, x, y),
    ] {
        h.push_upstream_event(gst::event::Navigation::new(event.structure()));
    }
}

const DISC: [f32; 2] = [200.0, 120.0];
const RADIUS: f32 = 60.0;
