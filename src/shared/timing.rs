// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frame counts and processing times that an element publishes in its statistics.

use std::time::Duration;

/// Number of recent frames that the percentile covers.
const RECENT_FRAMES: usize = 512;

/// Frame counts and processing times of a stream.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// Frames that arrived, including the dropped ones.
    arrived: u64,
    /// Frames that were processed.
    frames: u64,
    total: Duration,
    /// Ring buffer of the processing times of the last [`RECENT_FRAMES`] frames.
    recent: Vec<Duration>,
}

impl Timing {
    /// Counts a frame that arrived for processing. Call before QoS may drop it.
    pub(crate) fn frame_arrived(&mut self) {
        self.arrived += 1;
    }

    /// Returns the number of frames that arrived but were not processed.
    pub(crate) fn dropped(&self) -> u64 {
        self.arrived.saturating_sub(self.frames)
    }

    /// Adds the processing time of a frame.
    pub(crate) fn frame_processed(&mut self, time: Duration) {
        if self.recent.len() < RECENT_FRAMES {
            self.recent.push(time);
        } else {
            self.recent[self.frames as usize % RECENT_FRAMES] = time;
        }
        self.frames += 1;
        self.total += time;
    }

    /// Returns the number of processed frames.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns the mean processing time of all frames in milliseconds, 0 before the first frame.
    pub(crate) fn mean_ms(&self) -> f64 {
        if self.frames == 0 { 0.0 } else { self.total.as_secs_f64() * 1e3 / self.frames as f64 }
    }

    /// Returns the 99th percentile of the processing times of recent frames in milliseconds, 0
    /// before the first frame.
    pub(crate) fn p99_ms(&self) -> f64 {
        let mut sorted = self.recent.clone();
        sorted.sort();
        let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_covers_all_frames_and_percentile_the_recent_ones() {
        let mut timing = Timing::default();
        assert_eq!((timing.mean_ms(), timing.p99_ms()), (0.0, 0.0));
        (1..=1000).for_each(|ms| timing.frame_processed(Duration::from_millis(ms)));
        assert_eq!(timing.frames(), 1000);
        assert!((timing.mean_ms() - 500.5).abs() < 1e-6);
        // The last 512 times are 489 to 1000 ms; 99% of them are at most 995 ms.
        assert!((timing.p99_ms() - 995.0).abs() < 1e-6, "{}", timing.p99_ms());
    }
}
