// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each scene at a reduced size, on crops of photographs.

use super::*;

const DENOISER: Denoiser = Denoiser { settings: "" };

/// Returns crops of two photographs.
fn photographs() -> [RgbImage; 2] {
    init().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    ["coffee.jpg", "astronaut.jpg"]
        .map(|name| crop_imm(&load(&folder.join(name)).unwrap(), 100, 60, 160, 96).to_image())
}

#[test]
fn still_scenes_become_cleaner_with_time() {
    let results = still::measure(&photographs(), DENOISER, [2, 6, 12]).unwrap();
    assert_eq!(results.len(), 3);
    for (name, rows) in results {
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert!(row.mean.is_sorted() && row.single.is_finite(), "{name}: {row:?}");
            assert!(row.denoised[2] > row.noisy + 1.0, "{name}: {row:?}");
        }
    }
}

#[test]
fn correlated_noise_is_removed() {
    for blur in [0.0, 0.7] {
        for row in correlated::measure(&photographs(), DENOISER, 14.0, blur).unwrap() {
            // Noise of the same sigma in R, G and B has a sigma of 12 in luma.
            assert!((row.noisy - 26.5).abs() < 1.0, "{blur}: {row:?}");
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
fn drifting_scenes_gain_from_fusion() {
    for [noisy, single, fused] in drift::measure(&photographs(), DENOISER, 10.0, 0.1, 12).unwrap() {
        assert!(noisy + 1.0 < single && single + 1.0 < fused, "{noisy}, {single}, {fused}");
    }
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
