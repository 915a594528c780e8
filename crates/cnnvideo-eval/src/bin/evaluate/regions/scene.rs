// SPDX-License-Identifier: MIT OR Apache-2.0

//! Scenes with objects that are covered, turn, change their size, leave and cross, and the exact
//! masks of what shows of them.

use image::{RgbImage, imageops::crop_imm};
use ndarray::Array2;

use super::{
    band::{Band, Direction},
    layer::{Cutout, Pose},
    material::Draws,
};
use cnnvideo_eval::Noise;

/// Width and height of frames in pixels.
pub(super) const SIZE: [u32; 2] = [480, 320];
/// Frames for which an object is covered or away.
const AWAY: usize = 10;
/// Frames before anything happens.
const CALM: usize = 8;
/// Frames of turning and of change of size.
pub(super) const CHANGE: usize = 60;
/// Frames after the object is back.
pub(super) const AFTER: usize = 20;
/// Sigma of the noise in code values.
const NOISE: f32 = 2.0;

/// What happens in a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A band passes in front of the object and covers it for ten frames
    Cover,
    /// The object is covered at once from the second frame on, for ten frames
    CoverAtOnce,
    /// The object leaves the frame and comes back
    Reenter,
    /// The object turns about its upright axis by up to 180 degrees in 60 frames
    Turn,
    /// The object grows or shrinks by half and rotates in the plane
    Scale,
    /// Two objects cross
    Cross,
    /// The object leaves for good
    Leave,
}

impl Kind {
    /// Returns the name of the kind in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cover => "covered for 10 frames",
            Self::CoverAtOnce => "covered from the second frame on",
            Self::Reenter => "leaves and comes back",
            Self::Turn => "turns for 60 frames",
            Self::Scale => "changes its size in 60 frames",
            Self::Cross => "two objects cross",
            Self::Leave => "leaves for good",
        }
    }
}

/// An object and its poses.
struct Mover {
    cutout: Cutout,
    poses: Vec<Pose>,
}

/// A band and the place of its front in each frame; `None` while there is no band.
struct Cover {
    band: Band,
    fronts: Vec<Option<f32>>,
}

/// A scene, drawn frame by frame.
pub(super) struct Scene {
    background: RgbImage,
    /// Top left corner of each frame in the background.
    camera: Vec<[f32; 2]>,
    movers: Vec<Mover>,
    cover: Option<Cover>,
    noise_seed: u64,
}

impl Scene {
    /// Draws what is in a scene of a kind.
    pub(super) fn new(kind: Kind, draws: &mut Draws<'_>) -> Self {
        let background = draws.photograph();
        let (mut movers, cover) = match kind {
            Kind::Cover => covered(draws),
            Kind::CoverAtOnce => covered_at_once(draws),
            Kind::Reenter => (vec![leaving(draws, true)], None),
            Kind::Leave => (vec![leaving(draws, false)], None),
            Kind::Turn | Kind::Scale => (vec![changing(draws, kind)], None),
            Kind::Cross => (crossing(draws), None),
        };
        // Hands and cameras shake.
        let phases = [0.0; 4].map(|_| draws.between(0.0, std::f32::consts::TAU));
        for mover in &mut movers {
            for (i, pose) in mover.poses.iter_mut().enumerate() {
                pose.centre[0] += 1.5 * (0.35 * i as f32 + phases[0]).sin();
                pose.centre[1] += 1.5 * (0.27 * i as f32 + phases[1]).sin();
            }
        }
        let length = movers[0].poses.len();
        let room = [0, 1]
            .map(|i| [background.width(), background.height()][i] as f32 - SIZE[i] as f32 - 1.0);
        let sway = |i: usize, axis: usize, rate: f32| {
            0.5 * room[axis] * (1.0 + 0.8 * (rate * i as f32 + phases[2 + axis]).sin())
        };
        let camera = (0..length).map(|i| [sway(i, 0, 0.035), sway(i, 1, 0.025)]).collect();
        Self { background, camera, movers, cover, noise_seed: draws.between(0.0, 1e6) as u64 }
    }

    /// Returns the number of frames.
    pub(super) fn len(&self) -> usize {
        self.camera.len()
    }

    /// Returns a frame and the mask of each object. Objects hide those before them.
    pub(super) fn frame(&self, number: usize) -> (RgbImage, Vec<Array2<bool>>) {
        let mut frame = shifted(&self.background, self.camera[number]);
        let mut masks: Vec<Array2<bool>> = Vec::new();
        for Mover { cutout, poses } in &self.movers {
            let opacity = cutout.draw(&mut frame, &poses[number]);
            for mask in &mut masks {
                mask.zip_mut_with(&opacity, |mask, opacity| *mask &= *opacity <= 0.5);
            }
            masks.push(opacity.mapv(|opacity| opacity > 0.5));
        }
        if let Some(Cover { band, fronts }) = &self.cover
            && let Some(front) = fronts[number]
        {
            band.draw(&mut frame, front, &mut masks);
        }
        Noise::new(self.noise_seed + number as u64).add(&mut frame, NOISE);
        (frame, masks)
    }
}

/// Returns the part of a background at a position between pixels.
fn shifted(background: &RgbImage, at: [f32; 2]) -> RgbImage {
    let whole = at.map(|v| v.floor() as u32);
    let [fx, fy] = [at[0].fract(), at[1].fract()];
    let part = crop_imm(background, whole[0], whole[1], SIZE[0] + 1, SIZE[1] + 1).to_image();
    RgbImage::from_fn(SIZE[0], SIZE[1], |x, y| {
        image::Rgb(std::array::from_fn(|c| {
            let at = |dx: u32, dy: u32| f32::from(part.get_pixel(x + dx, y + dy).0[c]);
            let above = at(0, 0) + fx * (at(1, 0) - at(0, 0));
            let below = at(0, 1) + fx * (at(1, 1) - at(0, 1));
            (above + fy * (below - above)).round() as u8
        }))
    })
}

