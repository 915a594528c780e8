//! Networks that are loaded, so that several elements with the same model share its weights.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use super::{
    Device, Error, ModelSource, Network, Precision,
    cpu::{FloatNetwork, Int8Network},
};

/// What makes two loads the same. A file that was written again is another model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    Embedded(&'static str),
    File(PathBuf, u64, Option<SystemTime>),
}

type Networks = HashMap<(Identity, Device, Precision), Weak<dyn Network>>;

/// Loads a model for a device, or takes it from an element that has it loaded.
///
/// # Errors
/// What is wrong with the file or the device.
pub fn load(
    source: &ModelSource,
    device: Device,
    precision: Precision,
) -> Result<Arc<dyn Network>, Error> {
    static NETWORKS: Mutex<Option<Networks>> = Mutex::new(None);
    let identity = match source {
        ModelSource::Embedded { name, .. } => Identity::Embedded(name),
        ModelSource::File(path) => {
            let metadata = std::fs::metadata(path).ok();
            let modified = metadata.as_ref().and_then(|m| m.modified().ok());
            Identity::File(path.clone(), metadata.map_or(0, |m| m.len()), modified)
        }
    };
    let key = (identity, device, precision);
    // Held while loading: two elements that start together load once.
    let mut networks = NETWORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let networks = networks.get_or_insert_default();
    if let Some(network) = networks.get(&key).and_then(Weak::upgrade) {
        return Ok(network);
    }
    let network = open(source, device, precision)?;
    networks.retain(|_, network| network.strong_count() > 0);
    networks.insert(key, Arc::downgrade(&network));
    Ok(network)
}

fn is_script(source: &ModelSource) -> bool {
    matches!(source, ModelSource::File(path) if path.extension().is_some_and(|e| e == "pt"))
}

#[cfg(feature = "torch")]
fn has_cuda() -> bool {
    super::torch::cuda_devices() > 0
}

#[cfg(not(feature = "torch"))]
fn has_cuda() -> bool {
    false
}

/// Whether a model that was trained for 8-bit integers would run in them: where there are weights for both kinds of
/// arithmetic, these are the ones to take.
pub fn takes_int8(device: Device, precision: Precision) -> bool {
    match precision {
        Precision::Int8 => true,
        Precision::Fp32 => false,
        Precision::Auto => device == Device::Cpu || device == Device::Auto && !has_cuda(),
    }
}

#[cfg(feature = "torch")]
fn open(
    source: &ModelSource,
    device: Device,
    precision: Precision,
) -> Result<Arc<dyn Network>, Error> {
    use super::torch::TorchNetwork;
    if let ModelSource::File(path) = source
        && is_script(source)
    {
        return Ok(Arc::new(TorchNetwork::from_script(path, device)?));
    }
    let on_cuda = match device {
        Device::Cpu => false,
        Device::Cuda(_) => true,
        Device::Auto => has_cuda() && precision != Precision::Int8,
    };
    if on_cuda && precision == Precision::Int8 {
        let reason = "8-bit integers run on the CPU only".to_owned();
        return Err(Error::Device { device: device.to_string(), reason });
    }
    if on_cuda {
        return Ok(Arc::new(TorchNetwork::new(&source.load()?, device)?));
    }
    on_cpu(source, precision)
}

#[cfg(not(feature = "torch"))]
fn open(
    source: &ModelSource,
    device: Device,
    precision: Precision,
) -> Result<Arc<dyn Network>, Error> {
    if let Device::Cuda(_) = device {
        let reason = "this build has no CUDA; it needs the cargo feature torch".to_owned();
        return Err(Error::Device { device: device.to_string(), reason });
    }
    if is_script(source) {
        return Err(Error::invalid(
            "model-file",
            "TorchScript files need a build with the cargo feature torch",
        ));
    }
    on_cpu(source, precision)
}

fn on_cpu(source: &ModelSource, precision: Precision) -> Result<Arc<dyn Network>, Error> {
    let model = source.load()?;
    let int8 = match precision {
        Precision::Auto => model.quantisation().is_some(),
        Precision::Int8 => true,
        Precision::Fp32 => false,
    };
    if int8 {
        Ok(Arc::new(Int8Network::new(model)?))
    } else {
        Ok(Arc::new(FloatNetwork::new(model)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_in_use_is_shared_and_a_rewritten_one_is_not() {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
        let path =
            std::env::temp_dir().join(format!("cnnvideo-cache-{}.safetensors", std::process::id()));
        std::fs::copy(format!("{models}/denoise-rgb-fast.safetensors"), &path).unwrap();
        let source = ModelSource::File(path.clone());
        let get = |device| load(&source, device, Precision::Auto);
        let first = get(Device::Cpu).unwrap();
        assert!(Arc::ptr_eq(&first, &get(Device::Cpu).unwrap()));

        std::fs::copy(format!("{models}/denoise-yuv420-fast.safetensors"), &path).unwrap();
        let second = get(Device::Cpu).unwrap();
        assert!(!Arc::ptr_eq(&first, &second) && first.domain() != second.domain());

        let weak = Arc::downgrade(&second);
        drop((first, second));
        assert_eq!(weak.strong_count(), 0);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(get(Device::Cpu), Err(Error::NotFound(_))));
        assert!(matches!(get(Device::Cuda(63)), Err(Error::Device { .. } | Error::NotFound(_))));
    }
}
