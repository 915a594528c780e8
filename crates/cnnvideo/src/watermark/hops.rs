// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sequence of hops of version 2.
//!
//! Every hop has one of a few labels, which the pilot shows, and signs of its own for all tiles.
//! The sequence of labels is keyed; it tells the detector at which hops a window may be.

use super::{key::Key, pattern::HOPS, tiles::TILES};

/// Number of hops after which the sequence repeats: more than an hour of 25 frames per second.
pub(super) const SEQUENCE: usize = 4096;
/// Words of signs per hop and layer.
const WORDS: usize = TILES / 64;
/// Score that a change of the hop from one group to the next has to gain, in standard deviations.
const STEP_PENALTY: [f32; 3] = [0.0, 1.0, 3.0];

/// Successive groups of one hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Indices of the groups.
    pub groups: std::ops::Range<usize>,
    /// Label of the hop.
    pub label: usize,
    /// Number of hops since the first run.
    pub step: usize,
}

/// Path through the sequence of hops.
pub(super) struct Path {
    pub runs: Vec<Run>,
    /// Agreement of its labels with the groups, in standard deviations of a single group; less for
    /// unlikely changes of the hop.
    pub agreement: f32,
}

/// The labels and tile signs of a key and key epoch.
pub(super) struct HopSequence {
    labels: Vec<u8>,
    /// Signs of the tiles of each layer, a set bit for a negative one.
    signs: [Vec<u64>; 2],
}

impl HopSequence {
    /// Creates the sequence.
    pub(super) fn new(key: &Key, epoch: u32) -> Self {
        let signs = |layer: u32| {
            let mut bytes = vec![0; SEQUENCE * WORDS * 8];
            key.rng("hop signs", &[epoch, layer]).fill(&mut bytes);
            let words = bytes.chunks_exact(8);
            words.map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes"))).collect()
        };
        Self { labels: labels(key, epoch), signs: [0, 1].map(signs) }
    }

    /// Returns the label of a hop.
    pub(super) fn label(&self, hop: usize) -> usize {
        usize::from(self.labels[hop % SEQUENCE])
    }

    /// Returns the sign of a tile in a hop and layer, 1 or -1.
    pub(super) fn sign(&self, hop: usize, layer: usize, tile: usize) -> f32 {
        sign_in(self.word(hop, layer, tile), tile)
    }

    /// Returns the signs of the 64 tiles around a tile, a set bit for a negative one.
    pub(super) fn word(&self, hop: usize, layer: usize, tile: usize) -> u64 {
        self.signs[layer][hop % SEQUENCE * WORDS + tile / 64]
    }

    /// Returns the most likely path through the hops; `None` without groups.
    ///
    /// `scores` has, for each group, the agreement with each label in standard deviations.
    pub(super) fn most_likely_path(&self, scores: &[[f32; HOPS]]) -> Option<Path> {
        let (first, rest) = scores.split_first()?;
        let mut totals: Vec<f32> = (0..SEQUENCE).map(|hop| first[self.label(hop)]).collect();
        let mut steps = Vec::with_capacity(rest.len());
        for scores in rest {
            let mut taken = vec![0u8; SEQUENCE];
            let next = (0..SEQUENCE).map(|hop| {
                let from =
                    |step: usize| totals[(hop + SEQUENCE - step) % SEQUENCE] - STEP_PENALTY[step];
                let mut best = 0;
                for step in 1..STEP_PENALTY.len() {
                    if from(step) > from(best) {
                        best = step;
                    }
                }
                taken[hop] = best as u8;
                from(best) + scores[self.label(hop)]
            });
            totals = next.collect();
            steps.push(taken);
        }
        let mut hop = (0..SEQUENCE)
            .max_by(|a, b| totals[*a].total_cmp(&totals[*b]))
            .expect("the sequence has hops");
        let agreement = totals[hop] / (scores.len() as f32).sqrt();
        let mut path = vec![0; scores.len()];
        for (i, taken) in steps.iter().enumerate().rev() {
            path[i + 1] = usize::from(taken[hop]);
            hop = (hop + SEQUENCE - path[i + 1]) % SEQUENCE;
        }
        let mut runs: Vec<Run> = Vec::new();
        let mut step = 0;
        for (group, taken) in path.into_iter().enumerate() {
            step += taken;
            match runs.last_mut() {
                Some(run) if taken == 0 => run.groups.end = group + 1,
                _ => {
                    let label = self.label(hop + step);
                    runs.push(Run { groups: group..group + 1, label, step });
                }
            }
        }
        Some(Path { runs, agreement })
    }

    /// Returns the hops at which the first of these runs may be.
    pub(super) fn candidates<'a>(&'a self, runs: &'a [Run]) -> impl Iterator<Item = usize> + 'a {
        (0..SEQUENCE)
            .filter(|first| runs.iter().all(|run| self.label(first + run.step) == run.label))
    }
}

/// Returns the sign of a tile in its word of signs.
#[inline(always)]
pub(super) fn sign_in(word: u64, tile: usize) -> f32 {
    f32::from_bits(1f32.to_bits() | ((word >> (tile % 64)) as u32) << 31)
}

/// Returns the labels of all hops; successive ones differ, also from the last to the first.
fn labels(key: &Key, epoch: u32) -> Vec<u8> {
    let mut rng = key.rng("hop labels", &[epoch]);
    let mut labels: Vec<u8> = Vec::with_capacity(SEQUENCE);
    while labels.len() < SEQUENCE {
        let label = (rng.next_u32() % HOPS as u32) as u8;
        let is_last = labels.len() + 1 == SEQUENCE;
        if labels.last() != Some(&label) && !(is_last && labels.first() == Some(&label)) {
            labels.push(label);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_follow_the_sequence() {
        let hops = HopSequence::new(&Key::new([8; 32]), 2);
        assert!((0..SEQUENCE).all(|hop| hops.label(hop) != hops.label(hop + 1)));
        let first = 1234;
        // Four groups of a hop, four of the next, two of the one after it.
        let score = |group: usize| {
            std::array::from_fn(
                |label| {
                    if label == hops.label(first + group / 4) { 4.0 } else { 0.0 }
                },
            )
        };
        let path = hops.most_likely_path(&(0..10).map(score).collect::<Vec<_>>());
        let Path { runs, agreement } = path.unwrap();
        // Two changes of the hop after four groups cost one standard deviation each.
        assert!((agreement - (10.0 * 4.0 - 2.0) / 10f32.sqrt()).abs() < 0.01);
        let groups: Vec<_> = runs.iter().map(|run| run.groups.clone()).collect();
        assert_eq!(groups, [0..4, 4..8, 8..10]);
        assert_eq!(runs.iter().map(|run| run.step).collect::<Vec<_>>(), [0, 1, 2]);
        let candidates: Vec<_> = hops.candidates(&runs).collect();
        assert!(candidates.contains(&first) && candidates.len() < SEQUENCE / 16);
    }

    #[test]
    fn signs_depend_on_hop_and_layer() {
        let hops = HopSequence::new(&Key::new([8; 32]), 2);
        let agreement = |a: (usize, usize), b: (usize, usize)| {
            (0..TILES)
                .map(|tile| hops.sign(a.0, a.1, tile) * hops.sign(b.0, b.1, tile))
                .sum::<f32>()
        };
        assert_eq!(agreement((5, 0), (5, 0)), TILES as f32);
        for other in [(6, 0), (5, 1), (SEQUENCE - 1, 0)] {
            assert!(agreement((5, 0), other).abs() < 250.0);
        }
    }
}
