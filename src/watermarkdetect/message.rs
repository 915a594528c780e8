// SPDX-License-Identifier: MIT OR Apache-2.0

//! The element message that `watermarkdetect` posts on the bus, as a Rust type.

use cnnvideo::watermark::{Orientation, Payload, Report, Version};

/// Name of the message's structure.
const NAME: &str = "watermark";

/// Result that `watermarkdetect` posts on the bus: an element message with the structure
/// `watermark`.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkMessage {
    /// Result of decoding the window.
    pub report: Report,
    /// Timestamp of the window's last frame.
    pub timestamp: Option<gst::ClockTime>,
    /// Stream time of that frame.
    pub stream_time: Option<gst::ClockTime>,
    /// Running time of that frame.
    pub running_time: Option<gst::ClockTime>,
    /// Duration of that frame.
    pub duration: Option<gst::ClockTime>,
}

/// Error of converting a structure to a [`WatermarkMessage`], with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a watermark message: {0}")]
pub struct InvalidWatermarkMessage(String);

/// Returns a time in nanoseconds, `u64::MAX` if it is unknown, as GStreamer does.
fn nanoseconds(time: Option<gst::ClockTime>) -> u64 {
    time.map_or(u64::MAX, gst::ClockTime::nseconds)
}

impl From<&WatermarkMessage> for gst::Structure {
    fn from(message: &WatermarkMessage) -> Self {
        let report = &message.report;
        gst::Structure::builder(NAME)
            .field("present", report.payload.is_some())
            .field("payload", report.payload.map(|payload| payload.to_string()))
            .field("log10-p", report.log10_p)
            .field("z", report.z)
            .field("frames-used", report.frames)
            .field("bit-errors", report.bit_errors)
            .field("scale", report.scale)
            .field("angle", report.angle)
            .field("offset-x", report.offset_x)
            .field("offset-y", report.offset_y)
            .field("orientation", report.orientation.name())
            .field("epoch", report.epoch)
            .field("named", gst::List::new(report.named.iter().map(Payload::to_string)))
            .field("version", report.version.number())
            .field("described", report.described)
            .field("timestamp", nanoseconds(message.timestamp))
            .field("stream-time", nanoseconds(message.stream_time))
            .field("running-time", nanoseconds(message.running_time))
            .field("duration", nanoseconds(message.duration))
            .build()
    }
}

impl TryFrom<&gst::StructureRef> for WatermarkMessage {
    type Error = InvalidWatermarkMessage;

    fn try_from(structure: &gst::StructureRef) -> Result<Self, InvalidWatermarkMessage> {
        fn get<'a, T: glib::value::FromValue<'a>>(
            structure: &'a gst::StructureRef,
            name: &str,
        ) -> Result<T, InvalidWatermarkMessage> {
            let value =
                structure.value(name).map_err(|err| InvalidWatermarkMessage(err.to_string()))?;
            value.get().map_err(|err| InvalidWatermarkMessage(format!("{name}: {err}")))
        }
        if structure.name() != NAME {
            return Err(InvalidWatermarkMessage(format!("unexpected name {}", structure.name())));
        }
        let time = |name| Ok(gst::ClockTime::try_from(get::<u64>(structure, name)?).ok());
        let present: bool = get(structure, "present")?;
        let payload = match get::<Option<String>>(structure, "payload")? {
            Some(text) if present => Some(
                text.parse::<Payload>()
                    .map_err(|err| InvalidWatermarkMessage(format!("payload: {err}")))?,
            ),
            _ => None,
        };
        if present != payload.is_some() {
            return Err(InvalidWatermarkMessage("present is set but payload is null".to_owned()));
        }
        let named = get::<gst::List>(structure, "named")?;
        let named = named.iter().map(|value| {
            let text = value.get::<String>().map_err(|err| err.to_string())?;
            text.parse::<Payload>().map_err(|err| err.to_string())
        });
        let named = named
            .collect::<Result<_, _>>()
            .map_err(|err| InvalidWatermarkMessage(format!("named: {err}")))?;
        let orientation = get::<String>(structure, "orientation")?;
        let orientation = Orientation::from_name(&orientation)
            .ok_or_else(|| InvalidWatermarkMessage(format!("unknown orientation {orientation}")))?;
        let version = get(structure, "version")?;
        let version = Version::from_number(version)
            .ok_or_else(|| InvalidWatermarkMessage(format!("unknown version {version}")))?;
        Ok(Self {
            report: Report {
                payload,
                named,
                version,
                described: get(structure, "described")?,
                epoch: get(structure, "epoch")?,
                z: get(structure, "z")?,
                log10_p: get(structure, "log10-p")?,
                frames: get(structure, "frames-used")?,
                bit_errors: get(structure, "bit-errors")?,
                scale: get(structure, "scale")?,
                angle: get(structure, "angle")?,
                offset_x: get(structure, "offset-x")?,
                offset_y: get(structure, "offset-y")?,
                orientation,
            },
            timestamp: time("timestamp")?,
            stream_time: time("stream-time")?,
            running_time: time("running-time")?,
            duration: time("duration")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: Option<Payload>) -> WatermarkMessage {
        let report = Report {
            payload,
            named: payload.into_iter().chain([Payload(9)]).collect(),
            version: Version::Two,
            described: 0.75,
            epoch: 3,
            z: 15.5,
            log10_p: -30.25,
            frames: 48,
            bit_errors: 7,
            scale: 1.41,
            angle: -2.5,
            offset_x: 10.0,
            offset_y: -20.0,
            orientation: Orientation::from_name("90l").expect("a known name"),
        };
        let time = Some(gst::ClockTime::from_mseconds(40));
        WatermarkMessage {
            report,
            timestamp: time,
            stream_time: None,
            running_time: time,
            duration: time,
        }
    }

    #[test]
    fn message_survives_conversion_to_structure_and_back() {
        gst::init().unwrap();
        for payload in [None, Some(Payload(0xabc))] {
            let message = message(payload);
            let structure = gst::Structure::from(&message);
            assert_eq!(structure.get::<bool>("present"), Ok(payload.is_some()));
            assert_eq!(WatermarkMessage::try_from(structure.as_ref()), Ok(message));
        }
    }

    #[test]
    fn invalid_structures_are_rejected() {
        gst::init().unwrap();
        let valid = gst::Structure::from(&message(Some(Payload(1))));
        let rejected = |change: &dyn Fn(&mut gst::StructureRef)| {
            let mut structure = valid.clone();
            change(&mut structure);
            WatermarkMessage::try_from(structure.as_ref()).is_err()
        };
        assert!(!rejected(&|_| ()));
        assert!(rejected(&|s| s.set_name("other")));
        assert!(rejected(&|s| s.set("payload", "no hex")));
        assert!(rejected(&|s| s.set("payload", None::<String>)));
        assert!(rejected(&|s| s.set("z", "text")));
        assert!(rejected(&|s| s.set("version", 3u32)));
        let names: Vec<_> = valid.fields().map(|f| f.to_string()).collect();
        for name in names {
            assert!(rejected(&|s| s.remove_field(&name)), "{name}");
        }
    }
}
