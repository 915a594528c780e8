// SPDX-License-Identifier: MIT OR Apache-2.0

//! The payload of a watermark, and its message of payload and keyed check.

use std::{fmt, str::FromStr};

use super::{
    convolutional_code::{self, CODED_BITS, MESSAGE_BITS},
    key::Key,
    version::Version,
};

/// The 64 bits that a watermark carries, written as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Payload(pub u64);

/// Error of parsing a [`Payload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a payload: expected 16 hex digits")]
pub struct ParsePayloadError;

impl FromStr for Payload {
    type Err = ParsePayloadError;

    fn from_str(text: &str) -> Result<Self, ParsePayloadError> {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParsePayloadError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| ParsePayloadError)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Payload {
    /// Returns the coded bits, as signs, of the payload and its keyed check.
    pub(super) fn encode(self, key: &Key, version: Version, epoch: u32) -> [f32; CODED_BITS] {
        let check = key.payload_check(self.0, version, epoch);
        let masked = self.0 ^ payload_mask(key, version, epoch, check);
        let bits = u128::from(masked) << 32 | u128::from(check);
        convolutional_code::encode(&std::array::from_fn(|i| {
            bits >> (MESSAGE_BITS - 1 - i) & 1 == 1
        }))
    }

    /// Decodes soft bits to a payload, if its check is correct, and to the coded bits of the
    /// message.
    pub(super) fn decode(
        soft: &[f32; CODED_BITS],
        key: &Key,
        version: Version,
        epoch: u32,
    ) -> (Option<Self>, [f32; CODED_BITS]) {
        let message = convolutional_code::decode(soft);
        let bits = message.iter().fold(0u128, |bits, bit| bits << 1 | u128::from(*bit));
        let (masked, check) = ((bits >> 32) as u64, bits as u32);
        let payload = masked ^ payload_mask(key, version, epoch, check);
        (
            (key.payload_check(payload, version, epoch) == check).then_some(Self(payload)),
            convolutional_code::encode(&message),
        )
    }
}

/// Returns the mask that hides the payload in the message of version 2: it makes the coded bits of
/// any two payloads unrelated, also of successive ones, so that after collusion no message
/// resembles that of an innocent receiver.
fn payload_mask(key: &Key, version: Version, epoch: u32, check: u32) -> u64 {
    match version {
        Version::One => 0,
        Version::Two => {
            let mut mask = [0; 8];
            key.rng("payload mask", &[epoch, check]).fill(&mut mask);
            u64::from_be_bytes(mask)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_and_printed() {
        assert_eq!("00000000deadBEEF".parse(), Ok(Payload(0xdead_beef)));
        assert_eq!(Payload(0xdead_beef).to_string(), "00000000deadbeef");
        for wrong in [
            "",
            "deadbeef",
            "00000000deadbeef0",
            "+0000000deadbeef",
            "0x000000deadbeef",
            "000000000000000g",
        ] {
            assert_eq!(wrong.parse::<Payload>(), Err(ParsePayloadError), "{wrong}");
        }
    }

    #[test]
    fn payload_is_decoded_with_the_right_key_epoch_and_version_only() {
        use Version::{One, Two};
        let (key, other) = (Key::new([3; 32]), Key::new([4; 32]));
        for (version, wrong) in [(One, Two), (Two, One)] {
            for payload in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
                let coded = Payload(payload).encode(&key, version, 7);
                let decoded =
                    |key: &Key, version, epoch| Payload::decode(&coded, key, version, epoch).0;
                assert_eq!(decoded(&key, version, 7), Some(Payload(payload)));
                assert_eq!(decoded(&key, version, 8), None);
                assert_eq!(decoded(&key, wrong, 7), None);
                assert_eq!(decoded(&other, version, 7), None);
            }
        }
    }

    #[test]
    fn coded_bits_of_successive_payloads_are_unrelated() {
        let coded: Vec<_> = (0..20u64)
            .map(|payload| Payload(payload).encode(&Key::new([3; 32]), Version::Two, 0))
            .collect();
        for (i, a) in coded.iter().enumerate() {
            for b in &coded[..i] {
                let agreement: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!(agreement.abs() < 100.0, "{agreement}");
            }
        }
    }
}
