// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each scene at a reduced size, on generated photographs.

use super::*;

const DENOISER: Denoiser = Denoiser { settings: "" };

/// Returns two different smooth images.
fn photographs() -> [RgbImage; 2] {
    init().unwrap();
    [3.0, 5.0].map(|periods| {
        RgbImage::from_fn(160, 96, |x, y| {
            let wave = |v: u32| (v as f32 * periods * std::f32::consts::TAU / 160.0).sin();
            image::Rgb([100.0 + 40.0 * wave(x), 120.0 + 30.0 * wave(y), 128.0].map(|v| v as u8))
        })
    })
}

#[test]
fn still_scenes_become_cleaner_with_time() {
    let results = still::measure(&photographs(), DENOISER, [2, 6, 12]).unwrap();
    assert_eq!(results.len(), 3);
    for (name, rows) in results {
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert!(row.single > row.noisy && row.mean[1] > row.mean[0], "{name}: {row:?}");
            assert!(row.denoised[2] > row.denoised[0], "{name}: {row:?}");
        }
    }
}

#[test]
fn correlated_noise_is_removed() {
    for blur in [0.0, 0.7] {
        for row in correlated::measure(&photographs(), DENOISER, 14.0, blur).unwrap() {
            // Noise of the same sigma in R, G and B has a sigma of 12 in luma.
            assert!((row.noisy - 26.5).abs() < 0.5, "{blur}: {row:?}");
            assert!(row.automatic > row.noisy + 3.0 && row.given > row.noisy + 3.0, "{row:?}");
        }
    }
}

#[test]
fn weak_noise_becomes_weaker() {
    init().unwrap();
    let row = weak::measure(DENOISER, (160, 96), 4.0).unwrap();
    assert!((row.noisy - 4.0).abs() < 0.1 && row.rounded < 0.3, "{row:?}");
    assert!(row.denoised < 0.5 * row.noisy && row.single < row.noisy, "{row:?}");
}

#[test]
fn uncovered_areas_have_a_gain_for_each_frame() {
    let photographs = photographs();
    let rows = uncover::measure(&photographs, DENOISER, 1.4, 20).unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().flatten().all(|gain| gain.is_finite()), "{rows:?}");
    assert!(uncover::measure(&photographs[..1], DENOISER, 1.4, 20).is_err());
}

#[test]
fn wrong_properties_are_an_error() {
    init().unwrap();
    let denoiser = Denoiser { settings: "no-such-property=1" };
    let error = weak::measure(denoiser, (64, 64), 2.0).unwrap_err();
    assert!(error.to_string().contains("no-such-property"), "{error}");
}
