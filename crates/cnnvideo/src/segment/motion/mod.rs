// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evidence that a pixel belongs to a region, by its motion: whether it moves with the region or
//! with the background.

mod affine;

use ndarray::{Array2, Zip};

pub(super) use self::affine::AffineMotion;
use super::{
    flow::Flow,
    image::bilinear_inside,
    track::{MIN_UNCERTAIN, box_filter},
};

/// Least difference, in pixels, of the flow of a pixel from the motion of the background at which
/// the pixel may move with the region.
const MIN_DIFFERENCE: f32 = 0.7;
/// Largest difference of the flow from the motion of the region at which it may. Pixels of another
/// object move with neither.
const MAX_DIFFERENCE: f32 = 2.0;
/// Radius, in pixels, over which the errors of the two motions are averaged.
const RADIUS: usize = 2;
/// Least difference from 0 and 1 of the mean probability, over the same radius, around an uncertain
/// pixel, less a margin for rounding.
const MIN_MEAN: f32 = 0.5 * MIN_UNCERTAIN / ((2 * RADIUS + 1) * (2 * RADIUS + 1)) as f32;
/// Error, in code values, that is added to both, so that noise is no evidence.
const NOISE_ERROR: f32 = 3.0;
/// Weight of evidence for the region. It is low, as parts of a background at other distances do not
/// move with the rest of it either.
const INSIDE_WEIGHT: f32 = 0.2;
/// Weight of evidence for the background.
const OUTSIDE_WEIGHT: f32 = 0.6;

/// Two successive pictures.
pub(super) struct PicturePair<'a> {
    /// Luma of the current picture.
    pub current: &'a Array2<f32>,
    /// Luma of the previous picture.
    pub previous: &'a Array2<f32>,
    /// Flow from the current picture to the previous one.
    pub flow: &'a Flow,
}

impl PicturePair<'_> {
    /// Returns the log-odds that pixels move with a region and not with the background; 0 where
    /// both motions predict the picture equally well, as where they agree or the picture is plain.
    ///
    /// `probability` is that of the region from the pixel `origin` `(y, x)` on. Only the evidence
    /// of pixels that are neither certainly inside nor certainly outside is computed.
    pub(super) fn motion_evidence(
        &self,
        region: &AffineMotion,
        background: &AffineMotion,
        probability: &Array2<f32>,
        origin: (usize, usize),
    ) -> Array2<f32> {
        let [mut by_region, mut by_background] = [0; 2].map(|_| Array2::zeros(probability.dim()));
        // Around uncertain pixels the mean probability is neither 0 nor 1.
        let mean = box_filter(probability, RADIUS);
        let errors = Zip::indexed(&mut by_region).and(&mut by_background).and(&mean);
        errors.par_for_each(|(y, x), by_region, by_background, mean| {
            if (MIN_MEAN..1.0 - MIN_MEAN).contains(mean) {
                let at = (y + origin.0, x + origin.1);
                [*by_region, *by_background] =
                    self.errors(at, region, background).unwrap_or_default();
            }
        });
        let [by_region, by_background] = [by_region, by_background].map(|e| box_filter(&e, RADIUS));
        Zip::from(&by_region).and(&by_background).map_collect(|by_region, by_background| {
            let log_odds = ((by_background + NOISE_ERROR) / (by_region + NOISE_ERROR)).ln();
            log_odds * if log_odds > 0.0 { INSIDE_WEIGHT } else { OUTSIDE_WEIGHT }
        })
    }

    /// Returns the errors, in code values, with which the motions of the region and of the
    /// background predict a pixel; `None` if one of them leads out of the picture.
    fn errors(
        &self,
        (y, x): (usize, usize),
        region: &AffineMotion,
        background: &AffineMotion,
    ) -> Option<[f32; 2]> {
        let position = [x as f32, y as f32];
        let [region, background] = [region, background].map(|motion| motion.at(position));
        let flow = self.flow.displacement(y, x);
        let by_background = self.error((y, x), background)?;
        let mut by_region = self.error((y, x), region)?;
        // The parts of an object that turns or bends move differently, so that the flow may predict
        // a pixel better than the motion of the whole region.
        if distance(flow, background) > MIN_DIFFERENCE && distance(flow, region) < MAX_DIFFERENCE {
            by_region = by_region.min(self.error((y, x), flow)?);
        }
        Some([by_region, by_background])
    }

    /// Returns the absolute difference, in code values, of a pixel and the pixel of the previous
    /// picture at a displacement `[x, y]`; `None` if that lies outside of the picture.
    fn error(&self, (y, x): (usize, usize), [dx, dy]: [f32; 2]) -> Option<f32> {
        let predicted = bilinear_inside(self.previous, x as f32 + dx, y as f32 + dy)?;
        Some((self.current[[y, x]] - predicted).abs())
    }
}

/// Returns the length of the difference of two displacements.
fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: (usize, usize) = (96, 128);

    fn texture(x: f32, y: f32) -> f32 {
        128.0 + 40.0 * (0.9 * x + 0.3 * y).sin() + 40.0 * (0.8 * y - 0.5 * x).cos()
    }

    /// Returns the mean evidence inside and outside of a region of 40x40 pixels with texture
    /// `inside`, over a textured background, which move by `displacements`.
    fn evidence(inside: fn(f32, f32) -> f32, displacements: [[f32; 2]; 2]) -> [f32; 2] {
        let is_region = |x: f32, y: f32| (40.0..80.0).contains(&x) && (30.0..70.0).contains(&y);
        let picture = |displacements: [[f32; 2]; 2]| {
            Array2::from_shape_fn(DIM, |(y, x)| {
                let [region, background] =
                    displacements.map(|[dx, dy]| [x as f32 + dx, y as f32 + dy]);
                if is_region(region[0], region[1]) {
                    inside(region[0], region[1])
                } else {
                    texture(background[0] + 300.0, background[1])
                }
            })
        };
        let (previous, current) = (picture([[0.0; 2]; 2]), picture(displacements));
        let flow = |motion: [f32; 2]| Flow::from_fn(DIM, move |_| motion);
        let [region, background] =
            displacements.map(|motion| AffineMotion::fit(&flow(motion), DIM, 4, |_| true).unwrap());
        let pair =
            PicturePair { current: &current, previous: &previous, flow: &flow(displacements[0]) };
        let evidence =
            pair.motion_evidence(&region, &background, &Array2::from_elem(DIM, 0.5), (0, 0));
        let mean = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            evidence.slice(ndarray::s![rows, columns]).mean().unwrap()
        };
        [mean(40..60, 50..70), mean(40..60, 90..110)]
    }

    #[test]
    fn motion_tells_a_region_from_the_background() {
        let [inside, outside] = evidence(texture, [[-1.5, 1.0], [2.0, 0.5]]);
        assert!(inside > 0.2 && outside < -0.6, "{inside}, {outside}");
    }

    #[test]
    fn common_motion_and_plain_surfaces_are_no_evidence() {
        let [inside, outside] = evidence(texture, [[1.0, 0.5]; 2]);
        assert!(inside.abs() < 0.01 && outside.abs() < 0.01, "{inside}, {outside}");
        let [inside, _] = evidence(|_, _| 90.0, [[-1.5, 1.0], [2.0, 0.5]]);
        assert!(inside.abs() < 0.01, "{inside}");
    }
}
