//! Training of the network of `cnnsmooth`, which separates texture from structure.
//!
//! It trains on drawings with superimposed textures of known period, where the target keeps
//! structure coarser than the requested scale, and on photographs, where the target is computed by
//! relative total variation. A second output predicts edges; its targets are the edges of the
//! drawings and the boundaries that people annotated in the photographs.

mod drawings;
mod held_out;
mod photos;
mod rtv;
mod solved;
mod textures;

pub(super) use self::drawings::Drawings;
pub use self::{drawings::Half, held_out::write as write_set};

use std::path::PathBuf;

use image::GrayImage;
use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

use self::{photos::Photo, textures::Textures};
use super::{
    Error,
    loader::Source,
    quantise::Quantiser,
    run::{self, Lesson},
};
use cnnvideo::{
    frame::luma::yuv,
    nn::{Threads, arch::Graph, torch},
    smooth::control,
};

/// Range of the smoothing scales in training, in pixels.
const SCALES: (f32, f32) = (1.5, 40.0);
/// Share of the drawn patches with a pattern coarser than the scale, which the target keeps as
/// structure.
const KEPT: f64 = 0.45;
/// Share of the drawn patches with faint bars.
const FAINT: f64 = 0.3;
/// Share of these patches that show faint bars only.
const ALONE: f64 = 0.35;
/// Share of the patches that come from photographs.
const PHOTOS: f64 = 0.3;
/// Difference between neighbouring pixels of a drawing, in 8-bit units, that counts as an edge.
const EDGE: f32 = 14.0;
/// Weight of gradient errors in the loss.
const GRADIENT_WEIGHT: f64 = 0.7;
/// Weight of chroma in the loss.
const CHROMA_WEIGHT: f64 = 0.5;
/// Weight of the edge prediction in the loss.
const EDGE_WEIGHT: f64 = 0.015;
/// Weight of edge pixels relative to other pixels in the cross entropy.
const EDGE_BALANCE: f64 = 3.0;
/// Weight of the solver's error relative to that of the guidance map.
const SOLVED_WEIGHT: f64 = 2.0;
/// Typical error of the solver's output in 8-bit units; scales its logarithmic loss.
const USUAL_ERROR: f32 = 4.5;
/// Added to the error before the logarithm, in 8-bit units.
const LEAST_ERROR: f32 = 0.3;
/// Smoothing scales of the validation patches.
const VALIDATION_SCALES: [f32; 3] = [4.0, 8.0, 16.0];
/// Number of validation patches for each scale.
const VALIDATION_COUNT: usize = 24;
/// Number of patches for each scale in the sample image.
const SAMPLES: i64 = 4;

/// Options of a training run for the smoothing network.
#[derive(Debug, Clone)]
pub struct Options {
    /// Options that all trainings share.
    pub run: run::Options,
    /// Folder with drawings on transparent background (.png).
    pub drawings: PathBuf,
    /// Folder with photographs of textures.
    pub textures: PathBuf,
    /// Folder with the photographs of the BSDS500.
    pub photos: PathBuf,
    /// Folder with the boundaries that people annotated in them, as greyscale images (.png) of the
    /// same names; see `scripts/bsds500`.
    pub boundaries: PathBuf,
    /// Share of the loss, 0 to 1, that judges the solver's output for luma rather than the guidance
    /// map itself.
    pub solved: f64,
}

/// Trains the smoothing network to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Files that cannot be read or written, a checkpoint that does not fit, a loss that is not finite.
pub fn smooth(options: &Options) -> Result<(), Error> {
    let device = torch::device(options.run.device)?;
    let drawings = Drawings::load(&options.drawings, Half::Training)?;
    let textures = Textures::load(&options.textures, Half::Training, options.run.seed)?;
    println!("{} drawings", drawings.len());
    let mut photos = Photo::load_all(options)?;
    let held_out = photos.split_off(photos.len() - VALIDATION_COUNT.min(photos.len() / 2));
    println!("{} photographs, {} to validate", photos.len(), held_out.len());
    let graph = options.run.architecture.graph()?;
    let scenes =
        Scenes { side: options.run.side, count: options.run.batch, drawings, textures, photos };
    let mut validation = Vec::new();
    for scale in VALIDATION_SCALES {
        let mut rng = StdRng::seed_from_u64(u64::MAX);
        let patches: Vec<_> =
            (0..VALIDATION_COUNT).map(|_| scenes.drawn(scale, &mut rng)).collect();
        validation.push((scale, scenes.batch(&patches, device)?));
        let patches: Vec<_> = held_out
            .iter()
            .map(|photo| Patch { scale, ..photo.patch(options.run.side, &mut rng) })
            .collect();
        if !patches.is_empty() {
            validation.push((scale, scenes.batch(&patches, device)?));
        }
    }
    let mut lesson =
        Smoothing { options, graph: &graph, scenes: &scenes, validation, quantiser: None };
    run::run(&options.run, &graph, &scenes, &mut lesson)
}

