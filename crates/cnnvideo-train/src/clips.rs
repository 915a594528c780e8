// SPDX-License-Identifier: MIT OR Apache-2.0

//! Synthetic video clips from photographs: pan, zoom, rotation, surfaces that deform, occluding
//! objects, changes of light, scene cuts.

use image::RgbImage;
use rand::{Rng, rngs::StdRng};

use cnnvideo::frame::training::catmull_rom_weights;

/// Probability that the camera rests.
const REST_PROBABILITY: f64 = 0.25;
/// Probability that the camera moves fast, with a speed between the two [`SPEEDS`].
const FAST_PROBABILITY: f64 = 0.3;
/// Speeds in pixels per frame: upper limit of slow motion, upper limit of fast motion.
const SPEEDS: [f32; 2] = [2.0, 8.0];
/// Probability that the camera is hand-held.
const HAND_HELD_PROBABILITY: f64 = 0.4;
/// Strength of the shake of a hand-held camera in pixels per frame: the offset is uniform within
/// 1.7 times this value.
const SHAKE: f32 = 0.5;
/// Range of the scale factor in photograph pixels per clip pixel. Mostly above 1, because
/// downscaling compensates for the blur of interpolation.
const PHOTO_SCALE: std::ops::Range<f32> = 0.9..1.6;
/// Maximum number of occluding objects in a scene.
const MAX_OBJECTS: usize = 2;
/// Probability of a scene cut within a clip.
const CUT_PROBABILITY: f64 = 0.06;
/// Probability that the brightness changes linearly over a clip.
const LIGHT_CHANGE_PROBABILITY: f64 = 0.15;

/// Returns the square frames of a clip. Each frame is a row-major sequence of R, G, B values from 0
/// to 255.
pub(crate) fn clip(
    photos: &[RgbImage],
    side: usize,
    frames: usize,
    rng: &mut StdRng,
) -> Vec<Vec<f32>> {
    let mut scene = Scene::draw(photos, side, rng);
    let cut = rng.random_bool(CUT_PROBABILITY).then(|| rng.random_range(0..frames));
    let light = if rng.random_bool(LIGHT_CHANGE_PROBABILITY) {
        rng.random_range(-0.02..0.02f32)
    } else {
        0.0
    };
    (0..frames)
        .map(|number| {
            if Some(number) == cut {
                scene = Scene::draw(photos, side, rng);
            }
            let gain = 1.0 + light * number as f32;
            scene
                .frame(number as f32, side, rng)
                .into_iter()
                .flatten()
                .map(|v| (gain * v).clamp(0.0, 255.0))
                .collect()
        })
        .collect()
}

/// A background surface and the objects in front of it.
struct Scene<'a> {
    /// Background first, then the objects from back to front.
    surfaces: Vec<Surface<'a>>,
    /// Strength of the camera shake in pixels, 0 for none; see [`SHAKE`].
    shake: f32,
}

impl<'a> Scene<'a> {
    /// Draws a random scene for frames of `side` x `side` pixels.
    fn draw(photos: &'a [RgbImage], side: usize, rng: &mut StdRng) -> Self {
        let mut surfaces = vec![Surface::draw(photos, side, rng)];
        for _ in 0..rng.random_range(0..=MAX_OBJECTS) {
            let outline = Outline {
                centre: std::array::from_fn(|_| side as f32 * rng.random_range(-0.4..0.4)),
                radii: std::array::from_fn(|_| side as f32 * rng.random_range(0.08..0.35)),
                waves: (rng.random_range(2..7) as f32, rng.random_range(0.0..0.3)),
            };
            surfaces.push(Surface { outline: Some(outline), ..Surface::draw(photos, side, rng) });
        }
        Self { surfaces, shake: if rng.random_bool(HAND_HELD_PROBABILITY) { SHAKE } else { 0.0 } }
    }

    /// Renders the frame at `time` (frame number).
    fn frame(&self, time: f32, side: usize, rng: &mut StdRng) -> Vec<[f32; 3]> {
        let centre = side as f32 / 2.0;
        let shake = [0, 1].map(|_| self.shake * rng.random_range(-1.7..1.7f32));
        let mut pixels = vec![[0.0; 3]; side * side];
        for surface in &self.surfaces {
            let view = surface.at(time);
            for (i, pixel) in pixels.iter_mut().enumerate() {
                let place =
                    [(i % side) as f32 - centre - shake[0], (i / side) as f32 - centre - shake[1]];
                view.paint(place, pixel);
            }
        }
        pixels
    }
}

