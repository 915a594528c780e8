//! Shifts the past to where things are now.

use ndarray::{Array2, ArrayViewMut1, Axis, s};
use rayon::prelude::*;

use super::motion::{BLOCK, Motion};
use crate::nn::Threads;

/// Shifts a plane block by block, with cubic interpolation between pixels (Keys, "Cubic convolution interpolation for
/// digital image processing", 1981): a bilinear one would blur a little more with each picture. `shifts` tells by which
/// powers of two the plane is smaller than the picture.
pub(super) fn shift(plane: &Array2<f32>, motion: &Motion, shifts: [u32; 2], to: &mut Array2<f32>, threads: &Threads) {
    if to.dim() != plane.dim() {
        *to = Array2::zeros(plane.dim());
    }
    let [side_x, side_y] = shifts.map(|shift| BLOCK >> shift);
    let scale = shifts.map(|shift| 1.0 / (1 << shift) as f32);
    threads.enter(|| {
        to.axis_chunks_iter_mut(Axis(0), side_y).into_par_iter().enumerate().for_each(|(by, mut rows)| {
            let mut lines = vec![0.0; side_x + 3];
            for (y, mut row) in rows.axis_iter_mut(Axis(0)).enumerate() {
                let y = by * side_y + y;
                for (bx, chunk) in row.axis_chunks_iter_mut(Axis(0), side_x).enumerate() {
                    let [dx, dy] = motion.blocks[[by, bx]];
                    shift_run(plane, [bx * side_x, y], [dx * scale[0], dy * scale[1]], &mut lines, chunk);
                }
            }
        });
    });
}

/// One row of a block.
fn shift_run(
    plane: &Array2<f32>,
    [x, y]: [usize; 2],
    [dx, dy]: [f32; 2],
    line: &mut [f32],
    mut to: ArrayViewMut1<'_, f32>,
) {
    let (height, width) = plane.dim();
    let (whole_x, whole_y) = (dx.floor(), dy.floor());
    let (weights_x, weights_y) = (cubic(dx - whole_x), cubic(dy - whole_y));
    let (x, y) = (x as isize + whole_x as isize, y as isize + whole_y as isize);
    let row = |i: usize| plane.row((y - 1 + i as isize).clamp(0, height as isize - 1) as usize);
    let rows = [row(0), row(1), row(2), row(3)];
    let rows = rows.each_ref().map(|row| row.as_slice().unwrap_or(&[]));
    let needed = to.len() + 3;
    let line = &mut line[..needed];
    let start = x - 1;
    if start >= 0 && start as usize + needed <= width {
        let rows = rows.map(|row| &row[start as usize..][..needed]);
        for (i, value) in line.iter_mut().enumerate() {
            *value = (0..4).map(|r| weights_y[r] * rows[r][i]).sum();
        }
    } else {
        for (i, value) in line.iter_mut().enumerate() {
            let at = (start + i as isize).clamp(0, width as isize - 1) as usize;
            *value = (0..4).map(|r| weights_y[r] * rows[r][at]).sum();
        }
    }
    for (i, value) in to.iter_mut().enumerate() {
        *value = (0..4).map(|c| weights_x[c] * line[i + c]).sum();
    }
}

/// Weights of four neighbours for a point `fraction` of the way from the second to the third.
fn cubic(fraction: f32) -> [f32; 4] {
    let t = fraction;
    [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]
}

/// Shifts a map of half the picture's size by whole pixels.
pub(super) fn nearest(map: &Array2<f32>, motion: &Motion, to: &mut Array2<f32>) {
    let (height, width) = map.dim();
    if to.dim() != map.dim() {
        *to = Array2::zeros(map.dim());
    }
    let side = BLOCK / 2;
    for ((by, bx), [dx, dy]) in motion.blocks.indexed_iter() {
        let (dx, dy) = ((dx * 0.5).round() as isize, (dy * 0.5).round() as isize);
        let (rows, columns) = (by * side..((by + 1) * side).min(height), bx * side..((bx + 1) * side).min(width));
        for y in rows {
            let from = map.row((y as isize + dy).clamp(0, height as isize - 1) as usize);
            let mut to = to.slice_mut(s![y, columns.clone()]);
            for (x, value) in columns.clone().zip(to.iter_mut()) {
                *value = from[(x as isize + dx).clamp(0, width as isize - 1) as usize];
            }
        }
    }
}
