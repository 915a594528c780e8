// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of reading and writing model files: every invalid file gives an error that names the
//! invalid field.

use std::collections::HashMap;

use crate::networks::{REGION, RGB, YUV420, quantised_model, random_model};
use cnnvideo_nn::{
    Error, Model, ModelSource,
    arch::{Architecture, ResidualUnet},
    cpu::Int8Network,
    model::{ConvWeights, LowNoiseScales, Quantisation},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

fn valid() -> Vec<u8> {
    random_model(YUV420, 1).to_bytes().unwrap()
}

/// Splits a safetensors file into its JSON header and its tensor data.
fn parts(bytes: &[u8]) -> (serde_json::Value, &[u8]) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), &bytes[8 + length..])
}

fn join(header: &serde_json::Value, data: &[u8]) -> Vec<u8> {
    let header = serde_json::to_vec(header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

/// Returns the field that the error for an invalid model file names.
fn field_of(bytes: &[u8]) -> String {
    match Model::from_bytes(bytes) {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("{:?}", other.map(|m| m.version)),
    }
}

#[test]
fn written_models_are_read_back() {
    let model = random_model(RGB, 2);
    let again = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
    assert_eq!(again.weights(), model.weights());
    assert_eq!(again.graph(), model.graph());
    assert_eq!((again.task, again.io), (model.task, model.io));
}

#[test]
fn large_networks_are_stored_in_float16() {
    let architecture = Architecture::ResidualUnet(ResidualUnet {
        inputs: RGB.io.input_channels(),
        outputs: RGB.io.output,
        widths: vec![96, 160],
        hidden: vec![96, 160],
        down_blocks: vec![1, 1],
        up_blocks: vec![1],
    });
    let graph = architecture.graph().unwrap();
    let weights = graph.convs.iter().map(|spec| {
        let count = spec.weight_shape().iter().product();
        ConvWeights {
            weight: (0..count).map(|i: usize| (i as f32).sin()).collect(),
            bias: vec![0.1; spec.out_channels],
        }
    });
    let model = Model::new(RGB, architecture, weights.collect()).unwrap();
    let bytes = model.to_bytes().unwrap();
    assert!(bytes.len() < 3 * graph.parameters());
    let again = Model::from_bytes(&bytes).unwrap();
    let pairs = model.weights().iter().zip(again.weights());
    for (a, b) in pairs.flat_map(|(a, b)| a.weight.iter().zip(&b.weight)) {
        assert!((a - b).abs() <= a.abs() / 1024.0 + 1e-7, "{a} {b}");
    }
    let (header, data) = parts(&bytes);
    let name = format!("{}.weight", graph.convs[1].name);
    let mut infinite = data.to_vec();
    let begin = header[&name]["data_offsets"][0].as_u64().unwrap() as usize;
    infinite[begin..begin + 2].copy_from_slice(&0x7c00u16.to_le_bytes());
    assert_eq!(field_of(&join(&header, &infinite)), name);
}

#[test]
fn networks_of_inverted_blocks_run_in_float32_only() {
    let model = random_model(REGION, 2);
    let bytes = model.to_bytes().unwrap();
    let again = Model::from_bytes(&bytes).unwrap();
    assert_eq!(again.graph(), model.graph());
    let (header, data) = parts(&bytes);
    let mut other = header.clone();
    other["__metadata__"]["architecture"] = "residual-unet".into();
    assert_eq!(field_of(&join(&other, data)), "hyper-parameters");

    let convs = vec![0.02; model.graph().convs.len()];
    let quantisation = Quantisation::new(vec![1.0 / 255.0; model.graph().input_channels()], convs);
    let int8 = Int8Network::new(model.with_quantisation(quantisation).unwrap());
    assert!(matches!(int8, Err(Error::Invalid { field, .. }) if field == "quantisation"));
}

#[test]
fn activation_scales_are_read_back_and_checked() {
    let model = quantised_model(RGB, 2);
    let bytes = model.to_bytes().unwrap();
    assert_eq!(Model::from_bytes(&bytes).unwrap().quantisation(), model.quantisation());

    let (header, data) = parts(&bytes);
    for name in ["quantisation.input", "quantisation.steps", "quantisation.finer"] {
        let begin = header[name]["data_offsets"][0].as_u64().unwrap() as usize;
        for value in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e9] {
            let mut data = data.to_vec();
            data[begin..begin + 4].copy_from_slice(&f32::to_le_bytes(value));
            assert_eq!(field_of(&join(&header, &data)), name, "{value}");
        }
        let mut renamed = header.clone();
        let tensor = renamed.as_object_mut().unwrap().remove(name).unwrap();
        renamed["else"] = tensor;
        assert_eq!(field_of(&join(&renamed, data)), name);
    }
    // Without the limits of the low-noise scales, their tensor is unexpected.
    let mut renamed = header.clone();
    let tensor = renamed.as_object_mut().unwrap().remove("quantisation.most").unwrap();
    renamed["else"] = tensor;
    assert_eq!(field_of(&join(&renamed, data)), "tensors");
    let with_limits = |limits: &[f32]| {
        let quantisation = model.quantisation().unwrap().clone();
        let low_noise = limits
            .iter()
            .map(|limit| LowNoiseScales {
                max_control: *limit,
                ..quantisation.low_noise[0].clone()
            })
            .collect();
        model.clone().with_quantisation(Quantisation { low_noise, ..quantisation })
    };
    let two_sets = with_limits(&[0.1, 0.2]).unwrap();
    assert!(Model::from_bytes(&two_sets.to_bytes().unwrap()).is_ok());
    for limits in
        [vec![0.2, 0.1], vec![0.1, 0.1], vec![f32::NAN], (0..20).map(|i| i as f32).collect()]
    {
        let result = with_limits(&limits);
        assert!(
            matches!(result, Err(Error::Invalid { field, .. }) if field == "quantisation.most"),
            "{limits:?}"
        );
    }
    // Int8 arithmetic requires activation scales.
    let without = Int8Network::new(random_model(RGB, 2));
    assert!(matches!(without, Err(Error::Invalid { field, .. }) if field == "quantisation"));
}

#[test]
fn shipped_models_load_and_keep_their_budgets() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models")).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.metadata().unwrap().len() < 2_000_000, "{:?}", entry.file_name());
    }
    for (quality, max_macs) in [("fast", 8_200.0), ("balanced", 20_000.0)] {
        for (name, signature) in [("rgb", RGB), ("yuv420", YUV420)] {
            let path = format!(
                "{}/../../models/denoise-{name}-{quality}.safetensors",
                env!("CARGO_MANIFEST_DIR")
            );
            let model = ModelSource::File(path.into()).load().unwrap();
            assert_eq!((model.task.as_str(), model.io), (signature.task, signature.io));
            assert!(model.quantisation().is_some(), "{name}-{quality}");
            // `macs_per_pixel` counts per pixel of the network's input, which stands for four
            // pixels of the frame.
            assert!(model.graph().macs_per_pixel() / 4.0 <= max_macs);
        }
    }
}

