// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversion between [`VideoQualityMessage`] and the structure of the element message.

use super::statistics;
use cnnvideo::quality::{MSE_RGB, MSE_YUV, Measures, Pooled, XPSNR, psnr};

/// Name of the message structure.
const NAME: &str = "video-quality";

/// Element message that `videoquality` posts on the bus, in a structure named `video-quality`.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoQualityMessage {
    /// Measures of the last pair of frames.
    pub frame: Measures,
    /// Means over all pairs so far.
    pub mean: Measures,
    /// Number of pairs so far.
    pub frames: u64,
    /// Number of reference frames without a partner.
    pub unpaired_reference: u64,
    /// Number of tested frames without a partner.
    pub unpaired_test: u64,
    /// Whether this is the final message, posted at the end of the stream.
    pub summary: bool,
    /// Running time of the last tested frame that had a partner.
    pub running_time: Option<gst::ClockTime>,
    /// In the summary, the number of frames by which the tested stream is late (above 0) or early
    /// (below 0) according to the content of the frames, see
    /// [`Alignment::offset`](cnnvideo::quality::Alignment::offset).
    pub frame_offset: Option<i64>,
    /// In the summary, the statistics of the measures over all pairs; else empty.
    pub statistics: Vec<Pooled>,
}

/// Error of the conversion from a structure, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid video-quality message: {0}")]
pub struct InvalidQualityMessage(pub(super) String);

impl From<&VideoQualityMessage> for gst::Structure {
    fn from(message: &VideoQualityMessage) -> Self {
        let mut structure = gst::Structure::builder(NAME)
            .field("frames", message.frames)
            .field("unpaired-reference", message.unpaired_reference)
            .field("unpaired-test", message.unpaired_test)
            .field("summary", message.summary)
            .field("running-time", message.running_time.map_or(u64::MAX, gst::ClockTime::nseconds))
            .build();
        for (name, value) in message.frame.named() {
            structure.set(name, value);
        }
        for (name, value) in message.mean.named() {
            structure.set(format!("mean-{name}"), value);
        }
        if let Some(offset) = message.frame_offset {
            structure.set("frame-offset", offset);
        }
        for pooled in &message.statistics {
            statistics::write(&mut structure, pooled);
        }
        structure
    }
}

impl TryFrom<&gst::StructureRef> for VideoQualityMessage {
    type Error = InvalidQualityMessage;

    fn try_from(structure: &gst::StructureRef) -> Result<Self, InvalidQualityMessage> {
        if structure.name() != NAME {
            return Err(InvalidQualityMessage(format!(
                "the structure is named {}",
                structure.name()
            )));
        }
        let wrong = |err: gst::structure::GetError<_>| InvalidQualityMessage(err.to_string());
        let count = |name: &str| structure.get::<u64>(name).map_err(wrong);
        Ok(Self {
            frame: measures(structure, "")?,
            mean: measures(structure, "mean-")?,
            frames: count("frames")?,
            unpaired_reference: count("unpaired-reference")?,
            unpaired_test: count("unpaired-test")?,
            summary: structure.get("summary").map_err(wrong)?,
            running_time: gst::ClockTime::try_from(count("running-time")?).ok(),
            frame_offset: structure.get_optional("frame-offset").map_err(wrong)?,
            statistics: statistics::read(structure)?,
        })
    }
}

/// Reads the measures whose field names begin with `prefix`.
fn measures(
    structure: &gst::StructureRef,
    prefix: &str,
) -> Result<Measures, InvalidQualityMessage> {
    let optional = |name: &str| {
        structure
            .get_optional::<f64>(format!("{prefix}{name}"))
            .map_err(|err| InvalidQualityMessage(err.to_string()))
    };
    let required = |name: &str| {
        optional(name)?.ok_or_else(|| InvalidQualityMessage(format!("{prefix}{name} is missing")))
    };
    let rgb = structure.has_field(format!("{prefix}{}", MSE_RGB[0]));
    let [a, b, c] = if rgb { MSE_RGB } else { MSE_YUV };
    let measures = Measures {
        mse: [optional(a)?, optional(b)?, optional(c)?],
        rgb,
        mse_total: required("mse")?,
        ssim: optional("ssim")?,
        ms_ssim: optional("ms-ssim")?,
        xpsnr: [optional(XPSNR[0])?, optional(XPSNR[1])?, optional(XPSNR[2])?],
        ssimulacra2: optional("ssimulacra2")?,
        gradient_laplacian: required("gradient-laplacian")?,
        gradient_sobel: required("gradient-sobel")?,
        histogram_chi_square: required("histogram-chi-square")?,
        histogram_earth_movers: required("histogram-earth-movers")?,
        flicker: optional("flicker")?,
        iou: optional("iou")?,
    };
    let psnr_field = required("psnr")?;
    if psnr_field.is_finite() && (psnr_field - psnr(measures.mse_total)).abs() > 1e-6 {
        return Err(InvalidQualityMessage(format!("{prefix}psnr is not the PSNR of {prefix}mse")));
    }
    Ok(measures)
}

#[cfg(test)]
mod tests {
    use glib::prelude::*;

    use super::*;
    use cnnvideo::quality::WorstFrame;

    #[test]
    fn messages_round_trip_through_structures() {
        gst::init().unwrap();
        let frame = Measures {
            mse: [Some(2.0), None, None],
            mse_total: 2.0,
            ssim: Some(0.9),
            ..Default::default()
        };
        let mean = Measures { flicker: Some(0.5), iou: Some(0.75), mse_total: 3.0, ..frame };
        let running_time = Some(gst::ClockTime::from_mseconds(40));
        let worst = WorstFrame { value: 30.5, number: 3, running_time: Some(120) };
        let statistics = Pooled {
            name: "psnr",
            harmonic_mean: Some(40.0),
            percentiles: [30.5, 31.0, 32.0, 40.0],
            worst: vec![worst, WorstFrame { running_time: None, ..worst }],
        };
        let message = VideoQualityMessage {
            frame,
            mean,
            frames: 7,
            unpaired_reference: 1,
            unpaired_test: 2,
            summary: true,
            running_time,
            frame_offset: Some(-2),
            statistics: vec![statistics],
        };
        let structure = gst::Structure::from(&message);
        assert_eq!(VideoQualityMessage::try_from(structure.as_ref()), Ok(message));
        for (name, wrong) in [
            ("psnr", 3.0f64.to_send_value()),
            ("frames", "x".to_send_value()),
            ("mse", "x".to_send_value()),
            ("p5-psnr", "x".to_send_value()),
            ("worst-psnr", 3.0f64.to_send_value()),
            ("frame-offset", 3.0f64.to_send_value()),
        ] {
            let mut structure = structure.clone();
            structure.set_value(name, wrong);
            assert!(VideoQualityMessage::try_from(structure.as_ref()).is_err(), "{name}");
        }
        let mut other = structure.clone();
        other.set_name("other");
        assert!(VideoQualityMessage::try_from(other.as_ref()).is_err());
    }
}
