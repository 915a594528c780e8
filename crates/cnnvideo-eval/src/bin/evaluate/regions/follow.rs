// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs `cnnvideo::segment` over a sequence and compares its regions with the true masks.

use std::path::Path;

use cnnvideo::{
    frame::{Format, Picture, Plane},
    segment::{
        RegionChanges, Seed, Seeds, SegmentNetworks, Segmenter, Shape,
        simulate::{Click, next_click},
    },
};
use image::RgbImage;
use ndarray::Array2;

use cnnvideo_eval::{Result, output::write_image};

/// Frames from one written picture to the next.
const PICTURE_INTERVAL: usize = 4;
/// Intersection over union from which on the simulated user clicks no more.
const CLICKED_IOU: f64 = 0.85;

/// Comparison of a region with its object in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    /// Intersection over union, 1 if neither shows.
    pub iou: f64,
    /// Pixels of the region.
    pub region: usize,
    /// Pixels of the object that show.
    pub object: usize,
}

/// How regions followed the objects of a sequence.
pub(super) struct Course {
    /// Each object in each frame.
    pub frames: Vec<Vec<Comparison>>,
    /// Number of reports that a region is lost.
    pub lost: usize,
    /// Number of reports that a lost region is back.
    pub found: usize,
}

/// Follows the objects of a sequence from up to `clicks` simulated clicks on each in the first
/// frame. Writes every fourth frame to the folder `pictures`.
pub(super) fn follow(
    networks: &SegmentNetworks,
    clicks: usize,
    frames: impl Iterator<Item = Result<(RgbImage, Vec<Array2<bool>>)>>,
    pictures: Option<&Path>,
) -> Result<Course> {
    let mut segmenter = Segmenter::new(networks, 0)?;
    let mut seeds = Seeds::default();
    let mut course = Course { frames: Vec::new(), lost: 0, found: 0 };
    for (number, frame) in frames.enumerate() {
        let (image, truths) = frame?;
        let (width, height) = (image.width() as usize, image.height() as usize);
        let planes = [Plane::new(image.as_raw(), 3 * width)];
        let picture = Picture::new(Format::RGB, width, height, &planes)?;
        let RegionChanges { lost, found } = segmenter.next_picture(&picture, &mut seeds)?;
        course.lost += lost.len();
        course.found += found.len();
        lost.iter().for_each(|label| seeds.remove(*label));
        if number == 0 {
            for (label, truth) in (1u8..).zip(&truths) {
                click(&mut segmenter, &mut seeds, (label, truth), clicks)?;
            }
        }
        let mut labels = Array2::zeros((height, width));
        segmenter.mask(labels.view_mut());
        let compared = (1u8..).zip(&truths).map(|(label, truth)| compare(&labels, label, truth));
        course.frames.push(compared.collect());
        if let Some(folder) = pictures
            && number % PICTURE_INTERVAL == 0
        {
            write_image(&folder.join(format!("{number:03}.png")), &drawn(&image, &labels))?;
        }
    }
    Ok(course)
}

/// Clicks on an object until the region is good or there are `clicks` clicks.
fn click(
    segmenter: &mut Segmenter,
    seeds: &mut Seeds,
    (label, truth): (u8, &Array2<bool>),
    clicks: usize,
) -> Result<()> {
    let shown = truth;
    let truth = truth.mapv(Some);
    let mut labels = Array2::zeros(truth.dim());
    for _ in 0..clicks {
        if compare(&labels, label, shown).iou >= CLICKED_IOU {
            break;
        }
        let mask = labels.mapv(|found: u8| found == label);
        let Some(Click { x, y, inside }) = next_click(&mask.view(), &truth.view()) else { break };
        let point =
            [(x as f32 + 0.5) / truth.ncols() as f32, (y as f32 + 0.5) / truth.nrows() as f32];
        let label = if inside { label } else { 0 };
        seeds.push(Seed { label, shape: Shape::Point(point) });
        segmenter.update_changed_regions(seeds, 1)?;
        segmenter.mask(labels.view_mut());
    }
    Ok(())
}

fn compare(labels: &Array2<u8>, label: u8, truth: &Array2<bool>) -> Comparison {
    let (mut both, mut region, mut object) = (0, 0, 0);
    for (found, truth) in labels.iter().zip(truth) {
        let found = *found == label;
        both += usize::from(found && *truth);
        region += usize::from(found);
        object += usize::from(*truth);
    }
    let either = region + object - both;
    let iou = if either == 0 { 1.0 } else { both as f64 / either as f64 };
    Comparison { iou, region, object }
}

/// Darkens the image outside of the regions; the second region is tinted.
fn drawn(image: &RgbImage, labels: &Array2<u8>) -> RgbImage {
    let mut image = image.clone();
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        match labels[[y as usize, x as usize]] {
            0 => pixel.0 = pixel.0.map(|v| v / 3),
            1 => {}
            _ => pixel.0[0] = 255 - (255 - pixel.0[0]) / 2,
        }
    }
    image
}
