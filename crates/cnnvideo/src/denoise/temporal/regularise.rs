// SPDX-License-Identifier: MIT OR Apache-2.0

//! Regularises the motion field of blocks.
//!
//! The motion estimate of a single block is limited by its texture and by the noise. The
//! regularised field stays close to precise estimates of a block, and close to the neighbours
//! everywhere. Neighbours that move differently get little weight, so motion
//! boundaries stay sharp (robust estimation with the Geman-McClure function, as in Black and
//! Anandan, "The robust estimation of multiple motions: parametric and piecewise-smooth flow
//! fields", Computer Vision and Image Understanding 63(1), 1996).

use ndarray::Array2;

/// Expected difference in motion of neighbouring blocks, in pixels.
const NEIGHBOUR_SIGMA: f32 = 0.1;
/// Difference in motion, in pixels, at which the Geman-McClure weight of a neighbour falls to a
/// quarter.
const ROBUST_SCALE: f32 = 1.5;
/// Number of Gauss-Seidel sweeps.
const SWEEPS: usize = 6;
/// Number of rows in the wavefront of a sweep.
const WAVEFRONT_ROWS: usize = 4;

/// Motion that the search found for one block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BlockMotion {
    /// Displacement `[x, y]` in pixels.
    pub displacement: [f32; 2],
    /// Inverse variance of the displacement along each axis.
    pub precision: [f32; 2],
    /// Inverse variance of the displacement along each axis, by the measured difference of the
    /// pictures where it exceeds the assumed noise.
    pub measured_precision: [f32; 2],
    /// Evidence against no motion, relative to what noise alone causes: at most 1 in blocks that
    /// are probably still.
    pub motion_evidence: f32,
    /// Whether the block has texture that shows motion along one of the axes.
    pub has_texture: bool,
}

/// Fills `field` with the regularised displacements of the blocks by Gauss-Seidel iteration in
/// alternating directions.
pub(super) fn regularise(found: &Array2<BlockMotion>, field: &mut Array2<[f32; 2]>) {
    if field.dim() != found.dim() {
        *field = Array2::from_elem(found.dim(), [0.0; 2]);
    }
    field.zip_mut_with(found, |to, found| *to = found.displacement);
    let (rows, columns) = field.dim();
    let field = field.as_slice_mut().expect("the motion field is in standard layout");
    let found = found.as_slice().expect("the blocks' motion is in standard layout");
    let mut update = |y: usize, x: usize| {
        let i = y * columns + x;
        // Beyond the border the block is its own neighbour, which pulls it nowhere.
        let neighbours = [
            if y == 0 { i } else { i - columns },
            if y + 1 == rows { i } else { i + columns },
            if x == 0 { i } else { i - 1 },
            if x + 1 == columns { i } else { i + 1 },
        ];
        field[i] = weighted_mean(field[i], neighbours.map(|other| field[other]), &found[i]);
    };
    for sweep in 0..SWEEPS {
        for first in (0..rows).step_by(WAVEFRONT_ROWS) {
            let wavefront_rows = WAVEFRONT_ROWS.min(rows - first);
            // Each block depends on the one before it. Processing a few rows as a wavefront, each a
            // block behind the row above, gives independent work and the same result.
            for step in 0..columns + wavefront_rows - 1 {
                for wavefront_row in 0..wavefront_rows {
                    if let Some(x) = step.checked_sub(wavefront_row).filter(|x| *x < columns) {
                        let y = first + wavefront_row;
                        if sweep % 2 == 0 {
                            update(y, x)
                        } else {
                            update(rows - 1 - y, columns - 1 - x)
                        }
                    }
                }
            }
        }
    }
}

