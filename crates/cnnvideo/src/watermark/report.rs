// SPDX-License-Identifier: MIT OR Apache-2.0

//! Result of decoding a window ([`Report`]) and of the attempts that lead to it.

use super::{
    collect::Window,
    convolutional_code::CODED_BITS,
    geometry::Geometry,
    message::{BestMessage, log10_chance},
    orientation::Orientation,
    payload::Payload,
    plane::canonical_scale,
    version::Version,
    version2::Found,
};

/// Correlation of the described tiles with the message, in standard deviations with random signs of
/// the tiles, below which the mark may have been copied from another picture.
const MIN_TILE_Z: f64 = 7.0;
/// Share of described tiles below which there is nothing that tells a copied mark from a genuine
/// one. The report then has a share of described evidence near 0.
const MIN_DESCRIBED_AREA: f32 = 0.1;

/// Result of decoding a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Payload, if its keyed check is correct and `log10_p` is within the false-positive rate.
    pub payload: Option<Payload>,
    /// Issued payloads for which there is evidence, the best first; see
    /// [`Decoder::with_candidates`](super::Decoder::with_candidates).
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
pub(super) struct Attempts {
    /// The window, upright if it was mirrored or turned.
    pub window: Window,
    /// Orientation of the received window.
    pub orientation: Orientation,
    /// Number of issued payloads.
    candidates: u32,
    /// Number of decoded combinations of version, geometry, cutoff frequency, key epoch and place
    /// in the sequence of hops.
    count: u32,
    /// Report of the best attempt so far.
    best: Report,
    /// Number of message bits that this attempt could choose.
    best_bits: u32,
}

impl Attempts {
    /// Starts with the report of a window in which nothing was decoded.
    pub(super) fn new(window: &Window, candidates: u32) -> Self {
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
    pub(super) fn turn(&mut self, window: &Window, orientation: Orientation) {
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
    pub(super) fn add_version_1(
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
    pub(super) fn add_version_2(
        &mut self,
        found: Found,
        epoch: u32,
        geometry: &Geometry,
        limit: f64,
    ) -> bool {
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
    pub(super) fn report(self) -> Report {
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
