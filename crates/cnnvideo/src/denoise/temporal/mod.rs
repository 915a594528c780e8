//! Temporal fusion: averages each picture with motion-compensated previous pictures where they
//! match.
//!
//! As in Maggioni et al., "Efficient Multi-Stage Video Denoising with Recurrent Spatio-Temporal
//! Fusion" (EMVD, CVPR 2021), each picture is fused with the *fused* previous picture, with weights
//! derived from how far they differ beyond the noise. The remaining noise variance is tracked, and
//! the control maps of the network that removes the rest are scaled by it at each pixel. Here the
//! weight is a Kalman gain computed from local sums of differences, and the previous picture is
//! first motion-compensated. Only previous pictures are used, so fusion adds no latency.

mod compensate;
mod differences;
mod fuse;
mod motion;
mod smoothness;

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use self::motion::{Motion, Pyramid};
use super::noise::NoiseModel;
use crate::{
    frame::{Colour, Fixed, Picture, Sample, levels::levels},
    nn::Threads,
};

/// Least noise sigma, in 8-bit units, for which pictures are fused; for weaker noise the risk of
/// ghosting outweighs the gain.
const LEAST_LEVEL: f32 = 1.0;
/// Share of the picture that must differ for a scene cut.
const CUT: f32 = 0.6;

/// State of temporal fusion for one stream (or one field of interlaced video).
#[derive(Debug, Default)]
pub struct Temporal {
    /// The previous fused picture.
    history: Option<History>,
    /// Memory to reuse for the next picture.
    spare: Option<History>,
    /// Displacement of the current picture's blocks in the previous picture.
    motion: Motion,
    /// Planes of the previous fused picture, motion-compensated.
    compensated: Vec<Array2<Fixed>>,
    /// Remaining noise variance of the previous picture, motion-compensated.
    compensated_variance: Array2<f32>,
    scratch: fuse::Scratch,
}

/// A fused picture with its remaining noise variance.
#[derive(Debug)]
struct History {
    colour: Colour,
    /// Fused planes, one per component.
    planes: Vec<Array2<Fixed>>,
    /// Variance of the remaining noise divided by that of a single picture, one value per 2x2
    /// pixels.
    variance: Array2<f32>,
    /// Pyramid of the fused first component, for motion search.
    pyramid: Pyramid,
}

/// Result of [`Temporal::fuse`]: a picture with less noise.
pub struct Fused<'a> {
    /// The fused picture.
    pub picture: Picture<'a, Fixed>,
    /// Variance of the remaining noise divided by that of a single picture, one value per 2x2
    /// pixels.
    pub variance: &'a Array2<f32>,
}

impl Temporal {
    /// Discards the previous picture; its memory is kept.
    pub fn reset(&mut self) {
        self.spare = self.history.take().or(self.spare.take());
    }

    /// Fuses a picture with the previous fused picture. `noise` is that of luma (or of R, G and B),
    /// then that of chroma. The result is the picture itself after a reset, a scene cut, or a
    /// change of size or colour format, and for luma noise below [`LEAST_LEVEL`].
    pub fn fuse<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        noise: &[NoiseModel; 2],
        threads: &Threads,
    ) -> Fused<'_> {
        let mut current = match self.spare.take() {
            Some(spare) if spare.fits(picture) => spare,
            _ => History::new(picture),
        };
        current.take(picture, threads);
        let fits = self.history.as_ref().is_some_and(|past| past.fits(picture));
        if let Some(past) = self.history.take_if(|_| fits) {
            if noise[0].level >= LEAST_LEVEL {
                let History { planes, pyramid, .. } = &mut current;
                pyramid.build(&planes[0], threads);
                self.motion.search(pyramid, &past.pyramid, noise[0].level, threads);
                self.follow(&past, threads);
                let changed = fuse::fuse(
                    &mut current,
                    &self.compensated,
                    &self.compensated_variance,
                    noise,
                    &mut self.scratch,
                    threads,
                );
                if changed > CUT {
                    current.take(picture, threads);
                }
            }
            self.spare = Some(past);
        }
        current.pyramid.build(&current.planes[0], threads);
        let current = self.history.insert(current);
        let components = current.planes.iter().map(|plane| plane.view()).collect();
        Fused {
            picture: Picture { colour: current.colour, components },
            variance: &current.variance,
        }
    }

    /// Motion-compensates the planes and the variance of the previous picture.
    fn follow(&mut self, past: &History, threads: &Threads) {
        self.compensated.resize_with(past.planes.len(), || Array2::default((0, 0)));
        for (i, (plane, to)) in past.planes.iter().zip(&mut self.compensated).enumerate() {
            compensate::shift(plane, &self.motion, past.colour.shifts(i), to, threads);
        }
        compensate::nearest(&past.variance, &self.motion, &mut self.compensated_variance, threads);
    }
}

impl History {
    /// Allocates memory for pictures like `picture`.
    fn new<T: Sample>(picture: &Picture<'_, T>) -> Self {
        let (width, height) = picture.size();
        Self {
            colour: picture.colour,
            planes: picture.components.iter().map(|c| Array2::default(c.dim())).collect(),
            variance: Array2::ones((height.div_ceil(2), width.div_ceil(2))),
            pyramid: Pyramid::default(),
        }
    }

    /// Returns whether the colour format and all plane sizes match those of `picture`.
    fn fits<T>(&self, picture: &Picture<'_, T>) -> bool {
        self.colour == picture.colour
            && self.planes.iter().zip(&picture.components).all(|(a, b)| a.dim() == b.dim())
    }