#[test]
fn errors_name_the_wrong_metadata() {
    let bytes = valid();
    let (header, data) = parts(&bytes);
    let change = |key: &str, value: Option<&str>| {
        let mut header = header.clone();
        let metadata = header["__metadata__"].as_object_mut().unwrap();
        match value {
            Some(value) => metadata.insert(key.to_owned(), value.into()),
            None => metadata.remove(key),
        };
        field_of(&join(&header, data))
    };
    let channels = ["picture-channels", "control-channels", "output-channels"];
    let others = ["format", "task", "architecture", "hyper-parameters", "version", "training"];
    for key in channels.into_iter().chain(others) {
        assert_eq!(change(key, None), key);
    }
    assert_eq!(change("format", Some("3")), "format");
    assert_eq!(change("architecture", Some("transformer")), "architecture");
    for key in channels {
        assert_eq!(change(key, Some("-1")), key);
    }
    assert_eq!(change("picture-channels", Some("7")), "inputs");
    assert_eq!(change("control-channels", Some(&usize::MAX.to_string())), "inputs");
    assert_eq!(change("output-channels", Some("7")), "outputs");
    assert_eq!(change("hyper-parameters", Some("{")), "hyper-parameters");
    let hyper = |widths: &str| {
        format!(
            r#"{{"inputs":8,"outputs":6,"widths":{widths},"hidden":[16,24,20],"down_blocks":[1,1,2],"up_blocks":[1,1]}}"#
        )
    };
    assert_eq!(change("hyper-parameters", Some(&hyper("[16,24,1000000]"))), "widths");
    assert_eq!(change("hyper-parameters", Some(&hyper("[16,24]"))), "hidden");
    assert_eq!(change("hyper-parameters", Some(&hyper("[16,24,41]"))), "down.1.scale.weight");

    let mut without = header.clone();
    without.as_object_mut().unwrap().remove("__metadata__");
    assert_eq!(field_of(&join(&without, data)), "metadata");
}

