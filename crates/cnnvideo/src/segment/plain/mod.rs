// SPDX-License-Identifier: MIT OR Apache-2.0

//! Plain surfaces: connected pixels of one colour, as in drawings, test pictures and user
//! interfaces.
//!
//! The segmentation network has learnt from photographs, where nothing is plain, and cannot tell
//! plain surfaces apart. Here they grow from cores of one colour (Adams and Bischof, "Seeded Region
//! Growing", 1994), with colours measured relative to the noise. A picture counts as plain only if
//! most of it is cores and steps of colour bound the surfaces, which photographs do not fulfil.

mod borders;
mod cores;
mod decision;
mod extension;
mod features;
mod mixture;
mod noise;
mod smoothing;

use ndarray::Array2;

use super::{WorkingImage, logistic};
use features::Features;
use mixture::Mixture;

pub(super) use decision::Decision;

/// Log-odds of the pixels of surfaces that are decided.
const LOG_ODDS: f32 = 6.0;
/// Largest share of a surface that may be missing from a region of whole surfaces, or lie in it
/// although the surface does not belong to it. Seeds close to a border do that.
const MAX_TORN_SHARE: f32 = 0.05;
/// Least share of a plain picture in cores. It is at most 0.56 in photographs of which
/// [`MIN_BOUNDED_SHARE`] holds, and at least 0.61 in drawings, also after JPEG at quality 25.
const MIN_CORE_SHARE: f32 = 0.58;
/// Least share of a plain picture in surfaces that steps bound.
const MIN_BOUNDED_SHARE: f32 = 0.4;

/// Plain surfaces of a picture; none if the picture is not plain.
#[derive(Debug)]
pub(super) struct PlainSurfaces {
    /// Surface of each pixel, from 1 on; 0 for pixels of no surface.
    labels: Array2<u32>,
    /// Number of pixels of each surface, that of surface `n` at index `n - 1`.
    areas: Vec<u32>,
    /// Whether mostly steps of colour bound each surface.
    bounded: Vec<bool>,
    /// Pixels with parts of two surfaces.
    mixtures: Vec<Mixture>,
}

impl PlainSurfaces {
    /// Finds the plain surfaces of a picture.
    pub(super) fn find(image: &WorkingImage) -> Self {
        let found = Features::of(image).and_then(|features| Self::from_features(&features));
        found.unwrap_or_else(|| Self {
            labels: Array2::zeros(image.dim()),
            areas: Vec::new(),
            bounded: Vec::new(),
            mixtures: Vec::new(),
        })
    }

    /// Finds the plain surfaces; `None` if the picture is not plain.
    fn from_features(features: &Features<'_>) -> Option<Self> {
        let cores = cores::find(features);
        let pixels = cores.labels.len() as f32;
        let in_cores = cores.labels.iter().filter(|label| **label > 0).count() as f32;
        if in_cores < MIN_CORE_SHARE * pixels {
            return None;
        }
        let labels = extension::extend(features, &cores);
        let bounded = borders::are_steps(features, &labels, &cores.colours);
        let mut areas = vec![0; bounded.len()];
        for surface in labels.iter().filter_map(|label| label.checked_sub(1)) {
            areas[surface as usize] += 1;
        }
        let bounded_areas = areas.iter().zip(&bounded).filter(|(_, bounded)| **bounded);
        let in_bounded: u32 = bounded_areas.map(|(area, _)| area).sum();
        (in_bounded as f32 >= MIN_BOUNDED_SHARE * pixels).then(|| {
            let mixtures = mixture::find(features, &labels, &cores.colours);
            Self { labels, areas, bounded, mixtures }
        })
    }

    /// Returns whether there are no surfaces, as the picture is not plain.
    pub(super) fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// Returns the index of the surface at a point `[x, y]`, if there is one that steps bound.
    fn at(&self, [x, y]: [f32; 2]) -> Option<usize> {
        self.bounded_index(self.labels[[y as usize, x as usize]])
    }

    /// Returns the index of a surface, if steps bound it.
    fn bounded_index(&self, label: u32) -> Option<usize> {
        let index = label.checked_sub(1)? as usize;
        self.bounded[index].then_some(index)
    }

    /// Returns the share of each surface that lies in a region.
    fn shares_inside(&self, probability: &Array2<f32>) -> Vec<f32> {
        let mut inside = vec![0; self.areas.len()];
        for (label, p) in self.labels.iter().zip(probability) {
            if let Some(surface) = label.checked_sub(1).filter(|_| *p > 0.5) {
                inside[surface as usize] += 1;
            }
        }
        let pairs = inside.into_iter().zip(&self.areas);
        pairs.map(|(inside, area)| inside as f32 / (*area).max(1) as f32).collect()
    }

    /// Returns whether a region consists of whole surfaces.
    pub(super) fn make_up(&self, probability: &Array2<f32>) -> bool {
        let is_whole = |share: f32| !(MAX_TORN_SHARE..1.0 - MAX_TORN_SHARE).contains(&share);
        let shares = self.shares_inside(probability);
        let mut bounded = shares.iter().zip(&self.bounded).filter(|(_, bounded)| **bounded);
        let in_region = || self.labels.iter().zip(probability).filter(|(_, p)| **p > 0.5);
        let elsewhere = in_region().filter(|(label, _)| self.bounded_index(**label).is_none());
        !self.is_empty()
            && bounded.all(|(share, _)| is_whole(*share))
            && elsewhere.count() as f32 <= MAX_TORN_SHARE * in_region().count() as f32
    }

