// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fields of interlaced pictures.

/// Field of an interlaced picture: every other row.
///
/// Filters with state from picture to picture keep one state per field. Progressive pictures count
/// as first fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field {
    /// Rows 0, 2, 4, ...; also stands for a progressive picture.
    #[default]
    First,
    /// Rows 1, 3, 5, ...
    Second,
}

impl Field {
    /// Number of fields of an interlaced picture.
    pub const COUNT: usize = 2;

    /// Returns 0 for the first and 1 for the second field. Also the first row of the field.
    pub const fn index(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }
}
