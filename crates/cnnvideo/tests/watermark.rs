// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the watermark library: the payload is decoded after scaling, cropping and rotation, and
//! nothing is decoded without it.

#[path = "../../../tests/common/temporary.rs"]
mod temporary;

use std::path::Path;

use cnnvideo::{
    frame::{Format, Picture, PictureMut, Plane, PlaneMut},
    watermark::{
        Collector, Decoder, DecoderOptions, Embedder, Key, KeyError, Payload, Report, Search,
        Security, Strength, Version,
    },
};
use ndarray::{Array2, s};
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
    let mut collector = Collector::new(48);
    for picture in pictures {
        let (height, width) = picture.dim();
        let data = picture.as_standard_layout();
        collector.push(
            &Picture::new(
                Format::GRAY8,
                width,
                height,
                &[Plane::new(data.as_slice().unwrap(), width)],
            )
            .unwrap(),
        );
    }
    Decoder::new(key, options).decode(&collector.window(), search)
}

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
    let window = |turned: bool| {
        let mut collector = Collector::new(48);
        for picture in &pictures {
            let picture = if turned { picture.slice(s![..;-1, ..;-1]) } else { picture.view() };
            let data = picture.as_standard_layout();
            let plane = Plane::new(data.as_slice().unwrap(), WIDTH);
            collector.push(&Picture::new(Format::GRAY8, WIDTH, HEIGHT, &[plane]).unwrap());
        }
        collector.window()
    };
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

/// Returns the marked frames of a photograph, or of flat grey if it has no name.
fn marked_with(security: Security, name: Option<&str>, payload: Payload) -> Vec<Array2<u8>> {
    let mut embedder = Embedder::new(key(1), payload).unwrap().with_security(security);
    (0..6)
        .map(|number| {
            let grey = || Array2::from_elem((HEIGHT, WIDTH), 128);
            let mut picture = name.map_or_else(grey, |name| photograph_of(name, number));
            mark(&mut embedder, &mut picture, &STRENGTH);
            picture
        })
        .collect()
}

/// Returns the change of the frames by their mark, the mean over the frames. The attackers of the
/// tests know the clean frames: that is the best estimate of the mark.
fn mark_of(marked: &[Array2<u8>], clean: impl Fn(usize) -> Array2<u8>) -> Array2<f32> {
    let mut sum = Array2::<f32>::zeros((HEIGHT, WIDTH));
    for (number, marked) in marked.iter().enumerate() {
        ndarray::Zip::from(&mut sum)
            .and(marked)
            .and(&clean(number))
            .for_each(|to, a, b| *to += f32::from(*a) - f32::from(*b));
    }
    let power = sum.iter().map(|v| v * v).sum::<f32>() / sum.len() as f32;
    sum / power.sqrt()
}

#[test]
fn a_copied_mark_is_refused() {
    let attempt = |security, source: Option<&str>, amplitude: f32| {
        let marked = marked_with(security, source, PAYLOAD);
        let grey = || Array2::from_elem((HEIGHT, WIDTH), 128);
        let clean = |number| source.map_or_else(grey, |name| photograph_of(name, number));
        let mark = mark_of(&marked, clean);
        let forged: Vec<_> = (0..6)
            .map(|number| {
                let mut picture = photograph_of("rocket", number);
                picture.zip_mut_with(&mark, |v, mark| {
                    *v = (f32::from(*v) + amplitude * mark).round().clamp(0.0, 255.0) as u8;
                });
                picture
            })
            .collect();
        detect(&forged, key(1), Search::WholeFrame).payload
    };
    for source in [None, Some("coffee"), Some("astronaut")] {
        // The attack works on marks that do not depend on the picture.
        assert_eq!(attempt(Security::Robust, source, 2.0), Some(PAYLOAD), "{source:?}");
        for amplitude in [1.5, 4.0, 8.0] {
            let accepted = attempt(Security::CopyResistant, source, amplitude);
            assert_eq!(accepted, None, "{source:?} at {amplitude}");
        }
    }
}

