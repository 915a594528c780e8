// SPDX-License-Identifier: MIT OR Apache-2.0

//! Noise of the samples of a raw stream ([`RawNoise`]): set by the user or estimated.

use super::raw::RawFrame;
use crate::{
    denoise::{CodeValues, NoiseEstimator, NoiseModel},
    nn,
};

/// Weight of a new estimate in the exponential moving average of the estimates.
const ESTIMATE_SMOOTHING: f32 = 0.3;
/// Rounds of the estimator on the first frame; later ones take one round.
const FIRST_ROUNDS: usize = 3;
/// Frames from one estimate to the next.
const ESTIMATE_INTERVAL: u64 = 4;

/// Estimates the noise of a raw stream.
pub(super) struct RawNoise {
    /// Number of threads of the estimator, 0 for the number of cores.
    threads: usize,
    /// Noise estimator, loaded on first use.
    estimator: Option<NoiseEstimator>,
    /// Exponential moving average of the estimates; `None` before the first one.
    estimate: Option<NoiseModel>,
    /// Number of frames since the start or the last reset.
    frames: u64,
}

impl RawNoise {
    /// Creates the state of a stream without frames.
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, estimator: None, estimate: None, frames: 0 }
    }

    /// Discards the estimates.
    pub(super) fn reset(&mut self) {
        self.estimator.iter_mut().for_each(NoiseEstimator::reset);
        self.estimate = None;
        self.frames = 0;
    }

    /// Returns the noise of a frame: that of `sigma`, or an estimate if there is none. Frames too
    /// small for an estimate count as free of noise.
    ///
    /// # Errors
    /// The estimator fails to load or to run.
    pub(super) fn update(
        &mut self,
        frame: &RawFrame<'_>,
        sigma: Option<f32>,
    ) -> Result<NoiseModel, nn::Error> {
        if let Some(sigma) = sigma {
            return Ok(NoiseModel::uniform(sigma));
        }
        let is_due = self.frames.is_multiple_of(ESTIMATE_INTERVAL);
        self.frames += 1;
        if is_due {
            let estimator = match &mut self.estimator {
                Some(estimator) => estimator,
                none => none.insert(NoiseEstimator::built_in(self.threads)?),
            };
            let rounds = if self.estimate.is_none() { FIRST_ROUNDS } else { 1 };
            let estimate = estimator.estimate(&GreenSites(*frame), rounds)?;
            match (&mut self.estimate, estimate) {
                (Some(mean), Some(new)) => mean.blend_towards(&new, ESTIMATE_SMOOTHING),
                (mean @ None, new) => *mean = new,
                (Some(_), None) => (),
            }
        }
        Ok(self.estimate.unwrap_or_default())
    }
}

/// Green samples of a frame, as a picture that is turned by 45 degrees. They are the densest samples
/// of one colour, so that fine texture resembles noise least.
struct GreenSites<'a>(RawFrame<'a>);

impl CodeValues for GreenSites<'_> {
    fn size(&self) -> [usize; 2] {
        // As many samples as the frame has, in a square. Beyond the frame they are mirrored.
        let (width, height) = self.0.size();
        [(width + height) / 2; 2]
    }

    #[inline(always)]
    fn code_value(&self, y: usize, x: usize) -> f32 {
        self.0.green(y, x)
    }
}
