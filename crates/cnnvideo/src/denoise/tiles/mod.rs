// SPDX-License-Identifier: MIT OR Apache-2.0

//! Skips the network where a still scene has converged ([`Tiles`]).
//!
//! Where temporal fusion has averaged as many pictures as it can, the result hardly changes from
//! picture to picture. The picture is divided into tiles; converged tiles keep their result, and
//! are computed anew in turns (compare Habibian et al., "Skip-Convolutions for Efficient Video
//! Processing", CVPR 2021). The other tiles are computed together as one small picture, with
//! margins for the receptive field of the network.

mod atlas;
mod block_means;

use ndarray::{Array2, Axis};
use rayon::prelude::*;

pub(super) use self::atlas::SIZE as ATLAS_SIZE;
use self::{
    atlas::{Atlas, SLOTS, TilePosition},
    block_means::BlockMeans,
};
use super::{
    NoiseSigmas,
    network_run::{Engine, NetworkRun},
    rounding::Rounding,
    temporal::FusedPicture,
};
use crate::{
    frame::{FixedSample, Picture, PictureMut, Sample, convert::convert_row},
    nn::{Error, Threads},
};

/// Side of a tile in pixels.
const TILE: usize = 128;
/// Width of the margin around a tile in pixels. It covers the part of the receptive field that
/// matters.
const MARGIN: usize = 16;
/// Least number of tiles of a picture for which skipping pays.
const MIN_TILES: usize = 20;
/// Least share of converged tiles with which results are kept.
const MIN_CONVERGED_SHARE: f32 = 0.25;
/// Number of pictures after which a converged tile is computed anew.
const REFRESH_PERIOD: usize = 16;
/// Largest share of the pixels of the picture that are computed as tiles. Beyond it, the network
/// runs on the whole picture.
const MAX_TILED_SHARE: f32 = 0.7;
/// Relative change of the noise sigma or of the strength with which all results are discarded.
const MAX_CHANGE: f32 = 0.05;

/// What the results of all tiles depend on: the sigmas of the noise, and the strength.
type Settings = [f32; 3];

/// Results of converged tiles of a stream.
#[derive(Default)]
pub(super) struct Tiles {
    /// The denoised picture before rounding.
    result: Vec<Array2<FixedSample>>,
    /// What `result` was computed from in each tile; `None` if it is not converged.
    kept: Array2<Option<BlockMeans>>,
    /// Settings of the results.
    settings: Settings,
    /// Number of pictures.
    count: usize,
    atlas: Atlas,
    /// Share of the tiles that the last picture skipped.
    skipped: f32,
}

impl Tiles {
    /// Discards all results.
    pub(super) fn reset(&mut self) {
        self.kept.fill(None);
        self.skipped = 0.0;
    }

    /// Returns the share of the tiles of the last picture whose result was kept, 0 to 1.
    pub(super) fn skipped(&self) -> f32 {
        self.skipped
    }

    /// Denoises a picture like [`NetworkRun::run`], whose noise is `sigmas`.
    ///
    /// # Errors
    /// The network fails to run, or its session cannot be created.
    pub(super) fn run<T: Sample, U: Sample>(
        &mut self,
        run: &NetworkRun<'_>,
        sigmas: NoiseSigmas,
        mut engine: Engine<'_>,
        input: &Picture<'_, T>,
        fused: &FusedPicture<'_>,
        output: &mut PictureMut<'_, U>,
    ) -> Result<(), Error> {
        self.prepare(fused, [sigmas.main, sigmas.chroma, run.weights.strength]);
        let threads = engine.threads;
        let mut converged = converged_tiles(fused, self.kept.dim(), threads);
        let count = converged.iter().flatten().count();
        let is_worthwhile = converged.len() >= MIN_TILES
            && count as f32 >= MIN_CONVERGED_SHARE * converged.len() as f32;
        if !is_worthwhile {
            self.reset();
            return run.run(engine.session(input.size())?, input, Some(fused), output);
        }
        self.allocate(fused);
        let tiles = self.tiles_to_compute(&converged, sigmas);
        let pixels = tiles.len().div_ceil(SLOTS) * ATLAS_SIZE[0] * ATLAS_SIZE[1];
        let (width, height) = input.size();
        if pixels as f32 > MAX_TILED_SHARE * (width * height) as f32 {
            self.skipped = 0.0;
            let components = self.result.iter_mut().map(|plane| plane.view_mut()).collect();
            let mut result = PictureMut { colour: input.colour, components };
            run.run(engine.session(input.size())?, input, Some(fused), &mut result)?;
            self.kept = converged;
        } else {
            self.skipped = 1.0 - tiles.len() as f32 / converged.len() as f32;
            self.compute(run, &mut engine, input, fused, &tiles)?;
            for tile in tiles {
                self.kept[tile] = converged[tile].take();
            }
        }
        self.output(run.weights.dither, output, threads);
        Ok(())
    }

