// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mean square error and peak signal-to-noise ratio.

use ndarray::{ArrayView2, Zip};

/// Returns the mean square error of two planes; NaN if they are empty or differ in size.
pub fn mse(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> f64 {
    if a.dim() != b.dim() || a.is_empty() {
        return f64::NAN;
    }
    let rows = Zip::from(a.rows()).and(b.rows());
    let sum = rows.fold(0.0, |sum, a, b| {
        let row = Zip::from(a).and(b).fold(0.0f32, |sum, a, b| sum + (a - b) * (a - b));
        sum + f64::from(row)
    });
    sum / a.len() as f64
}

/// Returns the peak signal-to-noise ratio in dB for a mean square error of 8-bit code values (peak
/// 255); infinite for an error of 0.
pub fn psnr(mse: f64) -> f64 {
    10.0 * (255.0 * 255.0 / mse).log10()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn mse_and_psnr_match_the_formula() {
        let a = Array2::from_elem((3, 4), 10.0f32);
        let mut b = a.clone();
        assert_eq!(psnr(mse(&a.view(), &b.view())), f64::INFINITY);
        b[[1, 2]] = 16.0;
        assert!((mse(&a.view(), &b.view()) - 3.0).abs() < 1e-9);
        assert!((psnr(3.0) - 43.3596).abs() < 1e-3);
        assert!(mse(&a.view(), &Array2::zeros((4, 3)).view()).is_nan());
    }
}
