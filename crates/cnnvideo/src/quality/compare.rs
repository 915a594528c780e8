//! Comparison of two pictures by all quality measures, and running means over a stream.
//!
//! Main types: [`Comparison`] measures a pair, [`Measures`] is the result, [`Running`] the mean.

use ndarray::{Array2, ArrayView2, Zip};

use super::{
    error::{mse, psnr},
    gradient::{Gradient, gradient_difference},
    histogram::Histogram,
    ssim::similarity,
};
use crate::{
    frame::{Colour, Picture, Sample, levels::levels, luma::luma_row},
    nn::{self, Threads},
};

/// Field names of the mean square errors of Y, U and V.
pub const MSE_YUV: [&str; 3] = ["mse-y", "mse-u", "mse-v"];
/// Field names of the mean square errors of R, G and B.
pub const MSE_RGB: [&str; 3] = ["mse-r", "mse-g", "mse-b"];
/// Field names of the PSNR of Y, U and V.
const PSNR_YUV: [&str; 3] = ["psnr-y", "psnr-u", "psnr-v"];
/// Field names of the PSNR of R, G and B.
const PSNR_RGB: [&str; 3] = ["psnr-r", "psnr-g", "psnr-b"];

/// Errors of [`Comparison::measure`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The pictures differ in size.
    #[error(
        "the reference has {}x{} pixels, the tested picture {}x{}; the sizes must be the same",
        .reference.0, .reference.1, .test.0, .test.1
    )]
    Size {
        /// Width and height of the reference.
        reference: (usize, usize),
        /// Width and height of the tested picture.
        test: (usize, usize),
    },
}

/// Measures of a pair of pictures, or their means over many pairs. Errors and differences are in
/// 8-bit code values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measures {
    /// Mean square errors of Y, U and V or of R, G and B. Luma only if the colour models differ.
    pub mse: [Option<f64>; 3],
    /// Whether `mse` is of R, G and B.
    pub rgb: bool,
    /// Mean square error over all samples of the components in `mse`.
    pub mse_all: f64,
    /// Structural similarity of luma, see [`ssim`](super::ssim); `None` for pictures that are too
    /// small.
    pub ssim: Option<f64>,
    /// Multi-scale structural similarity of luma, see [`ms_ssim`](super::ms_ssim); `None` for
    /// pictures that are too small.
    pub ms_ssim: Option<f64>,
    /// Mean absolute difference of the Laplacian magnitudes of luma.
    pub laplacian: f64,
    /// Mean absolute difference of the Sobel gradient magnitudes of luma.
    pub sobel: f64,
    /// Chi-square distance of the luma histograms, 0 to 1.
    pub chi_square: f64,
    /// Earth mover's distance of the luma histograms.
    pub earth_movers: f64,
    /// Mean absolute change of the luma error since the previous pair; `None` for the first pair.
    pub flicker: Option<f64>,
    /// Intersection over union of the region masks, if both pictures have one.
    pub iou: Option<f64>,
}

impl Measures {
    /// Returns the PSNR over all samples in dB, infinite for equal pictures.
    pub fn psnr(&self) -> f64 {
        psnr(self.mse_all)
    }

