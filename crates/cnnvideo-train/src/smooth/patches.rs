// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training patches: drawings with superimposed textures, and photographs.

use rand::{Rng, rngs::StdRng};
use tch::Tensor;

use super::{
    drawings::{self, Drawings, Half},
    generators::Generator,
    photos::StructurePhoto,
    textures::{self, Textures},
};
use crate::{Error, prefetch::BatchSource};
use cnnvideo::{frame::luma::rgb_to_yuv, smooth::scale_control};

/// Range of the smoothing scales in training, in pixels.
const SCALES: (f32, f32) = (1.5, 40.0);
/// Share of the drawn patches with a pattern coarser than the scale, which the target keeps as
/// structure.
const COARSE_PATTERN_SHARE: f64 = 0.45;
/// Share of the drawn patches with faint bars.
const FAINT_BARS_SHARE: f64 = 0.3;
/// Share of these patches that show faint bars only.
const FAINT_BARS_ONLY_SHARE: f64 = 0.35;
/// Share of the textures that are generated.
const GENERATED_SHARE: f64 = 0.35;
/// Share of the patches that come from photographs.
const PHOTO_SHARE: f64 = 0.3;
/// Share of the drawn patches whose scene is the structure of a photograph.
const STRUCTURE_SHARE: f64 = 0.15;
/// Range of the standard deviation of a texture, in 8-bit units.
const CONTRAST: std::ops::Range<f32> = 4.0..45.0;
/// Difference between neighbouring pixels of a drawing, in 8-bit units, that counts as an edge.
const EDGE_STEP: f32 = 14.0;

/// A training patch with its targets.
pub(super) struct TrainingPatch {
    /// Input image.
    pub(super) picture: drawings::RgbPixels,
    /// Target for Y, U and V, 0 to 255.
    pub(super) target: Vec<[f32; 3]>,
    /// Target for the edge probability of each pixel, 0 to 1.
    pub(super) edges: Vec<f32>,
    /// Smoothing scale in pixels.
    pub(super) scale: f32,
    /// Whether the target is exact (a drawing) or itself an estimate (a photograph).
    pub(super) exact: bool,
}

/// Patches as tensors in the network's layout.
pub(super) struct PatchBatch {
    /// Network input: picture channels and control map, `[n, 7, side / 2, side / 2]`.
    pub(super) input: Tensor,
    /// Picture channels of the input, `[n, 6, side / 2, side / 2]`: unshuffled luma, then chroma.
    pub(super) planes: Tensor,
    /// Target for `planes`, without texture.
    pub(super) target: Tensor,
    /// Target for the edge probability, `[n, 1, side / 2, side / 2]`.
    pub(super) edges: Tensor,
    /// Smoothing scale of each patch.
    pub(super) scales: Vec<f32>,
    /// [`TrainingPatch::exact`] of each patch.
    pub(super) exact: Vec<bool>,
}

/// Source of training patches.
pub(super) struct PatchSource {
    /// Side of a patch in pixels.
    pub(super) side: usize,
    /// Number of patches in a batch.
    pub(super) count: usize,
    pub(super) drawings: Drawings,
    pub(super) textures: Textures,
    pub(super) photos: Vec<StructurePhoto>,
}

impl BatchSource for PatchSource {
    type Batch = PatchBatch;

    fn draw(&self, rng: &mut StdRng) -> Result<PatchBatch, Error> {
        let patches: Vec<_> = (0..self.count).map(|_| self.patch(rng)).collect();
        self.batch(&patches)
    }
}

impl PatchBatch {
    /// Copies the tensors to `device`.
    pub(super) fn to_device(&self, device: tch::Device) -> Self {
        Self {
            input: self.input.to_device(device),
            planes: self.planes.to_device(device),
            target: self.target.to_device(device),
            edges: self.edges.to_device(device),
            scales: self.scales.clone(),
            exact: self.exact.clone(),
        }
    }
}

impl PatchSource {
    /// Draws a patch from a photograph or a drawn scene.
    pub(super) fn patch(&self, rng: &mut StdRng) -> TrainingPatch {
        if rng.random_bool(PHOTO_SHARE) {
            return self.photos[rng.random_range(0..self.photos.len())].patch(self.side, rng);
        }
        let scale = SCALES.0 * (SCALES.1 / SCALES.0).powf(rng.random());
        self.drawn_patch(scale, rng)
    }

