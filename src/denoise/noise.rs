//! What is known of a picture's noise.

/// Furthest that the level at some brightness lies from the overall one, as factors: what few places tell of some brightness must not count for more.
const RANGE: [f32; 2] = [0.6, 1.5];
/// Least deviation of the brightness of places that a trend is believed from.
const MIN_SPREAD: f32 = 20.0;

/// Ratio of a trend to the error that it has by what places deviate from it, of which half of it is believed.
const HALF_BELIEVED: f32 = 2.0;

/// Noise of a component by brightness: its variance is `constant + slope * brightness`, as that of a sensor's read and
/// shot noise is (Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data",
/// IEEE Transactions on Image Processing 17(10), 2008). In 8-bit units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NoiseModel {
    /// Overall standard deviation.
    pub level: f32,
    constant: f32,
    slope: f32,
}

impl NoiseModel {
    /// Noise that is the same at every brightness.
    pub fn uniform(level: f32) -> Self {
        Self { level, constant: level * level, slope: 0.0 }
    }

    /// Standard deviation at a brightness from 0 to 255.
    #[inline(always)]
    pub fn level_at(&self, brightness: f32) -> f32 {
        let variance = (self.constant + self.slope * brightness).max(0.0);
        variance.sqrt().clamp(RANGE[0] * self.level, RANGE[1] * self.level)
    }

    /// The same by brightness, of another overall level.
    pub(crate) fn scaled(self, factor: f32) -> Self {
        let square = factor * factor;
        Self {
            level: factor * self.level,
            constant: square * self.constant,
            slope: square * self.slope,
        }
    }

    /// The same by brightness, but of this overall level at least.
    pub(crate) fn at_least(self, level: f32) -> Self {
        if self.level >= level {
            return self;
        }
        if self.level <= 0.0 {
            return Self::uniform(level);
        }
        Self { level, ..self.scaled(level / self.level) }
    }

    /// The model that fits places of some brightness best (least squares of variance over brightness), of an overall `level`. A trend is believed as far
    /// as places follow it: what texture adds is rarely on a line.
    pub(super) fn fit(places: &[Place], level: f32) -> Self {
        let weight: f32 = places.iter().map(|p| p.weight).sum();
        let mean = |value: fn(&Place) -> f32| {
            places.iter().map(|p| p.weight * value(p)).sum::<f32>() / weight
        };
        let brightness = mean(|p| p.brightness);
        let variance = mean(|p| p.level * p.level);
        let spread = mean(|p| p.brightness * p.brightness) - brightness * brightness;
        if places.len() < 2 || spread < MIN_SPREAD * MIN_SPREAD {
            return Self::uniform(level);
        }
        let slope = (mean(|p| p.level * p.level * p.brightness) - variance * brightness) / spread;
        let missed = places.iter().map(|p| {
            let missed = p.level * p.level - variance - slope * (p.brightness - brightness);
            p.weight / weight * missed * missed
        });
        // As many as would count, were all of them alike.
        let count = weight * weight / places.iter().map(|p| p.weight * p.weight).sum::<f32>();
        let error =
            missed.sum::<f32>() / spread / (count - 2.0).max(0.5) * HALF_BELIEVED * HALF_BELIEVED;
        let slope = slope * slope * slope / (slope * slope + error).max(f32::MIN_POSITIVE);
        Self { level, constant: variance - slope * brightness, slope }
    }

    /// Moves towards another model by a share of the way.
    pub fn follow(&mut self, other: &Self, share: f32) {
        self.level += share * (other.level - self.level);
        self.constant += share * (other.constant - self.constant);
        self.slope += share * (other.slope - self.slope);
    }

    /// The mean of some models.
    pub fn mean(models: impl IntoIterator<Item = Self>) -> Self {
        let mut mean = Self::default();
        for (i, model) in models.into_iter().enumerate() {
            mean.follow(&model, 1.0 / (i + 1) as f32);
        }
        mean
    }
}

/// Noise of places of about one brightness.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub level: f32,
    pub brightness: f32,
    pub weight: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places at brightnesses from 20 to 230.
    fn places(level: impl Fn(f32) -> f32) -> Vec<Place> {
        let brightness = (0..15).map(|i| 20.0 + 15.0 * i as f32);
        brightness
            .map(|brightness| Place { level: level(brightness), brightness, weight: 1.0 })
            .collect()
    }

    #[test]
    fn shot_noise_is_a_line() {
        let fit = NoiseModel::fit(&places(|brightness| (4.0 + 0.3 * brightness).sqrt()), 6.4);
        for brightness in [60.0, 125.0, 200.0f32] {
            assert!((fit.level_at(brightness) - (4.0 + 0.3 * brightness).sqrt()).abs() < 0.01);
        }
    }

    #[test]
    fn what_is_on_no_line_makes_no_slope() {
        // Cut off at white, texture in the middle.
        let level = |brightness: f32| {
            if brightness > 220.0 {
                6.0
            } else {
                10.0 + f32::from(u8::from(brightness == 95.0)) * 8.0
            }
        };
        let fit = NoiseModel::fit(&places(level), 10.0);
        let change = (fit.level_at(200.0) - fit.level_at(50.0)).abs();
        assert!(change < 1.0, "{change}");
    }
}
