//! Epilogues of the AVX-512 and AMX kernels: they scale, requantise and store accumulators.

use std::{arch::x86_64::*, array};

use super::{
    FINE_BITS, Finish,
    pack::{LINE, Packed},
};

/// A block of outputs, one or two vectors, with pointers to its biases and scales.
pub(super) struct Block {
    bias: *const i32,
    scale: *const f32,
    ratio: f32,
    /// Outputs per pixel.
    pub outputs: usize,
    /// First output of the block.
    pub first: usize,
    /// Lanes of the block's last vector that exist.
    last: __mmask16,
}

impl Block {
    /// Returns the block that begins with output `first`.
    pub fn new(weights: &Packed, first: usize) -> Self {
        let (bias, scale) = weights.block_scales(first);
        let width = weights.block().min(weights.outputs() - first);
        // A block of two vectors always has outputs in the second one.
        let last = 0xffff >> (width.next_multiple_of(LINE) - width);
        let (bias, scale, ratio) = (bias.as_ptr(), scale.as_ptr(), weights.ratio());
        Self { bias, scale, ratio, outputs: weights.outputs(), first, last }
    }

    /// Returns the biases of one vector of the block.
    ///
    /// # Safety
    /// The weights that the block was made from are still borrowed, and `vector` is less than the
    /// number of its vectors. The processor supports AVX-512 F.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn bias(&self, vector: usize) -> __m512i {
        // SAFETY: by the contract of this function; biases are padded to whole blocks.
        unsafe { _mm512_loadu_si512(self.bias.add(vector * LINE).cast()) }
    }
}

/// Two vectors of scaled accumulators: index of the first value in the output slices, mask of the
/// values that exist, and the values.
type Pair = (usize, __mmask32, [__m512; 2]);

/// A variant of [`Finish`] as a type, so that each kernel is compiled for each variant.
pub(super) trait Round {
    /// Requantises and stores pairs of vectors. `ratio` is the number of units of the output per
    /// unit of the residual.
    ///
    /// # Safety
    /// The values of all pairs exist in the output slices. The processor supports AVX-512 F, BW and
    /// VL.
    unsafe fn round(&mut self, ratio: f32, pairs: impl Iterator<Item = Pair>);

    /// Prefetches one cache line of the residual, from value `at` on.
    #[inline]
    fn prefetch(&self, _at: usize) {}
}

/// [`Finish::Relu`] with its `coarse`.
pub(super) struct Relu<'a>(pub &'a mut [u8]);
/// [`Finish::Signed`] without a residual, with its `fine` and `coarse`.
pub(super) struct Signed<'a>(pub &'a mut [i16], pub &'a mut [u8]);
/// [`Finish::Signed`] with a residual.
pub(super) struct Added<'a>(pub &'a [i16], pub Signed<'a>);
/// [`Finish::Float`] with its `out`.
pub(super) struct Float<'a>(pub &'a mut [f32]);

/// Applies the epilogue to the accumulators of the pixels from `x` on, which include the biases.
///
/// # Safety
/// The pixels exist in the slices of `to`, and the weights of `block` are still borrowed. The
/// processor supports AVX-512 F, BW and VL.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn finish<const VECTORS: usize>(
    block: &Block,
    to: &mut Finish<'_>,
    x: usize,
    sums: &[[__m512i; VECTORS]],
) {
    // SAFETY: by the contract of this function.
    unsafe {
        match to {
            Finish::Relu { coarse } => store::<_, VECTORS, true>(block, &mut Relu(coarse), x, sums),
            Finish::Signed { add: Some(add), fine, coarse } => {
                store::<_, VECTORS, true>(block, &mut Added(add, Signed(fine, coarse)), x, sums);
            }
            Finish::Signed { add: None, fine, coarse } => {
                store::<_, VECTORS, true>(block, &mut Signed(fine, coarse), x, sums);
            }
            Finish::Float { out } => store::<_, VECTORS, true>(block, &mut Float(out), x, sums),
        }
    }
}

/// Version of [`finish`] for a known epilogue. If `BIASED` is false, it also adds the biases.
///
/// # Safety
/// As for [`finish`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn store<R: Round, const VECTORS: usize, const BIASED: bool>(
    block: &Block,
    to: &mut R,
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
                let sum = if BIASED { sums[v] } else { _mm512_add_epi32(sums[v], bias[v]) };
                _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale[v])
            })
        };
        let (outputs, first) = (block.outputs, x * block.outputs + block.first);
        // Pairs of full vectors that are contiguous in memory: both vectors of one pixel or, with
        // 16 outputs, those of two pixels.
        if block.last == 0xffff && (VECTORS == 2 || outputs == LINE && sums.len().is_multiple_of(2))
        {
            let apart = if VECTORS == 2 { outputs } else { 2 * LINE };
            let pairs = sums.as_flattened().as_chunks::<2>().0.iter().enumerate();
            to.round(block.ratio, pairs.map(|(i, pair)| (first + i * apart, !0, scaled(*pair))));
        } else {
            let last = u32::from(block.last);
            let mask = if VECTORS == 2 { last << LINE | 0xffff } else { last };
            let pairs = sums.iter().enumerate();
            let pairs = pairs
                .map(|(i, sum)| (first + i * outputs, mask, scaled([sum[0], sum[VECTORS - 1]])));
            to.round(block.ratio, pairs);
        }
    }
}

