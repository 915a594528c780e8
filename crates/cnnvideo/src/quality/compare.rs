// SPDX-License-Identifier: MIT OR Apache-2.0

//! Comparison of two pictures by all quality measures.

use ndarray::{Array2, ArrayView2, Zip};

use super::{
    gradient::{Gradient, gradient_difference},
    histogram::Histogram,
    measures::Measures,
    mse::mse,
    ssim::ssim_and_ms_ssim,
    ssimulacra2::{YuvMatrix, ssimulacra2},
    xpsnr::Xpsnr,
};
use crate::{
    frame::{Colour, Picture, Sample, convert::convert_row, luma::luma_row},
    nn::{self, Threads},
};

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

/// Measures that [`Comparison::measure`] leaves out unless they are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extra {
    /// Frame rate of the stream in frames per second, for XPSNR.
    pub xpsnr: Option<f64>,
    /// Conversion to RGB of the reference and of the tested picture, for SSIMULACRA2.
    pub ssimulacra2: Option<[YuvMatrix; 2]>,
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
    previous_error: Array2<f32>,
    /// Whether `previous_error` belongs to the previous pair of the stream.
    has_previous: bool,
    xpsnr: Xpsnr,
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
            previous_error: empty(),
            has_previous: false,
            xpsnr: Xpsnr::default(),
        })
    }

    /// Discards the previous pair: the next one has no flicker measure.
    pub fn reset(&mut self) {
        self.has_previous = false;
        self.xpsnr.reset();
    }

    /// Returns the luma of the last reference and tested picture.
    pub fn luma(&self) -> [ArrayView2<'_, f32>; 2] {
        self.luma.each_ref().map(|plane| plane.view())
    }

    /// Computes all measures of a pair except `iou` and those in [`Extra`].
    ///
    /// # Errors
    /// [`Error::Size`] if the pictures differ in size.
    pub fn measure<T: Sample>(
        &mut self,
        reference: &Picture<'_, T>,
        test: &Picture<'_, T>,
    ) -> Result<Measures, Error> {
        self.measure_with(reference, test, Extra::default())
    }

    /// As [`Self::measure`], with the measures of `extra`.
    ///
    /// # Errors
    /// [`Error::Size`] if the pictures differ in size.
    pub fn measure_with<T: Sample>(
        &mut self,
        reference: &Picture<'_, T>,
        test: &Picture<'_, T>,
        extra: Extra,
    ) -> Result<Measures, Error> {
        if reference.size() != test.size() {
            return Err(Error::Size { reference: reference.size(), test: test.size() });
        }
        let threads = self.threads.clone();
        Ok(threads.enter(|| {
            let mut measures = self.measure_in_pool(reference, test);
            if let Some(frame_rate) = extra.xpsnr {
                measures.xpsnr = self.xpsnr(reference, test, frame_rate);
            }
            let [a, b] = extra.ssimulacra2.unwrap_or([YuvMatrix::BT601; 2]);
            if extra.ssimulacra2.is_some() {
                measures.ssimulacra2 = ssimulacra2((reference, a), (test, b));
            }
            measures
        }))
    }

    /// Returns the XPSNR of the components of YUV pictures, of luma where the colour models differ,
    /// after [`Self::measure_in_pool`].
    fn xpsnr<T: Sample>(
        &mut self,
        reference: &Picture<'_, T>,
        test: &Picture<'_, T>,
        frame_rate: f64,
    ) -> [Option<f64>; 3] {
        let [a, b] = self.luma.each_ref().map(|plane| plane.view());
        let weights = self.xpsnr.weights(&a, frame_rate);
        let mut xpsnr = [Some(weights.xpsnr(&a, &b)), None, None];
        let Colour::Yuv { .. } = reference.colour else { return xpsnr };
        if reference.colour == test.colour {
            let [p, q] = &mut self.planes;
            for (i, xpsnr) in xpsnr.iter_mut().enumerate().skip(1) {
                copy_component(&reference.components[i], p);
                copy_component(&test.components[i], q);
                *xpsnr = Some(weights.xpsnr(&p.view(), &q.view()));
            }
        }
        xpsnr
    }

    /// [`Comparison::measure`] on a thread of the pool.
    fn measure_in_pool<T: Sample>(
        &mut self,
        reference: &Picture<'_, T>,
        test: &Picture<'_, T>,
    ) -> Measures {
        let [p, q] = &mut self.luma;
        rayon::join(|| copy_luma(reference, p), || copy_luma(test, q));
        let mut measures = Measures::default();
        let [a, b] = self.luma.each_ref().map(|plane| plane.view());
        if reference.colour == test.colour {
            let (mut sum, mut count) = (0.0, 0.0);
            for (i, (x, y)) in reference.components.iter().zip(&test.components).enumerate() {
                let error = if i == 0 && reference.colour != Colour::Rgb {
                    mse(&a, &b)
                } else {
                    let [p, q] = &mut self.planes;
                    rayon::join(|| copy_component(x, p), || copy_component(y, q));
                    mse(&p.view(), &q.view())
                };
                measures.mse[i] = Some(error);
                sum += error * x.len() as f64;
                count += x.len() as f64;
            }
            measures.mse_total = sum / count;
            measures.rgb = reference.colour == Colour::Rgb;
        } else {
            measures.mse_total = mse(&a, &b);
            measures.mse[0] = Some(measures.mse_total);
        }
        if let Some((ssim, ms_ssim)) = ssim_and_ms_ssim(&a, &b) {
            (measures.ssim, measures.ms_ssim) = (Some(ssim), ms_ssim);
        }
        measures.gradient_laplacian = gradient_difference(&a, &b, Gradient::Laplacian);
        measures.gradient_sobel = gradient_difference(&a, &b, Gradient::Sobel);
        let (p, q) = rayon::join(|| Histogram::from_plane(&a), || Histogram::from_plane(&b));
        (measures.histogram_chi_square, measures.histogram_earth_movers) =
            (p.chi_square_distance(&q), p.earth_movers_distance(&q));
        if self.previous_error.dim() != a.dim() {
            self.previous_error = Array2::zeros(a.dim());
            self.has_previous = false;
        }
        let rows = Zip::from(self.previous_error.rows_mut()).and(a.rows()).and(b.rows());
        let change = rows.fold(0.0, |sum, previous, a, b| {
            let row = Zip::from(previous).and(a).and(b).fold(0.0f32, |sum, previous, a, b| {
                let error = b - a;
                let change = (error - *previous).abs();
                *previous = error;
                sum + change
            });
            sum + f64::from(row)
        });
        measures.flicker = self.has_previous.then_some(change / a.len() as f64);
        self.has_previous = true;
        measures
    }
}

