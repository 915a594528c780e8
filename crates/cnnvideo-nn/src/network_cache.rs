// SPDX-License-Identifier: MIT OR Apache-2.0

//! Process-wide cache of prepared networks, so that elements with the same model share its weights.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::SystemTime,
};

use super::{
    Device, Error, ModelSource, Network, Precision, Signature,
    cpu::{FloatNetwork, Int8Network},
};

/// Identity of a model in the cache. Length and modification time are part of it, so that a
/// rewritten file counts as a different model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ModelIdentity {
    /// Name of an embedded model.
    Embedded(&'static str),
    /// A model file.
    File { path: PathBuf, length: u64, modified: Option<SystemTime> },
}

/// Everything that [`load`] depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    model: ModelIdentity,
    device: Device,
    precision: Precision,
    signatures: Vec<Signature>,
}

/// A network of the cache. The mutex is locked while the network loads; until then, and after an
/// error, there is no network.
type Entry = Arc<Mutex<Option<Weak<dyn Network>>>>;

/// Returns the network of a model for a device and precision: the cached one if another element
/// uses it, otherwise a newly loaded one.
///
/// Threads that load the same model wait for the first of them. Other models do not wait.
///
/// `signatures` are those that the caller supports. A TorchScript file has no metadata; it gets the
/// first of them that it runs with.
///
/// # Errors
/// [`Error::Task`] for a model that has none of the signatures,
/// [`Error::NotFound`], [`Error::Read`] or [`Error::Invalid`] for a bad model file,
/// [`Error::Device`] for a device that cannot be used, [`Error::Backend`] when the backend cannot
/// prepare the network.
pub fn load(
    source: &ModelSource,
    device: Device,
    precision: Precision,
    signatures: &[Signature],
) -> Result<Arc<dyn Network>, Error> {
    let model = match source {
        ModelSource::Embedded { name, .. } => ModelIdentity::Embedded(name),
        ModelSource::File(path) => {
            let metadata = std::fs::metadata(path).ok();
            let modified = metadata.as_ref().and_then(|m| m.modified().ok());
            // Without metadata, loading reports the error.
            let length = metadata.map_or(0, |m| m.len());
            ModelIdentity::File { path: path.clone(), length, modified }
        }
    };
    let key = Key { model, device, precision, signatures: signatures.to_vec() };
    let entry = entry(key);
    let mut cached = lock(&entry);
    if let Some(network) = cached.as_ref().and_then(Weak::upgrade) {
        return Ok(network);
    }
    let network = load_uncached(source, device, precision, signatures)?;
    if !signatures.iter().any(|signature| signature.matches(&*network)) {
        return Err(Error::task(&*network, signatures));
    }
    *cached = Some(Arc::downgrade(&network));
    Ok(network)
}

/// Locks a mutex and ignores poisoning: values are replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the entry of a key, and removes the entries whose networks are no longer in use.
fn entry(key: Key) -> Entry {
    static ENTRIES: Mutex<Option<HashMap<Key, Entry>>> = Mutex::new(None);
    let mut entries = lock(&ENTRIES);
    let entries = entries.get_or_insert_default();
    // An entry with another owner is being loaded. Without one, locking it does not wait.
    entries.retain(|_, entry| {
        Arc::strong_count(entry) > 1
            || lock(entry).as_ref().is_some_and(|network| network.strong_count() > 0)
    });
    entries.entry(key).or_default().clone()
}

/// Returns whether the source is a TorchScript file (extension `pt`).
fn is_script(source: &ModelSource) -> bool {
    matches!(source, ModelSource::File(path) if path.extension().is_some_and(|e| e == "pt"))
}

/// Returns whether libtorch finds a CUDA device.
#[cfg(feature = "torch")]
fn has_cuda() -> bool {
    super::torch::cuda_devices() > 0
}

/// Returns false: CUDA needs the torch backend.
#[cfg(not(feature = "torch"))]
fn has_cuda() -> bool {
    false
}

/// Returns whether a model that was trained for int8 would run in int8 on this device with this
/// precision. Callers use it to choose between separate int8 and float32 weights of the same model.
pub fn prefers_int8(device: Device, precision: Precision) -> bool {
    match precision {
        Precision::Int8 => true,
        Precision::Fp32 => false,
        Precision::Auto => device == Device::Cpu || device == Device::Auto && !has_cuda(),
    }
}

