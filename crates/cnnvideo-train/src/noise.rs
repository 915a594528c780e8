// SPDX-License-Identifier: MIT OR Apache-2.0

//! Synthesis of white and correlated Gaussian noise for training.

use rand::{Rng, rngs::StdRng};
use tch::{Device, Kind, Tensor};

use super::{Error, colour::rgb_to_channels};
use cnnvideo::denoise::{CONTROL_PER_SIGMA, ColourDomain};

/// Maximum noise sigma in training, in 8-bit units.
const MAX_SIGMA: f64 = 60.0;

/// Relation between the images whose noise is drawn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageGroup {
    /// Independent images; each has noise parameters of its own.
    Independent,
    /// Frames of one clip, which share their noise parameters.
    Clip,
}

/// Sample depth of noisy images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleDepth {
    /// Neither clipped nor rounded.
    Float,
    /// Clipped and rounded to 8 bits, as in video.
    EightBit,
}

/// Clean and noisy images in the layout of a network's input,
/// `[n, channels, height / 2, width / 2]`.
pub(crate) struct NoisyBatch {
    /// Clean images, the target of the training.
    pub(crate) clean: Tensor,
    /// Noisy images.
    pub(crate) noisy: Tensor,
    /// Control maps: noise sigma times [`CONTROL_PER_SIGMA`], one map for each control channel.
    pub(crate) controls: Tensor,
}

impl NoisyBatch {
    /// Copies the batch to another device.
    pub(crate) fn to_device(&self, device: Device) -> Self {
        let to = |t: &Tensor| t.to_device(device);
        Self { clean: to(&self.clean), noisy: to(&self.noisy), controls: to(&self.controls) }
    }

    /// Returns image `number` as a batch of one.
    pub(crate) fn frame(&self, number: usize) -> Self {
        let one = |t: &Tensor| t.narrow(0, number as i64, 1);
        Self { clean: one(&self.clean), noisy: one(&self.noisy), controls: one(&self.controls) }
    }

    /// Replaces the noisy images by temporally fused ones.
    ///
    /// `variance` is the noise variance after fusion relative to that before,
    /// `[n, 1, height / 2, width / 2]`.
    pub(crate) fn fused(self, noisy: Tensor, variance: &Tensor) -> Self {
        Self { noisy, controls: self.controls * variance.sqrt(), ..self }
    }

    /// Concatenates batches.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn join(batches: &[Self]) -> Result<Self, Error> {
        let all = |get: fn(&Self) -> &Tensor| {
            Tensor::f_cat(&batches.iter().map(get).collect::<Vec<_>>(), 0)
        };
        Ok(Self {
            clean: all(|b| &b.clean)?,
            noisy: all(|b| &b.noisy)?,
            controls: all(|b| &b.controls)?,
        })
    }

    /// Returns the noise sigmas of the first image in 8-bit units: that of luma (or of R, G and B),
    /// and that of chroma.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn sigmas(&self) -> Result<[f32; 2], Error> {
        let last = self.controls.size()[1] - 1;
        let sigma = |i: i64| {
            Ok::<_, tch::TchError>(
                self.controls.f_double_value(&[0, i, 0, 0])? as f32 / CONTROL_PER_SIGMA,
            )
        };
        Ok([sigma(0)?, sigma(last)?])
    }

    /// Subtracts the predicted noise from the noisy images.
    pub(crate) fn cleaned(&self, noise: &Tensor) -> Tensor {
        &self.noisy - noise
    }

    /// Returns the network's input: noisy images and control maps.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn input(&self) -> Result<Tensor, tch::TchError> {
        Tensor::f_cat(&[&self.noisy, &self.controls], 1)
    }
}

/// Kind and sigma of synthetic noise for some images. Each tensor has one value for each image,
/// `[n, 1, 1, 1]`.
pub(crate) struct SyntheticNoise {
    /// Planes that the network processes.
    domain: ColourDomain,
    /// Sigma of luma (or of R, G and B) in 8-bit units.
    main_sigma: Tensor,
    /// Sigma of chroma in 8-bit units.
    chroma_sigma: Tensor,
    /// 1 where the noisy image is clipped and rounded to 8 bits, else 0.
    quantised: Tensor,
    /// 1 where the noise is correlated (in 4:2:0 its chroma noise is low-pass filtered), else 0.
    /// `None` if it is 0 for all images.
    correlated: Option<Tensor>,
    /// 0 where the image is monochrome, else 1.
    colour: Tensor,
}

