// SPDX-License-Identifier: MIT OR Apache-2.0

//! Small valid model files with random architectures and weights.

use cnnvideo::nn::{
    IoSpec,
    arch::{Architecture, EncoderStage, InvertedUnet, ResidualUnet},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

use super::mutate::join;

/// Number of files.
const FILES: usize = 60;
/// Tasks of the elements, in the two parts of format 1, with their channels. The tasks without a
/// second part exist in format 2 only.
const TASKS: [(&str, &str, IoSpec); 8] = [
    ("denoise", "rgb", IoSpec { picture: 12, control: 1, output: 12 }),
    ("denoise", "yuv420", IoSpec { picture: 6, control: 2, output: 6 }),
    ("estimate", "plane", IoSpec { picture: 6, control: 0, output: 2 }),
    ("smooth", "guide", IoSpec { picture: 6, control: 1, output: 7 }),
    ("segment", "region", IoSpec { picture: 6, control: 3, output: 4 }),
    ("watermark", "texture", IoSpec { picture: 2, control: 0, output: 1 }),
    ("deband", "", IoSpec { picture: 9, control: 1, output: 8 }),
    ("demosaic", "", IoSpec { picture: 4, control: 1, output: 12 }),
];

/// Returns the files: of both formats, architectures and arithmetics.
pub(super) fn files() -> Vec<Vec<u8>> {
    (0..FILES).map(|number| file(number, &mut StdRng::seed_from_u64(number as u64))).collect()
}

/// Returns a file with the smallest network for `cnnsegment`.
pub(crate) fn segmentation() -> Vec<u8> {
    let (task, domain, io) = TASKS[4];
    let architecture = Architecture::ResidualUnet(ResidualUnet {
        inputs: io.input_channels(),
        outputs: io.output,
        widths: vec![1],
        hidden: vec![1],
        down_blocks: vec![0],
        up_blocks: vec![],
    });
    let rng = &mut StdRng::seed_from_u64(0);
    let tensors = Tensors::of(&architecture, 0.3, rng);
    tensors.finish(metadata(&architecture, (task, domain, io), 2))
}

/// Returns a file with random content for one of the tasks.
fn file(number: usize, rng: &mut StdRng) -> Vec<u8> {
    let (_, domain, io) = TASKS[number % TASKS.len()];
    let is_inverted = (domain == "region") != rng.random_ratio(1, 6);
    let architecture = if is_inverted { inverted(io, rng) } else { residual(io, rng) };
    let largest = [0.05, 0.3, 2.0, 1e4].choose(rng).expect("there are magnitudes");
    let mut tensors = Tensors::of(&architecture, *largest, rng);
    if !is_inverted && rng.random_ratio(3, 4) {
        let convs = architecture.graph().expect("the hyper-parameters are valid").convs.len();
        tensors.add_scales("quantisation.input", &[architecture.input_channels()], rng);
        tensors.add_scales("quantisation.steps", &[convs], rng);
        let sets = rng.random_range(0..3);
        if sets > 0 {
            let limits = (0..sets).map(|set| 0.1 * (1 + set) as f32);
            tensors.push("quantisation.most".to_owned(), &[sets], limits);
            tensors.add_scales("quantisation.finer", &[sets, convs], rng);
        }
    }
    let format = if domain.is_empty() { 2 } else { rng.random_range(1..=2) };
    tensors.finish(metadata(&architecture, TASKS[number % TASKS.len()], format))
}

/// Returns the metadata of a file of format 1 or 2.
fn metadata(
    architecture: &Architecture,
    (task, domain, io): (&str, &str, IoSpec),
    format: u32,
) -> Value {
    let hyper_parameters =
        serde_json::to_string(architecture).expect("hyper-parameters can be written");
    let mut metadata = json!({
        "format": format.to_string(),
        "architecture": architecture.name(),
        "hyper-parameters": hyper_parameters,
        "version": "1",
        "training": "",
    });
    let entries = if format == 1 {
        vec![("task", task.to_owned()), ("domain", domain.to_owned())]
    } else {
        vec![
            ("task", format!("{task}-{domain}").trim_end_matches('-').to_owned()),
            ("picture-channels", io.picture.to_string()),
            ("control-channels", io.control.to_string()),
            ("output-channels", io.output.to_string()),
        ]
    };
    for (key, value) in entries {
        metadata[key] = value.into();
    }
    metadata
}

/// Returns random hyper-parameters of a small residual U-Net.
fn residual(io: IoSpec, rng: &mut StdRng) -> Architecture {
    let stages = rng.random_range(1..=3);
    // Int8 arithmetic requires multiples of 4.
    let step = if rng.random_ratio(5, 6) { 4 } else { 1 };
    let mut list = |count: usize, step: usize, from: usize, to: usize| -> Vec<usize> {
        (0..count).map(|_| step * rng.random_range(from..=to)).collect()
    };
    Architecture::ResidualUnet(ResidualUnet {
        inputs: io.input_channels(),
        outputs: io.output,
        widths: list(stages, step, 1, 3),
        hidden: list(stages, step, 1, 3),
        down_blocks: list(stages, 1, 0, 2),
        up_blocks: list(stages - 1, 1, 0, 1),
    })
}

/// Returns random hyper-parameters of a small inverted U-Net.
fn inverted(io: IoSpec, rng: &mut StdRng) -> Architecture {
    let halvings = rng.random_range(1..=2);
    let mut stage = |stride| EncoderStage {
        side: if rng.random() { 3 } else { 5 },
        stride,
        blocks: rng.random_range(1..=2),
        expansion: rng.random_range(1..=2),
        channels: rng.random_range(1..=6),
    };
    let stages = [1].into_iter().chain([2].repeat(halvings)).map(&mut stage).collect();
    let mut list = |count: usize, from: usize, to: usize| -> Vec<usize> {
        (0..count).map(|_| rng.random_range(from..=to)).collect()
    };
    Architecture::InvertedUnet(InvertedUnet {
        inputs: io.input_channels(),
        outputs: io.output,
        head: list(1, 1, 8)[0],
        stages,
        side: list(halvings - 1, 1, 6),
        up_hidden: list(halvings + 1, 1, 6),
        up_blocks: list(halvings + 1, 0, 1),
    })
}

/// Tensors of a file, with their part of its header.
#[derive(Default)]
struct Tensors {
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl Tensors {
    /// Returns random weights up to `largest`, in float32 or float16, for an architecture.
    fn of(architecture: &Architecture, largest: f32, rng: &mut StdRng) -> Self {
        let graph = architecture.graph().expect("the hyper-parameters are valid");
        let mut tensors = Self::default();
        for conv in &graph.convs {
            let (weight, bias) = (format!("{}.weight", conv.name), format!("{}.bias", conv.name));
            tensors.add(weight, &conv.weight_shape(), rng.random_ratio(1, 4), rng, largest);
            tensors.add(bias, &[conv.out_channels], false, rng, 0.1);
        }
        tensors
    }

    /// Adds a tensor of float32 values.
    fn push(&mut self, name: String, shape: &[usize], values: impl Iterator<Item = f32>) {
        let begin = self.data.len();
        self.data.extend(values.flat_map(f32::to_le_bytes));
        self.add_entry(name, "F32", shape, begin);
    }

    /// Adds a tensor of random values up to `largest`, or of random float16 values up to 2.
    fn add(&mut self, name: String, shape: &[usize], as_f16: bool, rng: &mut StdRng, largest: f32) {
        let count = shape.iter().product();
        if !as_f16 {
            let values: Vec<f32> =
                (0..count).map(|_| rng.random_range(-largest..=largest)).collect();
            return self.push(name, shape, values.into_iter());
        }
        let begin = self.data.len();
        for _ in 0..count {
            // Without the highest bit of the exponent, all values are finite.
            self.data.extend((rng.random::<u16>() & 0xbfff).to_le_bytes());
        }
        self.add_entry(name, "F16", shape, begin);
    }

    /// Adds random scales: those of a trained model, or any that are valid.
    fn add_scales(&mut self, name: &str, shape: &[usize], rng: &mut StdRng) {
        let count = shape.iter().product();
        let exponents = if rng.random_ratio(2, 3) { -9.0..-4.0 } else { -19.9..9.9 };
        let values: Vec<f32> =
            (0..count).map(|_| f32::exp2(rng.random_range(exponents.clone()))).collect();
        self.push(name.to_owned(), shape, values.into_iter());
    }

    /// Adds the entry of a tensor whose data begin at `begin`.
    fn add_entry(&mut self, name: String, dtype: &str, shape: &[usize], begin: usize) {
        let entry =
            json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, self.data.len()]});
        self.header.insert(name, entry);
    }

    /// Returns the file.
    fn finish(mut self, metadata: Value) -> Vec<u8> {
        self.header.insert("__metadata__".to_owned(), metadata);
        join(&self.header, &self.data)
    }
}
