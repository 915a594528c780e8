//! Synthesis of noise for training: white and correlated Gaussian noise, camera noise and
//! compression.

use rand::{Rng, rngs::StdRng};
use tch::{Device, Kind, Tensor};

use super::{
    Error,
    codec::{Codec, UP},
};
use cnnvideo::denoise::{CONTROL_PER_LEVEL, ColourDomain};

/// Maximum noise sigma in training, in 8-bit units.
const MAX_LEVEL: f64 = 60.0;

/// Clean and noisy images in the layout of a network's input,
/// `[n, channels, height / 2, width / 2]`.
pub struct Batch {
    /// Clean images, the target of the training.
    pub clean: Tensor,
    /// Noisy images.
    pub noisy: Tensor,
    /// Control maps: noise sigma times [`CONTROL_PER_LEVEL`], one map for each control channel.
    controls: Tensor,
}

impl Batch {
    /// Copies the batch to another device.
    pub fn to_device(&self, device: Device) -> Self {
        let to = |t: &Tensor| t.to_device(device);
        Self { clean: to(&self.clean), noisy: to(&self.noisy), controls: to(&self.controls) }
    }

    /// Returns image `number` as a batch of one.
    pub fn frame(&self, number: usize) -> Self {
        let one = |t: &Tensor| t.narrow(0, number as i64, 1);
        Self { clean: one(&self.clean), noisy: one(&self.noisy), controls: one(&self.controls) }
    }

    /// Replaces the noisy images by temporally fused ones.
    ///
    /// `variance` is the noise variance after fusion relative to that before,
    /// `[n, 1, height / 2, width / 2]`.
    pub fn fused(self, noisy: Tensor, variance: &Tensor) -> Self {
        Self { noisy, controls: self.controls * variance.sqrt(), ..self }
    }

    /// Concatenates batches.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn join(batches: &[Self]) -> Result<Self, Error> {
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
    pub fn levels(&self) -> Result<[f32; 2], Error> {
        let last = self.controls.size()[1] - 1;
        let level = |i: i64| {
            Ok::<_, tch::TchError>(
                self.controls.f_double_value(&[0, i, 0, 0])? as f32 / CONTROL_PER_LEVEL,
            )
        };
        Ok([level(0)?, level(last)?])
    }

    /// Subtracts the predicted noise from the noisy images.
    pub fn cleaned(&self, noise: &Tensor) -> Tensor {
        &self.noisy - noise
    }

    /// Returns the network's input: noisy images and control maps.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn input(&self) -> Result<Tensor, tch::TchError> {
        Tensor::f_cat(&[&self.noisy, &self.controls], 1)
    }
}

/// Kind and sigma of synthetic noise for some images. Each tensor has one value for each image,
/// `[n, 1, 1, 1]`.
pub struct Noise {
    /// Planes that the network processes.
    domain: ColourDomain,
    /// Sigma of luma (or of R, G and B) in 8-bit units.
    main: Tensor,
    /// Sigma of chroma in 8-bit units.
    chroma: Tensor,
    /// 1 where the noisy image is clipped and rounded to 8 bits, else 0.
    quantised: Tensor,
    /// 1 where the noise is correlated (in 4:2:0 its chroma noise is low-pass filtered), else 0.
    /// `None` if it is 0 for all images.
    blotches: Option<Tensor>,
    /// 0 where the image is monochrome, else 1.
    colour: Tensor,
}

