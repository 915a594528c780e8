//! Decodes the payload of a watermark from a [`Window`]: [`Decoder`] and [`Report`].

use std::sync::Arc;

use ndarray::Array2;
use rustfft::num_complex::Complex32;

use super::{
    code::CODED,
    detect::{Group, Window},
    geometry::{Geometry, wave_in},
    key::Key,
    message::Payload,
    pattern::{Carriers, HOPS, Wave, band, pilot},
    plane::{Fft2, HEIGHT, WIDTH, bin, frequency, scale_of},
    residual::box_mean,
    sync::{Search, Synchroniser},
};

/// Radius, in bins of the spectrum, over which the noise power is averaged for whitening.
const EVEN: usize = 6;
/// Bins around each pilot wave, to each side, that are excluded from the carriers' spectrum.
const BESIDE_WAVE: i32 = 2;
/// Number of geometries of a search that are decoded.
const TRIED: usize = 3;

/// Upper frequency limits, in cycles per canonical pixel, at which decoding is tried in this order.
/// Strong blur and compression destroy high frequencies or even invert their sign.
const FINEST: [f32; 2] = [0.5, 0.16];

/// Spectra of the residuals of each hop, and the filter for the carriers.
struct Spectra {
    /// One or two hops, and the complex spectrum that holds them as real and imaginary part.
    pairs: Vec<(Vec<usize>, Vec<Complex32>)>,
    /// Gain per bin, stored like the spectra: band of the carriers over the local noise power.
    gains: Array2<f32>,
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
    /// by chance. It accounts for all attempts made before for this report.
    pub log10_p: f64,
    /// Number of pictures in the window.
    pub frames: u32,
    /// Number of coded bits, of 384, whose soft value has the wrong sign.
    pub bit_errors: u32,
    /// Factor by which the picture was enlarged after embedding.
    pub scale: f64,
    /// Clockwise rotation of the picture after embedding, in degrees.
    pub angle: f64,
    /// Position (x, y) of the marked picture's top left corner in the received picture, in pixels.
    pub offset: [f64; 2],
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

/// Result of decoding one key epoch.
struct Try {
    /// Soft value of each coded bit; positive for a set bit.
    soft: [f32; CODED],
    /// Coded bits of the best message, 1 or -1.
    message: [f32; CODED],
    /// Payload, if its keyed check is correct.
    payload: Option<Payload>,
    z: f64,
}

/// Detects and decodes the watermarks of one key.
pub struct Decoder {
    key: Key,
    false_positives: f64,
    epochs: u32,
    waves: Vec<Wave>,
    carriers: Carriers,
    fft: Fft2,
    /// Geometry and key epoch of the last watermark found, which are tried first.
    last: Option<(Geometry, u32)>,
}

impl Decoder {
    /// Creates a decoder for the key epochs from 0 to `epochs - 1`.
    ///
    /// `false_positives` is the highest probability, per window, of reporting a watermark of this
    /// key in a window without one.
    pub fn new(key: Key, false_positives: f64, epochs: u32) -> Self {
        let (waves, carriers) = (pilot(&key), Carriers::new(&key));
        Self {
            key,
            false_positives,
            epochs: epochs.max(1),
            waves,
            carriers,
            fft: Fft2::new(),
            last: None,
        }
    }

    /// Searches a window for a watermark and decodes it.
    pub fn decode(&mut self, window: &Window, search: Search) -> Report {
        let mut best = self.nothing(window);
        let mut attempts = 0;
        let mut first = vec![Geometry::IDENTITY];
        if let Some((geometry, _)) =
            self.last.filter(|(geometry, _)| *geometry != Geometry::IDENTITY)
        {
            first.insert(0, geometry);
        }
        for geometry in first {
            if self.attempt(window, geometry, &mut attempts, &mut best) {
                return best;
            }
        }
        if search == Search::Identity {
            return best;
        }
        let sums: Vec<_> = window.groups.iter().map(|group| &group.sum).collect();
        let Some(synchroniser) = Synchroniser::new(&self.waves, &sums, &mut self.fft) else {
            return best;
        };
        let geometries = synchroniser.geometries(search, &mut self.fft);
        for geometry in geometries.into_iter().take(TRIED) {
            if self.attempt(window, geometry, &mut attempts, &mut best) {
                return best;
            }
        }
        best
    }