/// A photograph that moves across the frame.
struct Surface<'a> {
    photo: &'a RgbImage,
    /// Position in the photograph at the centre of the first frame, in photograph pixels.
    origin: [f32; 2],
    /// Scale in photograph pixels per clip pixel.
    scale: f32,
    /// Factor by which the scale changes per frame.
    zoom: f32,
    /// Rotation in the first frame in radians.
    angle: f32,
    /// Rotation per frame in radians.
    rotation: f32,
    /// Translation in clip pixels per frame.
    velocity: [f32; 2],
    deformation: Deformation,
    /// Visible part of the surface; `None` for the background, which covers the whole frame.
    outline: Option<Outline>,
}

/// A sinusoidal deformation of a surface.
#[derive(Clone, Copy)]
struct Deformation {
    /// Amplitude in pixels, 0 for none.
    amplitude: f32,
    /// Angular frequency vectors of the two waves (horizontal, vertical displacement) in radians
    /// per pixel.
    waves: [[f32; 2]; 2],
    /// Phases in the first frame in radians.
    start: [f32; 2],
    /// Phase changes per frame in radians.
    motion: [f32; 2],
}

/// The outline of an object: an ellipse with a wavy edge.
#[derive(Clone, Copy)]
struct Outline {
    /// Centre in clip pixels, relative to the centre of the frame.
    centre: [f32; 2],
    /// Semi-axes in pixels.
    radii: [f32; 2],
    /// Number of waves along the edge, and their height as a share of the radius.
    waves: (f32, f32),
}

impl<'a> Surface<'a> {
    /// Draws a photograph and its motion for frames of `side` x `side` pixels.
    fn draw(photos: &'a [RgbImage], side: usize, rng: &mut StdRng) -> Self {
        let photo = &photos[rng.random_range(0..photos.len())];
        let scale = rng.random_range(PHOTO_SCALE);
        // Keeps the first frame inside the photograph; beyond its edges the photograph is mirrored.
        let inside = |length: u32, rng: &mut StdRng| {
            let (length, reach) = (length as f32, scale * side as f32 / 2.0);
            if length > 2.0 * reach {
                rng.random_range(reach..length - reach)
            } else {
                length / 2.0
            }
        };
        let origin = [inside(photo.width(), rng), inside(photo.height(), rng)];
        let speed = match rng.random::<f64>() {
            v if v < REST_PROBABILITY => 0.0,
            v if v < REST_PROBABILITY + FAST_PROBABILITY => rng.random_range(SPEEDS[0]..SPEEDS[1]),
            _ => rng.random_range(0.0..SPEEDS[0]),
        };
        let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
        let (mut zoom, mut rotation) = (1.0, 0.0);
        if rng.random_bool(0.3) {
            zoom = rng.random_range(0.985..1.015);
        }
        if rng.random_bool(0.3) {
            rotation = rng.random_range(-0.02..0.02);
        }
        let amplitude = if rng.random_bool(0.4) { rng.random_range(0.3..3.0) } else { 0.0 };
        let mut phase = |limit: f32| std::array::from_fn(|_| rng.random_range(-limit..limit));
        let deformation = Deformation {
            amplitude,
            waves: [phase(0.1), phase(0.1)],
            start: phase(3.1),
            motion: phase(0.8),
        };
        let angle = if rng.random_bool(0.5) { rng.random_range(-3.1..3.1) } else { 0.0 };
        Self {
            photo,
            origin,
            scale,
            zoom,
            angle,
            rotation,
            velocity: [speed * cos, speed * sin],
            deformation,
            outline: None,
        }
    }

    /// Returns the geometry of the surface at `time` (frame number).
    fn at(&self, time: f32) -> View<'_> {
        let scale = self.scale * self.zoom.powf(time);
        let (sin, cos) = (self.angle + self.rotation * time).sin_cos();
        View {
            surface: self,
            offset: self.velocity.map(|v| v * time),
            matrix: [[scale * cos, -scale * sin], [scale * sin, scale * cos]],
            phase: std::array::from_fn(|i| {
                self.deformation.start[i] + self.deformation.motion[i] * time
            }),
        }
    }
}

