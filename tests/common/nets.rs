//! Small networks with random weights, and helpers to run them on an image in memory.

use std::ops::Range;

use gstcnnvideo::nn::{
    Model, Network, Output, RowSink, Size, Source,
    arch::{Architecture, InvertedUnet, ResidualUnet, Stage},
    model::{ConvWeights, Domain, Finer, Quantisation},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Returns a small architecture for a domain: inverted blocks for regions, else a residual U-Net.
pub fn architecture(domain: Domain) -> Architecture {
    let (inputs, outputs) = (domain.inputs(), domain.outputs());
    if domain == Domain::Region {
        let stage = |side, stride, blocks, expansion, channels| Stage {
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
pub fn random_model(domain: Domain, seed: u64) -> Model {
    let mut rng = StdRng::seed_from_u64(seed);
    let architecture = architecture(domain);
    let graph = architecture.graph().unwrap();
    let weights = graph.convs.iter().map(|spec| {
        let scale = (1.0 / (spec.macs_per_output() / spec.outputs) as f32).sqrt();
        let count = spec.weight_shape().iter().product();
        ConvWeights {
            weight: (0..count).map(|_| rng.random_range(-scale..scale)).collect(),
            bias: (0..spec.outputs).map(|_| rng.random_range(-0.1..0.1)).collect(),
        }
    });
    let weights = weights.collect();
    Model::new(domain, architecture, weights).unwrap()
}

/// Maximum control map value up to which a [`quantised_model`] uses its finer steps.
pub const MOST_OF_FINER: f32 = 0.1;

/// Returns a [`random_model`] with quantisation steps that cover the range of its feature maps, and
/// a class of steps of half the width.
pub fn quantised_model(domain: Domain, seed: u64) -> Model {
    let model = random_model(domain, seed);
    let convs = vec![2.5 / 127.0; model.graph().convs.len()];
    let input = vec![1.0 / 255.0; model.graph().input_channels()];
    let finer =
        vec![Finer { most: MOST_OF_FINER, convs: convs.iter().map(|step| 0.5 * step).collect() }];
    model.with_quantisation(Quantisation { input, convs, finer }).unwrap()
}

/// An image of interleaved float channels.
pub struct Picture {
    /// Width and height.
    pub size: Size,
    /// Channels of a pixel.
    pub channels: usize,
    /// Row-major values, channels interleaved.
    pub data: Vec<f32>,
    /// Maximum of the control maps; see [`Source::most`].
    pub most: f32,
}

impl Picture {
    /// Returns an image of random values from -0.5 to 0.5.
    pub fn random(size: Size, channels: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let data =
            (0..size.width * size.height * channels).map(|_| rng.random_range(-0.5..0.5)).collect();
        Self { size, channels, data, most: f32::INFINITY }
    }
}

impl Source for Picture {
    fn most(&self) -> f32 {
        self.most
    }

    fn read_row(&self, y: usize, row: &mut [f32]) {
        let stride = self.size.width * self.channels;
        row.copy_from_slice(&self.data[y * stride..][..stride]);
    }
}

struct Collect {
    data: Vec<f32>,
    stride: usize,
}

struct CollectBand<'a> {
    first: usize,
    data: &'a mut [f32],
    stride: usize,
}

impl RowSink for CollectBand<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        self.data[(y - self.first) * self.stride..][..self.stride].copy_from_slice(row);
    }
}

impl Output for Collect {
    fn split<'a>(&'a mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'a>> {
        let mut rest = self.data.as_mut_slice();
        let stride = self.stride;
        let mut sinks: Vec<Box<dyn RowSink>> = Vec::new();
        for band in bands {
            let (data, after) = rest.split_at_mut(band.len() * stride);
            sinks.push(Box::new(CollectBand { first: band.start, data, stride }));
            rest = after;
        }
        sinks
    }
}

/// Runs a network and returns its interleaved output. Runs it twice and checks that the results are
/// equal, because buffers that are reused must not affect the second run.
pub fn run(network: &dyn Network, picture: &Picture, threads: usize) -> Vec<f32> {
    let stride = picture.size.width * network.domain().outputs();
    let mut session = network.session(picture.size, threads).unwrap();
    let mut once = || {
        let mut output = Collect { data: vec![f32::NAN; stride * picture.size.height], stride };
        session.run(picture, &mut output).unwrap();
        output.data
    };
    let first = once();
    assert_eq!(first, once());
    first
}
