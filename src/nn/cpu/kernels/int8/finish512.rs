//! AVX-512: what becomes of sums.

use std::{arch::x86_64::*, array};

use super::{
    FINE_BITS, Finish,
    pack::{LINE, Packed},
};

/// A block of outputs: one or two vectors.
pub(super) struct Block {
    bias: *const i32,
    scale: *const f32,
    ratio: f32,
    pub outputs: usize,
    /// First output of the block, and the lanes of its last vector that exist.
    pub first: usize,
    last: __mmask16,
}

impl Block {
    /// The block whose first output is `first`.
    pub fn new(weights: &Packed, first: usize) -> Self {
        let (bias, scale) = weights.block_scales(first);
        let width = weights.block().min(weights.outputs() - first);
        // A block of two vectors is never more than one vector short.
        let last = 0xffff >> (width.next_multiple_of(LINE) - width);
        let (bias, scale, ratio) = (bias.as_ptr(), scale.as_ptr(), weights.ratio());
        Self { bias, scale, ratio, outputs: weights.outputs(), first, last }
    }

    /// Biases of one of its vectors.
    ///
    /// # Safety
    /// The weights that it was made from live, and have this vector.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn bias(&self, vector: usize) -> __m512i {
        // SAFETY: there are biases for all outputs of the block.
        unsafe { _mm512_loadu_si512(self.bias.add(vector * LINE).cast()) }
    }
}

/// A pair of vectors of results: where it begins, which of its values exist, and these before they are rounded.
type Pair = (usize, __mmask32, [__m512; 2]);

/// A variant of [`Finish`].
pub(super) trait Round {
    /// Rounds and stores pairs of vectors. A unit of what is added has `ratio` units of them.
    ///
    /// # Safety
    /// The values of the pairs lie within the slices. The processor has AVX-512 F, BW and VL.
    unsafe fn round(&mut self, ratio: f32, pairs: impl Iterator<Item = Pair>);

    /// Fetches what will be added from value `at` on, as much as lies in one line of cache.
    #[inline]
    fn prefetch(&self, _at: usize) {}
}

pub(super) struct Relu<'a>(pub &'a mut [u8]);
/// Fine and coarse.
pub(super) struct Signed<'a>(pub &'a mut [i16], pub &'a mut [u8]);
/// To what is added.
pub(super) struct Added<'a>(pub &'a [i16], pub Signed<'a>);
pub(super) struct Float<'a>(pub &'a mut [f32]);

/// Scales, rounds and stores the sums of the pixels from `x` on, biases included.
///
/// # Safety
/// The pixels exist, the weights live. The processor has AVX-512 F, BW and VL.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn finish<const VECTORS: usize>(
    block: &Block,
    to: &mut Finish<'_>,
    x: usize,
    sums: &[[__m512i; VECTORS]],
) {
    // SAFETY: as the caller vouches.
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

/// As [`finish`]; unless `BIASED`, biases have yet to be added.
///
/// # Safety
/// As [`finish`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn store<R: Round, const VECTORS: usize, const BIASED: bool>(
    block: &Block,
    to: &mut R,
    x: usize,
    sums: &[[__m512i; VECTORS]],
) {
    // SAFETY: all offsets stay within the bounds that the caller vouches for; lanes that do not exist are masked.
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
        // Whole vectors that lie side by side: two of one pixel or, with 16 outputs, those of two.
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
        // Two pairs at a time fill a vector of bytes.
        while let Some((at, mask, [a, b])) = pairs.next() {
            let (other_at, other_mask, [c, d]) = pairs.next().unwrap_or((at, mask, [a, b]));
            let bytes = bytes([a, b, c, d]);
            let coarse = self.0.as_mut_ptr();
            // SAFETY: masked stores touch only the values that the caller vouches for.
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
            // SAFETY: masked loads touch only the values that the caller vouches for.
            let add = unsafe { _mm512_maskz_loadu_epi16(mask, self.0.as_ptr().add(at)) };
            let more = |t, add| {
                _mm512_add_ps(
                    t,
                    _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(add)), ratio),
                )
            };
            let [low, high] = [_mm512_castsi512_si256(add), _mm512_extracti64x4_epi64::<1>(add)];
            // SAFETY: as the caller vouches.
            unsafe { self.1.store(at, mask, narrowed([more(a, low), more(b, high)])) };
        }
    }

    #[inline]
    fn prefetch(&self, at: usize) {
        // SAFETY: a prefetch cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(self.0.as_ptr().wrapping_add(at).cast()) };
    }
}

impl Round for Signed<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn round(&mut self, _ratio: f32, pairs: impl Iterator<Item = Pair>) {
        for (at, mask, pair) in pairs {
            // SAFETY: as the caller vouches.
            unsafe { self.store(at, mask, narrowed(pair)) };
        }
    }
}

impl Signed<'_> {
    /// Stores values in both forms.
    ///
    /// # Safety
    /// The values from `at` on whose bit in `mask` is set lie within both slices.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store(&mut self, at: usize, mask: __mmask32, value: __m512i) {
        let Self(fine, coarse) = self;
        // That the sum saturates does not show: the coarse form ends at half the fine one's range.
        let half = _mm512_adds_epi16(value, _mm512_set1_epi16(1 << (FINE_BITS - 1)));
        let steps = _mm512_cvtsepi16_epi8(_mm512_srai_epi16::<{ FINE_BITS }>(half));
        let bytes = _mm256_xor_si256(steps, _mm256_set1_epi8(i8::MIN));
        // SAFETY: as the caller vouches.
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
            // SAFETY: as the caller vouches.
            unsafe {
                let out = self.0.as_mut_ptr().add(at);
                _mm512_mask_storeu_ps(out, mask as __mmask16, a);
                _mm512_mask_storeu_ps(out.wrapping_add(LINE), (mask >> LINE) as __mmask16, b);
            }
        }
    }
}

/// Four vectors rounded to bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bytes(vectors: [__m512; 4]) -> __m512i {
    // Packing takes turns by 128 bits.
    let turns = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    let [a, b, c, d] = vectors.map(|v| _mm512_cvtps_epi32(v));
    _mm512_permutexvar_epi32(
        turns,
        _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)),
    )
}

/// Two vectors rounded to 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn narrowed([a, b]: [__m512; 2]) -> __m512i {
    let turns = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    _mm512_permutexvar_epi64(
        turns,
        _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b)),
    )
}
