//! Short clips from photographs: they pan, things move before them, the light changes; and motion that is estimated
//! with errors.

use rand::{Rng, rngs::StdRng};
use tch::{Kind, Tensor};

use super::{Error, PhotoSet};

const FRAMES: usize = 4;
/// Fastest pan in pixels per frame, along each axis.
const FASTEST: i64 = 24;
/// Errors of the estimated motion, as standard deviations in pixels, and how often each is met.
const ERRORS: [(f64, f64); 4] = [(0.0, 0.35), (0.25, 0.35), (0.7, 0.18), (2.5, 0.12)];
/// How often the past shows something else, as after a cut that went unseen.
const UNRELATED: f64 = 0.05;
/// Points across a picture at which errors of the motion are drawn; between them they are interpolated.
const ERROR_POINTS: i64 = 6;

/// Frames of some clips, and where each frame's content was in the one before.
pub struct Clip {
    /// RGB, `[count, 3, side, side]`, values 0 to 255.
    pub frames: Vec<Tensor>,
    /// For each frame, displacements as estimated, `[count, side, side, 2]` in shares of half a side (the units of
    /// `grid_sampler`).
    displacements: Vec<Tensor>,
    unrelated: Vec<bool>,
}

impl Clip {
    /// Draws clips of all kinds from photographs.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn draw(photos: &PhotoSet, count: usize, side: usize, rng: &mut StdRng) -> Result<Self, Error> {
        let room = (FRAMES as i64 - 1) * FASTEST;
        let scenes = photos.patches(rng, count, side + room as usize);
        let side = side as i64;
        let mut frames: Vec<Vec<Tensor>> = (0..FRAMES).map(|_| Vec::new()).collect();
        let mut displacements: Vec<Vec<Tensor>> = (0..FRAMES).map(|_| Vec::new()).collect();
        for i in 0..count as i64 {
            let fastest = [0, 2, 6, FASTEST][rng.random_range(0..4)];
            let velocity: [i64; 2] = std::array::from_fn(|_| rng.random_range(-fastest..=fastest));
            let start = velocity.map(|v| {
                let reach = (FRAMES as i64 - 1) * v;
                rng.random_range((-reach).max(0)..=(room - reach.max(0)).max((-reach).max(0)))
            });
            let scene = scenes.get(i);
            let thing = rng.random_bool(0.4).then(|| Thing::draw(&scenes.get((i + 1) % count as i64), side, rng));
            let dimming = if rng.random_bool(0.15) { rng.random_range(-0.04..0.04) } else { 0.0 };
            let error = pick(&ERRORS, rng);
            for (t, (frames, displacements)) in frames.iter_mut().zip(&mut displacements).enumerate() {
                let [x, y] = [0, 1].map(|axis| start[axis] + t as i64 * velocity[axis]);
                let mut frame = scene.f_narrow(1, y, side)?.f_narrow(2, x, side)?.copy();
                if let Some(thing) = &thing {
                    thing.paint(&mut frame, t as i64)?;
                }
                frames.push((frame * (1.0 + dimming * t as f64)).f_clamp(0.0, 255.0)?);
                let errors =
                    Tensor::f_randn([1, 2, ERROR_POINTS, ERROR_POINTS], (Kind::Float, tch::Device::Cpu))? * error;
                let errors = errors.f_upsample_bilinear2d([side, side], false, None, None)?.f_permute([0, 2, 3, 1])?;
                let velocity = Tensor::from_slice(&velocity).to_kind(Kind::Float);
                displacements.push((errors + velocity).f_squeeze_dim(0)? * (2.0 / side as f64));
            }
        }
        let stack =
            |lists: Vec<Vec<Tensor>>| lists.iter().map(|list| Tensor::f_stack(list, 0)).collect::<Result<Vec<_>, _>>();
        let unrelated = (0..count).map(|_| rng.random_bool(UNRELATED)).collect();
        Ok(Self { frames: stack(frames)?, displacements: stack(displacements)?, unrelated })
    }

    /// Slow pans over the middle of pictures, with motion that is known up to a quarter of a pixel.
    pub fn panning(rgb: &Tensor, side: usize) -> Self {
        let (count, side) = (rgb.size()[0], side as i64);
        let frame = |t: usize| rgb.narrow(2, 40 + t as i64, side).narrow(3, 40 + 3 * t as i64, side);
        let displacement = Tensor::from_slice(&[3.25f32, 0.85]) * (2.0 / side as f64);
        let displacement = displacement.view([1, 1, 1, 2]).expand([count, side, side, 2], false);
        Self {
            frames: (0..FRAMES).map(frame).collect(),
            displacements: (0..FRAMES).map(|_| displacement.shallow_clone()).collect(),
            unrelated: vec![false; count as usize],
        }
    }

    /// Shifts the planes that were made of the frame before to where things are in frame `number`.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn align(&self, past: &Tensor, number: usize) -> Result<Tensor, Error> {
        let displacement = &self.displacements[number];
        let (count, side) = (displacement.size()[0], displacement.size()[1]);
        let along = |side: i64| (Tensor::arange(side, (Kind::Float, tch::Device::Cpu)) * 2.0 + 1.0) / side as f64 - 1.0;
        let x = along(side).view([1, 1, side]).expand([count, side, side], false);
        let y = along(side).view([1, side, 1]).expand([count, side, side], false);
        let grid = Tensor::f_stack(&[x, y], 3)? + displacement;
        let coarse = grid.f_permute([0, 3, 1, 2])?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
        let coarse = coarse.f_permute([0, 2, 3, 1])?;
        let luma = past.narrow(1, 0, 4).f_pixel_shuffle(2)?;
        // Cubic interpolation, edges repeated: as the element does.
        let shift = |planes: &Tensor, grid: &Tensor| planes.f_contiguous()?.f_grid_sampler(grid, 2, 1, false);
        let luma = shift(&luma, &grid)?.f_pixel_unshuffle(2)?;
        let chroma = shift(&past.narrow(1, 4, 2), &coarse)?;
        let aligned = Tensor::f_cat(&[luma, chroma], 1)?;
        for (i, _) in self.unrelated.iter().enumerate().filter(|(_, unrelated)| **unrelated) {
            let other = past.get((i as i64 + 1) % count);
            aligned.get(i as i64).f_copy_(&other)?;
        }
        Ok(aligned)
    }
}

