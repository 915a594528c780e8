// SPDX-License-Identifier: MIT OR Apache-2.0

//! Element message `cnn-denoise-quality`: conversion between [`DenoiseQualityMessage`] and
//! `gst::Structure`.

use crate::shared::{FrameTimes, QualityPreset};

/// Name of the message's structure.
const NAME: &str = "cnn-denoise-quality";

/// Contents of the element message `cnn-denoise-quality`, which `cnndenoise` with `quality=auto`
/// posts on the bus before the first frame of a preset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DenoiseQualityMessage {
    /// The preset from this frame on; not [`QualityPreset::Auto`].
    pub quality: QualityPreset,
    /// Why the preset changed.
    pub reason: QualityReason,
    /// Load that decided: processing time of nearly all recent frames, divided by the time between
    /// frames. 0 at the start.
    pub load: f64,
    /// Presentation timestamp of the frame.
    pub timestamp: Option<gst::ClockTime>,
    /// Stream time of the frame.
    pub stream_time: Option<gst::ClockTime>,
    /// Running time of the frame.
    pub running_time: Option<gst::ClockTime>,
}

/// Why `cnndenoise` changed the preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QualityReason {
    /// The stream or its format is new.
    Start,
    /// Frames were late.
    Late,
    /// There was time for a better preset.
    Margin,
}

impl QualityReason {
    const ALL: [Self; 3] = [Self::Start, Self::Late, Self::Margin];

    /// Returns the value of the field `reason`.
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Late => "late",
            Self::Margin => "margin",
        }
    }
}

/// Error of converting a structure that is not a valid `cnn-denoise-quality` message, with the
/// reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cnn-denoise-quality message: {0}")]
pub struct InvalidQualityMessage(String);

impl DenoiseQualityMessage {
    /// Returns the message about a frame.
    pub(super) fn new(
        quality: QualityPreset,
        reason: QualityReason,
        load: f64,
        times: FrameTimes,
    ) -> Self {
        let FrameTimes { timestamp, stream_time, running_time, .. } = times;
        Self { quality, reason, load, timestamp, stream_time, running_time }
    }
}

/// Converts a time to nanoseconds, `None` to `u64::MAX` (`GST_CLOCK_TIME_NONE`).
fn time_field(time: Option<gst::ClockTime>) -> u64 {
    time.map_or(u64::MAX, gst::ClockTime::nseconds)
}

impl From<&DenoiseQualityMessage> for gst::Structure {
    fn from(message: &DenoiseQualityMessage) -> Self {
        gst::Structure::builder(NAME)
            .field("quality", message.quality.name())
            .field("reason", message.reason.name())
            .field("load", message.load)
            .field("timestamp", time_field(message.timestamp))
            .field("stream-time", time_field(message.stream_time))
            .field("running-time", time_field(message.running_time))
            .build()
    }
}

impl TryFrom<&gst::StructureRef> for DenoiseQualityMessage {
    type Error = InvalidQualityMessage;

    fn try_from(structure: &gst::StructureRef) -> Result<Self, InvalidQualityMessage> {
        fn field<'a, T: glib::value::FromValue<'a>>(
            structure: &'a gst::StructureRef,
            name: &str,
        ) -> Result<T, InvalidQualityMessage> {
            let value =
                structure.value(name).map_err(|err| InvalidQualityMessage(err.to_string()))?;
            value.get().map_err(|err| InvalidQualityMessage(format!("{name}: {err}")))
        }
        if structure.name() != NAME {
            return Err(InvalidQualityMessage(format!("its name is {}", structure.name())));
        }
        let time = |name| Ok(gst::ClockTime::try_from(field::<u64>(structure, name)?).ok());
        let [quality, reason]: [&str; 2] =
            [field(structure, "quality")?, field(structure, "reason")?];
        let unknown =
            |name: &str, value: &str| InvalidQualityMessage(format!("its field {name} is {value}"));
        let presets = [QualityPreset::Fast, QualityPreset::Balanced, QualityPreset::Best];
        Ok(Self {
            quality: presets
                .into_iter()
                .find(|preset| preset.name() == quality)
                .ok_or_else(|| unknown("quality", quality))?,
            reason: QualityReason::ALL
                .into_iter()
                .find(|known| known.name() == reason)
                .ok_or_else(|| unknown("reason", reason))?,
            load: field(structure, "load")?,
            timestamp: time("timestamp")?,
            stream_time: time("stream-time")?,
            running_time: time("running-time")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_survives_the_round_trip() {
        gst::init().unwrap();
        for reason in QualityReason::ALL {
            let message = DenoiseQualityMessage {
                quality: QualityPreset::Balanced,
                reason,
                load: 0.75,
                timestamp: Some(gst::ClockTime::from_mseconds(40)),
                stream_time: None,
                running_time: Some(gst::ClockTime::ZERO),
            };
            let structure = gst::Structure::from(&message);
            assert_eq!(DenoiseQualityMessage::try_from(structure.as_ref()), Ok(message));
            for name in structure.fields().map(|f| f.to_string()).collect::<Vec<_>>() {
                let mut incomplete = structure.clone();
                incomplete.remove_field(&name);
                assert!(DenoiseQualityMessage::try_from(incomplete.as_ref()).is_err(), "{name}");
            }
            let mut unknown = structure;
            unknown.set("quality", "auto");
            assert!(DenoiseQualityMessage::try_from(unknown.as_ref()).is_err());
        }
    }
}
