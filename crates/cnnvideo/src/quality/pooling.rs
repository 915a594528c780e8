// SPDX-License-Identifier: MIT OR Apache-2.0

//! Statistics of the measures of frames over a stream: harmonic means, percentiles and the worst
//! frames.

use super::{Measures, quantiles::Quantiles};

/// Percentiles in [`Pooled::percentiles`].
pub const PERCENTILES: [u32; 4] = [1, 5, 10, 50];
/// Number of worst frames that are kept.
pub const WORST_FRAMES: usize = 5;
/// Measures that are pooled: those of which more is better.
pub const POOLED_MEASURES: [&str; 6] =
    ["psnr", "psnr-y", "ssim", "ms-ssim", "xpsnr-y", "ssimulacra2"];

/// A frame with a low value of a measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorstFrame {
    /// Value of the measure.
    pub value: f64,
    /// Number of the pair, from 0 on.
    pub number: u64,
    /// Running time in nanoseconds, `None` where unknown.
    pub running_time: Option<u64>,
}

/// Statistics of one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// Name of the measure, one of [`POOLED_MEASURES`].
    pub name: &'static str,
    /// Harmonic mean as of libvmaf, `1 / mean(1 / (1 + value)) - 1`; `None` if a value is negative.
    pub harmonic_mean: Option<f64>,
    /// Values below which 1%, 5%, 10% and 50% of the frames lie ([`PERCENTILES`]), by the nearest
    /// rank and in single precision. Exact for up to 8192 frames, then with an error of the rank of
    /// at most 0.1%.
    pub percentiles: [f64; PERCENTILES.len()],
    /// The frames with the lowest values, the lowest first; equal ones by their time.
    pub worst: Vec<WorstFrame>,
}

/// Collects the measures of the frames of a stream, in bounded memory.
#[derive(Debug, Clone, Default)]
pub struct Pooling {
    frames: u64,
    measures: [Pool; POOLED_MEASURES.len()],
}

/// Collected values of one measure.
#[derive(Debug, Clone, Default)]
struct Pool {
    quantiles: Quantiles,
    count: u64,
    /// Sum of `1 / (1 + value)`.
    inverse_sum: f64,
    has_negative: bool,
    worst: Vec<WorstFrame>,
}

impl Pooling {
    /// Adds the measures of a pair with its running time in nanoseconds.
    pub fn add(&mut self, measures: &Measures, running_time: Option<u64>) {
        let number = self.frames;
        self.frames += 1;
        let named = measures.named();
        for (name, pool) in POOLED_MEASURES.iter().zip(&mut self.measures) {
            if let Some((_, value)) = named.iter().find(|(other, _)| other == name) {
                pool.add(WorstFrame { value: *value, number, running_time });
            }
        }
    }

    /// Returns the statistics of each measure that at least one pair has.
    pub fn pooled(&self) -> Vec<Pooled> {
        let pools = POOLED_MEASURES.into_iter().zip(&self.measures);
        pools.filter_map(|(name, pool)| pool.pooled(name)).collect()
    }
}

impl Pool {
    fn add(&mut self, frame: WorstFrame) {
        self.quantiles.add(frame.value);
        self.count += 1;
        self.inverse_sum += 1.0 / (1.0 + frame.value);
        self.has_negative |= frame.value < 0.0;
        let place = self.worst.partition_point(|other| other.value <= frame.value);
        if place < WORST_FRAMES {
            self.worst.insert(place, frame);
            self.worst.truncate(WORST_FRAMES);
        }
    }

    fn pooled(&self, name: &'static str) -> Option<Pooled> {
        let mut percentiles = [0.0; PERCENTILES.len()];
        for (to, percent) in percentiles.iter_mut().zip(PERCENTILES) {
            *to = self.quantiles.quantile(f64::from(percent) / 100.0)?;
        }
        let harmonic_mean = self.count as f64 / self.inverse_sum - 1.0;
        Some(Pooled {
            name,
            harmonic_mean: (!self.has_negative).then_some(harmonic_mean),
            percentiles,
            worst: self.worst.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_match_their_definitions() {
        let mut pooling = Pooling::default();
        assert!(pooling.pooled().is_empty());
        // PSNR of 30.0, 30.1, ... in another order, and a measure that few frames have.
        for i in 0..100u64 {
            let psnr = 30.0 + 0.1 * (i * 37 % 100) as f64;
            let mse_total = 255.0 * 255.0 / 10f64.powf(psnr / 10.0);
            let ssimulacra2 = (i < 2).then_some(10.0 - 30.0 * i as f64);
            let measures = Measures { mse_total, ssimulacra2, ..Default::default() };
            pooling.add(&measures, Some(40 * i));
        }
        let [psnr, ssimulacra2] = pooling.pooled().try_into().unwrap();
        assert_eq!((psnr.name, ssimulacra2.name), ("psnr", "ssimulacra2"));
        for (found, expected) in psnr.percentiles.into_iter().zip([30.0, 30.4, 30.9, 34.9]) {
            assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
        }
        let inverse: f64 = (0..100).map(|i| 1.0 / (31.0 + 0.1 * f64::from(i))).sum();
        assert!((psnr.harmonic_mean.unwrap() - (100.0 / inverse - 1.0)).abs() < 1e-9);
        let worst: Vec<_> = psnr.worst.iter().map(|frame| frame.number).collect();
        let expected: Vec<_> =
            (0..5).map(|rank| (0..100).find(|i| i * 37 % 100 == rank).unwrap()).collect();
        assert_eq!(worst, expected);
        assert_eq!(psnr.worst[1].running_time, Some(40 * expected[1]));
        assert_eq!(ssimulacra2.harmonic_mean, None);
        assert_eq!(ssimulacra2.worst.len(), 2);
        assert_eq!(ssimulacra2.worst[0].value, -20.0);
    }
}
