// SPDX-License-Identifier: MIT OR Apache-2.0

//! Noise that the denoiser assumes for the pictures of a stream ([`StreamNoise`]): set by the user
//! or estimated.

use ndarray::ArrayView2;

use super::{
    AssumedNoise, Error, NoiseEstimator, NoiseModel, Parameters,
    chroma_detail::{CellShape, ChromaCells},
    estimate::r2_position,
};
use crate::frame::{Colour, Picture, Sample};

/// Weight of a new estimate in the exponential moving average of the noise estimates.
const ESTIMATE_SMOOTHING: f32 = 0.3;
/// Rounds of the estimator on the first estimate of a component; later estimates take one round.
const FIRST_ROUNDS: usize = 3;

/// Largest estimated sigma of luma in a drawing, in 8-bit units.
const MAX_DRAWING_SIGMA: f32 = 0.3;
/// Least share of flat cells in the chroma of a drawing. Noise of sigma 0.5 leaves less.
const MIN_FLAT_SHARE: f32 = 0.25;
/// Number of cells that are sampled for this share.
const SAMPLED_CELLS: usize = 1024;

/// Noise of the components of a stream.
pub(super) struct StreamNoise {
    /// Number of threads of the estimator, 0 for the number of cores.
    threads: usize,
    /// Noise estimator, loaded on first use.
    estimator: Option<NoiseEstimator>,
    /// Noise of each component as an exponential moving average; `None` before the first estimate.
    estimates: [Option<NoiseModel>; 3],
    /// Noise sigma of the detail of each component; see [`AssumedNoise::chroma_detail`].
    detail_sigmas: [f32; 3],
    /// Number of pictures since the start or the last reset.
    pictures: u64,
    /// The noise assumed for the last picture.
    last: AssumedNoise,
}

impl StreamNoise {
    /// Creates the state of a stream without pictures.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            estimator: None,
            estimates: [None; 3],
            detail_sigmas: [0.0; 3],
            pictures: 0,
            last: AssumedNoise::default(),
        }
    }

    /// Discards the estimates.
    pub(super) fn reset(&mut self) {
        self.estimator.iter_mut().for_each(NoiseEstimator::reset);
        self.estimates = [None; 3];
        self.detail_sigmas = [0.0; 3];
        self.pictures = 0;
    }

    /// Returns the noise assumed for the last picture.
    pub(super) fn last(&self) -> AssumedNoise {
        self.last
    }

    /// Updates the estimates of what `parameters` leave open with a picture.
    ///
    /// # Errors
    /// The estimator fails to load or to run.
    pub(super) fn update<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        parameters: &Parameters,
    ) -> Result<(), Error> {
        let Parameters { sigma, chroma_sigma, noise, .. } = parameters;
        if noise.is_none() {
            self.estimate(input, [sigma.is_none(), chroma_sigma.is_none()])?;
        }
        Ok(())
    }

    /// Returns the noise to assume for pictures of a colour format: what `parameters` set, and
    /// estimates of the rest.
    pub(super) fn assume(&mut self, colour: Colour, parameters: &Parameters) -> AssumedNoise {
        let mut noise = parameters.noise.unwrap_or_else(|| self.estimated(colour));
        if let Some(sigma) = parameters.sigma {
            noise.main = NoiseModel::uniform(sigma);
        }
        if let Some(sigma) = parameters.chroma_sigma {
            (noise.chroma, noise.chroma_detail) = white_chroma(sigma, colour);
        }
        self.last = noise;
        noise
    }

    /// Returns the estimates.
    fn estimated(&self, colour: Colour) -> AssumedNoise {
        let (main, all) = component_counts(colour);
        let mean = |part: &[Option<NoiseModel>]| NoiseModel::mean(part.iter().copied().flatten());
        let [_, chroma_detail @ ..] = self.detail_sigmas;
        AssumedNoise {
            main: mean(&self.estimates[..main]),
            chroma: mean(&self.estimates[main..all]),
            chroma_detail,
        }
    }

    /// Estimates the noise of the main components, of chroma, or of both, as `is_open` says: in
    /// several rounds on the first picture, later one component at a time, so that no picture takes
    /// much longer than another.
    fn estimate<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        [main_is_open, chroma_is_open]: [bool; 2],
    ) -> Result<(), Error> {
        let (main, all) = component_counts(input.colour);
        let turn = self.pictures % (2 * all as u64);
        for i in 0..all {
            let is_open = if i < main { main_is_open } else { chroma_is_open };
            let rounds = match self.estimates[i] {
                _ if !is_open => continue,
                None => FIRST_ROUNDS,
                Some(_) if turn == 2 * i as u64 => 1,
                Some(_) => continue,
            };
            self.estimate_component(input, i, i >= main, rounds)?;
        }
        self.pictures += 1;
        Ok(())
    }

    /// Returns whether a chroma component is that of a drawing or of coloured text: luma has no
    /// noise, and many cells of chroma have one value. Its edges could be estimated as noise.
    fn is_drawing<T: Sample>(&self, component: &ArrayView2<'_, T>) -> bool {
        self.estimates[0].is_some_and(|luma| luma.sigma < MAX_DRAWING_SIGMA)
            && flat_share(component) > MIN_FLAT_SHARE
    }

    /// Updates the estimate of component `i`.
    fn estimate_component<T: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        i: usize,
        is_chroma: bool,
        rounds: usize,
    ) -> Result<(), Error> {
        let component = &input.components[i];
        if is_chroma && self.is_drawing(component) {
            self.detail_sigmas[i] = 0.0;
            self.estimates[i] = Some(NoiseModel::default());
            return Ok(());
        }
        let estimator = match &mut self.estimator {
            Some(estimator) => estimator,
            none => none.insert(NoiseEstimator::built_in(self.threads)?),
        };
        let found = match input.colour.subsampling(i) {
            // 4:2:2 or 4:4:4 chroma: estimate the cell means for the network, and the detail
            // separately.
            subsampling @ ([0, _] | [_, 0]) if is_chroma => {
                let cells = ChromaCells::new(component, subsampling);
                let detail = cells.detail_sigma();
                let weight = if self.estimates[i].is_none() { 1.0 } else { ESTIMATE_SMOOTHING };
                self.detail_sigmas[i] += weight * (detail - self.detail_sigmas[i]);
                estimator.estimate(&cells, rounds)?
            }
            _ => estimator.estimate(component, rounds)?,
        };
        if let Some(found) = found {
            self.estimates[i].get_or_insert(found).blend_towards(&found, ESTIMATE_SMOOTHING);
        }
        Ok(())
    }
}

