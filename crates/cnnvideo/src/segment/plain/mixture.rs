// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pixels on the border of two surfaces, whose colour is a mixture of both. The shares give the
//! place of the border within the pixel.

use ndarray::Array2;

use super::{features::Features, neighbours};

/// Least share of the surface that a pixel belongs to: just more than one half.
const MIN_OWN_SHARE: f32 = 0.51;

/// Pixel that belongs to one surface and has a part of another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mixture {
    /// The pixel `(y, x)`.
    pub at: (usize, usize),
    /// Label of the other surface.
    pub other: u32,
    /// Share of the other surface, from 0 to 0.49.
    pub share: f32,
}

/// Returns the mixtures among the pixels at the borders of surfaces.
pub(super) fn find(
    features: &Features<'_>,
    labels: &Array2<u32>,
    colours: &[[f32; 3]],
) -> Vec<Mixture> {
    let at_border =
        labels.indexed_iter().filter(|(_, label)| **label > 0).filter_map(|(at, own)| {
            let others = neighbours(at, labels.dim()).map(|other| labels[other]);
            others
                .filter(|other| *other > 0 && other != own)
                .map(|other| {
                    let [own, another] = [*own, other].map(|label| colours[label as usize - 1]);
                    let (share, distance) = share_of(features.colours[at], own, another);
                    (Mixture { at, other, share }, distance)
                })
                .min_by(|a, b| a.1.total_cmp(&b.1))
        });
    at_border.map(|(mixture, _)| mixture).filter(|mixture| mixture.share > 0.0).collect()
}

/// Returns the share of the colour `other` in the mixture with the colour `own` that is closest to
/// `colour`, and the squared distance to it.
fn share_of(colour: [f32; 3], own: [f32; 3], other: [f32; 3]) -> (f32, f32) {
    let sum = |term: &dyn Fn(usize) -> f32| (0..3).map(term).sum::<f32>();
    let along = sum(&|i| (colour[i] - own[i]) * (other[i] - own[i]));
    let share = along / sum(&|i| (other[i] - own[i]).powi(2)).max(f32::EPSILON);
    let share = share.clamp(0.0, 1.0 - MIN_OWN_SHARE);
    (share, sum(&|i| (own[i] + share * (other[i] - own[i]) - colour[i]).powi(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_mixture() {
        let (own, other) = ([10.0, 20.0, 30.0], [30.0, 20.0, 10.0]);
        let (share, distance) = share_of([14.0, 20.0, 26.0], own, other);
        assert!((share - 0.2).abs() < 1e-6 && distance < 1e-6);
        assert_eq!(share_of([0.0, 20.0, 40.0], own, other).0, 0.0);
        assert_eq!(share_of(other, own, other).0, 1.0 - MIN_OWN_SHARE);
    }
}
