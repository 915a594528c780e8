// SPDX-License-Identifier: MIT OR Apache-2.0

//! Applies the description of received pictures to their residuals, so that the carriers of all
//! tiles add up over pictures.

use ndarray::Array2;

use super::{
    collect::{RESIDUAL_STEPS, ReceivedPicture},
    describe::{Description, RECEIVED_CELL, tile_centre},
    geometry::Geometry,
    tiles::{TILE, TILE_COLUMNS, TILE_ROWS},
};
use crate::simd::vectorise;

/// Part of a row of a received picture that lies in one tile.
struct Span {
    /// Column after the last one.
    end: u32,
    /// Index of the tile in [`TileMap::tiles`].
    tile: u32,
}

/// The tiles of a received picture in one geometry.
pub(super) struct TileMap {
    /// Rows and columns of the received picture on the canonical raster.
    dim: (usize, usize),
    /// Index on the plane of each tile, and its centre in the received picture.
    tiles: Vec<(usize, [f64; 2])>,
    /// Spans of each row.
    spans: Vec<Vec<Span>>,
    /// Linear map from the plane to the received picture.
    inverse: [[f64; 2]; 2],
}

/// Residuals of a run of pictures after demodulation.
pub(super) struct Demodulated {
    /// Sum over the pictures for the carriers of described tiles.
    pub described: Array2<f32>,
    /// Sum for the carriers of flat tiles.
    pub flat: Array2<f32>,
    /// Sum of the magnitudes of the tiles' weights.
    weights: f32,
    /// Sum of the squared weights of the described and of the flat tiles.
    squares: [f32; 2],
    /// Number of tiles, over all pictures.
    count: usize,
}

impl Demodulated {
    /// Returns the mean magnitude of the tiles' weights.
    pub(super) fn described_share(&self) -> f32 {
        self.weights / self.count.max(1) as f32
    }

    /// Returns the mean squared weight of the described and of the flat tiles.
    pub(super) fn powers(&self) -> [f32; 2] {
        self.squares.map(|square| square / self.count.max(1) as f32)
    }

    /// Adds other pictures of the same size.
    pub(super) fn add(&mut self, other: &Self) {
        self.described += &other.described;
        self.flat += &other.flat;
        self.weights += other.weights;
        self.squares.iter_mut().zip(other.squares).for_each(|(to, v)| *to += v);
        self.count += other.count;
    }
}

impl TileMap {
    /// Finds the tiles of a picture of `dim` rows and columns; `None` if the geometry cannot be
    /// inverted.
    pub(super) fn new(geometry: &Geometry, dim: (usize, usize)) -> Option<Self> {
        let inverse = geometry.inverse()?;
        let (height, width) = dim;
        let mut tiles = Vec::new();
        let mut indices = std::collections::HashMap::new();
        let step = [geometry.matrix[0][0], geometry.matrix[1][0]];
        let mut spans = Vec::with_capacity(height);
        for y in 0..height {
            let mut at = geometry.apply([0.0, y as f64]);
            let mut row: Vec<Span> = Vec::new();
            let mut last = None;
            for x in 0..width {
                let tile = at.map(|v| ((v + 0.5) / TILE as f64).floor() as i32);
                if last != Some(tile) {
                    let next = tiles.len() as u32;
                    let index = *indices.entry(tile).or_insert(next);
                    if index == next {
                        tiles.push(locate(geometry, &inverse, tile));
                    }
                    row.push(Span { end: 0, tile: index });
                    last = Some(tile);
                }
                if let Some(span) = row.last_mut() {
                    span.end = x as u32 + 1;
                }
                at = [at[0] + step[0], at[1] + step[1]];
            }
            spans.push(row);
        }
        Some(Self { dim, tiles, spans, inverse })
    }

