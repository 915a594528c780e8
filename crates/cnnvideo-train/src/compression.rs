// SPDX-License-Identifier: MIT OR Apache-2.0

//! A model of compression artefacts: quantisation of 8x8 DCT coefficients.

use rand::{Rng, rngs::StdRng};
use tch::Tensor;

use super::{Error, noise::log_uniform};

/// Quantises the 8x8 DCT of images, as JPEG does for each component and video codecs do similarly.
/// The gradient passes through the rounding unchanged (straight-through estimator).
pub(crate) struct DctQuantiser {
    /// DCT basis functions as convolution kernels, `[64, 1, 8, 8]`.
    basis: Tensor,
    /// JPEG's quantisation steps for luma at quality 50, `[1, 64, 1, 1]`.
    pub(crate) jpeg_steps: Tensor,
}

/// Range of the factor on JPEG's quantisation steps at quality 50.
const JPEG_STEP_SCALE: [f64; 2] = [0.05, 1.2];
/// Range of a step that is the same for all coefficients, as in H.264 with its default (flat)
/// matrices.
const FLAT_STEP: [f64; 2] = [2.0, 30.0];
/// Range of the fraction of a step from which an encoder rounds up. Video encoders use a wider dead
/// zone than JPEG encoders, which round at 0.5.
pub(crate) const ROUND_UP_FROM: std::ops::Range<f64> = 0.5..0.85;

/// JPEG's quantisation table for luma at quality 50 (ITU-T T.81, annex K).
const JPEG_LUMA_STEPS: [f32; 64] = [
    16., 11., 10., 16., 24., 40., 51., 61., 12., 12., 14., 19., 26., 58., 60., 55., 14., 13., 16.,
    24., 40., 57., 69., 56., 14., 17., 22., 29., 51., 87., 80., 62., 18., 22., 37., 56., 68., 109.,
    103., 77., 24., 35., 55., 64., 81., 104., 113., 92., 49., 64., 78., 87., 103., 121., 120.,
    101., 72., 92., 95., 98., 112., 100., 103., 99.,
];

impl DctQuantiser {
    /// Creates the codec model with its DCT basis on the CPU.
    pub(crate) fn new() -> Self {
        let basis_value = |k: usize, i: usize| {
            let norm = if k == 0 { (1.0f32 / 8.0).sqrt() } else { 0.5 };
            norm * ((2 * i + 1) as f32 * k as f32 * std::f32::consts::PI / 16.0).cos()
        };
        let values: Vec<f32> = (0..64 * 64)
            .map(|n| basis_value(n / 512, n / 8 % 8) * basis_value(n / 64 % 8, n % 8))
            .collect();
        Self {
            basis: Tensor::from_slice(&values).view([64, 1, 8, 8]),
            jpeg_steps: Tensor::from_slice(&JPEG_LUMA_STEPS).view([1, 64, 1, 1]),
        }
    }

    /// Draws the quantisation steps of one image, `[1, 64, 1, 1]`: a scaled JPEG table, or the same
    /// step for all coefficients.
    pub(crate) fn draw(&self, rng: &mut StdRng) -> Tensor {
        if rng.random_bool(0.5) {
            &self.jpeg_steps * log_uniform(JPEG_STEP_SCALE, rng)
        } else {
            self.jpeg_steps.full_like(log_uniform(FLAT_STEP, rng))
        }
    }

    /// Compresses images of one channel, `[n, 1, height, width]`, values 0 to 255.
    ///
    /// `steps` are the quantisation steps, `[n or 1, 64, 1, 1]`. A coefficient is rounded up if its
    /// fractional part is at least `up`.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn compress(
        &self,
        picture: &Tensor,
        steps: &Tensor,
        round_up_from: f64,
    ) -> Result<Tensor, Error> {
        let basis = self.basis.to_device(picture.device());
        let coefficients =
            (picture - 128.0).f_conv2d(&basis, None::<Tensor>, [8, 8], [0, 0], [1, 1], 1)? / steps;
        let quantised =
            coefficients.sign() * (coefficients.abs() + (1.0 - round_up_from)).f_floor()?;
        let rounded = &coefficients + (quantised - &coefficients).f_detach()?;
        let restored = (rounded * steps).f_conv_transpose2d(
            &basis,
            None::<Tensor>,
            [8, 8],
            [0, 0],
            [0, 0],
            1,
            [1, 1],
        )?;
        Ok(restored + 128.0)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn fine_steps_change_little_and_coarse_steps_remove_everything() {
        tch::manual_seed(1);
        let dct_quantiser = DctQuantiser::new();
        let picture = Tensor::rand([2, 1, 32, 24], (Kind::Float, Device::Cpu)) * 200.0 + 20.0;
        let max_difference = |a: &Tensor| (a - &picture).abs().max().double_value(&[]);
        let fine =
            dct_quantiser.compress(&picture, &(&dct_quantiser.jpeg_steps * 1e-3), 0.5).unwrap();
        assert!(max_difference(&fine) < 1.0 && max_difference(&fine) > 0.0);
        let steps = dct_quantiser.jpeg_steps.full_like(600.0);
        let coarse = dct_quantiser.compress(&picture, &steps, 0.9).unwrap();
        assert!(
            max_difference(&(&coarse - 128.0 + &picture)) < 1e-3,
            "a coefficient was not quantised to 0"
        );
    }
}