    /// Returns the message field names and values of all measures that are not `None`, and of the
    /// PSNR in dB.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let [a, b, c] = self.mse;
        let [mse_names, psnr_names] =
            if self.rgb { [MSE_RGB, PSNR_RGB] } else { [MSE_YUV, PSNR_YUV] };
        let all = [
            ("mse", Some(self.mse_all)),
            (mse_names[0], a),
            (mse_names[1], b),
            (mse_names[2], c),
            ("psnr", Some(self.psnr())),
            (psnr_names[0], a.map(psnr)),
            (psnr_names[1], b.map(psnr)),
            (psnr_names[2], c.map(psnr)),
            ("ssim", self.ssim),
            ("ms-ssim", self.ms_ssim),
            ("gradient-laplacian", Some(self.laplacian)),
            ("gradient-sobel", Some(self.sobel)),
            ("histogram-chi-square", Some(self.chi_square)),
            ("histogram-earth-movers", Some(self.earth_movers)),
            ("flicker", self.flicker),
            ("iou", self.iou),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Running mean of measures. The mean PSNR is the PSNR of the mean square error.
#[derive(Debug, Clone, Default)]
pub struct Running {
    frames: u64,
    sums: Measures,
    /// Number of pairs that have each optional measure, in the order of [`optional`].
    counts: [u64; 7],
}

impl Running {
    /// Adds the measures of a pair.
    pub fn add(&mut self, measures: &Measures) {
        self.frames += 1;
        let sums = &mut self.sums;
        sums.rgb = measures.rgb;
        sums.mse_all += measures.mse_all;
        sums.laplacian += measures.laplacian;
        sums.sobel += measures.sobel;
        sums.chi_square += measures.chi_square;
        sums.earth_movers += measures.earth_movers;
        for (i, (sum, value)) in
            optional(sums).into_iter().zip(optional(&mut measures.clone())).enumerate()
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
            &mut mean.mse_all,
            &mut mean.laplacian,
            &mut mean.sobel,
            &mut mean.chi_square,
            &mut mean.earth_movers,
        ] {
            *sum *= scale;
        }
        for (sum, count) in optional(&mut mean).into_iter().zip(self.counts) {
            sum.iter_mut().for_each(|sum| *sum /= count as f64);
        }
        Some(mean)
    }
}

/// Returns the optional measures: MSE of the three components, SSIM, MS-SSIM, flicker and IoU.
fn optional(measures: &mut Measures) -> [&mut Option<f64>; 7] {
    let Measures { mse: [a, b, c], ssim, ms_ssim, flicker, iou, .. } = measures;
    [a, b, c, ssim, ms_ssim, flicker, iou]
}

/// Compares the pictures of one stream with those of a reference stream. Keeps the previous error,
/// for the flicker measure.
pub struct Comparison {
    threads: Threads,
    /// Luma of the reference and of the tested picture.
    pub(super) luma: [Array2<f32>; 2],
    /// Current component of the reference and of the tested picture.
    planes: [Array2<f32>; 2],
    /// Luma error (tested minus reference) of the previous pair.
    error: Array2<f32>,
    /// Whether `error` belongs to the previous pair of the stream.
    has_error: bool,
}

impl Comparison {
    /// Creates a comparison that runs on `threads` threads, 0 = one per core.
    ///
    /// # Errors
    /// If the threads cannot be created.
    pub fn new(threads: usize) -> Result<Self, nn::Error> {
        let empty = || Array2::zeros((0, 0));
        Ok(Self {
            threads: Threads::new(threads)?,
            luma: [empty(), empty()],
            planes: [empty(), empty()],
            error: empty(),
            has_error: false,
        })
    }

    /// Discards the previous pair: the next one has no flicker measure.
    pub fn reset(&mut self) {
        self.has_error = false;
    }

    /// Computes all measures of a pair except `iou`.
    ///
    /// # Errors
    /// [`Error::Size`] if the pictures differ in size.
    pub fn measure<T: Sample>(
        &mut self,
        reference: &Picture<'_, T>,
        test: &Picture<'_, T>,
    ) -> Result<Measures, Error> {
        if reference.size() != test.size() {
            return Err(Error::Size { reference: reference.size(), test: test.size() });
        }
        let threads = self.threads.clone();
        Ok(threads.enter(|| self.measure_here(reference, test)))
    }

