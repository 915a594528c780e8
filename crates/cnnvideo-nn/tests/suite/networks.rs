// SPDX-License-Identifier: MIT OR Apache-2.0

//! Small networks with random weights, and helpers to run them on an image in memory.

use cnnvideo_nn::{
    IoSpec, Model, Network, Signature, Size, Tensor,
    arch::{Architecture, EncoderStage, InvertedUnet, ResidualUnet},
    model::{ConvWeights, LowNoiseScales, Quantisation},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Signatures like those of the shipped models.
pub(crate) const RGB: Signature =
    Signature::new("denoise-rgb", IoSpec { picture: 12, control: 1, output: 12 });
pub(crate) const YUV420: Signature =
    Signature::new("denoise-yuv420", IoSpec { picture: 6, control: 2, output: 6 });
pub(crate) const GUIDE: Signature =
    Signature::new("smooth-guide", IoSpec { picture: 6, control: 1, output: 7 });
pub(crate) const REGION: Signature =
    Signature::new("segment-region", IoSpec { picture: 6, control: 3, output: 4 });

/// Returns a small architecture for a signature: inverted blocks for regions, else a residual
/// U-Net.
pub(crate) fn architecture(signature: Signature) -> Architecture {
    let (inputs, outputs) = (signature.io.input_channels(), signature.io.output);
    if signature == REGION {
        let stage = |side, stride, blocks, expansion, channels| EncoderStage {
            side,
            stride,
            blocks,
            expansion,
            channels,
        };
        let stages = vec![
            stage(3, 1, 2, 2, 12),
            stage(5, 2, 2, 3, 20),
            stage(3, 2, 1, 4, 24),
            stage(5, 1, 2, 2, 24),
        ];
        let (side, up_hidden, up_blocks) = (vec![10], vec![8, 12, 16], vec![1, 0, 2]);
        return Architecture::InvertedUnet(InvertedUnet {
            inputs,
            outputs,
            head: 20,
            stages,
            side,
            up_hidden,
            up_blocks,
        });
    }
    Architecture::ResidualUnet(ResidualUnet {
        inputs,
        outputs,
        widths: vec![16, 24, 40],
        hidden: vec![16, 24, 20],
        down_blocks: vec![1, 1, 2],
        up_blocks: vec![1, 1],
    })
}

/// Returns a model with random weights, scaled so that output values are about as large as input
/// values.
pub(crate) fn random_model(signature: Signature, seed: u64) -> Model {
    let mut rng = StdRng::seed_from_u64(seed);
    let architecture = architecture(signature);
    let graph = architecture.graph().unwrap();
    let weights = graph.convs.iter().map(|spec| {
        let scale = (1.0 / (spec.macs_per_output() / spec.out_channels) as f32).sqrt();
        let count = spec.weight_shape().iter().product();
        ConvWeights {
            weight: (0..count).map(|_| rng.random_range(-scale..scale)).collect(),
            bias: (0..spec.out_channels).map(|_| rng.random_range(-0.1..0.1)).collect(),
        }
    });
    let weights = weights.collect();
    Model::new(signature, architecture, weights).unwrap()
}

/// Largest control value for which a [`quantised_model`] uses its low-noise scales.
pub(crate) const LOW_NOISE_LIMIT: f32 = 0.1;

/// Returns a [`random_model`] with activation scales that cover the range of its feature maps, and
/// low-noise scales of half the size.
pub(crate) fn quantised_model(signature: Signature, seed: u64) -> Model {
    let model = random_model(signature, seed);
    let activation_scales = vec![2.5 / 127.0; model.graph().convs.len()];
    let low_noise = vec![LowNoiseScales {
        max_control: LOW_NOISE_LIMIT,
        activation_scales: activation_scales.iter().map(|scale| 0.5 * scale).collect(),
    }];
    let input_scales = vec![1.0 / 255.0; model.graph().input_channels()];
    let quantisation = Quantisation { input_scales, activation_scales, low_noise };
    model.with_quantisation(quantisation).unwrap()
}

/// Returns a tensor of random values between -0.5 and 0.5.
pub(crate) fn random_input(size: Size, channels: usize, seed: u64) -> Tensor {
    let mut rng = StdRng::seed_from_u64(seed);
    let count = size.width * size.height * channels;
    Tensor::new(size, channels, (0..count).map(|_| rng.random_range(-0.5..0.5)).collect())
}

/// Returns the output of a network. Runs it twice: the second run must not depend on the first.
pub(crate) fn run(network: &dyn Network, input: &Tensor, threads: usize) -> Vec<f32> {
    let channels = network.io().output;
    let mut session = network.session(input.size(), threads).unwrap();
    let mut once = || input.run(&mut *session, channels).unwrap();
    let first = once();
    assert_eq!(first, once());
    first.values().to_vec()
}