    /// Copies a picture and sets the variance to 1.
    fn take<T: Sample>(&mut self, picture: &Picture<'_, T>, threads: &Threads) {
        threads.enter(|| {
            for (plane, component) in self.planes.iter_mut().zip(&picture.components) {
                let rows =
                    plane.axis_iter_mut(Axis(0)).into_par_iter().zip(component.axis_iter(Axis(0)));
                rows.for_each(|(to, from)| {
                    if let Some(to) = to.into_slice() {
                        levels(from, to);
                    }
                });
            }
        });
        self.variance.fill(1.0);
    }
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

    /// A smooth, non-repeating texture, shifted by `(x, y)`, with noise of sigma `level`.
    fn scene(
        width: usize,
        height: usize,
        (x, y): (f32, f32),
        level: f32,
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
            28.0 + 200.0 * ((1.0 - v) * line(j) + v * line(j + 1)) + level * noise
        })
    }

    /// Fuses pictures in sequence. Returns the last fused picture and the mean of its remaining
    /// variance.
    fn fuse_all(
        temporal: &mut Temporal,
        pictures: &[Array2<f32>],
        level: f32,
    ) -> (Array2<f32>, f32) {
        let threads = Threads::new(2).unwrap();
        let mut last = None;
        for plane in pictures {
            let picture = Picture { colour: Colour::Gray, components: vec![plane.view()] };
            let fused = temporal.fuse(&picture, &[NoiseModel::uniform(level); 2], &threads);
            last = Some((
                fused.picture.components[0].mapv(Fixed::level),
                fused.variance.mean().unwrap(),
            ));
        }
        last.unwrap()
    }

    /// Root mean square difference without a border of 32 pixels, where previous pictures have no
    /// matching content.
    fn distance(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
        let (height, width) = a.dim();
        let inner = ndarray::s![32..height - 32, 32..width - 32];
        (&a.slice(inner) - &b.slice(inner)).mapv(|d| d * d).mean().unwrap().sqrt()
    }

    #[test]
    fn noise_falls_as_the_variance_tells() {
        let level = 20.0;
        for velocity in [(0.0, 0.0), (4.0, -2.0), (11.0, 5.0), (0.5, 1.25)] {
            let at = |frame: u64| (velocity.0 * frame as f32, velocity.1 * frame as f32);
            let pictures: Vec<_> = (0..10).map(|i| scene(256, 192, at(i), level, i)).collect();
            let (fused, variance) = fuse_all(&mut Temporal::default(), &pictures, level);
            let left = distance(&fused, &scene(256, 192, at(9), 0.0, 0)) / level;
            assert!(
                left < 0.62 && variance < 0.4,
                "{velocity:?}: {left} of the noise, variance {variance}"
            );
            // Motion errors add to the remaining noise, but not much.
            assert!(
                left * left < variance + 0.1,
                "{velocity:?}: {left} squared, variance {variance}"
            );
        }
    }

    #[test]
    fn another_scene_is_taken_as_it_is() {
        let level = 15.0;
        let mut pictures: Vec<_> = (0..6).map(|i| scene(256, 192, (0.0, 0.0), level, i)).collect();
        pictures.push(scene(256, 192, (5000.0, 3000.0), level, 7));
        let (fused, variance) = fuse_all(&mut Temporal::default(), &pictures, level);
        assert!(
            distance(&fused, &pictures[6]) < 0.02 * level && variance > 0.98,
            "variance {variance}"
        );
    }

    #[test]
    fn a_thing_that_appears_leaves_no_ghost() {
        let level = 10.0;
        let mut pictures: Vec<_> = (0..8).map(|i| scene(256, 192, (0.0, 0.0), level, i)).collect();
        let thing = ndarray::s![80..112, 100..140];
        pictures[7].slice_mut(thing).mapv_inplace(|v| 255.0 - v);
        let (fused, _) = fuse_all(&mut Temporal::default(), &pictures, level);
        let ghost = (&fused.slice(thing) - &pictures[7].slice(thing))
            .mapv(|d| d * d)
            .mean()
            .unwrap()
            .sqrt();
        assert!(ghost < 0.7 * level, "{ghost}");
    }

    #[test]
    fn without_a_past_pictures_stay_as_they_are() {
        let mut temporal = Temporal::default();
        let scene = |width, height, seed| {
            scene(width, height, (0.0, 0.0), 9.0, seed).mapv(|v| Fixed::from_level(v).level())
        };
        let pictures = [scene(64, 48, 1), scene(64, 48, 2)];
        assert_eq!(fuse_all(&mut temporal, &pictures[..1], 9.0), (pictures[0].clone(), 1.0));
        temporal.reset();
        assert_eq!(fuse_all(&mut temporal, &pictures[1..], 9.0), (pictures[1].clone(), 1.0));
        // A change of size resets the state.
        let other = scene(33, 7, 3);
        assert_eq!(fuse_all(&mut temporal, std::slice::from_ref(&other), 9.0).0, other);
    }

    #[test]
    fn small_and_odd_pictures_are_no_trouble() {
        for (width, height) in [(1, 1), (2, 3), (17, 5), (16, 16), (33, 65)] {
            let pictures: Vec<_> =
                (0..3).map(|i| scene(width, height, (i as f32, 0.0), 5.0, i)).collect();
            let (fused, _) = fuse_all(&mut Temporal::default(), &pictures, 5.0);
            assert!(fused.dim() == (height, width) && fused.iter().all(|v| v.is_finite()));
        }
    }
}