    /// [`Comparison::measure`] on a thread of the pool.
    fn measure_here<T: Sample>(
        &mut self,
        reference: &Picture<'_, T>,
        test: &Picture<'_, T>,
    ) -> Measures {
        let [p, q] = &mut self.luma;
        rayon::join(|| load_luma(reference, p), || load_luma(test, q));
        let mut measures = Measures::default();
        let [a, b] = self.luma.each_ref().map(|plane| plane.view());
        if reference.colour == test.colour {
            let (mut sum, mut count) = (0.0, 0.0);
            for (i, (x, y)) in reference.components.iter().zip(&test.components).enumerate() {
                let error = if i == 0 && reference.colour != Colour::Rgb {
                    mse(&a, &b)
                } else {
                    let [p, q] = &mut self.planes;
                    rayon::join(|| load(x, p), || load(y, q));
                    mse(&p.view(), &q.view())
                };
                measures.mse[i] = Some(error);
                sum += error * x.len() as f64;
                count += x.len() as f64;
            }
            measures.mse_all = sum / count;
            measures.rgb = reference.colour == Colour::Rgb;
        } else {
            measures.mse_all = mse(&a, &b);
            measures.mse[0] = Some(measures.mse_all);
        }
        if let Some((ssim, ms_ssim)) = similarity(&a, &b) {
            (measures.ssim, measures.ms_ssim) = (Some(ssim), ms_ssim);
        }
        measures.laplacian = gradient_difference(&a, &b, Gradient::Laplacian);
        measures.sobel = gradient_difference(&a, &b, Gradient::Sobel);
        let (p, q) = rayon::join(|| Histogram::of(&a), || Histogram::of(&b));
        (measures.chi_square, measures.earth_movers) = (p.chi_square(&q), p.earth_movers(&q));
        if self.error.dim() != a.dim() {
            self.error = Array2::zeros(a.dim());
            self.has_error = false;
        }
        let rows = Zip::from(self.error.rows_mut()).and(a.rows()).and(b.rows());
        let change = rows.fold(0.0, |sum, before, a, b| {
            let row = Zip::from(before).and(a).and(b).fold(0.0f32, |sum, before, a, b| {
                let error = b - a;
                let change = (error - *before).abs();
                *before = error;
                sum + change
            });
            sum + f64::from(row)
        });
        measures.flicker = self.has_error.then_some(change / a.len() as f64);
        self.has_error = true;
        measures
    }
}

/// Resizes `plane` to `dim` (rows, columns).
fn fit(plane: &mut Array2<f32>, dim: (usize, usize)) {
    if plane.dim() != dim {
        *plane = Array2::zeros(dim);
    }
}

/// Fills `plane` with the luma of `picture`.
fn load_luma<T: Sample>(picture: &Picture<'_, T>, plane: &mut Array2<f32>) {
    let (width, height) = picture.size();
    fit(plane, (height, width));
    for (y, mut row) in plane.rows_mut().into_iter().enumerate() {
        if let Some(row) = row.as_slice_mut() {
            luma_row(picture, y, row);
        }
    }
}

/// Fills `plane` with the code values of `component`.
fn load<T: Sample>(component: &ArrayView2<'_, T>, plane: &mut Array2<f32>) {
    fit(plane, component.dim());
    for (from, mut to) in component.rows().into_iter().zip(plane.rows_mut()) {
        if let Some(to) = to.as_slice_mut() {
            levels(from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Format;

    fn measures(comparison: &mut Comparison, level: u8) -> Measures {
        let (a, b) = ([100u8; 24], [level; 24]);
        let picture = |data| {
            Picture::new(Format::I420, 4, 4, &[(data, 4), (&data[16..], 2), (&data[20..], 2)])
                .unwrap()
        };
        comparison.measure(&picture(&a), &picture(&b)).unwrap()
    }

    #[test]
    fn means_are_over_the_frames_that_have_a_value() {
        let mut comparison = Comparison::new(1).unwrap();
        let mut running = Running::default();
        assert_eq!(running.mean(), None);
        for level in [102, 104] {
            running.add(&measures(&mut comparison, level));
        }
        let mean = running.mean().unwrap();
        assert_eq!(mean.mse, [Some(10.0); 3]);
        assert_eq!((mean.mse_all, mean.ssim, mean.iou), (10.0, None, None));
        // Only the second frame has a previous one.
        assert_eq!(mean.flicker, Some(2.0));
        assert_eq!(mean.earth_movers, 3.0);
        assert!(mean.named().contains(&("psnr", psnr(10.0))));
    }

    #[test]
    fn sizes_must_agree_and_kinds_of_colour_need_not() {
        let mut comparison = Comparison::new(1).unwrap();
        let data = [120u8; 48];
        let grey = Picture::new(Format::GRAY8, 4, 4, &[(&data, 4)]).unwrap();
        let other = Picture::new(Format::GRAY8, 4, 3, &[(&data, 4)]).unwrap();
        assert!(matches!(comparison.measure(&grey, &other), Err(Error::Size { .. })));
        let rgb =
            Picture::new(Format::packed_rgb([0, 1, 2], None, 3), 4, 4, &[(&data, 12)]).unwrap();
        let measures = comparison.measure(&grey, &rgb).unwrap();
        assert!(measures.mse[0].is_some() && measures.mse[1].is_none());
    }
}
