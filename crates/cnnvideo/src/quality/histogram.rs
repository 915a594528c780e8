// SPDX-License-Identifier: MIT OR Apache-2.0

//! Histograms of 8-bit code values and distances between them.

use ndarray::ArrayView2;

/// One bin per 8-bit code value.
const BINS: usize = 256;

/// Relative frequency of each of the 256 code values in a plane; sums to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram([f64; BINS]);

impl Histogram {
    /// Computes the histogram of a plane of values from 0 to 255. Rounds fractions and clamps
    /// values outside the range.
    pub fn from_plane(plane: &ArrayView2<'_, f32>) -> Self {
        let mut counts = [0u32; BINS];
        // The saturating cast clamps.
        plane.iter().for_each(|v| counts[usize::from((v + 0.5) as u8)] += 1);
        let scale = 1.0 / plane.len().max(1) as f64;
        Self(counts.map(|count| f64::from(count) * scale))
    }

    /// Returns the relative frequencies, by code value.
    pub fn frequencies(&self) -> &[f64; BINS] {
        &self.0
    }

    /// Returns the chi-square distance: 0 for equal histograms, 1 for those without a common code
    /// value.
    pub fn chi_square_distance(&self, other: &Self) -> f64 {
        let pairs = self.0.iter().zip(&other.0).filter(|(a, b)| *a + *b > 0.0);
        0.5 * pairs.map(|(a, b)| (a - b).powi(2) / (a + b)).sum::<f64>()
    }

    /// Returns the earth mover's distance: the mean distance in code values by which samples must
    /// move to turn one histogram into the other.
    ///
    /// Rubner, Tomasi and Guibas, International Journal of Computer Vision 40(2), 2000. In one
    /// dimension it is the area between the cumulative histograms.
    pub fn earth_movers_distance(&self, other: &Self) -> f64 {
        let (mut difference, mut sum) = (0.0f64, 0.0);
        for (a, b) in self.0.iter().zip(&other.0) {
            difference += a - b;
            sum += difference.abs();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn distances_of_flat_planes_match_the_formula() {
        let flat = |value: f32| Histogram::from_plane(&Array2::from_elem((4, 5), value).view());
        assert_eq!(flat(10.4), flat(10.0));
        assert_eq!(
            (
                flat(10.0).chi_square_distance(&flat(10.0)),
                flat(10.0).earth_movers_distance(&flat(10.0))
            ),
            (0.0, 0.0)
        );
        assert!((flat(10.0).chi_square_distance(&flat(30.0)) - 1.0).abs() < 1e-12);
        assert!((flat(10.0).earth_movers_distance(&flat(30.0)) - 20.0).abs() < 1e-9);
        assert_eq!(flat(-5.0), flat(0.0));
        assert_eq!(flat(300.0), flat(255.0));
    }
}
