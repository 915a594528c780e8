//! Tests of short training runs: the loss falls, a run resumes from its checkpoint, and the engine
//! loads the model.

#![cfg(feature = "torch")]

#[path = "../../../tests/common/temporary.rs"]
mod temporary;

use cnnvideo::nn::{
    Device, IoSpec, Model, Network, Size, Tensor,
    arch::{Architecture, InvertedUnet, ResidualUnet, Stage},
    cpu::{FloatNetwork, Int8Network},
};
use cnnvideo::{
    denoise::{YUV420, estimate},
    segment, smooth, watermark,
};
use cnnvideo_train::{
    self as train, self, Length,
    denoise::{Options, denoise},
};
use image::RgbImage;
use temporary::Temporary;

fn unet(io: IoSpec, widths: [usize; 2], hidden: [usize; 2]) -> Architecture {
    Architecture::ResidualUnet(ResidualUnet {
        inputs: io.inputs(),
        outputs: io.output,
        widths: widths.to_vec(),
        hidden: hidden.to_vec(),
        down_blocks: vec![1, 1],
        up_blocks: vec![1],
    })
}

fn options(folder: &std::path::Path, minutes: f64, resume: bool) -> Options {
    let run = train::Options {
        out: folder.join("model.safetensors"),
        signature: YUV420,
        architecture: unet(YUV420.io, [8, 8], [8, 8]),
        init: None,
        renew: false,
        pretrained: None,
        resume,
        length: Length::Minutes(minutes),
        seed: 1,
        batch: 4,
        side: 32,
        rate: 2e-3,
        bf16_share: 0.0,
        quantise: false,
        device: Device::Cpu,
        loaders: 1,
    };
    Options { run, data: folder.to_owned(), coloured: 0.2, clipped: 0.5, fused: 0.3, camera: 0.3 }
}

/// Returns the log of the checkpoint as (step, loss).
fn log(folder: &std::path::Path) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(folder.join("model.checkpoint.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entries = json["log"].as_array().unwrap();
    entries.iter().map(|e| (e["step"].as_u64().unwrap(), e["loss"].as_f64().unwrap())).collect()
}

#[test]
fn a_run_learns_and_resumes() {
    tch::set_num_threads(1);
    let folder = Temporary::new("training");
    std::fs::create_dir_all(folder.0.join("eval")).unwrap();
    for i in 0..60u32 {
        let picture = RgbImage::from_fn(256, 256, |x, y| {
            image::Rgb([(x + i * 4) as u8, (y / 2 + x / 4 * (i % 3)) as u8, ((x ^ y) / 2) as u8])
        });
        picture.save(folder.0.join(format!("{i}.png"))).unwrap();
    }
    // Files in `eval` must not be read; this one would end the run with an error.
    std::fs::write(folder.0.join("eval/broken.png"), b"no picture").unwrap();

    denoise(&options(&folder.0, 0.1, false)).unwrap();
    let first = log(&folder.0);
    denoise(&options(&folder.0, 0.2, true)).unwrap();
    let both = log(&folder.0);
    assert_eq!(both[..first.len()], first[..]);
    let (before, after) = (first.last().unwrap(), both.last().unwrap());
    assert!(after.0 > before.0 && after.1 < before.1, "{both:?}");
    assert!(folder.0.join("model.png").exists());

    let model = Model::from_file(&folder.0.join("model.safetensors")).unwrap();
    assert!(model.training.contains(&format!("{} steps", after.0)), "{}", model.training);
    FloatNetwork::new(model).unwrap().session(Size { width: 16, height: 16 }, 1).unwrap();

    // A trained model can be trained further for 8-bit integers, and the int8 engine loads the
    // result.
    let mut quantised = options(&folder.0, 0.05, false);
    quantised.run.out = folder.0.join("int8.safetensors");
    quantised.run.init = Some(folder.0.join("model.safetensors"));
    quantised.run.quantise = true;
    denoise(&quantised).unwrap();
    let int8 = Model::from_file(&quantised.run.out).unwrap();
    assert!(int8.quantisation().is_some());
    Int8Network::new(int8).unwrap().session(Size { width: 16, height: 16 }, 1).unwrap();

    // A checkpoint of another architecture is refused.
    let mut other = options(&folder.0, 0.3, true);
    other.run.architecture = unet(YUV420.io, [8, 12], [8, 8]);
    assert!(denoise(&other).is_err());
}

/// Writes images named by their number to a new folder.
fn pictures<P: image::PixelWithColorType>(
    folder: &std::path::Path,
    extension: &str,
    count: u32,
    side: u32,
    pixel: impl Fn(u32, u32, u32) -> P,
) where
    [P::Subpixel]: image::EncodableLayout,
{
    std::fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let picture = image::ImageBuffer::from_fn(side, side, |x, y| pixel(i, x, y));
        picture.save(folder.join(format!("{i}.{extension}"))).unwrap();
    }
}

