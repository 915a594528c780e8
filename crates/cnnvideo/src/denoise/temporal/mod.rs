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
    /// The last fused picture. The next one reuses its memory.
    fused: Option<FusedBuffers>,
    /// Whether the next picture is fused with the last one.
    continues: bool,
    /// Pyramid of the current picture's first component.
    pyramid: SearchPyramid,
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
    /// Returns a picture without corrections, for tests.
    #[cfg(test)]
    pub(super) fn of_picture<'b>(
        picture: Picture<'b, FixedSample>,
        variance: &'b Array2<f32>,
    ) -> FusedPicture<'b> {
        FusedPicture { picture, variance, corrections: Corrections::default() }
    }

    /// Returns another picture with the same corrections, for example a part of this one.
    pub(super) fn with_picture<'b>(
        &self,
        picture: Picture<'b, FixedSample>,
        variance: &'b Array2<f32>,
    ) -> FusedPicture<'b> {
        FusedPicture { picture, variance, corrections: self.corrections }
    }

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
        self.continues = false;
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
        let (mut fused, continues) = match self.fused.take() {
            Some(fused) if fused.fits(picture) => (fused, self.continues),
            _ => (FusedBuffers::new(picture), false),
        };
        if continues && noise.main.sigma >= MIN_FUSION_SIGMA {
            self.pyramid.build_of_picture(picture, threads);
            self.motion.search(&self.pyramid, &fused.pyramid, noise.main.sigma, threads);
            self.compensate(&fused, threads);
            fused.load(picture, threads);
            let compensated = Compensated {
                colour: picture.colour,
                planes: &self.compensated,
                variance: &self.compensated_variance,
                drift: &self.compensated_drift,
                kinds: &self.motion.kinds,
                is_camera_static: self.motion.is_camera_static,
            };
            let Self { measured, maps, .. } = self;
            let changed = fuse::fuse(&mut fused, &compensated, noise, measured, maps, threads);
            if changed > SCENE_CUT_SHARE {
                fused.load(picture, threads);
                self.motion.reset();
                self.measured = MeasuredNoise::default();
            }
        } else {
            fused.load(picture, threads);
        }
        fused.pyramid.build(&fused.planes[0], threads);
        self.continues = true;
        let current = self.fused.insert(fused);
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
mod tests;
