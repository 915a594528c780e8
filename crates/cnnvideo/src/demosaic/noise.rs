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
/// Noise sigma of interpolated green relative to that of the samples: measured on photographs with
/// white noise.
const INTERPOLATED_SIGMA: f32 = 0.79;
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
            let estimate = estimator.estimate(&Green(*frame), rounds)?;
            let estimate = estimate.map(|noise| noise.scaled(1.0 / INTERPOLATED_SIGMA));
            match (&mut self.estimate, estimate) {
                (Some(mean), Some(new)) => mean.blend_towards(&new, ESTIMATE_SMOOTHING),
                (mean @ None, new) => *mean = new,
                (Some(_), None) => (),
            }
        }
        Ok(self.estimate.unwrap_or_default())
    }
}

/// Green at every pixel, interpolated along edges (Hamilton and Adams, US patent 5629734, 1997).
/// Fine texture resembles noise less there than in the samples of one colour.
struct Green<'a>(RawFrame<'a>);

impl CodeValues for Green<'_> {
    fn size(&self) -> [usize; 2] {
        let (width, height) = self.0.size();
        [height, width]
    }

    fn code_value(&self, y: usize, x: usize) -> f32 {
        let Self(frame) = self;
        let (column, row) = (x as isize, y as isize);
        let own = frame.sample(column, row);
        if frame.is_green(x, y) {
            return own;
        }
        // Interpolates along a direction; also returns how much the samples change there.
        let along = |dx: isize, dy: isize| {
            let at = |distance| frame.sample(column + distance * dx, row + distance * dy);
            let (before, after) = (at(-1), at(1));
            let curvature = 2.0 * own - at(-2) - at(2);
            (0.5 * (before + after) + 0.25 * curvature, (before - after).abs() + curvature.abs())
        };
        let ((across, across_change), (down, down_change)) = (along(1, 0), along(0, 1));
        let value = if across_change < down_change {
            across
        } else if down_change < across_change {
            down
        } else {
            0.5 * (across + down)
        };
        value.clamp(0.0, 255.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{BayerPattern, RawFormat},
        *,
    };

    #[test]
    fn green_is_interpolated_along_edges() {
        let (width, height) = (12, 10);
        // Colour differences are constant; the edge is vertical.
        let value = |x: usize, is_green: bool| {
            let side = if x < 6 { 60 } else { 160u8 };
            side + if is_green { 0 } else { 30 }
        };
        let format = RawFormat { pattern: BayerPattern::Gbrg, bits: 8 };
        let memory: Vec<u8> = (0..width * height)
            .map(|i| value(i % width, (i % width + i / width) % 2 == 0))
            .collect();
        let frame = RawFrame::new(&memory, width, [width, height], format).unwrap();
        let green = Green(frame);
        for y in 0..height {
            for x in 0..width {
                assert_eq!(green.code_value(y, x), f32::from(value(x, true)), "{x} {y}");
            }
        }
    }
}
