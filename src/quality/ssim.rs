use ndarray::{Array2, ArrayView2};

/// Taps of the window to each side of the middle, and its standard deviation.
const REACH: usize = 5;
const SIGMA: f64 = 1.5;
const K1: f64 = 0.01;
const K2: f64 = 0.03;
const RANGE: f64 = 255.0;

/// Mean structural similarity of two planes of values from 0 to 255, 1 for equal ones; `None` where they differ in size or
/// are smaller than the window of 11x11.
///
/// Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE Transactions on Image
/// Processing 13(4), 2004: Gaussian window of standard deviation 1.5, where it fits wholly.
pub fn ssim(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> Option<f64> {
    let size = 2 * REACH + 1;
    if a.dim() != b.dim() || a.nrows() < size || a.ncols() < size {
        return None;
    }
    let (a, b) = (a.mapv(f64::from), b.mapv(f64::from));
    let [mean_a, mean_b] = [window(&a), window(&b)];
    let [square_a, square_b, product] = [window(&(&a * &a)), window(&(&b * &b)), window(&(&a * &b))];
    let (c1, c2) = ((K1 * RANGE).powi(2), (K2 * RANGE).powi(2));
    let mut sum = 0.0;
    for (i, mean_a) in mean_a.indexed_iter() {
        let mean_b = mean_b[i];
        let (variance_a, variance_b) = (square_a[i] - mean_a * mean_a, square_b[i] - mean_b * mean_b);
        let covariance = product[i] - mean_a * mean_b;
        sum += (2.0 * mean_a * mean_b + c1) * (2.0 * covariance + c2)
            / ((mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2));
    }
    Some(sum / mean_a.len() as f64)
}

/// Gaussian mean where the window fits.
fn window(plane: &Array2<f64>) -> Array2<f64> {
    let mut taps: [f64; 2 * REACH + 1] =
        std::array::from_fn(|i| (-0.5 * ((i as f64 - REACH as f64) / SIGMA).powi(2)).exp());
    let sum: f64 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap /= sum);
    let (height, width) = plane.dim();
    let mut across = Array2::zeros((height, width - 2 * REACH));
    for (tap, x) in taps.iter().zip(0..) {
        across.scaled_add(*tap, &plane.slice(ndarray::s![.., x..x + width - 2 * REACH]));
    }
    let mut both = Array2::zeros((height - 2 * REACH, width - 2 * REACH));
    for (tap, y) in taps.iter().zip(0..) {
        both.scaled_add(*tap, &across.slice(ndarray::s![y..y + height - 2 * REACH, ..]));
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_planes_give_1_and_flat_ones_what_the_formula_says() {
        let plane = Array2::from_shape_fn((20, 30), |(y, x)| ((x * 7 + y * 13) % 256) as f32);
        assert!((ssim(&plane.view(), &plane.view()).unwrap() - 1.0).abs() < 1e-12);
        // Without variance only the means count.
        let (a, b) = (Array2::from_elem((11, 11), 100.0f32), Array2::from_elem((11, 11), 120.0f32));
        let c1 = (0.01f64 * 255.0).powi(2);
        let by_hand = (2.0 * 100.0 * 120.0 + c1) / (100.0f64.powi(2) + 120.0f64.powi(2) + c1);
        assert!((ssim(&a.view(), &b.view()).unwrap() - by_hand).abs() < 1e-9);
        assert_eq!(ssim(&a.view(), &plane.view()), None);
        assert_eq!(ssim(&plane.slice(ndarray::s![..10, ..]), &plane.slice(ndarray::s![..10, ..])), None);
    }
}
