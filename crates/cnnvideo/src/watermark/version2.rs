// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes marks of version 2, whose carriers have signs that depend on the picture and the hop.

mod without_pilot;

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::{
    candidates::{CodedCandidates, NamedCandidate},
    collect::{ResidualGroup, Window},
    convolutional_code::CODED_BITS,
    demodulate::{Demodulated, TileMap},
    describe::Description,
    geometry::Geometry,
    hops::{HopSequence, Path, Run, SEQUENCE, sign_in},
    key::Key,
    message::{BestMessage, correlation},
    pattern::{HOPS, Wave},
    payload::Payload,
    plane::Fft2,
    spectra::{CUTOFF_FREQUENCIES, Spectra},
    sync::label_scores,
    tiles::{Layer, TILE_BITS, TILES, TileCarriers},
    version::Version,
};
use crate::simd::vectorise;

/// Least agreement of the hops that the pilot shows with the sequence of version 2, in standard
/// deviations of a group, at which a window is decoded. Most windows without a watermark stay below
/// it; marks that could be read reached 4.6.
const MIN_AGREEMENT_OF_HOPS: f32 = 3.0;
/// Number of places in the sequence of hops, those with the most energy in the soft bits, whose
/// message is decoded.
const DECODED_PLACES: usize = 3;
/// Number of places that described tiles leave for the decision with flat tiles.
const PLACES_WITH_FLAT: usize = 16;
/// Share of described tiles above which they decide which places are left.
const DESCRIBED_DECIDE: f32 = 0.5;
/// Share of described tiles above which flat tiles are not decoded as well.
const MOSTLY_DESCRIBED: f32 = 0.85;
/// Number of places whose energy is computed together.
const LANES: usize = 16;
/// Energy of a tile, relative to the highest, below which it counts as outside of the picture.
const LEAST_TILE_ENERGY: f32 = 1e-6;

/// Carriers, description and hops of a key and key epoch.
pub(super) struct Marks {
    epoch: u32,
    hops: HopSequence,
    descriptions: Vec<Description>,
    candidates: CodedCandidates,
    /// Carriers by layer and hop label, created when they are needed.
    carriers: [[OnceLock<TileCarriers>; HOPS]; 2],
}

/// Result of one attempt.
pub(super) struct Found {
    pub message: BestMessage,
    /// Number of places in the sequence of hops from which this one was chosen.
    pub places: u32,
    /// Correlation of the described tiles with the message, in standard deviations of that with
    /// random signs of the tiles.
    pub tile_z: f64,
    /// Share of the described tiles in the evidence.
    pub described: f64,
    /// Mean weight of the description over the tiles, from 0 to 1.
    pub described_area: f32,
    /// Issued payloads that correlate with the soft bits, the best first.
    pub named: Vec<Named>,
}

/// Evidence for an issued payload.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub payload: Payload,
    /// Correlation with its coded bits, in standard deviations of chance.
    pub z: f64,
    /// As [`Found::tile_z`], with this payload.
    pub tile_z: f64,
}

/// The hops that a window may show.
pub(super) struct Hops {
    runs: Vec<Run>,
    /// Places in the sequence at which the first run may be.
    places: Vec<usize>,
    /// Number of combinations of runs and places from which these were chosen.
    alternatives: u32,
}

/// Correlations of the tiles with their bits in one run.
struct RunEvidence<'a> {
    run: &'a Run,
    /// Index and correlations of each tile that the picture covers, by layer.
    tiles: [Vec<(usize, [f32; TILE_BITS])>; 2],
}

impl<'a> RunEvidence<'a> {
    fn new(run: &'a Run) -> Self {
        Self { run, tiles: Default::default() }
    }
}

impl Marks {
    /// Creates what decoding needs of a key and key epoch, with a list of issued payloads.
    pub(super) fn new(key: &Key, epoch: u32, candidates: &[Payload]) -> Self {
        Self {
            epoch,
            hops: HopSequence::new(key, epoch),
            descriptions: (0..HOPS).map(|label| Description::new(key, epoch, label)).collect(),
            candidates: CodedCandidates::new(candidates, key, epoch),
            carriers: Default::default(),
        }
    }

