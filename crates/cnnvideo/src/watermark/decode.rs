// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes the payload of a watermark from a [`Window`]: [`Decoder`].

use rayon::prelude::*;

use super::{
    collect::Window,
    geometry::Geometry,
    key::Key,
    message::log10_chance,
    orientation::Orientation,
    pattern::{Carriers, Wave, pilot},
    payload::Payload,
    plane::Fft2,
    report::{Attempts, Evidence, Report},
    search::Search,
    sync::Synchroniser,
    version::Version,
    version1::SpectraByLabel,
    version2::{Found, Marks},
};

/// Number of geometries of a search that are decoded.
const DECODED_GEOMETRIES: usize = 2;
/// Number of geometries of a search, of all pilots, whose shift is estimated.
const SHIFTED_GEOMETRIES: usize = 5;
/// The same for the search for less likely transforms; each is tried in two orientations.
const SHIFTED_TRANSFORMS: usize = 3;
/// Least agreement of the pilot's phases, in standard deviations without a watermark, of a geometry
/// that is decoded. The best shift of a picture without a watermark reaches about 5.
const MIN_AGREEMENT: f64 = 5.0;
/// The same for less likely transforms.
const MIN_AGREEMENT_OF_TRANSFORM: f64 = 6.0;
/// Number of pilots, those that agree best, with which whole pictures are decoded.
const DECODED_PILOTS: usize = 3;
/// Agreement of a pilot with whole pictures, in standard deviations without a watermark, below
/// which it is not decoded. Marks that can be read reach more than twice of it.
const MIN_AGREEMENT_OF_WHOLE: f64 = 2.0;
/// The same for pictures that were mirrored or turned. It is higher, as there are seven
/// orientations to try.
const MIN_AGREEMENT_OF_ORIENTATION: f64 = 4.0;
/// Options of a [`Decoder`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecoderOptions {
    /// Highest probability, per window, of reporting a watermark of the decoder's key in a window
    /// without one. 1e-9 by default.
    pub false_positive_rate: f64,
    /// Number of key epochs to decode, from 0 to this number minus 1; at least 1. 8 by default.
    pub epoch_count: u32,
    /// Whether [`Search::Full`] includes whole pictures that were mirrored or turned by multiples
    /// of 90 degrees; true by default.
    pub orientations: bool,
}

impl Default for DecoderOptions {
    fn default() -> Self {
        Self { false_positive_rate: 1e-9, epoch_count: 8, orientations: true }
    }
}

/// A window to decode, for the stages of the search.
struct Query<'a> {
    window: &'a Window,
    /// Of the sums of the window's residuals.
    synchroniser: &'a Synchroniser,
    /// Geometries to search.
    search: Search,
}

/// A pilot to search for, and what is needed to decode the marks that it belongs to.
struct Pilot {
    version: Version,
    /// Key epoch; version 1 has the same pilot for all.
    epoch: u32,
    waves: Vec<Wave>,
    /// Created when the pilot is decoded first.
    marks: Option<Box<Marks>>,
}

impl Pilot {
    /// Returns the marks of version 2 of its key epoch.
    fn marks(&mut self, key: &Key, candidates: &[Payload]) -> &Marks {
        self.marks.get_or_insert_with(|| Box::new(Marks::new(key, self.epoch, candidates)))
    }
}

/// Detects and decodes the watermarks of one key.
pub struct Decoder {
    key: Key,
    options: DecoderOptions,
    pilots: Vec<Pilot>,
    /// Carriers of version 1, created when they are needed.
    carriers: Option<Carriers>,
    /// Issued payloads.
    candidates: Vec<Payload>,
    fft: Fft2,
    /// Geometry, index of the pilot and key epoch of the last watermark found, which are tried
    /// first.
    last: Option<(Geometry, usize, u32)>,
    /// Orientation of the last watermark found.
    last_orientation: Orientation,
    /// Number of windows without a mark since the last one with a mark.
    missed: usize,
    /// Index of the pilot whose marks are next decoded without it.
    next_without_pilot: usize,
}

