// SPDX-License-Identifier: MIT OR Apache-2.0

//! Watermark patterns of a key: carriers and pilot.
//!
//! The carriers are spread-spectrum chips of the coded bits (Cox, Kilian, Leighton and Shamoon,
//! IEEE Transactions on Image Processing 6(12), 1997). The pilot is a set of weak sinusoidal waves
//! from which the detector estimates the geometry (after Pereira and Pun, "Robust Template Matching
//! for Affine Resistant Image Watermarks", IEEE Transactions on Image Processing 9(6), 2000).
//! Patterns are made on the canonical plane (see `plane.rs`).

use std::f32::consts::TAU;

use ndarray::Array2;
use rustfft::num_complex::Complex32;

use super::{
    convolutional_code::CODED_BITS,
    key::Key,
    payload::Payload,
    plane::{Fft2, PLANE_HEIGHT, PLANE_WIDTH, bin, frequency},
    tiles::{Layer, TileCarriers},
    version::Version,
};

/// Number of hop labels. Each has its own pattern, and the embedder changes between them, so that no
/// pattern stays on the screen for long.
pub(super) const HOPS: usize = 4;
/// Number of pilot waves with the same sign in all hops.
const STEADY_WAVES: usize = 25;
/// Number of pilot waves whose signs identify the hop.
const HOP_WAVES: usize = 15;
/// Number of pilot waves.
pub(super) const WAVES: usize = STEADY_WAVES + HOP_WAVES;
/// Share of the pattern's energy in the pilot.
pub(super) const PILOT_ENERGY_SHARE: f32 = 0.2;
/// Lowest and highest radial frequency of pilot waves, in cycles per canonical pixel.
const PILOT_BAND: (f32, f32) = (0.05, 0.24);
/// Minimum distance between two pilot waves in the spectrum, in cycles over the width of the plane.
const MIN_WAVE_DISTANCE: i32 = 10;
/// Band of the carriers, in cycles per canonical pixel: the amplitude rises from 0 at the first
/// radius to full at the second, and falls from full at the third to 0 at the fourth.
const CARRIER_BAND: [f32; 4] = [0.03, 0.05, 0.28, 0.34];
/// Exponent by which the amplitude of the carriers falls with frequency: compression and blur
/// preserve low frequencies better.
const AMPLITUDE_FALLOFF: f32 = 0.3;
/// Highest frequency of a pattern, in cycles per pixel of the picture.
const MAX_PICTURE_FREQUENCY: f32 = 0.36;

/// One sinusoidal wave of the pilot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wave {
    /// Cycles over the width and the height of the canonical plane.
    pub cycles: (i32, i32),
    /// Phase in radians.
    pub phase: f32,
    /// Sign of the wave in each hop, 1 or -1.
    pub signs: [f32; HOPS],
}

impl Wave {
    /// Returns whether the wave has the same sign in all hops.
    pub(super) fn is_steady(&self) -> bool {
        self.signs.iter().all(|sign| *sign > 0.0)
    }

    /// Returns the horizontal and vertical frequency in cycles per canonical pixel.
    pub(super) fn frequency(&self) -> (f32, f32) {
        (self.cycles.0 as f32 / PLANE_WIDTH as f32, self.cycles.1 as f32 / PLANE_HEIGHT as f32)
    }
}

