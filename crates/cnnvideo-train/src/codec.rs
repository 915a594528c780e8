//! A model of compression artefacts: quantisation of 8x8 DCT coefficients.

use rand::{Rng, rngs::StdRng};
use tch::Tensor;

use super::{Error, noise::between};

/// Quantises the 8x8 DCT of images, as JPEG does for each component and video codecs do similarly.
/// The gradient passes through the rounding unchanged (straight-through estimator).
pub struct Codec {
    /// DCT basis functions as convolution kernels, `[64, 1, 8, 8]`.
    basis: Tensor,
    /// JPEG's quantisation steps for luma at quality 50, `[1, 64, 1, 1]`.
    pub steps: Tensor,
}

/// Range of the factor on JPEG's quantisation steps at quality 50.
const COARSENESS: [f64; 2] = [0.05, 1.2];
/// Range of a step that is the same for all coefficients, as in H.264 with its default (flat)
/// matrices.
const ALIKE: [f64; 2] = [2.0, 30.0];
/// Range of the fraction of a step from which an encoder rounds up. Video encoders use a wider dead
/// zone than JPEG encoders, which round at 0.5.
pub const UP: std::ops::Range<f64> = 0.5..0.85;

/// JPEG's quantisation table for luma at quality 50 (ITU-T T.81, annex K).
const STEPS: [f32; 64] = [
    16., 11., 10., 16., 24., 40., 51., 61., 12., 12., 14., 19., 26., 58., 60., 55., 14., 13., 16.,
    24., 40., 57., 69., 56., 14., 17., 22., 29., 51., 87., 80., 62., 18., 22., 37., 56., 68., 109.,
    103., 77., 24., 35., 55., 64., 81., 104., 113., 92., 49., 64., 78., 87., 103., 121., 120.,
    101., 72., 92., 95., 98., 112., 100., 103., 99.,
];

impl Codec {
    /// Creates the codec model with its DCT basis on the CPU.
    pub fn new() -> Self {
        let wave = |k: usize, i: usize| {
            let norm = if k == 0 { (1.0f32 / 8.0).sqrt() } else { 0.5 };
            norm * ((2 * i + 1) as f32 * k as f32 * std::f32::consts::PI / 16.0).cos()
        };
        let values: Vec<f32> =
            (0..64 * 64).map(|n| wave(n / 512, n / 8 % 8) * wave(n / 64 % 8, n % 8)).collect();
        Self {
            basis: Tensor::from_slice(&values).view([64, 1, 8, 8]),
            steps: Tensor::from_slice(&STEPS).view([1, 64, 1, 1]),
        }
    }

    /// Draws the quantisation steps of one image, `[1, 64, 1, 1]`: a scaled JPEG table, or the same
    /// step for all coefficients.
    pub fn draw(&self, rng: &mut StdRng) -> Tensor {
        if rng.random_bool(0.5) {
            &self.steps * between(COARSENESS, rng)
        } else {
            self.steps.full_like(between(ALIKE, rng))
        }
    }

    /// Compresses images of one channel, `[n, 1, height, width]`, values 0 to 255.
    ///
    /// `steps` are the quantisation steps, `[n or 1, 64, 1, 1]`. A coefficient is rounded up if its
    /// fractional part is at least `up`.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn run(&self, picture: &Tensor, steps: &Tensor, up: f64) -> Result<Tensor, Error> {
        let basis = self.basis.to_device(picture.device());
        let waves =
            (picture - 128.0).f_conv2d(&basis, None::<Tensor>, [8, 8], [0, 0], [1, 1], 1)? / steps;
        let whole = waves.sign() * (waves.abs() + (1.0 - up)).f_floor()?;
        let rounded = &waves + (whole - &waves).f_detach()?;
        let back = (rounded * steps).f_conv_transpose2d(
            &basis,
            None::<Tensor>,
            [8, 8],
            [0, 0],
            [0, 0],
            1,
            [1, 1],
        )?;
        Ok(back + 128.0)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn fine_steps_change_little_and_coarse_ones_leave_means() {
        tch::manual_seed(1);
        let codec = Codec::new();
        let picture = Tensor::rand([2, 1, 32, 24], (Kind::Float, Device::Cpu)) * 200.0 + 20.0;
        let most = |a: &Tensor| (a - &picture).abs().max().double_value(&[]);
        let fine = codec.run(&picture, &(&codec.steps * 1e-3), 0.5).unwrap();
        assert!(most(&fine) < 1.0 && most(&fine) > 0.0);
        let steps = codec.steps.full_like(600.0);
        let coarse = codec.run(&picture, &steps, 0.9).unwrap();
        assert!(most(&(&coarse - 128.0 + &picture)) < 1e-3, "a coefficient was not quantised to 0");
    }
}
