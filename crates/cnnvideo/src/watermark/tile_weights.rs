// SPDX-License-Identifier: MIT OR Apache-2.0

//! Weights of the patterns of version 2 in each tile of a picture, for the embedder.

use ndarray::Array2;

use super::{
    describe::{BlurredLuma, Description, tile_centre},
    hops::{HopSequence, SEQUENCE},
    key::Key,
    mask::LumaSums,
    pattern::{HOPS, PILOT_ENERGY_SHARE},
    tiles::{Layer, TILE, TILE_COLUMNS, TILE_ROWS},
};
use crate::simd::vectorise;

/// Amplitude of the carriers of flat tiles, relative to those of described tiles.
const FLAT_TILE_AMPLITUDE: f32 = 0.7;
/// Radius, in mask cells, of the box filter that blurs luma for the description.
const DESCRIPTION_RADIUS: usize = 2;

/// Number of patterns: carriers of described tiles, carriers of flat tiles, pilot.
pub(super) const LAYERS: usize = 3;

/// Signs of the tiles of a key and key epoch, by hop and by picture.
pub(super) struct TileSigns {
    hops: HopSequence,
    /// Description for each hop label.
    descriptions: Vec<Description>,
}

/// Weights of the patterns in each tile of a picture.
pub(super) struct TileWeights {
    /// Signed weight of each pattern, by rows and columns of tiles.
    weights: Array2<[f32; LAYERS]>,
    /// Label of the hop.
    pub label: usize,
}

impl TileSigns {
    pub(super) fn new(key: &Key, epoch: u32) -> Self {
        let descriptions = (0..HOPS).map(|label| Description::new(key, epoch, label)).collect();
        Self { hops: HopSequence::new(key, epoch), descriptions }
    }

    /// Returns the weights for all tiles that the picture covers; `side` is the side of a cell in
    /// canonical pixels.
    pub(super) fn weights(&self, hop: u64, cells: &Array2<LumaSums>, side: f64) -> TileWeights {
        let hop = (hop % SEQUENCE as u64) as usize;
        let label = self.hops.label(hop);
        let luma = BlurredLuma::new(cells.map(|cell| cell.sum / cell.count), DESCRIPTION_RADIUS);
        let count = |cells: usize| (cells as f64 * side / TILE as f64) as usize + 1;
        let (pilot, carriers) = (PILOT_ENERGY_SHARE.sqrt(), (1.0 - PILOT_ENERGY_SHARE).sqrt());
        let dim = (count(cells.nrows()), count(cells.ncols()));
        let weights = Array2::from_shape_fn(dim, |(row, column)| {
            let tile = row % TILE_ROWS * TILE_COLUMNS + column % TILE_COLUMNS;
            let centre = tile_centre(column as i32, row as i32);
            let weight = self.descriptions[label].weight(tile, |offset| {
                let [x, y] = [0, 1].map(|i| ((centre[i] + offset[i] + 0.5) / side - 0.5) as f32);
                luma.at(x, y)
            });
            let sign = |layer| self.hops.sign(hop, layer as usize, tile);
            let flat = FLAT_TILE_AMPLITUDE * (1.0 - weight.abs());
            [carriers * weight * sign(Layer::Described), carriers * flat * sign(Layer::Flat), pilot]
        });
        TileWeights { weights, label }
    }
}

impl TileWeights {
    /// Returns the sum over cells of the squared amplitude, times that of the weights.
    pub(super) fn power(&self, amplitudes: &Array2<f32>, side: f64) -> f32 {
        let tile = |cell: usize| ((cell as f64 + 0.5) * side / TILE as f64) as usize;
        let columns: Vec<_> = (0..amplitudes.ncols()).map(tile).collect();
        let powers = self.weights.map(|weights| weights.iter().map(|w| w * w).sum::<f32>());
        let rows = amplitudes.rows().into_iter().enumerate().map(|(y, row)| {
            let powers = powers.row(tile(y));
            row.iter().zip(&columns).map(|(a, column)| a * a * powers[*column]).sum::<f32>()
        });
        rows.sum()
    }

    /// Multiplies the samples of row `y` of a picture by its patterns with their weights; `scale`
    /// is the number of canonical pixels per pixel.
    pub(super) fn multiply(&self, to: &mut [f32], y: usize, patterns: [&[i8]; LAYERS], scale: f64) {
        let tile = |i: usize| ((i as f64 + 0.5) * scale / TILE as f64) as usize;
        let weights = self.weights.row(tile(y).min(self.weights.nrows() - 1));
        let mut start = 0;
        for (column, weights) in weights.iter().enumerate() {
            // The first pixel whose centre is in the next tile.
            let border = ((column + 1) * TILE) as f64 / scale - 0.5;
            let end = (border.ceil() as usize).clamp(start, to.len());
            let part = start..end;
            start = end;
            multiply_part(&mut to[part.clone()], patterns.map(|p| &p[part.clone()]), weights);
        }
    }
}

/// Multiplies the samples of one tile by the weighted sum of the patterns.
fn multiply_part(to: &mut [f32], [a, b, c]: [&[i8]; LAYERS], weights: &[f32; LAYERS]) {
    vectorise(
        #[inline(always)]
        || {
            for (((to, a), b), c) in to.iter_mut().zip(a).zip(b).zip(c) {
                *to *= weights[0] * f32::from(*a)
                    + weights[1] * f32::from(*b)
                    + weights[2] * f32::from(*c);
            }
        },
    );
}
