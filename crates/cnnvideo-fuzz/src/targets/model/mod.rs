// SPDX-License-Identifier: MIT OR Apache-2.0

//! Model files: a file is refused, or its networks run in both arithmetics, and in the element that
//! it is for.

mod corpus;
mod mutate;

pub(crate) use corpus::segmentation;

use cnnvideo::nn::{
    Model, Network, Size, Tensor,
    cpu::{FloatNetwork, Int8Kernels, Int8Network},
};
use gst_video::VideoFormat;

use crate::{
    Target,
    elements::{self, Running},
    scratch,
};

/// The target.
pub const TARGET: Target = Target {
    name: "model",
    about: "model files of both formats: parser, networks, sessions, elements",
    corpus: corpus::files,
    dictionary: &[
        "F32",
        "F16",
        "BF16",
        "I8",
        "I64",
        "BOOL",
        "\"dtype\":",
        "\"shape\":[",
        "\"data_offsets\":[",
        "\"format\":\"1\"",
        "\"format\":\"2\"",
        "residual-unet",
        "inverted-unet",
        "quantisation.input",
        "quantisation.steps",
        "quantisation.most",
        "quantisation.finer",
        "__metadata__",
        "head.weight",
        "tail.bias",
        "rgb",
        "yuv420",
        "plane",
        "guide",
        "region",
        "texture",
        "denoise",
        "smooth",
        "segment",
        "picture-channels",
        "control-channels",
        "output-channels",
        "\0\0\0\0",
        "\u{7f}",
        "[]",
        "{}",
        "null",
        "\\\"",
        "\\u0000",
    ],
    mutate: Some(mutate::mutate),
    repair: Some(repair),
    run,
};

/// Tasks with an element that runs a model file of it: the beginning of the element's description,
/// and the format of the frames.
const ELEMENTS: [(&str, &str, VideoFormat); 5] = [
    ("denoise-rgb", "cnndenoise noise-level=9", VideoFormat::Rgb),
    ("denoise-yuv420", "cnndenoise noise-level=9", VideoFormat::I420),
    ("smooth-guide", "cnnsmooth", VideoFormat::I420),
    ("deband", "cnndeband", VideoFormat::I420),
    ("segment-region", "cnnsegment seeds=fg:50%,50%", VideoFormat::Nv12),
];
/// One of this many valid files runs in an element.
const ELEMENT_INTERVAL: usize = 16;
/// Pixels of the sides of a network's input, as multiples of its granularity.
const SIDES: (usize, usize) = (3, 2);

fn run(data: &[u8]) {
    let Ok(model) = Model::from_bytes(data) else { return };
    let bytes = model.to_bytes().expect("a model that was read can be written");
    let again = Model::from_bytes(&bytes).expect("a model that was written can be read");
    assert_eq!(again.weights(), model.weights());
    assert_eq!(again.quantisation(), model.quantisation());

    if let Ok(network) = FloatNetwork::new(model.clone()) {
        outputs(&network);
    }
    // All kernel sets return the same bits.
    let mut expected = None;
    for kernels in Int8Kernels::available() {
        let Ok(network) = Int8Network::with_kernels(model.clone(), kernels) else { continue };
        let found = outputs(&network);
        let expected = expected.get_or_insert_with(|| found.clone());
        assert!(bits(expected).eq(bits(&found)), "{}: other bits", network.backend());
    }
    // An element takes milliseconds.
    let sum: usize = data.iter().map(|byte| usize::from(*byte)).sum();
    if sum.is_multiple_of(ELEMENT_INTERVAL) {
        run_element(&model.task, &bytes);
    }
}

/// Returns the bits of numbers; NaN does not equal itself.
fn bits(values: &[f32]) -> impl Iterator<Item = u32> {
    values.iter().map(|value| value.to_bits())
}

/// Runs a network on a small input, with the scales for strong and for weak noise.
fn outputs(network: &dyn Network) -> Vec<f32> {
    let granularity = network.granularity();
    let size = Size { width: SIDES.0 * granularity, height: SIDES.1 * granularity };
    let channels = network.io().input_channels();
    let count = size.width * size.height * channels;
    // Pixel values as networks get them, from -0.5 to 0.5.
    let value = |i: usize| (i * 37 % 256) as f32 / 255.0 - 0.5;
    let input = Tensor::new(size, channels, (0..count).map(value).collect());
    let mut session = network.session(size, 1).expect("the size is a multiple of the granularity");
    [input.clone(), input.with_max_control(0.0)]
        .iter()
        .flat_map(|input| {
            let output = input.run(&mut *session, network.io().output);
            output.expect("the CPU backend never fails").values().to_vec()
        })
        .collect()
}

/// Runs a model file in the element for its task, if there is one. It refuses the file, or outputs
/// each frame.
fn run_element(task: &str, bytes: &[u8]) {
    let Some((_, element, format)) = ELEMENTS.into_iter().find(|(name, ..)| *name == task) else {
        return;
    };
    elements::init();
    let path = scratch::folder().join("model.safetensors");
    std::fs::write(&path, bytes).expect("the folder for temporary files is writable");
    // The last byte belongs to a weight.
    let precision = if bytes.ends_with(&[0]) { "fp32" } else { "auto" };
    let description =
        format!("{element} threads=1 precision={precision} model-file={}", path.display());
    let info = elements::info(format, 24, 18);
    if let Ok(mut running) = Running::start(&description, &info) {
        for number in 0..2 {
            assert_eq!(running.push(elements::frame(info.size(), number)), Ok(1), "{description}");
        }
    }
}

/// Writes the length of the header in front of it, which nearly every change of the header breaks.
fn repair(file: &mut [u8]) {
    let Some(header) = file.get(8..) else { return };
    let mut depth = 0i32;
    let end = header.iter().position(|byte| {
        depth += match byte {
            b'{' => 1,
            b'}' => -1,
            _ => 0,
        };
        depth <= 0
    });
    if let Some(end) = end {
        file[..8].copy_from_slice(&(end as u64 + 1).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Mutator;

    #[test]
    fn the_corpus_is_valid_and_runs_in_both_arithmetics() {
        let files = corpus::files();
        let mut tasks = Vec::new();
        let mut int8 = 0;
        for file in &files {
            let model = Model::from_bytes(file).unwrap();
            FloatNetwork::new(model.clone()).unwrap();
            int8 += usize::from(Int8Network::new(model.clone()).is_ok());
            tasks.push(model.task);
        }
        assert!(int8 > files.len() / 4, "{int8}");
        for (task, ..) in ELEMENTS {
            assert!(tasks.iter().filter(|name| *name == task).count() > 2, "{task}");
        }
    }

    #[test]
    fn many_mutated_files_are_valid() {
        let mutator = Mutator::new(TARGET, 3);
        let is_valid = |number: &u64| Model::from_bytes(&mutator.input(*number)).is_ok();
        let valid = (1000..2000).filter(is_valid).count();
        assert!((200..900).contains(&valid), "{valid} of 1000");
    }

    #[test]
    fn repair_restores_the_length_of_the_header() {
        for file in corpus::files() {
            let mut repaired = file.clone();
            repaired[..8].fill(0);
            repair(&mut repaired);
            assert!(repaired == file);
        }
        let mut short = [1, 2];
        repair(&mut short);
        assert_eq!(short, [1, 2]);
    }
}