    /// Returns the hops that the pilot shows in a window at one geometry; `None` if they do not
    /// agree with the sequence.
    pub(super) fn hops(
        &self,
        waves: &[Wave],
        window: &Window,
        geometry: &Geometry,
    ) -> Option<Hops> {
        let scores =
            |group: &Arc<ResidualGroup>| label_scores(waves, &group.residual_sum, geometry);
        let scores: Vec<_> = window.groups.par_iter().map(scores).collect();
        let Path { runs, agreement } = self.hops.most_likely_path(&scores)?;
        if agreement < MIN_AGREEMENT_OF_HOPS {
            return None;
        }
        let places: Vec<_> = self.hops.candidates(&runs).collect();
        let alternatives = places.len() as u32;
        Some(Hops { runs, places, alternatives })
    }

    /// Decodes a window at one geometry, in several ways, until `accept` returns true for a
    /// message. Returns whether it did.
    pub(super) fn decode(
        &self,
        key: &Key,
        window: &Window,
        geometry: &Geometry,
        Hops { runs, places, alternatives }: Hops,
        fft: &Fft2,
        mut accept: impl FnMut(Found) -> bool,
    ) -> bool {
        let Some((demodulated, area)) = self.demodulate(window, &runs, geometry) else {
            return false;
        };
        let planes: Vec<_> = demodulated.iter().map(|d| &d.described).collect();
        let described = Spectra::new(&planes, geometry, &[], fft);
        let mut flat = None;
        for cutoff in CUTOFF_FREQUENCIES {
            let mut evidence: Vec<_> = runs.iter().map(RunEvidence::new).collect();
            let filtered = described.filtered(cutoff, fft);
            self.correlate(key, Layer::Described, &filtered, &demodulated, &mut evidence);
            let mut ranked = self.ranked(key, &places, &evidence);
            let mut try_places = |ranked: &[usize], evidence: &[RunEvidence<'_>]| {
                ranked.iter().take(DECODED_PLACES).any(|place| {
                    let found = self.decode_place(key, *place, evidence, area);
                    accept(Found { places: alternatives, ..found })
                })
            };
            if try_places(&ranked, &evidence) {
                return true;
            }
            if area > MOSTLY_DESCRIBED {
                continue;
            }
            if area > DESCRIBED_DECIDE {
                ranked.truncate(PLACES_WITH_FLAT);
            }
            let flat = flat.get_or_insert_with(|| {
                let planes: Vec<_> = demodulated.iter().map(|d| &d.flat).collect();
                Spectra::new(&planes, geometry, &[], fft)
            });
            let filtered = flat.filtered(cutoff, fft);
            self.correlate(key, Layer::Flat, &filtered, &demodulated, &mut evidence);
            if try_places(&self.ranked(key, &ranked, &evidence), &evidence) {
                return true;
            }
        }
        false
    }

    /// Decodes a window of whole pictures as if it were at each of the first `count` places of the
    /// sequence, for the statistics of windows without a watermark.
    pub(super) fn trials(
        &self,
        key: &Key,
        window: &Window,
        count: usize,
        fft: &Fft2,
    ) -> Vec<Found> {
        let groups = window.groups.len();
        let run =
            |i: usize| Run { groups: i * groups / 2..(i + 1) * groups / 2, label: i, step: i };
        let runs = [0, 1].map(run);
        let Some((demodulated, area)) = self.demodulate(window, &runs, &Geometry::IDENTITY) else {
            return Vec::new();
        };
        let mut evidence = runs.each_ref().map(RunEvidence::new);
        for layer in [Layer::Described, Layer::Flat] {
            let planes: Vec<_> = demodulated
                .iter()
                .map(|d| if layer == Layer::Flat { &d.flat } else { &d.described })
                .collect();
            let spectra = Spectra::new(&planes, &Geometry::IDENTITY, &[], fft);
            let planes = spectra.filtered(CUTOFF_FREQUENCIES[0], fft);
            self.correlate(key, layer, &planes, &demodulated, &mut evidence);
        }
        (0..count.min(SEQUENCE))
            .map(|place| self.decode_place(key, place, &evidence, area))
            .collect()
    }