/// Returns the weighted mean of a block's own estimate `found` and its neighbours' displacements.
/// `own` is the block's present displacement, from which the neighbours' weights are computed.
#[inline(always)]
fn weighted_mean(own: [f32; 2], neighbours: [[f32; 2]; 4], found: &BlockMotion) -> [f32; 2] {
    const WEIGHT: f32 = 1.0 / (NEIGHBOUR_SIGMA * NEIGHBOUR_SIGMA);
    let mut sum = [0, 1].map(|axis| found.precision[axis] * found.displacement[axis]);
    let mut weights = found.precision;
    for other in neighbours {
        let distance = [0, 1].map(|axis| (other[axis] - own[axis]).powi(2));
        let near =
            1.0 / (1.0 + (distance[0] + distance[1]) * (1.0 / (ROBUST_SCALE * ROBUST_SCALE)));
        let weight = WEIGHT * near * near;
        for axis in 0..2 {
            sum[axis] += weight * other[axis];
            weights[axis] += weight;
        }
    }
    // Every neighbour has a positive weight, so the sum of the weights is never 0.
    [0, 1].map(|axis| sum[axis] / weights[axis])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regularises a field of 8 by 12 blocks.
    fn regularised(found: impl Fn(usize, usize) -> BlockMotion) -> Array2<[f32; 2]> {
        let mut field = Array2::default((0, 0));
        regularise(&Array2::from_shape_fn((8, 12), |(y, x)| found(y, x)), &mut field);
        field
    }

    #[test]
    fn blocks_without_texture_follow_their_neighbours() {
        let field = regularised(|y, x| {
            let certain = (y + x) % 3 != 0;
            BlockMotion {
                displacement: if certain { [2.25, -1.0] } else { [2.0, -0.5] },
                precision: [if certain { 1e4 } else { 0.0 }; 2],
                ..BlockMotion::default()
            }
        });
        assert!(
            field.iter().all(|[x, y]| (x - 2.25).abs() < 0.02 && (y + 1.0).abs() < 0.02),
            "{field:?}"
        );
    }

    #[test]
    fn wavefront_matches_sequential_order() {
        for (rows, columns) in [(1, 1), (3, 7), (4, 1), (9, 5), (13, 2)] {
            let value = |y: usize, x: usize, k: usize| ((y * 7 + x * 13 + k * 5) % 11) as f32 - 5.0;
            let found = Array2::from_shape_fn((rows, columns), |(y, x)| BlockMotion {
                displacement: [value(y, x, 0), value(y, x, 1)],
                precision: [value(y, x, 2).abs(), value(y, x, 3).abs()],
                ..BlockMotion::default()
            });
            let mut expected = found.mapv(|found| found.displacement);
            for sweep in 0..SWEEPS {
                for i in 0..rows * columns {
                    let i = if sweep % 2 == 0 { i } else { rows * columns - 1 - i };
                    let (y, x) = (i / columns, i % columns);
                    let neighbours = [
                        [y.saturating_sub(1), x],
                        [(y + 1).min(rows - 1), x],
                        [y, x.saturating_sub(1)],
                        [y, (x + 1).min(columns - 1)],
                    ];
                    expected[[y, x]] = weighted_mean(
                        expected[[y, x]],
                        neighbours.map(|other| expected[other]),
                        &found[[y, x]],
                    );
                }
            }
            let mut field = Array2::default((0, 0));
            regularise(&found, &mut field);
            assert_eq!(field, expected, "{rows}x{columns}");
        }
    }

    #[test]
    fn motion_boundaries_stay_sharp() {
        let field = regularised(|_, x| BlockMotion {
            displacement: [if x < 6 { 0.0 } else { 9.0 }, 0.0],
            precision: [300.0; 2],
            ..BlockMotion::default()
        });
        for ((_, x), [found, _]) in field.indexed_iter() {
            assert!((found - if x < 6 { 0.0 } else { 9.0 }).abs() < 0.3, "{x}: {found}");
        }
    }

    #[test]
    fn single_block_keeps_its_motion() {
        let mut field = Array2::default((0, 0));
        let motion =
            BlockMotion { displacement: [1.0, 2.0], precision: [0.0; 2], ..BlockMotion::default() };
        regularise(&Array2::from_elem((1, 1), motion), &mut field);
        assert_eq!(field[[0, 0]], [1.0, 2.0]);
    }
}