/// Returns the pilot waves of a key. Those of version 2 depend on the key epoch, too.
pub(super) fn pilot(key: &Key, version: Version, epoch: u32) -> Vec<Wave> {
    let mut rng = match version {
        Version::One => key.rng("pilot", &[]),
        Version::Two => key.rng("pilot 2", &[epoch]),
    };
    let mut waves: Vec<Wave> = Vec::with_capacity(WAVES);
    while waves.len() < WAVES {
        let (low, high) = PILOT_BAND;
        let radius =
            (f64::from(low * low) + rng.uniform() * f64::from(high * high - low * low)).sqrt();
        let (sin, cos) = (std::f64::consts::PI * rng.uniform()).sin_cos();
        let cycles = (
            (radius * cos * PLANE_WIDTH as f64).round() as i32,
            (radius * sin * PLANE_HEIGHT as f64).round() as i32,
        );
        let phase = TAU * rng.uniform() as f32;
        // The plane is twice as wide as high, so a vertical cycle counts twice.
        let far = |wave: &Wave| {
            let (dx, dy) = (wave.cycles.0 - cycles.0, 2 * (wave.cycles.1 - cycles.1));
            dx * dx + dy * dy >= MIN_WAVE_DISTANCE * MIN_WAVE_DISTANCE
        };
        if !waves.iter().all(far) {
            continue;
        }
        // Signs are the non-constant columns of a 4x4 Hadamard matrix, so any two hops differ in
        // two thirds of these waves.
        let hop_wave = waves.len().saturating_sub(STEADY_WAVES);
        let signs = std::array::from_fn(|hop| {
            // Masks from 1 to HOPS - 1: mask 0 would give a wave with the same sign in all hops.
            let odd = waves.len() >= STEADY_WAVES
                && (hop & (hop_wave % (HOPS - 1) + 1)).count_ones() % 2 == 1;
            if odd { -1.0 } else { 1.0 }
        });
        waves.push(Wave { cycles, phase, signs });
    }
    waves
}

/// Returns the amplitude of the carriers at a frequency in cycles per canonical pixel.
pub(super) fn carrier_amplitude(x: f32, y: f32) -> f32 {
    let radius = x.hypot(y);
    let [rise_start, pass_start, pass_end, stop] = CARRIER_BAND;
    let edge = ((radius - rise_start) / (pass_start - rise_start))
        .min((stop - radius) / (stop - pass_end))
        .clamp(0.0, 1.0);
    edge * (pass_start / radius.max(pass_start)).powf(AMPLITUDE_FALLOFF)
}

/// Assignment of coded bits to the chips of version 1; a chip is one sample of the canonical plane.
pub(super) struct Carriers {
    /// Index of the coded bit of each chip, by rows.
    bit_of_chip: Vec<u16>,
}

impl Carriers {
    /// Creates the carriers of a key.
    pub(super) fn new(key: &Key) -> Self {
        let mut random = vec![0; 2 * PLANE_WIDTH * PLANE_HEIGHT];
        key.rng("carriers", &[]).fill(&mut random);
        let bit = |pair: &[u8]| {
            ((u32::from(u16::from_le_bytes([pair[0], pair[1]])) * CODED_BITS as u32) >> 16) as u16
        };
        Self { bit_of_chip: random.chunks_exact(2).map(bit).collect() }
    }

    /// Calls `each` with every chip's index, its coded bit and its sign.
    ///
    /// The sign is the sign bit of an `f32`, to be applied without a branch: the signs are random,
    /// so a branch would be mispredicted half of the time.
    fn for_each_chip(
        &self,
        key: &Key,
        epoch: u32,
        hop: usize,
        mut each: impl FnMut(usize, usize, u32),
    ) {
        let mut random = vec![0; PLANE_WIDTH * PLANE_HEIGHT / 8];
        key.rng("signs", &[epoch, hop as u32]).fill(&mut random);
        for (i, (bits, signs)) in self.bit_of_chip.chunks_exact(8).zip(&random).enumerate() {
            for (k, bit) in bits.iter().enumerate() {
                each(8 * i + k, usize::from(*bit), u32::from(signs >> k & 1) << 31);
            }
        }
    }

    /// Adds the correlation of a filtered plane with the carriers to the soft value of each coded
    /// bit.
    pub(super) fn correlate(
        &self,
        key: &Key,
        epoch: u32,
        hop: usize,
        plane: &[f32],
        soft: &mut [f32; CODED_BITS],
    ) {
        self.for_each_chip(key, epoch, hop, |i, bit, sign| soft[bit] += with_sign(plane[i], sign));
    }
}

/// Returns `value` with its sign bit XORed with `sign`.
fn with_sign(value: f32, sign: u32) -> f32 {
    f32::from_bits(value.to_bits() ^ sign)
}