#[test]
fn files_of_format_1_are_read() {
    for (domain, signature) in [("rgb", RGB), ("yuv420", YUV420)] {
        let bytes = quantised_model(signature, 3).to_bytes().unwrap();
        let (mut header, data) = parts(&bytes);
        let metadata = header["__metadata__"].as_object_mut().unwrap();
        metadata.retain(|key, _| !key.ends_with("-channels"));
        metadata.insert("format".to_owned(), "1".into());
        metadata.insert("task".to_owned(), "denoise".into());
        metadata.insert("domain".to_owned(), domain.into());
        let model = Model::from_bytes(&join(&header, data)).unwrap();
        assert_eq!((model.task.as_str(), model.io), (signature.task, signature.io));
        header["__metadata__"]["domain"] = "cmyk".into();
        assert_eq!(field_of(&join(&header, data)), "domain");
    }
}

#[test]
fn errors_name_the_wrong_tensor() {
    let bytes = valid();
    let (header, data) = parts(&bytes);

    // NaN, infinity and a value out of range, one at a time.
    let [first, _] = ["head.weight", "tail.bias"].map(|name| {
        let begin = header[name]["data_offsets"][0].as_u64().unwrap() as usize;
        for value in [f32::NAN, f32::INFINITY, -1e30] {
            let mut data = data.to_vec();
            data[begin..begin + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(field_of(&join(&header, &data)), name);
        }
        begin
    });
    assert_eq!(first % 4, 0);

    let mut renamed = header.clone();
    let tensor = renamed.as_object_mut().unwrap().remove("head.bias").unwrap();
    renamed["renamed.bias"] = tensor;
    assert_eq!(field_of(&join(&renamed, data)), "head.bias");

    let mut transposed = header.clone();
    transposed["head.weight"]["shape"].as_array_mut().unwrap().reverse();
    assert_eq!(field_of(&join(&transposed, data)), "head.weight");

    let mut typed = header.clone();
    typed["head.weight"]["dtype"] = "I32".into();
    assert_eq!(field_of(&join(&typed, data)), "head.weight");
}

#[test]
fn broken_containers_are_errors() {
    let bytes = valid();
    for length in [0, 1, 7, 8, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(Model::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    for header in [u64::MAX, 1 << 62, 1 << 32, 100_000_000] {
        let mut bytes = bytes.clone();
        bytes[..8].copy_from_slice(&header.to_le_bytes());
        assert_eq!(field_of(&bytes), "safetensors header");
    }
}

#[cfg(unix)]
#[test]
fn files_of_other_kinds_are_refused_without_blocking() {
    let folder = std::env::temp_dir().join(format!("cnnvideo-kinds-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let fifo = folder.join("fifo.safetensors");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let socket = folder.join("socket.safetensors");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let link = folder.join("link.safetensors");
    std::os::unix::fs::symlink(&fifo, &link).unwrap();
    let cases = [
        (fifo, "FIFO"),
        (link, "FIFO"),
        (socket, "socket"),
        (folder.clone(), "directory"),
        ("/dev/zero".into(), "device"),
    ];
    for (path, kind) in cases {
        let (done, result) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(ModelSource::File(path).load().map(|_| ())));
        let result = result.recv_timeout(std::time::Duration::from_secs(20));
        let error = result.unwrap_or_else(|_| panic!("{kind}: blocked")).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Read { .. }), "{text}");
        assert!(text.contains(kind) && text.contains("not a regular file"), "{text}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn files_of_absurd_size_are_refused() {
    let path = std::env::temp_dir().join(format!("cnnvideo-absurd-{}", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    // A sparse file: it takes no space.
    file.set_len(1 << 33).unwrap();
    let result = ModelSource::File(path.clone()).load();
    std::fs::remove_file(&path).unwrap();
    let error = result.unwrap_err().to_string();
    assert!(error.contains("larger than 256 MiB"), "{error}");
}

#[test]
fn mutated_files_do_not_panic() {
    let bytes = valid();
    let header_end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut rng = StdRng::seed_from_u64(99);
    let mut outcomes: HashMap<bool, u32> = HashMap::new();
    for _ in 0..4000 {
        let mut mutated = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            // Most of the file is weights, but most errors are possible in the header.
            let at = if rng.random_bool(0.8) {
                rng.random_range(0..header_end)
            } else {
                rng.random_range(0..bytes.len())
            };
            match rng.random_range(0..4) {
                0 => mutated[at] = rng.random(),
                1 => mutated[at] ^= 1 << rng.random_range(0..8),
                2 => mutated.truncate(at.max(1)),
                _ => mutated.insert(at.min(mutated.len()), rng.random()),
            }
            if mutated.len() < bytes.len() {
                break;
            }
        }
        *outcomes.entry(Model::from_bytes(&mutated).is_ok()).or_default() += 1;
    }
    // A changed weight is still a valid weight; nearly all other mutations are refused.
    assert!(outcomes[&false] > 2000 && outcomes[&true] > 50, "{outcomes:?}");
}
