// SPDX-License-Identifier: MIT OR Apache-2.0

//! The secret key of a watermark, and the keyed random numbers derived from it.

use std::{fmt, io::Read, path::Path};

use chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Length of a key in bytes.
pub const KEY_LEN: usize = 32;
/// Bytes read of a key file at most: enough for 64 hex digits with white space around them.
const MAX_FILE_LEN: u64 = 256;

/// Errors of loading a [`Key`].
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key file cannot be read.
    #[error("cannot read key file {}: {source}", .path.display())]
    Read {
        /// Path of the key file.
        path: std::path::PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The data is neither 32 bytes nor 64 hex digits.
    #[error("not a key: expected 32 bytes or 64 hex digits")]
    Format,
}

/// Secret from which the carriers, the pilot and the payload check of a watermark are derived.
///
/// `Debug` does not print it, and dropping it clears the memory.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; KEY_LEN]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

impl Key {
    /// Creates a key of 32 bytes, which should be random.
    pub fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Parses a key of 64 hex digits; white space around them is ignored.
    ///
    /// # Errors
    /// Returns [`KeyError::Format`] for any other text.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let digits = text.trim().as_bytes();
        let mut bytes = [0; KEY_LEN];
        if digits.len() != 2 * KEY_LEN {
            return Err(KeyError::Format);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: u8| char::from(digit).to_digit(16);
            let (Some(high), Some(low)) = (value(pair[0]), value(pair[1])) else {
                return Err(KeyError::Format);
            };
            *byte = (16 * high + low) as u8;
        }
        Ok(Self(bytes))
    }

    /// Reads a key from a file of 32 bytes or 64 hex digits.
    ///
    /// # Errors
    /// Returns [`KeyError::Read`] if the file cannot be read, and [`KeyError::Format`] if its
    /// content is not a key.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let read = || {
            let mut content = Vec::new();
            std::fs::File::open(path)?.take(MAX_FILE_LEN).read_to_end(&mut content)?;
            Ok(content)
        };
        let mut content =
            read().map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        let key = match <[u8; KEY_LEN]>::try_from(content.as_slice()) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => {
                std::str::from_utf8(&content).map_err(|_| KeyError::Format).and_then(Self::from_hex)
            }
        };
        content.zeroize();
        key
    }

    /// Returns the random number generator of the key for one purpose and these numbers.
    ///
    /// HKDF-SHA-256 (RFC 5869) derives its seed; the generator is ChaCha with 8 rounds.
    pub(super) fn rng(&self, purpose: &str, numbers: &[u32]) -> KeyedRng {
        let mut info = format!("cnnvideo watermark 1 {purpose}").into_bytes();
        numbers.iter().for_each(|n| info.extend_from_slice(&n.to_be_bytes()));
        let mut seed = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0).expand(&info, &mut seed).expect(
            "HKDF-SHA-256 expands to at most 255 blocks of 32 bytes, and a seed is one block",
        );
        KeyedRng(ChaCha8Rng::from_seed(seed))
    }

    /// Returns the keyed check of a payload: HMAC-SHA-256 of key epoch and payload, truncated to 32
    /// bits.
    pub(super) fn payload_check(&self, payload: u64, epoch: u32) -> u32 {
        let mut check_key = [0; 32];
        self.rng("check", &[]).fill(&mut check_key);
        let mut mac = Hmac::<Sha256>::new_from_slice(&check_key)
            .expect("HMAC accepts keys of any length (RFC 2104)");
        mac.update(&epoch.to_be_bytes());
        mac.update(&payload.to_be_bytes());
        let tag = mac.finalize().into_bytes();
        u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]])
    }
}

/// Keyed pseudo-random number generator.
pub(super) struct KeyedRng(ChaCha8Rng);

impl KeyedRng {
    /// Returns 32 random bits.
    pub(super) fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Fills `to` with random bytes.
    pub(super) fn fill(&mut self, to: &mut [u8]) {
        self.0.fill_bytes(to);
    }

    /// Returns a number distributed uniformly in [0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        f64::from(self.next_u32()) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_hex_keys_and_rejects_other_text() {
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8 * 7);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(Key::from_hex(&hex).unwrap(), Key::new(bytes));
        assert_eq!(Key::from_hex(&format!(" {}\n", hex.to_uppercase())).unwrap(), Key::new(bytes));
        for wrong in
            ["", "00", &hex[1..], &format!("{hex}0"), &hex.replacen('0', "g", 1), &"ä".repeat(32)]
        {
            assert!(Key::from_hex(wrong).is_err(), "{wrong}");
        }
        assert!(!format!("{:?}", Key::new(bytes)).contains('7'));
    }

    #[test]
    fn random_numbers_depend_on_key_purpose_and_numbers() {
        let (a, b) = (Key::new([1; 32]), Key::new([2; 32]));
        let first = |key: &Key, purpose, numbers: &[u32]| key.rng(purpose, numbers).next_u32();
        let all = [
            first(&a, "x", &[]),
            first(&b, "x", &[]),
            first(&a, "y", &[]),
            first(&a, "x", &[1]),
            first(&a, "x", &[2]),
        ];
        assert_eq!(first(&a, "x", &[1]), all[3]);
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one));
        }
        assert_ne!(a.payload_check(5, 0), a.payload_check(5, 1));
        assert_ne!(a.payload_check(5, 0), b.payload_check(5, 0));
    }
}
