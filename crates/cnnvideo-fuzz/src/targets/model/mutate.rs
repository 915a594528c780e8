// SPDX-License-Identifier: MIT OR Apache-2.0

//! Changes of model files that keep the container intact: of weights and scales, of the entries of
//! tensors, and of the metadata.

use rand::{
    Rng,
    rngs::StdRng,
    seq::{IndexedRandom, IteratorRandom},
};
use serde_json::{Map, Value};

/// Weights and scales at the borders of what is valid, and a few beyond.
const VALUES: [f32; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e4,
    -1e4,
    1e3,
    1e-6,
    f32::MIN_POSITIVE,
    1e-45,
    1e-20,
    10_001.0,
    f32::NAN,
    f32::INFINITY,
];
/// Numbers of channels, blocks, offsets and so on.
const NUMBERS: [u64; 10] = [0, 1, 2, 3, 4, 5, 8, 64, 1 << 33, u64::MAX];
/// Most values that change at once.
const MAX_VALUES: usize = 40;

/// Changes a model file once; leaves a file alone that is none.
pub(super) fn mutate(file: &mut Vec<u8>, rng: &mut StdRng) {
    let Some((mut header, mut data)) = split(file) else { return };
    match rng.random_range(0..12) {
        0..=6 => change_values(&mut data, rng),
        7 => change_metadata(&mut header, rng),
        8 => change_hyper_parameter(&mut header, rng),
        9 => change_tensor(&mut header, rng),
        10 => swap_tensors(&mut header, rng),
        _ => data.resize(rng.random_range(0..=data.len() + 8), 0),
    }
    *file = join(&header, &data);
}

/// Splits a file into its header and the data of its tensors.
fn split(file: &[u8]) -> Option<(Map<String, Value>, Vec<u8>)> {
    let (length, rest) = file.split_first_chunk()?;
    let (header, data) =
        rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    Some((serde_json::from_slice(header).ok()?, data.to_vec()))
}

/// Returns the file of a header and data.
pub(super) fn join(header: &Map<String, Value>, data: &[u8]) -> Vec<u8> {
    let header = serde_json::to_vec(header).expect("the header can be written");
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

/// Changes weights, biases or scales.
fn change_values(data: &mut [u8], rng: &mut StdRng) {
    let values = data.as_chunks_mut::<4>().0;
    if values.is_empty() {
        return;
    }
    let first = rng.random_range(0..values.len());
    let count = rng.random_range(1..=MAX_VALUES);
    // Most changes are valid: the invalid values are at the end.
    let choices = if rng.random_ratio(1, 10) { &VALUES[..] } else { &VALUES[..11] };
    let value = *choices.choose(rng).expect("there are values");
    for bytes in values[first..].iter_mut().take(count) {
        if rng.random_ratio(1, 4) {
            bytes[rng.random_range(0..3)] ^= 1 << rng.random_range(0..8);
        } else {
            *bytes = value.to_le_bytes();
        }
    }
}

/// Changes or removes an entry of the metadata.
fn change_metadata(header: &mut Map<String, Value>, rng: &mut StdRng) {
    let Some(metadata) = header.get_mut("__metadata__").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(key) = metadata.keys().choose(rng).cloned() else { return };
    let texts = ["1", "2", "3", "", "rgb", "region", "denoise-rgb", "residual-unet", "-1", "1e9"];
    match rng.random_range(0..4) {
        0 => drop(metadata.remove(&key)),
        1 => {
            let number = NUMBERS.choose(rng).expect("there are numbers");
            metadata.insert(key, number.to_string().into());
        }
        2 => drop(metadata.insert(key, Value::Null)),
        _ => {
            let text = *texts.choose(rng).expect("there are texts");
            metadata.insert(key, text.into());
        }
    }
}

/// Replaces a number of the hyper-parameters.
fn change_hyper_parameter(header: &mut Map<String, Value>, rng: &mut StdRng) {
    let Some(text) = header
        .get_mut("__metadata__")
        .and_then(|metadata| metadata.get_mut("hyper-parameters"))
        .filter(|value| value.is_string())
    else {
        return;
    };
    let old = text.as_str().unwrap_or_default();
    let Some((at, _)) = old.match_indices(|c: char| c.is_ascii_digit()).choose(rng) else { return };
    let number = NUMBERS.choose(rng).expect("there are numbers");
    *text = format!("{}{number}{}", &old[..at], &old[at + 1..]).into();
}

/// Changes type, shape or place of a tensor, or removes it.
fn change_tensor(header: &mut Map<String, Value>, rng: &mut StdRng) {
    let Some(name) = tensor(header, rng) else { return };
    let number = *NUMBERS.choose(rng).expect("there are numbers");
    let entry = &mut header[&name];
    let list = if rng.random() { "shape" } else { "data_offsets" };
    match rng.random_range(0..4) {
        0 => drop(header.remove(&name)),
        1 => {
            let dtype = ["F16", "BF16", "F64", "I8", "BOOL"].choose(rng).expect("there are types");
            entry["dtype"] = (*dtype).into();
        }
        2 => {
            if let Some(value) =
                entry[list].as_array_mut().and_then(|list| list.iter_mut().choose(rng))
            {
                *value = number.into();
            }
        }
        _ => {
            if let Some(list) = entry[list].as_array_mut() {
                list.push(number.into());
            }
        }
    }
}

/// Exchanges the entries of two tensors.
fn swap_tensors(header: &mut Map<String, Value>, rng: &mut StdRng) {
    let (Some(a), Some(b)) = (tensor(header, rng), tensor(header, rng)) else { return };
    let entry = header[&a].clone();
    header[&a] = std::mem::replace(&mut header[&b], entry);
}

/// Returns the name of a tensor.
fn tensor(header: &Map<String, Value>, rng: &mut StdRng) -> Option<String> {
    header.keys().filter(|name| *name != "__metadata__").choose(rng).cloned()
}
