// SPDX-License-Identifier: MIT OR Apache-2.0

//! Benchmarks of `cnnsegment` at 1920x1080: answering a click, and tracking a region to the next
//! frame.

use cnnvideo::{
    frame::{Format, Picture, Plane},
    nn::{Device, Precision},
    segment::{Seed, Seeds, SegmentNetworks, Segmenter, Shape},
};
use criterion::{Criterion, criterion_group, criterion_main};

const SIZE: (usize, usize) = (1920, 1080);

/// Returns an enlarged photograph, shifted by some pixels, as I420.
fn frame(shift: usize) -> [Vec<u8>; 3] {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/astronaut.jpg");
    let photo = image::open(file).expect("a picture").into_luma8();
    let (width, height) = (photo.width() as usize, photo.height() as usize);
    let luma = (0..SIZE.0 * SIZE.1).map(|i| {
        let (x, y) = ((i % SIZE.0 + shift) * width / (SIZE.0 + 64), i / SIZE.0 * height / SIZE.1);
        photo.get_pixel(x as u32, y as u32).0[0]
    });
    [luma.collect(), vec![120; SIZE.0 * SIZE.1 / 4], vec![140; SIZE.0 * SIZE.1 / 4]]
}

fn view(planes: &[Vec<u8>; 3]) -> Picture<'_, u8> {
    let [y, u, v] = planes;
    Picture::new(
        Format::I420,
        SIZE.0,
        SIZE.1,
        &[Plane::new(y, SIZE.0), Plane::new(u, SIZE.0 / 2), Plane::new(v, SIZE.0 / 2)],
    )
    .expect("a picture")
}

fn segment(c: &mut Criterion) {
    let networks =
        SegmentNetworks::built_in(Device::Cpu, Precision::Auto).expect("the built-in models load");
    let frames = [frame(0), frame(6)];
    let seed = |x, y| Seed { label: 1, shape: Shape::Point([x, y]) };
    let mut group = c.benchmark_group("segment 1920x1080");
    group.sample_size(20);
    for threads in [1, 2] {
        let mut mask = ndarray::Array2::zeros((SIZE.1, SIZE.0));
        group.bench_function(format!("answer to a click, {threads} threads"), |b| {
            let mut segmenter = Segmenter::new(&networks, threads).expect("threads");
            b.iter(|| {
                let mut seeds = Seeds::default();
                seeds.push(seed(0.42, 0.35));
                segmenter.reset();
                segmenter.next_picture(&view(&frames[0]), &mut seeds).expect("the network runs");
                segmenter.update_regions(&seeds).expect("the networks run");
                segmenter.mask(mask.view_mut());
            });
        });
        group.bench_function(format!("upkeep of a frame, {threads} threads"), |b| {
            let mut segmenter = Segmenter::new(&networks, threads).expect("threads");
            let mut seeds = Seeds::default();
            seeds.push(seed(0.42, 0.35));
            segmenter.next_picture(&view(&frames[0]), &mut seeds).expect("the network runs");
            segmenter.update_regions(&seeds).expect("the networks run");
            let mut number = 0;
            b.iter(|| {
                number += 1;
                segmenter
                    .next_picture(&view(&frames[number % 2]), &mut seeds)
                    .expect("the network runs");
                segmenter.mask(mask.view_mut());
            });
        });
    }
}

criterion_group!(benches, segment);
criterion_main!(benches);