/// The geometry of a surface at one point in time.
struct View<'a> {
    surface: &'a Surface<'a>,
    /// Translation in clip pixels.
    offset: [f32; 2],
    /// Rotation and scale, from clip pixels to photograph pixels.
    matrix: [[f32; 2]; 2],
    /// Phases of the two deformation waves in radians.
    phase: [f32; 2],
}

impl View<'_> {
    /// Blends the surface into the pixel at `place`, given relative to the centre of the frame, by
    /// its coverage.
    fn paint(&self, place: [f32; 2], pixel: &mut [f32; 3]) {
        let Surface { photo, origin, deformation, outline, .. } = self.surface;
        let mut p = [place[0] - self.offset[0], place[1] - self.offset[1]];
        let coverage = outline.map_or(1.0, |outline| outline.coverage(p));
        if coverage == 0.0 {
            return;
        }
        if deformation.amplitude > 0.0 {
            let shift = |i: usize| {
                let [x, y] = deformation.waves[i];
                deformation.amplitude * (x * p[0] + y * p[1] + self.phase[i]).sin()
            };
            p = [p[0] + shift(0), p[1] + shift(1)];
        }
        let photo_coordinate =
            |i: usize| origin[i] + self.matrix[i][0] * p[0] + self.matrix[i][1] * p[1];
        let colour = sample(photo, [photo_coordinate(0), photo_coordinate(1)]);
        pixel.iter_mut().zip(colour).for_each(|(to, v)| *to += coverage * (v - *to));
    }
}

impl Outline {
    /// Returns the coverage of the pixel at `place`: 0 outside, 1 inside, linear across one pixel
    /// at the edge.
    fn coverage(&self, place: [f32; 2]) -> f32 {
        let [x, y] = [0, 1].map(|i| (place[i] - self.centre[i]) / self.radii[i]);
        let radius = x.hypot(y);
        let edge = 1.0 + self.waves.1 * (self.waves.0 * y.atan2(x)).sin();
        ((edge - radius) * self.radii[0].min(self.radii[1]) + 0.5).clamp(0.0, 1.0)
    }
}

/// Samples a photograph at a fractional position with a cubic kernel. The photograph is mirrored
/// beyond its edges.
fn sample(photo: &RgbImage, place: [f32; 2]) -> [f32; 3] {
    let mirrored = |at: i32, length: u32| {
        let length = length as i32;
        let at = at.rem_euclid(2 * length);
        at.min(2 * length - 1 - at) as u32
    };
    let whole = place.map(|v| v.floor() as i32);
    let weights = [0, 1].map(|i| catmull_rom_weights(place[i] - whole[i] as f32));
    let columns: [u32; 4] =
        std::array::from_fn(|i| mirrored(whole[0] + i as i32 - 1, photo.width()));
    let mut sum = [0.0; 3];
    for (j, down) in weights[1].iter().enumerate() {
        let y = mirrored(whole[1] + j as i32 - 1, photo.height());
        for (x, across) in columns.iter().zip(weights[0]) {
            let pixel = photo.get_pixel(*x, y).0;
            sum.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += down * across * f32::from(v));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_clip_moves_and_stays_in_range() {
        let photo = RgbImage::from_fn(200, 160, |x, y| {
            image::Rgb([(x * 5 % 251) as u8, (y * 7 % 239) as u8, 90])
        });
        let mut moved = 0;
        for seed in 0..20 {
            let frames =
                clip(std::slice::from_ref(&photo), 48, 4, &mut StdRng::seed_from_u64(seed));
            assert!(frames.len() == 4 && frames.iter().all(|f| f.len() == 48 * 48 * 3));
            assert!(frames.iter().flatten().all(|v| (0.0..=255.0).contains(v)));
            moved += usize::from(frames[0] != frames[3]);
            assert_eq!(
                frames,
                clip(std::slice::from_ref(&photo), 48, 4, &mut StdRng::seed_from_u64(seed))
            );
        }
        assert!(moved > 10, "{moved}");
    }

    #[test]
    fn whole_pixels_are_sampled_as_they_are() {
        let photo = RgbImage::from_fn(9, 7, |x, y| {
            image::Rgb([(x * 20) as u8, (y * 30) as u8, (x * y) as u8])
        });
        for (x, y, pixel) in photo.enumerate_pixels() {
            assert_eq!(sample(&photo, [x as f32, y as f32]), pixel.0.map(f32::from));
        }
    }
}
