// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes whole pictures whose pilot was removed.
//!
//! The pilot is the only part of a mark of version 2 that is the same in all pictures, so an
//! attacker can estimate and subtract it. The carriers of described tiles remain. Without the pilot
//! the detector knows neither geometry nor label, but whole pictures have a known geometry, and all
//! places in the sequence of hops can be tried.

use rayon::prelude::*;

use super::{Found, Hops, Marks, RunEvidence};
use crate::watermark::{
    collect::{GROUP_FRAMES, Window},
    demodulate::{Demodulated, TileMap},
    embed::HOP_FRAMES,
    geometry::Geometry,
    hops::{Run, SEQUENCE},
    key::Key,
    pattern::HOPS,
    plane::Fft2,
    spectra::{CUTOFF_FREQUENCIES, Spectra},
    tiles::Layer,
};

/// Number of groups in a hop.
const HOP_GROUPS: usize = HOP_FRAMES as usize / GROUP_FRAMES as usize;
/// Number of hypotheses, those with the most energy in the soft bits of one hop, that are decoded.
const DECODED_HYPOTHESES: usize = 2;

/// Energy of the best place, in standard deviations of all places of a run, below which it is not
/// decoded. Windows without a mark reach about 5.
const MIN_PROMINENCE: f32 = 6.0;

/// A hop that part of a window may show.
struct Hypothesis {
    /// Energy, in standard deviations above the mean of all places.
    prominence: f32,
    /// First group of the hop.
    start: usize,
    /// Place in the sequence.
    place: usize,
}

impl Marks {
    /// Decodes a window of whole pictures as [`Marks::decode`] does, but without the pilot.
    ///
    /// It compares the most recent complete hop of the window, for each alignment, with all places
    /// of the sequence. The best are decoded with the whole window.
    pub(in super::super) fn decode_without_pilot(
        &self,
        key: &Key,
        window: &Window,
        fft: &Fft2,
        mut accept: impl FnMut(Found) -> bool,
    ) -> bool {
        let runs = runs_of_one_hop(window.groups.len());
        let alternatives = (runs.len() * SEQUENCE / HOPS) as u32;
        let hypotheses = self.hypotheses(key, window, &runs, fft);
        hypotheses.into_iter().take(DECODED_HYPOTHESES).any(
            |Hypothesis { start, place, .. }| {
                let (runs, place) = self.runs_of_window(window.groups.len(), start, place);
                let hops = Hops { runs, places: vec![place], alternatives };
                self.decode(key, window, &Geometry::IDENTITY, hops, fft, &mut accept)
            },
        )
    }

