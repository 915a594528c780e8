// SPDX-License-Identifier: MIT OR Apache-2.0

//! Quality measures against scikit-image and OpenCV.

use cnnvideo::quality::{Gradient, Histogram, gradient_difference, ms_ssim, mse, psnr, ssim};
use ndarray::Array2;

fn grey(name: &str) -> Array2<f32> {
    let file = format!("{}/tests/data/quality-{name}.png", env!("CARGO_MANIFEST_DIR"));
    let picture = image::open(file).unwrap().into_luma8();
    let (width, height) = picture.dimensions();
    Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        f32::from(picture.get_pixel(x as u32, y as u32).0[0])
    })
}

#[test]
fn measures_match_scikit_image_and_opencv() {
    let numbers: serde_json::Value =
        serde_json::from_str(include_str!("../../data/quality.json")).unwrap();
    let clean = grey("clean");
    for name in ["noise", "blur", "dark"] {
        let changed = grey(name);
        let expected = |what: &str| numbers[name][what].as_f64().unwrap();
        let error = mse(&clean.view(), &changed.view());
        assert!((error - expected("mse")).abs() < 1e-3, "{name}: {error}");
        assert!((psnr(error) - expected("psnr")).abs() < 1e-3, "{name}: {}", psnr(error));
        // Both implementations average over positions where the window fits into the image.
        let found = ssim(&clean.view(), &changed.view()).unwrap();
        assert!(
            (found - expected("ssim")).abs() < 2e-4,
            "{name}: {found}, not {}",
            expected("ssim")
        );
        let coarse = ms_ssim(&clean.view(), &changed.view()).unwrap();
        assert!((0.0..1.0).contains(&coarse), "{name}: {coarse}");

        let (a, b) = (clean.view(), changed.view());
        for (what, kind) in [("sobel", Gradient::Sobel), ("laplacian", Gradient::Laplacian)] {
            let found = gradient_difference(&a, &b, kind);
            assert!(
                (found - expected(what)).abs() < 1e-3,
                "{name}: {what} {found}, not {}",
                expected(what)
            );
        }
        let (a, b) = (Histogram::from_plane(&a), Histogram::from_plane(&b));
        assert!(
            (a.chi_square_distance(&b) - expected("chi-square")).abs() < 1e-5,
            "{name}: {}",
            a.chi_square_distance(&b)
        );
        assert!(
            (a.earth_movers_distance(&b) - expected("earth-movers")).abs() < 1e-3,
            "{name}: {}",
            a.earth_movers_distance(&b)
        );
    }
}
