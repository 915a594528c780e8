// SPDX-License-Identifier: MIT OR Apache-2.0

//! Divides a video into ranges of frames.

use std::ops::Range;

/// A part of a video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Numbers of its frames.
    pub(crate) frames: Range<u64>,
    /// Whether it begins at a cut, or with the video.
    pub(crate) begins_at_cut: bool,
}

/// Divides `frames` frames into parts of about `length` frames: half to one and a half of it, or
/// all frames if there are no more. Borders lie at cuts where there are any.
///
/// # Panics
/// If `length` is 0.
pub(crate) fn divide(frames: u64, cuts: &[u64], length: u64) -> Vec<Part> {
    assert!(length > 0, "a part has frames");
    let mut parts = Vec::new();
    let (mut start, mut begins_at_cut) = (0, true);
    while frames - start > length + length / 2 {
        let ideal = start + length;
        // What is left is no shorter than half a part either.
        let least = (length / 2).max(1);
        let allowed = start + least..=(ideal + length / 2).min(frames - least);
        let best = cuts
            .iter()
            .copied()
            .filter(|cut| allowed.contains(cut))
            .min_by_key(|cut| cut.abs_diff(ideal));
        let end = best.unwrap_or(ideal);
        parts.push(Part { frames: start..end, begins_at_cut });
        (start, begins_at_cut) = (end, best.is_some());
    }
    parts.push(Part { frames: start..frames, begins_at_cut });
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn borders(frames: u64, cuts: &[u64], length: u64) -> Vec<(u64, bool)> {
        let parts = divide(frames, cuts, length);
        assert_eq!(parts.last().unwrap().frames.end, frames);
        for pair in parts.windows(2) {
            assert_eq!(pair[0].frames.end, pair[1].frames.start);
        }
        for part in &parts {
            let length_of_part = part.frames.end - part.frames.start;
            assert!(length_of_part <= length + length / 2, "{part:?}");
            assert!(parts.len() == 1 || length_of_part >= length / 2, "{part:?}");
        }
        parts.iter().map(|part| (part.frames.start, part.begins_at_cut)).collect()
    }

    #[test]
    fn borders_lie_at_cuts() {
        assert_eq!(
            borders(1000, &[10, 210, 295, 320, 640, 990], 300),
            [(0, true), (295, true), (640, true)]
        );
        assert_eq!(borders(1000, &[100], 300), [(0, true), (300, false), (600, false)]);
        assert_eq!(borders(10, &[5], 300), [(0, true)]);
        assert_eq!(borders(450, &[], 300), [(0, true)]);
        assert_eq!(borders(451, &[], 300), [(0, true), (300, false)]);
    }

    #[test]
    fn every_length_works() {
        for frames in 1..60 {
            for length in 1..20 {
                borders(frames, &[3, 4, 17, 18, 19, 40], length);
            }
        }
    }
}
