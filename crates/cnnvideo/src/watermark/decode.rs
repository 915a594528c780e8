// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes the payload of a watermark from a [`Window`]: [`Decoder`] and [`Report`].

use ndarray::Array2;
use rustfft::num_complex::Complex32;

use super::{
    collect::{ResidualGroup, Window},
    convolutional_code::CODED_BITS,
    geometry::{Geometry, wave_amplitude},
    key::Key,
    pattern::{Carriers, HOPS, Wave, carrier_amplitude, pilot},
    payload::Payload,
    plane::{Fft2, PLANE_HEIGHT, PLANE_WIDTH, bin, canonical_scale, frequency},
    sync::{Search, Synchroniser},
};
use crate::frame::box_mean::box_mean;

/// Radius, in bins of the spectrum, over which the noise power is averaged for whitening.
const WHITENING_RADIUS: usize = 6;
/// Bins around each pilot wave, to each side, that are excluded from the carriers' spectrum.
const PILOT_NOTCH_RADIUS: i32 = 2;
/// Number of geometries of a search that are decoded.
const DECODED_GEOMETRIES: usize = 3;

/// Upper frequency limits, in cycles per canonical pixel, at which decoding is tried in this order.
/// Strong blur and compression destroy high frequencies or even invert their sign.
const CUTOFF_FREQUENCIES: [f32; 2] = [0.5, 0.16];

/// Options of a [`Decoder`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecoderOptions {
    /// Highest probability, per window, of reporting a watermark of the decoder's key in a window
    /// without one. 1e-9 by default.
    pub false_positive_rate: f64,
    /// Number of key epochs to decode, from 0 to this number minus 1; at least 1. 8 by default.
    pub epoch_count: u32,
}

impl Default for DecoderOptions {
    fn default() -> Self {
        Self { false_positive_rate: 1e-9, epoch_count: 8 }
    }
}

/// Result of decoding a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Payload, if its keyed check is correct and `log10_p` is within the false-positive rate.
    pub payload: Option<Payload>,
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
}

/// Spectra of the residuals of each hop, and the filter for the carriers.
struct Spectra {
    /// The spectra, each of one or two hops.
    hop_spectra: Vec<HopSpectrum>,
    /// Gain per bin, stored like the spectra: band of the carriers over the local noise power.
    gains: Array2<f32>,
}

/// Spectrum of the residuals of one or two hops.
struct HopSpectrum {
    /// The hops whose residuals are the real and the imaginary part of the transformed plane.
    hops: Vec<usize>,
    /// The complex spectrum, stored by columns.
    bins: Vec<Complex32>,
}

/// Residuals of one hop on the canonical plane, filtered for the carriers.
struct HopPlane {
    hop: usize,
    /// Samples of the plane, by rows.
    samples: Vec<f32>,
}

/// Result of decoding one key epoch.
struct EpochResult {
    /// Soft value of each coded bit; positive for a set bit.
    soft: [f32; CODED_BITS],
    /// Coded bits of the best message, 1 or -1.
    message: [f32; CODED_BITS],
    /// Payload, if its keyed check is correct.
    payload: Option<Payload>,
    /// Correlation, as [`Report::z`].
    z: f64,
}

/// Progress of decoding one window.
struct Attempts<'a> {
    window: &'a Window,
    /// Number of decoded combinations of geometry, cutoff frequency and key epoch.
    count: u32,
    /// Report of the best attempt so far.
    best: Report,
    /// Number of message bits that this attempt could choose, see [`free_bits`].
    best_bits: u32,
}

impl<'a> Attempts<'a> {
    /// Starts with the report of a window in which nothing was decoded.
    fn new(window: &'a Window) -> Self {
        let best = Report {
            payload: None,
            epoch: 0,
            z: 0.0,
            log10_p: 0.0,
            frames: window.frames(),
            bit_errors: CODED_BITS as u32 / 2,
            scale: 1.0,
            angle: 0.0,
            offset_x: 0.0,
            offset_y: 0.0,
        };
        Self { window, count: 0, best, best_bits: free_bits(None) }
    }

    /// Returns the report of the best attempt. Without a payload, the attempts after it count too:
    /// they could have given more evidence by chance.
    fn report(self) -> Report {
        let Self { count, best, best_bits, .. } = self;
        match best.payload {
            Some(_) => best,
            None => {
                Report { log10_p: log10_false_positive_bound(best.z, count, best_bits), ..best }
            }
        }
    }
}

/// Detects and decodes the watermarks of one key.
pub struct Decoder {
    key: Key,
    options: DecoderOptions,
    waves: Vec<Wave>,
    carriers: Carriers,
    fft: Fft2,
    /// Geometry and key epoch of the last watermark found, which are tried first.
    last: Option<(Geometry, u32)>,
}

impl Decoder {
    /// Creates a decoder for the watermarks of `key`.
    pub fn new(key: Key, options: DecoderOptions) -> Self {
        let (waves, carriers) = (pilot(&key), Carriers::new(&key));
        let options = DecoderOptions { epoch_count: options.epoch_count.max(1), ..options };
        Self { key, options, waves, carriers, fft: Fft2::new(), last: None }
    }

