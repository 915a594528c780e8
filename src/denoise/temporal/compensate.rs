//! Shifts the past to where things are now.

use ndarray::{Array2, ArrayViewMut1, Axis, s};
use rayon::prelude::*;

use super::motion::{BLOCK, Motion};
use crate::nn::Threads;

/// Neighbours in a row or column that a value between pixels is made from.
const TAPS: usize = 6;

/// Shifts a plane block by block, with Lanczos's interpolation between pixels (Duchon, "Lanczos filtering in one and two
/// dimensions", Journal of Applied Meteorology 18, 1979): the past goes through this again with each picture, and a
/// shorter one would blur a little more each time. `shifts` tells by which powers of two the plane is smaller than the picture.
pub(super) fn shift(plane: &Array2<f32>, motion: &Motion, shifts: [u32; 2], to: &mut Array2<f32>, threads: &Threads) {
    if to.dim() != plane.dim() {
        *to = Array2::zeros(plane.dim());
    }
    let [side_x, side_y] = shifts.map(|shift| BLOCK >> shift);
    let scale = shifts.map(|shift| 1.0 / (1 << shift) as f32);
    threads.enter(|| {
        to.axis_chunks_iter_mut(Axis(0), side_y).into_par_iter().enumerate().for_each(|(by, mut rows)| {
            let mut line = vec![0.0; side_x + TAPS - 1];
            for (bx, mut block) in rows.axis_chunks_iter_mut(Axis(1), side_x).enumerate() {
                let [dx, dy] = motion.blocks[[by, bx]];
                let along = |at: usize, d: f32| {
                    let whole = d.floor();
                    ((at as isize).saturating_add(whole as isize), lanczos(d - whole))
                };
                let (x, across) = along(bx * side_x, dx * scale[0]);
                let (y, down) = along(by * side_y, dy * scale[1]);
                for (i, row) in block.axis_iter_mut(Axis(0)).enumerate() {
                    shift_run(plane, [x, y.saturating_add(i as isize)], [&across, &down], &mut line, row);
                }
            }
        });
    });
}

/// One row of a block, from `[x, y]` on.
fn shift_run(
    plane: &Array2<f32>,
    [x, y]: [isize; 2],
    [across, down]: [&[f32; TAPS]; 2],
    line: &mut [f32],
    mut to: ArrayViewMut1<'_, f32>,
) {
    const BEFORE: isize = TAPS as isize / 2 - 1;
    let (height, width) = plane.dim();
    let rows: [&[f32]; TAPS] = std::array::from_fn(|i| {
        let row = (y - BEFORE + i as isize).clamp(0, height as isize - 1);
        plane.row(row as usize).to_slice().unwrap_or(&[])
    });
    let needed = to.len() + TAPS - 1;
    let line = &mut line[..needed];
    let start = x - BEFORE;
    if start >= 0 && start as usize + needed <= width {
        let rows = rows.map(|row| &row[start as usize..][..needed]);
        for (i, value) in line.iter_mut().enumerate() {
            *value = (0..TAPS).map(|r| down[r] * rows[r][i]).sum();
        }
    } else {
        for (i, value) in line.iter_mut().enumerate() {
            let at = (start + i as isize).clamp(0, width as isize - 1) as usize;
            *value = (0..TAPS).map(|r| down[r] * rows[r][at]).sum();
        }
    }
    for (i, value) in to.iter_mut().enumerate() {
        *value = (0..TAPS).map(|c| across[c] * line[i + c]).sum();
    }
}

/// Weights of the neighbours of a point `fraction` of the way from the third to the fourth.
fn lanczos(fraction: f32) -> [f32; TAPS] {
    let reach = TAPS as f32 / 2.0;
    let weights: [f32; TAPS] = std::array::from_fn(|i| {
        let distance = std::f32::consts::PI * (i as f32 - (reach - 1.0) - fraction);
        if distance.abs() < 1e-4 {
            1.0
        } else if distance.abs() >= std::f32::consts::PI * reach {
            0.0
        } else {
            reach * distance.sin() * (distance / reach).sin() / (distance * distance)
        }
    });
    let sum: f32 = weights.iter().sum();
    weights.map(|weight| weight / sum)
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