impl Noise {
    /// Draws the noise of `count` images.
    ///
    /// The sigma is between 0 and 60. A share `clipped` of the images is clipped and rounded to 8
    /// bits; a share `coloured` has noise that is not white. Chroma noise ranges from none to 1.2
    /// times the luma noise. A tenth of the images is monochrome.
    pub fn draw(
        domain: ColourDomain,
        count: usize,
        coloured: f64,
        clipped: f64,
        rng: &mut StdRng,
    ) -> Self {
        let column = |values: Vec<f32>| Tensor::from_slice(&values).view([count as i64, 1, 1, 1]);
        let main: Vec<f32> = (0..count).map(|_| rng.random_range(0.0..MAX_LEVEL) as f32).collect();
        let chroma: Vec<f32> =
            main.iter()
                .map(|level| {
                    if rng.random_bool(0.25) { 0.0 } else { level * rng.random_range(0.0..1.2f32) }
                })
                .collect();
        let mut flags = |share: f64| -> Vec<f32> {
            (0..count).map(|_| f32::from(u8::from(rng.random_bool(share)))).collect()
        };
        let (quantised, blotches, colourless) = (flags(clipped), flags(coloured), flags(0.1));
        let colour = 1.0 - column(colourless);
        Self {
            domain,
            main: column(main),
            chroma: column(chroma) * &colour,
            quantised: column(quantised),
            blotches: blotches.contains(&1.0).then(|| column(blotches)),
            colour,
        }
    }

    /// Returns white noise of one sigma, half of it in chroma.
    pub fn white(domain: ColourDomain, count: usize, level: f64, clipped: bool) -> Self {
        let all =
            |value: f64| Tensor::full([count as i64, 1, 1, 1], value, (Kind::Float, Device::Cpu));
        Self {
            domain,
            main: all(level),
            chroma: all(0.5 * level),
            quantised: all(f64::from(u8::from(clipped))),
            blotches: None,
            colour: all(1.0),
        }
    }

    /// Draws the noise of `count` frames of one clip. All frames have the same kind and sigma; the
    /// noise is white.
    pub fn of_clip(domain: ColourDomain, count: usize, clipped: f64, rng: &mut StdRng) -> Self {
        let one = Self::draw(domain, 1, 0.0, clipped, rng);
        let all = |t: &Tensor| t.repeat([count as i64, 1, 1, 1]);
        Self {
            main: all(&one.main),
            chroma: all(&one.chroma),
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
            main: to(&self.main),
            chroma: to(&self.chroma),
            quantised: to(&self.quantised),
            blotches: self.blotches.as_ref().map(to),
            colour: to(&self.colour),
        }
    }

    /// Adds noise to RGB images, `[n, 3, height, width]`, values 0 to 255. Each call draws new
    /// noise.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn add(&self, rgb: &Tensor) -> Result<Batch, Error> {
        if rgb.device() != self.main.device() {
            return self.to_device(rgb.device()).add(rgb);
        }
        let mut clean = planes(rgb, self.domain)?;
        let size = clean.size();
        let map = |level: &Tensor| level.f_expand([size[0], 1, size[2], size[3]], false);
        let (unit, std, controls) = if self.domain == ColourDomain::Rgb {
            let white = clean.randn_like();
            let unit = match &self.blotches {
                Some(blotches) => &white + blotches * (correlated_rgb(&clean)? - &white),
                None => white,
            };
            (unit, self.main.f_expand(&size, false)?, map(&self.main)?)
        } else {
            let (luma, chroma) = (clean.narrow(1, 0, 4), clean.narrow(1, 4, 2));
            // In a monochrome image, chroma is exactly 128.
            clean = Tensor::f_cat(&[&luma, &(&chroma * &self.colour)], 1)?;
            let white = chroma.randn_like();
            let coloured = match &self.blotches {
                Some(blotches) => &white + blotches * (blurred(&chroma.randn_like())? - &white),
                None => white,
            };
            let std = [self.main.f_repeat([1, 4, 1, 1])?, self.chroma.f_repeat([1, 2, 1, 1])?];
            let controls = [map(&self.main)?, map(&self.chroma)?];
            let unit = Tensor::f_cat(&[luma.randn_like(), coloured], 1)?;
            (unit, Tensor::f_cat(&std, 1)?, Tensor::f_cat(&controls, 1)?)
        };
        let noisy = &clean + unit * std / 255.0;
        let rounded = ((&noisy * 255.0).f_round()?.f_clamp(-128.0, 127.0)?) / 255.0;
        let noisy = &noisy + &self.quantised * (rounded - &noisy);
        Ok(Batch { clean, noisy, controls: controls * f64::from(CONTROL_PER_LEVEL) })
    }
}

