// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of short training runs: the loss falls, a run resumes from its checkpoint, and the engine
//! loads the model.

#![cfg(feature = "torch")]

#[path = "../../../tests/common/temporary.rs"]
mod temporary;

use std::path::Path;

use cnnvideo::nn::{
    Device, IoSpec, Model, Network, Signature, Size, Tensor,
    arch::{Architecture, EncoderStage, InvertedUnet, ResidualUnet},
    cpu::{FloatNetwork, Int8Network},
};
use cnnvideo::{
    demosaic,
    denoise::{YUV420, estimate},
    segment, smooth, watermark,
};
use cnnvideo_train::{
    self as train, Error, Length, RunOptions,
    demosaic::DemosaicOptions,
    denoise::DenoisingOptions,
    masking::MaskingOptions,
    noise_estimate::NoiseEstimationOptions,
    segment::SegmentationOptions,
    smooth::{Half, SmoothingOptions, TextureSource},
};
use temporary::Temporary;

fn unet(io: IoSpec, widths: [usize; 2], hidden: [usize; 2]) -> Architecture {
    Architecture::ResidualUnet(ResidualUnet {
        inputs: io.input_channels(),
        outputs: io.output,
        widths: widths.to_vec(),
        hidden: hidden.to_vec(),
        down_blocks: vec![1, 1],
        up_blocks: vec![1],
    })
}

/// Returns the options of a new run of a small network that writes `model.safetensors`.
fn run_options(folder: &Path, signature: Signature, length: Length) -> RunOptions {
    tch::set_num_threads(1);
    RunOptions {
        out: folder.join("model.safetensors"),
        signature,
        architecture: unet(signature.io, [8, 8], [8, 8]),
        init: None,
        reinitialise_diverged: false,
        pretrained: None,
        resume: false,
        length,
        seed: 1,
        batch_size: 4,
        patch_side: 32,
        learning_rate: 2e-3,
        bf16_share: 0.0,
        quantise: false,
        device: Device::Cpu,
        prefetch_threads: 1,
    }
}

/// Returns the options of a run on all kinds of noise.
fn denoising_options(folder: &Path, length: Length) -> DenoisingOptions {
    DenoisingOptions {
        run: run_options(folder, YUV420, length),
        data: folder.to_owned(),
        coloured: 0.2,
        clipped: 0.5,
        fused: 0.3,
        camera: 0.3,
    }
}

/// Returns the progress of the checkpoint beside `model.safetensors`.
fn checkpoint(folder: &Path) -> serde_json::Value {
    let tensors = tch::Tensor::load_multi(folder.join("model.checkpoint.pt")).unwrap();
    let (_, progress) = tensors.into_iter().find(|(name, _)| name == "progress").unwrap();
    serde_json::from_slice(&Vec::<u8>::try_from(progress).unwrap()).unwrap()
}

/// Returns the log of the checkpoint as (step, loss).
fn log(folder: &Path) -> Vec<(u64, f64)> {
    let checkpoint = checkpoint(folder);
    let entries = checkpoint["log"].as_array().unwrap();
    entries.iter().map(|e| (e["step"].as_u64().unwrap(), e["loss"].as_f64().unwrap())).collect()
}

/// Trains for `steps[0]` steps and resumes the run to `steps[1]`. Asserts that the second part ends
/// at that step with a lower loss.
fn assert_learns(
    run: &mut RunOptions,
    steps: [u64; 2],
    train: impl Fn(&RunOptions) -> Result<(), Error>,
) {
    let folder = run.out.parent().unwrap().to_owned();
    run.length = Length::Steps(steps[0]);
    train(run).unwrap();
    let (_, first_loss) = *log(&folder).last().unwrap();
    (run.length, run.resume) = (Length::Steps(steps[1]), true);
    train(run).unwrap();
    let log = log(&folder);
    let (step, loss) = *log.last().unwrap();
    assert!(step == steps[1] && loss < first_loss, "{log:?}");
}

/// Asserts that the engine loads a model and creates a session of `side` x `side` pixels.
fn assert_loads(model: &Path, side: usize) {
    let model = Model::from_file(model).unwrap();
    let network = FloatNetwork::new(model).unwrap();
    network.session(Size { width: side, height: side }, 1).unwrap();
}

/// Asserts that the trained network cannot be trained for 8-bit integers.
fn assert_refuses_quantisation(
    mut run: RunOptions,
    train: impl Fn(&RunOptions) -> Result<(), Error>,
) {
    run.init = Some(run.out.clone());
    run.quantise = true;
    assert!(matches!(train(&run), Err(Error::QuantisationUnsupported(_))));
}