    /// Counts the picture. Discards the results if its size or the settings changed.
    fn prepare(&mut self, fused: &FusedPicture<'_>, settings: Settings) {
        let dim = tiles_of(fused.picture.size());
        if self.kept.dim() != dim {
            self.kept = Array2::default(dim);
        }
        let changed = |(a, b): (&f32, &f32)| (a - b).abs() > MAX_CHANGE * a.max(*b);
        if self.settings.iter().zip(&settings).any(changed) {
            self.settings = settings;
            self.kept.fill(None);
        }
        self.count = self.count.wrapping_add(1);
    }

    /// Allocates memory for the result of pictures like `fused`.
    fn allocate(&mut self, fused: &FusedPicture<'_>) {
        let components = &fused.picture.components;
        let fits = self.result.len() == components.len()
            && self.result.iter().zip(components).all(|(a, b)| a.dim() == b.dim());
        if !fits {
            self.result = components.iter().map(|c| Array2::default(c.dim())).collect();
            self.kept.fill(None);
        }
    }

    /// Returns the tiles whose result is not kept, that changed, or that are to be computed anew.
    fn tiles_to_compute(
        &self,
        converged: &Array2<Option<BlockMeans>>,
        sigmas: NoiseSigmas,
    ) -> Vec<TilePosition> {
        let is_needed = |i: usize, now: &Option<BlockMeans>, kept: &Option<BlockMeans>| {
            let (Some(now), Some(kept)) = (now, kept) else { return true };
            let is_due = (i + self.count).is_multiple_of(REFRESH_PERIOD);
            is_due || now.differ_from(kept, sigmas)
        };
        let tiles = converged.indexed_iter().zip(&self.kept).enumerate();
        tiles
            .filter(|(i, ((_, now), kept))| is_needed(*i, now, kept))
            .map(|(_, (((row, column), _), _))| [row, column])
            .collect()
    }

    /// Computes the results of tiles.
    fn compute<T: Sample>(
        &mut self,
        run: &NetworkRun<'_>,
        engine: &mut Engine<'_>,
        input: &Picture<'_, T>,
        fused: &FusedPicture<'_>,
        tiles: &[TilePosition],
    ) -> Result<(), Error> {
        let session = engine.network.for_tiles(engine.threads.count())?;
        for tiles in tiles.chunks(SLOTS) {
            self.atlas.load(input, fused, tiles);
            let (of_input, of_fused, mut to) = self.atlas.pictures(fused);
            run.run(session, &of_input, Some(&of_fused), &mut to)?;
            self.atlas.store(input.colour, tiles, &mut self.result);
        }
        Ok(())
    }

    /// Rounds the result to the samples of the output.
    fn output<U: Sample>(&self, dither: bool, output: &mut PictureMut<'_, U>, threads: &Threads) {
        for (plane, to) in self.result.iter().zip(&mut output.components) {
            let rows = plane.axis_iter(Axis(0)).into_par_iter();
            let rows = rows.zip(to.axis_iter_mut(Axis(0)).into_par_iter()).enumerate();
            let memory = || (Rounding::default(), vec![0.0; plane.ncols()]);
            threads.enter(|| {
                rows.for_each_init(memory, |(rounding, values), (y, (from, to))| {
                    convert_row(from, values);
                    rounding.store(values, y, dither, to);
                });
            });
        }
    }
}

/// Returns the number of rows and columns of tiles of a picture of a width and height.
fn tiles_of((width, height): (usize, usize)) -> (usize, usize) {
    (height.div_ceil(TILE), width.div_ceil(TILE))
}

/// Returns whether tiles of a picture of a width and height can be skipped.
pub(super) fn can_skip(size: (usize, usize)) -> bool {
    let (rows, columns) = tiles_of(size);
    rows * columns >= MIN_TILES
}

/// Returns the means of the tiles that have converged, for `dim` tiles.
fn converged_tiles(
    fused: &FusedPicture<'_>,
    dim: (usize, usize),
    threads: &Threads,
) -> Array2<Option<BlockMeans>> {
    let mut converged = Array2::default(dim);
    let rows = converged.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
    threads.enter(|| {
        rows.for_each(|(row, mut tiles)| {
            for (column, tile) in tiles.iter_mut().enumerate() {
                *tile = BlockMeans::of_converged([row, column], fused);
            }
        });
    });
    converged
}
