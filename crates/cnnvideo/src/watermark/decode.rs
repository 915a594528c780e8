// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes the payload of a watermark from a [`Window`]: [`Decoder`] and [`Report`].

use rayon::prelude::*;

use super::{
    collect::Window,
    convolutional_code::CODED_BITS,
    geometry::Geometry,
    key::Key,
    message::{BestMessage, log10_chance},
    orientation::Orientation,
    pattern::{Wave, pilot},
    payload::Payload,
    plane::{Fft2, canonical_scale},
    sync::{Search, Synchroniser},
    version::Version,
    version1,
    version2::{Found, Marks},
};

/// Number of geometries of a search that are decoded.
const DECODED_GEOMETRIES: usize = 2;
/// Number of geometries of a search, of all pilots, whose shift is estimated.
const SHIFTED_GEOMETRIES: usize = 5;
/// Number of pilots, those that agree best, with which whole pictures are decoded.
const DECODED_PILOTS: usize = 3;
/// Agreement of a pilot with whole pictures, in standard deviations without a watermark, below
/// which it is not decoded. Marks that can be read reach more than twice of it.
const MIN_AGREEMENT_OF_WHOLE: f64 = 2.0;
/// The same for pictures that were mirrored or turned. It is higher, as there are seven orientations
/// to try.
const MIN_AGREEMENT_OF_ORIENTATION: f64 = 4.0;
/// Correlation of the described tiles with the message, in standard deviations with random signs of
/// the tiles, below which the mark may have been copied from another picture.
const MIN_TILE_Z: f64 = 7.0;
/// Share of described tiles below which there is nothing that tells a copied mark from a genuine
/// one. The report then has a share of described evidence near 0.
const MIN_DESCRIBED_AREA: f32 = 0.1;

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

/// Result of decoding a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Payload, if its keyed check is correct and `log10_p` is within the false-positive rate.
    pub payload: Option<Payload>,
    /// Issued payloads for which there is evidence, the best first; see
    /// [`Decoder::with_candidates`].
    pub named: Vec<Payload>,
    /// Version of the format of the best message.
    pub version: Version,
    /// Share of the evidence, from 0 to 1, that comes from parts of the picture whose content the
    /// mark depends on. It is 0 for version 1, whose marks can be copied.
    pub described: f64,
    /// Key epoch of the best message.
    pub epoch: u32,
    /// Correlation of the soft bits with the best message, in standard deviations of the
    /// correlation without a watermark.
    pub z: f64,
    /// Base-10 logarithm of an upper bound on the probability that any message correlates this well
    /// by chance. It accounts for all attempts made for this report.
    pub log10_p: f64,
    /// Number of pictures in the window.
    pub frames: u32,
    /// Number of coded bits, of 384, whose soft value has the wrong sign.
    pub bit_errors: u32,
    /// Factor by which the picture was enlarged after embedding.
    pub scale: f64,
    /// Clockwise rotation of the picture after embedding, in degrees.
    pub angle: f64,
    /// Horizontal position of the marked picture's top left corner in the received picture, in
    /// pixels.
    pub offset_x: f64,
    /// Vertical position of that corner, in pixels.
    pub offset_y: f64,
    /// How the picture was mirrored or turned after embedding. Scale, angle and position are those
    /// of the upright picture.
    pub orientation: Orientation,
}

/// Result of one attempt to decode a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Payload, if its keyed check is correct.
    pub payload: Option<Payload>,
    /// Correlation, as [`Report::z`].
    pub z: f64,
    /// Bound on the probability of chance, as [`Report::log10_p`] but for this attempt alone.
    pub log10_p: f64,
    /// Correlation of the described tiles with the message, in standard deviations of that with
    /// random signs of the tiles.
    pub tile_z: f64,
}

/// Progress of decoding one window.
struct Attempts {
    /// The window, upright if it was mirrored or turned.
    window: Window,
    /// Orientation of the received window.
    orientation: Orientation,
    /// Number of issued payloads.
    candidates: u32,
    /// Number of decoded combinations of version, geometry, cutoff frequency, key epoch and place in
    /// the sequence of hops.
    count: u32,
    /// Report of the best attempt so far.
    best: Report,
    /// Number of message bits that this attempt could choose.
    best_bits: u32,
}

