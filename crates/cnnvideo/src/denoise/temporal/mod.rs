// SPDX-License-Identifier: MIT OR Apache-2.0

//! Temporal fusion: averages each picture with motion-compensated previous pictures where they
//! match.
//!
//! As in Maggioni et al., "Efficient Multi-Stage Video Denoising with Recurrent Spatio-Temporal
//! Fusion" (EMVD, CVPR 2021), each picture is fused with the *fused* previous picture, with weights
//! derived from how far they differ beyond the noise. The remaining noise variance is tracked, and
//! the control maps of the network that removes the rest are scaled by it at each pixel. Here the
//! weight is a Kalman gain computed from local sums of differences, and the previous picture is
//! first motion-compensated. [`TemporalFusion`] uses previous pictures only and adds no latency;
//! [`Lookahead`] adds future ones.

mod block_kinds;
mod box_mean;
mod compensate;
mod differences;
mod energy;
mod fuse;
mod gain;
mod interpolation;
mod lookahead;
mod motion;
mod regularise;
mod slow_motion;
mod statistics;

use ndarray::{Array2, Axis};
use rayon::prelude::*;

pub use self::lookahead::Lookahead;
use self::{
    block_kinds::BlockKind,
    energy::DifferenceMaps,
    motion::{Motion, SearchPyramid},
    statistics::{Corrections, MeasuredNoise},
};
use super::{NoiseModel, NoiseModels};
use crate::{
    frame::{Colour, FixedSample, Picture, Sample, convert::convert_row},
    nn::Threads,
};

/// Least noise sigma, in 8-bit units, for which pictures are fused; for weaker noise the risk of
/// ghosting outweighs the gain.
const MIN_FUSION_SIGMA: f32 = 0.6;
/// Share of the picture that must differ for a scene cut.
const SCENE_CUT_SHARE: f32 = 0.6;

/// Reason why rows of planes and maps can be viewed as slices.
const CONTIGUOUS: &str = "rows of own planes and maps are contiguous";

/// State of temporal fusion for one stream (or one field of interlaced video).
#[derive(Debug, Default)]
pub struct TemporalFusion {
    /// The previous fused picture.
    previous: Option<FusedBuffers>,
    /// Memory to reuse for the next picture.
    spare: Option<FusedBuffers>,
    /// Displacement of the current picture's blocks in the previous picture.
    motion: Motion,
    /// Planes of the previous fused picture, motion-compensated.
    compensated: Vec<Array2<FixedSample>>,
    /// Remaining noise variance of the previous picture, motion-compensated.
    compensated_variance: Array2<f32>,
    /// Drift of the previous picture, zero in moving blocks.
    compensated_drift: Array2<f32>,
    maps: DifferenceMaps,
    /// Noise statistics of still blocks.
    measured: MeasuredNoise,
}

/// Memory of a fused picture and of its remaining noise variance.
#[derive(Debug)]
struct FusedBuffers {
    colour: Colour,
    /// Fused planes, one per component.
    planes: Vec<Array2<FixedSample>>,
    /// Variance of the remaining noise divided by that of a single picture, one value per 2x2
    /// pixels.
    variance: Array2<f32>,
    /// Remaining [`DifferenceMaps::drift`].
    drift: Array2<f32>,
    /// Pyramid of the fused first component, for motion search.
    pyramid: SearchPyramid,
}

/// The motion-compensated previous picture.
#[derive(Clone, Copy)]
struct Compensated<'a> {
    colour: Colour,
    planes: &'a [Array2<FixedSample>],
    /// Remaining noise variance, as in [`FusedBuffers`].
    variance: &'a Array2<f32>,
    /// Drift, as in [`FusedBuffers`].
    drift: &'a Array2<f32>,
    /// Kind of each block.
    kinds: &'a Array2<BlockKind>,
    /// Whether the camera stands still.
    is_camera_static: bool,
}

