// SPDX-License-Identifier: MIT OR Apache-2.0

//! Element message `cnn-segment`: conversion between [`SegmentMessage`] and `gst::Structure`.

/// Name of the message's structure.
const NAME: &str = "cnn-segment";

/// Contents of the element message `cnn-segment`, which `cnnsegment` posts on the bus about a
/// region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentMessage {
    /// Label of the region, 1 to 8.
    pub label: u32,
    /// Number of seeds, including those of other regions and of the background.
    pub seeds: u32,
    /// Area of the region as a share of the frame.
    pub area: f64,
    /// Confidence of the tracking, from 0 to 1.
    pub confidence: f64,
    /// Whether the region has been lost: it left the frame, was covered, its confidence became too
    /// low, or the scene changed.
    pub lost: bool,
    /// Whether the region, which was lost, is back.
    pub found: bool,
    /// Presentation timestamp of the frame.
    pub timestamp: Option<gst::ClockTime>,
    /// Stream time of the frame.
    pub stream_time: Option<gst::ClockTime>,
    /// Running time of the frame.
    pub running_time: Option<gst::ClockTime>,
}

/// Error of converting a structure that is not a valid `cnn-segment` message, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cnn-segment message: {0}")]
pub struct InvalidSegmentMessage(String);

/// Converts a time to nanoseconds, `None` to `u64::MAX` (`GST_CLOCK_TIME_NONE`).
fn time_field(time: Option<gst::ClockTime>) -> u64 {
    time.map_or(u64::MAX, gst::ClockTime::nseconds)
}

impl From<&SegmentMessage> for gst::Structure {
    fn from(message: &SegmentMessage) -> Self {
        gst::Structure::builder(NAME)
            .field("label", message.label)
            .field("seeds", message.seeds)
            .field("area", message.area)
            .field("confidence", message.confidence)
            .field("lost", message.lost)
            .field("found", message.found)
            .field("timestamp", time_field(message.timestamp))
            .field("stream-time", time_field(message.stream_time))
            .field("running-time", time_field(message.running_time))
            .build()
    }
}

impl TryFrom<&gst::StructureRef> for SegmentMessage {
    type Error = InvalidSegmentMessage;

    fn try_from(structure: &gst::StructureRef) -> Result<Self, InvalidSegmentMessage> {
        fn field<'a, T: glib::value::FromValue<'a>>(
            structure: &'a gst::StructureRef,
            name: &str,
        ) -> Result<T, InvalidSegmentMessage> {
            let value =
                structure.value(name).map_err(|err| InvalidSegmentMessage(err.to_string()))?;
            value.get().map_err(|err| InvalidSegmentMessage(format!("{name}: {err}")))
        }
        if structure.name() != NAME {
            return Err(InvalidSegmentMessage(format!("its name is {}", structure.name())));
        }
        let time = |name| Ok(gst::ClockTime::try_from(field::<u64>(structure, name)?).ok());
        Ok(Self {
            label: field(structure, "label")?,
            seeds: field(structure, "seeds")?,
            area: field(structure, "area")?,
            confidence: field(structure, "confidence")?,
            lost: field(structure, "lost")?,
            found: field(structure, "found")?,
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
        let message = SegmentMessage {
            label: 2,
            seeds: 5,
            area: 0.25,
            confidence: 0.75,
            lost: true,
            found: false,
            timestamp: Some(gst::ClockTime::from_mseconds(40)),
            stream_time: None,
            running_time: Some(gst::ClockTime::ZERO),
        };
        let structure = gst::Structure::from(&message);
        assert_eq!(SegmentMessage::try_from(structure.as_ref()), Ok(message));
        for name in structure.fields().map(|f| f.to_string()).collect::<Vec<_>>() {
            let mut incomplete = structure.clone();
            incomplete.remove_field(&name);
            assert!(SegmentMessage::try_from(incomplete.as_ref()).is_err(), "{name}");
        }
    }
}