impl Attempts {
    /// Starts with the report of a window in which nothing was decoded.
    fn new(window: &Window, candidates: u32) -> Self {
        let best = Report {
            payload: None,
            named: Vec::new(),
            version: Version::Two,
            described: 0.0,
            epoch: 0,
            z: 0.0,
            log10_p: 0.0,
            frames: window.frames(),
            bit_errors: CODED_BITS as u32 / 2,
            scale: 1.0,
            angle: 0.0,
            offset_x: 0.0,
            offset_y: 0.0,
            orientation: Orientation::default(),
        };
        let (window, orientation) = (window.clone(), Orientation::default());
        Self { window, orientation, candidates, count: 0, best, best_bits: 96 }
    }

    /// Continues with `window`, which was received in an orientation, as an upright one.
    fn turn(&mut self, window: &Window, orientation: Orientation) {
        if orientation != self.orientation {
            self.window = if orientation == Orientation::default() {
                window.clone()
            } else {
                orientation.upright_window(window)
            };
            self.orientation = orientation;
        }
    }

    /// Adds an attempt at version 1; returns whether it found a payload.
    fn add_version_1(
        &mut self,
        message: BestMessage,
        epoch: u32,
        geometry: &Geometry,
        limit: f64,
    ) -> bool {
        self.count += 1;
        let log10_p = log10_chance(message.z, self.count, message.free_bits());
        let payload = message.payload.filter(|_| log10_p <= limit);
        let best = Report {
            payload,
            named: Vec::new(),
            version: Version::One,
            described: 0.0,
            epoch,
            log10_p,
            ..self.best.clone()
        };
        self.add(message, best, geometry)
    }

    /// Adds an attempt at version 2; returns whether it found a payload.
    ///
    /// Where the picture is described, the tiles have to agree with the message, too: in a picture
    /// to which the mark was copied, their signs are unrelated to it.
    fn add_version_2(&mut self, found: Found, epoch: u32, geometry: &Geometry, limit: f64) -> bool {
        let Found { message, places, tile_z, described, described_area, named } = found;
        self.count += places;
        let bound = |z: f64, tile_z: f64, attempts: u32, bits: u32| {
            let payload = log10_chance(z, attempts, bits);
            if described_area < MIN_DESCRIBED_AREA {
                payload
            } else if tile_z < MIN_TILE_Z {
                0.0
            } else {
                payload.max(log10_chance(tile_z, attempts, 0))
            }
        };
        let mut log10_p = bound(message.z, tile_z, self.count, message.free_bits());
        let mut payload = message.payload.filter(|_| log10_p <= limit);
        let attempts = self.count.saturating_mul(self.candidates);
        let mut all = named.iter().map(|c| (c.payload, bound(c.z, c.tile_z, attempts, 0)));
        let named: Vec<_> = all.by_ref().filter(|(_, log10_p)| *log10_p <= limit).collect();
        if let (None, Some(best)) = (payload, named.first()) {
            (payload, log10_p) = (Some(best.0), best.1);
        }
        let named = named.into_iter().map(|(payload, _)| payload).collect();
        let version = Version::Two;
        let best =
            Report { payload, named, version, described, epoch, log10_p, ..self.best.clone() };
        self.add(message, best, geometry)
    }

    /// Takes over the report of an attempt if it is the best; returns whether it found a payload.
    fn add(&mut self, message: BestMessage, report: Report, geometry: &Geometry) -> bool {
        let found = report.payload.is_some();
        if !found && message.z <= self.best.z {
            return false;
        }
        let (width, height) = self.window.size;
        let scale = canonical_scale(width, height);
        let [offset_x, offset_y] = geometry.offset().map(|v| -v * geometry.scale() / scale);
        self.best_bits = message.free_bits();
        self.best = Report {
            z: message.z,
            bit_errors: message.errors,
            scale: geometry.scale(),
            angle: geometry.angle(),
            offset_x,
            offset_y,
            orientation: self.orientation,
            ..report
        };
        found
    }

