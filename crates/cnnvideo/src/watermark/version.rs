// SPDX-License-Identifier: MIT OR Apache-2.0

//! Versions of the watermark's format.

/// Version of the watermark's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The same patterns for any picture.
    One,
    /// Patterns whose signs depend on the picture.
    Two,
}

impl Version {
    /// Returns the number of the version.
    pub fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// Returns the version of a number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::One, Self::Two].into_iter().find(|version| version.number() == number)
    }
}
