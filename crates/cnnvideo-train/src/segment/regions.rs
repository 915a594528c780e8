// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training samples for segmentation: image patches with one region each.

use std::path::Path;

use image::{GrayImage, RgbImage};
use ndarray::Array2;
use rand::{Rng, rngs::StdRng};

use crate::{
    Error,
    data::{image_files, is_for_validation},
    smooth::{Drawings, Half},
};
use cnnvideo::{
    frame::luma::rgb_to_yuv,
    segment::{PixelBox, distance::squared_distance_transform},
};

/// One in this many photographs is kept for validation, on average.
const VALIDATION_INTERVAL: u64 = 20;
/// Share of the samples that composite a drawing over a photograph.
const DRAWING_SHARE: f64 = 0.3;
/// Probability that a neighbouring region is added, tested repeatedly: annotators often divide
/// objects into parts.
const MERGE_PROBABILITY: f64 = 0.45;
/// A region that shares more than this fraction of its border with the chosen regions is added to
/// them.
const ENCLOSED_SHARE: f64 = 0.6;
/// Minimum area of a region as a share of the photograph.
const MIN_AREA: f64 = 0.008;
/// Maximum area of a region as a share of the photograph.
const MAX_AREA: f64 = 0.6;
/// Range of the patch side relative to the longer side of the region. It is wide, because before
/// the first click the region may be anywhere in the frame.
const PATCH_SCALE: (f32, f32) = (1.15, 7.0);
/// The same for patches that are close to the region, as when the region is already known.
const CLOSE_PATCH_SCALE: (f32, f32) = (1.2, 2.4);
/// Share of the close patches.
const CLOSE_PATCH_SHARE: f64 = 0.5;

/// An annotated photograph.
struct AnnotatedPhoto {
    picture: RgbImage,
    /// Label maps, one for each annotator; each pixel holds the number of its region.
    regions: Vec<GrayImage>,
}

/// A square training patch with one region.
pub(super) struct RegionSample {
    /// Y, U and V of each pixel, 0 to 255, row-major.
    pub(super) yuv: Vec<[f32; 3]>,
    /// Whether each pixel belongs to the region.
    pub(super) truth: Array2<bool>,
}

/// Source of training samples: annotated photographs and drawings.
pub(super) struct Regions {
    train: Vec<AnnotatedPhoto>,
    validation: Vec<AnnotatedPhoto>,
    drawings: Drawings,
}

impl std::fmt::Display for Regions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { train, validation, drawings } = self;
        write!(
            f,
            "{} photographs, {} to validate, {} drawings",
            train.len(),
            validation.len(),
            drawings.len()
        )
    }
}

impl Regions {
    /// Loads photographs, their annotated regions and drawings.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be read or its regions have another size,
    /// [`Error::NoPhotos`] if there are too few.
    pub(super) fn load(photos: &Path, regions: &Path, drawings: &Path) -> Result<Self, Error> {
        let open = |file: &Path| image::open(file).map_err(|err| Error::file(file, err));
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for file in image_files(photos)? {
            let name = file.file_stem().expect("a listed file has a name");
            let name = name.to_string_lossy().into_owned();
            let annotations = (0..)
                .map(|person| regions.join(format!("{name}-{person}.png")))
                .take_while(|f| f.exists());
            let annotations = annotations
                .map(|file| Ok(open(&file)?.into_luma8()))
                .collect::<Result<Vec<_>, Error>>()?;
            if annotations.is_empty() {
                continue;
            }
            let picture = open(&file)?.into_rgb8();
            if annotations.iter().any(|regions| regions.dimensions() != picture.dimensions()) {
                return Err(Error::file(&file, "its annotated regions have another size"));
            }
            let part = if is_for_validation(&name, VALIDATION_INTERVAL) {
                &mut validation
            } else {
                &mut train
            };
            part.push(AnnotatedPhoto { picture, regions: annotations });
        }
        if train.is_empty() || validation.is_empty() {
            return Err(Error::NoPhotos(photos.display().to_string()));
        }
        Ok(Self { train, validation, drawings: Drawings::load(drawings, Half::Training)? })
    }

    /// Draws a training sample of `side` x `side` pixels.
    pub(super) fn sample(&self, side: usize, rng: &mut StdRng) -> RegionSample {
        loop {
            let photo = &self.train[rng.random_range(0..self.train.len())];
            let sample = if rng.random_bool(DRAWING_SHARE) {
                self.composited(photo, side, rng)
            } else {
                photo.sample(side, rng)
            };
            if let Some(mut sample) = sample {
                sample.augment(rng);
                return sample;
            }
        }
    }

