// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training pairs for debanding: pictures with smooth gradients, and the same pictures quantised.

use rand::{Rng, rngs::StdRng};
use tch::{Kind, Tensor};

use crate::{
    Error, colour::rgb_to_luma, compression::DctQuantiser, data::PhotoSet, noise::log_uniform,
    prefetch::BatchSource,
};
use cnnvideo::deband::MAX_THRESHOLD;

/// Shares of the patches: gradients alone, and gradients that cover a part of a photograph. The
/// others are photographs.
const GRADIENT_SHARE: f64 = 0.35;
const COMPOSITE_SHARE: f64 = 0.3;
/// Range of the difference of the brightest and the darkest value of a gradient, in code values.
const GRADIENT_RANGE: [f64; 2] = [2.0, 120.0];
/// Share of the patches that are compressed after the quantisation.
const COMPRESSED_SHARE: f64 = 0.35;
/// Range of the factor on the steps of the compression.
const COMPRESSION: [f64; 2] = [0.15, 1.0];
/// Share of the patches with noise before the quantisation, and its largest sigma in steps.
const NOISY_SHARE: f64 = 0.25;
const MAX_NOISE: f64 = 0.4;
/// Share of the patches whose threshold is too low for their step, so that they must not change.
const BELOW_THRESHOLD_SHARE: f64 = 0.2;
/// Quantisation steps in code values (8, 7, 6 and 5 bits), and how often each occurs in 20.
const STEPS: [(f64, u32); 4] = [(1.0, 6), (2.0, 6), (4.0, 6), (8.0, 2)];

/// Patches with and without contours, values 0 to 255.
pub(super) struct DebandBatch {
    /// Quantised patches, `[n, 1, side, side]`.
    pub banded: Tensor,
    /// Targets.
    pub target: Tensor,
    /// Thresholds, `[n, 1, 1, 1]`.
    pub thresholds: Tensor,
}

/// Largest side of the part of a patch that a photograph fills; around it the photograph is
/// mirrored.
pub(super) const MAX_PHOTO_SIDE: usize = 160;

/// Source of training batches.
pub(super) struct PairSource<'a> {
    pub photos: &'a PhotoSet,
    pub count: usize,
    pub side: usize,
}

impl BatchSource for PairSource<'_> {
    type Batch = DebandBatch;

    fn draw(&self, rng: &mut StdRng) -> Result<DebandBatch, Error> {
        let photo_side = self.side.min(MAX_PHOTO_SIDE);
        let photos = fine_luma(&self.photos.patches(rng, self.count, 2 * photo_side))?;
        // Contours of wide bands need larger patches than photographs have.
        let margin = ((self.side - photo_side) / 2) as i64;
        let photos = photos.f_reflection_pad2d([margin; 4])?;
        let dct_quantiser = DctQuantiser::new();
        let mut parts = [Vec::new(), Vec::new(), Vec::new()];
        for i in 0..self.count {
            let photo = photos.narrow(0, i as i64, 1);
            let clean = self.clean(&photo, rng)?;
            let pair = degrade(&clean, &dct_quantiser, rng)?;
            parts.iter_mut().zip(pair).for_each(|(list, part)| list.push(part));
        }
        let [banded, target, thresholds] = parts.map(|list| Tensor::f_cat(&list, 0));
        Ok(DebandBatch { banded: banded?, target: target?, thresholds: thresholds? })
    }
}

impl PairSource<'_> {
    /// Returns a clean patch: a photograph, a gradient or both.
    fn clean(&self, photo: &Tensor, rng: &mut StdRng) -> Result<Tensor, Error> {
        let kind: f64 = rng.random();
        // Dark and low-contrast scenes band most.
        let contrast = log_uniform([0.25, 1.0], rng);
        let photo = if rng.random_bool(0.5) { photo * contrast } else { photo.shallow_clone() };
        if kind >= GRADIENT_SHARE + COMPOSITE_SHARE {
            return Ok(photo);
        }
        let gradient = gradient(self.side, rng)?;
        if kind < GRADIENT_SHARE {
            return Ok(gradient);
        }
        let field = smooth_field(self.side, rng)?;
        let softness = log_uniform([0.005, 0.2], rng);
        let share = (&field / softness).f_sigmoid()?;
        Ok(&gradient * &share + photo * (1.0 - share))
    }
}

