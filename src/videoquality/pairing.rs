// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pairing of the frames of two streams by running time.

/// Duration of a frame in nanoseconds where nothing else is known, and the longest that is
/// estimated: 40 ms.
const DEFAULT_DURATION: i64 = 40_000_000;

/// Decision on the next frames of both streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairing {
    /// They are a pair.
    Pair,
    /// The reference frame has no partner and is dropped.
    SkipReference,
    /// The tested frame has no partner and is not measured.
    PassTest,
    /// The decision needs the time of the reference frame after the next.
    LookAhead,
}

/// Time of a frame or a gap, in nanoseconds of running time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    /// Running time, `None` without a timestamp.
    pub(super) start: Option<i64>,
    /// Duration, `None` where unknown.
    pub(super) duration: Option<i64>,
}

/// Pairs two frames by running time, in nanoseconds: they are a pair if they are at most half a
/// frame `duration` apart.
pub(super) fn pair(reference: i64, test: i64, duration: i64) -> Pairing {
    if reference.abs_diff(test) <= duration.unsigned_abs() / 2 {
        Pairing::Pair
    } else if reference < test {
        Pairing::SkipReference
    } else {
        Pairing::PassTest
    }
}

/// Estimates the duration of frames from the times, in nanoseconds, of successive frames of each
/// stream: the shortest distance, at most 40 ms.
pub(super) fn estimate_duration(successive: &[Option<(i64, i64)>]) -> i64 {
    let distances = successive.iter().flatten().map(|(a, b)| b.saturating_sub(*a));
    distances.filter(|distance| *distance > 0).fold(DEFAULT_DURATION, i64::min)
}

/// Returns whether `frame` ends before the end of `gap`, so that no frame after the gap can be its
/// partner. `false` where a time is unknown.
pub(super) fn lies_before(frame: &Timing, gap: &Timing) -> bool {
    let half = frame.duration.unwrap_or(DEFAULT_DURATION).min(DEFAULT_DURATION) / 2;
    let end = gap.start.zip(gap.duration).map(|(start, duration)| start.saturating_add(duration));
    frame.start.zip(end).is_some_and(|(start, end)| start.saturating_add(half) < end)
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
        assert_eq!(pair(-10, 5, 40), Pairing::Pair);
        assert_eq!(pair(5, 5, 0), Pairing::Pair);
    }

    #[test]
    fn durations_are_estimated_from_the_shortest_distance() {
        assert_eq!(estimate_duration(&[None, None]), DEFAULT_DURATION);
        assert_eq!(estimate_duration(&[Some((10, 26)), None]), 16);
        assert_eq!(estimate_duration(&[Some((10, 26)), Some((3, 8))]), 5);
        // Equal or descending times tell nothing.
        assert_eq!(estimate_duration(&[Some((10, 10)), Some((8, 3))]), DEFAULT_DURATION);
        assert_eq!(estimate_duration(&[Some((0, 1_000_000_000))]), DEFAULT_DURATION);
    }

    #[test]
    fn frames_near_the_end_of_a_gap_may_have_a_partner_after_it() {
        let at = |start, duration| Timing { start: Some(start), duration: Some(duration) };
        let gap = at(0, 100);
        assert!(lies_before(&at(60, 40), &gap));
        assert!(!lies_before(&at(80, 40), &gap));
        assert!(!lies_before(&at(60, 40), &Timing { start: Some(0), duration: None }));
        assert!(!lies_before(&Timing::default(), &gap));
    }
}