#[test]
fn the_mark_of_flat_frames_does_not_remove_that_of_others() {
    let read_after_removal = |security| {
        let grey = marked_with(security, None, PAYLOAD);
        let mark = mark_of(&grey, |_| Array2::from_elem((HEIGHT, WIDTH), 128));
        let mut frames = marked_with(security, Some("coffee"), PAYLOAD);
        for (number, frame) in frames.iter_mut().enumerate() {
            let clean = photograph(number);
            // The part of the change that the attacker's mark explains, in blocks of 32 pixels.
            for (y, x) in (0..HEIGHT / 32).flat_map(|y| (0..WIDTH / 32).map(move |x| (y, x))) {
                let part = ndarray::s![32 * y..32 * y + 32, 32 * x..32 * x + 32];
                let (mut product, mut power) = (0.0, 1e-6);
                ndarray::Zip::from(frame.slice(part))
                    .and(clean.slice(part))
                    .and(mark.slice(part))
                    .for_each(|a, b, mark| {
                        product += (f32::from(*a) - f32::from(*b)) * mark;
                        power += mark * mark;
                    });
                frame.slice_mut(part).zip_mut_with(&mark.slice(part), |v, mark| {
                    *v = (f32::from(*v) - product / power * mark).round() as u8;
                });
            }
        }
        detect(&frames, key(1), Search::WholeFrame).payload == Some(PAYLOAD)
    };
    assert!(!read_after_removal(Security::Robust));
    assert!(read_after_removal(Security::CopyResistant));
}

#[test]
fn both_versions_are_read_and_told_apart() {
    for (security, version) in
        [(Security::Robust, Version::One), (Security::CopyResistant, Version::Two)]
    {
        let report = detect(&marked_with(security, Some("coffee"), PAYLOAD), key(1), Search::Full);
        assert_eq!((report.payload, report.version), (Some(PAYLOAD), version), "{report:?}");
        assert_eq!(report.described > 0.5, version == Version::Two, "{report:?}");
    }
    let grey = marked_with(Security::CopyResistant, None, PAYLOAD);
    let report = detect(&grey, key(1), Search::WholeFrame);
    assert_eq!(report.payload, Some(PAYLOAD));
    assert!(report.described < 0.1, "{report:?}");
}

#[test]
fn mixed_copies_name_their_receivers_and_nobody_else() {
    let receivers: Vec<_> = (100..160).map(Payload).collect();
    let colluders = [receivers[3], receivers[40], receivers[41]];
    let copies =
        colluders.map(|payload| marked_with(Security::CopyResistant, Some("coffee"), payload));
    let mean: Vec<_> = (0..6)
        .map(|number| {
            Array2::from_shape_fn((HEIGHT, WIDTH), |at| {
                let sum: u32 = copies.iter().map(|copy| u32::from(copy[number][at])).sum();
                ((sum + 1) / 3) as u8
            })
        })
        .collect();
    assert_eq!(detect(&mean, key(1), Search::WholeFrame).payload, None);
    let mut collector = Collector::new(48);
    for picture in &mean {
        let plane = [Plane::new(picture.as_slice().unwrap(), WIDTH)];
        collector.push(&Picture::new(Format::GRAY8, WIDTH, HEIGHT, &plane).unwrap());
    }
    let mut decoder = Decoder::new(key(1), DecoderOptions::default()).with_candidates(receivers);
    let report = decoder.decode(&collector.window(), Search::WholeFrame);
    assert!(!report.named.is_empty() && report.payload == report.named.first().copied());
    assert!(report.named.iter().all(|payload| colluders.contains(payload)), "{report:?}");
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

#[test]
fn a_key_epoch_changes_the_whole_mark() {
    let mark_of_epoch = |epoch| {
        let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap().with_epoch(epoch);
        let mut picture = photograph(0);
        mark(&mut embedder, &mut picture, &STRENGTH);
        mark_of(&[picture], photograph)
    };
    let (a, b) = (mark_of_epoch(0), mark_of_epoch(1));
    let correlation = a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>() / a.len() as f32;
    assert!(correlation.abs() < 0.02, "{correlation}");
}
