// SPDX-License-Identifier: MIT OR Apache-2.0

//! Strings that users write: `seeds`, `payload`, `key`, `device`, and the hyper-parameters in model
//! files.

use std::sync::OnceLock;

use cnnvideo::{
    nn::{Device, arch::Architecture},
    segment::{MAX_LABEL, Shape, seeds::ParsedSeeds, seeds::Seeds},
    watermark::{Key, Payload},
};
use gst::prelude::*;

use crate::{Target, elements};

/// The target.
pub const TARGET: Target = Target {
    name: "text",
    about: "seeds, payloads, keys, devices and hyper-parameters",
    corpus,
    dictionary: &[
        "fg:",
        "bg:",
        "box:",
        "stroke-fg:",
        "stroke-bg:",
        "fg8:",
        "box9:",
        ";",
        ",",
        "%",
        "50%",
        "-1",
        "1e39",
        "nan",
        "inf",
        "cuda:",
        "cuda:63",
        "auto",
        "cpu",
        "é",
        "\u{feff}",
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        "\"inputs\":",
        "\"widths\":",
        "\"stages\":",
        "null",
        "1e400",
        "-0",
        "18446744073709551615",
        "9223372036854775807",
        "512",
        "513",
    ],
    mutate: None,
    repair: None,
    run,
};

/// Parsers, by the first byte of an input. The rest is the text.
const PARSERS: [fn(&str); 7] =
    [seeds, payload, key, device, residual_unet, inverted_unet, properties_while_playing];

/// Valid hyper-parameters of both architectures.
const RESIDUAL_UNET: &str = r#"{"inputs":8,"outputs":6,"widths":[16,24],"hidden":[16,24],
"down_blocks":[1,1],"up_blocks":[1]}"#;
const INVERTED_UNET: &str = r#"{"inputs":9,"outputs":4,"head":16,"stages":[
{"side":3,"stride":1,"blocks":1,"expansion":1,"channels":8},
{"side":5,"stride":2,"blocks":2,"expansion":4,"channels":16}],
"side":[],"up_hidden":[8,12],"up_blocks":[1,1]}"#;

fn corpus() -> Vec<Vec<u8>> {
    let texts = [
        (0, "fg:320,240;bg:10,10;box:80,60,560,420;stroke-fg:10,10,20,14,30,20"),
        (0, " fg8:50%,50% ; box2:0%,0%,100%,100% ; stroke-bg:1,2"),
        (1, "0123456789abcdef"),
        (1, "FEDCBA9876543210"),
        (2, elements::KEY),
        (2, "0000000000000000000000000000000000000000000000000000000000000000"),
        (2, "  000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f\n"),
        (3, "cuda:1"),
        (3, "auto"),
        (4, RESIDUAL_UNET),
        (5, INVERTED_UNET),
        (6, "fg:1,1"),
        (6, "0123456789abcdef"),
    ];
    texts.iter().map(|(parser, text)| [&[*parser], text.as_bytes()].concat()).collect()
}

fn run(data: &[u8]) {
    let Some((parser, text)) = data.split_first() else { return };
    let parse = PARSERS[usize::from(*parser) % PARSERS.len()];
    parse(&String::from_utf8_lossy(text));
}

/// Parsed seeds can be used with frames of any size: each one is valid or left out.
fn seeds(text: &str) {
    let Ok(parsed) = text.parse::<ParsedSeeds>() else { return };
    for (width, height) in [(0, 0), (1, 1), (640, 360), (8192, 3)] {
        let mut seeds = Seeds::default();
        for seed in parsed.to_seeds(width, height) {
            // An invalid seed is left out.
            seeds.push(seed);
        }
        let inside = |p: &[f32; 2]| p.iter().all(|v| (0.0..=1.0).contains(v));
        for seed in seeds.iter() {
            let fits = match &seed.shape {
                Shape::Point(point) => inside(point),
                Shape::Box { corner, opposite } => inside(corner) && inside(opposite),
                Shape::Stroke { points, radius } => {
                    points.iter().all(inside) && (0.0..=1.0).contains(radius)
                }
                Shape::Grow(_) => false,
            };
            assert!(fits && seed.label <= MAX_LABEL, "{text:?}: {seed:?}");
        }
        seeds.move_points(|[x, y]| (x > 0.5).then_some([x - 0.25, y]));
        while seeds.undo().is_some() {}
    }
}

/// A parsed payload prints as the text in lower case.
fn payload(text: &str) {
    if let Ok(payload) = text.parse::<Payload>() {
        assert_eq!(payload.to_string(), text.to_lowercase());
    }
}

/// A key is 64 hex digits, not all zero, with white space around them. It is never printed.
fn key(text: &str) {
    let digits = text.trim();
    let is_key = digits.len() == 64
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        && digits.bytes().any(|digit| digit != b'0');
    let key = Key::from_hex(text).ok();
    assert_eq!(key.is_some(), is_key, "{text:?}");
    assert!(key.is_none_or(|key| !format!("{key:?}").contains(digits)), "the key is printed");
}

/// A parsed device prints as text that parses to the same one.
fn device(text: &str) {
    match text.parse::<Device>() {
        Ok(device) => assert_eq!(device.to_string().parse::<Device>().ok(), Some(device)),
        Err(err) => assert!(!err.to_string().is_empty()),
    }
}

fn residual_unet(text: &str) {
    architecture(Architecture::NAMES[0], text);
}

fn inverted_unet(text: &str) {
    architecture(Architecture::NAMES[1], text);
}

/// The graph of accepted hyper-parameters has sizes that can be computed.
fn architecture(name: &str, hyper_parameters: &str) {
    let Ok(architecture) = Architecture::parse(name, hyper_parameters) else { return };
    assert_eq!(architecture.name(), name);
    if let Ok(graph) = architecture.graph() {
        assert_eq!(graph.input_channels(), architecture.input_channels());
        assert_eq!(graph.output_channels(), architecture.output_channels());
        assert!(graph.parameters() > 0 && graph.macs_per_pixel() > 0.0);
        assert!(graph.granularity().is_power_of_two());
    }
}

/// While an element plays, `seeds` and `payload` take a valid value or keep the previous one.
fn properties_while_playing(text: &str) {
    static ELEMENTS: OnceLock<[gst::Element; 2]> = OnceLock::new();
    let [segment, embed] = ELEMENTS.get_or_init(|| {
        elements::init();
        let mark = format!("watermarkembed key={} payload=0123456789abcdef", elements::KEY);
        [elements::started("cnnsegment"), elements::started(&mark)]
    });
    let text = text.replace('\0', "");
    takes_valid_text(segment, "seeds", &text, text.parse::<ParsedSeeds>().is_ok());
    takes_valid_text(embed, "payload", &text, text.parse::<Payload>().is_ok());
}

/// Sets a property and checks that it has the new value if `is_valid`, else the previous one.
fn takes_valid_text(element: &gst::Element, property: &str, text: &str, is_valid: bool) {
    let before: Option<String> = element.property(property);
    element.set_property(property, text);
    let after: Option<String> = element.property(property);
    let expected = if is_valid { Some(text) } else { before.as_deref() };
    assert_eq!(after.as_deref(), expected, "{property}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_valid() {
        for [name, text] in
            [[Architecture::NAMES[0], RESIDUAL_UNET], [Architecture::NAMES[1], INVERTED_UNET]]
        {
            Architecture::parse(name, text).unwrap().graph().unwrap();
        }
    }
}
