// SPDX-License-Identifier: MIT OR Apache-2.0

//! Noise sigma of a component as a function of brightness ([`NoiseModel`]).

/// Range of the sigma at any brightness, as factors on the overall sigma. Bounds the error where
/// the picture has few samples of a brightness.
const SIGMA_RANGE: [f32; 2] = [0.6, 1.5];
/// Least standard deviation of the brightness of the measurements, in 8-bit units, for which a
/// slope is fitted.
const MIN_BRIGHTNESS_SPREAD: f32 = 20.0;

/// Ratio of a fitted slope to its standard error at which the fit shrinks the slope to half.
const SHRINKAGE_RATIO: f32 = 2.0;

/// Noise of a component as a function of brightness.
///
/// Its variance is `constant + slope * brightness`, the model of a sensor's read and shot noise
/// (Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image
/// raw-data", IEEE Transactions on Image Processing 17(10), 2008). All values are in 8-bit units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NoiseModel {
    /// Overall standard deviation.
    pub sigma: f32,
    /// Variance at brightness 0.
    pub constant: f32,
    /// Increase of the variance per unit of brightness.
    pub slope: f32,
}

impl NoiseModel {
    /// Returns a model with the same `sigma` at every brightness.
    pub fn uniform(sigma: f32) -> Self {
        Self { sigma, constant: sigma * sigma, slope: 0.0 }
    }

    /// Returns the sigma at a brightness from 0 to 255.
    #[inline(always)]
    pub fn sigma_at(&self, brightness: f32) -> f32 {
        let variance = (self.constant + self.slope * brightness).max(0.0);
        variance.sqrt().clamp(SIGMA_RANGE[0] * self.sigma, SIGMA_RANGE[1] * self.sigma)
    }

    /// Returns the model with sigma multiplied by `factor` at every brightness.
    pub(crate) fn scaled(self, factor: f32) -> Self {
        let square = factor * factor;
        Self {
            sigma: factor * self.sigma,
            constant: square * self.constant,
            slope: square * self.slope,
        }
    }

    /// Returns the model, scaled up if its overall sigma is less than `sigma`.
    pub(crate) fn with_min_sigma(self, sigma: f32) -> Self {
        if self.sigma >= sigma {
            return self;
        }
        if self.sigma <= 0.0 {
            return Self::uniform(sigma);
        }
        Self { sigma, ..self.scaled(sigma / self.sigma) }
    }

    /// Fits the model to measurements by least squares of variance over brightness; `sigma` is the
    /// overall one. The slope shrinks towards 0 by its standard error, because the variance that
    /// texture adds rarely depends linearly on brightness.
    pub(super) fn fit(measurements: &[NoiseMeasurement], sigma: f32) -> Self {
        let weight: f32 = measurements.iter().map(|p| p.weight).sum();
        let mean = |value: fn(&NoiseMeasurement) -> f32| {
            measurements.iter().map(|p| p.weight * value(p)).sum::<f32>() / weight
        };
        let brightness = mean(|p| p.brightness);
        let variance = mean(|p| p.sigma * p.sigma);
        let spread = mean(|p| p.brightness * p.brightness) - brightness * brightness;
        if measurements.len() < 2 || spread < MIN_BRIGHTNESS_SPREAD * MIN_BRIGHTNESS_SPREAD {
            return Self::uniform(sigma);
        }
        let slope = (mean(|p| p.sigma * p.sigma * p.brightness) - variance * brightness) / spread;
        let squared_residuals = measurements.iter().map(|p| {
            let residual = p.sigma * p.sigma - variance - slope * (p.brightness - brightness);
            p.weight / weight * residual * residual
        });
        // Effective sample size of the weighted measurements (Kish).
        let count = weight * weight / measurements.iter().map(|p| p.weight * p.weight).sum::<f32>();
        let error = squared_residuals.sum::<f32>() / spread / (count - 2.0).max(0.5)
            * SHRINKAGE_RATIO
            * SHRINKAGE_RATIO;
        let slope = slope * slope * slope / (slope * slope + error).max(f32::MIN_POSITIVE);
        Self { sigma, constant: variance - slope * brightness, slope }
    }

    /// Moves the model towards `other` by a `share` from 0 to 1 of the difference.
    pub fn blend_towards(&mut self, other: &Self, share: f32) {
        self.sigma += share * (other.sigma - self.sigma);
        self.constant += share * (other.constant - self.constant);
        self.slope += share * (other.slope - self.slope);
    }

    /// Returns the mean of models, or a model without noise if there are none.
    pub fn mean(models: impl IntoIterator<Item = Self>) -> Self {
        let mut mean = Self::default();
        for (i, model) in models.into_iter().enumerate() {
            mean.blend_towards(&model, 1.0 / (i + 1) as f32);
        }
        mean
    }
}

/// Noise models of the components of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NoiseModels {
    /// Noise of luma, or of R, G and B.
    pub main: NoiseModel,
    /// Noise of chroma; without noise if there is no chroma.
    pub chroma: NoiseModel,
}

/// Noise of the components of a video that a [`Denoiser`](super::Denoiser) assumes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AssumedNoise {
    /// Noise of luma, or of R, G and B.
    pub main: NoiseModel,
    /// Noise of chroma as the networks process it: of the means of the samples that belong to 2x2
    /// pixels, which for 4:2:0 are the samples. Without noise if there is no chroma.
    pub chroma: NoiseModel,
    /// Noise sigma of what these means leave of 4:2:2 and 4:4:4 chroma, one for each component; 0
    /// otherwise.
    pub chroma_detail: [f32; 2],
}

impl AssumedNoise {
    /// Returns the noise of single samples.
    pub(super) fn of_samples(&self) -> NoiseModels {
        let [u, v] = self.chroma_detail;
        let detail = u.hypot(v) / 2f32.sqrt();
        let chroma = self.chroma.with_min_sigma(self.chroma.sigma.hypot(detail));
        NoiseModels { main: self.main, chroma }
    }
}

/// Noise measured in areas of similar brightness.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NoiseMeasurement {
    /// Mean noise sigma, in 8-bit units.
    pub sigma: f32,
    /// Mean brightness, 0 to 255.
    pub brightness: f32,
    /// Weight of the measurement in the fit.
    pub weight: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measurements at brightnesses from 20 to 230.
    fn measurements(sigma: impl Fn(f32) -> f32) -> Vec<NoiseMeasurement> {
        let brightness = (0..15).map(|i| 20.0 + 15.0 * i as f32);
        brightness
            .map(|brightness| NoiseMeasurement {
                sigma: sigma(brightness),
                brightness,
                weight: 1.0,
            })
            .collect()
    }

    #[test]
    fn shot_noise_fits_linear_variance() {
        let fit = NoiseModel::fit(&measurements(|brightness| (4.0 + 0.3 * brightness).sqrt()), 6.4);
        for brightness in [60.0, 125.0, 200.0f32] {
            assert!((fit.sigma_at(brightness) - (4.0 + 0.3 * brightness).sqrt()).abs() < 0.01);
        }
    }

    #[test]
    fn outliers_do_not_cause_a_slope() {
        // Clipped at white, with texture at one mid-tone brightness.
        let sigma = |brightness: f32| {
            if brightness > 220.0 {
                6.0
            } else {
                10.0 + f32::from(u8::from(brightness == 95.0)) * 8.0
            }
        };
        let fit = NoiseModel::fit(&measurements(sigma), 10.0);
        let change = (fit.sigma_at(200.0) - fit.sigma_at(50.0)).abs();
        assert!(change < 1.0, "{change}");
    }
}
