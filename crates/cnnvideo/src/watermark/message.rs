// SPDX-License-Identifier: MIT OR Apache-2.0

//! The message that fits soft bits best, and bounds on the probability of chance.

use super::{convolutional_code::CODED_BITS, key::Key, payload::Payload, version::Version};

/// Best message of one attempt.
pub(super) struct BestMessage {
    /// Coded bits, 1 or -1.
    pub coded: [f32; CODED_BITS],
    /// Payload, if its keyed check is correct.
    pub payload: Option<Payload>,
    /// Correlation of the soft bits with the message, in standard deviations without a watermark.
    pub z: f64,
    /// Number of coded bits whose soft value has the wrong sign.
    pub errors: u32,
}

impl BestMessage {
    /// Decodes soft bits; positive values are for set bits.
    pub(super) fn new(soft: &[f32; CODED_BITS], key: &Key, version: Version, epoch: u32) -> Self {
        let (payload, coded) = Payload::decode(soft, key, version, epoch);
        let errors = soft.iter().zip(&coded).filter(|(v, sign)| *v * *sign <= 0.0).count();
        Self { coded, payload, z: correlation(soft, &coded), errors: errors as u32 }
    }

    /// Returns the number of message bits that the decoder could choose freely.
    ///
    /// These are the bits of the payload if the check is correct; if not, those of the check as
    /// well.
    pub(super) fn free_bits(&self) -> u32 {
        64 + if self.payload.is_some() { 0 } else { 32 }
    }
}

/// Returns the correlation of values with their expected signs, in standard deviations of the
/// correlation with random signs.
pub(super) fn correlation(values: &[f32], signs: &[f32]) -> f64 {
    let product: f64 = values.iter().zip(signs).map(|(v, sign)| f64::from(v * sign)).sum();
    let norm = values.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
    if norm > 0.0 { product / norm } else { 0.0 }
}

/// Returns the base-10 logarithm of an upper bound on the probability that, by chance, any of
/// 2^`bits` messages reaches the correlation `z` in `attempts` attempts.
///
/// The signs of the carriers are random, so without a watermark, or with another key, the signs of
/// the soft bits are unbiased and independent. Hoeffding's inequality (Journal of the American
/// Statistical Association 58, 1963) bounds the probability for one message, and the union bound
/// covers all messages and attempts.
pub(super) fn log10_chance(z: f64, attempts: u32, bits: u32) -> f64 {
    let one = -0.5 * z.max(0.0).powi(2) * std::f64::consts::LOG10_E;
    (one + f64::from(bits) * std::f64::consts::LOG10_2 + f64::from(attempts.max(1)).log10())
        .min(0.0)
}