#[test]
fn a_smoothing_run_learns_and_leaves_a_model_that_runs() {
    tch::set_num_threads(1);
    let folder = Temporary::new("smooth-training");
    let at = |name: &str| folder.0.join(name);
    pictures(&at("drawings"), "png", 12, 160, |i, x, y| {
        let inside = x.abs_diff(80) + y.abs_diff(80) < 40 + 2 * i;
        image::Rgba([(40 + 15 * i) as u8, 120, 200, if inside { 255 } else { 0 }])
    });
    pictures(&at("textures"), "jpg", 24, 96, |i, x, y| {
        image::Rgb([(((x * (3 + i)) ^ (y * (5 + i))) % 256) as u8; 3])
    });
    let flat =
        |i: u32, x: u32, y: u32| 60 + 20 * (i % 4) + if x > 48 { 70 } else { 0 } + (x ^ y) % 9;
    pictures(&at("photos"), "png", 3, 96, |i, x, y| image::Rgb([flat(i, x, y) as u8; 3]));
    pictures(&at("boundaries"), "png", 3, 96, |_, x, _| {
        image::Luma([if x == 48 { 255u8 } else { 0 }])
    });

    let signature = smooth::SIGNATURE;
    let mut run = options(&folder.0, 0.0, false).run;
    run.signature = signature;
    run.architecture = unet(signature.io, [8, 8], [8, 8]);
    run.length = Length::Steps(60);
    let mut options = train::smooth::Options {
        run,
        drawings: at("drawings"),
        textures: at("textures"),
        photos: at("photos"),
        boundaries: at("boundaries"),
        solved: 0.3,
    };
    train::smooth::smooth(&options).unwrap();
    let untrained = log(&folder.0).last().unwrap().1;
    options.run.length = Length::Steps(240);
    options.run.resume = true;
    train::smooth::smooth(&options).unwrap();
    let both = log(&folder.0);
    assert!(both.last().unwrap().0 == 240 && both.last().unwrap().1 < untrained, "{both:?}");
    let model = Model::from_file(&options.run.out).unwrap();
    FloatNetwork::new(model).unwrap().session(Size { width: 16, height: 16 }, 1).unwrap();

    options.run.init = Some(options.run.out.clone());
    options.run.out = at("int8.safetensors");
    options.run.quantise = true;
    options.run.resume = false;
    options.run.length = Length::Steps(5);
    train::smooth::smooth(&options).unwrap();
    Int8Network::new(Model::from_file(&options.run.out).unwrap()).unwrap();

    // Test images come in pairs and are reproducible.
    let (half, count) = (train::smooth::Half::Evaluation, 3);
    for name in ["set", "again"] {
        train::smooth::write_set(&at("drawings"), &at("textures"), &at(name), half, count).unwrap();
    }
    let names: Vec<_> =
        std::fs::read_dir(at("set")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2 * count);
    for name in names {
        let [a, b] = ["set", "again"].map(|set| std::fs::read(at(set).join(&name)).unwrap());
        assert_eq!(a, b);
    }
}

