//! Rows of samples as levels and back.

use ndarray::{ArrayView1, ArrayViewMut1};

use super::Sample;

/// Levels of a row of samples.
pub(crate) fn levels<T: Sample>(from: ArrayView1<'_, T>, to: &mut [f32]) {
    // Samples that lie side by side are converted many at a time.
    match from.to_slice() {
        Some(from) => to.iter_mut().zip(from).for_each(|(to, sample)| *to = sample.level()),
        None => to.iter_mut().zip(from).for_each(|(to, sample)| *to = sample.level()),
    }
}

/// Samples nearest to a row of levels.
pub(crate) fn samples<T: Sample>(from: &[f32], mut to: ArrayViewMut1<'_, T>) {
    match to.as_slice_mut() {
        Some(to) => to.iter_mut().zip(from).for_each(|(to, level)| *to = T::from_level(*level)),
        None => to.iter_mut().zip(from).for_each(|(to, level)| *to = T::from_level(*level)),
    }
}
