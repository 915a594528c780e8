// SPDX-License-Identifier: MIT OR Apache-2.0

//! Benchmarks of watermark embedding and detection at 1920x1080.

use cnnvideo::{
    frame::{Format, Picture, PictureMut, Plane, PlaneMut},
    watermark::{
        Collector, Decoder, DecoderOptions, Embedder, Key, Payload, Search, Security, Strength,
    },
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const SIZE: (usize, usize) = (1920, 1080);
/// Number of windows that a decoder decodes before it is measured.
const WARM_UP_WINDOWS: usize = 16;

/// Returns luma of an enlarged photograph.
fn luma() -> Vec<u8> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/coffee.jpg");
    let photo = image::open(file).expect("a picture").into_luma8();
    let (width, height) = (photo.width() as usize, photo.height() as usize);
    let at = |i: usize| (i % SIZE.0 * width / SIZE.0, i / SIZE.0 * height / SIZE.1);
    (0..SIZE.0 * SIZE.1).map(at).map(|(x, y)| photo.get_pixel(x as u32, y as u32).0[0]).collect()
}

fn watermark(c: &mut Criterion) {
    let (width, height) = SIZE;
    let key = || Key::new([7; 32]);
    let picture = luma();
    let mut group = c.benchmark_group("watermark 1920x1080");
    group.sample_size(20);

    let embedder = || Embedder::new(key(), Payload(0x0123_4567_89ab_cdef)).expect("threads");
    let strength = Strength { target_psnr: 45.0, texture_aware: true };
    for (name, mut embedder) in [
        ("network", embedder()),
        ("network, version 1", embedder().with_security(Security::Robust)),
        ("formulas", embedder().with_analytic_mask()),
    ] {
        embedder.prepare(width, height);
        group.bench_function(format!("embed a frame, mask by {name}"), |b| {
            b.iter_batched_ref(
                || picture.clone(),
                |luma| {
                    let planes = [PlaneMut::new(luma, width)];
                    let mut view =
                        PictureMut::new(Format::GRAY8, width, height, planes).expect("a picture");
                    embedder.process(&mut view, &strength)
                },
                BatchSize::LargeInput,
            );
        });
    }

    let mut collector = Collector::new(48);
    group.bench_function("collect a frame", |b| {
        let view = Picture::new(Format::GRAY8, width, height, &[Plane::new(&picture, width)])
            .expect("a picture");
        b.iter(|| collector.push(&view));
    });

    // The picture moves by 5 and 3 pixels a frame, so that the noise of the frames is independent.
    let (left, top) = (width / 8, height / 8);
    for i in 0..48 {
        let moved = &picture[(top + 3 * i % 64) * width + left + 5 * i..];
        let size = (width - 2 * left - 240, height - 2 * top);
        let view = Picture::new(Format::GRAY8, size.0, size.1, &[Plane::new(moved, width)]);
        collector.push(&view.expect("a picture"));
    }
    let window = collector.window();
    for (name, search) in [("whole pictures", Search::WholeFrame), ("full search", Search::Full)] {
        // The first windows create the carriers of each key epoch.
        let mut decoder = Decoder::new(key(), DecoderOptions::default());
        (0..WARM_UP_WINDOWS).for_each(|_| drop(decoder.decode(&window, search)));
        group.bench_function(format!("decode a window without a mark, {name}"), |b| {
            b.iter(|| decoder.decode(&window, search));
        });
    }
}

criterion_group!(benches, watermark);
criterion_main!(benches);
