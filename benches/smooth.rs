// SPDX-License-Identifier: MIT OR Apache-2.0

//! Benchmarks of `cnnsmooth` on a 1080p frame: the solver alone and the whole element.

use cnnvideo::{
    frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision, Threads},
    smooth::{
        Parameters, Smoother, built_in,
        wls::{EdgeGuides, EdgeWeights, Guide, Smoothness, Wls},
    },
};
use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;

const DIM: (usize, usize) = (1080, 1920);

/// Returns a test plane with texture and edges.
fn plane() -> Array2<f32> {
    Array2::from_shape_fn(DIM, |(y, x)| {
        ((x * 7 + y * 13) % 31) as f32 + if x % 200 < 100 { 100.0 } else { 60.0 }
    })
}

fn solver(c: &mut Criterion) {
    let threads = Threads::new(1).expect("a thread");
    let (mut weights, mut wls) = (EdgeWeights::default(), Wls::default());
    let (guide, strength) = (plane(), Array2::from_elem(DIM, 200u8));
    let (channel, mut result) = (plane(), plane());
    let mut group = c.benchmark_group("smooth 1080p, 1 thread");
    group.sample_size(10);
    let guides = EdgeGuides {
        guides: &[Guide { plane: guide.view(), subsampling: [0; 2] }],
        confidence: None,
        sigma: 3.0,
    };
    group.bench_function("weights", |b| b.iter(|| weights.fill(DIM, guides, &threads)));
    weights.fill(DIM, guides, &threads);
    let smoothness = Smoothness { weights: &weights, strength: strength.view(), lambda: 50.0 };
    group.bench_function("solve", |b| {
        b.iter(|| wls.smooth(&[channel.view()], &mut [result.view_mut()], &smoothness, &threads))
    });
    group.finish();
}

fn whole(c: &mut Criterion) {
    let (height, width) = DIM;
    let bytes: Vec<u8> = plane().iter().map(|v| *v as u8).collect();
    let chroma = vec![128u8; width * height / 4];
    let input =
        [Plane::new(&bytes, width), Plane::new(&chroma, width / 2), Plane::new(&chroma, width / 2)];
    let input = Picture::new(Format::I420, width, height, &input).expect("planes are large enough");
    let mut memory = [bytes.clone(), chroma.clone(), chroma.clone()];
    let mut group = c.benchmark_group("smooth 1080p, whole");
    group.sample_size(10);
    for threads in [1, 2] {
        let network = built_in(Device::Cpu, Precision::Auto).expect("the built-in model is valid");
        let mut smoother = Smoother::new(network, threads).expect("threads");
        let parameters = Parameters::default();
        group.bench_function(format!("{threads} threads"), |b| {
            b.iter(|| {
                let [y, u, v] = &mut memory;
                let planes = [
                    PlaneMut::new(y, width),
                    PlaneMut::new(u, width / 2),
                    PlaneMut::new(v, width / 2),
                ];
                let mut output = PictureMut::new(Format::I420, width, height, planes)
                    .expect("planes are large enough");
                smoother
                    .process(&input, &mut output, &parameters, None, Field::First)
                    .expect("a picture that fits");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, solver, whole);
criterion_main!(benches);
