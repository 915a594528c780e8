// SPDX-License-Identifier: MIT OR Apache-2.0

//! State of a started `cnnsegment`: its networks, its stream and its statistics.

use super::stream::SegmentStream;
use crate::shared::{ModelSettings, Timing};
use cnnvideo::segment::{self, SegmentNetworks};

/// Statistics that the streaming thread shares with other threads.
#[derive(Debug, Default)]
pub(super) struct SegmentStatistics {
    /// Frames and times of their processing.
    pub timing: Timing,
    /// Backend that runs the networks.
    pub backend: String,
    /// Number of regions in the latest frame.
    pub regions: u32,
}

impl SegmentStatistics {
    /// Returns the value of the property `stats`.
    pub(super) fn to_structure(&self) -> gst::Structure {
        gst::Structure::builder("cnnsegment-stats")
            .field("frames", self.timing.frames())
            .field("mean-ms", self.timing.mean_ms())
            .field("p99-ms", self.timing.p99_ms())
            .field("backend", &self.backend)
            .field("regions", self.regions)
            .build()
    }
}

/// State between start and stop.
#[derive(Default)]
pub(super) struct SegmentState {
    /// Loaded networks, `None` while the element is stopped.
    pub networks: Option<SegmentNetworks>,
    /// State of the stream, `None` before there are caps.
    pub stream: Option<SegmentStream>,
}

impl std::fmt::Debug for SegmentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentState").finish_non_exhaustive()
    }
}

/// Loads the networks that the settings ask for.
///
/// # Errors
/// Fails if the device is unknown or not available, or if the model file cannot be used.
pub(super) fn load_networks(settings: &ModelSettings) -> Result<SegmentNetworks, segment::Error> {
    let device = settings.device.parse()?;
    let precision = settings.precision.into();
    match &settings.model_file {
        Some(path) => SegmentNetworks::from_file(path.clone(), device, precision),
        None => Ok(SegmentNetworks::built_in(device, precision)?),
    }
}