    /// Draws a sample from the validation photographs.
    pub(super) fn validation(&self, side: usize, rng: &mut StdRng) -> RegionSample {
        loop {
            if let Some(sample) =
                self.validation[rng.random_range(0..self.validation.len())].sample(side, rng)
            {
                return sample;
            }
        }
    }

    /// Composites a drawing over a photograph; the region is the drawing. Returns `None` if too
    /// little of it is visible.
    fn composited(
        &self,
        photo: &AnnotatedPhoto,
        side: usize,
        rng: &mut StdRng,
    ) -> Option<RegionSample> {
        let (width, height) = photo.picture.dimensions();
        let longer_side = rng.random_range(side as f32 * 0.6..height.min(width) as f32);
        let x0 = rng.random_range(0.0..=(width as f32 - longer_side).max(0.0));
        let y0 = rng.random_range(0.0..=(height as f32 - longer_side).max(0.0));
        let mut sample =
            photo.patch(side, [x0, y0, longer_side, longer_side], rng.random(), |_| false);
        let (drawing, alpha) = self.drawings.patch_of_one(side, rng);
        for (i, (pixel, alpha)) in drawing.iter().zip(&alpha).enumerate() {
            let colour = rgb_to_yuv(*pixel);
            for (to, from) in sample.yuv[i].iter_mut().zip(colour) {
                *to += alpha * (from - *to);
            }
            sample.truth[[i / side, i % side]] = *alpha > 0.5;
        }
        sample.usable().then_some(sample)
    }
}

impl AnnotatedPhoto {
    /// Draws a patch around a random region. Returns `None` if the region is not suitable.
    fn sample(&self, side: usize, rng: &mut StdRng) -> Option<RegionSample> {
        let regions = self.coarser_annotation(rng);
        let (width, height) = regions.dimensions();
        // A random pixel selects large regions more often, and these are more often whole objects.
        // Half of the time each region has the same probability instead.
        let mut chosen = [false; 256];
        let area =
            |chosen: &[bool; 256]| regions.pixels().filter(|p| chosen[usize::from(p.0[0])]).count();
        let first = if rng.random_bool(0.5) {
            regions.get_pixel(rng.random_range(0..width), rng.random_range(0..height)).0[0]
        } else {
            let last = regions.pixels().map(|p| p.0[0]).max().expect("photographs have pixels");
            rng.random_range(1..=last.max(1))
        };
        chosen[usize::from(first)] = true;
        while rng.random_bool(MERGE_PROBABILITY) {
            let border_lengths = shared_border_lengths(regions, &chosen);
            // A neighbour with a long common border is the most likely part of the same object.
            let total: u32 = border_lengths.iter().sum();
            if total == 0 {
                break;
            }
            let mut at = rng.random_range(0..total);
            let next = border_lengths.iter().position(|n| {
                let here = at < *n;
                at = at.saturating_sub(*n);
                here
            });
            chosen[next.expect("`at` is below the total length")] = true;
        }
        fill_holes(regions, &mut chosen);
        let share = area(&chosen) as f64 / f64::from(width * height);
        if !(MIN_AREA..MAX_AREA).contains(&share) {
            return None;
        }
        let mut bounds = [width, height, 0, 0];
        let mut borders = [0u32; 4];
        for (x, y, pixel) in regions.enumerate_pixels() {
            if chosen[usize::from(pixel.0[0])] {
                bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
                let at = [x == 0, y == 0, x + 1 == width, y + 1 == height];
                borders.iter_mut().zip(at).for_each(|(n, at)| *n += u32::from(at));
            }
        }
        // Regions that touch three sides are mostly ground or sky; only some of them are kept.
        if borders.iter().filter(|n| **n > 0).count() >= 3 && rng.random_bool(0.8) {
            return None;
        }
        let [x0, y0, x1, y1] = bounds.map(|v| v as f32);
        let patch_scale =
            if rng.random_bool(CLOSE_PATCH_SHARE) { CLOSE_PATCH_SCALE } else { PATCH_SCALE };
        let patch_scale = patch_scale.0 * (patch_scale.1 / patch_scale.0).powf(rng.random::<f32>());
        let longer_side = (patch_scale * (x1 - x0).max(y1 - y0)).max(side as f32 * 0.35);
        let stretch = rng.random_range(-0.2..0.2f32).exp();
        let whole = [width as f32, height as f32];
        let size = [(longer_side * stretch).min(whole[0]), (longer_side / stretch).min(whole[1])];
        let slack = [size[0] - (x1 - x0), size[1] - (y1 - y0)].map(|v| v.max(1.0));
        let wished_origin = [
            x0 - slack[0] * rng.random_range(0.05..0.95f32),
            y0 - slack[1] * rng.random_range(0.05..0.95f32),
        ];
        let origin = [0, 1].map(|i| wished_origin[i].clamp(0.0, whole[i] - size[i]));
        let sample =
            self.patch(side, [origin[0], origin[1], size[0], size[1]], rng.random(), |at| {
                chosen[usize::from(regions.get_pixel(at[0], at[1]).0[0])]
            });
        sample.usable().then_some(sample)
    }

