// SPDX-License-Identifier: MIT OR Apache-2.0

//! Combines the noise estimates of the areas of a picture into one [`NoiseModel`], robustly against
//! texture and clipping.

use crate::denoise::noise_model::{NoiseMeasurement, NoiseModel};

/// Mean uncertainty (scale of the error of log sigma) at which the assumed noise starts to
/// decrease, and at which it is zero. Where all areas are textured, it is better to leave noise
/// than to remove detail.
const UNCERTAINTY_FADE: [f32; 2] = [0.35, 0.6];
/// Distance from black and white, in sigmas, below which clipping reduces the measured noise.
const CLIPPING_SIGMAS: f32 = 2.0;
/// Least share of the total weight that must remain for clipped areas to be excluded.
const MIN_UNCLIPPED_SHARE: f32 = 0.1;
/// Upper bounds of sigma as (quantile, factor): sigma is at most the quantile of the areas' sigmas
/// times the factor. Noise is everywhere, texture is not. The noise of cameras after H.264
/// compression lies just below these bounds.
const QUANTILE_BOUNDS: [(f32, f32); 2] = [(0.2, 1.75), (0.5, 1.15)];
/// Number of brightness classes for the fit of noise over brightness.
const BRIGHTNESS_CLASSES: usize = 32;

/// Combined estimate of the cells of an area.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    /// Sum of the weights (inverse squared uncertainties) of the cells.
    pub weight: f32,
    /// Noise sigma, in 8-bit units.
    pub sigma: f32,
    /// Mean uncertainty: scale of the error of log sigma.
    pub uncertainty: f32,
    /// Mean brightness, 0 to 255.
    pub brightness: f32,
}

/// Combines areas into a noise model. The model is zero if there are no areas.
pub(super) fn combine(areas: Vec<Area>) -> NoiseModel {
    if areas.is_empty() {
        return NoiseModel::default();
    }
    let mut areas = unclipped(areas);
    areas.sort_by(|a, b| a.sigma.total_cmp(&b.sigma));
    let sigma = mean(&areas, |area| area.sigma);
    let bound_factor = sigma_bound(&areas).min(sigma) / sigma.max(f32::MIN_POSITIVE);
    let uncertainty = mean(&areas, |area| area.uncertainty);
    let confidence = ((UNCERTAINTY_FADE[1] - uncertainty)
        / (UNCERTAINTY_FADE[1] - UNCERTAINTY_FADE[0]))
        .clamp(0.0, 1.0);
    NoiseModel::fit(&by_brightness(&areas), sigma).scaled(bound_factor * confidence)
}

/// Returns the total weight of areas.
fn weight(areas: &[Area]) -> f32 {
    areas.iter().map(|area| area.weight).sum()
}

/// Returns the weighted mean of a value over areas.
fn mean(areas: &[Area], value: impl Fn(&Area) -> f32) -> f32 {
    areas.iter().map(|area| area.weight * value(area)).sum::<f32>() / weight(areas)
}

/// Returns the areas whose noise is not clipped at black or white, or all areas if too few would
/// remain.
fn unclipped(mut areas: Vec<Area>) -> Vec<Area> {
    let all = weight(&areas);
    for _ in 0..2 {
        let margin = CLIPPING_SIGMAS * mean(&areas, |area| area.sigma);
        let inside = |area: &&Area| (margin..255.0 - margin).contains(&area.brightness);
        let inner: Vec<Area> = areas.iter().filter(inside).copied().collect();
        if weight(&inner) < MIN_UNCLIPPED_SHARE * all {
            break;
        }
        areas = inner;
    }
    areas
}

/// Returns the upper bound of sigma; `areas` must be sorted by sigma. See [`QUANTILE_BOUNDS`].
fn sigma_bound(areas: &[Area]) -> f32 {
    let all = weight(areas);
    let quantile = |share: f32| {
        let mut below = 0.0;
        let reached = areas.iter().find(|area| {
            below += area.weight;
            below >= share * all
        });
        reached.map_or(f32::INFINITY, |area| area.sigma)
    };
    QUANTILE_BOUNDS
        .map(|(share, factor)| factor * quantile(share))
        .into_iter()
        .fold(f32::INFINITY, f32::min)
}

/// Returns the weighted means of areas by brightness class.
fn by_brightness(areas: &[Area]) -> Vec<NoiseMeasurement> {
    let mut classes = vec![Vec::new(); BRIGHTNESS_CLASSES];
    for area in areas {
        let class = (area.brightness * (BRIGHTNESS_CLASSES as f32 / 256.0)) as usize;
        classes[class.min(BRIGHTNESS_CLASSES - 1)].push(*area);
    }
    let measurement = |areas: &Vec<Area>| NoiseMeasurement {
        sigma: mean(areas, |area| area.sigma),
        brightness: mean(areas, |area| area.brightness),
        weight: weight(areas),
    };
    classes.iter().filter(|areas| !areas.is_empty()).map(measurement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(sigma: f32, weight: f32) -> Area {
        Area { weight, sigma, uncertainty: 0.1, brightness: 100.0 }
    }

    #[test]
    fn texture_in_some_areas_is_not_noise() {
        let even: Vec<_> = (0..100).map(|i| area(9.0 + 0.02 * i as f32, 50.0)).collect();
        assert!((combine(even).sigma - 10.0).abs() < 0.1);
        // A texture with flat surroundings.
        let texture: Vec<_> =
            (0..100).map(|i| area(if i < 40 { 1.0 } else { 8.0 }, 50.0)).collect();
        assert!(combine(texture).sigma <= 1.75);
    }

    #[test]
    fn uncertainty_reduces_sigma() {
        let sigma_for = |uncertainty: f32| {
            combine(
                (0..100)
                    .map(|_| Area { uncertainty, ..area(6.0, 1.0 / (uncertainty * uncertainty)) })
                    .collect(),
            )
            .sigma
        };
        assert!(
            sigma_for(0.2) > 5.99 && (1.0..5.0).contains(&sigma_for(0.45)) && sigma_for(0.7) == 0.0
        );
        assert_eq!(combine(Vec::new()).sigma, 0.0);
    }

    #[test]
    fn clipped_areas_are_excluded() {
        let at = |brightness: f32, sigma: f32| Area { brightness, ..area(sigma, 50.0) };
        let mut areas: Vec<_> = (0..50).flat_map(|_| [at(120.0, 30.0), at(6.0, 15.0)]).collect();
        assert!((combine(areas.clone()).sigma - 30.0).abs() < 0.01);
        areas.retain(|area| area.brightness < 50.0);
        assert!((combine(areas).sigma - 15.0).abs() < 0.01);
    }
}