    /// Draws a scene with superimposed texture.
    pub(super) fn drawn_patch(&self, scale: f32, rng: &mut StdRng) -> TrainingPatch {
        let side = self.side;
        let faint_bars = rng.random_bool(FAINT_BARS_SHARE);
        let bars_only = faint_bars && rng.random_bool(FAINT_BARS_ONLY_SHARE);
        let mut scene = if bars_only {
            // Leaves headroom so that the bars are not clipped.
            drawings::background(side, rng).iter().map(|rgb| rgb.map(|v| 60.0 + v * 0.53)).collect()
        } else if !self.photos.is_empty() && rng.random_bool(STRUCTURE_SHARE) {
            self.photos[rng.random_range(0..self.photos.len())].structure_patch(side, rng)
        } else {
            self.drawings.scene(side, 2.0 * scale, rng)
        };
        if faint_bars {
            (0..rng.random_range(1..=3))
                .for_each(|_| drawings::faint_bar(&mut scene, side, 1.9 * scale, rng));
        }
        // The target keeps a pattern that is coarser than the scale.
        let coarse_pattern = !bars_only && rng.random_bool(COARSE_PATTERN_SHARE);
        if coarse_pattern {
            let period = (scale * rng.random_range(1.6..5.0f32)).max(3.0);
            superimpose(
                &mut scene,
                &textures::pattern(side, period, rng),
                rng.random_range(5.0..35.0),
                side,
                rng,
            );
        }
        let target = scene.iter().map(|rgb| rgb_to_yuv(*rgb)).collect();
        let edges = edges(&scene, side);
        for _ in 0..rng.random_range(if coarse_pattern || bars_only { 0 } else { 1 }..=3) {
            // Periods reach slightly beyond the scale, so that texture of exactly that scale is
            // removed reliably.
            let period = (scale * rng.random_range(0.3..1.08f32)).max(1.7);
            let texture = if bars_only && rng.random() {
                textures::pattern(side, period, rng)
            } else if rng.random_bool(GENERATED_SHARE) {
                Generator::draw(Half::Training, side, period, rng)
            } else {
                self.textures.fine(side, period, rng)
            };
            superimpose(&mut scene, &texture, rng.random_range(CONTRAST), side, rng);
        }
        if rng.random_bool(0.25) {
            let sigma = rng.random_range(1.0..8.0f32);
            scene.iter_mut().flatten().for_each(|v| {
                *v += sigma * (0..4).map(|_| rng.random_range(-0.87..0.87f32)).sum::<f32>();
            });
        }
        scene.iter_mut().flatten().for_each(|v| *v = v.round().clamp(0.0, 255.0));
        TrainingPatch { picture: scene, target, edges, scale, exact: true }
    }

    /// Converts patches to tensors of the CPU.
    pub(super) fn batch(&self, patches: &[TrainingPatch]) -> Result<PatchBatch, Error> {
        let side = self.side as i64;
        let count = patches.len() as i64;
        let plane = |values: Vec<f32>| Tensor::from_slice(&values).view([count, 1, side, side]);
        let all = |get: &dyn Fn(&TrainingPatch) -> Vec<f32>| {
            plane(patches.iter().flat_map(get).collect())
        };
        let scaled = |plane: Tensor| (plane - 128.0) / 255.0;
        let planes = |get: &dyn Fn(&TrainingPatch) -> Vec<[f32; 3]>| -> Result<Tensor, Error> {
            let component = |i: usize| scaled(all(&|p| get(p).iter().map(|yuv| yuv[i]).collect()));
            let chroma =
                |i: usize| component(i).f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
            Ok(Tensor::f_cat(&[component(0).f_pixel_unshuffle(2)?, chroma(1)?, chroma(2)?], 1)?)
        };
        let target = planes(&|p| p.target.clone())?;
        let planes = planes(&|p| p.picture.iter().map(|rgb| rgb_to_yuv(*rgb)).collect())?;
        let controls: Vec<f32> = patches.iter().map(|p| scale_control(p.scale)).collect();
        let controls = Tensor::from_slice(&controls)
            .view([count, 1, 1, 1])
            .f_expand([count, 1, side / 2, side / 2], false)?;
        Ok(PatchBatch {
            input: Tensor::f_cat(&[&planes, &controls], 1)?,
            planes,
            target,
            scales: patches.iter().map(|p| p.scale).collect(),
            exact: patches.iter().map(|p| p.exact).collect(),
            edges: all(&|p| p.edges.clone()).f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?,
        })
    }
}

/// Adds a texture of standard deviation `std` to a scene, everywhere or within a random region,
/// sometimes with a tint.
fn superimpose(scene: &mut [[f32; 3]], texture: &[f32], std: f32, side: usize, rng: &mut StdRng) {
    let tint: [f32; 3] = if rng.random_bool(0.4) {
        let low = if rng.random_bool(0.3) { -0.6 } else { 0.5 };
        std::array::from_fn(|_| rng.random_range(low..1.4))
    } else {
        [1.0; 3]
    };
    let everywhere = rng.random_bool(0.5);
    let centre = [rng.random_range(0.0..side as f32), rng.random_range(0.0..side as f32)];
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
    let radius = side as f32 * rng.random_range(0.2..0.6f32);
    let round = rng.random::<bool>();
    let soft = rng.random_range(1.0..8.0f32);
    for (i, pixel) in scene.iter_mut().enumerate() {
        let (x, y) = ((i % side) as f32 - centre[0], (i / side) as f32 - centre[1]);
        let depth = if round { radius - x.hypot(y) } else { x * cos + y * sin };
        let share = if everywhere { 1.0 } else { (depth / soft + 0.5).clamp(0.0, 1.0) };
        for (to, tint) in pixel.iter_mut().zip(tint) {
            *to += std * share * tint * texture[i];
        }
    }
}

/// Marks the pixels with a step to the right or lower neighbour: 1 for an edge, else 0.
fn edges(scene: &[[f32; 3]], side: usize) -> Vec<f32> {
    let step = |a: usize, b: usize| {
        scene[a].iter().zip(scene[b]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let at = |i: usize| {
        let right = if i % side + 1 < side { step(i, i + 1) } else { 0.0 };
        let below = if i / side + 1 < side { step(i, i + side) } else { 0.0 };
        f32::from(u8::from(right.max(below) > EDGE_STEP))
    };
    (0..scene.len()).map(at).collect()
}
