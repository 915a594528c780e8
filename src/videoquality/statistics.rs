// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fields of the statistics of measures ([`Pooled`]) in the `video-quality` message.

use glib::prelude::*;

use super::message::InvalidQualityMessage;
use cnnvideo::quality::{PERCENTILES, POOLED_MEASURES, Pooled, WorstFrame};

/// Name of the structures of the worst frames.
const WORST_FRAME: &str = "worst-frame";

/// Adds the fields of a measure.
pub(super) fn write(structure: &mut gst::StructureRef, pooled: &Pooled) {
    let Pooled { name, harmonic_mean, percentiles, worst } = pooled;
    if let Some(mean) = harmonic_mean {
        structure.set(format!("harmonic-mean-{name}"), mean);
    }
    for (percent, value) in PERCENTILES.iter().zip(percentiles) {
        structure.set(format!("p{percent}-{name}"), value);
    }
    let worst = worst.iter().map(|frame| {
        gst::Structure::builder(WORST_FRAME)
            .field("value", frame.value)
            .field("number", frame.number)
            .field("running-time", frame.running_time.unwrap_or(u64::MAX))
            .build()
            .to_send_value()
    });
    structure.set(format!("worst-{name}"), gst::Array::from_values(worst));
}

/// Reads the statistics of all measures that the message has.
///
/// # Errors
/// A field that is missing or has another type.
pub(super) fn read(structure: &gst::StructureRef) -> Result<Vec<Pooled>, InvalidQualityMessage> {
    let present = POOLED_MEASURES.into_iter();
    let present = present.filter(|name| structure.has_field(format!("worst-{name}")));
    present.map(|name| read_measure(structure, name)).collect()
}

/// Reads the statistics of a measure.
fn read_measure(
    structure: &gst::StructureRef,
    name: &'static str,
) -> Result<Pooled, InvalidQualityMessage> {
    let wrong = |err: gst::structure::GetError<_>| InvalidQualityMessage(err.to_string());
    let mut percentiles = [0.0; PERCENTILES.len()];
    for (to, percent) in percentiles.iter_mut().zip(PERCENTILES) {
        *to = structure.get(format!("p{percent}-{name}")).map_err(wrong)?;
    }
    let worst = structure
        .get::<gst::Array>(format!("worst-{name}"))
        .map_err(|err| InvalidQualityMessage(err.to_string()))?;
    let worst = worst.iter().map(|value| worst_frame(value).map_err(InvalidQualityMessage));
    Ok(Pooled {
        name,
        harmonic_mean: structure.get_optional(format!("harmonic-mean-{name}")).map_err(wrong)?,
        percentiles,
        worst: worst.collect::<Result<_, _>>()?,
    })
}

/// Reads one of the worst frames.
fn worst_frame(value: &glib::SendValue) -> Result<WorstFrame, String> {
    let structure = value.get::<gst::Structure>().map_err(|err| err.to_string())?;
    let count = |name: &str| structure.get::<u64>(name).map_err(|err| err.to_string());
    Ok(WorstFrame {
        value: structure.get("value").map_err(|err| err.to_string())?,
        number: count("number")?,
        running_time: Some(count("running-time")?).filter(|time| *time != u64::MAX),
    })
}
