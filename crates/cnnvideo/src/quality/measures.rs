// SPDX-License-Identifier: MIT OR Apache-2.0

//! The quality measures of a pair of pictures ([`Measures`]) and their means over a stream
//! ([`RunningMean`]).

use super::psnr;

/// Field names of the mean square errors of Y, U and V.
pub const MSE_YUV: [&str; 3] = ["mse-y", "mse-u", "mse-v"];
/// Field names of the mean square errors of R, G and B.
pub const MSE_RGB: [&str; 3] = ["mse-r", "mse-g", "mse-b"];
/// Field names of the PSNR of Y, U and V.
const PSNR_YUV: [&str; 3] = ["psnr-y", "psnr-u", "psnr-v"];
/// Field names of the PSNR of R, G and B.
const PSNR_RGB: [&str; 3] = ["psnr-r", "psnr-g", "psnr-b"];
/// Field names of the XPSNR of Y, U and V.
pub const XPSNR: [&str; 3] = ["xpsnr-y", "xpsnr-u", "xpsnr-v"];

/// Names of all measures that [`Measures::named`] returns, in its order.
pub const NAMES: [&str; 26] = [
    "mse",
    "mse-y",
    "mse-u",
    "mse-v",
    "mse-r",
    "mse-g",
    "mse-b",
    "psnr",
    "psnr-y",
    "psnr-u",
    "psnr-v",
    "psnr-r",
    "psnr-g",
    "psnr-b",
    "ssim",
    "ms-ssim",
    "xpsnr-y",
    "xpsnr-u",
    "xpsnr-v",
    "ssimulacra2",
    "gradient-laplacian",
    "gradient-sobel",
    "histogram-chi-square",
    "histogram-earth-movers",
    "flicker",
    "iou",
];

/// Measures of a pair of pictures, or their means over many pairs. Errors and differences are in
/// 8-bit code values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measures {
    /// Mean square errors of Y, U and V or of R, G and B. Luma only if the colour models differ.
    pub mse: [Option<f64>; 3],
    /// Whether `mse` is of R, G and B.
    pub rgb: bool,
    /// Mean square error over all samples of the components in `mse`.
    pub mse_total: f64,
    /// Structural similarity of luma, see [`ssim`](super::ssim); `None` for pictures that are too
    /// small.
    pub ssim: Option<f64>,
    /// Multi-scale structural similarity of luma, see [`ms_ssim`](super::ms_ssim); `None` for
    /// pictures that are too small.
    pub ms_ssim: Option<f64>,
    /// XPSNR of Y, U and V in dB, see [`Xpsnr`](super::Xpsnr); `None` where it was not asked for.
    /// Of RGB pictures, that of luma.
    pub xpsnr: [Option<f64>; 3],
    /// SSIMULACRA2, see [`ssimulacra2`](super::ssimulacra2()); `None` where it was not asked for
    /// and for pictures that are too small.
    pub ssimulacra2: Option<f64>,
    /// Mean absolute difference of the Laplacian magnitudes of luma.
    pub gradient_laplacian: f64,
    /// Mean absolute difference of the Sobel gradient magnitudes of luma.
    pub gradient_sobel: f64,
    /// Chi-square distance of the luma histograms, 0 to 1.
    pub histogram_chi_square: f64,
    /// Earth mover's distance of the luma histograms.
    pub histogram_earth_movers: f64,
    /// Mean absolute change of the luma error since the previous pair; `None` for the first pair.
    pub flicker: Option<f64>,
    /// Intersection over union of the region masks, if both pictures have one.
    pub iou: Option<f64>,
}

impl Measures {
    /// Returns the PSNR over all samples in dB, infinite for equal pictures.
    pub fn psnr(&self) -> f64 {
        psnr(self.mse_total)
    }

