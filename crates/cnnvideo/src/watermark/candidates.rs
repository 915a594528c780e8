// SPDX-License-Identifier: MIT OR Apache-2.0

//! Issued payloads, with which marks are compared that several receivers have mixed.
//!
//! Mixing copies with different payloads leaves the coded bits in which the payloads agree. They
//! do not decode to any payload, but they correlate with those that were mixed.

use super::{
    convolutional_code::CODED_BITS, key::Key, message::correlation, payload::Payload,
    version::Version,
};

/// Number of payloads in a list, at most.
pub const MAX_CANDIDATES: usize = 100_000;
/// Correlation, in standard deviations of chance, below which a payload is not considered.
const MIN_CORRELATION: f64 = 6.0;

/// Error of reading a list of payloads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCandidatesError {
    /// A line is not a payload.
    #[error("line {0}: not a payload: expected 16 hex digits")]
    Line(usize),
    /// There is no payload.
    #[error("the list has no payload: write one of 16 hex digits per line")]
    Empty,
    /// There are more than [`MAX_CANDIDATES`] payloads.
    #[error("the list has more than {MAX_CANDIDATES} payloads")]
    TooMany,
}

/// Parses a list of payloads, one per line. Empty lines and lines that start with `#` are skipped.
///
/// # Errors
/// Returns an error if a line is not a payload, or if there are none or too many.
pub fn parse_candidates(text: &str) -> Result<Vec<Payload>, ParseCandidatesError> {
    let mut payloads: Vec<Payload> = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        payloads.push(line.parse().map_err(|_| ParseCandidatesError::Line(number + 1))?);
        if payloads.len() > MAX_CANDIDATES {
            return Err(ParseCandidatesError::TooMany);
        }
    }
    if payloads.is_empty() { Err(ParseCandidatesError::Empty) } else { Ok(payloads) }
}

/// Candidates with their coded bits in one key epoch.
pub(super) struct CodedCandidates(Vec<(Payload, [f32; CODED_BITS])>);

/// A candidate that soft bits correlate with.
pub(super) struct NamedCandidate {
    pub payload: Payload,
    /// Its coded bits, 1 or -1.
    pub coded: [f32; CODED_BITS],
    /// Correlation in standard deviations of chance.
    pub z: f64,
}

impl CodedCandidates {
    /// Encodes payloads.
    pub(super) fn new(payloads: &[Payload], key: &Key, epoch: u32) -> Self {
        let coded =
            payloads.iter().map(|payload| (*payload, payload.encode(key, Version::Two, epoch)));
        Self(coded.collect())
    }

    /// Returns the candidates that correlate with soft bits, the best first.
    pub(super) fn named(&self, soft: &[f32; CODED_BITS]) -> Vec<NamedCandidate> {
        let all = self.0.iter().map(|(payload, coded)| NamedCandidate {
            payload: *payload,
            coded: *coded,
            z: correlation(soft, coded),
        });
        let mut named: Vec<_> = all.filter(|candidate| candidate.z >= MIN_CORRELATION).collect();
        named.sort_by(|a, b| b.z.total_cmp(&a.z));
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_payloads_are_read() {
        let list = "# issued\n00000000deadbeef\n\n  0123456789abcdef \r\n";
        assert_eq!(
            parse_candidates(list),
            Ok(vec![Payload(0xdead_beef), Payload(0x0123_4567_89ab_cdef)])
        );
        assert_eq!(parse_candidates("# none\n"), Err(ParseCandidatesError::Empty));
        assert_eq!(parse_candidates("\ndeadbeef\n"), Err(ParseCandidatesError::Line(2)));
        let long = "0000000000000000\n".repeat(MAX_CANDIDATES + 1);
        assert_eq!(parse_candidates(&long), Err(ParseCandidatesError::TooMany));
    }

    #[test]
    fn mixed_payloads_are_named_and_no_others() {
        let key = Key::new([3; 32]);
        let payloads: Vec<_> = (0..500).map(Payload).collect();
        let candidates = CodedCandidates::new(&payloads, &key, 0);
        let mut soft = [0.0; CODED_BITS];
        for payload in &payloads[100..104] {
            let coded = payload.encode(&key, Version::Two, 0);
            soft.iter_mut().zip(coded).for_each(|(to, v)| *to += v);
        }
        let mut named: Vec<_> = candidates.named(&soft).iter().map(|c| c.payload.0).collect();
        named.sort_unstable();
        assert_eq!(named, [100, 101, 102, 103]);
    }
}