impl SyntheticNoise {
    /// Draws the noise of `count` images.
    ///
    /// The sigma is between 0 and 60. A share `clipped` of the images is clipped and rounded to 8
    /// bits; a share `coloured` has noise that is not white. Chroma noise ranges from none to 1.2
    /// times the luma noise. A tenth of the images is monochrome.
    pub(crate) fn draw(
        domain: ColourDomain,
        count: usize,
        coloured: f64,
        clipped: f64,
        rng: &mut StdRng,
    ) -> Self {
        let column = |values: Vec<f32>| Tensor::from_slice(&values).view([count as i64, 1, 1, 1]);
        let main_sigma: Vec<f32> =
            (0..count).map(|_| rng.random_range(0.0..MAX_SIGMA) as f32).collect();
        let chroma_sigma: Vec<f32> =
            main_sigma
                .iter()
                .map(|sigma| {
                    if rng.random_bool(0.25) { 0.0 } else { sigma * rng.random_range(0.0..1.2f32) }
                })
                .collect();
        let mut flags = |share: f64| -> Vec<f32> {
            (0..count).map(|_| f32::from(u8::from(rng.random_bool(share)))).collect()
        };
        let (quantised, correlated, colourless) = (flags(clipped), flags(coloured), flags(0.1));
        let colour = 1.0 - column(colourless);
        Self {
            domain,
            main_sigma: column(main_sigma),
            chroma_sigma: column(chroma_sigma) * &colour,
            quantised: column(quantised),
            correlated: correlated.contains(&1.0).then(|| column(correlated)),
            colour,
        }
    }

    /// Returns white noise of one sigma, half of it in chroma.
    pub(crate) fn white(
        domain: ColourDomain,
        count: usize,
        sigma: f64,
        depth: SampleDepth,
    ) -> Self {
        let all =
            |value: f64| Tensor::full([count as i64, 1, 1, 1], value, (Kind::Float, Device::Cpu));
        Self {
            domain,
            main_sigma: all(sigma),
            chroma_sigma: all(0.5 * sigma),
            quantised: all(f64::from(u8::from(depth == SampleDepth::EightBit))),
            correlated: None,
            colour: all(1.0),
        }
    }

    /// Draws the noise of `count` frames of one clip. All frames have the same kind and sigma; the
    /// noise is white.
    pub(crate) fn of_clip(
        domain: ColourDomain,
        count: usize,
        clipped: f64,
        rng: &mut StdRng,
    ) -> Self {
        let one = Self::draw(domain, 1, 0.0, clipped, rng);
        let all = |t: &Tensor| t.repeat([count as i64, 1, 1, 1]);
        Self {
            main_sigma: all(&one.main_sigma),
            chroma_sigma: all(&one.chroma_sigma),
            quantised: all(&one.quantised),
            colour: all(&one.colour),
            ..one
        }
    }

    /// Copies the parameters to another device.
    fn to_device(&self, device: Device) -> Self {
        let to = |t: &Tensor| t.to_device(device);
        Self {
            domain: self.domain,
            main_sigma: to(&self.main_sigma),
            chroma_sigma: to(&self.chroma_sigma),
            quantised: to(&self.quantised),
            correlated: self.correlated.as_ref().map(to),
            colour: to(&self.colour),
        }
    }

    /// Adds noise to RGB images, `[n, 3, height, width]`, values 0 to 255. Each call draws new
    /// noise.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn add(&self, rgb: &Tensor) -> Result<NoisyBatch, Error> {
        if rgb.device() != self.main_sigma.device() {
            return self.to_device(rgb.device()).add(rgb);
        }
        let mut clean = rgb_to_channels(rgb, self.domain)?;
        let size = clean.size();
        let map = |sigma: &Tensor| sigma.f_expand([size[0], 1, size[2], size[3]], false);
        let (unit, std, controls) = if self.domain == ColourDomain::Rgb {
            let white = clean.randn_like();
            let unit = match &self.correlated {
                Some(correlated) => &white + correlated * (correlated_rgb(&clean)? - &white),
                None => white,
            };
            (unit, self.main_sigma.f_expand(&size, false)?, map(&self.main_sigma)?)
        } else {
            let (luma, chroma) = (clean.narrow(1, 0, 4), clean.narrow(1, 4, 2));
            // In a monochrome image, chroma is exactly 128.
            clean = Tensor::f_cat(&[&luma, &(&chroma * &self.colour)], 1)?;
            let white = chroma.randn_like();
            let coloured = match &self.correlated {
                Some(correlated) => {
                    &white + correlated * (low_pass_noise(&chroma.randn_like())? - &white)
                }
                None => white,
            };
            let std = [
                self.main_sigma.f_repeat([1, 4, 1, 1])?,
                self.chroma_sigma.f_repeat([1, 2, 1, 1])?,
            ];
            let controls = [map(&self.main_sigma)?, map(&self.chroma_sigma)?];
            let unit = Tensor::f_cat(&[luma.randn_like(), coloured], 1)?;
            (unit, Tensor::f_cat(&std, 1)?, Tensor::f_cat(&controls, 1)?)
        };
        let noisy = &clean + unit * std / 255.0;
        let rounded = ((&noisy * 255.0).f_round()?.f_clamp(-128.0, 127.0)?) / 255.0;
        let noisy = &noisy + &self.quantised * (rounded - &noisy);
        Ok(NoisyBatch { clean, noisy, controls: controls * f64::from(CONTROL_PER_SIGMA) })
    }
}

