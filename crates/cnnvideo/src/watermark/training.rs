//! The embedder's functions that training of the mask network uses.

use ndarray::Array2;

use super::{
    Key, Payload,
    mask::{Cell, Mask},
    pattern::patterns,
    plane::{enlarge, scale_of},
};

pub use super::texture::{DEVIATION_SCALE, MOST_LOG, SIGNATURE};

/// Returns the patterns of a payload, one per hop, for pictures of a size; their variance is 1.
pub fn patterns_at(key: &Key, payload: Payload, [width, height]: [usize; 2]) -> Vec<Array2<f32>> {
    let canonical = patterns(key, 0, payload, scale_of(width, height));
    let enlarged = canonical.iter().map(|pattern| {
        let mut own = Array2::zeros((height, width));
        enlarge(&pattern.view(), width, height, |y, row| {
            own.row_mut(y).iter_mut().zip(row).for_each(|(to, v)| *to = *v);
        });
        own
    });
    enlarged.collect()
}

/// Returns the amplitudes of the analytic mask, by rows, for cells with these means and standard
/// deviations.
pub fn analytic(means: &[f32], deviations: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let cells = Array2::from_shape_fn((rows, columns), |(y, x)| {
        let (mean, deviation) = (means[y * columns + x], deviations[y * columns + x]);
        Cell { count: 1.0, sum: mean, squares: mean * mean + deviation * deviation }
    });
    let mut mask = Mask::default();
    mask.analytic(&cells);
    mask.amplitudes.into_iter().collect()
}
