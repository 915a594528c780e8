// SPDX-License-Identifier: MIT OR Apache-2.0

//! Temporal average of the guide, which keeps the smoothed video from flickering.

use ndarray::Array2;

use crate::{frame::unshuffle::INPUT_SCALE, simd::round_clamped};

/// Largest weight of the previous guide in the temporal average.
const MAX_TEMPORAL_WEIGHT: f32 = 0.7;
/// Change of luma, in 8-bit code values, at which the weight of the previous guide is 0.
const MAX_LUMA_CHANGE: f32 = 8.0;
/// Units of [`TemporalState::luma`] in one 8-bit code value.
const LUMA_SCALE: f32 = 256.0;

/// Guide and luma of the previous picture.
#[derive(Debug, Default)]
pub(super) struct TemporalState {
    /// Luma without texture, in 8-bit code values, `[row, column]`.
    pub guide: Array2<f32>,
    /// Luma in units of 1/256 code values, `[row, column]`.
    pub luma: Array2<u16>,
    /// Whether both belong to the previous picture of the stream.
    valid: bool,
}

impl TemporalState {
    /// Marks the stored picture as unusable for the next one.
    pub(super) fn invalidate(&mut self) {
        self.valid = false;
    }

    /// Marks the stored picture as valid for the next one.
    pub(super) fn mark_valid(&mut self) {
        self.valid = true;
    }

    /// Resizes the planes for a picture of `dim` (rows, columns). A new size invalidates the stored
    /// picture.
    pub(super) fn resize(&mut self, dim: (usize, usize)) {
        if self.guide.dim() != dim {
            *self = Self { guide: Array2::zeros(dim), luma: Array2::zeros(dim), valid: false };
        }
    }

    /// Returns the largest weight of the previous guide: 0 if there is no valid previous picture.
    pub(super) fn max_weight(&self) -> f32 {
        if self.valid { MAX_TEMPORAL_WEIGHT } else { 0.0 }
    }
}

/// Computes a row of the guide: luma minus texture, averaged with the previous guide where luma is
/// unchanged.
///
/// `guide` and `previous_luma` hold rows of [`TemporalState`] and receive those of this picture.
/// `texture` is in units of network output. The weight of the previous guide is `max_weight`
/// without change and falls to 0 at a change of [`MAX_LUMA_CHANGE`].
#[inline(always)]
pub(super) fn update_guide(
    luma: &[f32],
    texture: &[f32],
    guide: &mut [f32],
    previous_luma: &mut [u16],
    max_weight: f32,
) {
    for (((luma, texture), guide), previous_luma) in
        luma.iter().zip(texture).zip(guide).zip(previous_luma)
    {
        let change = (luma - f32::from(*previous_luma) * (1.0 / LUMA_SCALE)).abs();
        let stillness = (1.0 - change * (1.0 / MAX_LUMA_CHANGE)).max(0.0);
        let current = luma - INPUT_SCALE * texture;
        *guide = current + max_weight * stillness * stillness * (*guide - current);
        *previous_luma = round_clamped(luma * LUMA_SCALE, f32::from(u16::MAX)) as u16;
    }
}
