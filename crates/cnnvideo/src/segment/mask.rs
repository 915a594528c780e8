// SPDX-License-Identifier: MIT OR Apache-2.0

//! Label masks at the size of the frame, upscaled from the probability maps of the regions.

use ndarray::{Array2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::resample::{self, Position};

/// Returns the position in an axis of `small` pixels of each pixel of an axis of `large` pixels.
fn positions(large: usize, small: usize) -> Vec<Position> {
    let step = small as f32 / large.max(1) as f32;
    (0..large).map(|i| resample::position((i as f32 + 0.5) * step - 0.5, small)).collect()
}

/// Fills `mask` with the label of the most probable region at each pixel, 0 where no probability
/// exceeds one half.
///
/// `regions` are labels with their probability maps, all of one size. The maps are interpolated
/// bilinearly to the size of `mask`.
pub(super) fn fill_label_mask(regions: &[(u8, &Array2<f32>)], mut mask: ArrayViewMut2<'_, u8>) {
    let Some((_, first)) = regions.first() else { return mask.fill(0) };
    let (height, width) = first.dim();
    let (rows, columns) = (positions(mask.nrows(), height), positions(mask.ncols(), width));
    let spans = span_starts(&columns, width);
    mask.axis_iter_mut(Axis(0)).into_par_iter().zip(&rows).for_each_init(
        || (Vec::new(), vec![0.5; columns.len()]),
        |(line, best), (mut row, y)| {
            row.fill(0);
            if let ([(label, region)], Some(row)) = (regions, row.as_slice_mut()) {
                resample::interpolate_row(region, *y, line);
                fill_single_region(*label, line, (&columns, &spans), row);
                return;
            }
            best.fill(0.5);
            for (label, region) in regions {
                resample::interpolate_row(region, *y, line);
                for ((to, best), x) in row.iter_mut().zip(&mut *best).zip(&columns) {
                    let p = resample::interpolate_at(line, *x);
                    if p > *best {
                        (*to, *best) = (*label, p);
                    }
                }
            }
        },
    );
}

/// Returns for each of `small` source pixels the index of the first output column whose left source
/// pixel is that one, followed by the number of columns. `columns` are in ascending order.
fn span_starts(columns: &[Position], small: usize) -> Vec<usize> {
    (0..=small).map(|x| columns.partition_point(|(first, _)| *first < x)).collect()
}

/// Fills a row of the mask if there is only one region. Spans between two source pixels on the same
/// side of one half need no interpolation.
fn fill_single_region(
    label: u8,
    line: &[f32],
    (columns, spans): (&[Position], &[usize]),
    row: &mut [u8],
) {
    let inside_ends = line.windows(2).map(|ends| ends.iter().filter(|p| **p > 0.5).count());
    for (count, span) in inside_ends.zip(spans.windows(2)) {
        let row = &mut row[span[0]..span[1]];
        match count {
            // The caller has cleared the row.
            0 => {}
            2 => row.fill(label),
            _ => {
                for (to, position) in row.iter_mut().zip(&columns[span[0]..span[1]]) {
                    *to = label * u8::from(resample::interpolate_at(line, *position) > 0.5);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_is_interpolated() {
        let left = Array2::from_shape_fn((6, 8), |(_, x)| if x < 4 { 1.0 } else { 0.0 });
        let right = left.mapv(|p: f32| 0.9 * (1.0 - p));
        let mut mask = Array2::from_elem((18, 24), 9);
        fill_label_mask(&[(2, &left)], mask.view_mut());
        assert!(mask.indexed_iter().all(|((_, x), v)| *v == if x < 12 { 2 } else { 0 }), "{mask}");
        fill_label_mask(&[(2, &left), (5, &right)], mask.view_mut());
        assert!(
            mask.indexed_iter()
                .all(|((_, x), v)| *v == if x < 12 { 2 } else { 5 } || (11..13).contains(&x))
        );
        fill_label_mask(&[], mask.view_mut());
        assert!(mask.iter().all(|v| *v == 0));
        // A mask whose rows are not contiguous gets the same labels.
        let mut transposed = Array2::from_elem((24, 18), 9);
        fill_label_mask(&[(2, &left)], transposed.view_mut().reversed_axes());
        assert!(transposed.indexed_iter().all(|((x, _), v)| *v == if x < 12 { 2 } else { 0 }));
        // A probability map of a single pixel.
        let mut mask = Array2::from_elem((3, 3), 0);
        fill_label_mask(&[(1, &Array2::from_elem((1, 1), 1.0))], mask.view_mut());
        assert!(mask.iter().all(|v| *v == 1));
    }
}
