// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of temporal fusion on synthetic scenes.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// A hash of a lattice point as a pseudo-random value from 0 to 1.
fn random(x: i32, y: i32) -> f32 {
    let hash = (x as u32).wrapping_mul(0x9e37_79b9) ^ (y as u32).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    ((hash ^ (hash >> 13)) & 0xffff) as f32 / 65536.0
}

/// A smooth, non-repeating texture, shifted by `(x, y)`, with noise of sigma `sigma`.
fn scene(width: usize, height: usize, (x, y): (f32, f32), sigma: f32, seed: u64) -> Array2<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    Array2::from_shape_fn((height, width), |(row, column)| {
        let (x, y) = ((column as f32 + x) / 9.0, (row as f32 + y) / 9.0);
        let (i, j) = (x.floor(), y.floor());
        let (u, v) = (ease(x - i), ease(y - j));
        let (i, j) = (i as i32, j as i32);
        let line = |j: i32| (1.0 - u) * random(i, j) + u * random(i + 1, j);
        let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
        28.0 + 200.0 * ((1.0 - v) * line(j) + v * line(j + 1)) + sigma * noise
    })
}

/// Fuses pictures in sequence. Returns the last fused picture and the mean of its remaining
/// variance.
fn fuse_all(
    fusion: &mut TemporalFusion,
    pictures: &[Array2<f32>],
    sigma: f32,
) -> (Array2<f32>, f32) {
    let threads = Threads::new(2).unwrap();
    let main = NoiseModel::uniform(sigma);
    let noise = NoiseModels { main, chroma: main };
    let mut last = None;
    for plane in pictures {
        let picture = Picture { colour: Colour::Gray, components: vec![plane.view()] };
        let fused = fusion.fuse(&picture, &noise, &threads);
        last = Some((
            fused.picture.components[0].mapv(FixedSample::code_value),
            fused.variance.mean().unwrap(),
        ));
    }
    last.unwrap()
}

/// Root mean square difference without a border of 32 pixels, where previous pictures have no
/// matching content.
fn rms_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    let (height, width) = a.dim();
    let inner = ndarray::s![32..height - 32, 32..width - 32];
    (&a.slice(inner) - &b.slice(inner)).mapv(|d| d * d).mean().unwrap().sqrt()
}

#[test]
fn remaining_noise_matches_variance() {
    let sigma = 20.0;
    for velocity in [(0.0, 0.0), (4.0, -2.0), (11.0, 5.0), (0.5, 1.25)] {
        let at = |frame: u64| (velocity.0 * frame as f32, velocity.1 * frame as f32);
        let pictures: Vec<_> = (0..10).map(|i| scene(256, 192, at(i), sigma, i)).collect();
        let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
        let remaining = rms_difference(&fused, &scene(256, 192, at(9), 0.0, 0)) / sigma;
        assert!(
            remaining < 0.62 && variance < 0.4,
            "{velocity:?}: {remaining} of the noise, variance {variance}"
        );
        // Motion errors add to the remaining noise, but not much.
        assert!(
            remaining * remaining < variance + 0.1,
            "{velocity:?}: {remaining} squared, variance {variance}"
        );
    }
}

#[test]
fn still_scene_is_averaged_like_a_plain_mean() {
    let sigma = 15.0;
    let clean = scene(256, 192, (0.0, 0.0), 0.0, 0);
    // White noise, and noise whose neighbours are correlated and whose sigma is underestimated.
    for (correlated, assumed) in [(false, sigma), (true, 0.6 * sigma)] {
        let pictures: Vec<_> = (0..30)
            .map(|i| {
                let noise =
                    scene(258, 194, (0.0, 0.0), sigma, i) - scene(258, 194, (0.0, 0.0), 0.0, 0);
                let mean = |y: usize, x: usize| {
                    let square = noise.slice(ndarray::s![y..y + 2, x..x + 2]);
                    if correlated { 2.0 * square.mean().unwrap() } else { noise[[y, x]] }
                };
                Array2::from_shape_fn(clean.dim(), |(y, x)| clean[[y, x]] + mean(y, x))
            })
            .collect();
        let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, assumed);
        let remaining = (rms_difference(&fused, &clean) / sigma).powi(2);
        assert!(
            remaining < 1.3 / 30.0 && variance < 1.5 / 30.0,
            "correlated {correlated}: {remaining} of the noise variance, assumed {variance}"
        );
    }
}

#[test]
fn motion_in_a_still_scene_leaves_no_trail() {
    let sigma = 10.0;
    let object = scene(40, 40, (900.0, 40.0), 0.0, 0).mapv(|v| 255.0 - v);
    let at = |frame: usize| {
        let mut picture = scene(256, 192, (0.0, 0.0), sigma, frame as u64);
        let clean = scene(256, 192, (0.0, 0.0), 0.0, 0);
        let mut truth = clean;
        if frame >= 24 {
            let x = 40 + 3 * (frame - 24);
            let place = ndarray::s![70..110, x..x + 40];
            let noise = &picture.slice(place) - &truth.slice(place);
            truth.slice_mut(place).assign(&object);
            picture.slice_mut(place).assign(&(&object + &noise));
        }
        (picture, truth)
    };
    let frames: Vec<_> = (0..34).map(at).collect();
    let pictures: Vec<_> = frames.iter().map(|(picture, _)| picture.clone()).collect();
    let (fused, _) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
    // What the object has covered and uncovered again.
    let trail = ndarray::s![70..110, 40..64];
    let error = &fused.slice(trail) - &frames[33].1.slice(trail);
    let error = error.mapv(|d| d * d).mean().unwrap().sqrt();
    assert!(error < 0.95 * sigma, "{error}");
}

