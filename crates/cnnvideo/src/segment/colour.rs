//! Colour histograms of a region and of its surroundings.

/// Number of histogram bins along Y, U and V.
const BINS: [usize; 3] = [10, 16, 16];
/// Range of chroma, in 8-bit code values, that the U and V bins divide; values outside of it fall
/// into the first or last bin.
const CHROMA: [f32; 2] = [64.0, 192.0];
/// Share of all pixels that is added to every bin, so that colours absent from both histograms get
/// log-odds of 0.
const PRIOR: f32 = 2e-4;

/// Colour histograms (Y, U, V) of the pixels inside and outside of a region.
#[derive(Debug, Clone)]
pub struct ColourModel {
    /// Pixels in each bin, inside and outside; the index of a bin has V as its fastest axis.
    counts: [Vec<f32>; 2],
    /// Sum of all bins, inside and outside.
    sums: [f32; 2],
}

impl Default for ColourModel {
    fn default() -> Self {
        let size = BINS.iter().product();
        Self { counts: [vec![0.0; size], vec![0.0; size]], sums: [0.0; 2] }
    }
}

impl ColourModel {
    /// Adds `pixels` pixels of a colour `[y, u, v]` (8-bit code values) to the histogram of the
    /// inside or of the outside, distributed over the eight nearest bins by trilinear weights.
    pub fn add(&mut self, inside: bool, colour: [f32; 3], pixels: f32) {
        let side = usize::from(!inside);
        for (bin, share) in bins(colour) {
            self.counts[side][bin] += share * pixels;
        }
        self.sums[side] += pixels;
    }

    /// Multiplies both histograms by `keep` (0 to 1), so that colours added later weigh more.
    pub fn fade(&mut self, keep: f32) {
        self.counts.iter_mut().flatten().chain(&mut self.sums).for_each(|v| *v *= keep);
    }

    /// Returns the log-odds that a pixel of this colour `[y, u, v]` is inside, or 0 while either
    /// histogram is empty.
    pub fn log_odds(&self, colour: [f32; 3]) -> f32 {
        if self.sums.iter().any(|sum| *sum <= 0.0) {
            return 0.0;
        }
        let [inside, outside] = [0, 1].map(|side| {
            let share: f32 = bins(colour).map(|(bin, share)| share * self.counts[side][bin]).sum();
            share / self.sums[side] + PRIOR
        });
        (inside / outside).ln()
    }
}

/// Returns the eight bins nearest to a colour with their trilinear weights.
fn bins(colour: [f32; 3]) -> impl Iterator<Item = (usize, f32)> {
    let place = |i: usize| {
        let [low, high] = if i == 0 { [0.0, 255.0] } else { CHROMA };
        let at = (colour[i] - low) / (high - low) * BINS[i] as f32 - 0.5;
        let at = at.clamp(0.0, BINS[i] as f32 - 1.001);
        (at as usize, at.fract())
    };
    let [y, u, v] = [place(0), place(1), place(2)];
    (0..8).map(move |corner| {
        let along = |(first, rest): (usize, f32), bit: usize| {
            if corner >> bit & 1 == 1 { (first + 1, rest) } else { (first, 1.0 - rest) }
        };
        let [y, u, v] = [along(y, 0), along(u, 1), along(v, 2)];
        ((y.0 * BINS[1] + u.0) * BINS[2] + v.0, y.1 * u.1 * v.1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_tell_sides() {
        let mut model = ColourModel::default();
        assert_eq!(model.log_odds([100.0, 128.0, 128.0]), 0.0);
        model.add(true, [200.0, 100.0, 160.0], 50.0);
        assert_eq!(model.log_odds([200.0, 100.0, 160.0]), 0.0);
        model.add(false, [50.0, 128.0, 128.0], 500.0);
        assert!(model.log_odds([198.0, 101.0, 161.0]) > 3.0);
        assert!(model.log_odds([52.0, 127.0, 128.0]) < -3.0);
        assert!(model.log_odds([120.0, 60.0, 60.0]).abs() < 1e-3);
        // Colours outside of the bins' range fall into the outermost bins.
        for colour in [[0.0; 3], [255.0; 3], [-9.0, 400.0, f32::MIN]] {
            assert!(model.log_odds(colour).is_finite());
        }
        model.fade(0.0);
        assert_eq!(model.log_odds([200.0, 100.0, 160.0]), 0.0);
    }
}
