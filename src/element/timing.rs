//! How long frames take.

use std::time::Duration;

/// Frames that the percentile looks back on.
const RECENT: usize = 512;

/// Times of a stream's frames.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    arrived: u64,
    frames: u64,
    total: Duration,
    recent: Vec<Duration>,
}

impl Timing {
    /// A frame is there to be worked on, if it is not too late.
    pub fn arrive(&mut self) {
        self.arrived += 1;
    }

    /// Frames that arrived and were not worked on.
    pub fn dropped(&self) -> u64 {
        self.arrived.saturating_sub(self.frames)
    }

    pub fn add(&mut self, time: Duration) {
        if self.recent.len() < RECENT {
            self.recent.push(time);
        } else {
            self.recent[self.frames as usize % RECENT] = time;
        }
        self.frames += 1;
        self.total += time;
    }

    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Mean over all frames in milliseconds, 0 before the first.
    pub fn mean_ms(&self) -> f64 {
        if self.frames == 0 { 0.0 } else { self.total.as_secs_f64() * 1e3 / self.frames as f64 }
    }

    /// 99th percentile of recent frames in milliseconds, 0 before the first.
    pub fn p99_ms(&self) -> f64 {
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
    fn mean_and_percentile() {
        let mut timing = Timing::default();
        assert_eq!((timing.mean_ms(), timing.p99_ms()), (0.0, 0.0));
        (1..=1000).for_each(|ms| timing.add(Duration::from_millis(ms)));
        assert_eq!(timing.frames(), 1000);
        assert!((timing.mean_ms() - 500.5).abs() < 1e-6);
        // The last 512 are 489 to 1000; 99% of them are up to 995.
        assert!((timing.p99_ms() - 995.0).abs() < 1e-6, "{}", timing.p99_ms());
    }
}