impl Decoder {
    /// Creates a decoder for the watermarks of `key`.
    pub fn new(key: Key, options: DecoderOptions) -> Self {
        let options = DecoderOptions { epoch_count: options.epoch_count.max(1), ..options };
        let pilots = (0..options.epoch_count)
            .map(|epoch| (Version::Two, epoch))
            .chain([(Version::One, 0)])
            .map(|(version, epoch)| {
                let waves = pilot(&key, version, epoch);
                Pilot { version, epoch, waves, marks: None }
            })
            .collect();
        Self {
            key,
            options,
            pilots,
            carriers: None,
            candidates: Vec::new(),
            fft: Fft2::new(),
            last: None,
            last_orientation: Orientation::default(),
            missed: 0,
            next_without_pilot: 0,
        }
    }

    /// Sets the payloads that were issued. Marks of version 2 whose payload cannot be read, because
    /// several receivers mixed their copies, are then compared with each of them.
    pub fn with_candidates(self, candidates: Vec<Payload>) -> Self {
        Self { candidates, ..self }
    }

    /// Searches a window for a watermark and decodes it.
    pub fn decode(&mut self, window: &Window, search: Search) -> Report {
        let mut attempts = Attempts::new(window, self.candidates.len() as u32);
        let residual_sums: Vec<_> = window.groups.iter().map(|group| &group.residual_sum).collect();
        let Some(synchroniser) = Synchroniser::new(&residual_sums, search, &mut self.fft) else {
            return attempts.report();
        };
        let query = Query { window, synchroniser: &synchroniser, search };
        let stages = [
            Self::decode_at_last,
            Self::decode_whole,
            Self::decode_changed_orientations,
            Self::decode_upright,
            Self::decode_transformed,
            Self::decode_without_pilot,
        ];
        let found = stages.into_iter().any(|stage| {
            let found = stage(self, &query, &mut attempts);
            attempts.turn(window, Orientation::default());
            found
        });
        self.missed = if found { 0 } else { self.missed.wrapping_add(1) };
        attempts.report()
    }

    /// Decodes at the geometry of the last watermark found.
    fn decode_at_last(&mut self, query: &Query<'_>, attempts: &mut Attempts) -> bool {
        let Some((geometry, pilot, _)) = self.last else { return false };
        attempts.turn(query.window, self.last_orientation);
        self.decode_at(geometry, pilot, attempts)
    }

    /// Decodes whole, upright pictures.
    fn decode_whole(&mut self, query: &Query<'_>, attempts: &mut Attempts) -> bool {
        self.pilots_of_whole_picture(query.synchroniser).into_iter().any(|pilot| {
            let upright = self.last_orientation == Orientation::default();
            let tried = upright
                && self.last.is_some_and(|last| (last.0, last.1) == (Geometry::IDENTITY, pilot));
            !tried && self.decode_at(Geometry::IDENTITY, pilot, attempts)
        })
    }

    /// Decodes whole pictures that were mirrored or turned by multiples of 90 degrees.
    fn decode_changed_orientations(&mut self, query: &Query<'_>, attempts: &mut Attempts) -> bool {
        if query.search != Search::Full || !self.options.orientations {
            return false;
        }
        self.changed_orientations(query.synchroniser).into_iter().any(|(pilot, orientation)| {
            attempts.turn(query.window, orientation);
            self.decode_at(Geometry::IDENTITY, pilot, attempts)
        })
    }

    /// Decodes upright pictures at the geometries of a search.
    fn decode_upright(&mut self, query: &Query<'_>, attempts: &mut Attempts) -> bool {
        if query.search == Search::WholeFrame {
            return false;
        }
        let found = self.search(query.synchroniser, query.search);
        found.into_iter().any(|(pilot, geometry)| self.decode_at(geometry, pilot, attempts))
    }

    /// Decodes pictures at the geometries of the search for less likely transforms.
    fn decode_transformed(&mut self, query: &Query<'_>, attempts: &mut Attempts) -> bool {
        if query.search != Search::Full || !self.is_turn_of(0) {
            return false;
        }
        let found = self.search_transforms(query.synchroniser);
        found.into_iter().any(|(pilot, geometry)| {
            let (orientation, geometry) = Orientation::split(&geometry, query.synchroniser.dim());
            attempts.turn(query.window, orientation);
            self.decode_at(geometry, pilot, attempts)
        })
    }

