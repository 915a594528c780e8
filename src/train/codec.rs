//! What compression does to pictures.

use rand::{Rng, rngs::StdRng};
use tch::Tensor;

use super::{Error, noise::between};

/// Quantises the cosine transform of 8x8 pixels, as JPEG does to each component and video codecs much alike; the gradient passes as if it did not.
pub struct Codec {
    basis: Tensor,
    /// JPEG's steps for luma at quality 50, `[1, 64, 1, 1]`.
    pub steps: Tensor,
}

/// JPEG's steps over those of quality 50, and the step of all waves alike, as of H.264 with its default matrices.
const COARSENESS: [f64; 2] = [0.05, 1.2];
const ALIKE: [f64; 2] = [2.0, 30.0];
/// Shares of a step from which on encoders round up: video's leave more to nothing than JPEG's.
pub const UP: std::ops::Range<f64> = 0.5..0.85;

/// Luma quantisation at quality 50 (ITU-T T.81, annex K).
const STEPS: [f32; 64] = [
    16., 11., 10., 16., 24., 40., 51., 61., 12., 12., 14., 19., 26., 58., 60., 55., 14., 13., 16.,
    24., 40., 57., 69., 56., 14., 17., 22., 29., 51., 87., 80., 62., 18., 22., 37., 56., 68., 109.,
    103., 77., 24., 35., 55., 64., 81., 104., 113., 92., 49., 64., 78., 87., 103., 121., 120.,
    101., 72., 92., 95., 98., 112., 100., 103., 99.,
];

impl Codec {
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

    /// Steps of some picture, `[1, 64, 1, 1]`: JPEG's, or alike for all waves.
    pub fn draw(&self, rng: &mut StdRng) -> Tensor {
        if rng.random_bool(0.5) {
            &self.steps * between(COARSENESS, rng)
        } else {
            self.steps.full_like(between(ALIKE, rng))
        }
    }

    /// Pictures of one channel, 0 to 255, rounded to `steps` from `up` of a step on.
    ///
    /// # Errors
    /// What libtorch reports.
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
        assert!(most(&(&coarse - 128.0 + &picture)) < 1e-3, "all waves fall to nothing");
    }
}