    /// Decodes a window without a geometry search, once for each key epoch.
    ///
    /// For the statistics of windows without a watermark.
    pub fn evidence(&mut self, window: &Window, epochs: std::ops::Range<u32>) -> Vec<Evidence> {
        let spectra = self.spectra(window, &Geometry::IDENTITY);
        let planes = self.planes(&spectra, FINEST[0]);
        epochs
            .map(|epoch| {
                let Try { payload, z, .. } = self.try_epoch(&planes, epoch);
                Evidence { payload, z, log10_p: log10_of_chance(z, 1, bits_of(payload)) }
            })
            .collect()
    }

    /// Decodes filtered planes, each with its hop, for one key epoch.
    fn try_epoch(&self, planes: &[(usize, Vec<f32>)], epoch: u32) -> Try {
        let mut soft = [0.0; CODED];
        for (hop, plane) in planes {
            self.carriers.correlate(&self.key, epoch, *hop, plane, &mut soft);
        }
        let (payload, message) = Payload::decode(&soft, &self.key, epoch);
        let norm = soft.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
        let product: f64 = soft.iter().zip(&message).map(|(v, sign)| f64::from(v * sign)).sum();
        let z = if norm > 0.0 { product / norm } else { 0.0 };
        Try { soft, message, payload, z }
    }

    /// Returns the report of a window before any attempt.
    fn nothing(&self, window: &Window) -> Report {
        Report {
            payload: None,
            epoch: 0,
            z: 0.0,
            log10_p: 0.0,
            frames: window.frames(),
            bit_errors: CODED as u32 / 2,
            scale: 1.0,
            angle: 0.0,
            offset: [0.0; 2],
        }
    }

    /// Decodes a window at one geometry.
    ///
    /// Updates `best` if the result is better; returns whether it found a payload.
    fn attempt(
        &mut self,
        window: &Window,
        geometry: Geometry,
        attempts: &mut u32,
        best: &mut Report,
    ) -> bool {
        let spectra = self.spectra(window, &geometry);
        for finest in FINEST {
            if self.read(window, geometry, &spectra, finest, attempts, best) {
                return true;
            }
        }
        false
    }

