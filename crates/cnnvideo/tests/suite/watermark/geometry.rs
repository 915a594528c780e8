// SPDX-License-Identifier: MIT OR Apache-2.0

//! Changes of the geometry: size, cropping, rotation, stretching, mirroring.

use cnnvideo::watermark::{Decoder, DecoderOptions, Report, Search};
use ndarray::{Array2, s};

use super::{HEIGHT, PAYLOAD, WIDTH, detect, detect_with, key, marked, window_of};

/// Returns the centre of an image at a size of `(width, height)`, enlarged by `scale` and rotated
/// clockwise by `degrees`.
fn transformed(
    picture: &Array2<u8>,
    (width, height): (usize, usize),
    scale: f32,
    degrees: f32,
) -> Array2<u8> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (rows, columns) = picture.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        let (x, y) = (x as f32 - width as f32 / 2.0, y as f32 - height as f32 / 2.0);
        let u = (x * cos + y * sin) / scale + columns as f32 / 2.0;
        let v = (y * cos - x * sin) / scale + rows as f32 / 2.0;
        if u < 0.0 || v < 0.0 || u >= columns as f32 - 1.0 || v >= rows as f32 - 1.0 {
            return 0;
        }
        let at = |dx: usize, dy: usize| f32::from(picture[[v as usize + dy, u as usize + dx]]);
        let (tx, ty) = (u.fract(), v.fract());
        let between = |dy| at(0, dy) + tx * (at(1, dy) - at(0, dy));
        (between(0) + ty * (between(1) - between(0))).round() as u8
    })
}