/// Loads a model with the backend for the device.
#[cfg(feature = "torch")]
fn load_uncached(
    source: &ModelSource,
    device: Device,
    precision: Precision,
    signatures: &[Signature],
) -> Result<Arc<dyn Network>, Error> {
    use super::{model::open_regular_file, torch::TorchNetwork};
    if let ModelSource::File(path) = source
        && is_script(source)
    {
        open_regular_file(path).map_err(|err| Error::reading(path, &err))?;
        return Ok(Arc::new(TorchNetwork::from_script(path, device, signatures)?));
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
    load_on_cpu(source, precision)
}

/// Loads a model with the CPU backend, the only one of this build.
#[cfg(not(feature = "torch"))]
fn load_uncached(
    source: &ModelSource,
    device: Device,
    precision: Precision,
    _signatures: &[Signature],
) -> Result<Arc<dyn Network>, Error> {
    if let Device::Cuda(_) = device {
        let reason = "CUDA needs a build with the cargo feature torch".to_owned();
        return Err(Error::Device { device: device.to_string(), reason });
    }
    if is_script(source) {
        return Err(Error::invalid(
            "model-file",
            "TorchScript files need a build with the cargo feature torch",
        ));
    }
    load_on_cpu(source, precision)
}

/// Loads a model with the CPU backend in the arithmetic for the precision.
fn load_on_cpu(source: &ModelSource, precision: Precision) -> Result<Arc<dyn Network>, Error> {
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
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::IoSpec;

    const RGB: Signature =
        Signature::new("denoise-rgb", IoSpec { picture: 12, control: 1, output: 12 });
    const YUV420: Signature =
        Signature::new("denoise-yuv420", IoSpec { picture: 6, control: 2, output: 6 });

    #[test]
    fn loaded_models_are_shared_and_changed_files_are_reloaded() {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
        let path =
            std::env::temp_dir().join(format!("cnnvideo-cache-{}.safetensors", std::process::id()));
        std::fs::copy(format!("{models}/denoise-rgb-fast.safetensors"), &path).unwrap();
        let source = ModelSource::File(path.clone());
        let get = |device| load(&source, device, Precision::Auto, &[RGB, YUV420]);
        let first = get(Device::Cpu).unwrap();
        assert!(Arc::ptr_eq(&first, &get(Device::Cpu).unwrap()));

        std::fs::copy(format!("{models}/denoise-yuv420-fast.safetensors"), &path).unwrap();
        let second = get(Device::Cpu).unwrap();
        assert!(!Arc::ptr_eq(&first, &second) && first.task() != second.task());

        let weak = Arc::downgrade(&second);
        drop((first, second));
        assert_eq!(weak.strong_count(), 0);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(get(Device::Cpu), Err(Error::NotFound(_))));
        assert!(matches!(get(Device::Cuda(63)), Err(Error::Device { .. } | Error::NotFound(_))));
    }

    #[test]
    fn a_model_that_is_loading_makes_only_its_own_users_wait() {
        let key = |name| Key {
            model: ModelIdentity::Embedded(name),
            device: Device::Cpu,
            precision: Precision::Auto,
            signatures: vec![RGB],
        };
        let slow = entry(key("slow"));
        let loading = lock(&slow);
        let (done, finished) = mpsc::channel();
        let other = done.clone();
        thread::spawn(move || {
            drop(lock(&entry(key("other"))));
            other.send("other").unwrap();
        });
        let limit = Duration::from_secs(20);
        assert_eq!(finished.recv_timeout(limit), Ok("other"));
        let same = entry(key("slow"));
        assert!(Arc::ptr_eq(&slow, &same));
        thread::spawn(move || {
            drop(lock(&same));
            done.send("same").unwrap();
        });
        assert_eq!(finished.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(loading);
        assert_eq!(finished.recv_timeout(limit), Ok("same"));
    }

    #[test]
    fn threads_that_load_the_same_model_share_it() {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
        let source = ModelSource::File(format!("{models}/denoise-rgb-fast.safetensors").into());
        let get = || load(&source, Device::Cpu, Precision::Fp32, &[RGB]).unwrap();
        let networks: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(get)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(networks.iter().all(|network| Arc::ptr_eq(network, &networks[0])));
    }
}