/// Poses along a straight line.
fn line(centre: [f32; 2], speed: [f32; 2], length: usize) -> Vec<Pose> {
    let at = |i: usize| [0, 1].map(|axis| centre[axis] + speed[axis] * i as f32);
    let pose = |i| Pose { centre: at(i), scale: 1.0, angle: 0.0, turn: 0.0 };
    (0..length).map(pose).collect()
}

/// A place for the middle of an object around the middle of the frame.
fn middle(draws: &mut Draws<'_>) -> [f32; 2] {
    [240.0 + draws.between(-60.0, 60.0), 165.0 + draws.between(-20.0, 20.0)]
}

fn covered(draws: &mut Draws<'_>) -> (Vec<Mover>, Option<Cover>) {
    let cutout = draws.object();
    let direction =
        Direction { axis: usize::from(draws.between(0.0, 1.0) > 0.7), sign: draws.sign() };
    let Direction { axis, sign } = direction;
    let extent = cutout.size()[axis] + 4.0;
    let speed = draws.between(7.0, 14.0).max(extent / 16.0);
    let covering = (extent / speed).ceil() as usize;
    let length = CALM + covering + AWAY + AFTER + 4;
    let velocity = [draws.sign() * draws.between(0.3, 1.2), draws.between(-0.3, 0.3)];
    let poses = line(middle(draws), velocity, length);
    let band = Band {
        photograph: draws.photograph(),
        direction,
        length: Band::length_to_cover(extent, AWAY, speed),
    };
    let front = |i: usize| {
        let near = poses[i].centre[axis] - sign * 0.5 * extent;
        Some(near + sign * speed * (i as f32 - CALM as f32) - sign * super::band::WAVE)
    };
    let fronts = (0..length).map(front).collect();
    (vec![Mover { cutout, poses }], Some(Cover { band, fronts }))
}

fn covered_at_once(draws: &mut Draws<'_>) -> (Vec<Mover>, Option<Cover>) {
    let cutout = draws.object();
    let direction = Direction { axis: 0, sign: draws.sign() };
    let extent = cutout.size()[0] + 16.0;
    let length = 1 + AWAY + AFTER + 1;
    let poses = line(middle(draws), [draws.sign() * draws.between(0.3, 1.2), 0.0], length);
    let band = Band { photograph: draws.photograph(), direction, length: extent + 8.0 };
    let front = |i: usize| {
        let covers = (1..=AWAY).contains(&i);
        covers.then(|| poses[i].centre[0] + direction.sign * (0.5 * extent + 4.0))
    };
    let fronts = (0..length).map(front).collect();
    (vec![Mover { cutout, poses }], Some(Cover { band, fronts }))
}

fn leaving(draws: &mut Draws<'_>, comes_back: bool) -> Mover {
    let cutout = draws.object();
    let (sign, speed) = (draws.sign(), draws.between(5.0, 8.0));
    let start = middle(draws);
    let way = 240.0 + 0.5 * cutout.size()[0] + 4.0 - sign * (start[0] - 240.0);
    let leaving = (way / speed).ceil() as usize;
    let rise = draws.between(-20.0, 20.0);
    let x = |i: usize| start[0] + sign * speed * (i as f32 - CALM as f32).max(0.0);
    let mut poses = Vec::new();
    let mut push =
        |x: f32, y: f32| poses.push(Pose { centre: [x, y], scale: 1.0, angle: 0.0, turn: 0.0 });
    let gone = CALM + leaving;
    (0..gone + AWAY).for_each(|i| push(x(i), start[1]));
    if comes_back {
        // Back to the middle, where it stays.
        let back = |i: usize| x((gone + 1).saturating_sub(i).max(CALM));
        (1..AFTER + 4).for_each(|i| push(back(i), start[1] + rise));
    } else {
        (0..CHANGE).for_each(|_| push(x(gone + AWAY), start[1]));
    }
    Mover { cutout, poses }
}

fn changing(draws: &mut Draws<'_>, kind: Kind) -> Mover {
    let cutout = draws.object();
    let velocity = [draws.sign() * draws.between(0.2, 0.8), draws.between(-0.2, 0.2)];
    let mut poses = line(middle(draws), velocity, CHANGE + 1);
    let direction = draws.sign();
    let degrees = if kind == Kind::Turn { draws.between(90.0, 180.0) } else { 40.0 };
    for (i, pose) in poses.iter_mut().enumerate() {
        let share = i as f32 / CHANGE as f32;
        let angle = direction * degrees.to_radians() * share;
        if kind == Kind::Turn {
            pose.turn = angle;
        } else {
            pose.angle = angle;
            let growth = 1.0 + 0.5 * share;
            pose.scale = if direction > 0.0 { growth } else { 1.0 / growth };
        }
    }
    Mover { cutout, poses }
}

fn crossing(draws: &mut Draws<'_>) -> Vec<Mover> {
    let cutouts = [draws.object(), draws.object()];
    let widths = 0.5 * (cutouts[0].size()[0] + cutouts[1].size()[0]);
    let distance = widths + draws.between(10.0, 30.0);
    let (sign, speed) = (draws.sign(), draws.between(2.5, 4.0));
    let length = (2.0 * distance / (2.0 * speed)).ceil() as usize + AFTER / 2;
    let sides = [sign, -sign];
    let mover = |(cutout, side): (Cutout, f32)| {
        let x = 240.0 - side * 0.5 * distance;
        let poses = line([x, 165.0], [side * speed, 0.0], length);
        Mover { cutout, poses }
    };
    cutouts.into_iter().zip(sides).map(mover).collect()
}