/// Returns the share of the cells of 2x2 samples, of a sample of all cells, that have one value.
fn flat_share<T: Sample>(component: &ArrayView2<'_, T>) -> f32 {
    let [rows, columns] = [component.nrows(), component.ncols()].map(|n| n.saturating_sub(1));
    if rows == 0 || columns == 0 {
        return 0.0;
    }
    let is_flat = |number: &usize| {
        let [y, x] = r2_position(*number, [rows, columns]);
        let value = component[[y, x]];
        [[y, x + 1], [y + 1, x], [y + 1, x + 1]].into_iter().all(|at| component[at] == value)
    };
    (0..SAMPLED_CELLS).filter(is_flat).count() as f32 / SAMPLED_CELLS as f32
}

/// Returns the number of components that determine the main sigma, which come first, and that of
/// all components.
fn component_counts(colour: Colour) -> (usize, usize) {
    match colour {
        Colour::Gray => (1, 1),
        Colour::Yuv { .. } => (1, 3),
        Colour::Rgb => (3, 3),
    }
}

/// Splits white noise of `sigma` in the samples of chroma into that of the means of cells and that
/// of the detail; see [`AssumedNoise`].
fn white_chroma(sigma: f32, colour: Colour) -> (NoiseModel, [f32; 2]) {
    let Colour::Yuv { .. } = colour else { return Default::default() };
    let CellShape { rows, columns } = CellShape::new(colour.subsampling(1));
    let share_of_mean = 1.0 / (rows * columns) as f32;
    let detail = sigma * (1.0 - share_of_mean).sqrt();
    (NoiseModel::uniform(sigma * share_of_mean.sqrt()), [detail; 2])
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn assume(colour: Colour, parameters: &Parameters) -> AssumedNoise {
        StreamNoise::new(1).assume(colour, parameters)
    }

    #[test]
    fn sigmas_that_are_set_come_before_given_noise() {
        let colour = Colour::Yuv { shift_x: 1, shift_y: 1 };
        let given = AssumedNoise {
            main: NoiseModel { sigma: 7.0, constant: 20.0, slope: 0.2 },
            chroma: NoiseModel::uniform(3.0),
            chroma_detail: [0.0; 2],
        };
        let mut parameters = Parameters { noise: Some(given), ..Parameters::default() };
        assert_eq!(assume(colour, &parameters), given);
        parameters.sigma = Some(4.0);
        parameters.chroma_sigma = Some(5.0);
        let set = assume(colour, &parameters);
        assert_eq!((set.main, set.chroma), (NoiseModel::uniform(4.0), NoiseModel::uniform(5.0)));
    }

    #[test]
    fn set_sigma_of_chroma_is_that_of_its_samples() {
        for shift_y in [0, 1] {
            let colour = Colour::Yuv { shift_x: shift_y, shift_y };
            let parameters =
                Parameters { sigma: Some(1.0), chroma_sigma: Some(6.0), ..Parameters::default() };
            let noise = assume(colour, &parameters).of_samples();
            assert!((noise.chroma.sigma - 6.0).abs() < 1e-4, "{shift_y}: {noise:?}");
        }
    }

    #[test]
    fn coloured_drawings_have_no_chroma_noise() {
        let drawing = Array2::from_shape_fn((96, 128), |(y, x)| {
            // Letters: short strokes with smooth ends.
            if y % 9 < 5 && x % 13 == 4 { 170u8 } else { 120 + u8::from(x % 13 == 5) * 9 }
        });
        let luma = Array2::from_shape_fn((192, 256), |(y, x)| drawing[[y / 2, x / 2]]);
        let mut rng = StdRng::seed_from_u64(3);
        let noisy = drawing.mapv(|value| value.saturating_add_signed(rng.random_range(-4..=4)));
        for (chroma, has_noise) in [(&drawing, false), (&noisy, true)] {
            let picture = Picture {
                colour: Colour::Yuv { shift_x: 1, shift_y: 1 },
                components: vec![luma.view(), chroma.view(), chroma.view()],
            };
            let mut noise = StreamNoise::new(1);
            noise.update(&picture, &Parameters::default()).unwrap();
            let sigma = noise.assume(picture.colour, &Parameters::default()).chroma.sigma;
            assert_eq!(sigma > 0.5, has_noise, "{sigma}");
        }
    }
}