    /// Decodes spectra up to the frequency `finest`, for all key epochs.
    fn read(
        &mut self,
        window: &Window,
        geometry: Geometry,
        spectra: &Spectra,
        finest: f32,
        attempts: &mut u32,
        best: &mut Report,
    ) -> bool {
        let planes = self.planes(spectra, finest);
        let last = self.last.map(|(_, epoch)| epoch);
        let epochs = last.into_iter().chain((0..self.epochs).filter(|epoch| Some(*epoch) != last));
        for epoch in epochs {
            *attempts += 1;
            let Try { soft, message, payload, z } = self.try_epoch(&planes, epoch);
            let log10_p = log10_of_chance(z, *attempts, bits_of(payload));
            let found = payload.filter(|_| log10_p <= self.false_positives.log10());
            if found.is_some() || z > best.z {
                let errors =
                    soft.iter().zip(&message).filter(|(v, sign)| *v * *sign <= 0.0).count();
                let scale = scale_of(window.size.0, window.size.1);
                *best = Report {
                    payload: found,
                    epoch,
                    z,
                    log10_p,
                    frames: window.frames(),
                    bit_errors: errors as u32,
                    scale: geometry.scale(),
                    angle: geometry.angle(),
                    offset: geometry.offset().map(|v| -v * geometry.scale() / scale),
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
        let mut hops: [Option<Array2<f32>>; HOPS] = Default::default();
        for group in &window.groups {
            let hop = self.hop_of(group, geometry);
            match &mut hops[hop] {
                Some(sum) => *sum += &group.sum,
                none => *none = Some(group.sum.clone()),
            }
        }
        let present: Vec<_> =
            hops.iter().enumerate().filter_map(|(hop, sum)| Some((hop, sum.as_ref()?))).collect();
        let mut pairs = Vec::new();
        let mut power = Array2::<f32>::zeros((WIDTH, HEIGHT));
        // One complex FFT transforms two real planes.
        for pair in present.chunks(2) {
            let mut plane = vec![Complex32::default(); WIDTH * HEIGHT];
            for (i, (_, sum)) in pair.iter().enumerate() {
                geometry.lay(&sum.view(), |at, v| {
                    if i == 0 { plane[at].re += v } else { plane[at].im += v }
                });
            }
            self.fft.forward(&mut plane);
            for wave in &self.waves {
                for dy in -BESIDE_WAVE..=BESIDE_WAVE {
                    for dx in -BESIDE_WAVE..=BESIDE_WAVE {
                        let (x, y) = (wave.cycles.0 + dx, wave.cycles.1 + dy);
                        plane[bin(x, y)] = Complex32::default();
                        plane[bin(-x, -y)] = Complex32::default();
                    }
                }
            }
            power.iter_mut().zip(&plane).for_each(|(to, v)| *to += v.norm_sqr());
            pairs.push((pair.iter().map(|(hop, _)| *hop).collect(), plane));
        }
        let (mut rows, mut around) = (Array2::zeros(power.dim()), Array2::zeros(power.dim()));
        box_mean(&power, EVEN, &mut rows, &mut around);
        let floor = around.iter().sum::<f32>() / around.len() as f32 * 1e-3;
        let mut gains = around;
        for (i, gain) in gains.iter_mut().enumerate() {
            let (x, y) = frequency(i);
            *gain = band(x, y) / (*gain + floor).max(1e-9);
        }
        Spectra { pairs, gains }
    }

    /// Returns the planes of all hops, filtered for the carriers up to the frequency `finest`.
    fn planes(&mut self, spectra: &Spectra, finest: f32) -> Vec<(usize, Vec<f32>)> {
        let mut planes = Vec::new();
        for (hops, spectrum) in &spectra.pairs {
            let filtered = spectrum.iter().zip(&spectra.gains).enumerate().map(|(i, (v, gain))| {
                let (x, y) = frequency(i);
                if x.hypot(y) < finest { v * gain } else { Complex32::default() }
            });
            let mut plane: Vec<_> = filtered.collect();
            self.fft.inverse(&mut plane);
            for (i, hop) in hops.iter().enumerate() {
                planes
                    .push((*hop, plane.iter().map(|v| if i == 0 { v.re } else { v.im }).collect()));
            }
        }
        planes
    }

    /// Estimates the hop of a group from the signs of the pilot waves.
    fn hop_of(&self, group: &Arc<Group>, geometry: &Geometry) -> usize {
        let mut scores = [0.0; HOPS];
        for wave in self.waves.iter().filter(|wave| !wave.is_steady()) {
            let (fx, fy) = wave.frequency();
            let at = f64::from(fx) * geometry.origin[0] + f64::from(fy) * geometry.origin[1];
            let expected = wave.phase + (std::f64::consts::TAU * at) as f32;
            let seen = wave_in(&group.sum, geometry.seen((fx, fy)), geometry.centre);
            let agreement = (seen * Complex32::from_polar(1.0, -expected)).re;
            scores.iter_mut().zip(wave.signs).for_each(|(score, sign)| *score += sign * agreement);
        }
        (0..HOPS).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0)
    }
}

/// Returns the number of message bits that the decoder could choose freely.
///
/// These are the bits of the payload if the check is correct; if not, those of the check as well.
fn bits_of(payload: Option<Payload>) -> u32 {
    64 + if payload.is_some() { 0 } else { 32 }
}

/// Returns the base-10 logarithm of an upper bound on the probability that, by chance, any of
/// 2^`bits` messages reaches the correlation `z` in `attempts` attempts.
///
/// The signs of the carriers are random, so without a watermark, or with another key, the signs of
/// the soft bits are unbiased and independent. Hoeffding's inequality (Journal of the American
/// Statistical Association 58, 1963) bounds the probability for one message, and the union bound
/// covers all messages and attempts.
pub(super) fn log10_of_chance(z: f64, attempts: u32, bits: u32) -> f64 {
    let one = -0.5 * z.max(0.0).powi(2) * std::f64::consts::LOG10_E;
    (one + f64::from(bits) * std::f64::consts::LOG10_2 + f64::from(attempts.max(1)).log10())
        .min(0.0)
}