/// Camera noise: shot noise and read noise of a sensor with a Bayer pattern, demosaicked,
/// optionally low-pass filtered (as by scaling) and, for 4:2:0, compressed.
pub struct Camera {
    /// Planes that the network processes.
    domain: ColourDomain,
    /// Variance of the shot noise per unit of linear light (0 to 1), one value for each image.
    shot: Tensor,
    /// Standard deviation of the read noise in linear light, one value for each image.
    read: Tensor,
    /// Blend factor between the noise (0) and its low-pass filtered version (1), one value for each
    /// image.
    soft: Tensor,
    /// Compression of the images; only for 4:2:0.
    coding: Option<Coding>,
    /// Whether the noisy images are rounded to 8 bits.
    rounded: bool,
}

/// Share of the batches in 4:2:0 that are compressed.
const COMPRESSED: f64 = 0.5;
/// Range of the shot noise variance per unit of linear light.
const SHOT: [f64; 2] = [3e-4, 2e-2];
/// Range of the read noise standard deviation in linear light.
const READ: [f64; 2] = [1e-3, 3e-2];
/// Exponent of the transfer function between code values and linear light.
const GAMMA: f64 = 2.2;

impl Camera {
    /// Draws the noise of `count` images. With `clip`, all of them are frames of one clip and have
    /// the same noise parameters. With `rounded`, noisy images are rounded to 8 bits.
    pub fn draw(
        domain: ColourDomain,
        count: usize,
        clip: bool,
        rounded: bool,
        rng: &mut StdRng,
    ) -> Self {
        let mut column = |draw: &dyn Fn(&mut StdRng) -> f32| {
            let first = draw(rng);
            let values: Vec<f32> =
                (0..count).map(|_| if clip { first } else { draw(rng) }).collect();
            Tensor::from_slice(&values).view([count as i64, 1, 1, 1])
        };
        let within = |range: [f64; 2]| move |rng: &mut StdRng| between(range, rng) as f32;
        Self {
            domain,
            shot: column(&within(SHOT)),
            read: column(&within(READ)),
            soft: column(&|rng| if rng.random_bool(0.5) { 0.0 } else { rng.random() }),
            coding: (domain == ColourDomain::Yuv420 && rng.random_bool(COMPRESSED))
                .then(|| Coding::draw(count, clip, rng)),
            rounded,
        }
    }

    /// Adds sensor noise to RGB images, `[n, 3, height, width]`, values 0 to 255. Each call draws
    /// new noise. Does not compress.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn taken(&self, rgb: &Tensor) -> Result<Tensor, Error> {
        let [shot, read, soft] =
            [&self.shot, &self.read, &self.soft].map(|t| t.to_device(rgb.device()));
        let light = (rgb / 255.0).f_pow_tensor_scalar(GAMMA)?;
        let noise = light.randn_like() * (shot * &light + read.square()).f_sqrt()?;
        let noise = demosaicked(&noise)?;
        let noise = &noise + soft * (blurred(&noise)? * 0.375 - &noise);
        Ok((light + noise).f_clamp(0.0, 1.0)?.f_pow_tensor_scalar(1.0 / GAMMA)? * 255.0)
    }

    /// Adds noise as [`Noise::add`] does. The control maps hold the measured root mean square of
    /// the noise of each image, compression errors included.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn add(&self, rgb: &Tensor) -> Result<Batch, Error> {
        let taken = self.taken(rgb)?;
        let (clean, mut noisy) = (planes(rgb, self.domain)?, planes(&taken, self.domain)?);
        if let Some(coding) = &self.coding {
            noisy = coding.run(&noisy)?;
        }
        if self.rounded {
            noisy = (noisy * 255.0).f_round()?.f_clamp(-128.0, 127.0)? / 255.0;
        }
        let size = clean.size();
        let main = if self.domain == ColourDomain::Rgb { size[1] } else { 4 };
        let error = &noisy - &clean;
        let control = |first: i64, count: i64| -> Result<Tensor, tch::TchError> {
            let variance = error.f_narrow(1, first, count)?.f_square()?.f_mean_dim(
                &[1i64, 2, 3][..],
                true,
                Kind::Float,
            )?;
            (variance.f_sqrt()? * (255.0 * f64::from(CONTROL_PER_LEVEL)))
                .f_expand([size[0], 1, size[2], size[3]], false)
        };
        let mut controls = vec![control(0, main)?];
        if main < size[1] {
            controls.push(control(main, size[1] - main)?);
        }
        Ok(Batch { clean, noisy, controls: Tensor::f_cat(&controls, 1)? })
    }
}