    /// Searches a window for a watermark and decodes it.
    pub fn decode(&mut self, window: &Window, search: Search) -> Report {
        let mut attempts = Attempts::new(window);
        let mut initial_geometries = vec![Geometry::IDENTITY];
        if let Some((geometry, _)) =
            self.last.filter(|(geometry, _)| *geometry != Geometry::IDENTITY)
        {
            initial_geometries.insert(0, geometry);
        }
        for geometry in initial_geometries {
            if self.decode_at(geometry, &mut attempts) {
                return attempts.report();
            }
        }
        if search == Search::WholeFrame {
            return attempts.report();
        }
        let residual_sums: Vec<_> = window.groups.iter().map(|group| &group.residual_sum).collect();
        let Some(synchroniser) = Synchroniser::new(&self.waves, &residual_sums, &mut self.fft)
        else {
            return attempts.report();
        };
        let geometries = synchroniser.geometries(search, &mut self.fft);
        for geometry in geometries.into_iter().take(DECODED_GEOMETRIES) {
            if self.decode_at(geometry, &mut attempts) {
                break;
            }
        }
        attempts.report()
    }

    /// Decodes a window without a geometry search, once for each key epoch.
    ///
    /// For the statistics of windows without a watermark.
    pub fn decode_epochs(
        &mut self,
        window: &Window,
        epochs: std::ops::Range<u32>,
    ) -> Vec<Evidence> {
        let spectra = self.spectra(window, &Geometry::IDENTITY);
        let planes = self.filter_planes(&spectra, CUTOFF_FREQUENCIES[0]);
        epochs
            .map(|epoch| {
                let EpochResult { payload, z, .. } = self.decode_epoch(&planes, epoch);
                let log10_p = log10_false_positive_bound(z, 1, free_bits(payload));
                Evidence { payload, z, log10_p }
            })
            .collect()
    }

    /// Decodes filtered planes for one key epoch.
    fn decode_epoch(&self, planes: &[HopPlane], epoch: u32) -> EpochResult {
        let mut soft = [0.0; CODED_BITS];
        for HopPlane { hop, samples } in planes {
            self.carriers.correlate(&self.key, epoch, *hop, samples, &mut soft);
        }
        let (payload, message) = Payload::decode(&soft, &self.key, epoch);
        let norm = soft.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
        let product: f64 = soft.iter().zip(&message).map(|(v, sign)| f64::from(v * sign)).sum();
        let z = if norm > 0.0 { product / norm } else { 0.0 };
        EpochResult { soft, message, payload, z }
    }

    /// Decodes the window at one geometry, at each cutoff frequency.
    ///
    /// Updates the best report; returns whether it found a payload.
    fn decode_at(&mut self, geometry: Geometry, attempts: &mut Attempts<'_>) -> bool {
        let spectra = self.spectra(attempts.window, &geometry);
        CUTOFF_FREQUENCIES.into_iter().any(|cutoff| {
            let planes = self.filter_planes(&spectra, cutoff);
            self.decode_planes(&planes, geometry, attempts)
        })
    }

    /// Decodes filtered planes for all key epochs.
    ///
    /// Updates the best report; returns whether it found a payload.
    fn decode_planes(
        &mut self,
        planes: &[HopPlane],
        geometry: Geometry,
        attempts: &mut Attempts<'_>,
    ) -> bool {
        let last = self.last.map(|(_, epoch)| epoch);
        let others = (0..self.options.epoch_count).filter(|epoch| Some(*epoch) != last);
        for epoch in last.into_iter().chain(others) {
            attempts.count += 1;
            let EpochResult { soft, message, payload, z } = self.decode_epoch(planes, epoch);
            let bits = free_bits(payload);
            let log10_p = log10_false_positive_bound(z, attempts.count, bits);
            let found = payload.filter(|_| log10_p <= self.options.false_positive_rate.log10());
            if found.is_some() || z > attempts.best.z {
                let errors =
                    soft.iter().zip(&message).filter(|(v, sign)| *v * *sign <= 0.0).count();
                let (width, height) = attempts.window.size;
                let scale = canonical_scale(width, height);
                let [offset_x, offset_y] = geometry.offset().map(|v| -v * geometry.scale() / scale);
                attempts.best_bits = bits;
                attempts.best = Report {
                    payload: found,
                    epoch,
                    z,
                    log10_p,
                    frames: attempts.window.frames(),
                    bit_errors: errors as u32,
                    scale: geometry.scale(),
                    angle: geometry.angle(),
                    offset_x,
                    offset_y,
                };
            }
            if found.is_some() {
                self.last = Some((geometry, epoch));
                return true;
            }
        }
        false
    }