    /// Returns the message field names and values of all measures that are not `None`, and of the
    /// PSNR in dB.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let [a, b, c] = self.mse;
        let [mse_names, psnr_names] =
            if self.rgb { [MSE_RGB, PSNR_RGB] } else { [MSE_YUV, PSNR_YUV] };
        let all = [
            ("mse", Some(self.mse_total)),
            (mse_names[0], a),
            (mse_names[1], b),
            (mse_names[2], c),
            ("psnr", Some(self.psnr())),
            (psnr_names[0], a.map(psnr)),
            (psnr_names[1], b.map(psnr)),
            (psnr_names[2], c.map(psnr)),
            ("ssim", self.ssim),
            ("ms-ssim", self.ms_ssim),
            (XPSNR[0], self.xpsnr[0]),
            (XPSNR[1], self.xpsnr[1]),
            (XPSNR[2], self.xpsnr[2]),
            ("ssimulacra2", self.ssimulacra2),
            ("gradient-laplacian", Some(self.gradient_laplacian)),
            ("gradient-sobel", Some(self.gradient_sobel)),
            ("histogram-chi-square", Some(self.histogram_chi_square)),
            ("histogram-earth-movers", Some(self.histogram_earth_movers)),
            ("flicker", self.flicker),
            ("iou", self.iou),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Running mean of measures. The mean PSNR is the PSNR of the mean square error, the mean XPSNR
/// that of the mean of the root of the weighted square error, as in its paper.
#[derive(Debug, Clone, Default)]
pub struct RunningMean {
    frames: u64,
    sums: Measures,
    /// Number of pairs that have each optional measure, in the order of [`optional_measures`].
    counts: [u64; 8],
    /// Sums of the roots of the weighted errors, `10^(-XPSNR / 20)`, and numbers of pairs.
    xpsnr: [(f64, u64); 3],
}

impl RunningMean {
    /// Adds the measures of a pair.
    pub fn add(&mut self, measures: &Measures) {
        self.frames += 1;
        let sums = &mut self.sums;
        sums.rgb = measures.rgb;
        sums.mse_total += measures.mse_total;
        sums.gradient_laplacian += measures.gradient_laplacian;
        sums.gradient_sobel += measures.gradient_sobel;
        sums.histogram_chi_square += measures.histogram_chi_square;
        sums.histogram_earth_movers += measures.histogram_earth_movers;
        for ((sum, count), xpsnr) in self.xpsnr.iter_mut().zip(measures.xpsnr) {
            if let Some(xpsnr) = xpsnr {
                *sum += 10f64.powf(-xpsnr / 20.0);
                *count += 1;
            }
        }
        for (i, (sum, value)) in optional_measures(sums)
            .into_iter()
            .zip(optional_measures(&mut measures.clone()))
            .enumerate()
        {
            if let Some(value) = value {
                *sum.get_or_insert(0.0) += *value;
                self.counts[i] += 1;
            }
        }
    }

    /// Returns the number of pairs.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns the means, each over the pairs that have the measure; `None` before the first pair.
    pub fn mean(&self) -> Option<Measures> {
        if self.frames == 0 {
            return None;
        }
        let scale = 1.0 / self.frames as f64;
        let mut mean = self.sums;
        for sum in [
            &mut mean.mse_total,
            &mut mean.gradient_laplacian,
            &mut mean.gradient_sobel,
            &mut mean.histogram_chi_square,
            &mut mean.histogram_earth_movers,
        ] {
            *sum *= scale;
        }
        for (sum, count) in optional_measures(&mut mean).into_iter().zip(self.counts) {
            sum.iter_mut().for_each(|sum| *sum /= count as f64);
        }
        mean.xpsnr = self
            .xpsnr
            .map(|(sum, count)| (count > 0).then(|| -20.0 * (sum / count as f64).log10()));
        Some(mean)
    }
}

/// Returns the optional measures whose means are those of their values: MSE of the three
/// components, SSIM, MS-SSIM, SSIMULACRA2, flicker and IoU.
fn optional_measures(measures: &mut Measures) -> [&mut Option<f64>; 8] {
    let Measures { mse: [a, b, c], ssim, ms_ssim, ssimulacra2, flicker, iou, .. } = measures;
    [a, b, c, ssim, ms_ssim, ssimulacra2, flicker, iou]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_measures_in_their_order() {
        let all = |rgb| {
            let some = Some(1.0);
            let measures = Measures {
                mse: [some; 3],
                rgb,
                ssim: some,
                ms_ssim: some,
                xpsnr: [some; 3],
                ssimulacra2: some,
                flicker: some,
                iou: some,
                ..Default::default()
            };
            measures.named().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        for rgb in [false, true] {
            let other = if rgb { ["-y", "-u", "-v"] } else { ["-r", "-g", "-b"] };
            let is_other = |name: &str| {
                (name.starts_with("mse") || name.starts_with("psnr"))
                    && other.iter().any(|end| name.ends_with(end))
            };
            let expected: Vec<_> = NAMES.into_iter().filter(|name| !is_other(name)).collect();
            assert_eq!(all(rgb), expected);
        }
    }

    #[test]
    fn the_mean_xpsnr_is_that_of_the_mean_root() {
        let mut running = RunningMean::default();
        for xpsnr in [30.0, 50.0] {
            let xpsnr = [Some(xpsnr), None, Some(f64::INFINITY)];
            running.add(&Measures { xpsnr, ..Default::default() });
        }
        let [y, u, v] = running.mean().unwrap().xpsnr;
        let roots = (10f64.powf(-1.5) + 10f64.powf(-2.5)) / 2.0;
        assert!((y.unwrap() + 20.0 * roots.log10()).abs() < 1e-9);
        assert_eq!((u, v), (None, Some(f64::INFINITY)));
    }
}
