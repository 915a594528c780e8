// SPDX-License-Identifier: MIT OR Apache-2.0

//! The secret key of a watermark, and the keyed random numbers derived from it.
//!
//! The key stays in one place in memory, which core dumps leave out: it is never moved, and copies
//! that the hash functions leave on the stack are cleared.

use std::{
    fmt,
    fs::File,
    hint::black_box,
    io::{self, Read},
    path::Path,
};

use chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use cnnvideo_nn::model::open_regular_file;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{secret::Secret, version::Version};

/// Length of a key in bytes.
pub const KEY_LEN: usize = 32;
/// Length of the longest key file in bytes: 64 hex digits with white space around them.
const MAX_FILE_LEN: usize = 256;
/// Bytes of stack that [`clear_stack`] clears: several times what HKDF-SHA-256 uses.
const CLEARED_STACK: usize = 16 << 10;

/// Errors of loading a [`Key`].
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key file cannot be read.
    #[error("cannot read key file {}: {source}", .path.display())]
    Read {
        /// Path of the key file.
        path: std::path::PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The data is neither 32 bytes nor 64 hex digits.
    #[error("not a key: expected 32 bytes or 64 hex digits")]
    Format,
    /// All bytes are zero.
    #[error(
        "all bytes of the key are zero; create a random key (head -c {KEY_LEN} /dev/urandom > FILE)"
    )]
    Zero,
}