/// Writes images named by their number to a new folder.
fn write_images<P: image::PixelWithColorType>(
    folder: &Path,
    extension: &str,
    count: u32,
    side: u32,
    pixel: impl Fn(u32, u32, u32) -> P,
) where
    [P::Subpixel]: image::EncodableLayout,
{
    std::fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let image = image::ImageBuffer::from_fn(side, side, |x, y| pixel(i, x, y));
        image.save(folder.join(format!("{i}.{extension}"))).unwrap();
    }
}

/// Writes drawings of a diamond on transparent background.
fn write_drawings(folder: &Path) {
    write_images(folder, "png", 12, 160, |i, x, y| {
        let inside = x.abs_diff(80) + y.abs_diff(80) < 40 + 2 * i;
        image::Rgba([(40 + 15 * i) as u8, 120, 200, if inside { 255 } else { 0 }])
    });
}

#[test]
fn denoising_network_trains_resumes_and_quantises() {
    let folder = Temporary::new("training");
    std::fs::create_dir_all(folder.0.join("eval")).unwrap();
    write_images(&folder.0, "png", 60, 256, |i, x, y| {
        image::Rgb([(x + i * 4) as u8, (y / 2 + x / 4 * (i % 3)) as u8, ((x ^ y) / 2) as u8])
    });
    // Files in `eval` must not be read; this one would end the run with an error.
    std::fs::write(folder.0.join("eval/broken.png"), b"no picture").unwrap();

    let mut options = denoising_options(&folder.0, Length::Minutes(0.1));
    train::denoise::train(&options).unwrap();
    let first = log(&folder.0);
    (options.run.length, options.run.resume) = (Length::Minutes(0.2), true);
    train::denoise::train(&options).unwrap();
    let both = log(&folder.0);
    assert_eq!(both[..first.len()], first[..]);
    let (before, after) = (first.last().unwrap(), both.last().unwrap());
    assert!(after.0 > before.0 && after.1 < before.1, "{both:?}");
    assert!(folder.0.join("model.png").exists());

    let model = Model::from_file(&options.run.out).unwrap();
    assert!(model.training.contains(&format!("{} steps", after.0)), "{}", model.training);
    assert_loads(&options.run.out, 16);

    // A trained model can be trained further for 8-bit integers, and the int8 engine loads the
    // result.
    let mut quantised = denoising_options(&folder.0, Length::Minutes(0.05));
    quantised.run.out = folder.0.join("int8.safetensors");
    quantised.run.init = Some(options.run.out.clone());
    quantised.run.quantise = true;
    train::denoise::train(&quantised).unwrap();
    let int8 = Model::from_file(&quantised.run.out).unwrap();
    assert!(int8.quantisation().is_some());
    Int8Network::new(int8).unwrap().session(Size { width: 16, height: 16 }, 1).unwrap();

    // A checkpoint of another architecture is refused.
    options.run.length = Length::Minutes(0.3);
    options.run.architecture = unet(YUV420.io, [8, 12], [8, 8]);
    assert!(train::denoise::train(&options).is_err());
}

#[test]
fn a_run_resumes_from_its_checkpoint_alone() {
    let folder = Temporary::new("checkpoint");
    write_images(&folder.0, "png", 60, 256, |i, x, y| {
        image::Rgb([(x + i * 4) as u8, (y / 2) as u8, ((x ^ y) / 2) as u8])
    });
    let float = denoising_options(&folder.0, Length::Steps(3));
    train::denoise::train(&float).unwrap();
    let mut quantised = float.clone();
    quantised.run.out = folder.0.join("int8.safetensors");
    quantised.run.init = Some(float.run.out.clone());
    quantised.run.quantise = true;

    // Without a checkpoint there is nothing to resume, even beside a model.
    let (out, file) = (quantised.run.out.clone(), folder.0.join("int8.checkpoint.pt"));
    std::fs::copy(&float.run.out, &out).unwrap();
    quantised.run.resume = true;
    let error = train::denoise::train(&quantised).unwrap_err();
    assert!(matches!(&error, Error::NoCheckpoint(path) if *path == file), "{error}");
    assert!(error.to_string().contains("leave out --resume"), "{error}");

    quantised.run.resume = false;
    train::denoise::train(&quantised).unwrap();
    let scales = || Model::from_file(&out).unwrap().quantisation().cloned();
    let before = scales();
    assert!(before.is_some());

    // A run that was killed between the checkpoint and the model leaves an older model behind, and
    // one that was killed while it wrote a checkpoint a part of one.
    std::fs::copy(&float.run.out, &out).unwrap();
    std::fs::write(folder.0.join(".1-int8.checkpoint.pt"), b"part").unwrap();
    quantised.run.resume = true;
    quantised.run.length = Length::Steps(4);
    train::denoise::train(&quantised).unwrap();
    assert_eq!(scales(), before);

    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let error = train::denoise::train(&quantised).unwrap_err();
    assert!(error.to_string().contains("int8.checkpoint.pt"), "{error}");
}