/// Returns the amplitude at a frequency that a picture of `scale` canonical pixels per pixel holds.
fn picture_low_pass(scale: f64) -> impl Fn(f32, f32) -> f32 {
    let max_frequency = MAX_PICTURE_FREQUENCY / scale as f32;
    move |x, y| ((max_frequency - x.hypot(y)) / (0.15 * max_frequency)).clamp(0.0, 1.0)
}

/// Replaces a plane of two sets of signs, as real and imaginary part, by its spectrum in the band
/// of the carriers. The inverse transform then has this variance in each part.
fn filter_carriers(
    fft: &mut Fft2,
    plane: &mut Vec<Complex32>,
    variance: f32,
    low_pass: impl Fn(f32, f32) -> f32,
) {
    fft.forward(plane);
    let mut energy = 0.0f64;
    for (i, value) in plane.iter_mut().enumerate() {
        let (x, y) = frequency(i);
        let amplitude = carrier_amplitude(x, y) * low_pass(x, y);
        *value *= amplitude;
        energy += f64::from(amplitude * amplitude);
    }
    // Filtering white signs of variance 1 leaves the mean squared amplitude of the band as
    // variance.
    let count = plane.len() as f64;
    let gain = (f64::from(variance) / (energy / count)).sqrt() as f32 / count as f32;
    plane.iter_mut().for_each(|v| *v *= gain);
}

/// Adds the pilot of a hop label to the spectrum of a plane: to the real part if `unit` is 1, to
/// the imaginary part if it is i. The pilot has this variance.
fn add_pilot(
    spectrum: &mut [Complex32],
    unit: Complex32,
    waves: &[Wave],
    label: usize,
    variance: f32,
    low_pass: impl Fn(f32, f32) -> f32,
) {
    let gains: Vec<_> = waves.iter().map(|w| low_pass(w.frequency().0, w.frequency().1)).collect();
    let power: f32 = gains.iter().map(|gain| 0.5 * gain * gain).sum();
    let amplitude = (variance / power.max(1e-3)).sqrt();
    for (wave, gain) in waves.iter().zip(&gains) {
        // A real wave has half of its amplitude at each of two opposite frequencies.
        let value = Complex32::from_polar(0.5 * amplitude * gain * wave.signs[label], wave.phase);
        let (x, y) = wave.cycles;
        spectrum[bin(x, y)] += unit * value;
        spectrum[bin(-x, -y)] += unit * value.conj();
    }
}

/// Returns the real and the imaginary part of a plane, by rows.
fn parts(plane: &[Complex32]) -> [Array2<f32>; 2] {
    [|v: &Complex32| v.re, |v: &Complex32| v.im].map(|part| {
        Array2::from_shape_fn((PLANE_HEIGHT, PLANE_WIDTH), |(y, x)| {
            part(&plane[y * PLANE_WIDTH + x])
        })
    })
}

/// Returns the patterns of version 1 of a payload, one per hop, of variance 1 and in rows by
/// columns.
///
/// `scale` is the number of canonical pixels per pixel of the picture. Frequencies that a picture
/// of this scale cannot hold are left out.
pub(super) fn patterns(key: &Key, epoch: u32, payload: Payload, scale: f64) -> Vec<Array2<f32>> {
    let coded = payload.encode(key, Version::One, epoch);
    let carriers = Carriers::new(key);
    let waves = pilot(key, Version::One, epoch);
    let low_pass = picture_low_pass(scale);
    let mut fft = Fft2::new();
    let mut all = Vec::with_capacity(HOPS);
    // One complex FFT transforms two real planes.
    for pair in 0..HOPS / 2 {
        let mut plane = vec![Complex32::default(); PLANE_WIDTH * PLANE_HEIGHT];
        carriers.for_each_chip(key, epoch, 2 * pair, |i, bit, sign| {
            plane[i].re = with_sign(coded[bit], sign)
        });
        carriers.for_each_chip(key, epoch, 2 * pair + 1, |i, bit, sign| {
            plane[i].im = with_sign(coded[bit], sign)
        });
        filter_carriers(&mut fft, &mut plane, 1.0 - PILOT_ENERGY_SHARE, &low_pass);
        for (part, unit) in [Complex32::new(1.0, 0.0), Complex32::i()].into_iter().enumerate() {
            let label = 2 * pair + part;
            add_pilot(&mut plane, unit, &waves, label, PILOT_ENERGY_SHARE, &low_pass);
        }
        fft.inverse(&mut plane);
        all.extend(parts(&plane));
    }
    all
}