/// Secret from which the carriers, the pilot and the payload check of a watermark are derived.
///
/// `Debug` does not print it, dropping it clears the memory, and comparing two keys takes the same
/// time whatever they are. Core dumps leave it out on Linux.
#[derive(PartialEq, Eq)]
pub struct Key(Secret<KEY_LEN>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

impl Clone for Key {
    fn clone(&self) -> Self {
        Self::filled_by(|bytes| bytes.copy_from_slice(self.0.bytes()))
    }
}

impl ZeroizeOnDrop for Key {}

impl Key {
    /// Creates a key of 32 bytes, which should be random. The caller clears its own copy of them.
    pub fn new(mut bytes: [u8; KEY_LEN]) -> Self {
        let key = Self::filled_by(|to| to.copy_from_slice(&bytes));
        bytes.zeroize();
        key
    }

    /// Returns the key of one video, derived from this one and a text that names the video.
    ///
    /// Estimates of the mark of one video tell nothing about those of others.
    pub fn for_video(&self, nonce: &str) -> Self {
        let info = format!("cnnvideo watermark 2 video {nonce}").into_bytes();
        Self::filled_by(|bytes| {
            self.derive(&info, bytes);
            clear_stack();
        })
    }

    /// Creates a key whose bytes `fill` writes where they stay.
    fn filled_by(fill: impl FnOnce(&mut [u8; KEY_LEN])) -> Self {
        let mut key = Self(Secret::zeros());
        fill(key.0.bytes_mut());
        key
    }

    /// Parses a key of 64 hex digits; white space around them is ignored.
    ///
    /// # Errors
    /// Returns [`KeyError::Zero`] for a key of zeros and [`KeyError::Format`] for any other text.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * KEY_LEN || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(KeyError::Format);
        }
        let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
        Self::filled_by(|bytes| {
            for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = 16 * value(pair[0]) + value(pair[1]);
            }
        })
        .checked()
    }

    /// Reads a key from a regular file of 32 bytes or 64 hex digits, without blocking.
    ///
    /// # Errors
    /// Returns [`KeyError::Read`] if the file cannot be read or is a FIFO, directory or device,
    /// [`KeyError::Zero`] if all bytes of the key are zero, and [`KeyError::Format`] if the content
    /// is not a key.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let file = open_regular_file(path)
            .map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        Self::from_open_file(&file, path)
    }

    /// Reads a key from an open file, as [`Self::from_file`] does. Errors name `path`.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn from_open_file(file: &File, path: &Path) -> Result<Self, KeyError> {
        // One byte more than allowed, so that a longer file is seen. Of twice the capacity, so that
        // `read_to_end` neither reallocates nor reads to a buffer of its own.
        let limit = MAX_FILE_LEN + 1;
        let mut content = Zeroizing::new(Vec::with_capacity(2 * limit));
        file.take(limit as u64)
            .read_to_end(&mut content)
            .map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        if content.len() == KEY_LEN {
            return Self::filled_by(|bytes| bytes.copy_from_slice(&content)).checked();
        }
        if content.len() == limit {
            return Err(KeyError::Format);
        }
        std::str::from_utf8(&content).map_err(|_| KeyError::Format).and_then(Self::from_hex)
    }

    /// Returns the key unless all its bytes are zero.
    fn checked(self) -> Result<Self, KeyError> {
        if self.0 == Secret::zeros() { Err(KeyError::Zero) } else { Ok(self) }
    }

    /// Returns the random number generator of the key for one purpose and these numbers.
    ///
    /// HKDF-SHA-256 (RFC 5869) derives its seed; the generator is ChaCha with 8 rounds.
    pub(super) fn rng(&self, purpose: &str, numbers: &[u32]) -> KeyedRng {
        let mut info = format!("cnnvideo watermark 1 {purpose}").into_bytes();
        numbers.iter().for_each(|n| info.extend_from_slice(&n.to_be_bytes()));
        let mut seed = Zeroizing::new([0; 32]);
        self.derive(&info, &mut seed);
        clear_stack();
        KeyedRng(ChaCha8Rng::from_seed(*seed))
    }

    /// Derives a seed by HKDF-SHA-256. Never inlined, so that the copies of the key in the state of
    /// the hash function are on the part of the stack that [`clear_stack`] clears.
    #[inline(never)]
    fn derive(&self, info: &[u8], seed: &mut [u8; 32]) {
        Hkdf::<Sha256>::new(None, self.0.bytes()).expand(info, seed).expect(
            "HKDF-SHA-256 expands to at most 255 blocks of 32 bytes, and a seed is one block",
        );
    }

    /// Returns the keyed check of a payload: HMAC-SHA-256 of key epoch and payload, truncated to 32
    /// bits.
    pub(super) fn payload_check(&self, payload: u64, version: Version, epoch: u32) -> u32 {
        let mut check_key = Zeroizing::new([0; 32]);
        let purpose = match version {
            Version::One => "check",
            Version::Two => "check 2",
        };
        self.rng(purpose, &[]).fill(&mut *check_key);
        let mut mac = Hmac::<Sha256>::new_from_slice(&*check_key)
            .expect("HMAC accepts keys of any length (RFC 2104)");
        mac.update(&epoch.to_be_bytes());
        mac.update(&payload.to_be_bytes());
        let tag = mac.finalize().into_bytes();
        u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]])
    }
}

/// Clears the part of the stack that functions used which the caller has called before.
#[inline(never)]
fn clear_stack() {
    let mut space = [0u8; CLEARED_STACK];
    space.zeroize();
    black_box(&space);
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
            assert!(matches!(Key::from_hex(wrong), Err(KeyError::Format)), "{wrong}");
        }
        assert!(matches!(Key::from_hex(&"0".repeat(64)), Err(KeyError::Zero)));
        assert!(!format!("{:?}", Key::new(bytes)).contains('7'));
    }

    #[test]
    fn keys_of_videos_depend_on_key_and_nonce() {
        let (a, b) = (Key::new([1; 32]), Key::new([2; 32]));
        let keys = [a.for_video("x"), a.for_video("y"), b.for_video("x"), a.for_video("")];
        assert_eq!(keys[0], a.for_video("x"));
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key) && *key != a);
        }
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
        let check = |key: &Key, version, epoch| key.payload_check(5, version, epoch);
        assert_ne!(check(&a, Version::One, 0), check(&a, Version::One, 1));
        assert_ne!(check(&a, Version::One, 0), check(&b, Version::One, 0));
        assert_ne!(check(&a, Version::One, 0), check(&a, Version::Two, 0));
    }
}
