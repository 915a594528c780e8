//! Noise sigma of a component as a function of brightness ([`NoiseModel`]).

/// Range of the sigma at any brightness, as factors on the overall sigma. Bounds the error where
/// the picture has few samples of a brightness.
const RANGE: [f32; 2] = [0.6, 1.5];
/// Least standard deviation of the brightness of the measurements, in 8-bit units, for which a
/// slope is fitted.
const MIN_SPREAD: f32 = 20.0;

/// Ratio of a fitted slope to its standard error at which the fit shrinks the slope to half.
const HALF_BELIEVED: f32 = 2.0;

/// Noise of a component as a function of brightness.
///
/// Its variance is `constant + slope * brightness`, the model of a sensor's read and shot noise
/// (Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image
/// raw-data", IEEE Transactions on Image Processing 17(10), 2008). All values are in 8-bit units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NoiseModel {
    /// Overall standard deviation (sigma).
    pub level: f32,
    /// Variance at brightness 0.
    constant: f32,
    /// Increase of the variance per unit of brightness.
    slope: f32,
}

impl NoiseModel {
    /// Returns a model with the same sigma (`level`) at every brightness.
    pub fn uniform(level: f32) -> Self {
        Self { level, constant: level * level, slope: 0.0 }
    }

    /// Returns the sigma at a brightness from 0 to 255.
    #[inline(always)]
    pub fn level_at(&self, brightness: f32) -> f32 {
        let variance = (self.constant + self.slope * brightness).max(0.0);
        variance.sqrt().clamp(RANGE[0] * self.level, RANGE[1] * self.level)
    }

    /// Returns the model with sigma multiplied by `factor` at every brightness.
    pub(crate) fn scaled(self, factor: f32) -> Self {
        let square = factor * factor;
        Self {
            level: factor * self.level,
            constant: square * self.constant,
            slope: square * self.slope,
        }
    }

    /// Returns the model, scaled up if its overall sigma is less than `level`.
    pub(crate) fn at_least(self, level: f32) -> Self {
        if self.level >= level {
            return self;
        }
        if self.level <= 0.0 {
            return Self::uniform(level);
        }
        Self { level, ..self.scaled(level / self.level) }
    }

    /// Fits the model to measurements by least squares of variance over brightness; `level` is the
    /// overall sigma. The slope shrinks towards 0 by its standard error, because the variance that
    /// texture adds rarely depends linearly on brightness.
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
        // Effective sample size of the weighted measurements (Kish).
        let count = weight * weight / places.iter().map(|p| p.weight * p.weight).sum::<f32>();
        let error =
            missed.sum::<f32>() / spread / (count - 2.0).max(0.5) * HALF_BELIEVED * HALF_BELIEVED;
        let slope = slope * slope * slope / (slope * slope + error).max(f32::MIN_POSITIVE);
        Self { level, constant: variance - slope * brightness, slope }
    }

    /// Moves the model towards `other` by a `share` from 0 to 1 of the difference.
    pub fn follow(&mut self, other: &Self, share: f32) {
        self.level += share * (other.level - self.level);
        self.constant += share * (other.constant - self.constant);
        self.slope += share * (other.slope - self.slope);
    }

    /// Returns the mean of models, or a model without noise if there are none.
    pub fn mean(models: impl IntoIterator<Item = Self>) -> Self {
        let mut mean = Self::default();
        for (i, model) in models.into_iter().enumerate() {
            mean.follow(&model, 1.0 / (i + 1) as f32);
        }
        mean
    }
}

/// Noise measured in areas of similar brightness.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// Mean noise sigma, in 8-bit units.
    pub level: f32,
    /// Mean brightness, 0 to 255.
    pub brightness: f32,
    /// Weight of the measurement in the fit.
    pub weight: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measurements at brightnesses from 20 to 230.
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
        // Clipped at white, with texture at one mid-tone brightness.
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
