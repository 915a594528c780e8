// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads decisions from the bytes of an input: numbers, choices and text.

/// Integers at which code with a fault tends to show it.
pub const INTERESTING: [u64; 24] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    31,
    64,
    127,
    255,
    256,
    4096,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

/// Floating-point numbers at which code with a fault tends to show it.
const INTERESTING_FLOATS: [f64; 16] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    f32::MAX as f64,
    1e30,
    -1e30,
    9.1e15,
    -0.0,
    -1.0,
    -0.5,
    0.5,
    2_147_483_648.0,
    -2_147_483_649.0,
];

/// Bytes of an input that were not read yet. Reading beyond the end gives zeros.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns whether all bytes were read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads one byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Reads `N` bytes.
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (read, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut bytes = [0; N];
        bytes[..read.len()].copy_from_slice(read);
        bytes
    }

    /// Reads a number from 0 to `count` - 1; 0 if `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(u16::from_le_bytes(self.array())) % count.max(1)
    }

    /// Reads whether something with a probability of 1 in `n` happens.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// Reads the choice of one of `values`.
    ///
    /// # Panics
    /// If there are none.
    pub fn choose<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// Reads an integer: an interesting one, a random one, or one close to `usual`.
    pub fn integer(&mut self, usual: u64) -> u64 {
        match self.byte() % 8 {
            0..=2 => usual,
            3 => usual.wrapping_add_signed(i64::from(self.byte() as i8)),
            4 => usual.wrapping_mul(u64::from(self.byte())),
            5 => u64::from_le_bytes(self.array()),
            6 => self.choose(&INTERESTING).wrapping_neg(),
            _ => self.choose(&INTERESTING),
        }
    }

    /// Reads a number from 0 to `usual`, or an interesting one.
    pub fn float(&mut self, usual: f64) -> f64 {
        match self.byte() % 4 {
            0..=1 => usual * f64::from(self.byte()) / 255.0,
            2 => f64::from_le_bytes(self.array()),
            _ => self.choose(&INTERESTING_FLOATS),
        }
    }

    /// Reads up to `length` bytes.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (read, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        read
    }

    /// Reads all other bytes.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Reads up to `length` bytes as text without NUL, which C strings cannot hold.
    pub fn text(&mut self, length: usize) -> String {
        String::from_utf8_lossy(self.bytes(length)).replace('\0', "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_beyond_the_end_gives_zeros() {
        let mut input = Input::new(&[5, 1, 9]);
        assert_eq!((input.byte(), input.below(10), input.byte()), (5, 5, 0));
        let mut input = Input::new(&[]);
        assert!(input.is_empty() && input.text(9).is_empty() && input.rest().is_empty());
        assert_eq!((input.integer(7), input.float(7.0), input.below(0)), (7, 0.0, 0));
        assert!(!input.one_in(2) && input.one_in(1));
    }

    #[test]
    fn text_has_no_nul() {
        assert_eq!(Input::new(b"a\0b\xff").text(9), "ab\u{fffd}");
    }
}
