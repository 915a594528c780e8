// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of regions that are covered, leave and come back, in short sequences of layers cut from
//! photographs.

use cnnvideo::{
    frame::{Format, Picture, Plane},
    nn::{Device, Precision},
    segment::{Seed, Seeds, SegmentNetworks, Segmenter, Shape},
};
use image::{RgbImage, imageops};
use ndarray::Array2;

const SIZE: [u32; 2] = [320, 200];

fn photograph(name: &str) -> RgbImage {
    let path = format!("{}/../../tests/data/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
    let image = image::open(path).unwrap().into_rgb8();
    imageops::resize(&image, SIZE[0], SIZE[1], imageops::FilterType::Triangle)
}

/// An elliptic piece of a photograph.
struct Layer {
    photograph: RgbImage,
    radii: [f32; 2],
}

/// Draws layers, each with its middle, over a photograph. Returns what shows of each.
fn draw(background: &RgbImage, layers: &[(&Layer, [f32; 2])]) -> (RgbImage, Vec<Array2<bool>>) {
    let mut frame = background.clone();
    let dim = (SIZE[1] as usize, SIZE[0] as usize);
    let mut masks = vec![Array2::from_elem(dim, false); layers.len()];
    for (x, y, pixel) in frame.enumerate_pixels_mut() {
        for (number, (layer, middle)) in layers.iter().enumerate() {
            let at = [x as f32 - middle[0], y as f32 - middle[1]];
            if (at[0] / layer.radii[0]).hypot(at[1] / layer.radii[1]) > 1.0 {
                continue;
            }
            let texture = [0, 1].map(|i| (at[i] + 0.5 * SIZE[i] as f32) as u32);
            *pixel = *layer.photograph.get_pixel(texture[0], texture[1]);
            let at = (y as usize, x as usize);
            masks.iter_mut().enumerate().for_each(|(other, mask)| mask[at] = other == number);
        }
    }
    (frame, masks)
}

/// A segmenter, its seeds, and what it has reported in each frame.
struct Run {
    segmenter: Segmenter,
    seeds: Seeds,
    lost: Vec<(usize, u8)>,
    found: Vec<(usize, u8)>,
    number: usize,
}

impl Run {
    fn new() -> Self {
        let networks = SegmentNetworks::built_in(Device::Cpu, Precision::Auto).unwrap();
        let segmenter = Segmenter::new(&networks, 2).unwrap();
        Self { segmenter, seeds: Seeds::default(), lost: vec![], found: vec![], number: 0 }
    }

    /// Passes a frame and returns the labels.
    fn push(&mut self, frame: &RgbImage) -> Array2<u8> {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let planes = [Plane::new(frame.as_raw(), 3 * width)];
        let picture = Picture::new(Format::RGB, width, height, &planes).unwrap();
        let changes = self.segmenter.next_picture(&picture, &mut self.seeds).unwrap();
        changes.lost.iter().for_each(|label| self.seeds.remove(*label));
        self.lost.extend(changes.lost.iter().map(|label| (self.number, *label)));
        self.found.extend(changes.found.iter().map(|label| (self.number, *label)));
        self.number += 1;
        self.labels((height, width))
    }

    fn labels(&self, dim: (usize, usize)) -> Array2<u8> {
        let mut labels = Array2::zeros(dim);
        self.segmenter.mask(labels.view_mut());
        labels
    }

    /// Selects a region by a box.
    fn select(&mut self, label: u8, middle: [f32; 2], layer: &Layer) {
        let corner = |sign: f32| {
            [0, 1].map(|i| (middle[i] + sign * (layer.radii[i] + 2.0)) / SIZE[i] as f32)
        };
        let shape = Shape::Box { corner: corner(-1.0), opposite: corner(1.0) };
        assert!(self.seeds.push(Seed { label, shape }));
        let point = Shape::Point([0, 1].map(|i| middle[i] / SIZE[i] as f32));
        assert!(self.seeds.push(Seed { label, shape: point }));
        self.segmenter.update_regions(&self.seeds).unwrap();
    }
}

fn iou(labels: &Array2<u8>, label: u8, truth: &Array2<bool>) -> f32 {
    let (mut both, mut either) = (0.0, 0.0);
    for (found, truth) in labels.iter().zip(truth) {
        let found = *found == label;
        both += f32::from(u8::from(found && *truth));
        either += f32::from(u8::from(found || *truth));
    }
    both / f32::max(either, 1.0)
}

fn object() -> Layer {
    Layer { photograph: photograph("coffee"), radii: [34.0, 42.0] }
}

fn cover() -> Layer {
    Layer { photograph: photograph("rocket"), radii: [80.0, 96.0] }
}

/// Frames in which the cover of [`covered`] is over the object.
const COVERED: std::ops::Range<usize> = 8..18;

/// Tracks an object. For each frame, `frames` gives the middle of the object and of a cover in
/// front of it, if there is one. Returns the run and the intersection over union in the last frame.
fn tracked(frames: impl IntoIterator<Item = ([f32; 2], Option<[f32; 2]>)>) -> (Run, f32) {
    let (background, object, cover) = (photograph("chelsea"), object(), cover());
    let mut run = Run::new();
    let mut last = 0.0;
    for (number, (middle, cover_middle)) in frames.into_iter().enumerate() {
        let mut layers = vec![(&object, middle)];
        layers.extend(cover_middle.map(|middle| (&cover, middle)));
        let (frame, masks) = draw(&background, &layers);
        let mut labels = run.push(&frame);
        if number == 0 {
            run.select(1, middle, &object);
            labels = run.labels(labels.dim());
            assert!(iou(&labels, 1, &masks[0]) > 0.8, "{}", iou(&labels, 1, &masks[0]));
        }
        last = iou(&labels, 1, &masks[0]);
    }
    (run, last)
}

/// Tracks an object that a cover hides at once in the frames of `range`, until 20 frames later.
fn covered(range: std::ops::Range<usize>) -> (Run, f32) {
    tracked((0..range.end + 20).map(|number| {
        let middle = [150.0 + number as f32, 100.0];
        (middle, range.contains(&number).then_some(middle))
    }))
}

#[test]
fn a_covered_region_is_lost_and_comes_back() {
    let (run, last) = covered(COVERED);
    let [(lost, 1)] = run.lost[..] else { panic!("{:?}", run.lost) };
    let [(found, 1)] = run.found[..] else { panic!("{:?}", run.found) };
    assert!(COVERED.contains(&lost), "lost in frame {lost}");
    assert!((COVERED.end..COVERED.end + 6).contains(&found), "found in frame {found}");
    assert!(last > 0.75, "{last}");
    // Its clicks are back too.
    assert!(run.seeds.has_position_for(1));
}

#[test]
fn a_region_comes_back_that_is_covered_from_the_second_frame_on() {
    let (run, last) = covered(1..11);
    assert!(run.found.len() == 1 && last > 0.75, "{:?}, {last}", run.found);
}

#[test]
fn a_region_that_is_uncovered_slowly_comes_back_as_a_whole() {
    let (run, last) = tracked((0..60).map(|number| {
        let cover = [-90.0 + 8.0 * number as f32, 100.0];
        ([130.0 + 0.5 * number as f32, 100.0], Some(cover))
    }));
    assert!(run.found.len() == 1 && last > 0.85, "{:?}, {last}", run.found);
}

#[test]
fn a_region_that_leaves_comes_back_as_a_whole() {
    let (run, last) = tracked((0..72).map(|number| {
        // To the right, out of the picture, and back.
        let way = 6.0 * (36.0 - (number as f32 - 36.0).abs());
        ([160.0 + way, 100.0], None)
    }));
    assert!(run.found.len() == 1 && last > 0.85, "{:?}, {last}", run.found);
}

#[test]
fn a_region_that_has_left_stays_lost() {
    let (background, object) = (photograph("chelsea"), object());
    let mut run = Run::new();
    for number in 0..70 {
        let middle = [200.0 + 7.0 * number as f32, 100.0];
        let (frame, _) = draw(&background, &[(&object, middle)]);
        let labels = run.push(&frame);
        if number == 0 {
            run.select(1, middle, &object);
        } else if number > 30 {
            assert!(labels.iter().all(|label| *label == 0), "a region in frame {number}");
        }
    }
    assert!(run.lost.len() == 1 && run.found.is_empty(), "{:?}, {:?}", run.lost, run.found);
    assert!(run.segmenter.looks_for_regions());
}

#[test]
fn cuts_end_regions_and_new_sizes_end_the_search() {
    let (background, object) = (photograph("chelsea"), object());
    let middle = [160.0, 100.0];
    let mut run = Run::new();
    let (frame, _) = draw(&background, &[(&object, middle)]);
    run.push(&frame);
    run.select(1, middle, &object);
    run.push(&frame);
    let mut other = photograph("astronaut");
    other.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|v| 255 - v));
    for _ in 0..20 {
        assert!(run.push(&other).iter().all(|label| *label == 0));
    }
    assert!(run.lost == [(2, 1)] && run.found.is_empty(), "{:?}, {:?}", run.lost, run.found);
    let small = imageops::resize(&frame, 240, 150, imageops::FilterType::Triangle);
    assert!(run.push(&small).iter().all(|label| *label == 0));
    assert!(!run.segmenter.looks_for_regions());
}