/// Draws a value from a log-uniform distribution between `low` and `high`.
pub fn between([low, high]: [f64; 2], rng: &mut StdRng) -> f64 {
    low * (high / low).powf(rng.random())
}

/// Compression parameters of images in 4:2:0.
struct Coding {
    /// DCT quantiser.
    codec: Codec,
    /// Quantisation steps of each image, `[n, 64, 1, 1]`.
    steps: Tensor,
    /// Fraction of a step from which coefficients are rounded up.
    up: f64,
}

impl Coding {
    /// Draws the parameters of `count` images; with `clip`, the same for all of them.
    fn draw(count: usize, clip: bool, rng: &mut StdRng) -> Self {
        let codec = Codec::new();
        let first = codec.draw(rng);
        let steps: Vec<_> = (0..count)
            .map(|_| if clip { first.shallow_clone() } else { codec.draw(rng) })
            .collect();
        Self { steps: Tensor::cat(&steps, 0), codec, up: rng.random_range(UP) }
    }

    /// Compresses the planes of a 4:2:0 network, `[n, 6, height / 2, width / 2]`.
    fn run(&self, planes: &Tensor) -> Result<Tensor, Error> {
        let steps = self.steps.to_device(planes.device());
        let coded = |plane: &Tensor| -> Result<Tensor, Error> {
            let coded = self.codec.run(&(plane * 255.0 + 128.0), &steps, self.up)?;
            Ok((coded.f_clamp(0.0, 255.0)? - 128.0) / 255.0)
        };
        let luma = coded(&planes.f_narrow(1, 0, 4)?.f_pixel_shuffle(2)?)?.f_pixel_unshuffle(2)?;
        let [u, v] = [4, 5].map(|i| planes.narrow(1, i, 1));
        Ok(Tensor::f_cat(&[luma, coded(&u)?, coded(&v)?], 1)?)
    }
}

/// Applies a Bayer pattern and bilinear demosaicking to noise in R, G and B: each pixel keeps one
/// component, the others are interpolated from its neighbours.
fn demosaicked(noise: &Tensor) -> Result<Tensor, Error> {
    let size = noise.size();
    let tile = |values: [f32; 4]| Tensor::from_slice(&values).view([1, 1, 2, 2]);
    let sites = Tensor::f_cat(
        &[tile([1.0, 0.0, 0.0, 0.0]), tile([0.0, 1.0, 1.0, 0.0]), tile([0.0, 0.0, 0.0, 1.0])],
        1,
    )?;
    let sites = sites.to_device(noise.device()).f_repeat([
        1,
        1,
        size[2].div_euclid(2) + 1,
        size[3].div_euclid(2) + 1,
    ])?;
    let sites = sites.f_narrow(2, 0, size[2])?.f_narrow(3, 0, size[3])?;
    let line = [0.5f32, 1.0, 0.5];
    let cross = |i: usize, j: usize| line[i] * line[j];
    let plus =
        |i: usize, j: usize| [[0.0, 0.25, 0.0], [0.25, 1.0, 0.25], [0.0, 0.25, 0.0f32]][i][j];
    let kernel = |tap: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
        (0..9).map(|i| tap(i / 3, i % 3)).collect()
    };
    let kernels = [kernel(&cross), kernel(&plus), kernel(&cross)].concat();
    let kernels = Tensor::from_slice(&kernels).view([3, 1, 3, 3]).to_device(noise.device());
    let padded = (noise * sites).f_reflection_pad2d([2, 2, 2, 2])?;
    let filtered = padded.f_conv2d(&kernels, None::<Tensor>, [1, 1], [0, 0], [1, 1], 3)?;
    Ok(filtered.f_narrow(2, 1, size[2])?.f_narrow(3, 1, size[3])?)
}

