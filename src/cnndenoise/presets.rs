// SPDX-License-Identifier: MIT OR Apache-2.0

//! Networks of the quality presets that a stream may use ([`Presets`]), and the choice among them
//! ([`AutoQuality`]).

use super::{
    message::{DenoiseQualityMessage, QualityReason},
    preset_control::{Change, FrameLoad, PresetControl},
};
use crate::shared::{FramePace, FrameTimes, ModelSettings, QualityPreset};
use cnnvideo::{
    denoise::{BitDepth, Denoiser, Error, Networks},
    frame::Colour,
    nn,
};

/// Presets that `quality=auto` chooses from, fastest first, and the time of a frame compared with
/// the first one. Measured on 4:2:0 video from 640x360 to 1920x1080 on two threads; the ratios of
/// RGB are smaller.
const AUTO_PRESETS: [(QualityPreset, f64); 3] =
    [(QualityPreset::Fast, 1.0), (QualityPreset::Balanced, 2.0), (QualityPreset::Best, 8.4)];

/// Value of `quality` in the statistics if the user's network runs.
const MODEL_FILE: &str = "model-file";

/// Loaded networks of the presets that the settings allow.
pub enum Presets {
    /// Those of one preset or of a model file, with its name in the statistics.
    One(Networks, &'static str),
    /// Those of [`AUTO_PRESETS`].
    Auto([Networks; AUTO_PRESETS.len()]),
}

impl Presets {
    /// Loads the networks that the settings select.
    ///
    /// # Errors
    /// An unknown or missing device, or a model that does not load.
    pub(super) fn load(settings: &ModelSettings) -> Result<Self, nn::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        if let Some(path) = &settings.model_file {
            let networks = Networks::from_file(path.clone(), device, precision)?;
            return Ok(Self::One(networks, MODEL_FILE));
        }
        let load = |preset: QualityPreset| {
            let quality = preset.quality().unwrap_or_default();
            Networks::built_in(quality, device, precision)
        };
        Ok(match settings.quality {
            QualityPreset::Auto => {
                let [fast, balanced, best] = AUTO_PRESETS;
                Self::Auto([load(fast.0)?, load(balanced.0)?, load(best.0)?])
            }
            preset => Self::One(load(preset)?, preset.name()),
        })
    }

    /// Returns the backend and device that the networks run on.
    pub(super) fn backend(&self) -> String {
        match self {
            Self::One(networks, _) | Self::Auto([networks, ..]) => networks.backend(),
        }
    }

    /// Creates a denoiser for pictures of a colour format and bit depth, and the choice of its
    /// network. `threads`: 0 for the number of cores.
    ///
    /// # Errors
    /// A model file for other planes than those of `colour`.
    pub(super) fn denoiser(
        &self,
        colour: Colour,
        bit_depth: BitDepth,
        threads: usize,
    ) -> Result<(Denoiser, PresetInUse), Error> {
        match self {
            Self::One(networks, name) => {
                let denoiser = networks.denoiser(colour, bit_depth, threads)?;
                Ok((denoiser, PresetInUse::Fixed(name)))
            }
            Self::Auto([first, others @ ..]) => {
                let mut denoiser = first.denoiser(colour, bit_depth, threads)?;
                for networks in others {
                    denoiser.add_network(networks.network(colour, bit_depth)?);
                }
                Ok((denoiser, PresetInUse::Auto(Box::default())))
            }
        }
    }
}

/// The preset that runs.
pub(super) enum PresetInUse {
    /// One that does not change, with its name in the statistics.
    Fixed(&'static str),
    /// The best one that keeps up with the stream.
    Auto(Box<AutoQuality>),
}

impl PresetInUse {
    /// Returns the name of the preset in the statistics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Fixed(name) => name,
            Self::Auto(auto) => auto.preset().name(),
        }
    }
}

/// Choice of the best preset that keeps up with the stream.
pub(super) struct AutoQuality {
    control: PresetControl,
    /// The change that the next frame announces, and the load that led to it.
    change: Option<(QualityReason, f64)>,
}

impl Default for AutoQuality {
    fn default() -> Self {
        let costs = AUTO_PRESETS.map(|(_, cost)| cost);
        Self {
            control: PresetControl::new(costs.to_vec()),
            change: Some((QualityReason::Start, 0.0)),
        }
    }
}

impl AutoQuality {
    /// Returns the preset for the next frame.
    fn preset(&self) -> QualityPreset {
        AUTO_PRESETS[self.control.preset()].0
    }

    /// Exchanges the network before a frame if the preset has changed, and returns the message
    /// about it.
    pub(super) fn frame_started(
        &mut self,
        denoiser: &mut Denoiser,
        times: FrameTimes,
    ) -> Option<DenoiseQualityMessage> {
        let (reason, load) = self.change.take()?;
        denoiser.select_network(self.control.preset());
        Some(DenoiseQualityMessage::new(self.preset(), reason, load, times))
    }

    /// Takes the pace of a processed frame. `is_full`: whether the network ran on the whole frame.
    pub(super) fn frame_processed(&mut self, pace: FramePace, is_full: bool) {
        let FramePace { time, interval, is_late_downstream } = pace;
        let frame = FrameLoad { time, interval, is_full, is_late_downstream };
        let reason = match self.control.frame(frame) {
            Some(Change::Up) => QualityReason::Margin,
            Some(Change::Down) => QualityReason::Late,
            None => return,
        };
        self.change = Some((reason, self.control.load_before_change()));
    }
}