    /// Returns the report of the best attempt. Without a payload, the attempts after it count too:
    /// they could have given more evidence by chance.
    fn report(self) -> Report {
        let Self { count, best, best_bits, .. } = self;
        match best.payload {
            Some(_) => best,
            None => {
                let log10_p = log10_chance(best.z, count, best_bits);
                // The bound of an attempt at version 2 is weaker if the tiles do not agree.
                Report { log10_p: log10_p.max(best.log10_p), ..best }
            }
        }
    }
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

/// Detects and decodes the watermarks of one key.
pub struct Decoder {
    key: Key,
    options: DecoderOptions,
    pilots: Vec<Pilot>,
    /// Issued payloads.
    candidates: Vec<Payload>,
    fft: Fft2,
    /// Geometry, index of the pilot and key epoch of the last watermark found, which are tried
    /// first.
    last: Option<(Geometry, usize, u32)>,
    /// Orientation of the last watermark found.
    last_orientation: Orientation,
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
            candidates: Vec::new(),
            fft: Fft2::new(),
            last: None,
            last_orientation: Orientation::default(),
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
        if let Some((geometry, pilot, _)) = self.last {
            attempts.turn(window, self.last_orientation);
            if self.decode_at(geometry, pilot, &mut attempts) {
                return attempts.report();
            }
            attempts.turn(window, Orientation::default());
        }
        for pilot in self.pilots_of_whole_picture(&synchroniser) {
            let upright = self.last_orientation == Orientation::default();
            let tried = upright
                && self.last.is_some_and(|last| (last.0, last.1) == (Geometry::IDENTITY, pilot));
            if !tried && self.decode_at(Geometry::IDENTITY, pilot, &mut attempts) {
                return attempts.report();
            }
        }
        if search == Search::WholeFrame {
            return attempts.report();
        }
        if search == Search::Full && self.options.orientations {
            for (pilot, orientation) in self.changed_orientations(&synchroniser) {
                attempts.turn(window, orientation);
                if self.decode_at(Geometry::IDENTITY, pilot, &mut attempts) {
                    return attempts.report();
                }
            }
            attempts.turn(window, Orientation::default());
        }
        for (pilot, geometry) in self.search(&synchroniser, search) {
            if self.decode_at(geometry, pilot, &mut attempts) {
                break;
            }
        }
        attempts.report()
    }

    /// Decodes a window without a geometry search at `trials` places in the sequence of hops of
    /// successive key epochs.
    ///
    /// For the statistics of windows without a watermark.
    pub fn trials(&mut self, window: &Window, trials: usize) -> Vec<Evidence> {
        let mut all = Vec::with_capacity(trials);
        for epoch in 0.. {
            let marks = Marks::new(&self.key, epoch, &[]);
            let found = marks.trials(&self.key, window, trials - all.len(), &mut self.fft);
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
    /// If none agrees, it is that of version 1: its marks can be read without, if the geometry has
    /// not changed.
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
        if decoded.is_empty() {
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

    /// Searches geometries; returns those to decode and their pilots, the best first.
    fn search(&mut self, synchroniser: &Synchroniser, search: Search) -> Vec<(usize, Geometry)> {
        // Collected in the order of the pilots, so that threads make no difference.
        let candidates: Vec<_> = (self.pilots.par_iter())
            .map(|pilot| synchroniser.linear_candidates(&pilot.waves, search))
            .collect();
        let candidates = candidates.into_iter().enumerate().flat_map(|(i, candidates)| {
            candidates.into_iter().map(move |(power, geometry)| (power, i, geometry))
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut found: Vec<_> = candidates
            .into_iter()
            .take(SHIFTED_GEOMETRIES)
            .filter_map(|(_, pilot, geometry)| {
                let waves = &self.pilots[pilot].waves;
                let (agreement, geometry) =
                    synchroniser.estimate_shift(waves, geometry, &mut self.fft)?;
                Some((agreement, pilot, geometry))
            })
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.truncate(DECODED_GEOMETRIES);
        found.into_iter().map(|(_, pilot, geometry)| (pilot, geometry)).collect()
    }

    /// Decodes the window at one geometry with the marks of a pilot.
    ///
    /// Updates the best report; returns whether it found a payload.
    fn decode_at(&mut self, geometry: Geometry, pilot: usize, attempts: &mut Attempts) -> bool {
        let Self { key, options, pilots, candidates, fft, last, last_orientation } = self;
        let Pilot { version, epoch, waves, marks } = &mut pilots[pilot];
        let (window, limit) = (&attempts.window.clone(), options.false_positive_rate.log10());
        let mut found_epoch = *epoch;
        let found = match version {
            Version::One => {
                let last = last.map(|(_, _, epoch)| epoch);
                let others = (0..options.epoch_count).filter(|epoch| Some(*epoch) != last);
                let epochs = last.into_iter().chain(others);
                version1::decode(key, waves, epochs, window, &geometry, fft, |epoch, message| {
                    found_epoch = epoch;
                    attempts.add_version_1(message, epoch, &geometry, limit)
                })
            }
            Version::Two => {
                let marks =
                    marks.get_or_insert_with(|| Box::new(Marks::new(key, *epoch, candidates)));
                marks.decode(key, waves, window, &geometry, fft, |found| {
                    attempts.add_version_2(found, *epoch, &geometry, limit)
                })
            }
        };
        if found {
            *last = Some((geometry, pilot, found_epoch));
            *last_orientation = attempts.orientation;
        }
        found
    }
}