    /// Computes the spectra of the residuals of each hop, resampled to the canonical plane.
    fn spectra(&mut self, window: &Window, geometry: &Geometry) -> Spectra {
        let mut hop_sums: [Option<Array2<f32>>; HOPS] = Default::default();
        for group in &window.groups {
            let hop = self.hop_of(group, geometry);
            match &mut hop_sums[hop] {
                Some(sum) => *sum += &group.residual_sum,
                none => *none = Some(group.residual_sum.clone()),
            }
        }
        let present: Vec<_> = hop_sums
            .iter()
            .enumerate()
            .filter_map(|(hop, sum)| Some((hop, sum.as_ref()?)))
            .collect();
        let mut hop_spectra = Vec::new();
        let mut power = Array2::<f32>::zeros((PLANE_WIDTH, PLANE_HEIGHT));
        // One complex FFT transforms two real planes.
        for pair in present.chunks(2) {
            let mut bins = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
            for (i, (_, sum)) in pair.iter().enumerate() {
                geometry.resample_to_plane(&sum.view(), |at, v| {
                    if i == 0 { bins[at].re += v } else { bins[at].im += v }
                });
            }
            self.fft.forward(&mut bins);
            for wave in &self.waves {
                for dy in -PILOT_NOTCH_RADIUS..=PILOT_NOTCH_RADIUS {
                    for dx in -PILOT_NOTCH_RADIUS..=PILOT_NOTCH_RADIUS {
                        let (x, y) = (wave.cycles.0 + dx, wave.cycles.1 + dy);
                        bins[bin(x, y)] = Complex32::default();
                        bins[bin(-x, -y)] = Complex32::default();
                    }
                }
            }
            power.iter_mut().zip(&bins).for_each(|(to, v)| *to += v.norm_sqr());
            hop_spectra
                .push(HopSpectrum { hops: pair.iter().map(|(hop, _)| *hop).collect(), bins });
        }
        let mut rows = Array2::zeros(power.dim());
        let mut local_power = Array2::zeros(power.dim());
        box_mean(&power, WHITENING_RADIUS, &mut rows, &mut local_power);
        let floor = local_power.iter().sum::<f32>() / local_power.len() as f32 * 1e-3;
        let mut gains = local_power;
        for (i, gain) in gains.iter_mut().enumerate() {
            let (x, y) = frequency(i);
            *gain = carrier_amplitude(x, y) / (*gain + floor).max(1e-9);
        }
        Spectra { hop_spectra, gains }
    }

    /// Returns the planes of all hops, filtered for the carriers up to the frequency `cutoff`.
    fn filter_planes(&mut self, spectra: &Spectra, cutoff: f32) -> Vec<HopPlane> {
        let mut planes = Vec::new();
        for HopSpectrum { hops, bins } in &spectra.hop_spectra {
            let filtered = bins.iter().zip(&spectra.gains).enumerate().map(|(i, (v, gain))| {
                let (x, y) = frequency(i);
                if x.hypot(y) < cutoff { v * gain } else { Complex32::default() }
            });
            let mut plane: Vec<_> = filtered.collect();
            self.fft.inverse(&mut plane);
            for (i, hop) in hops.iter().enumerate() {
                let samples = plane.iter().map(|v| if i == 0 { v.re } else { v.im }).collect();
                planes.push(HopPlane { hop: *hop, samples });
            }
        }
        planes
    }

    /// Estimates the hop of a group from the signs of the pilot waves.
    fn hop_of(&self, group: &ResidualGroup, geometry: &Geometry) -> usize {
        let mut scores = [0.0; HOPS];
        for wave in self.waves.iter().filter(|wave| !wave.is_steady()) {
            let (fx, fy) = wave.frequency();
            let at = f64::from(fx) * geometry.origin[0] + f64::from(fy) * geometry.origin[1];
            let expected_phase = wave.phase + (std::f64::consts::TAU * at) as f32;
            let received = geometry.received_frequency((fx, fy));
            let amplitude = wave_amplitude(&group.residual_sum, received, geometry.centre);
            let agreement = (amplitude * Complex32::from_polar(1.0, -expected_phase)).re;
            scores.iter_mut().zip(wave.signs).for_each(|(score, sign)| *score += sign * agreement);
        }
        (0..HOPS)
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            .expect("there is at least one hop")
    }
}

/// Returns the number of message bits that the decoder could choose freely.
///
/// These are the bits of the payload if the check is correct; if not, those of the check as well.
fn free_bits(payload: Option<Payload>) -> u32 {
    64 + if payload.is_some() { 0 } else { 32 }
}

/// Returns the base-10 logarithm of an upper bound on the probability that, by chance, any of
/// 2^`bits` messages reaches the correlation `z` in `attempts` attempts.
///
/// The signs of the carriers are random, so without a watermark, or with another key, the signs of
/// the soft bits are unbiased and independent. Hoeffding's inequality (Journal of the American
/// Statistical Association 58, 1963) bounds the probability for one message, and the union bound
/// covers all messages and attempts.
fn log10_false_positive_bound(z: f64, attempts: u32, bits: u32) -> f64 {
    let one = -0.5 * z.max(0.0).powi(2) * std::f64::consts::LOG10_E;
    (one + f64::from(bits) * std::f64::consts::LOG10_2 + f64::from(attempts.max(1)).log10())
        .min(0.0)
}