/// Result of [`TemporalFusion::fuse`]: a picture with less noise.
pub struct FusedPicture<'a> {
    /// The fused picture.
    pub picture: Picture<'a, FixedSample>,
    /// Variance of the remaining noise divided by that of a single picture, one value per 2x2
    /// pixels.
    pub variance: &'a Array2<f32>,
    /// Measured corrections of the main noise.
    corrections: Corrections,
}

/// Largest factor of a measurement on the estimated sigma.
const MAX_NOISE_FACTOR: f32 = 3.0;

impl FusedPicture<'_> {
    /// Returns the factor on the main noise sigma at a brightness that differences between pictures
    /// show. It is at least 1: where compression repeats the noise of a picture, the differences
    /// are smaller than the noise.
    pub fn noise_factor(&self, brightness: f32) -> f32 {
        self.corrections.at(brightness).sqrt().clamp(1.0, MAX_NOISE_FACTOR)
    }
}

impl TemporalFusion {
    /// Discards the previous picture; its memory is kept.
    pub fn reset(&mut self) {
        self.restart();
        self.measured = MeasuredNoise::default();
    }

    /// Discards the previous picture, but keeps what is known about the noise: the next picture is
    /// another one of the same scene.
    fn restart(&mut self) {
        self.spare = self.previous.take().or(self.spare.take());
        self.motion.reset();
    }

    /// Fuses a picture with the previous fused picture; `noise` is that of the picture.
    ///
    /// The result is the picture itself after a reset, a scene cut, or a change of size or colour
    /// format, and for a main noise sigma below 1.
    pub fn fuse<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        noise: &NoiseModels,
        threads: &Threads,
    ) -> FusedPicture<'_> {
        let mut current = match self.spare.take() {
            Some(spare) if spare.fits(picture) => spare,
            _ => FusedBuffers::new(picture),
        };
        current.load(picture, threads);
        let fits = self.previous.as_ref().is_some_and(|previous| previous.fits(picture));
        if let Some(previous) = self.previous.take_if(|_| fits) {
            if noise.main.sigma >= MIN_FUSION_SIGMA {
                let FusedBuffers { planes, pyramid, .. } = &mut current;
                pyramid.build(&planes[0], threads);
                self.motion.search(pyramid, &previous.pyramid, noise.main.sigma, threads);
                self.compensate(&previous, threads);
                let compensated = Compensated {
                    colour: previous.colour,
                    planes: &self.compensated,
                    variance: &self.compensated_variance,
                    drift: &self.compensated_drift,
                    kinds: &self.motion.kinds,
                    is_camera_static: self.motion.is_camera_static,
                };
                let Self { measured, maps, .. } = self;
                let changed =
                    fuse::fuse(&mut current, &compensated, noise, measured, maps, threads);
                if changed > SCENE_CUT_SHARE {
                    current.load(picture, threads);
                    self.motion.reset();
                    self.measured = MeasuredNoise::default();
                }
            }
            self.spare = Some(previous);
        }
        current.pyramid.build(&current.planes[0], threads);
        let current = self.previous.insert(current);
        let components = current.planes.iter().map(|plane| plane.view()).collect();
        FusedPicture {
            picture: Picture { colour: current.colour, components },
            variance: &current.variance,
            corrections: self.measured.main,
        }
    }

    /// Motion-compensates the planes and the variance of the previous picture.
    fn compensate(&mut self, previous: &FusedBuffers, threads: &Threads) {
        self.compensated.resize_with(previous.planes.len(), || Array2::default((0, 0)));
        for (i, (plane, to)) in previous.planes.iter().zip(&mut self.compensated).enumerate() {
            compensate::compensate_plane(
                plane,
                &self.motion,
                previous.colour.subsampling(i),
                to,
                threads,
            );
        }
        compensate::compensate_map(
            &previous.variance,
            &self.motion,
            &mut self.compensated_variance,
            threads,
        );
        compensate::still_map(&previous.drift, &self.motion, &mut self.compensated_drift, threads);
    }
}