#[test]
fn a_segmenting_run_learns_and_leaves_a_model_that_runs() {
    tch::set_num_threads(1);
    let folder = Temporary::new("segment-training");
    let at = |name: &str| folder.0.join(name);
    pictures(&at("drawings"), "png", 12, 160, |i, x, y| {
        let inside = x.abs_diff(80) + y.abs_diff(80) < 40 + 2 * i;
        image::Rgba([(40 + 15 * i) as u8, 120, 200, if inside { 255 } else { 0 }])
    });
    // A bright disc on a dark background: region 2 within region 1.
    let disc = |i: u32, x: u32, y: u32| {
        x.abs_diff(60 + i % 9).pow(2) + y.abs_diff(64).pow(2) < (20 + i % 13).pow(2)
    };
    pictures(&at("photos"), "png", 40, 128, |i, x, y| {
        image::Rgb(if disc(i, x, y) {
            [200, 150 + (i % 40) as u8, 90]
        } else {
            [60, 70, 80 + (x ^ y) as u8 % 9]
        })
    });
    pictures(&at("drawn"), "png", 40, 128, |i, x, y| image::Luma([1 + u8::from(disc(i, x, y))]));
    std::fs::create_dir_all(at("regions")).unwrap();
    for entry in std::fs::read_dir(at("drawn")).unwrap() {
        let file = entry.unwrap().path();
        let name = format!("{}-0.png", file.file_stem().unwrap().to_str().unwrap());
        std::fs::copy(&file, at("regions").join(name)).unwrap();
    }
    let signature = segment::SIGNATURE;
    let mut run = options(&folder.0, 0.0, false).run;
    run.signature = signature;
    let stage = |side, stride| Stage { side, stride, blocks: 1, expansion: 3, channels: 8 };
    run.architecture = Architecture::InvertedUnet(InvertedUnet {
        inputs: signature.io.inputs(),
        outputs: signature.io.output,
        head: 8,
        stages: vec![stage(3, 1), stage(5, 2)],
        side: vec![],
        up_hidden: vec![8, 8],
        up_blocks: vec![1, 1],
    });
    run.side = 64;
    run.length = Length::Steps(20);
    let mut options = train::segment::Options {
        run,
        photos: at("photos"),
        regions: at("regions"),
        drawings: at("drawings"),
    };
    train::segment::segment(&options).unwrap();
    let untrained = log(&folder.0).last().unwrap().1;
    options.run.length = Length::Steps(160);
    options.run.resume = true;
    train::segment::segment(&options).unwrap();
    let both = log(&folder.0);
    assert!(both.last().unwrap().0 == 160 && both.last().unwrap().1 < untrained, "{both:?}");
    let model = Model::from_file(&options.run.out).unwrap();
    FloatNetwork::new(model).unwrap().session(Size { width: 32, height: 32 }, 1).unwrap();

    options.run.init = Some(options.run.out.clone());
    options.run.quantise = true;
    assert!(matches!(train::segment::segment(&options), Err(train::Error::NoQuantisation(_))));
}

#[test]
fn a_wider_network_begins_as_the_narrower_one_that_it_grows_from() {
    tch::set_num_threads(1);
    let folder = Temporary::new("growth");
    pictures(&folder.0, "png", 60, 256, |i, x, y| {
        image::Rgb([(x + i * 4) as u8, (y / 2) as u8, ((x ^ y) / 2) as u8])
    });
    let mut narrow = options(&folder.0, 0.0, false);
    narrow.run.length = Length::Steps(30);
    denoise(&narrow).unwrap();
    let mut wide = narrow.clone();
    wide.run.init = Some(narrow.run.out.clone());
    wide.run.out = folder.0.join("wide.safetensors");
    wide.run.architecture = unet(YUV420.io, [12, 16], [8, 12]);
    (wide.run.length, wide.run.rate) = (Length::Steps(1), 1e-9);
    denoise(&wide).unwrap();

    let size = Size { width: 24, height: 16 };
    let values = (0..24 * 16 * 8).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
    let input = Tensor::new(size, 8, values);
    let [a, b] = [&narrow, &wide].map(|options| {
        let network = FloatNetwork::new(Model::from_file(&options.run.out).unwrap()).unwrap();
        let mut session = network.session(size, 1).unwrap();
        input.run(&mut *session, 6).unwrap().values().to_vec()
    });
    let largest = a.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let difference = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 1e-3 && difference < 1e-4 * largest.max(1.0), "{difference} of {largest}");
}

