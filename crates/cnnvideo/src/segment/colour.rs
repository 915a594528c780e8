// SPDX-License-Identifier: MIT OR Apache-2.0

//! Colour histograms of a region and of its surroundings.

/// Number of histogram bins along Y, U and V.
const BINS: [usize; 3] = [10, 16, 16];
/// Range of chroma, in 8-bit code values, that the U and V bins divide; values outside of it fall
/// into the first or last bin.
const CHROMA_RANGE: [f32; 2] = [64.0, 192.0];
/// Share of all pixels that is added to every bin, so that colours absent from both histograms get
/// log-odds of 0.
const PRIOR: f32 = 2e-4;

/// Side of a region's border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Inside of the region.
    Inside,
    /// Outside of the region.
    Outside,
}

/// Colour histograms (Y, U, V) of the pixels inside and outside of a region.
#[derive(Debug, Clone)]
pub struct ColourModel {
    /// Pixels in each bin, inside and outside; the index of a bin has V as its fastest axis.
    histograms: [Vec<f32>; 2],
    /// Sum of all bins, inside and outside.
    totals: [f32; 2],
}

impl Default for ColourModel {
    fn default() -> Self {
        let size = BINS.iter().product();
        Self { histograms: [vec![0.0; size], vec![0.0; size]], totals: [0.0; 2] }
    }
}

impl ColourModel {
    /// Adds `pixels` pixels of a colour `[y, u, v]` (8-bit code values) to the histogram of one
    /// side, distributed over the eight nearest bins by trilinear weights.
    pub fn add(&mut self, side: Side, colour: [f32; 3], pixels: f32) {
        let side = side as usize;
        for (bin, weight) in bins(colour) {
            self.histograms[side][bin] += weight * pixels;
        }
        self.totals[side] += pixels;
    }

    /// Multiplies both histograms by `factor` (0 to 1), so that colours added later weigh more.
    pub fn decay(&mut self, factor: f32) {
        self.histograms.iter_mut().flatten().chain(&mut self.totals).for_each(|v| *v *= factor);
    }

    /// Returns how similar the colours inside are to those inside of another model, from 0 to 1
    /// (coefficient of Bhattacharyya); 0 while either histogram is empty.
    pub(super) fn similarity(&self, other: &Self) -> f32 {
        let [a, b] = [self, other].map(|model| (&model.histograms[0], model.totals[0]));
        if a.1 <= 0.0 || b.1 <= 0.0 {
            return 0.0;
        }
        a.0.iter().zip(b.0).map(|(p, q)| (p * q).sqrt()).sum::<f32>() / (a.1 * b.1).sqrt()
    }

    /// Returns the log-odds that a pixel of this colour `[y, u, v]` is inside, or 0 while either
    /// histogram is empty.
    pub fn log_odds(&self, colour: [f32; 3]) -> f32 {
        if self.totals.iter().any(|total| *total <= 0.0) {
            return 0.0;
        }
        let [inside, outside] = [0, 1].map(|side| {
            let pixels: f32 =
                bins(colour).map(|(bin, weight)| weight * self.histograms[side][bin]).sum();
            pixels / self.totals[side] + PRIOR
        });
        (inside / outside).ln()
    }
}

/// Returns the Euclidean distance of two colours `[y, u, v]`.
pub(super) fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

/// Returns the eight bins nearest to a colour with their trilinear weights.
fn bins(colour: [f32; 3]) -> impl Iterator<Item = (usize, f32)> {
    // Lower of the two nearest bins along an axis, and the fraction of the way to the other.
    let position = |axis: usize| {
        let [low, high] = if axis == 0 { [0.0, 255.0] } else { CHROMA_RANGE };
        let at = (colour[axis] - low) / (high - low) * BINS[axis] as f32 - 0.5;
        let at = at.clamp(0.0, BINS[axis] as f32 - 1.001);
        (at as usize, at.fract())
    };
    let [y, u, v] = [position(0), position(1), position(2)];
    (0..8).map(move |corner| {
        let bin_and_weight = |(lower, fraction): (usize, f32), axis: usize| {
            if corner >> axis & 1 == 1 { (lower + 1, fraction) } else { (lower, 1.0 - fraction) }
        };
        let [y, u, v] = [bin_and_weight(y, 0), bin_and_weight(u, 1), bin_and_weight(v, 2)];
        ((y.0 * BINS[1] + u.0) * BINS[2] + v.0, y.1 * u.1 * v.1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_odds_separate_inside_and_outside() {
        let mut model = ColourModel::default();
        assert_eq!(model.log_odds([100.0, 128.0, 128.0]), 0.0);
        model.add(Side::Inside, [200.0, 100.0, 160.0], 50.0);
        assert_eq!(model.log_odds([200.0, 100.0, 160.0]), 0.0);
        model.add(Side::Outside, [50.0, 128.0, 128.0], 500.0);
        assert!(model.log_odds([198.0, 101.0, 161.0]) > 3.0);
        assert!(model.log_odds([52.0, 127.0, 128.0]) < -3.0);
        assert!(model.log_odds([120.0, 60.0, 60.0]).abs() < 1e-3);
        // Colours outside of the bins' range fall into the outermost bins.
        for colour in [[0.0; 3], [255.0; 3], [-9.0, 400.0, f32::MIN]] {
            assert!(model.log_odds(colour).is_finite());
        }
        model.decay(0.0);
        assert_eq!(model.log_odds([200.0, 100.0, 160.0]), 0.0);
    }
}