    /// Returns the coarser of two random annotations: fewer regions are more often whole objects
    /// than parts of them.
    fn coarser_annotation(&self, rng: &mut StdRng) -> &GrayImage {
        let mut one = || {
            let regions = &self.regions[rng.random_range(0..self.regions.len())];
            (regions.pixels().map(|p| p.0[0]).max(), regions)
        };
        let (a, b) = (one(), one());
        if a.0 <= b.0 { a.1 } else { b.1 }
    }

    /// Resamples the rectangle `[x, y, width, height]` to `side` by `side` pixels, with border
    /// replication outside the photograph.
    fn patch(
        &self,
        side: usize,
        [x0, y0, width, height]: [f32; 4],
        flip: bool,
        inside: impl Fn([u32; 2]) -> bool,
    ) -> RegionSample {
        let (w, h) = self.picture.dimensions();
        let step = [width / side as f32, height / side as f32];
        // When downsampling, averages several points for each pixel.
        let samples_per_axis = step.map(|s| (s.round() as usize).clamp(1, 3));
        let mut yuvs = Vec::with_capacity(side * side);
        let truth = Array2::from_shape_fn((side, side), |(y, x)| {
            let x = if flip { side - 1 - x } else { x };
            let mut mean = [0.0; 3];
            for j in 0..samples_per_axis[1] {
                for i in 0..samples_per_axis[0] {
                    let at = |o: f32, v: usize, k: usize, n: usize, s: f32| {
                        o + (v as f32 + (k as f32 + 0.5) / n as f32) * s - 0.5
                    };
                    let rgb = bilinear(
                        &self.picture,
                        at(x0, x, i, samples_per_axis[0], step[0]),
                        at(y0, y, j, samples_per_axis[1], step[1]),
                    );
                    mean.iter_mut().zip(rgb).for_each(|(m, v)| {
                        *m += v / (samples_per_axis[0] * samples_per_axis[1]) as f32
                    });
                }
            }
            yuvs.push(rgb_to_yuv(mean));
            let (px, py) = (x0 + (x as f32 + 0.5) * step[0], y0 + (y as f32 + 0.5) * step[1]);
            let outside = px < 0.0 || py < 0.0 || px >= w as f32 || py >= h as f32;
            !outside && inside([px as u32, py as u32])
        });
        RegionSample { yuv: yuvs, truth }
    }
}