#[test]
fn scene_cut_is_not_fused() {
    let sigma = 15.0;
    let mut pictures: Vec<_> = (0..6).map(|i| scene(256, 192, (0.0, 0.0), sigma, i)).collect();
    pictures.push(scene(256, 192, (5000.0, 3000.0), sigma, 7));
    let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
    assert!(
        rms_difference(&fused, &pictures[6]) < 0.02 * sigma && variance > 0.98,
        "variance {variance}"
    );
}

#[test]
fn appearing_object_leaves_no_ghost() {
    let sigma = 10.0;
    let mut pictures: Vec<_> = (0..8).map(|i| scene(256, 192, (0.0, 0.0), sigma, i)).collect();
    let object = ndarray::s![80..112, 100..140];
    pictures[7].slice_mut(object).mapv_inplace(|v| 255.0 - v);
    let (fused, _) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
    let ghost =
        (&fused.slice(object) - &pictures[7].slice(object)).mapv(|d| d * d).mean().unwrap().sqrt();
    assert!(ghost < 0.7 * sigma, "{ghost}");
}

#[test]
fn first_picture_is_unchanged() {
    let mut fusion = TemporalFusion::default();
    let scene = |width, height, seed| {
        scene(width, height, (0.0, 0.0), 9.0, seed)
            .mapv(|v| FixedSample::from_code_value(v).code_value())
    };
    let pictures = [scene(64, 48, 1), scene(64, 48, 2)];
    assert_eq!(fuse_all(&mut fusion, &pictures[..1], 9.0), (pictures[0].clone(), 1.0));
    fusion.reset();
    assert_eq!(fuse_all(&mut fusion, &pictures[1..], 9.0), (pictures[1].clone(), 1.0));
    // A change of size resets the state.
    let other = scene(33, 7, 3);
    assert_eq!(fuse_all(&mut fusion, std::slice::from_ref(&other), 9.0).0, other);
}

#[test]
fn small_and_odd_sizes_are_fused() {
    for (width, height) in [(1, 1), (2, 3), (17, 5), (16, 16), (33, 65)] {
        let pictures: Vec<_> =
            (0..3).map(|i| scene(width, height, (i as f32, 0.0), 5.0, i)).collect();
        let (fused, _) = fuse_all(&mut TemporalFusion::default(), &pictures, 5.0);
        assert!(fused.dim() == (height, width) && fused.iter().all(|v| v.is_finite()));
    }
}

#[test]
fn flat_areas_of_a_still_scene_are_averaged() {
    for sigma in [1.0, 2.5, 6.0] {
        let clean = Array2::from_shape_fn((160, 256), |(_, x)| 60.0 + x as f32 / 32.0);
        let pictures: Vec<_> = (0..12)
            .map(|i| {
                let mut rng = StdRng::seed_from_u64(i);
                clean.mapv(|value| {
                    let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
                    (value + sigma * noise).round()
                })
            })
            .collect();
        // The noise may be underestimated.
        for assumed in [sigma, 0.65 * sigma] {
            let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, assumed);
            let remaining = (rms_difference(&fused, &clean) / sigma).powi(2);
            assert!(
                remaining < 1.5 / 12.0 && variance < 1.5 / 12.0,
                "{sigma}, {assumed}: {remaining} of the noise variance, assumed {variance}"
            );
        }
    }
}

#[test]
fn smooth_content_that_moves_slowly_is_not_averaged_away() {
    let sigma = 20.0;
    for speed in [0.25f32, 0.5, 1.0, 2.0, 5.0] {
        let clean = |frame: usize| {
            Array2::from_shape_fn((160, 256), |(y, x)| {
                let (x, y) = (x as f32 + speed * frame as f32, y as f32);
                120.0
                    + 40.0 * (x * 0.21).sin() * (y * 0.17).cos()
                    + 25.0 * (x * 0.043 + y * 0.11).sin()
            })
        };
        let pictures: Vec<_> = (0..14)
            .map(|i| {
                let mut rng = StdRng::seed_from_u64(i as u64);
                clean(i).mapv(|value| {
                    let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
                    value + sigma * noise
                })
            })
            .collect();
        let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
        let remaining = (rms_difference(&fused, &clean(13)) / sigma).powi(2);
        assert!(
            remaining < variance + 0.1 && remaining < 0.4,
            "{speed} pixels a frame: {remaining} of the noise variance, assumed {variance}"
        );
    }
}

#[test]
fn slow_drift_does_not_blur() {
    let sigma = 5.0;
    for speed in [0.02f32, 0.05, 0.1, 0.3] {
        let at = |frame: usize| (speed * frame as f32, -0.5 * speed * frame as f32);
        let pictures: Vec<_> = (0..40).map(|i| scene(256, 192, at(i), sigma, i as u64)).collect();
        let (fused, variance) = fuse_all(&mut TemporalFusion::default(), &pictures, sigma);
        let remaining = (rms_difference(&fused, &scene(256, 192, at(39), 0.0, 0)) / sigma).powi(2);
        assert!(remaining < 0.12, "{speed} pixels a frame: {remaining}, assumed {variance}");
    }
}
