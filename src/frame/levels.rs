//! Rows of samples as levels.

use ndarray::ArrayView1;

use super::Sample;
use crate::simd::vectorise;

/// Levels of a row of samples.
pub(crate) fn levels<T: Sample>(from: ArrayView1<'_, T>, to: &mut [f32]) {
    // Samples that lie side by side are converted many at a time.
    match from.to_slice() {
        Some(from) => vectorise(
            #[inline(always)]
            || to.iter_mut().zip(from).for_each(|(to, sample)| *to = sample.level()),
        ),
        None => to.iter_mut().zip(from).for_each(|(to, sample)| *to = sample.level()),
    }
}
