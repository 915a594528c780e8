// SPDX-License-Identifier: MIT OR Apache-2.0

//! Training of the network of `cnnsmooth`, which separates texture from structure.
//!
//! It trains on drawings with superimposed textures of known period, where the target keeps
//! structure coarser than the requested scale, and on photographs, where the target is computed by
//! relative total variation. A second output predicts edges; its targets are the edges of the
//! drawings and the boundaries that people annotated in the photographs.

mod drawings;
mod generators;
mod patches;
mod photos;
mod rtv;
mod solver_gradient;
mod test_set;
mod textures;

pub(super) use self::drawings::Drawings;
pub use self::{
    drawings::Half,
    test_set::{TextureSource, write as write_set},
};

use std::path::PathBuf;

use image::GrayImage;
use ndarray::Array2;
use rand::{SeedableRng, rngs::StdRng};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use tch::{Kind, Tensor};

use self::{
    patches::{PatchBatch, PatchSource, TrainingPatch},
    photos::StructurePhoto,
    solver_gradient::Prediction,
    textures::Textures,
};
use super::{
    Error,
    quantise::Quantiser,
    run::{self, RunOptions, TrainingTask},
};
use cnnvideo::nn::{Model, Threads, arch::Graph, torch};

/// Weight of gradient errors in the loss.
const GRADIENT_WEIGHT: f64 = 0.7;
/// Weight of chroma in the loss.
const CHROMA_WEIGHT: f64 = 0.5;
/// Weight of the edge prediction in the loss.
const EDGE_WEIGHT: f64 = 0.015;
/// Weight of edge pixels relative to other pixels in the cross entropy.
const EDGE_BALANCE: f64 = 3.0;
/// Weight of the solver's error relative to that of the guidance map.
const SOLVER_WEIGHT: f64 = 2.0;
/// Typical error of the solver's output in 8-bit units; scales its logarithmic loss.
const TYPICAL_ERROR: f32 = 4.5;
/// Added to the error before the logarithm, in 8-bit units.
const MIN_ERROR: f32 = 0.3;
/// Smoothing scales of the validation patches.
const VALIDATION_SCALES: [f32; 3] = [4.0, 8.0, 16.0];
/// Number of validation patches for each scale.
const VALIDATION_COUNT: usize = 24;
/// Number of patches for each scale in the sample image.
const SAMPLES: i64 = 4;

/// Options of a training run for the smoothing network.
#[derive(Debug, Clone)]
pub struct SmoothingOptions {
    /// Options that all trainings share.
    pub run: RunOptions,
    /// Folder with drawings on transparent background (.png).
    pub drawings: PathBuf,
    /// Folder with photographs of textures.
    pub textures: PathBuf,
    /// Names of the folders in `textures` that are held back from training.
    pub held_back: Vec<String>,
    /// Folder with the photographs of the BSDS500.
    pub photos: PathBuf,
    /// Folder with the boundaries that people annotated in them, as greyscale images (.png) of the
    /// same names; see `scripts/bsds500`.
    pub boundaries: PathBuf,
    /// Share of the loss, 0 to 1, that judges the solver's output for luma rather than the guidance
    /// map itself.
    pub solver_loss_share: f64,
}

/// Trains the smoothing network to the end of the run. Writes the model, its checkpoint and its
/// curve.
///
/// # Errors
/// Files that cannot be read or written, a checkpoint that does not fit, a loss that is not finite.
pub fn train(options: &SmoothingOptions) -> Result<(), Error> {
    let device = torch::resolve_device(options.run.device)?;
    let drawings = Drawings::load(&options.drawings, Half::Training)?;
    let textures =
        Textures::load(&options.textures, Half::Training, &options.held_back, options.run.seed)?;
    println!("{} drawings", drawings.len());
    let mut photos = StructurePhoto::load_all(options)?;
    let validation_photos = photos.split_off(photos.len() - VALIDATION_COUNT.min(photos.len() / 2));
    println!("{} photographs, {} to validate", photos.len(), validation_photos.len());
    let graph = options.run.architecture.graph()?;
    let source = PatchSource {
        side: options.run.patch_side,
        count: options.run.batch_size,
        drawings,
        textures,
        photos,
    };
    let mut validation = Vec::new();
    for scale in VALIDATION_SCALES {
        let mut rng = StdRng::seed_from_u64(u64::MAX);
        let patches: Vec<_> =
            (0..VALIDATION_COUNT).map(|_| source.drawn_patch(scale, &mut rng)).collect();
        validation.push((scale, source.batch(&patches)?.to_device(device)));
        let patches: Vec<_> = validation_photos
            .iter()
            .map(|photo| TrainingPatch { scale, ..photo.patch(options.run.patch_side, &mut rng) })
            .collect();
        if !patches.is_empty() {
            validation.push((scale, source.batch(&patches)?.to_device(device)));
        }
    }
    let mut task =
        SmoothingTask { options, graph: &graph, source: &source, validation, quantiser: None };
    run::run(&options.run, &graph, &source, &mut task)
}

