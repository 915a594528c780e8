// SPDX-License-Identifier: MIT OR Apache-2.0

//! Benchmarks of `cnndenoise`: time of a frame by size and threads, and time of a noise estimate.

use cnnvideo::{
    denoise::{BitDepth, Networks, NoiseEstimator, Parameters, Quality},
    frame::{Colour, Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;

/// Width and height of the frames.
const SIZES: [(usize, usize); 4] = [(640, 360), (1280, 720), (1920, 1080), (3840, 2160)];

/// Returns an I420 frame with some structure and some noise.
fn planes(width: usize, height: usize) -> [Vec<u8>; 3] {
    let plane = |width: usize, height: usize| {
        (0..width * height)
            .map(|i| (100 + i % width / 16 + i.wrapping_mul(2_654_435_761) % 31) as u8)
            .collect()
    };
    let (half_width, half_height) = (width / 2, height / 2);
    [plane(width, height), plane(half_width, half_height), plane(half_width, half_height)]
}

fn frames(c: &mut Criterion) {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto)
        .expect("the built-in models load");
    let mut group = c.benchmark_group("frame");
    group.sample_size(10);
    for (width, height) in SIZES {
        group.throughput(Throughput::Elements((width * height) as u64));
        let input = planes(width, height);
        let mut output = input.clone();
        for threads in [1, 2] {
            let colour = Colour::Yuv { shift_x: 1, shift_y: 1 };
            let mut denoiser = networks
                .denoiser(colour, BitDepth::Eight, threads)
                .expect("there is a network for 4:2:0");
            let id =
                BenchmarkId::new(format!("i420 {threads} threads"), format!("{width}x{height}"));
            group.bench_function(id, |b| {
                b.iter(|| {
                    let strides = [width, width / 2, width / 2];
                    let views: Vec<_> =
                        input.iter().map(Vec::as_slice).zip(strides).map(Plane::from).collect();
                    let input =
                        Picture::new(Format::I420, width, height, &views).expect("the planes fit");
                    let views =
                        output.iter_mut().map(Vec::as_mut_slice).zip(strides).map(PlaneMut::from);
                    let mut output = PictureMut::new(Format::I420, width, height, views)
                        .expect("the planes fit");
                    let parameters =
                        Parameters { sigma: Some(15.0), temporal: false, ..Parameters::default() };
                    denoiser
                        .process(&input, &mut output, &parameters, None, Field::First)
                        .expect("the network runs")
                });
            });
        }
    }
    group.finish();
}

fn estimate(c: &mut Criterion) {
    let [luma, ..] = planes(1280, 720);
    let luma = Array2::from_shape_vec((720, 1280), luma).expect("the plane fits");
    for threads in [1, 2] {
        let mut estimator = NoiseEstimator::built_in(threads).expect("the built-in model loads");
        c.bench_function(&format!("noise level, {threads} threads"), |b| {
            b.iter(|| estimator.estimate(&luma.view(), 1).expect("the network runs"))
        });
    }
}

criterion_group!(benches, frames, estimate);
criterion_main!(benches);