impl Round for Relu<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn round(&mut self, _ratio: f32, mut pairs: impl Iterator<Item = Pair>) {
        // Two pairs fill one vector of bytes.
        while let Some((at, mask, [a, b])) = pairs.next() {
            let (other_at, other_mask, [c, d]) = pairs.next().unwrap_or((at, mask, [a, b]));
            let bytes = bytes([a, b, c, d]);
            let coarse = self.0.as_mut_ptr();
            // SAFETY: masked stores access only the values that exist by the contract of this
            // function.
            unsafe {
                _mm256_mask_storeu_epi8(coarse.add(at).cast(), mask, _mm512_castsi512_si256(bytes));
                let bytes = _mm512_extracti64x4_epi64::<1>(bytes);
                _mm256_mask_storeu_epi8(coarse.add(other_at).cast(), other_mask, bytes);
            }
        }
    }
}

impl Round for Added<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn round(&mut self, ratio: f32, pairs: impl Iterator<Item = Pair>) {
        let ratio = _mm512_set1_ps(ratio);
        for (at, mask, [a, b]) in pairs {
            // SAFETY: masked loads access only the values that exist by the contract of this
            // function.
            let add = unsafe { _mm512_maskz_loadu_epi16(mask, self.0.as_ptr().add(at)) };
            let more = |t, add| {
                _mm512_add_ps(
                    t,
                    _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(add)), ratio),
                )
            };
            let [low, high] = [_mm512_castsi512_si256(add), _mm512_extracti64x4_epi64::<1>(add)];
            // SAFETY: by the contract of this function.
            unsafe { self.1.store(at, mask, narrowed([more(a, low), more(b, high)])) };
        }
    }

    #[inline]
    fn prefetch(&self, at: usize) {
        // SAFETY: a prefetch has no architectural effect and cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(self.0.as_ptr().wrapping_add(at).cast()) };
    }
}

impl Round for Signed<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn round(&mut self, _ratio: f32, pairs: impl Iterator<Item = Pair>) {
        for (at, mask, pair) in pairs {
            // SAFETY: by the contract of this function.
            unsafe { self.store(at, mask, narrowed(pair)) };
        }
    }
}

impl Signed<'_> {
    /// Stores 16-bit values as residuals, and requantised as u8 activations.
    ///
    /// # Safety
    /// The values from `at` on whose bit in `mask` is set exist in both slices. The processor
    /// supports AVX-512 F, BW and VL.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store(&mut self, at: usize, mask: __mmask32, value: __m512i) {
        let Self(fine, coarse) = self;
        // The saturation of this sum does not change the result: the u8 form saturates at half of
        // the range of the residual.
        let half = _mm512_adds_epi16(value, _mm512_set1_epi16(1 << (FINE_BITS - 1)));
        let steps = _mm512_cvtsepi16_epi8(_mm512_srai_epi16::<{ FINE_BITS }>(half));
        let bytes = _mm256_xor_si256(steps, _mm256_set1_epi8(i8::MIN));
        // SAFETY: by the contract of this function; masked stores access only these values.
        unsafe {
            _mm512_mask_storeu_epi16(fine.as_mut_ptr().add(at), mask, value);
            _mm256_mask_storeu_epi8(coarse.as_mut_ptr().add(at).cast(), mask, bytes);
        }
    }
}

impl Round for Float<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn round(&mut self, _ratio: f32, pairs: impl Iterator<Item = Pair>) {
        for (at, mask, [a, b]) in pairs {
            // SAFETY: by the contract of this function; masked stores access only these values.
            unsafe {
                let out = self.0.as_mut_ptr().add(at);
                _mm512_mask_storeu_ps(out, mask as __mmask16, a);
                _mm512_mask_storeu_ps(out.wrapping_add(LINE), (mask >> LINE) as __mmask16, b);
            }
        }
    }
}

/// Rounds four vectors and saturates them to unsigned bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bytes(vectors: [__m512; 4]) -> __m512i {
    // The pack instructions work within 128-bit lanes; this permutation restores the order.
    let turns = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    let [a, b, c, d] = vectors.map(|v| _mm512_cvtps_epi32(v));
    _mm512_permutexvar_epi32(
        turns,
        _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)),
    )
}

/// Rounds two vectors and saturates them to 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn narrowed([a, b]: [__m512; 2]) -> __m512i {
    let turns = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    _mm512_permutexvar_epi64(
        turns,
        _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b)),
    )
}