#[test]
fn smoothing_network_trains_resumes_and_quantises() {
    let folder = Temporary::new("smooth-training");
    let at = |name: &str| folder.0.join(name);
    write_drawings(&at("drawings"));
    write_images(&at("textures"), "jpg", 24, 96, |i, x, y| {
        image::Rgb([(((x * (3 + i)) ^ (y * (5 + i))) % 256) as u8; 3])
    });
    let flat =
        |i: u32, x: u32, y: u32| 60 + 20 * (i % 4) + if x > 48 { 70 } else { 0 } + (x ^ y) % 9;
    write_images(&at("photos"), "png", 3, 96, |i, x, y| image::Rgb([flat(i, x, y) as u8; 3]));
    write_images(&at("boundaries"), "png", 3, 96, |_, x, _| {
        image::Luma([if x == 48 { 255u8 } else { 0 }])
    });

    let mut run = run_options(&folder.0, smooth::SIGNATURE, Length::Steps(0));
    // Of the half of the textures that networks are trained on.
    std::fs::create_dir(at("textures").join("damaged")).unwrap();
    std::fs::write(at("textures/damaged/x.jpg"), b"no image").unwrap();
    let options = |run: &RunOptions| SmoothingOptions {
        run: run.clone(),
        drawings: at("drawings"),
        textures: at("textures"),
        held_back: vec!["damaged".to_owned()],
        photos: at("photos"),
        boundaries: at("boundaries"),
        solver_loss_share: 0.3,
    };
    let everything = SmoothingOptions { held_back: Vec::new(), ..options(&run) };
    let error = train::smooth::train(&everything).unwrap_err();
    assert!(error.to_string().contains("damaged/x.jpg"), "{error}");
    let train = |run: &RunOptions| train::smooth::train(&options(run));
    assert_learns(&mut run, [60, 240], train);
    assert_loads(&run.out, 16);

    run.init = Some(run.out.clone());
    run.out = at("int8.safetensors");
    run.quantise = true;
    run.resume = false;
    run.length = Length::Steps(5);
    train(&run).unwrap();
    Int8Network::new(Model::from_file(&run.out).unwrap()).unwrap();

    // Test images come in pairs and are reproducible.
    let count = 3;
    let write = |name: &str, source| {
        let (drawings, textures, half) = (at("drawings"), at("textures"), Half::Evaluation);
        train::smooth::write_set(&drawings, &textures, &at(name), half, source, count).unwrap();
    };
    write("set", TextureSource::Photographs);
    write("again", TextureSource::Photographs);
    write("generated", TextureSource::Generators);
    let names: Vec<_> =
        std::fs::read_dir(at("set")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2 * count);
    for name in names {
        let [a, b] = ["set", "again"].map(|set| std::fs::read(at(set).join(&name)).unwrap());
        assert!(a == b);
        let generated = std::fs::read(at("generated").join(&name)).unwrap();
        assert_eq!(generated == a, name.to_string_lossy().ends_with("target.png"));
    }
}

#[test]
fn demosaicking_network_trains_and_runs_in_int8() {
    let folder = Temporary::new("demosaic-training");
    let at = |name: &str| folder.0.join(name);
    write_images(&at("photos"), "png", 40, 256, |i, x, y| {
        let wave = |period: u32| 60 + (((x + 3 * i) * y / 7 + x * period) % 140) as u8;
        image::Rgb([wave(3), wave(5), wave(7)])
    });
    let mut run = run_options(&folder.0, demosaic::SIGNATURE, Length::Steps(1));
    let train = |run: &RunOptions| {
        train::demosaic::train(&DemosaicOptions { run: run.clone(), data: at("photos") })
    };
    assert_learns(&mut run, [40, 160], train);
    assert_loads(&run.out, 16);
    run.init = Some(run.out.clone());
    run.out = at("int8.safetensors");
    (run.quantise, run.resume, run.length) = (true, false, Length::Steps(5));
    train(&run).unwrap();
    Int8Network::new(Model::from_file(&run.out).unwrap()).unwrap();
}