    /// Returns the place of the sequence for each run whose soft bits have the most energy, where
    /// it stands out; the most prominent first.
    fn hypotheses(&self, key: &Key, window: &Window, runs: &[Run], fft: &Fft2) -> Vec<Hypothesis> {
        let geometry = &Geometry::IDENTITY;
        let demodulated = self.demodulate_overlapping(window, runs);
        let planes: Vec<_> = demodulated.iter().map(|d| &d.described).collect();
        let filtered =
            Spectra::new(&planes, geometry, &[], fft).filtered(CUTOFF_FREQUENCIES[0], fft);
        let mut evidence: Vec<_> = runs.iter().map(RunEvidence::new).collect();
        self.correlate(key, Layer::Described, &filtered, &demodulated, &mut evidence);
        let of_run = |evidence: &RunEvidence<'_>| {
            let run = std::slice::from_ref(evidence.run);
            let places: Vec<_> = self.hops.candidates(run).collect();
            let energies = self.energies_of(key, &places, std::slice::from_ref(evidence));
            let start = evidence.run.groups.start;
            let count = energies.len().max(1) as f32;
            let mean = energies.iter().sum::<f32>() / count;
            let variance = energies.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count;
            let best = energies.into_iter().zip(places).max_by(|a, b| a.0.total_cmp(&b.0));
            best.map(|(energy, place)| {
                let prominence = (energy - mean) / variance.sqrt().max(f32::MIN_POSITIVE);
                Hypothesis { prominence, start, place }
            })
            .filter(|hypothesis| hypothesis.prominence >= MIN_PROMINENCE)
        };
        let mut hypotheses: Vec<_> = evidence.par_iter().filter_map(of_run).collect();
        hypotheses.sort_by(|a, b| b.prominence.total_cmp(&a.prominence));
        hypotheses
    }

    /// Demodulates whole pictures of runs that overlap, by label: each group once for a label.
    fn demodulate_overlapping(&self, window: &Window, runs: &[Run]) -> Vec<Demodulated> {
        let Some(first) = window.groups.first() else { return Vec::new() };
        let map = TileMap::new(&Geometry::IDENTITY, first.residual_sum.dim())
            .expect("the identity can be inverted");
        runs.par_chunk_by(|a, b| a.label == b.label)
            .flat_map_iter(|runs| self.demodulate_label(&map, window, runs))
            .collect()
    }

    /// Demodulates runs of one label.
    fn demodulate_label(&self, map: &TileMap, window: &Window, runs: &[Run]) -> Vec<Demodulated> {
        let description = &self.descriptions[runs[0].label];
        let mut sums: Vec<_> =
            runs.iter().map(|_| map.demodulate(std::iter::empty(), description)).collect();
        for (i, group) in window.groups.iter().enumerate() {
            if !runs.iter().any(|run| run.groups.contains(&i)) {
                continue;
            }
            let demodulated = map.demodulate(group.pictures.iter(), description);
            let sums = sums.iter_mut().zip(runs).filter(|(_, run)| run.groups.contains(&i));
            sums.for_each(|(sum, _)| sum.add(&demodulated));
        }
        sums
    }

    /// Returns the runs of a window of `count` groups in which the group `start` begins the hop at
    /// `place`, and the place of the first run.
    fn runs_of_window(&self, count: usize, start: usize, place: usize) -> (Vec<Run>, usize) {
        let before = start.div_ceil(HOP_GROUPS);
        let first = (place + SEQUENCE - before) % SEQUENCE;
        let begin = |step: usize| (start + step * HOP_GROUPS).saturating_sub(before * HOP_GROUPS);
        let runs = (0..).map(|step| (step, begin(step)..begin(step + 1).min(count)));
        let runs = runs.take_while(|(_, groups)| groups.start < count);
        let runs =
            runs.map(|(step, groups)| Run { groups, label: self.hops.label(first + step), step });
        (runs.collect(), first)
    }
}

/// Returns the most recent hop of a window of `count` groups for each label and alignment.
fn runs_of_one_hop(count: usize) -> Vec<Run> {
    let length = count.min(HOP_GROUPS);
    let last = count - length;
    let starts = last.saturating_sub(HOP_GROUPS - 1)..=last;
    let run = move |label, start| Run { groups: start..start + length, label, step: 0 };
    (0..HOPS).flat_map(|label| starts.clone().map(move |start| run(label, start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_window() {
        let marks = Marks::new(&Key::new([3; 32]), 0, &[]);
        for (count, start) in [(8, 4), (8, 1), (12, 6), (3, 0), (5, 1)] {
            let (runs, first) = marks.runs_of_window(count, start, 2);
            let groups: Vec<_> = runs.iter().flat_map(|run| run.groups.clone()).collect();
            assert_eq!(groups, (0..count).collect::<Vec<_>>());
            let run = runs.iter().find(|run| run.groups.start == start).unwrap();
            assert_eq!((first + run.step) % SEQUENCE, 2);
            assert!(runs.iter().all(|run| run.label == marks.hops.label(first + run.step)));
        }
        assert_eq!(runs_of_one_hop(8).len(), 4 * HOPS);
        assert!(runs_of_one_hop(8).iter().all(|run| run.groups.len() == HOP_GROUPS));
        // A short window is one run for each label.
        let short = runs_of_one_hop(2);
        assert!(short.len() == HOPS && short.iter().all(|run| run.groups == (0..2)));
    }
}