    /// Fits a tracked region to the surfaces: those of which more than half lies in the region
    /// belong to it as a whole, the others do not.
    pub(super) fn fit(&self, probability: &mut Array2<f32>) {
        let shares = self.shares_inside(probability);
        self.store(probability, |surface| Some(shares[surface] > 0.5));
    }

    /// Stores the probability of all pixels of those bounded surfaces of which `is_inside` returns
    /// whether they belong to the region.
    fn store(&self, probability: &mut Array2<f32>, is_inside: impl Fn(usize) -> Option<bool>) {
        let values: Vec<Option<f32>> = (0..self.areas.len())
            .map(|surface| is_inside(surface).filter(|_| self.bounded[surface]))
            .map(|inside| inside.map(|inside| logistic(if inside { LOG_ODDS } else { -LOG_ODDS })))
            .collect();
        let value_of =
            |label: u32| label.checked_sub(1).and_then(|surface| values[surface as usize]);
        probability.zip_mut_with(&self.labels, |p, label| *p = value_of(*label).unwrap_or(*p));
        for Mixture { at, other, share } in &self.mixtures {
            if let (Some(own), Some(other)) = (value_of(self.labels[*at]), value_of(*other)) {
                probability[*at] = own + share * (other - own);
            }
        }
    }
}

/// Returns the pixels above, below, left and right of a pixel `(y, x)` of an image of size
/// `(height, width)`.
fn neighbours(
    (y, x): (usize, usize),
    (height, width): (usize, usize),
) -> impl Iterator<Item = (usize, usize)> {
    [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)]
        .into_iter()
        .filter(move |(y, x)| *y < height && *x < width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Format, Picture, Plane};

    /// Returns the surfaces of an RGB picture with these pixels.
    fn surfaces(
        (height, width): (usize, usize),
        pixel: impl Fn(usize, usize) -> [u8; 3],
    ) -> PlainSurfaces {
        let rgb: Vec<u8> = (0..width * height).flat_map(|i| pixel(i % width, i / width)).collect();
        let planes = [Plane::new(&rgb, 3 * width)];
        let mut image = WorkingImage::default();
        image.fill(&Picture::new(Format::RGB, width, height, &planes).unwrap());
        PlainSurfaces::find(&image)
    }

    #[test]
    fn surfaces_end_at_steps_of_colour() {
        // Bars of equal width; adjacent ones differ by little in one component only.
        let colours =
            [[100, 100, 100], [100, 100, 104], [100, 103, 104], [104, 103, 104], [0, 0, 0]];
        let found = surfaces((60, 100), |x, _| colours[x / 20]);
        assert_eq!((found.areas.len(), found.bounded.len()), (5, 5));
        for ((_, x), label) in found.labels.indexed_iter() {
            assert_eq!(*label as usize, 1 + x / 20);
        }
        assert!(found.bounded.iter().all(|bounded| *bounded) && found.mixtures.is_empty());
    }

    #[test]
    fn pixels_on_a_border_have_shares() {
        // The border runs through the pixels of column 20, at a quarter of their width.
        let found = surfaces((40, 50), |x, _| match x {
            0..20 => [200; 3],
            20 => [125; 3],
            _ => [100; 3],
        });
        assert_eq!(found.labels[[10, 20]], found.labels[[10, 30]]);
        let shares: Vec<_> = found.mixtures.iter().filter(|m| m.at.1 == 20).collect();
        assert_eq!(shares.len(), 40);
        assert!(shares.iter().all(|mixture| (mixture.share - 0.25).abs() < 0.01), "{shares:?}");
    }

    #[test]
    fn slopes_and_texture_are_not_plain() {
        let slope = surfaces((80, 120), |x, y| [(x + y) as u8, x as u8, 50]);
        assert!(slope.is_empty());
        let slow = surfaces((200, 300), |x, _| [100 + (x / 12) as u8; 3]);
        assert!(slow.is_empty());
        let texture = surfaces((80, 120), |x, y| [(x * x * 7 + y * y * 13) as u8; 3]);
        assert!(texture.is_empty());
        // A single pixel, and a single surface.
        assert!(surfaces((1, 1), |_, _| [9; 3]).is_empty());
        assert_eq!(surfaces((40, 50), |_, _| [9; 3]).areas, [2000]);
    }

    #[test]
    fn photographs_are_not_plain() {
        for name in ["astronaut", "chelsea", "coffee", "rocket"] {
            let path = format!("{}/../../tests/data/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
            let photo = image::open(path).unwrap().into_rgb8();
            let dim = (photo.height() as usize, photo.width() as usize);
            let found = surfaces(dim, |x, y| photo.get_pixel(x as u32, y as u32).0);
            assert!(found.is_empty(), "{name}");
        }
    }
}
