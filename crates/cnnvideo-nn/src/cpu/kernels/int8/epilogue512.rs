// SPDX-License-Identifier: MIT OR Apache-2.0

//! Epilogues of the AVX-512 and AMX kernels: they scale, requantise and store accumulators.

use std::{arch::x86_64::*, array};

use super::{
    Epilogue, RESIDUAL_BITS,
    pack::{LINE, QuantisedWeights},
};

/// A block of outputs, one or two vectors, with pointers to its biases and scales.
pub(super) struct OutputBlock {
    bias: *const i32,
    scale: *const f32,
    residual_scale: f32,
    /// Outputs per pixel.
    pub outputs: usize,
    /// First output of the block.
    pub first: usize,
    /// Lanes of the block's last vector that exist.
    last_mask: __mmask16,
}

impl OutputBlock {
    /// Returns the block that begins with output `first`.
    pub(super) fn new(weights: &QuantisedWeights, first: usize) -> Self {
        let (bias, scale) = weights.block_scales(first);
        let width = weights.block().min(weights.outputs() - first);
        Self {
            bias: bias.as_ptr(),
            scale: scale.as_ptr(),
            residual_scale: weights.residual_scale(),
            outputs: weights.outputs(),
            first,
            // A block of two vectors always has outputs in the second one.
            last_mask: 0xffff >> (width.next_multiple_of(LINE) - width),
        }
    }

    /// Returns the biases of one vector of the block.
    ///
    /// # Safety
    /// The weights that the block was made from are still borrowed, and `vector` is less than the
    /// number of its vectors. The processor supports AVX-512 F.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn bias(&self, vector: usize) -> __m512i {
        // SAFETY: by the contract of this function; biases are padded to whole blocks.
        unsafe { _mm512_loadu_si512(self.bias.add(vector * LINE).cast()) }
    }
}

/// Two vectors of scaled accumulators.
pub(super) struct VectorPair {
    /// Index of the first value in the output slices.
    at: usize,
    /// Mask of the values that exist.
    mask: __mmask32,
    /// Scaled accumulators.
    t: [__m512; 2],
}

/// A variant of [`Epilogue`] as a type, so that each kernel is compiled for each variant.
pub(super) trait StoreEpilogue {
    /// Requantises and stores pairs of vectors. `residual_scale` is the number of units of the
    /// output per unit of the residual.
    ///
    /// # Safety
    /// The values of all pairs exist in the output slices. The processor supports AVX-512 F, BW and
    /// VL.
    unsafe fn store(&mut self, residual_scale: f32, pairs: impl Iterator<Item = VectorPair>);

    /// Prefetches one cache line of the residual, from value `at` on.
    #[inline]
    fn prefetch(&self, _at: usize) {}
}

/// [`Epilogue::Relu`].
pub(super) struct StoreRelu<'a> {
    /// See [`Epilogue::Relu`].
    pub activations_u8: &'a mut [u8],
}

/// [`Epilogue::Signed`] without a residual.
pub(super) struct StoreSigned<'a> {
    /// See [`Epilogue::Signed`].
    pub residuals_i16: &'a mut [i16],
    /// See [`Epilogue::Signed`].
    pub activations_u8: &'a mut [u8],
}

/// [`Epilogue::Signed`] with a residual.
pub(super) struct StoreSignedSum<'a> {
    /// Residual to add.
    pub residual_in: &'a [i16],
    /// Destination.
    pub store: StoreSigned<'a>,
}

/// [`Epilogue::Float`].
pub(super) struct StoreFloat<'a> {
    /// See [`Epilogue::Float`].
    pub out: &'a mut [f32],
}