/// A training patch with its targets.
struct Patch {
    /// Input image.
    picture: drawings::Rgb,
    /// Target for Y, U and V, 0 to 255.
    target: Vec<[f32; 3]>,
    /// Target for the edge probability of each pixel, 0 to 1.
    edges: Vec<f32>,
    /// Smoothing scale in pixels.
    scale: f32,
    /// Whether the target is exact (a drawing) or itself an estimate (a photograph).
    exact: bool,
}

/// Patches as tensors in the network's layout.
struct Batch {
    /// Network input: picture channels and control map, `[n, 7, side / 2, side / 2]`.
    input: Tensor,
    /// Picture channels of the input, `[n, 6, side / 2, side / 2]`: unshuffled luma, then chroma.
    planes: Tensor,
    /// Target for `planes`, without texture.
    target: Tensor,
    /// Target for the edge probability, `[n, 1, side / 2, side / 2]`.
    edges: Tensor,
    /// Smoothing scale of each patch.
    scales: Vec<f32>,
    /// [`Patch::exact`] of each patch.
    exact: Vec<bool>,
}

/// Source of training patches.
struct Scenes {
    /// Side of a patch in pixels.
    side: usize,
    /// Number of patches in a batch.
    count: usize,
    drawings: Drawings,
    textures: Textures,
    photos: Vec<Photo>,
}

/// The training task: texture smoothing.
struct Smoothing<'a> {
    options: &'a Options,
    graph: &'a Graph,
    scenes: &'a Scenes,
    /// Validation batches with their smoothing scale.
    validation: Vec<(f32, Batch)>,
    quantiser: Option<Quantiser>,
}

impl Lesson<Vec<Patch>> for Smoothing<'_> {
    fn prepare(&mut self, weights: &mut [Tensor]) -> Result<(), Error> {
        let options = &self.options.run;
        if !options.quantise {
            return Ok(());
        }
        let mut rng = StdRng::seed_from_u64(options.seed);
        let patches: Vec<_> = (0..4 * options.batch).map(|_| self.scenes.patch(&mut rng)).collect();
        let batch = self.scenes.batch(&patches, weights[0].device())?;
        let mut steps = vec![1.0 / 255.0; options.signature.io.picture];
        steps.resize(options.signature.io.inputs(), 1.0 / 127.0);
        self.quantiser =
            Some(Quantiser::begin(options, self.graph, weights, vec![batch.input], steps)?);
        Ok(())
    }

    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        patches: Vec<Patch>,
        _: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let batch = self.scenes.batch(&patches, weights[0].device())?;
        let (guide, edges) = self.see(weights, &batch, kind)?;
        let error = (&guide - &batch.target) * self.guide_shares(&batch);
        let luma = distance(&error.narrow(1, 0, 4).f_pixel_shuffle(2)?);
        let chroma = distance(&error.narrow(1, 4, 2));
        let solved = if self.options.solved > 0.0 {
            Some(self.solved(&batch, &guide, &edges)?)
        } else {
            None
        };
        let balance = Tensor::from(EDGE_BALANCE as f32).to_device(edges.device());
        let edges = edges.f_binary_cross_entropy_with_logits::<Tensor>(
            &batch.edges,
            None,
            Some(balance),
            tch::Reduction::Mean,
        )?;
        let guide = luma + chroma * CHROMA_WEIGHT;
        let both = match solved {
            Some(solved) => guide + solved * (SOLVED_WEIGHT * self.options.solved),
            None => guide,
        };
        Ok(both + edges * EDGE_WEIGHT)
    }

    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let mut results = Vec::new();
        for (scale, batch) in &self.validation {
            let (guide, edges) = self.see(weights, batch, Kind::Float)?;
            if !batch.exact[0] {
                results.push((format!("photographs {scale}"), sharpness(&guide, batch)?));
                continue;
            }
            if self.options.solved > 0.0 {
                let error = self.solved(batch, &guide, &edges)?.double_value(&[]);
                let usual = f64::from(USUAL_ERROR);
                results.push((
                    format!("solved {scale}"),
                    20.0 * (255f64.log10() - error * 255.0 / usual / 10f64.ln()),
                ));
            }
            let error = (guide - &batch.target).narrow(1, 0, 4);
            let mse = (&error * &error).f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
            let psnr = (mse + 1e-9).log10().mean(Kind::Float).double_value(&[]) * -10.0;
            results.push((format!("scale {scale}"), psnr));
        }
        Ok(results)
    }

    /// Returns input, target and guidance map side by side, for a few patches of each scale.
    fn samples(&self, weights: &[Tensor]) -> Result<Option<GrayImage>, Error> {
        let _no_grad = tch::no_grad_guard();
        let mut rows = Vec::new();
        for (_, batch) in &self.validation {
            let guide = self.see(weights, batch, Kind::Float)?.0;
            let columns = [&batch.planes, &batch.target, &guide].map(|planes| {
                planes.narrow(0, 0, SAMPLES.min(planes.size()[0])).narrow(1, 0, 4).pixel_shuffle(2)
            });
            rows.push(Tensor::f_cat(&columns, 3)?.f_flatten(0, 2)?);
        }
        let sheet =
            ((Tensor::f_cat(&rows, 0)? * 255.0 + 128.5).clamp(0.0, 255.0)).to_kind(Kind::Uint8);
        let (height, width) = sheet.size2()?;
        let bytes = Vec::<u8>::try_from(sheet.contiguous().view(-1))?;
        Ok(GrayImage::from_raw(width as u32, height as u32, bytes))
    }

    fn quantiser(&self) -> Option<&Quantiser> {
        self.quantiser.as_ref()
    }
}