/// Draws a value from a log-uniform distribution between `low` and `high`.
pub(crate) fn log_uniform([low, high]: [f64; 2], rng: &mut StdRng) -> f64 {
    low * (high / low).powf(rng.random())
}

/// Returns noise of standard deviation 1 that is correlated between R, G and B, plus colour noise
/// at half resolution, as in decoded 4:2:0 video.
fn correlated_rgb(like: &Tensor) -> Result<Tensor, Error> {
    let size = like.size();
    let (count, height, width) = (size[0], size[2], size[3]);
    let options = (Kind::Float, like.device());
    let shared = Tensor::f_randn([count, 4, height, width], options)?.f_repeat([1, 3, 1, 1])?;
    let colour = Tensor::f_randn([count, 3, height, width], options)?
        .f_repeat_interleave_self_int(4, Some(1), None)?;
    Ok(shared * 0.8 + colour * 0.6)
}

/// Blurs white noise, `[n, 1, height, width]`, with a Gaussian for each image and normalises it to
/// standard deviation 1. `blurs` are the standard deviations across and down, in pixels; 0 leaves
/// the noise as it is.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn blurred_noise(white: &Tensor, blurs: &[[f64; 2]]) -> Result<Tensor, Error> {
    /// Largest distance of a filter tap, in pixels.
    const REACH: i64 = 7;
    let size = white.size();
    let (count, taps) = (size[0], 2 * REACH + 1);
    let lines = |axis: usize| -> Tensor {
        let line = |blur: f64| {
            let tap = |d: i64| {
                let exponent = -0.5 * (d as f64 / blur.max(1e-3)).powi(2);
                exponent.exp() as f32
            };
            let line: Vec<f32> = (-REACH..=REACH).map(tap).collect();
            // The standard deviation after the filter is the norm of its taps.
            let norm = line.iter().map(|tap| tap * tap).sum::<f32>().sqrt();
            line.into_iter().map(move |tap| tap / norm)
        };
        let all: Vec<f32> = blurs.iter().flat_map(|blur| line(blur[axis])).collect();
        Tensor::from_slice(&all).to_device(white.device())
    };
    let shape = [1, count, size[2], size[3]];
    let images = white.f_view(shape)?.f_pad([REACH; 4], "circular", None)?;
    let across = lines(0).f_view([count, 1, 1, taps])?;
    let down = lines(1).f_view([count, 1, taps, 1])?;
    let none = None::<Tensor>;
    let blurred = images
        .f_conv2d(&across, none.as_ref(), [1, 1], [0, 0], [1, 1], count)?
        .f_conv2d(&down, none.as_ref(), [1, 1], [0, 0], [1, 1], count)?;
    Ok(blurred.f_view_as(white)?)
}

/// Low-pass filters white noise with a 3x3 binomial kernel and normalises it to standard deviation
/// 1.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn low_pass_noise(white: &Tensor) -> Result<Tensor, Error> {
    let channels = white.size()[1];
    let line = Tensor::from_slice(&[0.25f32, 0.5, 0.25]).to_device(white.device());
    let kernel = line.f_outer(&line)?.f_view([1, 1, 3, 3])?.f_repeat([channels, 1, 1, 1])?;
    // The standard deviation after the filter is the norm of its taps.
    Ok(white.f_conv2d(&kernel, None::<Tensor>, [1, 1], [1, 1], [1, 1], channels)? / 0.375)
}