impl FusedBuffers {
    /// Allocates memory for pictures like `picture`.
    fn new<T: Sample>(picture: &Picture<'_, T>) -> Self {
        let (width, height) = picture.size();
        Self {
            colour: picture.colour,
            planes: picture.components.iter().map(|c| Array2::default(c.dim())).collect(),
            variance: Array2::ones((height.div_ceil(2), width.div_ceil(2))),
            drift: Array2::zeros((height.div_ceil(2), width.div_ceil(2))),
            pyramid: SearchPyramid::default(),
        }
    }

    /// Returns whether the colour format and all plane sizes match those of `picture`.
    fn fits<T>(&self, picture: &Picture<'_, T>) -> bool {
        self.colour == picture.colour
            && self.planes.iter().zip(&picture.components).all(|(a, b)| a.dim() == b.dim())
    }

    /// Copies a picture and sets the variance to 1.
    fn load<T: Sample>(&mut self, picture: &Picture<'_, T>, threads: &Threads) {
        load_planes(&mut self.planes, picture, threads);
        self.variance.fill(1.0);
        self.drift.fill(0.0);
    }
}

/// Copies the components of a picture to planes of the same sizes.
fn load_planes<T: Sample>(
    planes: &mut [Array2<FixedSample>],
    picture: &Picture<'_, T>,
    threads: &Threads,
) {
    threads.enter(|| {
        for (plane, component) in planes.iter_mut().zip(&picture.components) {
            let rows =
                plane.axis_iter_mut(Axis(0)).into_par_iter().zip(component.axis_iter(Axis(0)));
            rows.for_each(|(to, from)| convert_row(from, to.into_slice().expect(CONTIGUOUS)));
        }
    });
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// A hash of a lattice point as a pseudo-random value from 0 to 1.
    fn random(x: i32, y: i32) -> f32 {
        let hash = (x as u32).wrapping_mul(0x9e37_79b9) ^ (y as u32).wrapping_mul(0x85eb_ca6b);
        let hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
        ((hash ^ (hash >> 13)) & 0xffff) as f32 / 65536.0
    }

    /// A smooth, non-repeating texture, shifted by `(x, y)`, with noise of sigma `sigma`.
    fn scene(
        width: usize,
        height: usize,
        (x, y): (f32, f32),
        sigma: f32,
        seed: u64,
    ) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        Array2::from_shape_fn((height, width), |(row, column)| {
            let (x, y) = ((column as f32 + x) / 9.0, (row as f32 + y) / 9.0);
            let (i, j) = (x.floor(), y.floor());
            let (u, v) = (ease(x - i), ease(y - j));
            let (i, j) = (i as i32, j as i32);
            let line = |j: i32| (1.0 - u) * random(i, j) + u * random(i + 1, j);
            let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
            28.0 + 200.0 * ((1.0 - v) * line(j) + v * line(j + 1)) + sigma * noise
        })
    }

    /// Fuses pictures in sequence. Returns the last fused picture and the mean of its remaining
    /// variance.
    fn fuse_all(
        fusion: &mut TemporalFusion,
        pictures: &[Array2<f32>],
        sigma: f32,
    ) -> (Array2<f32>, f32) {
        let threads = Threads::new(2).unwrap();
        let main = NoiseModel::uniform(sigma);
        let noise = NoiseModels { main, chroma: main };
        let mut last = None;
        for plane in pictures {
            let picture = Picture { colour: Colour::Gray, components: vec![plane.view()] };
            let fused = fusion.fuse(&picture, &noise, &threads);
            last = Some((
                fused.picture.components[0].mapv(FixedSample::code_value),
                fused.variance.mean().unwrap(),
            ));
        }
        last.unwrap()
    }

    /// Root mean square difference without a border of 32 pixels, where previous pictures have no
    /// matching content.
    fn rms_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
        let (height, width) = a.dim();
        let inner = ndarray::s![32..height - 32, 32..width - 32];
        (&a.slice(inner) - &b.slice(inner)).mapv(|d| d * d).mean().unwrap().sqrt()
    }

    #[test]
    fn remaining_noise_matches_variance() {
        let sigma = 20.0;
        for velocity in [(0.0, 0.0), (4.0, -2.0), (11.0, 5.0), (0.5, 1.25)] {
            let at = |frame: u64| (velocity.0 * frame as f32, velocity.1 * frame as f32);
            let pictures: Vec<_> = (0..10).map(|i| scene(256, 192, at(i), sigma, i)).collect();
            let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
            let remaining = rms_difference(&fused, &scene(256, 192, at(9), 0.0, 0)) / sigma;
            assert!(
                remaining < 0.62 && variance < 0.4,
                "{velocity:?}: {remaining} of the noise, variance {variance}"
            );
            // Motion errors add to the remaining noise, but not much.
            assert!(
                remaining * remaining < variance + 0.1,
                "{velocity:?}: {remaining} squared, variance {variance}"
            );
        }
    }

    #[test]
    fn still_scene_is_averaged_like_a_plain_mean() {
        let sigma = 15.0;
        let clean = scene(256, 192, (0.0, 0.0), 0.0, 0);
        // White noise, and noise whose neighbours are correlated and whose sigma is underestimated.
        for (correlated, assumed) in [(false, sigma), (true, 0.6 * sigma)] {
            let pictures: Vec<_> = (0..30)
                .map(|i| {
                    let noise =
                        scene(258, 194, (0.0, 0.0), sigma, i) - scene(258, 194, (0.0, 0.0), 0.0, 0);
                    let mean = |y: usize, x: usize| {
                        let square = noise.slice(ndarray::s![y..y + 2, x..x + 2]);
                        if correlated { 2.0 * square.mean().unwrap() } else { noise[[y, x]] }
                    };
                    Array2::from_shape_fn(clean.dim(), |(y, x)| clean[[y, x]] + mean(y, x))
                })
                .collect();
            let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, assumed);
            let remaining = (rms_difference(&fused, &clean) / sigma).powi(2);
            assert!(
                remaining < 1.3 / 30.0 && variance < 1.5 / 30.0,
                "correlated {correlated}: {remaining} of the noise variance, assumed {variance}"
            );
        }
    }

    #[test]
    fn motion_in_a_still_scene_leaves_no_trail() {
        let sigma = 10.0;
        let object = scene(40, 40, (900.0, 40.0), 0.0, 0).mapv(|v| 255.0 - v);
        let at = |frame: usize| {
            let mut picture = scene(256, 192, (0.0, 0.0), sigma, frame as u64);
            let clean = scene(256, 192, (0.0, 0.0), 0.0, 0);
            let mut truth = clean;
            if frame >= 24 {
                let x = 40 + 3 * (frame - 24);
                let place = ndarray::s![70..110, x..x + 40];
                let noise = &picture.slice(place) - &truth.slice(place);
                truth.slice_mut(place).assign(&object);
                picture.slice_mut(place).assign(&(&object + &noise));
            }
            (picture, truth)
        };
        let frames: Vec<_> = (0..34).map(at).collect();
        let pictures: Vec<_> = frames.iter().map(|(picture, _)| picture.clone()).collect();
        let (fused, _) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
        // What the object has covered and uncovered again.
        let trail = ndarray::s![70..110, 40..64];
        let error = &fused.slice(trail) - &frames[33].1.slice(trail);
        let error = error.mapv(|d| d * d).mean().unwrap().sqrt();
        assert!(error < 0.95 * sigma, "{error}");
    }

    #[test]
    fn scene_cut_is_not_fused() {
        let sigma = 15.0;
        let mut pictures: Vec<_> = (0..6).map(|i| scene(256, 192, (0.0, 0.0), sigma, i)).collect();
        pictures.push(scene(256, 192, (5000.0, 3000.0), sigma, 7));
        let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
        assert!(
            rms_difference(&fused, &pictures[6]) < 0.02 * sigma && variance > 0.98,
            "variance {variance}"
        );
    }

    #[test]
    fn appearing_object_leaves_no_ghost() {
        let sigma = 10.0;
        let mut pictures: Vec<_> = (0..8).map(|i| scene(256, 192, (0.0, 0.0), sigma, i)).collect();
        let object = ndarray::s![80..112, 100..140];
        pictures[7].slice_mut(object).mapv_inplace(|v| 255.0 - v);
        let (fused, _) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
        let ghost = (&fused.slice(object) - &pictures[7].slice(object))
            .mapv(|d| d * d)
            .mean()
            .unwrap()
            .sqrt();
        assert!(ghost < 0.7 * sigma, "{ghost}");
    }

    #[test]
    fn first_picture_is_unchanged() {
        let mut fusion = TemporalFusion::default();
        let scene = |width, height, seed| {
            scene(width, height, (0.0, 0.0), 9.0, seed)
                .mapv(|v| FixedSample::from_code_value(v).code_value())
        };
        let pictures = [scene(64, 48, 1), scene(64, 48, 2)];
        assert_eq!(fuse_all(&mut fusion, &pictures[..1], 9.0), (pictures[0].clone(), 1.0));
        fusion.reset();
        assert_eq!(fuse_all(&mut fusion, &pictures[1..], 9.0), (pictures[1].clone(), 1.0));
        // A change of size resets the state.
        let other = scene(33, 7, 3);
        assert_eq!(fuse_all(&mut fusion, std::slice::from_ref(&other), 9.0).0, other);
    }

    #[test]
    fn small_and_odd_sizes_are_fused() {
        for (width, height) in [(1, 1), (2, 3), (17, 5), (16, 16), (33, 65)] {
            let pictures: Vec<_> =
                (0..3).map(|i| scene(width, height, (i as f32, 0.0), 5.0, i)).collect();
            let (fused, _) = fuse_all(&mut TemporalFusion::default(), &pictures, 5.0);
            assert!(fused.dim() == (height, width) && fused.iter().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn flat_areas_of_a_still_scene_are_averaged() {
        for sigma in [1.0, 2.5, 6.0] {
            let clean = Array2::from_shape_fn((160, 256), |(_, x)| 60.0 + x as f32 / 32.0);
            let pictures: Vec<_> = (0..12)
                .map(|i| {
                    let mut rng = StdRng::seed_from_u64(i);
                    clean.mapv(|value| {
                        let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
                        (value + sigma * noise).round()
                    })
                })
                .collect();
            // The noise may be underestimated.
            for assumed in [sigma, 0.65 * sigma] {
                let (fused, variance) =
                    fuse_all(&mut TemporalFusion::default(), &pictures, assumed);
                let remaining = (rms_difference(&fused, &clean) / sigma).powi(2);
                assert!(
                    remaining < 1.5 / 12.0 && variance < 1.5 / 12.0,
                    "{sigma}, {assumed}: {remaining} of the noise variance, assumed {variance}"
                );
            }
        }
    }

    #[test]
    fn smooth_content_that_moves_slowly_is_not_averaged_away() {
        let sigma = 20.0;
        for speed in [0.25f32, 0.5, 1.0, 2.0, 5.0] {
            let clean = |frame: usize| {
                Array2::from_shape_fn((160, 256), |(y, x)| {
                    let (x, y) = (x as f32 + speed * frame as f32, y as f32);
                    120.0
                        + 40.0 * (x * 0.21).sin() * (y * 0.17).cos()
                        + 25.0 * (x * 0.043 + y * 0.11).sin()
                })
            };
            let pictures: Vec<_> = (0..14)
                .map(|i| {
                    let mut rng = StdRng::seed_from_u64(i as u64);
                    clean(i).mapv(|value| {
                        let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
                        value + sigma * noise
                    })
                })
                .collect();
            let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
            let remaining = (rms_difference(&fused, &clean(13)) / sigma).powi(2);
            assert!(
                remaining < variance + 0.1 && remaining < 0.4,
                "{speed} pixels a frame: {remaining} of the noise variance, assumed {variance}"
            );
        }
    }
}