    /// Demodulates the pictures of each run; also returns the share of described tiles.
    fn demodulate(
        &self,
        window: &Window,
        runs: &[Run],
        geometry: &Geometry,
    ) -> Option<(Vec<Demodulated>, f32)> {
        let map = TileMap::new(geometry, window.groups.first()?.residual_sum.dim())?;
        let demodulated: Vec<_> = runs
            .par_iter()
            .map(|run| {
                let pictures =
                    window.groups[run.groups.clone()].iter().flat_map(|group| &group.pictures);
                map.demodulate(pictures, &self.descriptions[run.label])
            })
            .collect();
        let area = demodulated.iter().map(Demodulated::described_share).sum::<f32>()
            / demodulated.len().max(1) as f32;
        Some((demodulated, area))
    }

    /// Correlates the filtered plane of each run with the carriers of a layer.
    ///
    /// The filter divides by the power of the noise, which falls with the squared weight of the
    /// tiles, as does the signal. So the correlations are multiplied by it: otherwise a layer with
    /// hardly any tiles would count most.
    fn correlate(
        &self,
        key: &Key,
        layer: Layer,
        planes: &[Vec<f32>],
        demodulated: &[Demodulated],
        evidence: &mut [RunEvidence<'_>],
    ) {
        let runs = evidence.par_iter_mut().zip(planes).zip(demodulated);
        runs.for_each(|((RunEvidence { run, tiles }, plane), demodulated)| {
            let all = self.carriers(key, layer, run.label).correlate(plane);
            let energy = |values: &[f32; TILE_BITS]| values.iter().map(|v| v * v).sum::<f32>();
            let least = LEAST_TILE_ENERGY * all.iter().map(energy).fold(0.0, f32::max);
            let power = demodulated.powers()[layer as usize];
            let covered = all.iter().enumerate().filter(|(_, values)| energy(values) > least);
            tiles[layer as usize] =
                covered.map(|(tile, values)| (tile, values.map(|v| power * v))).collect();
        });
    }

    /// Returns the carriers of a layer and hop label.
    fn carriers(&self, key: &Key, layer: Layer, label: usize) -> &TileCarriers {
        self.carriers[layer as usize][label]
            .get_or_init(|| TileCarriers::new(key, self.epoch, label, layer))
    }

    /// Returns places by the energy of their soft bits, the highest first.
    fn ranked(&self, key: &Key, places: &[usize], evidence: &[RunEvidence<'_>]) -> Vec<usize> {
        let energies = self.energies_of(key, places, evidence);
        let mut ranked: Vec<_> = energies.into_iter().zip(places.iter().copied()).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.into_iter().map(|(_, place)| place).collect()
    }

    /// Returns the energy of the soft bits at each place of the sequence.
    fn energies_of(&self, key: &Key, places: &[usize], evidence: &[RunEvidence<'_>]) -> Vec<f32> {
        // Collected in order, so that threads make no difference.
        places
            .par_chunks(LANES)
            .flat_map_iter(|places| {
                self.energies(key, places, evidence).into_iter().take(places.len())
            })
            .collect()
    }

    /// Returns the energy of the soft bits at each of up to [`LANES`] places of the sequence.
    ///
    /// As [`Self::soft_bits`], for many places at a time: the signs of the tiles differ, not their
    /// bits.
    fn energies(&self, key: &Key, places: &[usize], evidence: &[RunEvidence<'_>]) -> [f32; LANES] {
        let mut soft = [[0.0; LANES]; CODED_BITS];
        for RunEvidence { run, tiles } in evidence {
            for (layer, tiles) in LAYERS.into_iter().zip(tiles).filter(|(_, t)| !t.is_empty()) {
                let carriers = self.carriers(key, layer, run.label);
                // Tiles of one word of signs at a time.
                for tiles in tiles.chunk_by(|(a, _), (b, _)| a / 64 == b / 64) {
                    let mut words = [0; LANES];
                    for (word, place) in words.iter_mut().zip(places) {
                        *word = self.hops.word(place + run.step, layer as usize, tiles[0].0);
                    }
                    add_signed(&mut soft, carriers, tiles, &words);
                }
            }
        }
        let mut energies = [0.0; LANES];
        for row in &soft {
            energies.iter_mut().zip(row).for_each(|(energy, v)| *energy += v * v);
        }
        energies
    }

    /// Returns the soft value of each coded bit if the first run is at a place of the sequence.
    fn soft_bits(
        &self,
        key: &Key,
        place: usize,
        evidence: &[RunEvidence<'_>],
    ) -> [f32; CODED_BITS] {
        let mut soft = [0.0; CODED_BITS];
        for RunEvidence { run, tiles } in evidence {
            for (layer, tiles) in LAYERS.into_iter().zip(tiles) {
                if tiles.is_empty() {
                    continue;
                }
                let carriers = self.carriers(key, layer, run.label);
                for (tile, values) in tiles {
                    let sign = self.hops.sign(place + run.step, layer as usize, *tile);
                    for (bit, value) in carriers.bits_of(*tile).iter().zip(values) {
                        soft[usize::from(*bit)] += sign * value;
                    }
                }
            }
        }
        soft
    }

    /// Decodes the message if the first run is at a place of the sequence.
    fn decode_place(
        &self,
        key: &Key,
        place: usize,
        evidence: &[RunEvidence<'_>],
        described_area: f32,
    ) -> Found {
        let soft = self.soft_bits(key, place, evidence);
        let message = BestMessage::new(&soft, key, Version::Two, self.epoch);
        let [described, flat] =
            LAYERS.map(|layer| self.tile_values(key, layer, place, evidence, &message.coded));
        let total = |values: &[f32]| f64::from(values.iter().sum::<f32>().max(0.0));
        let (a, b) = (total(&described), total(&flat));
        let tile_z = agreement(&described);
        let described = if a + b > 0.0 { a / (a + b) } else { 0.0 };
        let named = self.candidates.named(&soft).into_iter().map(|candidate| {
            let NamedCandidate { payload, coded, z } = candidate;
            let values = self.tile_values(key, Layer::Described, place, evidence, &coded);
            Named { payload, z, tile_z: agreement(&values) }
        });
        let named = named.collect();
        Found { message, places: 1, tile_z, described, described_area, named }
    }

    /// Returns the correlation of each tile of a layer with a message.
    fn tile_values(
        &self,
        key: &Key,
        layer: Layer,
        place: usize,
        evidence: &[RunEvidence<'_>],
        coded: &[f32; CODED_BITS],
    ) -> Vec<f32> {
        let mut all = Vec::with_capacity(evidence.len() * TILES);
        for RunEvidence { run, tiles } in evidence {
            let tiles = &tiles[layer as usize];
            if tiles.is_empty() {
                continue;
            }
            let carriers = self.carriers(key, layer, run.label);
            all.extend(tiles.iter().map(|(tile, values)| {
                let bits = carriers.bits_of(*tile);
                let value: f32 =
                    (0..TILE_BITS).map(|i| values[i] * coded[usize::from(bits[i])]).sum();
                self.hops.sign(place + run.step, layer as usize, *tile) * value
            }));
        }
        all
    }
}

/// Adds the values of tiles, with their signs in each lane, to the soft values of their bits.
fn add_signed(
    soft: &mut [[f32; LANES]; CODED_BITS],
    carriers: &TileCarriers,
    tiles: &[(usize, [f32; TILE_BITS])],
    words: &[u64; LANES],
) {
    vectorise(
        #[inline(always)]
        || {
            for (tile, values) in tiles {
                let signs = words.map(|word| sign_in(word, *tile));
                for (bit, value) in carriers.bits_of(*tile).iter().zip(values) {
                    let row = &mut soft[usize::from(*bit)];
                    row.iter_mut().zip(signs).for_each(|(to, sign)| *to += value * sign);
                }
            }
        },
    );
}

/// Returns the agreement of the tiles, in standard deviations of that with random signs.
fn agreement(values: &[f32]) -> f64 {
    correlation(values, &vec![1.0; values.len()])
}

/// The layers, in the order of their index.
const LAYERS: [Layer; 2] = [Layer::Described, Layer::Flat];
