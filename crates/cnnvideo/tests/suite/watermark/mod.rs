// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the watermark library: the payload is decoded after changes of the geometry, and in the
//! face of attacks; nothing is decoded without it.

#[path = "../../../../../tests/common/temporary.rs"]
mod temporary;

mod geometry;
mod security;

use std::path::Path;

use cnnvideo::{
    frame::{Format, Picture, PictureMut, Plane, PlaneMut},
    watermark::{
        Collector, Decoder, DecoderOptions, Embedder, Key, KeyError, Payload, Report, Search,
        Strength, Window,
    },
};
use ndarray::Array2;
use temporary::Temporary;

const WIDTH: usize = 960;
const HEIGHT: usize = 540;
const PAYLOAD: Payload = Payload(0x0123_4567_89ab_cdef);
const STRENGTH: Strength = Strength { target_psnr: 45.0, texture_aware: true };

fn key(seed: u8) -> Key {
    Key::new([seed; 32])
}

/// Returns luma of an enlarged part of a photograph, which moves with the frame `number`.
fn photograph(number: usize) -> Array2<u8> {
    photograph_of("coffee", number)
}

/// Returns a frame of one of the photographs.
fn photograph_of(name: &str, number: usize) -> Array2<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let photo = image::open(folder.join(name).with_extension("jpg")).unwrap().into_luma8();
    let (width, height) = (photo.width() as f32, photo.height() as f32);
    let scale = ((width - 40.0) / WIDTH as f32).min((height - 1.0) / HEIGHT as f32);
    Array2::from_shape_fn((HEIGHT, WIDTH), |(y, x)| {
        let (x, y) = ((x as f32 + 1.7 * number as f32) * scale, y as f32 * scale);
        let at = |dx: f32, dy: f32| {
            f32::from(
                photo
                    .get_pixel((x + dx).min(width - 1.0) as u32, (y + dy).min(height - 1.0) as u32)
                    .0[0],
            )
        };
        let (tx, ty) = (x.fract(), y.fract());
        let between = |dy| at(0.0, dy) + tx * (at(1.0, dy) - at(0.0, dy));
        (between(0.0) + ty * (between(1.0) - between(0.0))).round() as u8
    })
}

/// Embeds the watermark in an image.
fn mark(embedder: &mut Embedder, picture: &mut Array2<u8>, strength: &Strength) -> Option<Payload> {
    let (height, width) = picture.dim();
    let plane = PlaneMut::new(picture.as_slice_mut().unwrap(), width);
    let mut view = PictureMut::new(Format::GRAY8, width, height, [plane]).unwrap();
    embedder.process(&mut view, strength)
}

/// Returns `count` marked frames.
fn marked(count: usize) -> Vec<Array2<u8>> {
    let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap();
    (0..count)
        .map(|number| {
            let mut picture = photograph(number);
            mark(&mut embedder, &mut picture, &STRENGTH);
            picture
        })
        .collect()
}

/// Runs the detector on frames.
fn detect(pictures: &[Array2<u8>], key: Key, search: Search) -> Report {
    detect_with(pictures, key, search, DecoderOptions { epoch_count: 2, ..Default::default() })
}

/// Decodes pictures with the given options.
fn detect_with(
    pictures: &[Array2<u8>],
    key: Key,
    search: Search,
    options: DecoderOptions,
) -> Report {
    Decoder::new(key, options).decode(&window_of(pictures), search)
}

/// Returns the window of some pictures.
fn window_of(pictures: &[Array2<u8>]) -> Window {
    let mut collector = Collector::new(48);
    for picture in pictures {
        let (height, width) = picture.dim();
        let data = picture.as_standard_layout();
        let plane = Plane::new(data.as_slice().unwrap(), width);
        collector.push(&Picture::new(Format::GRAY8, width, height, &[plane]).unwrap());
    }
    collector.window()
}

fn psnr(a: &Array2<u8>, b: &Array2<u8>) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum).log10()
}

#[test]
fn a_single_image_carries_the_payload_at_the_target_psnr() {
    let pictures = marked(1);
    assert!(
        (psnr(&photograph(0), &pictures[0]) - 45.0).abs() < 0.5,
        "{}",
        psnr(&photograph(0), &pictures[0])
    );
    let report = detect(&pictures, key(1), Search::WholeFrame);
    assert_eq!(report.payload, Some(PAYLOAD), "{report:?}");
    assert!(report.log10_p < -9.0 && report.z > 12.0 && report.frames == 1);
}

#[test]
fn no_payload_without_mark_or_with_another_key() {
    let plain: Vec<_> = (0..8).map(photograph).collect();
    let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap();
    let black: Vec<_> = (0..8).map(|_| Array2::zeros((HEIGHT, WIDTH))).collect();
    for search in [Search::WholeFrame, Search::Full] {
        for pictures in [&plain, &black] {
            let report = detect(pictures, key(1), search);
            assert!(report.payload.is_none() && report.log10_p > -6.0, "{report:?}");
        }
        assert_eq!(detect(&marked(8), key(2), search).payload, None);
    }
    // A flat grey frame carries a weaker mark, but the detector decodes it.
    let mut grey = Array2::from_elem((HEIGHT, WIDTH), 128);
    mark(&mut embedder, &mut grey, &STRENGTH);
    assert!(psnr(&grey, &Array2::from_elem((HEIGHT, WIDTH), 128)) > 46.0);
    assert_eq!(detect(&[grey], key(1), Search::WholeFrame).payload, Some(PAYLOAD));
}