#[test]
fn two_regions_cross() {
    let background = photograph("chelsea");
    let behind = object();
    let front = Layer { photograph: photograph("astronaut"), radii: [38.0, 46.0] };
    let mut run = Run::new();
    let mut last = [0.0; 2];
    for number in 0..56 {
        let way = 3.0 * number as f32;
        let places = [[80.0 + way, 100.0], [240.0 - way, 102.0]];
        let layers = [(&behind, places[0]), (&front, places[1])];
        let (frame, masks) = draw(&background, &layers);
        let labels = run.push(&frame);
        if number == 0 {
            run.select(1, places[0], &behind);
            run.select(2, places[1], &front);
        }
        last = [1, 2].map(|label| iou(&labels, label, &masks[usize::from(label) - 1]));
    }
    assert!(last.iter().all(|iou| *iou > 0.7), "{last:?}");
}

#[test]
fn a_region_stays_on_an_object_that_only_motion_tells_from_the_background() {
    // Fur over fur.
    let background = photograph("chelsea");
    let layer = Layer { photograph: imageops::flip_horizontal(&background), radii: [34.0, 42.0] };
    let mut run = Run::new();
    let mut last = 0.0;
    for number in 0..37 {
        let middle = [230.0 - 3.0 * number as f32, 70.0 + 1.2 * number as f32];
        let (frame, masks) = draw(&background, &[(&layer, middle)]);
        let mut labels = run.push(&frame);
        if number == 0 {
            run.select(1, middle, &layer);
            labels = run.labels(labels.dim());
        }
        last = iou(&labels, 1, &masks[0]);
    }
    assert!(last > 0.75 && run.lost.is_empty(), "{last}, {:?}", run.lost);
}