/// Patterns of version 2 of one hop label, each of variance 1.
pub(super) struct Layers {
    /// Carriers of described tiles, without their signs.
    pub described: Array2<f32>,
    /// Carriers of flat tiles, without their signs.
    pub flat: Array2<f32>,
    /// The pilot.
    pub pilot: Array2<f32>,
}

/// Returns the patterns of version 2 of a payload for one hop label; `scale` as in [`patterns`].
pub(super) fn layers(key: &Key, epoch: u32, payload: Payload, scale: f64, label: usize) -> Layers {
    let coded = payload.encode(key, Version::Two, epoch);
    let low_pass = picture_low_pass(scale);
    let mut fft = Fft2::new();
    let [described, flat] =
        [Layer::Described, Layer::Flat].map(|layer| TileCarriers::new(key, epoch, label, layer));
    let chips = described.spread(&coded).zip(flat.spread(&coded));
    let mut plane: Vec<_> = chips.map(|(re, im)| Complex32::new(re, im)).collect();
    filter_carriers(&mut fft, &mut plane, 1.0, &low_pass);
    fft.inverse(&mut plane);
    let [described, flat] = parts(&plane);
    plane.fill(Complex32::default());
    let waves = pilot(key, Version::Two, epoch);
    add_pilot(&mut plane, Complex32::new(1.0, 0.0), &waves, label, 1.0, &low_pass);
    fft.inverse(&mut plane);
    let [pilot, _] = parts(&plane);
    Layers { described, flat, pilot }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_unit_variance_and_low_cross_correlation() {
        let key = Key::new([9; 32]);
        let patterns = patterns(&key, 0, Payload(77), 0.5);
        assert_eq!(patterns.len(), HOPS);
        let product = |a: &Array2<f32>, b: &Array2<f32>| {
            a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>() / a.len() as f64
        };
        for (i, a) in patterns.iter().enumerate() {
            assert!((product(a, a) - 1.0).abs() < 0.03, "{}", product(a, a));
            // Hops share the steady waves only.
            for b in &patterns[..i] {
                assert!(product(a, b).abs() < 0.25, "{}", product(a, b));
            }
        }
    }

    #[test]
    fn layers_have_unit_variance_and_are_uncorrelated() {
        let Layers { described, flat, pilot } = layers(&Key::new([9; 32]), 0, Payload(77), 0.5, 2);
        let product = |a: &Array2<f32>, b: &Array2<f32>| {
            a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>() / a.len() as f64
        };
        for layer in [&described, &flat, &pilot] {
            assert!((product(layer, layer) - 1.0).abs() < 0.03, "{}", product(layer, layer));
        }
        assert!(product(&described, &flat).abs() < 0.02);
        assert!(product(&described, &pilot).abs() < 0.02);
    }

    #[test]
    fn pilot_depends_on_key_and_in_version_2_on_the_epoch() {
        let of = |key: u8, version, epoch| pilot(&Key::new([key; 32]), version, epoch);
        let waves = of(1, Version::One, 0);
        assert_eq!(waves, of(1, Version::One, 1));
        assert!(waves != of(2, Version::One, 0));
        let second = of(1, Version::Two, 0);
        assert!(second != waves && second != of(1, Version::Two, 1));
        for a in 0..HOPS {
            for b in 0..a {
                let differ = waves.iter().filter(|w| w.signs[a] != w.signs[b]).count();
                assert_eq!(differ, HOP_WAVES * 2 / 3);
            }
        }
    }
}