    /// Decodes whole pictures of version 2 as if the pilot had been removed, for one key epoch per
    /// call in turn.
    fn decode_without_pilot(&mut self, query: &Query<'_>, attempts: &mut Attempts) -> bool {
        if query.search != Search::Full || !self.is_turn_of(1) {
            return false;
        }
        let pilot = self.next_without_pilot;
        self.next_without_pilot = (pilot + 1) % self.options.epoch_count as usize;
        let Self { key, pilots, candidates, fft, options, .. } = self;
        let epoch = pilots[pilot].epoch;
        let marks = pilots[pilot].marks(key, candidates);
        let limit = options.false_positive_rate.log10();
        let found = marks.decode_without_pilot(key, query.window, fft, |found| {
            attempts.add_version_2(found, epoch, &Geometry::IDENTITY, limit)
        });
        if found {
            // The next windows lack the pilot, too.
            self.next_without_pilot = pilot;
        }
        found
    }

    /// Returns whether a costly stage runs, of those of an even or odd number. All run in the first
    /// window without a mark. After it they alternate, which halves their time on video without a
    /// mark.
    fn is_turn_of(&self, parity: usize) -> bool {
        self.missed == 0 || self.missed % 2 == parity
    }

    /// Decodes a window without a geometry search at `trials` places in the sequence of hops of
    /// successive key epochs.
    ///
    /// For the statistics of windows without a watermark.
    pub fn trials(&mut self, window: &Window, trials: usize) -> Vec<Evidence> {
        let mut all = Vec::with_capacity(trials);
        for epoch in 0.. {
            let marks = Marks::new(&self.key, epoch, &[]);
            let found = marks.trials(&self.key, window, trials - all.len(), &self.fft);
            let is_empty = found.is_empty();
            all.extend(found.into_iter().map(|found| {
                let Found { message, tile_z, .. } = found;
                let log10_p = log10_chance(message.z, 1, message.free_bits());
                Evidence { payload: message.payload, z: message.z, log10_p, tile_z }
            }));
            if is_empty || all.len() >= trials {
                break;
            }
        }
        all
    }

    /// Returns the pilots with which a whole picture is decoded, the best first.
    ///
    /// If none agrees, it is that of version 1, for every other window: its marks can be read
    /// without, if the geometry has not changed.
    fn pilots_of_whole_picture(&self, synchroniser: &Synchroniser) -> Vec<usize> {
        let agreements = self.pilots.iter().enumerate().map(|(i, pilot)| {
            (synchroniser.agreement_of_whole_picture(&pilot.waves, [false; 2]), i)
        });
        let mut agreements: Vec<_> = agreements.collect();
        agreements.sort_by(|a, b| b.0.total_cmp(&a.0));
        let decoded = agreements.into_iter().take(DECODED_PILOTS);
        let mut decoded: Vec<_> = decoded
            .filter(|(agreement, _)| *agreement >= MIN_AGREEMENT_OF_WHOLE)
            .map(|(_, pilot)| pilot)
            .collect();
        if decoded.is_empty() && self.is_turn_of(0) {
            decoded.extend(self.pilots.iter().position(|pilot| pilot.version == Version::One));
        }
        decoded
    }

    /// Returns the pilots and orientations with which a whole picture that was mirrored or turned
    /// is decoded, the best first.
    fn changed_orientations(&mut self, synchroniser: &Synchroniser) -> Vec<(usize, Orientation)> {
        let transposed = synchroniser.transposed(&mut self.fft);
        let agreements = Orientation::changed().flat_map(|orientation| {
            let synchroniser = if orientation.is_transposed() { &transposed } else { synchroniser };
            self.pilots.iter().enumerate().map(move |(i, pilot)| {
                let mirrored = orientation.mirrored();
                let agreement = synchroniser.agreement_of_whole_picture(&pilot.waves, mirrored);
                (agreement, i, orientation)
            })
        });
        let mut agreements: Vec<_> = agreements
            .filter(|(agreement, ..)| *agreement >= MIN_AGREEMENT_OF_ORIENTATION)
            .collect();
        agreements.sort_by(|a, b| b.0.total_cmp(&a.0));
        let decoded = agreements.into_iter().take(DECODED_PILOTS);
        decoded.map(|(_, pilot, orientation)| (pilot, orientation)).collect()
    }

    /// Searches geometries of upright pictures; returns those to decode and their pilots, the best
    /// first.
    fn search(&mut self, synchroniser: &Synchroniser, search: Search) -> Vec<(usize, Geometry)> {
        // Created before several threads use it.
        let polar = synchroniser.polar_map();
        let mut candidates = self
            .candidates_of_pilots(|waves| synchroniser.upright_candidates(waves, polar, search));
        candidates.truncate(SHIFTED_GEOMETRIES);
        self.with_shift(synchroniser, candidates, MIN_AGREEMENT)
    }

