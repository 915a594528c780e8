//! Rows of samples as levels.

use ndarray::ArrayView1;

use super::Sample;
use crate::simd::vectorise;

/// Levels of a row of samples, as samples of another kind.
pub(crate) fn levels<T: Sample, U: Sample>(from: ArrayView1<'_, T>, to: &mut [U]) {
    // Samples that lie side by side are converted many at a time.
    match from.to_slice() {
        Some(from) => vectorise(
            #[inline(always)]
            || to.iter_mut().zip(from).for_each(|(to, sample)| *to = U::from_level(sample.level())),
        ),
        None => {
            to.iter_mut().zip(from).for_each(|(to, sample)| *to = U::from_level(sample.level()))
        }
    }
}
