// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rounds rows of the result to the samples of the output ([`Rounding`]).

use ndarray::ArrayViewMut1;

use crate::{
    frame::{Sample, dither::add_dither},
    simd::vectorise,
};

/// Memory for one row with dither, reused from row to row.
#[derive(Debug, Default)]
pub(super) struct Rounding {
    dithered: Vec<f32>,
}

impl Rounding {
    /// Stores code values as row `y` of a component of the output. With `dither`, smooth areas of
    /// 8-bit rows are dithered.
    pub(super) fn store<U: Sample>(
        &mut self,
        values: &[f32],
        y: usize,
        dither: bool,
        mut to: ArrayViewMut1<'_, U>,
    ) {
        let values = if dither && !U::HAS_FRACTION {
            self.dithered.resize(values.len(), 0.0);
            add_dither(values, y, &mut self.dithered);
            &self.dithered
        } else {
            values
        };
        match to.as_slice_mut() {
            Some(to) => vectorise(
                #[inline(always)]
                || to.iter_mut().zip(values).for_each(|(to, v)| *to = U::from_code_value(*v)),
            ),
            None => to.iter_mut().zip(values).for_each(|(to, v)| *to = U::from_code_value(*v)),
        }
    }
}