impl Smoothing<'_> {
    /// Returns the share of each patch's loss that judges the guidance map itself. It is 1 for
    /// photographs: their targets are soft, and with a loss on the solver's output their guidance
    /// maps became soft too.
    fn guide_shares(&self, batch: &Batch) -> Tensor {
        let shares: Vec<f32> = batch
            .exact
            .iter()
            .map(|exact| if *exact { 1.0 - self.options.solved as f32 } else { 1.0 })
            .collect();
        Tensor::from_slice(&shares).view([-1, 1, 1, 1]).to_device(batch.input.device())
    }

    /// Returns the predicted guidance map, `[n, 6, h, w]`, and the edge logits, `[n, 1, h, w]`.
    fn see(
        &self,
        weights: &[Tensor],
        batch: &Batch,
        kind: Kind,
    ) -> Result<(Tensor, Tensor), Error> {
        let output = match &self.quantiser {
            Some(quantiser) => {
                quantiser.forward(self.graph, weights, &torch::channels_last(&batch.input)?)?
            }
            None => run::forward(self.graph, weights, &batch.input, kind)?,
        };
        Ok((&batch.planes - output.narrow(1, 0, 6), output.narrow(1, 6, 1)))
    }

    /// Returns the mean over the drawings of the log root mean square error of the solver's luma,
    /// scaled by [`USUAL_ERROR`]. The gradient flows to the guidance map and the edge logits.
    fn solved(&self, batch: &Batch, guide: &Tensor, edges: &Tensor) -> Result<Tensor, Error> {
        let threads = Threads::new(1)?;
        let levels = |t: Tensor| -> Result<Vec<f32>, tch::TchError> {
            Vec::try_from((t.detach() * 255.0 + 128.0).contiguous().view(-1))
        };
        let full = |t: &Tensor| t.narrow(1, 0, 4).f_pixel_shuffle(2);
        let side = self.options.run.side;
        let count = batch.scales.len();
        let (own, chroma) = (full(guide)?, guide.narrow(1, 4, 2));
        let [luma, target, guides] = [
            levels(full(&batch.planes)?)?,
            levels(full(&batch.target)?)?,
            levels(own.shallow_clone())?,
        ];
        let chromas = levels(chroma.shallow_clone())?;
        let odds = Vec::<f32>::try_from(edges.detach().contiguous().view(-1))?;
        let (whole, half) = (side * side, side * side / 4);
        let plane = |values: &[f32], i: usize, side: usize| -> Array2<f32> {
            let size = side * side;
            Array2::from_shape_fn((side, side), |(y, x)| values[i * size + y * side + x])
        };
        let mut errors = Vec::with_capacity(count);
        let [mut by_guide, mut by_chroma, mut by_edges] =
            [whole, 2 * half, half].map(|size| Vec::with_capacity(count * size));
        for (i, scale) in batch.scales.iter().enumerate() {
            if !batch.exact[i] {
                by_guide.extend(std::iter::repeat_n(0.0, whole));
                by_chroma.extend(std::iter::repeat_n(0.0, 2 * half));
                by_edges.extend(std::iter::repeat_n(0.0, half));
                continue;
            }
            let saying = solved::Saying {
                guide: plane(&guides, i, side),
                chroma: [plane(&chromas, 2 * i, side / 2), plane(&chromas, 2 * i + 1, side / 2)],
                edges: plane(&odds, i, side / 2),
            };
            let (error, by) = solved::solved(
                &plane(&luma, i, side),
                &saying,
                &plane(&target, i, side),
                *scale,
                &threads,
            );
            errors.push(error);
            // The gradient of the logarithm: a relative improvement counts alike for large and
            // small errors.
            let weight = USUAL_ERROR / (error + LEAST_ERROR);
            by_guide.extend(by.guide.iter().map(|by| weight * by));
            by.chroma.iter().for_each(|plane| by_chroma.extend(plane.iter().map(|by| weight * by)));
            by_edges.extend(by.edges.iter().map(|by| weight * by));
        }
        // Returns a product of value 0 whose gradient with respect to `of` is `by`.
        let slope = |by: Vec<f32>, of: &Tensor, step: f64| -> Result<Tensor, tch::TchError> {
            let by = Tensor::from_slice(&by).view_as(of).to_device(of.device())
                * (step / 255.0 / count as f64);
            let product = (of * by).f_sum(Kind::Float)?;
            product.f_sub(&product.detach())
        };
        let value =
            errors.iter().map(|error| (error + LEAST_ERROR).ln()).sum::<f32>() / count as f32;
        let slopes = slope(by_guide, &own, 255.0)?
            + slope(by_chroma, &chroma, 255.0)?
            + slope(by_edges, edges, 1.0)?;
        Ok(slopes + f64::from(USUAL_ERROR / 255.0 * value))
    }
}

