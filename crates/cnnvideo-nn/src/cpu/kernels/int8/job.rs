// SPDX-License-Identifier: MIT OR Apache-2.0

//! Descriptions of the computations of the int8 kernels.

use super::{super::ROW_BLOCK, pack::QuantisedWeights};

/// Storage form of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageForm {
    /// u8 activations.
    U8,
    /// i16 residuals.
    I16,
}

impl StorageForm {
    /// Returns the largest magnitude of a value.
    pub(super) fn max_magnitude(self) -> f32 {
        match self {
            Self::U8 => 255.0,
            Self::I16 => 32768.0,
        }
    }

    /// Returns the largest magnitude of quantised weights for accumulators of `taps` products of
    /// inputs in this form. For u8 activations it is the limit of an 8-bit weight. For i16
    /// residuals it keeps the sum within half of the 32-bit range and leaves the other half to the
    /// bias.
    pub fn weight_limit(self, taps: usize) -> i32 {
        match self {
            Self::U8 => 127,
            Self::I16 => ((1 << 15) / taps.max(1) as i32).clamp(1, 32767),
        }
    }
}

/// Runs of contiguous input values in one of the storage forms.
#[derive(Clone, Copy)]
pub(in crate::cpu) enum Segments<'a> {
    /// u8 activations.
    U8(&'a [&'a [u8]]),
    /// i16 residuals.
    I16(&'a [&'a [i16]]),
}

impl Segments<'_> {
    /// Returns the storage form of the values.
    fn form(self) -> StorageForm {
        match self {
            Self::U8(_) => StorageForm::U8,
            Self::I16(_) => StorageForm::I16,
        }
    }

    /// Returns the number of segments.
    pub(super) fn count(self) -> usize {
        match self {
            Self::U8(list) => list.len(),
            Self::I16(list) => list.len(),
        }
    }

    /// Returns whether all segments have at least `length` values.
    fn reach(self, length: usize) -> bool {
        match self {
            Self::U8(list) => list.iter().all(|segment| segment.len() >= length),
            Self::I16(list) => list.iter().all(|segment| segment.len() >= length),
        }
    }

    /// Returns a pointer to the first byte of a segment.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn bytes(self, segment: usize) -> *const u8 {
        match self {
            Self::U8(list) => list[segment].as_ptr(),
            Self::I16(list) => list[segment].as_ptr().cast(),
        }
    }
}

/// Epilogue: the operations that turn scaled accumulators `t` into stored outputs. Each slice has
/// one value per output of each pixel.
pub(in crate::cpu) enum Epilogue<'a> {
    /// ReLU: `activations_u8 = round(clamp(t, 0, 255))`.
    Relu {
        /// Outputs as u8 activations.
        activations_u8: &'a mut [u8],
    },
    /// No activation function:
    /// `residuals_i16 = round(clamp(t + f32(residual_in) * residual_scale, -32768, 32767))`,
    /// without the second summand if `residual_in` is `None`;
    /// `activations_u8 = clamp((residuals_i16 + 64) >> 7, -128, 127) + 128`.
    Signed {
        /// Residual to add.
        residual_in: Option<&'a [i16]>,
        /// Outputs as i16 residuals.
        residuals_i16: &'a mut [i16],
        /// Outputs as u8 activations.
        activations_u8: &'a mut [u8],
    },
    /// Network output: `out = t`.
    Float {
        /// Outputs.
        out: &'a mut [f32],
    },
}

impl<'a> Epilogue<'a> {
    /// Splits all slices at value `index`.
    pub(in crate::cpu) fn split_at(self, index: usize) -> (Self, Self) {
        match self {
            Self::Relu { activations_u8 } => {
                let (first, rest) = activations_u8.split_at_mut(index);
                (Self::Relu { activations_u8: first }, Self::Relu { activations_u8: rest })
            }
            Self::Signed { residual_in, residuals_i16, activations_u8 } => {
                let residual_in = residual_in.map(|residual| residual.split_at(index)).unzip();
                let residuals = residuals_i16.split_at_mut(index);
                let activations = activations_u8.split_at_mut(index);
                let first = Self::Signed {
                    residual_in: residual_in.0,
                    residuals_i16: residuals.0,
                    activations_u8: activations.0,
                };
                let rest = Self::Signed {
                    residual_in: residual_in.1,
                    residuals_i16: residuals.1,
                    activations_u8: activations.1,
                };
                (first, rest)
            }
            Self::Float { out } => {
                let (first, rest) = out.split_at_mut(index);
                (Self::Float { out: first }, Self::Float { out: rest })
            }
        }
    }

