// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bilinear upsampling by two, row by row, with repeated borders.

use ndarray::Array2;

use super::cells::CONTIGUOUS;
use crate::simd::vectorise;

/// Weight of the nearer of two samples.
const NEAR: f32 = 0.75;

/// Fills `to` with row `y` of a map upsampled by two. `to` is at most twice as long as a row.
/// `line` is memory for one row.
pub(super) fn upsample_row(map: &Array2<f32>, y: usize, line: &mut Vec<f32>, to: &mut [f32]) {
    let (rows, columns) = map.dim();
    let near = (y / 2).min(rows - 1);
    let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(rows - 1) };
    let [near, far] = [near, far].map(|y| map.row(y).to_slice().expect(CONTIGUOUS));
    // One sample is repeated on each side.
    line.resize(columns + 2, 0.0);
    vectorise(
        #[inline(always)]
        || {
            let pairs = near.iter().zip(far);
            line[1..].iter_mut().zip(pairs).for_each(|(to, (near, far))| {
                *to = NEAR * near + (1.0 - NEAR) * far;
            });
        },
    );
    line[0] = line[1];
    line[columns + 1] = line[columns];
    let (pairs, last) = to.as_chunks_mut::<2>();
    vectorise(
        #[inline(always)]
        || {
            let around = line.iter().zip(&line[1..]).zip(&line[2..]);
            pairs.iter_mut().zip(around).for_each(|(to, ((left, own), right))| {
                let own = NEAR * own;
                *to = [own + (1.0 - NEAR) * left, own + (1.0 - NEAR) * right];
            });
        },
    );
    if let [last] = last {
        let x = pairs.len();
        *last = NEAR * line[x + 1] + (1.0 - NEAR) * line[x];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramps_stay_ramps_and_borders_repeat() {
        let map = Array2::from_shape_fn((4, 5), |(y, x)| (8 * y + 4 * x) as f32);
        for (width, height) in [(10, 8), (9, 7)] {
            for y in 0..height {
                let mut to = vec![0.0; width];
                upsample_row(&map, y, &mut Vec::new(), &mut to);
                let at = |i: usize, n: usize| ((i as f32 - 0.5) / 2.0).clamp(0.0, (n - 1) as f32);
                for (x, value) in to.iter().enumerate() {
                    assert_eq!(*value, 8.0 * at(y, 4) + 4.0 * at(x, 5), "{y} {x}");
                }
            }
        }
    }
}