/// The training task: texture smoothing.
struct SmoothingTask<'a> {
    options: &'a SmoothingOptions,
    graph: &'a Graph,
    source: &'a PatchSource,
    /// Validation batches with their smoothing scale.
    validation: Vec<(f32, PatchBatch)>,
    quantiser: Option<Quantiser>,
}

impl TrainingTask<PatchBatch> for SmoothingTask<'_> {
    fn prepare(&mut self, weights: &mut [Tensor], resumed: Option<&Model>) -> Result<(), Error> {
        let options = &self.options.run;
        if !options.quantise {
            return Ok(());
        }
        let mut rng = StdRng::seed_from_u64(options.seed);
        let patches: Vec<_> =
            (0..4 * options.batch_size).map(|_| self.source.patch(&mut rng)).collect();
        let batch = self.source.batch(&patches)?.to_device(weights[0].device());
        let mut scales = vec![1.0 / 255.0; options.signature.io.picture];
        scales.resize(options.signature.io.input_channels(), 1.0 / 127.0);
        self.quantiser = Some(Quantiser::new_or_resumed(
            options,
            resumed,
            self.graph,
            weights,
            vec![batch.input],
            scales,
        )?);
        Ok(())
    }

    fn loss(
        &self,
        weights: &[Tensor],
        kind: Kind,
        batch: PatchBatch,
        _: &mut StdRng,
    ) -> Result<Tensor, Error> {
        let batch = batch.to_device(weights[0].device());
        let (guide, edges) = self.predict(weights, &batch, kind)?;
        let error = (&guide - &batch.target) * self.guide_shares(&batch);
        let luma = gradient_aware_error(&error.narrow(1, 0, 4).f_pixel_shuffle(2)?);
        let chroma = gradient_aware_error(&error.narrow(1, 4, 2));
        let solver_loss = if self.options.solver_loss_share > 0.0 {
            Some(self.solver_loss(&batch, &guide, &edges)?)
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
        let guide_and_solver = match solver_loss {
            Some(solver_loss) => {
                guide + solver_loss * (SOLVER_WEIGHT * self.options.solver_loss_share)
            }
            None => guide,
        };
        Ok(guide_and_solver + edges * EDGE_WEIGHT)
    }

    fn validate(&self, weights: &[Tensor]) -> Result<Vec<(String, f64)>, Error> {
        let mut results = Vec::new();
        for (scale, batch) in &self.validation {
            let (guide, edges) = self.predict(weights, batch, Kind::Float)?;
            if !batch.exact[0] {
                results.push((format!("photographs {scale}"), relative_sharpness(&guide, batch)?));
                continue;
            }
            if self.options.solver_loss_share > 0.0 {
                let error = self.solver_loss(batch, &guide, &edges)?.double_value(&[]);
                let typical = f64::from(TYPICAL_ERROR);
                results.push((
                    format!("solved {scale}"),
                    20.0 * (255f64.log10() - error * 255.0 / typical / 10f64.ln()),
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
            let guide = self.predict(weights, batch, Kind::Float)?.0;
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

impl SmoothingTask<'_> {
    /// Returns the share of each patch's loss that judges the guidance map itself. It is 1 for
    /// photographs: their targets are soft, and with a loss on the solver's output their guidance
    /// maps became soft too.
    fn guide_shares(&self, batch: &PatchBatch) -> Tensor {
        let shares: Vec<f32> = batch
            .exact
            .iter()
            .map(|exact| if *exact { 1.0 - self.options.solver_loss_share as f32 } else { 1.0 })
            .collect();
        Tensor::from_slice(&shares).view([-1, 1, 1, 1]).to_device(batch.input.device())
    }

    /// Returns the predicted guidance map, `[n, 6, h, w]`, and the edge logits, `[n, 1, h, w]`.
    fn predict(
        &self,
        weights: &[Tensor],
        batch: &PatchBatch,
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
    /// scaled by [`TYPICAL_ERROR`]. The gradient flows to the guidance map and the edge logits.
    fn solver_loss(
        &self,
        batch: &PatchBatch,
        guide: &Tensor,
        edges: &Tensor,
    ) -> Result<Tensor, Error> {
        let threads = Threads::new(1)?;
        let code_values = |t: Tensor| -> Result<Vec<f32>, tch::TchError> {
            Vec::try_from((t.detach() * 255.0 + 128.0).contiguous().view(-1))
        };
        let full = |t: &Tensor| t.narrow(1, 0, 4).f_pixel_shuffle(2);
        let side = self.options.run.patch_side;
        let count = batch.scales.len();
        let (luma_guide, chroma) = (full(guide)?, guide.narrow(1, 4, 2));
        let [luma, target, guides] = [
            code_values(full(&batch.planes)?)?,
            code_values(full(&batch.target)?)?,
            code_values(luma_guide.shallow_clone())?,
        ];
        let chromas = code_values(chroma.shallow_clone())?;
        let edge_logits = Vec::<f32>::try_from(edges.detach().contiguous().view(-1))?;
        let (pixel_count, cell_count) = (side * side, side * side / 4);
        let plane = |values: &[f32], i: usize, side: usize| -> Array2<f32> {
            let size = side * side;
            Array2::from_shape_fn((side, side), |(y, x)| values[i * size + y * side + x])
        };
        let (exact, scales) = (&batch.exact, &batch.scales);
        let solve = |i: usize| {
            let prediction = Prediction {
                guide: plane(&guides, i, side),
                chroma: [plane(&chromas, 2 * i, side / 2), plane(&chromas, 2 * i + 1, side / 2)],
                edges: plane(&edge_logits, i, side / 2),
            };
            solver_gradient::solve_with_gradient(
                &plane(&luma, i, side),
                &prediction,
                &plane(&target, i, side),
                scales[i],
                &threads,
            )
        };
        let solutions: Vec<_> =
            (0..count).into_par_iter().map(|i| exact[i].then(|| solve(i))).collect();
        let mut errors = Vec::with_capacity(count);
        let [mut by_guide, mut by_chroma, mut by_edges] =
            [pixel_count, 2 * cell_count, cell_count].map(|size| Vec::with_capacity(count * size));
        for solution in solutions {
            let Some((error, by)) = solution else {
                by_guide.extend(std::iter::repeat_n(0.0, pixel_count));
                by_chroma.extend(std::iter::repeat_n(0.0, 2 * cell_count));
                by_edges.extend(std::iter::repeat_n(0.0, cell_count));
                continue;
            };
            errors.push(error);
            // The gradient of the logarithm: a relative improvement counts alike for large and
            // small errors.
            let weight = TYPICAL_ERROR / (error + MIN_ERROR);
            by_guide.extend(by.guide.iter().map(|by| weight * by));
            by.chroma.iter().for_each(|plane| by_chroma.extend(plane.iter().map(|by| weight * by)));
            by_edges.extend(by.edges.iter().map(|by| weight * by));
        }
        // Returns a product of value 0 whose gradient with respect to `of` is `by`.
        let zero_with_gradient =
            |by: Vec<f32>, of: &Tensor, step: f64| -> Result<Tensor, tch::TchError> {
                let by = Tensor::from_slice(&by).view_as(of).to_device(of.device())
                    * (step / 255.0 / count as f64);
                let product = (of * by).f_sum(Kind::Float)?;
                product.f_sub(&product.detach())
            };
        let value = errors.iter().map(|error| (error + MIN_ERROR).ln()).sum::<f32>() / count as f32;
        let zero = zero_with_gradient(by_guide, &luma_guide, 255.0)?
            + zero_with_gradient(by_chroma, &chroma, 255.0)?
            + zero_with_gradient(by_edges, edges, 1.0)?;
        Ok(zero + f64::from(TYPICAL_ERROR / 255.0 * value))
    }
}

/// Returns the gradient contrast of the guidance map relative to that of the input images, in dB.
/// Gradient contrast is the mean gradient near annotated boundaries over that elsewhere.
fn relative_sharpness(guide: &Tensor, batch: &PatchBatch) -> Result<f64, Error> {
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

/// Returns the mean absolute error plus the weighted mean absolute error of the gradients.
fn gradient_aware_error(error: &Tensor) -> Tensor {
    let side = error.size()[2];
    let across = error.narrow(3, 1, side - 1) - error.narrow(3, 0, side - 1);
    let down = error.narrow(2, 1, side - 1) - error.narrow(2, 0, side - 1);
    let gradients = across.abs().mean(Kind::Float) + down.abs().mean(Kind::Float);
    error.abs().mean(Kind::Float) + gradients * GRADIENT_WEIGHT
}
