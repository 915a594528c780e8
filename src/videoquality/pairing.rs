// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pairing of the frames of two streams by running time.

/// Decision on the next frames of both streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairing {
    /// They are a pair.
    Pair,
    /// The reference frame has no partner and is dropped.
    SkipReference,
    /// The tested frame has no partner and is not measured.
    PassTest,
}

/// Pairs two frames by running time, in nanoseconds: they are a pair if they are at most half a
/// frame `duration` apart.
pub(super) fn pair(reference: u64, test: u64, duration: u64) -> Pairing {
    if reference.abs_diff(test) <= duration / 2 {
        Pairing::Pair
    } else if reference < test {
        Pairing::SkipReference
    } else {
        Pairing::PassTest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_within_half_a_duration_are_paired() {
        assert_eq!(pair(100, 100, 40), Pairing::Pair);
        assert_eq!(pair(100, 120, 40), Pairing::Pair);
        assert_eq!(pair(100, 121, 40), Pairing::SkipReference);
        assert_eq!(pair(121, 100, 40), Pairing::PassTest);
        assert_eq!(pair(5, 5, 0), Pairing::Pair);
    }
}