/// Applies the epilogue to the accumulators of the pixels from `x` on, which include the biases.
///
/// # Safety
/// The pixels exist in the slices of `to`, and the weights of `block` are still borrowed. The
/// processor supports AVX-512 F, BW and VL.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn apply_epilogue<const VECTORS: usize>(
    block: &OutputBlock,
    to: &mut Epilogue<'_>,
    x: usize,
    sums: &[[__m512i; VECTORS]],
) {
    // SAFETY: by the contract of this function.
    unsafe {
        match to {
            Epilogue::Relu { activations_u8 } => {
                store::<_, VECTORS, true>(block, &mut StoreRelu { activations_u8 }, x, sums);
            }
            Epilogue::Signed { residual_in, residuals_i16, activations_u8 } => {
                let mut to = StoreSigned { residuals_i16, activations_u8 };
                match residual_in {
                    Some(residual_in) => {
                        let to = &mut StoreSignedSum { residual_in, store: to };
                        store::<_, VECTORS, true>(block, to, x, sums);
                    }
                    None => store::<_, VECTORS, true>(block, &mut to, x, sums),
                }
            }
            Epilogue::Float { out } => {
                store::<_, VECTORS, true>(block, &mut StoreFloat { out }, x, sums);
            }
        }
    }
}

/// Version of [`apply_epilogue`] for a known epilogue. Unless `INCLUDES_BIAS` is set, it also adds
/// the biases.
///
/// # Safety
/// As for [`apply_epilogue`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn store<E: StoreEpilogue, const VECTORS: usize, const INCLUDES_BIAS: bool>(
    block: &OutputBlock,
    to: &mut E,
    x: usize,
    sums: &[[__m512i; VECTORS]],
) {
    // SAFETY: by the contract of this function, all offsets are within the slices; lanes of outputs
    // that do not exist are masked.
    unsafe {
        let scale: [__m512; VECTORS] =
            array::from_fn(|v| _mm512_loadu_ps(block.scale.add(v * LINE)));
        let (scale, bias) =
            ([scale[0], scale[VECTORS - 1]], [block.bias(0), block.bias(VECTORS - 1)]);
        let scaled = |sums: [__m512i; 2]| {
            [0, 1].map(|v| {
                let sum = if INCLUDES_BIAS { sums[v] } else { _mm512_add_epi32(sums[v], bias[v]) };
                _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale[v])
            })
        };
        let (outputs, first) = (block.outputs, x * block.outputs + block.first);
        // Pairs of full vectors that are contiguous in memory: both vectors of one pixel or, with
        // 16 outputs, those of two pixels.
        if block.last_mask == 0xffff
            && (VECTORS == 2 || outputs == LINE && sums.len().is_multiple_of(2))
        {
            let apart = if VECTORS == 2 { outputs } else { 2 * LINE };
            let pairs = sums.as_flattened().as_chunks::<2>().0.iter().enumerate();
            let pairs = pairs.map(|(i, sums)| VectorPair {
                at: first + i * apart,
                mask: !0,
                t: scaled(*sums),
            });
            to.store(block.residual_scale, pairs);
        } else {
            let last = u32::from(block.last_mask);
            let mask = if VECTORS == 2 { last << LINE | 0xffff } else { last };
            let pairs = sums.iter().enumerate().map(|(i, sums)| VectorPair {
                at: first + i * outputs,
                mask,
                t: scaled([sums[0], sums[VECTORS - 1]]),
            });
            to.store(block.residual_scale, pairs);
        }
    }
}

impl StoreEpilogue for StoreRelu<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store(&mut self, _residual_scale: f32, mut pairs: impl Iterator<Item = VectorPair>) {
        // Two pairs fill one vector of bytes.
        while let Some(VectorPair { at, mask, t: [a, b] }) = pairs.next() {
            let next = pairs.next().unwrap_or(VectorPair { at, mask, t: [a, b] });
            let [c, d] = next.t;
            let bytes = round_to_u8([a, b, c, d]);
            let to = self.activations_u8.as_mut_ptr();
            // SAFETY: masked stores access only the values that exist by the contract of this
            // function.
            unsafe {
                _mm256_mask_storeu_epi8(to.add(at).cast(), mask, _mm512_castsi512_si256(bytes));
                let bytes = _mm512_extracti64x4_epi64::<1>(bytes);
                _mm256_mask_storeu_epi8(to.add(next.at).cast(), next.mask, bytes);
            }
        }
    }
}