    /// Searches geometries of rotated, mirrored and stretched pictures, as [`Self::search`] does.
    fn search_transforms(&mut self, synchroniser: &Synchroniser) -> Vec<(usize, Geometry)> {
        let orientations = self.options.orientations;
        // Created before several threads use it.
        let polar = synchroniser.polar_map();
        let mut candidates = self.candidates_of_pilots(|waves| {
            synchroniser.transformed_candidates(waves, polar, orientations)
        });
        candidates.truncate(SHIFTED_TRANSFORMS);
        let both = candidates.into_iter().flat_map(|(pilot, geometry)| {
            let turned =
                Geometry { matrix: geometry.matrix.map(|row| row.map(|v| -v)), ..geometry };
            [geometry, turned].map(|geometry| (pilot, geometry))
        });
        let is_allowed = |geometry: &Geometry| {
            orientations || Orientation::split(geometry, synchroniser.dim()).0.is_upright()
        };
        let both = both.filter(|(_, geometry)| is_allowed(geometry)).collect();
        self.with_shift(synchroniser, both, MIN_AGREEMENT_OF_TRANSFORM)
    }

    /// Returns the candidates of a search for all pilots, the best first.
    fn candidates_of_pilots(
        &self,
        search: impl Fn(&[Wave]) -> Vec<(f32, Geometry)> + Sync,
    ) -> Vec<(usize, Geometry)> {
        // Collected in the order of the pilots, so that threads make no difference.
        let candidates: Vec<_> = self.pilots.par_iter().map(|pilot| search(&pilot.waves)).collect();
        let candidates = candidates.into_iter().enumerate().flat_map(|(i, candidates)| {
            candidates.into_iter().map(move |(power, geometry)| (power, i, geometry))
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        candidates.into_iter().map(|(_, pilot, geometry)| (pilot, geometry)).collect()
    }

    /// Estimates the shift of geometries; returns those to decode, the best first.
    fn with_shift(
        &mut self,
        synchroniser: &Synchroniser,
        candidates: Vec<(usize, Geometry)>,
        least_agreement: f64,
    ) -> Vec<(usize, Geometry)> {
        let mut found: Vec<_> = candidates
            .into_iter()
            .map(|(pilot, geometry)| {
                let waves = &self.pilots[pilot].waves;
                let (agreement, geometry) =
                    synchroniser.estimate_shift(waves, geometry, &mut self.fft);
                (agreement, pilot, geometry)
            })
            .filter(|(agreement, ..)| *agreement >= least_agreement)
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.truncate(DECODED_GEOMETRIES);
        found.into_iter().map(|(_, pilot, geometry)| (pilot, geometry)).collect()
    }

    /// Decodes the window at one geometry with the marks of a pilot.
    ///
    /// Updates the best report; returns whether it found a payload.
    fn decode_at(&mut self, geometry: Geometry, pilot: usize, attempts: &mut Attempts) -> bool {
        let Self { key, options, pilots, carriers, candidates, fft, last, .. } = self;
        let (window, limit) = (&attempts.window.clone(), options.false_positive_rate.log10());
        let mut found_epoch = pilots[pilot].epoch;
        let waves = pilots[pilot].waves.clone();
        let found = match pilots[pilot].version {
            Version::One => {
                let last = last.map(|(_, _, epoch)| epoch);
                let others = (0..options.epoch_count).filter(|epoch| Some(*epoch) != last);
                let epochs: Vec<_> = last.into_iter().chain(others).collect();
                let carriers = carriers.get_or_insert_with(|| Carriers::new(key));
                let spectra = SpectraByLabel::new(&waves, window, &geometry, fft);
                spectra.decode(key, carriers, &epochs, fft, |epoch, message| {
                    found_epoch = epoch;
                    attempts.add_version_1(message, epoch, &geometry, limit)
                })
            }
            Version::Two => {
                let marks = pilots[pilot].marks(key, candidates);
                marks.hops(&waves, window, &geometry).is_some_and(|hops| {
                    marks.decode(key, window, &geometry, hops, fft, |found| {
                        attempts.add_version_2(found, found_epoch, &geometry, limit)
                    })
                })
            }
        };
        if found {
            *last = Some((geometry, pilot, found_epoch));
            self.last_orientation = attempts.orientation;
        }
        found
    }
}
