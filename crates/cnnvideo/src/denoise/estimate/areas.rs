//! Combines the noise estimates of the areas of a picture into one [`NoiseModel`], robustly against
//! texture and clipping.

use crate::denoise::noise::{NoiseModel, Place};

/// Mean uncertainty (scale of the error of log sigma) at which the assumed noise starts to
/// decrease, and at which it is zero. Where all areas are textured, it is better to leave noise
/// than to remove detail.
const UNSURE: [f32; 2] = [0.35, 0.6];
/// Distance from black and white, in sigmas, below which clipping reduces the measured noise.
const CUT_OFF: f32 = 2.0;
/// Least share of the total weight that must remain for clipped areas to be excluded.
const ENOUGH: f32 = 0.1;
/// Upper bounds of sigma as (quantile, factor): sigma is at most the quantile of the areas' sigmas
/// times the factor. Noise is everywhere, texture is not. The noise of cameras after H.264
/// compression lies just below these bounds.
const MOST: [(f32, f32); 2] = [(0.2, 1.75), (0.5, 1.15)];
/// Number of brightness classes for the fit of noise over brightness.
const CLASSES: usize = 32;

/// Combined estimate of the cells of an area.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    /// Sum of the weights (inverse squared uncertainties) of the cells.
    pub weight: f32,
    /// Noise sigma, in 8-bit units.
    pub level: f32,
    /// Mean uncertainty: scale of the error of log sigma.
    pub doubt: f32,
    /// Mean brightness, 0 to 255.
    pub brightness: f32,
}

/// Combines areas into a noise model. The model is zero if there are no areas.
pub(super) fn model(areas: Vec<Area>) -> NoiseModel {
    if areas.is_empty() {
        return NoiseModel::default();
    }
    let mut areas = away_from_black_and_white(areas);
    areas.sort_by(|a, b| a.level.total_cmp(&b.level));
    let level = mean(&areas, |area| area.level);
    let even = most(&areas).min(level) / level.max(f32::MIN_POSITIVE);
    let doubt = mean(&areas, |area| area.doubt);
    let sure = ((UNSURE[1] - doubt) / (UNSURE[1] - UNSURE[0])).clamp(0.0, 1.0);
    NoiseModel::fit(&places(&areas), level).scaled(even * sure)
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
fn away_from_black_and_white(mut areas: Vec<Area>) -> Vec<Area> {
    let all = weight(&areas);
    for _ in 0..2 {
        let margin = CUT_OFF * mean(&areas, |area| area.level);
        let inside = |area: &&Area| (margin..255.0 - margin).contains(&area.brightness);
        let inner: Vec<Area> = areas.iter().filter(inside).copied().collect();
        if weight(&inner) < ENOUGH * all {
            break;
        }
        areas = inner;
    }
    areas
}

/// Returns the upper bound of sigma; `areas` must be sorted by sigma. See [`MOST`].
fn most(areas: &[Area]) -> f32 {
    let all = weight(areas);
    let quantile = |share: f32| {
        let mut below = 0.0;
        let reached = areas.iter().find(|area| {
            below += area.weight;
            below >= share * all
        });
        reached.map_or(f32::INFINITY, |area| area.level)
    };
    MOST.map(|(share, factor)| factor * quantile(share)).into_iter().fold(f32::INFINITY, f32::min)
}

/// Returns the weighted means of areas by brightness class.
fn places(areas: &[Area]) -> Vec<Place> {
    let mut classes = vec![Vec::new(); CLASSES];
    for area in areas {
        let class = (area.brightness * (CLASSES as f32 / 256.0)) as usize;
        classes[class.min(CLASSES - 1)].push(*area);
    }
    let place = |areas: &Vec<Area>| Place {
        level: mean(areas, |area| area.level),
        brightness: mean(areas, |area| area.brightness),
        weight: weight(areas),
    };
    classes.iter().filter(|areas| !areas.is_empty()).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(level: f32, weight: f32) -> Area {
        Area { weight, level, doubt: 0.1, brightness: 100.0 }
    }

    #[test]
    fn what_only_some_areas_have_is_no_noise() {
        let even: Vec<_> = (0..100).map(|i| area(9.0 + 0.02 * i as f32, 50.0)).collect();
        assert!((model(even).level - 10.0).abs() < 0.1);
        // A texture with flat surroundings.
        let texture: Vec<_> =
            (0..100).map(|i| area(if i < 40 { 1.0 } else { 8.0 }, 50.0)).collect();
        assert!(model(texture).level <= 1.75);
    }

    #[test]
    fn doubt_is_for_less_noise() {
        let told = |doubt: f32| {
            model((0..100).map(|_| Area { doubt, ..area(6.0, 1.0 / (doubt * doubt)) }).collect())
                .level
        };
        assert!(told(0.2) > 5.99 && (1.0..5.0).contains(&told(0.45)) && told(0.7) == 0.0);
        assert_eq!(model(Vec::new()).level, 0.0);
    }

    #[test]
    fn noise_that_is_cut_off_does_not_count_where_there_is_other() {
        let at = |brightness: f32, level: f32| Area { brightness, ..area(level, 50.0) };
        let mut areas: Vec<_> = (0..50).flat_map(|_| [at(120.0, 30.0), at(6.0, 15.0)]).collect();
        assert!((model(areas.clone()).level - 30.0).abs() < 0.01);
        areas.retain(|area| area.brightness < 50.0);
        assert!((model(areas).level - 15.0).abs() < 0.01);
    }
}
