// SPDX-License-Identifier: MIT OR Apache-2.0

//! Overlay of regions on frames.

use ndarray::{ArrayView2, Zip};

use cnnvideo::{
    frame::{Colour, PictureMut},
    segment::MAX_LABEL,
};

/// Overlay colour `[r, g, b]` of each label.
const COLOURS: [[f32; 3]; MAX_LABEL as usize] = [
    [40.0, 200.0, 90.0],
    [230.0, 80.0, 60.0],
    [70.0, 120.0, 240.0],
    [240.0, 200.0, 40.0],
    [190.0, 80.0, 220.0],
    [50.0, 210.0, 220.0],
    [240.0, 130.0, 200.0],
    [150.0, 150.0, 150.0],
];
/// Opacity of the overlay colour inside of a region.
const OPACITY: f32 = 0.45;

/// Tints regions and draws their borders. `labels` is the label of each pixel, at the size of the
/// picture.
pub(super) fn draw(picture: &mut PictureMut<'_, u8>, labels: &ArrayView2<'_, u8>) {
    let colour_model = picture.colour;
    let (height, width) = labels.dim();
    let colours = COLOURS.map(|rgb| match colour_model {
        Colour::Rgb => rgb,
        _ => {
            let [u, v] = cnnvideo::frame::luma::rgb_to_chroma(rgb);
            [cnnvideo::frame::luma::rgb_to_luma(rgb), u, v]
        }
    });
    for (i, component) in picture.components.iter_mut().enumerate() {
        let [shift_x, shift_y] = colour_model.subsampling(i);
        // With chroma, the tint leaves luma as it is, so that the content stays visible.
        let opacity =
            if i == 0 && matches!(colour_model, Colour::Yuv { .. }) { 0.0 } else { OPACITY };
        Zip::indexed(component).par_for_each(|(y, x), to| {
            let (y, x) = ((y << shift_y).min(height - 1), (x << shift_x).min(width - 1));
            let label = labels[[y, x]];
            let (right, below) =
                ((x + (1 << shift_x)).min(width - 1), (y + (1 << shift_y)).min(height - 1));
            let border = labels[[y, right]] != label || labels[[below, x]] != label;
            // A border takes the colour of the region on either side of it.
            let label_drawn =
                if border { label.max(labels[[y, right]]).max(labels[[below, x]]) } else { label };
            if let Some(region) = usize::from(label_drawn).checked_sub(1) {
                let (value, opacity) = (f32::from(*to), if border { 1.0 } else { opacity });
                *to = (value + opacity * (colours[region][i] - value) + 0.5) as u8;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnvideo::frame::{Format, PlaneMut};

    #[test]
    fn only_regions_change() {
        let labels = ndarray::Array2::from_shape_fn((8, 10), |(y, x)| {
            u8::from((3..7).contains(&x) && (2..6).contains(&y))
        });
        for (format, sizes) in [
            (Format::I420, vec![(80, 10), (20, 5), (20, 5)]),
            (Format::GRAY8, vec![(80, 10)]),
            (Format::BGRA, vec![(320, 40)]),
        ] {
            let mut memory: Vec<_> =
                sizes.iter().map(|(size, stride)| (vec![100u8; *size], *stride)).collect();
            let planes = memory.iter_mut().map(|(data, stride)| PlaneMut::new(data, *stride));
            let mut picture = PictureMut::new(format, 10, 8, planes).unwrap();
            draw(&mut picture, &labels.view());
            let changed = memory.iter().flat_map(|(data, _)| data).filter(|v| **v != 100).count();
            assert!(changed > 8, "{format:?}");
            assert_eq!(memory[0].0[0], 100);
            let last = &memory[memory.len() - 1].0;
            assert_eq!(last[last.len() - 1], 100);
        }
    }
}