impl Source for Scenes {
    type Batch = Vec<Patch>;

    fn draw(&self, rng: &mut StdRng) -> Result<Vec<Patch>, Error> {
        Ok((0..self.count).map(|_| self.patch(rng)).collect())
    }
}

impl Scenes {
    /// Draws a patch from a photograph or a drawn scene.
    fn patch(&self, rng: &mut StdRng) -> Patch {
        if rng.random_bool(PHOTOS) {
            return self.photos[rng.random_range(0..self.photos.len())].patch(self.side, rng);
        }
        let scale = SCALES.0 * (SCALES.1 / SCALES.0).powf(rng.random());
        self.drawn(scale, rng)
    }

    /// Draws a scene with superimposed texture.
    fn drawn(&self, scale: f32, rng: &mut StdRng) -> Patch {
        let side = self.side;
        let faint = rng.random_bool(FAINT);
        let alone = faint && rng.random_bool(ALONE);
        let mut scene = if alone {
            // Leaves headroom so that the bars are not clipped.
            drawings::background(side, rng).iter().map(|rgb| rgb.map(|v| 60.0 + v * 0.53)).collect()
        } else {
            self.drawings.scene(side, 2.0 * scale, rng)
        };
        if faint {
            (0..rng.random_range(1..=3))
                .for_each(|_| drawings::faint_bar(&mut scene, side, 1.9 * scale, rng));
        }
        // The target keeps a pattern that is coarser than the scale.
        let kept = !alone && rng.random_bool(KEPT);
        if kept {
            let period = (scale * rng.random_range(1.6..5.0f32)).max(3.0);
            lay(
                &mut scene,
                &textures::pattern(side, period, rng),
                rng.random_range(5.0..35.0),
                side,
                rng,
            );
        }
        let target = scene.iter().map(|rgb| yuv(*rgb)).collect();
        let edges = edges(&scene, side);
        for _ in 0..rng.random_range(if kept || alone { 0 } else { 1 }..=2) {
            // Periods reach slightly beyond the scale, so that texture of exactly that scale is
            // removed reliably.
            let period = (scale * rng.random_range(0.3..1.08f32)).max(1.7);
            let texture = if alone && rng.random() {
                textures::pattern(side, period, rng)
            } else {
                self.textures.fine(side, period, rng)
            };
            lay(&mut scene, &texture, rng.random_range(4.0..38.0), side, rng);
        }
        if rng.random_bool(0.25) {
            let level = rng.random_range(1.0..8.0f32);
            scene.iter_mut().flatten().for_each(|v| {
                *v += level * (0..4).map(|_| rng.random_range(-0.87..0.87f32)).sum::<f32>();
            });
        }
        scene.iter_mut().flatten().for_each(|v| *v = v.round().clamp(0.0, 255.0));
        Patch { picture: scene, target, edges, scale, exact: true }
    }