/// Reason why rows of the comparison's planes are slices.
const CONTIGUOUS: &str = "rows of an owned array are contiguous";

/// Resizes `plane` to `dim` (rows, columns).
fn resize(plane: &mut Array2<f32>, dim: (usize, usize)) {
    if plane.dim() != dim {
        *plane = Array2::zeros(dim);
    }
}

/// Fills `plane` with the luma of `picture`.
fn copy_luma<T: Sample>(picture: &Picture<'_, T>, plane: &mut Array2<f32>) {
    let (width, height) = picture.size();
    resize(plane, (height, width));
    for (y, mut row) in plane.rows_mut().into_iter().enumerate() {
        luma_row(picture, y, row.as_slice_mut().expect(CONTIGUOUS));
    }
}

/// Fills `plane` with the code values of `component`.
fn copy_component<T: Sample>(component: &ArrayView2<'_, T>, plane: &mut Array2<f32>) {
    resize(plane, component.dim());
    for (from, mut to) in component.rows().into_iter().zip(plane.rows_mut()) {
        convert_row(from, to.as_slice_mut().expect(CONTIGUOUS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Format, Plane};
    use crate::quality::{RunningMean, psnr};

    fn measures(comparison: &mut Comparison, value: u8) -> Measures {
        let (a, b) = ([100u8; 24], [value; 24]);
        let picture = |data| {
            Picture::new(
                Format::I420,
                4,
                4,
                &[Plane::new(data, 4), Plane::new(&data[16..], 2), Plane::new(&data[20..], 2)],
            )
            .unwrap()
        };
        comparison.measure(&picture(&a), &picture(&b)).unwrap()
    }

    #[test]
    fn means_cover_the_frames_that_have_a_value() {
        let mut comparison = Comparison::new(1).unwrap();
        let mut running = RunningMean::default();
        assert_eq!(running.mean(), None);
        for value in [102, 104] {
            running.add(&measures(&mut comparison, value));
        }
        let mean = running.mean().unwrap();
        assert_eq!(mean.mse, [Some(10.0); 3]);
        assert_eq!((mean.mse_total, mean.ssim, mean.iou), (10.0, None, None));
        // Only the second frame has a previous one.
        assert_eq!(mean.flicker, Some(2.0));
        assert_eq!(mean.histogram_earth_movers, 3.0);
        assert!(mean.named().contains(&("psnr", psnr(10.0))));
    }

    #[test]
    fn only_different_sizes_are_rejected() {
        let mut comparison = Comparison::new(1).unwrap();
        let data = [120u8; 48];
        let grey = Picture::new(Format::GRAY8, 4, 4, &[Plane::new(&data, 4)]).unwrap();
        let other = Picture::new(Format::GRAY8, 4, 3, &[Plane::new(&data, 4)]).unwrap();
        assert!(matches!(comparison.measure(&grey, &other), Err(Error::Size { .. })));
        let rgb = Picture::new(Format::RGB, 4, 4, &[Plane::new(&data, 12)]).unwrap();
        let measures = comparison.measure(&grey, &rgb).unwrap();
        assert!(measures.mse[0].is_some() && measures.mse[1].is_none());
    }
}