#[test]
fn a_run_for_the_mask_of_watermarks_learns_and_leaves_a_model_that_runs() {
    tch::set_num_threads(1);
    let folder = Temporary::new("texture-training");
    pictures(&folder.0, "png", 40, 256, |i, x, y| {
        image::Rgb([if x < 128 { 90 } else { (40 + 13 * i + x * y * (7 + i) % 61) as u8 }; 3])
    });
    let signature = watermark::training::SIGNATURE;
    let mut run = options(&folder.0, 0.0, false).run;
    run.signature = signature;
    run.architecture = unet(signature.io, [8, 8], [8, 8]);
    (run.side, run.batch) = (64, 2);
    run.length = Length::Steps(10);
    let mut options = train::texture::Options { run, data: folder.0.clone() };
    // The loss of a single step depends on the random PSNR of its images, so the test uses the
    // structural similarity on the validation images.
    let similarity = || {
        let text = std::fs::read_to_string(folder.0.join("model.checkpoint.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["log"].as_array().unwrap().last().unwrap()["psnr"][0][1].as_f64().unwrap()
    };
    train::texture::texture(&options).unwrap();
    let untrained = similarity();
    (options.run.length, options.run.resume) = (Length::Steps(80), true);
    train::texture::texture(&options).unwrap();
    assert_eq!(log(&folder.0).last().unwrap().0, 80);
    assert!(similarity() > untrained, "{untrained} to {}", similarity());
    let model = Model::from_file(&options.run.out).unwrap();
    FloatNetwork::new(model).unwrap().session(Size { width: 32, height: 32 }, 1).unwrap();

    options.run.init = Some(options.run.out.clone());
    options.run.quantise = true;
    assert!(matches!(train::texture::texture(&options), Err(train::Error::NoQuantisation(_))));
}

#[test]
fn a_run_for_the_estimate_of_noise_learns_and_leaves_a_model_that_runs() {
    tch::set_num_threads(1);
    let folder = Temporary::new("level-training");
    pictures(&folder.0, "png", 40, 256, |i, x, y| {
        image::Rgb([(x / 2 + 3 * i) as u8, (60 + y / 2) as u8, 120])
    });
    let signature = estimate::SIGNATURE;
    let mut run = options(&folder.0, 0.0, false).run;
    run.signature = signature;
    run.architecture = unet(signature.io, [8, 8], [8, 8]);
    (run.side, run.batch, run.rate) = (64, 2, 3e-3);
    run.length = Length::Steps(80);
    let mut options = train::level::Options { run, data: folder.0.clone() };
    train::level::level(&options).unwrap();
    let losses = log(&folder.0);
    options.run.resume = true;
    options.run.length = Length::Steps(160);
    train::level::level(&options).unwrap();
    let [first, last] = [losses.last().unwrap().1, log(&folder.0).last().unwrap().1];
    assert!(last < first, "{first} to {last}");
    let model = Model::from_file(&options.run.out).unwrap();
    FloatNetwork::new(model).unwrap().session(Size { width: 32, height: 32 }, 1).unwrap();

    options.run.init = Some(options.run.out.clone());
    options.run.quantise = true;
    assert!(matches!(train::level::level(&options), Err(train::Error::NoQuantisation(_))));
}