    /// Borrows the slices for a shorter time.
    fn reborrow(&mut self) -> Epilogue<'_> {
        match self {
            Self::Relu { activations_u8 } => Epilogue::Relu { activations_u8 },
            Self::Signed { residual_in, residuals_i16, activations_u8 } => {
                Epilogue::Signed { residual_in: *residual_in, residuals_i16, activations_u8 }
            }
            Self::Float { out } => Epilogue::Float { out },
        }
    }

    /// Returns the number of output values.
    pub(in crate::cpu) fn values(&self) -> usize {
        match self {
            Self::Relu { activations_u8 } => activations_u8.len(),
            Self::Signed { residuals_i16, .. } => residuals_i16.len(),
            Self::Float { out } => out.len(),
        }
    }
}

/// Computation of one row of output pixels; see
/// [`FloatRowJob`](super::super::float::FloatRowJob).
pub(in crate::cpu) struct Int8RowJob<'a> {
    /// Input values of the segments, from the first input of pixel 0 on. Number and storage form
    /// are those of the weights.
    pub segments: Segments<'a>,
    /// Distance between the inputs of neighbouring output pixels, in values.
    pub pitch: usize,
    /// Weight matrix, biases and scales.
    pub weights: &'a QuantisedWeights,
    /// Epilogue with the output slices.
    pub epilogue: Epilogue<'a>,
}

impl Int8RowJob<'_> {
    /// Returns the number of output pixels.
    ///
    /// # Panics
    /// If an access of a kernel would be outside of its slice. The kernels rely on this check for
    /// memory safety.
    pub(super) fn check(&self) -> usize {
        let outputs = self.weights.outputs();
        let values = self.epilogue.values();
        if let Epilogue::Signed { residual_in, activations_u8, .. } = &self.epilogue {
            assert_eq!(activations_u8.len(), values);
            assert!(residual_in.is_none_or(|residual| residual.len() == values));
        }
        let pixels = values / outputs;
        assert_eq!(values, pixels * outputs);
        if pixels > 0 {
            let reach = (pixels - 1) * self.pitch + self.weights.depth();
            assert_eq!(self.segments.form(), self.weights.input_form());
            assert_eq!(self.segments.count(), self.weights.segments());
            assert!(
                self.segments.reach(reach),
                "a segment is shorter than the kernel's reach of {reach} values"
            );
        }
        pixels
    }
}

/// Computation of a row block, [`ROW_BLOCK`] rows of a 3x3 convolution of u8 activations.
pub(in crate::cpu) struct Int8RowBlockJob<'a> {
    /// The input rows of all output rows; output row `y` depends on `segments[y..y + 3]`.
    pub segments: [&'a [u8]; ROW_BLOCK + 2],
    /// Values per input pixel.
    pub pitch: usize,
    /// Weight matrix, biases and scales.
    pub weights: &'a QuantisedWeights,
    /// Epilogue of each row.
    pub epilogues: [Epilogue<'a>; ROW_BLOCK],
}

impl Int8RowBlockJob<'_> {
    /// Returns the job of one of the rows.
    pub(super) fn row(&mut self, y: usize) -> Int8RowJob<'_> {
        Int8RowJob {
            segments: Segments::U8(&self.segments[y..y + 3]),
            pitch: self.pitch,
            weights: self.weights,
            epilogue: self.epilogues[y].reborrow(),
        }
    }

    /// Returns the number of output pixels per row. Panics like [`Int8RowJob::check`].
    pub(super) fn check(&mut self) -> usize {
        assert_eq!((self.weights.segments(), self.weights.depth()), (3, 3 * self.pitch));
        let pixels: [usize; ROW_BLOCK] = std::array::from_fn(|y| self.row(y).check());
        assert!(pixels.iter().all(|count| *count == pixels[0]));
        pixels[0]
    }
}
