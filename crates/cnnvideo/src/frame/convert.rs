// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversion of rows between sample types.

use ndarray::ArrayView1;

use super::Sample;
use crate::simd::vectorise;

/// Converts a row of samples to another sample type, by their 8-bit code values.
pub(crate) fn convert_row<T: Sample, U: Sample>(from: ArrayView1<'_, T>, to: &mut [U]) {
    // Only contiguous rows can be vectorised.
    match from.to_slice() {
        Some(from) => vectorise(
            #[inline(always)]
            || {
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, sample)| *to = U::from_code_value(sample.code_value()))
            },
        ),
        None => to
            .iter_mut()
            .zip(from)
            .for_each(|(to, sample)| *to = U::from_code_value(sample.code_value())),
    }
}
