// SPDX-License-Identifier: MIT OR Apache-2.0

//! Means of a map in square windows.

use ndarray::{Array2, ArrayViewMut2, Zip};

use crate::simd::vectorise;

/// Reason why rows of maps can be viewed as slices.
const CONTIGUOUS: &str = "rows of own maps are contiguous";

/// Fills `to` with the means of `from` in windows of `WINDOW` by `WINDOW` cells, an odd side, for
/// the rows from `first` on. At the borders a window shrinks to its part inside the map. `columns`
/// is scratch memory for one row.
pub(crate) fn box_mean_rows<const WINDOW: usize>(
    from: &Array2<f32>,
    first: usize,
    to: &mut ArrayViewMut2<'_, f32>,
    columns: &mut [f32],
) {
    let reach = WINDOW / 2;
    let height = from.nrows();
    columns.fill(0.0);
    let add = |columns: &mut [f32], y: usize, sign: f32| {
        let row = from.row(y);
        let row = row.to_slice().expect(CONTIGUOUS);
        vectorise(
            #[inline(always)]
            || columns.iter_mut().zip(row).for_each(|(sum, v)| *sum += sign * v),
        );
    };
    (first.saturating_sub(reach)..(first + reach).min(height)).for_each(|y| add(columns, y, 1.0));
    for (y, row) in to.rows_mut().into_iter().enumerate().map(|(i, row)| (first + i, row)) {
        if y + reach < height {
            add(columns, y + reach, 1.0);
        }
        if y > first && y > reach {
            add(columns, y - reach - 1, -1.0);
        }
        let count = (y + reach).min(height - 1) - y.saturating_sub(reach) + 1;
        let to = row.into_slice().expect(CONTIGUOUS);
        vectorise(
            #[inline(always)]
            || box_mean_row::<WINDOW>(columns, count as f32, to),
        );
    }
}

/// Computes the horizontal window means from `columns`, each of which is the sum of `count` values.
#[inline(always)]
fn box_mean_row<const WINDOW: usize>(columns: &[f32], count: f32, to: &mut [f32]) {
    let (width, reach) = (columns.len(), WINDOW / 2);
    let inner = width.saturating_sub(WINDOW - 1);
    for x in (0..reach.min(width)).chain((reach + inner).min(width)..width) {
        let part = &columns[x.saturating_sub(reach)..(x + reach + 1).min(width)];
        to[x] = part.iter().sum::<f32>() / (part.len() as f32 * count);
    }
    if inner == 0 {
        return;
    }
    let share = 1.0 / (WINDOW as f32 * count);
    // One slice per neighbour, all of the same length, so that the sums stay in registers.
    let neighbours: [&[f32]; WINDOW] = std::array::from_fn(|i| &columns[i..i + inner]);
    for (x, to) in to[reach..][..inner].iter_mut().enumerate() {
        *to = neighbours.iter().map(|values| values[x]).sum::<f32>() * share;
    }
}

/// Computes the mean over `radius` values to each side along both axes, with replicated borders.
///
/// `rows` is a buffer of the same size.
pub(crate) fn box_mean(
    from: &Array2<f32>,
    radius: usize,
    rows: &mut Array2<f32>,
    to: &mut Array2<f32>,
) {
    let (height, width) = from.dim();
    let scale = 1.0 / (2 * radius + 1) as f32;
    for (from, mut to) in from.rows().into_iter().zip(rows.rows_mut()) {
        let from = from.to_slice().expect("rows of the plane are contiguous");
        let to = to.as_slice_mut().expect("rows of the buffer are contiguous");
        let last = from[width - 1];
        let at = |x: usize| from.get(x).copied().unwrap_or(last);
        let mut sum = from[0] * radius as f32 + (0..=radius).map(at).sum::<f32>();
        for (x, to) in to.iter_mut().enumerate() {
            *to = sum * scale;
            sum += at(x + radius + 1) - from[x.saturating_sub(radius)];
        }
    }
    let mut sum: ndarray::Array1<f32> = &rows.row(0) * radius as f32;
    for y in 0..=radius {
        sum += &rows.row(y.min(height - 1));
    }
    for y in 0..height {
        Zip::from(to.row_mut(y)).and(&sum).for_each(|to, sum| *to = sum * scale);
        let (entering, leaving) =
            (rows.row((y + radius + 1).min(height - 1)), rows.row(y.saturating_sub(radius)));
        Zip::from(&mut sum).and(&entering).and(&leaving).for_each(|sum, entering, leaving| {
            *sum += entering - leaving;
        });
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::*;

    #[test]
    fn means_match_window_means() {
        check::<3>();
        check::<11>();
        check::<9>();
    }

    fn check<const WINDOW: usize>() {
        let reach = WINDOW / 2;
        for (height, width) in [(1, 1), (3, 2), (9, 40), (70, 5), (67, 23)] {
            let map =
                Array2::from_shape_fn((height, width), |(y, x)| ((y * 37 + x * 11) % 29) as f32);
            let mut means = Array2::zeros(map.dim());
            let mut columns = vec![0.0; width];
            for (band, mut means) in means.axis_chunks_iter_mut(Axis(0), 32).enumerate() {
                box_mean_rows::<WINDOW>(&map, band * 32, &mut means, &mut columns);
            }
            for ((y, x), mean) in means.indexed_iter() {
                let rows = y.saturating_sub(reach)..(y + reach + 1).min(height);
                let window = map
                    .slice(ndarray::s![rows, x.saturating_sub(reach)..(x + reach + 1).min(width)]);
                assert!(
                    (mean - window.mean().unwrap()).abs() < 1e-3,
                    "{height}x{width} {WINDOW}: {y} {x}"
                );
            }
        }
    }

    #[test]
    fn box_mean_matches_direct_sum() {
        for (height, width) in [(1, 1), (3, 5), (9, 4), (20, 31)] {
            let plane =
                Array2::from_shape_fn((height, width), |(y, x)| ((x * 7 + y * 13) % 11) as f32);
            let (mut rows, mut mean) = (Array2::zeros(plane.dim()), Array2::zeros(plane.dim()));
            box_mean(&plane, 2, &mut rows, &mut mean);
            for ((y, x), v) in mean.indexed_iter() {
                let clamped = |i: i32, n: usize| i.clamp(0, n as i32 - 1) as usize;
                let near = (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dy, dx)));
                let sum: f32 = near
                    .map(|(dy, dx)| {
                        plane[[clamped(y as i32 + dy, height), clamped(x as i32 + dx, width)]]
                    })
                    .sum();
                assert!((v - sum / 25.0).abs() < 1e-4);
            }
        }
    }
}