/// Something that moves before the scene.
struct Thing {
    picture: Tensor,
    place: [i64; 2],
    velocity: [i64; 2],
}

impl Thing {
    fn draw(scene: &Tensor, side: i64, rng: &mut StdRng) -> Self {
        let size: [i64; 2] = std::array::from_fn(|_| rng.random_range(side / 6..side / 2));
        let picture = scene.narrow(1, 0, size[1]).narrow(2, 0, size[0]);
        let place = size.map(|size| rng.random_range(0..side - size));
        let velocity = std::array::from_fn(|_| rng.random_range(-12..=12));
        Self { picture, place, velocity }
    }

    fn paint(&self, frame: &mut Tensor, t: i64) -> Result<(), Error> {
        let size = frame.size();
        // What of it lies inside: first and end in the frame, and first in the thing.
        let inside = |axis: usize, length: i64, own: i64| {
            let place = self.place[axis] + t * self.velocity[axis];
            let (first, end) = (place.max(0), (place + own).min(length));
            (first, end - first, first - place)
        };
        let own = self.picture.size();
        let ((x, width, from_x), (y, height, from_y)) = (inside(0, size[2], own[2]), inside(1, size[1], own[1]));
        if width > 0 && height > 0 {
            let part = self.picture.f_narrow(1, from_y, height)?.f_narrow(2, from_x, width)?;
            frame.f_narrow(1, y, height)?.f_narrow(2, x, width)?.f_copy_(&part)?;
        }
        Ok(())
    }
}

/// One of some values, by how often each is met.
fn pick(values: &[(f64, f64)], rng: &mut StdRng) -> f64 {
    let mut left: f64 = rng.random();
    for (value, share) in values {
        left -= share;
        if left < 0.0 {
            return *value;
        }
    }
    values.last().map_or(0.0, |(value, _)| *value)
}