/// Converts RGB images (0 to 255) to the planes of a domain: pixel-unshuffled, `(v - 128) / 255`.
fn planes(rgb: &Tensor, domain: ColourDomain) -> Result<Tensor, Error> {
    let scaled = |x: &Tensor| (x - 128.0) / 255.0;
    match domain {
        ColourDomain::Rgb => Ok(scaled(rgb).f_pixel_unshuffle(2)?),
        ColourDomain::Yuv420 => {
            let luma = luma(rgb)?;
            let u = mix(rgb, [-0.1482, -0.2910, 0.4392], 128.0)?;
            let v = mix(rgb, [0.4392, -0.3678, -0.0714], 128.0)?;
            let chroma = Tensor::f_cat(&[u, v], 1)?.f_avg_pool2d(
                [2, 2],
                [2, 2],
                [0, 0],
                false,
                true,
                None,
            )?;
            Ok(Tensor::f_cat(&[scaled(&luma).f_pixel_unshuffle(2)?, scaled(&chroma)], 1)?)
        }
    }
}

/// Returns luma (16 to 235) of RGB images (0 to 255).
///
/// # Errors
/// Errors of libtorch.
pub fn luma(rgb: &Tensor) -> Result<Tensor, Error> {
    mix(rgb, [0.2568, 0.5041, 0.0979], 16.0)
}

/// Returns the weighted sum of R, G and B plus an offset.
fn mix(rgb: &Tensor, weights: [f64; 3], offset: f64) -> Result<Tensor, Error> {
    let channel = |i: usize| rgb.f_narrow(1, i as i64, 1).map(|c| c * weights[i]);
    Ok(channel(0)? + channel(1)? + channel(2)? + offset)
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

/// Low-pass filters white noise with a 3x3 binomial kernel and normalises it to standard deviation
/// 1.
///
/// # Errors
/// Errors of libtorch.
pub(super) fn blurred(white: &Tensor) -> Result<Tensor, Error> {
    let channels = white.size()[1];
    let line = Tensor::from_slice(&[0.25f32, 0.5, 0.25]).to_device(white.device());
    let kernel = line.f_outer(&line)?.f_view([1, 1, 3, 3])?.f_repeat([channels, 1, 1, 1])?;
    // The standard deviation after the filter is the norm of its taps.
    Ok(white.f_conv2d(&kernel, None::<Tensor>, [1, 1], [1, 1], [1, 1], channels)? / 0.375)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn noise_of_cameras_is_told_and_is_not_white() {
        tch::manual_seed(2);
        let grey = Tensor::full([2, 3, 64, 64], 110.0, (Kind::Float, Device::Cpu));
        let mut rng = StdRng::seed_from_u64(5);
        for domain in [ColourDomain::Yuv420, ColourDomain::Rgb] {
            let batch = Camera::draw(domain, 2, false, false, &mut rng).add(&grey).unwrap();
            let main = if domain == ColourDomain::Rgb { 12 } else { 4 };
            let error = (&batch.noisy - &batch.clean)
                .narrow(0, 0, 1)
                .narrow(1, 0, main)
                .f_pixel_shuffle(2)
                .unwrap()
                * 255.0;
            let variance = |t: &Tensor| t.square().mean(Kind::Float).double_value(&[]);
            let told = f64::from(batch.levels().unwrap()[0]);
            assert!((variance(&error).sqrt() - told).abs() < 0.01 * told, "{domain:?}");
            // For white noise, the variance of neighbour differences is twice that of the noise.
            let across = error.narrow(3, 1, 63) - error.narrow(3, 0, 63);
            let ratio = variance(&across) / variance(&error);
            assert!((0.1..1.7).contains(&ratio), "{domain:?}: {ratio}");
        }
    }
}