/// Interpolates bilinearly, with border replication.
fn bilinear(picture: &RgbImage, x: f32, y: f32) -> [f32; 3] {
    let (w, h) = picture.dimensions();
    let (x, y) = (x.clamp(0.0, w as f32 - 1.0), y.clamp(0.0, h as f32 - 1.0));
    let (x0, y0) = (x as u32, y as u32);
    let (x1, y1) = ((x0 + 1).min(w - 1), (y0 + 1).min(h - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let [a, b, c, d] =
        [(x0, y0), (x1, y0), (x0, y1), (x1, y1)].map(|(x, y)| picture.get_pixel(x, y).0);
    std::array::from_fn(|i| {
        let [a, b, c, d] = [a, b, c, d].map(|p| f32::from(p[i]));
        (a + fx * (b - a)) * (1.0 - fy) + (c + fx * (d - c)) * fy
    })
}

/// Adds regions that are mostly enclosed by the chosen ones, such as the windows of a car.
fn fill_holes(regions: &GrayImage, chosen: &mut [bool; 256]) {
    let (width, height) = regions.dimensions();
    let (border_lengths, mut around) = (shared_border_lengths(regions, chosen), [0u32; 256]);
    for y in 0..height {
        for x in 0..width {
            let here = regions.get_pixel(x, y).0[0];
            for (x, y) in [(x + 1, y), (x, y + 1)] {
                let there = if x < width && y < height { regions.get_pixel(x, y).0[0] } else { 0 };
                if here != there {
                    around[usize::from(here)] += 1;
                    around[usize::from(there)] += 1;
                }
            }
        }
    }
    for (i, chosen) in chosen.iter_mut().enumerate().skip(1) {
        *chosen |= f64::from(border_lengths[i]) > ENCLOSED_SHARE * f64::from(around[i]);
    }
}

/// Returns the length of the border that each region shares with the chosen ones.
fn shared_border_lengths(regions: &GrayImage, chosen: &[bool; 256]) -> [u32; 256] {
    let mut border_lengths = [0; 256];
    let (width, height) = regions.dimensions();
    for y in 0..height - 1 {
        for x in 0..width - 1 {
            let at = |x, y| usize::from(regions.get_pixel(x, y).0[0]);
            let here = at(x, y);
            for there in [at(x + 1, y), at(x, y + 1)] {
                match (chosen[here], chosen[there]) {
                    (true, false) => border_lengths[there] += 1,
                    (false, true) => border_lengths[here] += 1,
                    _ => {}
                }
            }
        }
    }
    border_lengths
}

impl RegionSample {
    /// Returns whether the region is neither too small nor too large in the patch.
    fn usable(&self) -> bool {
        let share = self.truth.iter().filter(|t| **t).count() as f64 / self.truth.len() as f64;
        (0.006..0.85).contains(&share)
    }

    /// Varies brightness, contrast, saturation and tint, and adds some noise.
    fn augment(&mut self, rng: &mut StdRng) {
        let (gain, shift) = (rng.random_range(0.7..1.3f32), rng.random_range(-25.0..25.0f32));
        let colour = rng.random_range(0.5..1.4f32);
        let tint = [rng.random_range(-8.0..8.0f32), rng.random_range(-8.0..8.0f32)];
        let noise = if rng.random_bool(0.3) { rng.random_range(0.0..12.0f32) } else { 0.0 };
        for [y, u, v] in &mut self.yuv {
            *y = ((*y - 128.0) * gain + 128.0 + shift + noise * rng.random_range(-1.7..1.7f32))
                .clamp(0.0, 255.0);
            *u = ((*u - 128.0) * colour + 128.0 + tint[0]).clamp(0.0, 255.0);
            *v = ((*v - 128.0) * colour + 128.0 + tint[1]).clamp(0.0, 255.0);
        }
    }

    /// Returns the bounding box of the region.
    pub(super) fn bounds(&self) -> PixelBox {
        let (height, width) = self.truth.dim();
        let nothing = PixelBox { left: width - 1, top: height - 1, right: 0, bottom: 0 };
        let inside = self.truth.indexed_iter().filter(|(_, inside)| **inside);
        inside.fold(nothing, |bounds, ((y, x), _)| PixelBox {
            left: bounds.left.min(x),
            top: bounds.top.min(y),
            right: bounds.right.max(x),
            bottom: bounds.bottom.max(y),
        })
    }

    /// Draws a random point of the region at each side of its bounding box (extreme points).
    pub(super) fn extreme_points(&self, rng: &mut StdRng) -> Vec<[f32; 2]> {
        let PixelBox { left, top, right, bottom } = self.bounds();
        let near_sides: [&dyn Fn(usize, usize) -> bool; 4] =
            [&|_, x| x <= left + 2, &|y, _| y <= top + 2, &|_, x| x + 2 >= right, &|y, _| {
                y + 2 >= bottom
            }];
        let mut points = Vec::new();
        for is_near_side in near_sides {
            let all: Vec<_> = self
                .truth
                .indexed_iter()
                .filter(|((y, x), inside)| **inside && is_near_side(*y, *x))
                .map(|(at, _)| at)
                .collect();
            if let Some((y, x)) = all.get(rng.random_range(0..all.len().max(1))) {
                points.push([*x as f32, *y as f32]);
            }
        }
        points
    }

    /// Draws a random point of the region, with a preference for points far from its border.
    /// Returns `None` if the region is empty.
    pub(super) fn random_inner_point(&self, rng: &mut StdRng) -> Option<[f32; 2]> {
        let depth = squared_distance_transform(&self.truth.view());
        let deepest = depth.iter().fold(0.0f32, |a, b| a.max(*b));
        let share = rng.random_range(0.1..1.0f32);
        let all: Vec<_> = depth
            .indexed_iter()
            .filter(|(_, d)| **d > 0.0 && **d >= share * share * deepest)
            .map(|(at, _)| at)
            .collect();
        let (y, x) = *all.get(rng.random_range(0..all.len().max(1)))?;
        Some([x as f32, y as f32])
    }
}
