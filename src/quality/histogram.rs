use ndarray::ArrayView2;

const BINS: usize = 256;

/// How often each of 256 levels stands in a plane, as shares of 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram(pub [f64; BINS]);

impl Histogram {
    /// That of a plane of values from 0 to 255; values between levels count for the nearest.
    pub fn of(plane: &ArrayView2<'_, f32>) -> Self {
        let mut counts = [0u32; BINS];
        // The cast saturates.
        plane.iter().for_each(|v| counts[usize::from((v + 0.5) as u8)] += 1);
        let scale = 1.0 / plane.len().max(1) as f64;
        Self(counts.map(|count| f64::from(count) * scale))
    }

    /// Chi-square distance, from 0 for equal ones to 1 for those that share no level.
    pub fn chi_square(&self, other: &Self) -> f64 {
        let pairs = self.0.iter().zip(&other.0).filter(|(a, b)| *a + *b > 0.0);
        0.5 * pairs.map(|(a, b)| (a - b).powi(2) / (a + b)).sum::<f64>()
    }

    /// Earth mover's distance, in levels: how far values must move on average (Rubner, Tomasi and Guibas, International
    /// Journal of Computer Vision 40(2), 2000; in one dimension the area between the cumulative histograms).
    pub fn earth_movers(&self, other: &Self) -> f64 {
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
    fn distances_tell_how_far_levels_lie_apart() {
        let flat = |level: f32| Histogram::of(&Array2::from_elem((4, 5), level).view());
        assert_eq!(flat(10.4), flat(10.0));
        assert_eq!(
            (flat(10.0).chi_square(&flat(10.0)), flat(10.0).earth_movers(&flat(10.0))),
            (0.0, 0.0)
        );
        assert!((flat(10.0).chi_square(&flat(30.0)) - 1.0).abs() < 1e-12);
        assert!((flat(10.0).earth_movers(&flat(30.0)) - 20.0).abs() < 1e-9);
        assert_eq!(flat(-5.0), flat(0.0));
        assert_eq!(flat(300.0), flat(255.0));
    }
}