    /// Converts patches to tensors on `device`.
    fn batch(&self, patches: &[Patch], device: tch::Device) -> Result<Batch, Error> {
        let side = self.side as i64;
        let count = patches.len() as i64;
        let plane = |values: Vec<f32>| {
            Tensor::from_slice(&values).view([count, 1, side, side]).to_device(device)
        };
        let all = |get: &dyn Fn(&Patch) -> Vec<f32>| plane(patches.iter().flat_map(get).collect());
        let scaled = |plane: Tensor| (plane - 128.0) / 255.0;
        let planes = |get: &dyn Fn(&Patch) -> Vec<[f32; 3]>| -> Result<Tensor, Error> {
            let component = |i: usize| scaled(all(&|p| get(p).iter().map(|yuv| yuv[i]).collect()));
            let chroma =
                |i: usize| component(i).f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
            Ok(Tensor::f_cat(&[component(0).f_pixel_unshuffle(2)?, chroma(1)?, chroma(2)?], 1)?)
        };
        let target = planes(&|p| p.target.clone())?;
        let planes = planes(&|p| p.picture.iter().map(|rgb| yuv(*rgb)).collect())?;
        let controls: Vec<f32> = patches.iter().map(|p| control(p.scale)).collect();
        let controls = Tensor::from_slice(&controls)
            .view([count, 1, 1, 1])
            .to_device(device)
            .f_expand([count, 1, side / 2, side / 2], false)?;
        Ok(Batch {
            input: Tensor::f_cat(&[&planes, &controls], 1)?,
            planes,
            target,
            scales: patches.iter().map(|p| p.scale).collect(),
            exact: patches.iter().map(|p| p.exact).collect(),
            edges: all(&|p| p.edges.clone()).f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?,
        })
    }
}

/// Returns the gradient contrast of the guidance map relative to that of the input images, in dB.
/// Gradient contrast is the mean gradient near annotated boundaries over that elsewhere.
fn sharpness(guide: &Tensor, batch: &Batch) -> Result<f64, Error> {
    // Annotated boundaries are displaced by a pixel or two, so edges are widened.
    let near = batch
        .edges
        .f_max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false)?
        .f_upsample_nearest2d([2 * batch.edges.size()[2], 2 * batch.edges.size()[3]], None, None)?;
    let contrast = |planes: &Tensor| -> Result<f64, Error> {
        let luma = planes.narrow(1, 0, 4).f_pixel_shuffle(2)?;
        let side = luma.size()[2] - 1;
        let at = |t: &Tensor, y: i64, x: i64| t.narrow(2, y, side).narrow(3, x, side);
        let gradient =
            (at(&luma, 0, 1) - at(&luma, 0, 0)).abs() + (at(&luma, 1, 0) - at(&luma, 0, 0)).abs();
        let near = at(&near, 0, 0).gt(0.5).to_kind(Kind::Float);
        // The small constant avoids divisions by 0 for flat images and images without boundaries.
        let mean = |part: &Tensor| {
            let count = part.sum(Kind::Float).clamp_min(1.0);
            ((&gradient * part).sum(Kind::Float) / count).double_value(&[]) + 1e-4
        };
        Ok(mean(&near) / mean(&(1.0 - &near)))
    };
    Ok(20.0 * (contrast(guide)? / contrast(&batch.planes)?).log10())
}

/// Adds a texture of standard deviation `std` to a scene, everywhere or within a random region,
/// sometimes with a tint.
fn lay(scene: &mut [[f32; 3]], texture: &[f32], std: f32, side: usize, rng: &mut StdRng) {
    let tint: [f32; 3] = if rng.random_bool(0.3) {
        std::array::from_fn(|_| rng.random_range(0.5..1.4))
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
        f32::from(u8::from(right.max(below) > EDGE))
    };
    (0..scene.len()).map(at).collect()
}

/// Returns the mean absolute error plus the weighted mean absolute error of the gradients.
fn distance(error: &Tensor) -> Tensor {
    let side = error.size()[2];
    let across = error.narrow(3, 1, side - 1) - error.narrow(3, 0, side - 1);
    let down = error.narrow(2, 1, side - 1) - error.narrow(2, 0, side - 1);
    let gradients = across.abs().mean(Kind::Float) + down.abs().mean(Kind::Float);
    error.abs().mean(Kind::Float) + gradients * GRADIENT_WEIGHT
}
