// SPDX-License-Identifier: MIT OR Apache-2.0

//! Attacks by those who have marked pictures but no key: copying, removal and collusion.

use cnnvideo::watermark::{Decoder, DecoderOptions, Embedder, Payload, Search, Security, Version};
use ndarray::Array2;

use super::{
    HEIGHT, PAYLOAD, STRENGTH, WIDTH, detect, key, mark, photograph, photograph_of, window_of,
};

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
    let mut decoder = Decoder::new(key(1), DecoderOptions::default()).with_candidates(receivers);
    let report = decoder.decode(&window_of(&mean), Search::WholeFrame);
    assert!(!report.named.is_empty() && report.payload == report.named.first().copied());
    assert!(report.named.iter().all(|payload| colluders.contains(payload)), "{report:?}");
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

#[test]
fn marks_are_read_from_whole_pictures_without_their_pilot() {
    let frames = |name: Option<&str>| {
        let mut embedder = Embedder::new(key(1), PAYLOAD).unwrap();
        let frames = (0..30).map(move |number| {
            let grey = || Array2::from_elem((HEIGHT, WIDTH), 128);
            let mut picture = name.map_or_else(grey, |name| photograph_of(name, number));
            mark(&mut embedder, &mut picture, &STRENGTH);
            picture
        });
        frames.collect::<Vec<_>>()
    };
    // The mark of flat frames is the pilot and the carriers of flat tiles. The amplitude in the
    // picture is that of the mask, which the attacker does not know: 1.6 is the mean.
    let estimate = mark_of(&frames(None)[..24], |_| Array2::from_elem((HEIGHT, WIDTH), 128));
    let mut attacked = frames(Some("coffee"));
    for frame in &mut attacked {
        frame.zip_mut_with(&estimate, |v, mark| {
            *v = (f32::from(*v) - 1.6 * mark).round().clamp(0.0, 255.0) as u8;
        });
    }
    let mut decoder = Decoder::new(key(1), DecoderOptions::default());
    // The attack works on a detector that needs the pilot.
    assert_eq!(decoder.decode(&window_of(&attacked), Search::WholeFrame).payload, None);
    let report = decoder.decode(&window_of(&attacked), Search::Full);
    assert_eq!(report.payload, Some(PAYLOAD), "{report:?}");
}
