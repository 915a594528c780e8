// SPDX-License-Identifier: MIT OR Apache-2.0

//! The measures of the single frames of a comparison.

use serde_json::{Value, json};

/// Least number of frames between two of the worst ones, so that they show different faults.
const APART: usize = 10;

/// The measures of one pair of frames.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FrameMeasures {
    /// Time in the video in nanoseconds, if known.
    pub(super) time: Option<u64>,
    /// Measures by their names in the messages of `videoquality`. A PSNR may be infinite.
    pub(super) values: Vec<(String, f64)>,
}

impl FrameMeasures {
    /// Reads a message of `videoquality`.
    pub(super) fn of(message: &gst::StructureRef) -> Self {
        let time = message.get::<u64>("running-time").ok().filter(|time| *time != u64::MAX);
        let is_mean = |name: &str| name.starts_with("mean-");
        let value = |(name, value): (&glib::GStr, &glib::SendValue)| {
            let number = value.get::<f64>().ok().filter(|_| !is_mean(name))?;
            Some((name.to_string(), number))
        };
        Self { time, values: message.iter().filter_map(value).collect() }
    }

    /// Returns a measure, if the frame has it.
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    /// Returns the measures of frame `number` as JSON; an infinite PSNR is null.
    pub(super) fn to_json(&self, number: usize) -> Value {
        let mut object = json!({"frame": number, "seconds": self.time.map(seconds)});
        if let Some(object) = object.as_object_mut() {
            object.extend(self.values.iter().map(|(name, value)| (name.clone(), json!(value))));
        }
        object
    }
}

/// Returns a time in seconds.
pub(super) fn seconds(time: u64) -> f64 {
    time as f64 / 1e9
}

/// Returns the name of the PSNR by which frames are ranked: that of luma, where there is luma.
pub(super) fn main_psnr(frames: &[FrameMeasures]) -> &'static str {
    match frames.iter().any(|frame| frame.get("psnr-y").is_some()) {
        true => "psnr-y",
        false => "psnr",
    }
}

/// Returns the number and value of the frame with the least value of a measure.
pub(super) fn minimum(frames: &[FrameMeasures], name: &str) -> Option<(usize, f64)> {
    let values = frames.iter().enumerate();
    let values = values.filter_map(|(number, frame)| Some((number, frame.get(name)?)));
    values.min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Returns the numbers of up to `count` frames with the least values of a measure, the worst one
/// first. They are some frames apart. Frames that equal their reference are never among them.
pub(super) fn worst(frames: &[FrameMeasures], name: &str, count: usize) -> Vec<usize> {
    let value = |number: usize| frames[number].get(name).unwrap_or(f64::INFINITY);
    let mut order: Vec<usize> =
        (0..frames.len()).filter(|number| value(*number).is_finite()).collect();
    order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
    let apart = APART.min(frames.len() / (count + 1)).max(1);
    let mut worst: Vec<usize> = Vec::new();
    for number in order {
        if worst.len() < count && worst.iter().all(|other| other.abs_diff(number) >= apart) {
            worst.push(number);
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(values: &[f64]) -> Vec<FrameMeasures> {
        let frame = |value: &f64| FrameMeasures {
            time: Some(40_000_000),
            values: vec![("psnr".to_owned(), *value)],
        };
        values.iter().map(frame).collect()
    }

    #[test]
    fn the_worst_frames_are_apart() {
        let mut values = vec![50.0; 100];
        values[20..26].copy_from_slice(&[31.0, 30.0, 29.0, 28.0, 29.5, 30.5]);
        values[60] = 35.0;
        assert_eq!(worst(&frames(&values), "psnr", 3), [23, 60, 0]);
        // Neighbours, where the video is short.
        assert_eq!(worst(&frames(&[3.0, 1.0, 2.0]), "psnr", 3), [1, 2, 0]);
        assert_eq!(worst(&frames(&[f64::INFINITY, 40.0]), "psnr", 3), [1]);
        assert!(worst(&frames(&[f64::INFINITY; 9]), "psnr", 3).is_empty());
        assert!(worst(&[], "psnr", 3).is_empty());
    }

    #[test]
    fn minima_have_numbers() {
        let frames = frames(&[3.0, f64::INFINITY, 2.0]);
        assert_eq!(minimum(&frames, "psnr"), Some((2, 2.0)));
        assert_eq!(minimum(&frames, "ssim"), None);
        assert_eq!(main_psnr(&frames), "psnr");
        let json = frames[1].to_json(1);
        assert_eq!((&json["psnr"], &json["seconds"]), (&Value::Null, &json!(0.04)));
    }
}
