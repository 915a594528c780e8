// SPDX-License-Identifier: MIT OR Apache-2.0

//! Networks that the segmentation runs, and its errors.

use std::{path::PathBuf, sync::Arc};

use super::SIGNATURE;
use crate::{
    frame,
    nn::{self, Device, ModelSource, Network, Precision, network_cache},
    smooth,
};

/// Segmentation network that is part of the plugin.
const BUILT_IN: ModelSource = ModelSource::Embedded {
    name: "segment-fast",
    bytes: include_bytes!("../../models/segment-fast.safetensors"),
};

/// Errors of [`Segmenter`](super::Segmenter) and [`SegmentNetworks`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A model cannot be loaded or run.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// A frame does not have the expected layout.
    #[error(transparent)]
    Frame(#[from] frame::Error),
}

/// Networks that the segmentation runs.
#[derive(Clone)]
pub struct SegmentNetworks {
    /// Predicts structural edges: the smoothing network, of the signature [`smooth::SIGNATURE`].
    pub edges: Arc<dyn Network>,
    /// Predicts regions, of the signature [`SIGNATURE`]. Without it, regions depend on colours,
    /// edges and geodesic distances alone.
    pub region: Option<Arc<dyn Network>>,
}

impl SegmentNetworks {
    /// Loads the networks that are part of the plugin. `precision` applies to the edge network; the
    /// segmentation network runs with automatic precision.
    ///
    /// # Errors
    /// Fails if the device is not available.
    pub fn built_in(device: Device, precision: Precision) -> Result<Self, nn::Error> {
        let edges = smooth::built_in(device, precision)?;
        Ok(Self {
            edges,
            region: Some(network_cache::load(&BUILT_IN, device, Precision::Auto, &[SIGNATURE])?),
        })
    }

    /// Loads the segmentation network from a model file; the edge network is the built-in one.
    ///
    /// # Errors
    /// Fails if the file cannot be read, is not a model or is a model for another domain, or if the
    /// device is not available.
    pub fn from_file(path: PathBuf, device: Device, precision: Precision) -> Result<Self, Error> {
        let region =
            network_cache::load(&ModelSource::File(path), device, precision, &[SIGNATURE])?;
        Ok(Self { edges: smooth::built_in(device, precision)?, region: Some(region) })
    }

    /// Returns the name of the backend and device that run the segmentation network, or the edge
    /// network if there is none.
    pub fn backend(&self) -> String {
        self.region.as_ref().unwrap_or(&self.edges).backend()
    }
}
