// SPDX-License-Identifier: MIT OR Apache-2.0

//! Storage of quantised feature maps.

use std::ops::Range;

use crate::cpu::{
    arithmetic::{Reads, Signedness, Storage},
    kernels::int8::ZERO_POINT,
};

/// Values of a feature map as u8 activations, which convolutions read, and as i16 residuals, which
/// residual and skip connections add. A form that is never read stays empty.
#[derive(Debug)]
pub(in crate::cpu) struct QuantisedMap {
    activations_u8: Vec<u8>,
    residuals_i16: Vec<i16>,
}

/// Shared view of a [`QuantisedMap`].
#[derive(Clone, Copy)]
pub(in crate::cpu) struct QuantisedRef<'a> {
    pub activations_u8: &'a [u8],
    pub residuals_i16: &'a [i16],
}

/// Mutable view of a [`QuantisedMap`].
pub(in crate::cpu) struct QuantisedMut<'a> {
    pub activations_u8: &'a mut [u8],
    pub residuals_i16: &'a mut [i16],
}

/// Returns the zero point of u8 activations.
pub(super) fn zero_point(sign: Signedness) -> u8 {
    match sign {
        Signedness::Signed => ZERO_POINT,
        Signedness::NonNegative => 0,
    }
}

impl Storage for QuantisedMap {
    type Ref<'a> = QuantisedRef<'a>;
    type Mut<'a> = QuantisedMut<'a>;

    fn zeros(count: usize, sign: Signedness, reads: Reads) -> Self {
        let length = |stored: bool| if stored { count } else { 0 };
        Self {
            activations_u8: vec![zero_point(sign); length(reads.convolved)],
            residuals_i16: vec![0; length(reads.added)],
        }
    }

    fn clear(&mut self, range: Range<usize>, sign: Signedness) {
        self.activations_u8[range.clone()].fill(zero_point(sign));
        self.residuals_i16[range].fill(0);
    }

    fn view(&self, range: Range<usize>) -> QuantisedRef<'_> {
        QuantisedRef {
            activations_u8: slice_stored(&self.activations_u8, &range),
            residuals_i16: slice_stored(&self.residuals_i16, &range),
        }
    }

    fn view_mut(&mut self, range: Range<usize>) -> QuantisedMut<'_> {
        QuantisedMut {
            activations_u8: slice_stored_mut(&mut self.activations_u8, &range),
            residuals_i16: slice_stored_mut(&mut self.residuals_i16, &range),
        }
    }

    fn slice(rows: Self::Ref<'_>, range: Range<usize>) -> Self::Ref<'_> {
        QuantisedRef {
            activations_u8: slice_stored(rows.activations_u8, &range),
            residuals_i16: slice_stored(rows.residuals_i16, &range),
        }
    }

    fn slice_mut<'a>(rows: &'a mut QuantisedMut<'_>, range: Range<usize>) -> QuantisedMut<'a> {
        QuantisedMut {
            activations_u8: slice_stored_mut(rows.activations_u8, &range),
            residuals_i16: slice_stored_mut(rows.residuals_i16, &range),
        }
    }

    fn split_at(rows: Self::Mut<'_>, index: usize) -> (Self::Mut<'_>, Self::Mut<'_>) {
        let QuantisedMut { activations_u8, residuals_i16 } = rows;
        let activations = activations_u8.split_at_mut(index.min(activations_u8.len()));
        let residuals = residuals_i16.split_at_mut(index.min(residuals_i16.len()));
        (
            QuantisedMut { activations_u8: activations.0, residuals_i16: residuals.0 },
            QuantisedMut { activations_u8: activations.1, residuals_i16: residuals.1 },
        )
    }

    fn len(rows: &QuantisedMut<'_>) -> usize {
        rows.activations_u8.len().max(rows.residuals_i16.len())
    }

    fn destination<'a>(ring: Self::Mut<'a>, map: Self::Mut<'a>, reads: Reads) -> Self::Mut<'a> {
        let (u8_to_ring, i16_to_ring) = (
            reads.convolved || map.activations_u8.is_empty(),
            reads.added || map.residuals_i16.is_empty(),
        );
        QuantisedMut {
            activations_u8: if u8_to_ring { ring.activations_u8 } else { map.activations_u8 },
            residuals_i16: if i16_to_ring { ring.residuals_i16 } else { map.residuals_i16 },
        }
    }

    fn copy_to_map(ring: QuantisedRef<'_>, map: QuantisedMut<'_>, reads: Reads) {
        if reads.convolved && !map.activations_u8.is_empty() {
            map.activations_u8.copy_from_slice(ring.activations_u8);
        }
        if reads.added && !map.residuals_i16.is_empty() {
            map.residuals_i16.copy_from_slice(ring.residuals_i16);
        }
    }
}

/// Returns a range of one storage form, or an empty slice if that form is not stored.
fn slice_stored<'a, T>(values: &'a [T], range: &Range<usize>) -> &'a [T] {
    if values.is_empty() { values } else { &values[range.clone()] }
}

/// Mutable version of [`slice_stored`].
fn slice_stored_mut<'a, T>(values: &'a mut [T], range: &Range<usize>) -> &'a mut [T] {
    if values.is_empty() { values } else { &mut values[range.clone()] }
}