#[test]
fn mirrored_and_turned_pictures_are_decoded() {
    let across = |picture: &Array2<u8>| picture.slice(s![.., ..;-1]).to_owned();
    let down = |picture: &Array2<u8>| picture.slice(s![..;-1, ..]).to_owned();
    let transpose = |picture: &Array2<u8>| picture.t().to_owned();
    type Change<'a> = &'a dyn Fn(&Array2<u8>) -> Array2<u8>;
    let changes: [(&str, Change<'_>); 7] = [
        ("horiz", &across),
        ("vert", &down),
        ("180", &|picture| across(&down(picture))),
        ("90r", &|picture| across(&transpose(picture))),
        ("90l", &|picture| down(&transpose(picture))),
        ("ul-lr", &transpose),
        ("ur-ll", &|picture| across(&down(&transpose(picture)))),
    ];
    let pictures = marked(4);
    for (name, change) in changes {
        let changed: Vec<_> = pictures.iter().map(change).collect();
        // Smaller as well.
        let (height, width) = changed[0].dim();
        let size = (width * 4 / 5, height * 4 / 5);
        let reduced: Vec<_> = changed.iter().map(|p| transformed(p, size, 0.8, 0.0)).collect();
        for pictures in [&changed, &reduced] {
            let report = detect(pictures, key(1), Search::Full);
            assert_eq!(report.payload, Some(PAYLOAD), "{name}: {report:?}");
            assert_eq!(report.orientation.name(), name);
            assert!((report.scale - 1.0).abs() < 0.01);
        }
        let upright_only =
            DecoderOptions { epoch_count: 2, orientations: false, ..Default::default() };
        assert_eq!(detect_with(&changed, key(1), Search::Full, upright_only).payload, None);
        assert_eq!(detect(&changed, key(1), Search::Scale).payload, None);
    }
}

#[test]
fn the_orientation_is_tried_first_in_the_next_window() {
    let mut decoder = Decoder::new(key(1), DecoderOptions::default());
    let pictures = marked(4);
    let turned: Vec<_> = pictures.iter().map(|p| p.slice(s![..;-1, ..;-1]).to_owned()).collect();
    let window = |is_turned| window_of(if is_turned { &turned } else { &pictures });
    for turned in [true, true, false] {
        let report = decoder.decode(&window(turned), Search::Full);
        assert_eq!(report.payload, Some(PAYLOAD));
        assert_eq!(report.orientation.name(), if turned { "180" } else { "identity" });
    }
    // The search of whole pictures includes the orientation found last.
    decoder.decode(&window(true), Search::Full);
    assert_eq!(decoder.decode(&window(true), Search::WholeFrame).payload, Some(PAYLOAD));
}

#[test]
fn full_search_finds_crop_scale_and_rotation() {
    let pictures = marked(24);
    // Size of the visible part, scale and rotation.
    let cases = [
        ((680, 384), 1.0, 0.0),
        ((960, 540), 1.3, 3.0),
        ((1280, 960), 1.0, -5.0),
        ((960, 540), 0.8, 9.0),
    ];
    for ((width, height), scale, degrees) in cases {
        let received: Vec<_> =
            pictures.iter().map(|p| transformed(p, (width, height), scale, degrees)).collect();
        let report = detect(&received, key(1), Search::Full);
        assert_eq!(report.payload, Some(PAYLOAD), "{width}x{height} {scale} {degrees}: {report:?}");
        let expected =
            f64::from(scale) * ((WIDTH * HEIGHT) as f64 / (width * height) as f64).sqrt();
        assert!((report.scale / expected - 1.0).abs() < 0.005, "{report:?}, not {expected}");
        assert!((report.angle - f64::from(degrees)).abs() < 0.2, "{report:?}, not {degrees}");
    }
}

#[test]
fn scaled_pictures_decode_without_search() {
    for scale in [0.4, 0.77, 1.5] {
        let size = ((WIDTH as f32 * scale) as usize, (HEIGHT as f32 * scale) as usize);
        let received: Vec<_> =
            marked(12).iter().map(|p| transformed(p, size, scale, 0.0)).collect();
        let report = detect(&received, key(1), Search::WholeFrame);
        assert_eq!(report.payload, Some(PAYLOAD), "{scale}: {report:?}");
    }
}

/// Mirrors a picture across.
fn mirrored(picture: &Array2<u8>) -> Array2<u8> {
    picture.slice(s![.., ..;-1]).to_owned()
}

/// Stretches a picture across by `stretch`.
fn stretched(picture: &Array2<u8>, stretch: f32) -> Array2<u8> {
    let (height, width) = picture.dim();
    Array2::from_shape_fn((height, (width as f32 * stretch) as usize), |(y, x)| {
        let at = (x as f32 + 0.5) / stretch - 0.5;
        let left = at.max(0.0) as usize;
        let [a, b] = [left, (left + 1).min(width - 1)].map(|x| f32::from(picture[[y, x]]));
        (a + (at - left as f32) * (b - a)).round() as u8
    })
}

fn detect_all(pictures: &[Array2<u8>], change: impl Fn(&Array2<u8>) -> Array2<u8>) -> Report {
    let received: Vec<_> = pictures.iter().map(change).collect();
    detect(&received, key(1), Search::Full)
}

#[test]
fn full_search_finds_any_rotation() {
    let pictures = marked(24);
    for degrees in [24.0, -45.0, 100.0, -170.0] {
        let report = detect_all(&pictures, |p| transformed(p, (WIDTH, HEIGHT), 1.0, degrees));
        assert_eq!(report.payload, Some(PAYLOAD), "{degrees}: {report:?}");
        let turns = match report.orientation.name() {
            "identity" => 0.0,
            "90r" => 90.0,
            "180" => 180.0,
            "90l" => -90.0,
            other => panic!("{other}"),
        };
        let error = (turns + report.angle - f64::from(degrees)).rem_euclid(360.0);
        assert!(error.min(360.0 - error) < 0.2, "{degrees}: {report:?}");
    }
}

#[test]
fn full_search_finds_stretched_pictures() {
    let pictures = marked(24);
    for stretch in [0.75, 1.33] {
        let report = detect_all(&pictures, |p| stretched(p, stretch));
        assert_eq!(report.payload, Some(PAYLOAD), "{stretch}: {report:?}");
        assert!(report.orientation.is_upright());
        let report = detect_all(&pictures, |p| mirrored(&stretched(p, stretch)));
        assert_eq!(report.payload, Some(PAYLOAD), "mirrored, {stretch}: {report:?}");
        assert_eq!(report.orientation.name(), "horiz");
    }
}

#[test]
fn full_search_finds_mirrored_and_turned_parts() {
    let pictures = marked(24);
    let part = |p: &Array2<u8>| transformed(p, (720, 400), 1.1, 4.0);
    let report = detect_all(&pictures, |p| mirrored(&part(p)));
    assert_eq!(report.payload, Some(PAYLOAD), "{report:?}");
    assert_eq!(report.orientation.name(), "horiz");
    // A clockwise rotation before mirroring is one of the upright picture.
    assert!((report.angle - 4.0).abs() < 0.3, "{report:?}");
    let report = detect_all(&pictures, |p| mirrored(&part(p).t().to_owned()));
    assert_eq!(report.payload, Some(PAYLOAD), "{report:?}");
    assert_eq!(report.orientation.name(), "90r");
    let upright_only = DecoderOptions { orientations: false, ..Default::default() };
    let received: Vec<_> = pictures.iter().map(|p| mirrored(&part(p))).collect();
    assert_eq!(detect_with(&received, key(1), Search::Full, upright_only).payload, None);
}
