//! Which frames of two streams belong together.

/// What to do with the next frames of both streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairing {
    /// They are of one time.
    Both,
    /// The reference's has no partner.
    SkipReference,
    /// The tested one has no partner.
    PassTest,
}

/// Compares running times, in nanoseconds; frames are of one time where these differ by at most half a duration.
pub(super) fn pair(reference: u64, test: u64, duration: u64) -> Pairing {
    if reference.abs_diff(test) <= duration / 2 {
        Pairing::Both
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
    fn frames_of_one_time_are_paired() {
        assert_eq!(pair(100, 100, 40), Pairing::Both);
        assert_eq!(pair(100, 120, 40), Pairing::Both);
        assert_eq!(pair(100, 121, 40), Pairing::SkipReference);
        assert_eq!(pair(121, 100, 40), Pairing::PassTest);
        assert_eq!(pair(5, 5, 0), Pairing::Both);
    }
}
