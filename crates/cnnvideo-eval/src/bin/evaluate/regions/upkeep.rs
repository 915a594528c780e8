// SPDX-License-Identifier: MIT OR Apache-2.0

//! Time of a frame at 1920x1080 while a region is tracked and while it is looked for.

use std::time::Instant;

use cnnvideo::segment::{Seed, Seeds, SegmentNetworks, Segmenter, Shape};
use image::imageops::{FilterType, resize};
use ndarray::Array2;

use super::scene::Scene;
use cnnvideo_eval::{Result, frame::RawFrame, init, say_line};

/// Width and height of the frames in pixels.
const SIZE: [u32; 2] = [1920, 1080];

/// Prints times of the frames of a scene, after the first one with a click on the first object.
pub(super) fn measure(networks: &SegmentNetworks, scene: &Scene) -> Result<()> {
    init()?;
    let mut segmenter = Segmenter::new(networks, 0)?;
    let mut seeds = Seeds::default();
    let mut labels = Array2::zeros((SIZE[1] as usize, SIZE[0] as usize));
    // Times with a region and without one.
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..scene.len() {
        let (image, masks) = scene.frame(number);
        let frame =
            RawFrame::i420_from_image(&resize(&image, SIZE[0], SIZE[1], FilterType::Triangle))?;
        let start = Instant::now();
        segmenter.next_picture(&frame.view()?, &mut seeds)?;
        segmenter.mask(labels.view_mut());
        let time = start.elapsed().as_secs_f64() * 1e3;
        if number > 0 {
            times[usize::from(!segmenter.has_regions())].push(time);
        } else {
            let (height, width) = masks[0].dim();
            let inside = masks[0].indexed_iter().filter(|(_, inside)| **inside);
            let (sum, count) =
                inside.fold(([0.0; 2], 0.0), |([x, y], count), ((row, column), _)| {
                    ([x + column as f32, y + row as f32], count + 1.0)
                });
            let point = [sum[0] / count / width as f32, sum[1] / count / height as f32];
            seeds.push(Seed { label: 1, shape: Shape::Point(point) });
            segmenter.update_regions(&seeds)?;
        }
    }
    for (name, mut times) in ["with a region", "while it is lost"].into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let Some(longest) = times.last() else { continue };
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        say_line!(
            "1920x1080 {name}: {} frames, mean {mean:.1} ms, median {:.1} ms, \
             longest {longest:.1} ms",
            times.len(),
            times[times.len() / 2]
        )?;
    }
    Ok(())
}