    /// Demodulates pictures of one hop label.
    pub(super) fn demodulate<'a>(
        &self,
        pictures: impl Iterator<Item = &'a ReceivedPicture>,
        description: &Description,
    ) -> Demodulated {
        let (mut described, mut flat) = (Array2::zeros(self.dim), Array2::zeros(self.dim));
        let (mut sum, mut squares, mut count) = (0.0, [0.0; 2], 0);
        let mut weights = Vec::with_capacity(self.tiles.len());
        for picture in pictures {
            weights.clear();
            weights.extend(self.tiles.iter().map(|tile| self.weight(tile, picture, description)));
            for weight in &weights {
                let weight: f32 = f32::abs(*weight);
                sum += weight;
                squares[0] += weight * weight;
                squares[1] += (1.0 - weight) * (1.0 - weight);
            }
            count += weights.len();
            let rows = described.rows_mut().into_iter().zip(flat.rows_mut());
            for (y, (described, flat)) in rows.enumerate() {
                let described = described.into_slice().expect("own planes are contiguous");
                let flat = flat.into_slice().expect("own planes are contiguous");
                let residual = &picture.residual[y * self.dim.1..][..self.dim.1];
                vectorise(
                    #[inline(always)]
                    || add_row(described, flat, residual, &self.spans[y], &weights),
                );
            }
        }
        Demodulated { described, flat, weights: sum, squares, count }
    }

    /// Returns the weight of a tile in a picture.
    fn weight(
        &self,
        (index, centre): &(usize, [f64; 2]),
        picture: &ReceivedPicture,
        description: &Description,
    ) -> f32 {
        let [[a, b], [c, d]] = self.inverse;
        description.weight(*index, |[x, y]| {
            let at = [centre[0] + a * x + b * y, centre[1] + c * x + d * y];
            let [x, y] = at.map(|v| ((v + 0.5) / RECEIVED_CELL as f64 - 0.5) as f32);
            picture.luma.at(x, y)
        })
    }
}

/// Returns the index on the plane of a tile of the endless plane, and its centre in the received
/// picture.
fn locate(
    geometry: &Geometry,
    [[a, b], [c, d]]: &[[f64; 2]; 2],
    [column, row]: [i32; 2],
) -> (usize, [f64; 2]) {
    let index = row.rem_euclid(TILE_ROWS as i32) as usize * TILE_COLUMNS
        + column.rem_euclid(TILE_COLUMNS as i32) as usize;
    let centre = tile_centre(column, row);
    let [x, y] = [0, 1].map(|i| centre[i] - geometry.origin[i]);
    (index, [a * x + b * y + geometry.centre[0], c * x + d * y + geometry.centre[1]])
}

/// Adds a row of stored residuals, times the weights of the tiles, to those of the two layers.
#[inline(always)]
fn add_row(
    described: &mut [f32],
    flat: &mut [f32],
    residual: &[i8],
    spans: &[Span],
    weights: &[f32],
) {
    let mut start = 0;
    for span in spans {
        let (range, weight) = (start..span.end as usize, weights[span.tile as usize]);
        start = range.end;
        add_scaled(&mut described[range.clone()], &residual[range.clone()], weight);
        let rest = 1.0 - weight.abs();
        if rest > 0.0 {
            add_scaled(&mut flat[range.clone()], &residual[range], rest);
        }
    }
}

/// Adds stored residuals, times a weight, to `to`.
#[inline(always)]
fn add_scaled(to: &mut [f32], residual: &[i8], weight: f32) {
    let weight = weight / RESIDUAL_STEPS;
    to.iter_mut().zip(residual).for_each(|(to, v)| *to += weight * f32::from(*v));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_every_sample_with_its_tile() {
        let geometry = Geometry {
            matrix: [[0.8123, 0.3071], [-0.3071, 0.8123]],
            centre: [50.0, 30.0],
            origin: [500.0, 4.0],
        };
        let map = TileMap::new(&geometry, (60, 100)).unwrap();
        for (y, spans) in map.spans.iter().enumerate() {
            assert_eq!(spans.last().unwrap().end, 100);
            let mut start = 0;
            for span in spans {
                for x in start..span.end {
                    let [u, v] = geometry.apply([f64::from(x), y as f64]);
                    let tile = |v: f64, count: usize| {
                        ((v + 0.5) / TILE as f64).floor().rem_euclid(count as f64) as usize
                    };
                    let expected = tile(v, TILE_ROWS) * TILE_COLUMNS + tile(u, TILE_COLUMNS);
                    let (index, centre) = map.tiles[span.tile as usize];
                    assert_eq!(index, expected);
                    let [u2, v2] = geometry.apply(centre);
                    assert!((u - u2).abs() < 8.6 && (v - v2).abs() < 8.6);
                }
                start = span.end;
            }
        }
    }
}
