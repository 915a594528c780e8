//! Regions at the size of the frame.

use ndarray::{Array2, ArrayViewMut1, ArrayViewMut2, Axis};
use rayon::prelude::*;

/// Where along one axis the pixels of a larger picture lie in a smaller: the one before, and how far on the way to the next.
fn places(large: usize, small: usize) -> Vec<(usize, f32)> {
    let step = small as f32 / large.max(1) as f32;
    (0..large)
        .map(|i| {
            let at = ((i as f32 + 0.5) * step - 0.5).clamp(0.0, small as f32 - 1.0);
            let first = (at as usize).min(small.saturating_sub(2));
            (first, at - first as f32)
        })
        .collect()
}

/// Fills a mask with the label of the likeliest region at each pixel, 0 where none is likelier than not. `regions` are labels with
/// probabilities, all of one size.
pub fn fill(regions: &[(u8, &Array2<f32>)], mut mask: ArrayViewMut2<'_, u8>) {
    let Some((_, first)) = regions.first() else { return mask.fill(0) };
    let (height, width) = first.dim();
    let (rows, columns) = (places(mask.nrows(), height), places(mask.ncols(), width));
    mask.axis_iter_mut(Axis(0)).into_par_iter().zip(&rows).for_each_init(
        || (vec![0.0; width + 1], vec![0.5; columns.len()]),
        |(line, best), (mut row, (y, fy))| {
            row.fill(0);
            if let [(label, region)] = regions {
                interpolate(region, *y, *fy, line);
                only(*label, line, &columns, &mut row);
                return;
            }
            best.fill(0.5);
            for (label, region) in regions {
                interpolate(region, *y, *fy, line);
                for ((to, best), (x, fx)) in row.iter_mut().zip(&mut *best).zip(&columns) {
                    let p = line[*x] + fx * (line[*x + 1] - line[*x]);
                    if p > *best {
                        (*to, *best) = (*label, p);
                    }
                }
            }
        },
    );
}

/// Between rows `y` and `y + 1`; the last value is there twice.
fn interpolate(region: &Array2<f32>, y: usize, fy: f32, line: &mut [f32]) {
    let (above, below) = (region.row(y), region.row((y + 1).min(region.nrows() - 1)));
    line.iter_mut().zip(above.iter().zip(below)).for_each(|(to, (a, b))| *to = a + fy * (b - a));
    let last = line.len() - 1;
    line[last] = line[last - 1];
}

fn only(label: u8, line: &[f32], columns: &[(usize, f32)], row: &mut ArrayViewMut1<'_, u8>) {
    for (to, (x, fx)) in row.iter_mut().zip(columns) {
        *to = label * u8::from(line[*x] + fx * (line[*x + 1] - line[*x]) > 0.5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_lie_between_pixels() {
        let left = Array2::from_shape_fn((6, 8), |(_, x)| if x < 4 { 1.0 } else { 0.0 });
        let right = left.mapv(|p: f32| 0.9 * (1.0 - p));
        let mut mask = Array2::from_elem((18, 24), 9);
        fill(&[(2, &left)], mask.view_mut());
        assert!(mask.indexed_iter().all(|((_, x), v)| *v == if x < 12 { 2 } else { 0 }), "{mask}");
        fill(&[(2, &left), (5, &right)], mask.view_mut());
        assert!(mask.indexed_iter().all(|((_, x), v)| *v == if x < 12 { 2 } else { 5 } || (11..13).contains(&x)));
        fill(&[], mask.view_mut());
        assert!(mask.iter().all(|v| *v == 0));
        // A single pixel is a region too.
        let mut mask = Array2::from_elem((3, 3), 0);
        fill(&[(1, &Array2::from_elem((1, 1), 1.0))], mask.view_mut());
        assert!(mask.iter().all(|v| *v == 1));
    }
}