#[test]
fn segmentation_network_trains_and_loads() {
    let folder = Temporary::new("segment-training");
    let at = |name: &str| folder.0.join(name);
    write_drawings(&at("drawings"));
    // A bright disc on a dark background: region 2 within region 1.
    let disc = |i: u32, x: u32, y: u32| {
        x.abs_diff(60 + i % 9).pow(2) + y.abs_diff(64).pow(2) < (20 + i % 13).pow(2)
    };
    write_images(&at("photos"), "png", 40, 128, |i, x, y| {
        image::Rgb(if disc(i, x, y) {
            [200, 150 + (i % 40) as u8, 90]
        } else {
            [60, 70, 80 + (x ^ y) as u8 % 9]
        })
    });
    // The first annotator's regions of image N are in `N-0.png`.
    write_images(&at("annotations"), "png", 40, 128, |i, x, y| {
        image::Luma([1 + u8::from(disc(i, x, y))])
    });
    std::fs::create_dir_all(at("regions")).unwrap();
    for i in 0..40 {
        let annotation = at("annotations").join(format!("{i}.png"));
        std::fs::copy(annotation, at("regions").join(format!("{i}-0.png"))).unwrap();
    }
    let signature = segment::SIGNATURE;
    let mut run = run_options(&folder.0, signature, Length::Steps(0));
    let stage = |side, stride| EncoderStage { side, stride, blocks: 1, expansion: 3, channels: 8 };
    run.architecture = Architecture::InvertedUnet(InvertedUnet {
        inputs: signature.io.input_channels(),
        outputs: signature.io.output,
        head: 8,
        stages: vec![stage(3, 1), stage(5, 2)],
        side: vec![],
        up_hidden: vec![8, 8],
        up_blocks: vec![1, 1],
    });
    run.patch_side = 64;
    let train = |run: &RunOptions| {
        train::segment::train(&SegmentationOptions {
            run: run.clone(),
            photos: at("photos"),
            regions: at("regions"),
            drawings: at("drawings"),
        })
    };
    assert_learns(&mut run, [20, 160], train);
    assert_loads(&run.out, 32);
    assert_refuses_quantisation(run, train);
}

#[test]
fn widening_preserves_the_function() {
    let folder = Temporary::new("growth");
    write_images(&folder.0, "png", 60, 256, |i, x, y| {
        image::Rgb([(x + i * 4) as u8, (y / 2) as u8, ((x ^ y) / 2) as u8])
    });
    let narrow = denoising_options(&folder.0, Length::Steps(30));
    train::denoise::train(&narrow).unwrap();
    let mut wide = narrow.clone();
    wide.run.init = Some(narrow.run.out.clone());
    wide.run.out = folder.0.join("wide.safetensors");
    wide.run.architecture = unet(YUV420.io, [12, 16], [8, 12]);
    (wide.run.length, wide.run.learning_rate) = (Length::Steps(1), 1e-9);
    train::denoise::train(&wide).unwrap();

    let size = Size { width: 24, height: 16 };
    let values = (0..24 * 16 * 8).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
    let input = Tensor::new(size, 8, values);
    let [a, b] = [&narrow, &wide].map(|options| {
        let network = FloatNetwork::new(Model::from_file(&options.run.out).unwrap()).unwrap();
        let mut session = network.session(size, 1).unwrap();
        input.run(&mut *session, 6).unwrap().values().to_vec()
    });
    let largest = a.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    let difference = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 1e-3 && difference < 1e-4 * largest.max(1.0), "{difference} of {largest}");
}

#[test]
fn masking_network_trains_and_loads() {
    let folder = Temporary::new("texture-training");
    write_images(&folder.0, "png", 40, 256, |i, x, y| {
        image::Rgb([if x < 128 { 90 } else { (40 + 13 * i + x * y * (7 + i) % 61) as u8 }; 3])
    });
    let mut run = run_options(&folder.0, watermark::training::SIGNATURE, Length::Steps(10));
    (run.patch_side, run.batch_size) = (64, 2);
    let train = |run: &RunOptions| {
        train::masking::train(&MaskingOptions { run: run.clone(), data: folder.0.clone() })
    };
    // The loss of a single step depends on the random PSNR of its images, so the test uses the
    // structural similarity on the validation images.
    let similarity = || {
        let checkpoint = checkpoint(&folder.0);
        checkpoint["log"].as_array().unwrap().last().unwrap()["psnr"][0][1].as_f64().unwrap()
    };
    train(&run).unwrap();
    let untrained = similarity();
    (run.length, run.resume) = (Length::Steps(80), true);
    train(&run).unwrap();
    assert_eq!(log(&folder.0).last().unwrap().0, 80);
    assert!(similarity() > untrained, "{untrained} to {}", similarity());
    assert_loads(&run.out, 32);
    assert_refuses_quantisation(run, train);
}

#[test]
fn noise_estimator_trains_and_loads() {
    let folder = Temporary::new("level-training");
    write_images(&folder.0, "png", 40, 256, |i, x, y| {
        image::Rgb([(x / 2 + 3 * i) as u8, (60 + y / 2) as u8, 120])
    });
    let mut run = run_options(&folder.0, estimate::SIGNATURE, Length::Steps(0));
    (run.patch_side, run.batch_size, run.learning_rate) = (64, 2, 3e-3);
    let train = |run: &RunOptions| {
        let options = NoiseEstimationOptions { run: run.clone(), data: folder.0.clone() };
        train::noise_estimate::train(&options)
    };
    assert_learns(&mut run, [80, 160], train);
    assert_loads(&run.out, 32);
    assert_refuses_quantisation(run, train);
}