impl StoreEpilogue for StoreSignedSum<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store(&mut self, residual_scale: f32, pairs: impl Iterator<Item = VectorPair>) {
        let residual_scale = _mm512_set1_ps(residual_scale);
        for VectorPair { at, mask, t: [a, b] } in pairs {
            // SAFETY: masked loads access only the values that exist by the contract of this
            // function.
            let residual =
                unsafe { _mm512_maskz_loadu_epi16(mask, self.residual_in.as_ptr().add(at)) };
            let add = |t, residual| {
                let residual = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(residual));
                _mm512_add_ps(t, _mm512_mul_ps(residual, residual_scale))
            };
            let low = _mm512_castsi512_si256(residual);
            let high = _mm512_extracti64x4_epi64::<1>(residual);
            // SAFETY: by the contract of this function.
            unsafe { self.store.store_i16(at, mask, round_to_i16([add(a, low), add(b, high)])) };
        }
    }

    #[inline]
    fn prefetch(&self, at: usize) {
        // SAFETY: a prefetch has no architectural effect and cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(self.residual_in.as_ptr().wrapping_add(at).cast()) };
    }
}

impl StoreEpilogue for StoreSigned<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store(&mut self, _residual_scale: f32, pairs: impl Iterator<Item = VectorPair>) {
        for VectorPair { at, mask, t } in pairs {
            // SAFETY: by the contract of this function.
            unsafe { self.store_i16(at, mask, round_to_i16(t)) };
        }
    }
}

impl StoreSigned<'_> {
    /// Stores 16-bit values as residuals, and requantised as u8 activations.
    ///
    /// # Safety
    /// The values from `at` on whose bit in `mask` is set exist in both slices. The processor
    /// supports AVX-512 F, BW and VL.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_i16(&mut self, at: usize, mask: __mmask32, values: __m512i) {
        let half_unit = _mm512_set1_epi16(1 << (RESIDUAL_BITS - 1));
        // The saturation of this sum does not change the result: the u8 form saturates at half of
        // the range of the residual.
        let sum = _mm512_adds_epi16(values, half_unit);
        let rounded = _mm512_cvtsepi16_epi8(_mm512_srai_epi16::<{ RESIDUAL_BITS }>(sum));
        // Adds the zero point.
        let bytes = _mm256_xor_si256(rounded, _mm256_set1_epi8(i8::MIN));
        // SAFETY: by the contract of this function; masked stores access only these values.
        unsafe {
            _mm512_mask_storeu_epi16(self.residuals_i16.as_mut_ptr().add(at), mask, values);
            let to = self.activations_u8.as_mut_ptr().add(at);
            _mm256_mask_storeu_epi8(to.cast(), mask, bytes);
        }
    }
}

impl StoreEpilogue for StoreFloat<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store(&mut self, _residual_scale: f32, pairs: impl Iterator<Item = VectorPair>) {
        for VectorPair { at, mask, t: [a, b] } in pairs {
            // SAFETY: by the contract of this function; masked stores access only these values.
            unsafe {
                let out = self.out.as_mut_ptr().add(at);
                _mm512_mask_storeu_ps(out, mask as __mmask16, a);
                _mm512_mask_storeu_ps(out.wrapping_add(LINE), (mask >> LINE) as __mmask16, b);
            }
        }
    }
}

/// Rounds four vectors to integers, ties to even, and saturates them to unsigned bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn round_to_u8(vectors: [__m512; 4]) -> __m512i {
    // The pack instructions work within 128-bit lanes; this permutation restores the order.
    let order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    let [a, b, c, d] = vectors.map(|v| _mm512_cvtps_epi32(v));
    _mm512_permutexvar_epi32(
        order,
        _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)),
    )
}

/// Rounds two vectors to integers, ties to even, and saturates them to 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn round_to_i16([a, b]: [__m512; 2]) -> __m512i {
    let order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    _mm512_permutexvar_epi64(
        order,
        _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b)),
    )
}
