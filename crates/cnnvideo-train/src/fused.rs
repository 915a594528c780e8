// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training data from temporal fusion: frames fused as `cnndenoise` does, with residual noise where
//! objects moved and with errors of motion compensation.

use ndarray::Array2;
use rand::{Rng, rngs::StdRng, seq::index};
use tch::Tensor;

use super::{Error, data::PhotoSet, noise::NoisyBatch};
use cnnvideo::{
    denoise::{ColourDomain, NoiseModel, NoiseModels, temporal::TemporalFusion},
    frame::{Colour, Picture, Sample},
    nn::Threads,
};

/// Range of the number of frames per clip.
const FRAMES: std::ops::RangeInclusive<usize> = 4..=9;
/// Number of frames per clip to train on. The first frame is never used, because it has no previous
/// frames.
const FRAMES_PER_CLIP: usize = 3;

/// Number and size of the images of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchShape {
    /// Number of images.
    pub(crate) count: usize,
    /// Width and height in pixels.
    pub(crate) side: usize,
}

/// Returns fused frames of synthetic clips together with their clean versions.
///
/// `add` adds noise to the frames of a clip, `[frames, 3, side, side]`.
///
/// # Errors
/// Errors of libtorch or of `add`.
pub(crate) fn fused_batch(
    photos: &PhotoSet,
    domain: ColourDomain,
    BatchShape { count, side }: BatchShape,
    add: impl Fn(&Tensor, &mut StdRng) -> Result<NoisyBatch, Error>,
    rng: &mut StdRng,
) -> Result<NoisyBatch, Error> {
    let threads = Threads::new(1)?;
    let colour = match domain {
        ColourDomain::Rgb => Colour::Rgb,
        _ => Colour::Yuv { shift_x: 1, shift_y: 1 },
    };
    let mut parts = Vec::new();
    let mut remaining = count;
    while remaining > 0 {
        let frames = rng.random_range(FRAMES);
        let used_count = FRAMES_PER_CLIP.min(remaining);
        let clip = photos.clip(rng, side, frames);
        let noisy = add(&clip, rng)?;
        let sigmas = noisy.sigmas()?;
        let mut chosen: Vec<_> =
            index::sample(rng, frames - 1, used_count).into_iter().map(|i| i + 1).collect();
        chosen.sort_unstable();
        remaining -= used_count;
        let mut fusion = TemporalFusion::default();
        let [main, chroma] = sigmas.map(NoiseModel::uniform);
        for frame in 0..frames {
            let one = noisy.frame(frame);
            let planes = channels_to_planes(&one.noisy, domain)?;
            let picture =
                Picture { colour, components: planes.iter().map(|plane| plane.view()).collect() };
            let fused = fusion.fuse(&picture, &NoiseModels { main, chroma }, &threads);
            if chosen.contains(&frame) {
                let planes: Vec<_> =
                    fused.picture.components.iter().map(|c| c.mapv(Sample::code_value)).collect();
                parts
                    .push(one.fused(planes_to_channels(&planes, domain)?, &tensor(fused.variance)));
            }
        }
    }
    NoisyBatch::join(&parts)
}

/// Converts the network's channels of one frame to planes, values 0 to 255.
fn channels_to_planes(channels: &Tensor, domain: ColourDomain) -> Result<Vec<Array2<f32>>, Error> {
    let plane = |t: Tensor| -> Result<Array2<f32>, Error> {
        let size = t.size();
        let (height, width) = (size[2] as usize, size[3] as usize);
        let values = Vec::<f32>::try_from((t * 255.0 + 128.0).contiguous().view(-1))?;
        Ok(Array2::from_shape_fn((height, width), |(y, x)| values[y * width + x]))
    };
    let shuffled = |first: i64| Ok::<_, Error>(channels.f_narrow(1, first, 4)?.f_pixel_shuffle(2)?);
    let planes = match domain {
        ColourDomain::Rgb => [shuffled(0)?, shuffled(4)?, shuffled(8)?],
        _ => [shuffled(0)?, channels.f_narrow(1, 4, 1)?, channels.f_narrow(1, 5, 1)?],
    };
    planes.into_iter().map(plane).collect()
}

/// Converts planes to the network's channels, `[1, channels, height / 2, width / 2]`.
fn planes_to_channels(planes: &[Array2<f32>], domain: ColourDomain) -> Result<Tensor, Error> {
    let channels = planes.iter().enumerate().map(|(i, plane)| {
        let plane = (tensor(plane) - 128.0) / 255.0;
        if domain == ColourDomain::Rgb || i == 0 { plane.f_pixel_unshuffle(2) } else { Ok(plane) }
    });
    Ok(Tensor::f_cat(&channels.collect::<Result<Vec<_>, _>>()?, 1)?)
}

/// Converts a plane to a tensor `[1, 1, height, width]`.
fn tensor(plane: &Array2<f32>) -> Tensor {
    let (height, width) = plane.dim();
    let values: Vec<f32> = plane.iter().copied().collect();
    Tensor::from_slice(&values).view([1, 1, height as i64, width as i64])
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use rand::SeedableRng;
    use tch::Kind;

    use super::*;
    use crate::noise::{SampleDepth, SyntheticNoise};
    use cnnvideo::denoise::CONTROL_PER_SIGMA;

    #[test]
    fn fused_frames_have_less_noise_and_matching_control_maps() {
        let photo = RgbImage::from_fn(220, 200, |x, y| {
            let wave = |period: f32| 90.0 * ((x as f32 / period).sin() * (y as f32 / period).cos());
            image::Rgb([23.0, 31.0, 41.0].map(|period| (128.0 + wave(period)) as u8))
        });
        let (photos, sigma) = (PhotoSet(vec![photo]), 20.0);
        for domain in [ColourDomain::Yuv420, ColourDomain::Rgb] {
            tch::manual_seed(1);
            let white = |clip: &Tensor, _: &mut StdRng| {
                SyntheticNoise::white(domain, clip.size()[0] as usize, sigma, SampleDepth::Float)
                    .add(clip)
            };
            let batch = fused_batch(
                &photos,
                domain,
                BatchShape { count: 4, side: 64 },
                white,
                &mut StdRng::seed_from_u64(3),
            )
            .unwrap();
            assert_eq!(batch.noisy.size()[0], 4);
            let luma = |t: &Tensor| t.narrow(1, 0, 4) * 255.0;
            let measured_sigma = (luma(&batch.noisy) - luma(&batch.clean))
                .square()
                .mean(Kind::Float)
                .sqrt()
                .double_value(&[]);
            let map = batch.input().unwrap().narrow(1, domain.signature().io.picture as i64, 1);
            let control_sigma = map.square().mean(Kind::Float).sqrt().double_value(&[])
                / f64::from(CONTROL_PER_SIGMA);
            assert!(
                measured_sigma < 0.85 * sigma && control_sigma < 0.85 * sigma,
                "{domain:?}: measured sigma {measured_sigma}, control map {control_sigma}"
            );
            assert!(
                (measured_sigma - control_sigma).abs() < 0.3 * sigma,
                "{domain:?}: measured sigma {measured_sigma}, control map {control_sigma}"
            );
        }
    }
}