/// Returns the banded patch, its target and its threshold.
fn degrade(
    clean: &Tensor,
    dct_quantiser: &DctQuantiser,
    rng: &mut StdRng,
) -> Result<[Tensor; 3], Error> {
    let step = draw_step(rng);
    let noise = if rng.random_bool(NOISY_SHARE) { rng.random_range(0.0..MAX_NOISE) } else { 0.0 };
    let noisy = clean + clean.f_randn_like()? * (noise * step);
    let offset = rng.random_range(0..step as i64) as f64;
    let mut banded = ((noisy + offset) / step).f_round()? * step - offset;
    let is_compressed = rng.random_bool(COMPRESSED_SHARE);
    if is_compressed {
        let steps = dct_quantiser.draw(rng) * log_uniform(COMPRESSION, rng);
        banded = dct_quantiser.compress(&banded, &steps, rng.random_range(0.5..0.8))?;
    }
    let banded = banded.f_round()?.f_clamp(0.0, 255.0)?;
    let least = step / 2.0;
    let is_below = !is_compressed && least > 0.5 && rng.random_bool(BELOW_THRESHOLD_SHARE);
    let range = if is_below { 0.5..least } else { least..f64::from(MAX_THRESHOLD) + 1e-3 };
    let threshold = Tensor::from(rng.random_range(range) as f32).view([1, 1, 1, 1]);
    let target = if is_below { banded.shallow_clone() } else { clean.shallow_clone() };
    Ok([banded, target, threshold])
}

/// Draws a quantisation step.
fn draw_step(rng: &mut StdRng) -> f64 {
    let mut at = rng.random_range(0..STEPS.iter().map(|(_, count)| count).sum());
    for (step, count) in STEPS {
        if at < count {
            return step;
        }
        at -= count;
    }
    unreachable!("the counts sum up to the range")
}

/// Returns the luma of photographs at half their size, so that values lie between code values.
pub(super) fn fine_luma(rgb: &Tensor) -> Result<Tensor, Error> {
    Ok(rgb_to_luma(rgb)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?)
}

/// Returns a smooth random field, `[1, 1, side, side]`, about -1 to 1.
fn smooth_field(side: usize, rng: &mut StdRng) -> Result<Tensor, Error> {
    let count = rng.random_range(3..=7);
    let knots: Vec<f32> = (0..count * count).map(|_| rng.random_range(-1.0..1.0)).collect();
    let knots = Tensor::from_slice(&knots).view([1, 1, count, count]);
    // The outermost knots of bicubic interpolation repeat beyond the border, where the field would
    // be flat.
    let larger = (side as i64) * count / (count - 2).max(1);
    let field = knots.f_upsample_bicubic2d([larger, larger], false, None, None)?;
    let start = (larger - side as i64) / 2;
    Ok(field.narrow(2, start, side as i64).narrow(3, start, side as i64).contiguous())
}

/// Returns a random gradient: a smooth field, a slope or a spot of light.
pub(super) fn gradient(side: usize, rng: &mut StdRng) -> Result<Tensor, Error> {
    let length = side as i64;
    let kind = rng.random_range(0..3);
    let field = if kind == 0 {
        smooth_field(side, rng)?
    } else {
        let axis = Tensor::f_linspace(-1.0, 1.0, length, (Kind::Float, tch::Device::Cpu))?;
        let (x, y) = (axis.view([1, length]), axis.view([length, 1]));
        if kind == 1 {
            let angle = rng.random_range(0.0..std::f64::consts::TAU);
            x * angle.cos() + y * angle.sin()
        } else {
            let [dx, dy] = [0, 1].map(|_| rng.random_range(-1.5..1.5));
            let distance = (x - dx).square() + (y - dy).square();
            (distance * -rng.random_range(0.2..2.0)).exp()
        }
        .view([1, 1, length, length])
    };
    let (least, most) = (field.min(), field.max());
    let unit = (&field - &least) / (most - least + 1e-6);
    let range = log_uniform(GRADIENT_RANGE, rng);
    let start = rng.random_range(0.0..(250.0 - range));
    let gamma = log_uniform([0.6, 1.8], rng);
    Ok(unit.f_pow_tensor_scalar(gamma)? * range + start)
}