#[test]
fn a_report_without_payload_counts_all_attempts() {
    // No evidence is within this rate, so the decoder tries everything after the right attempt.
    let pictures = marked(4);
    let options =
        DecoderOptions { false_positive_rate: 1e-300, epoch_count: 1, ..DecoderOptions::default() };
    let missed = detect_with(&pictures, key(1), Search::WholeFrame, options);
    let found = detect(&pictures, key(1), Search::WholeFrame);
    assert_eq!((missed.payload, found.payload), (None, Some(PAYLOAD)));
    assert!(missed.z >= found.z && missed.z < found.z + 0.2, "{missed:?} {found:?}");
    assert!(missed.log10_p > found.log10_p + 0.1, "{missed:?} {found:?}");
}

#[test]
fn payload_changes_at_the_next_hop() {
    let other = Payload(7);
    let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap();
    let mut changes = Vec::new();
    for number in 0..48 {
        if number == 10 {
            embedder.set_payload(other);
        }
        if let Some(payload) = mark(&mut embedder, &mut Array2::from_elem((64, 64), 128), &STRENGTH)
        {
            changes.push((number, payload));
        }
    }
    assert_eq!(changes, [(0, PAYLOAD), (24, other)]);
}

#[test]
fn key_epochs_are_distinguished() {
    let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap().with_epoch(1);
    let mut picture = photograph(0);
    mark(&mut embedder, &mut picture, &STRENGTH);
    let report = detect(&[picture], key(1), Search::WholeFrame);
    assert_eq!((report.payload, report.epoch), (Some(PAYLOAD), 1));
}

#[test]
fn texture_aware_mask_spares_flat_areas() {
    // The left half is flat, the right half textured.
    let picture = Array2::from_shape_fn((HEIGHT, WIDTH), |(y, x)| {
        let texture = 30.0 * ((x as f32 * 0.7).sin() * (y as f32 * 0.9).cos());
        if x < WIDTH / 2 { 120 } else { (120.0 + texture) as u8 }
    });
    let psnr_of_halves = |texture_aware| {
        let mut marked = picture.clone();
        let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap();
        mark(&mut embedder, &mut marked, &Strength { texture_aware, ..STRENGTH });
        assert!((psnr(&marked, &picture) - 45.0).abs() < 0.5);
        [0..WIDTH / 2 - 8, WIDTH / 2 + 8..WIDTH].map(|columns| {
            let part = ndarray::s![.., columns];
            psnr(&marked.slice(part).to_owned(), &picture.slice(part).to_owned())
        })
    };
    let (aware, uniform) = (psnr_of_halves(true), psnr_of_halves(false));
    assert!((uniform[0] - uniform[1]).abs() < 0.5, "{uniform:?}");
    assert!(aware[0] > uniform[0] + 4.0, "{aware:?} {uniform:?}");
}

#[test]
fn pictures_of_any_size_are_accepted() {
    let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap();
    for (width, height) in [(1, 1), (2, 1), (1, 200), (3, 5), (17, 33), (2000, 4)] {
        let mut picture = Array2::from_elem((height, width), 128);
        mark(&mut embedder, &mut picture, &STRENGTH);
        assert_eq!(detect(&[picture], key(1), Search::Full).payload, None, "{width}x{height}");
    }
    assert_eq!(
        Decoder::new(key(1), DecoderOptions::default())
            .decode(&Collector::new(1).window(), Search::Full)
            .payload,
        None
    );
}

#[test]
fn a_key_file_holds_bytes_or_hex_digits() {
    let file = Temporary::new("library.key");
    let read = |content: &[u8]| {
        std::fs::write(&file.0, content).unwrap();
        Key::from_file(&file.0)
    };
    let hex = "07".repeat(32);
    assert_eq!(read(&[7; 32]).unwrap(), key(7));
    assert_eq!(read(format!(" {hex}\n").as_bytes()).unwrap(), key(7));
    assert_eq!(read(format!("{hex}{}", " ".repeat(192)).as_bytes()).unwrap(), key(7));
    for zeros in [&[0; 32][..], "0".repeat(64).as_bytes()] {
        assert!(matches!(read(zeros), Err(KeyError::Zero)));
    }
    let long = format!("{hex}{}", " ".repeat(193));
    for wrong in [&b""[..], &[7; 31], &[7; 33], &[255; 64], long.as_bytes(), &vec![7; 1 << 20]] {
        assert!(matches!(read(wrong), Err(KeyError::Format)), "{} bytes", wrong.len());
    }
}

#[cfg(unix)]
#[test]
fn a_key_file_that_is_no_regular_file_is_refused_without_blocking() {
    let fifo = Temporary::new("library.fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    for (path, kind) in [
        (fifo.0.as_path(), "FIFO"),
        (Path::new("/dev/zero"), "device"),
        (Path::new("/tmp"), "directory"),
    ] {
        let error = Key::from_file(path).unwrap_err();
        assert!(matches!(error, KeyError::Read { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(kind) && text.contains(path.to_str().unwrap()), "{text}");
    }
}

#[test]
fn any_number_of_threads_marks_alike() {
    let marked = |threads| {
        let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap().with_threads(threads).unwrap();
        let mut picture = photograph(0);
        mark(&mut embedder, &mut picture, &STRENGTH);
        picture
    };
    let one = marked(1);
    assert!([2, 3, 8].into_iter().all(|threads| marked(threads) == one));
}
