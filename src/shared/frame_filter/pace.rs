// SPDX-License-Identifier: MIT OR Apache-2.0

//! How fast the frames of a stream follow each other, and how fast they are processed ([`Pace`]).

use std::{collections::VecDeque, time::Duration};

use gst_video::VideoInfo;

/// Number of distances between frames whose mean is the time until the next frame, for streams
/// without a frame rate.
const DISTANCES: usize = 8;
/// Least rate of playback that counts, so that intervals stay finite.
const MIN_RATE: f64 = 1e-3;
/// Longest distance between frames that counts. Longer ones are pauses.
const MAX_DISTANCE: Duration = Duration::from_secs(1);

/// Measurements of a processed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePace {
    /// Processing time.
    pub time: Duration,
    /// Time until the next frame of the stream; not zero.
    pub interval: Duration,
    /// Whether downstream has reported a late frame since the frame before.
    pub is_late_downstream: bool,
}

/// Measures the pace of a stream.
#[derive(Debug)]
pub(super) struct Pace {
    /// Time between frames by the frame rate of the caps; `None` without a frame rate.
    nominal: Option<Duration>,
    /// Running time of the frame before.
    previous: Option<gst::ClockTime>,
    /// Last distances between frames.
    distances: Mean,
    /// Last processing times. With lookahead, one frame computes for several.
    times: Mean,
}

impl Pace {
    /// Starts with a stream of the caps `info`, whose frames wait for `lookahead` future frames.
    pub(super) fn new(info: &VideoInfo, lookahead: usize) -> Self {
        let (numerator, denominator) = (info.fps().numer(), info.fps().denom());
        let nominal = (numerator > 0 && denominator > 0)
            .then(|| Duration::from_secs_f64(f64::from(denominator) / f64::from(numerator)));
        Self {
            nominal,
            previous: None,
            distances: Mean::of(DISTANCES),
            times: Mean::of(1 + lookahead),
        }
    }

    /// Adds a frame with its processing time and running time, in a segment that plays at `rate`.
    /// Returns `None` if the time until the next frame is not known.
    pub(super) fn frame(
        &mut self,
        time: Duration,
        running_time: Option<gst::ClockTime>,
        rate: f64,
        is_late_downstream: bool,
    ) -> Option<FramePace> {
        self.times.add(time);
        let distance = self.distance(running_time);
        if let Some(distance) = distance {
            self.distances.add(distance.min(MAX_DISTANCE));
        }
        let interval = match self.nominal {
            Some(nominal) => nominal.div_f64(rate.abs().max(MIN_RATE)),
            None => self.distances.mean()?,
        };
        let time = self.times.mean()?;
        (!interval.is_zero()).then_some(FramePace { time, interval, is_late_downstream })
    }

    /// Returns the distance of a frame from the one before, `None` if one of them has no time.
    fn distance(&mut self, running_time: Option<gst::ClockTime>) -> Option<Duration> {
        let time = running_time?;
        let previous = self.previous.replace(time)?;
        Some(Duration::from_nanos(time.nseconds().abs_diff(previous.nseconds())))
    }
}

/// Mean of the last values.
#[derive(Debug)]
struct Mean {
    values: VecDeque<Duration>,
    /// Number of values.
    capacity: usize,
}

impl Mean {
    /// Starts without values. The mean will be that of `capacity` values.
    fn of(capacity: usize) -> Self {
        Self { values: VecDeque::with_capacity(capacity), capacity }
    }

    fn add(&mut self, value: Duration) {
        if self.values.len() == self.capacity {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Returns the mean, `None` without values.
    fn mean(&self) -> Option<Duration> {
        let count = u32::try_from(self.values.len()).ok()?;
        self.values.iter().sum::<Duration>().checked_div(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace(fps: [i32; 2], lookahead: usize) -> Pace {
        gst::init().unwrap();
        let fps = gst::Fraction::new(fps[0], fps[1]);
        let info = VideoInfo::builder(gst_video::VideoFormat::I420, 16, 16).fps(fps);
        Pace::new(&info.build().unwrap(), lookahead)
    }

    fn ms(ms: u64) -> Option<gst::ClockTime> {
        Some(gst::ClockTime::from_mseconds(ms))
    }

    #[test]
    fn the_frame_rate_gives_the_interval() {
        let mut pace = pace([25, 1], 0);
        let expected = FramePace { time: 7 * MS, interval: 40 * MS, is_late_downstream: true };
        assert_eq!(pace.frame(7 * MS, None, 1.0, true), Some(expected));
        // Played backwards at twice the speed.
        let expected = FramePace { time: 9 * MS, interval: 20 * MS, is_late_downstream: false };
        assert_eq!(pace.frame(9 * MS, ms(900), -2.0, false), Some(expected));
    }

    #[test]
    fn without_a_frame_rate_the_timestamps_give_the_interval() {
        let mut pace = pace([0, 1], 0);
        let mut interval =
            |time| pace.frame(MS, time, 1.0, false).map(|pace| pace.interval.as_millis());
        assert_eq!(interval(None), None);
        assert_eq!(interval(ms(1000)), None);
        assert_eq!(interval(ms(1020)), Some(20));
        assert_eq!(interval(ms(1060)), Some(30));
        assert_eq!(interval(None), Some(30));
        // A pause counts as a second.
        assert_eq!(interval(ms(100_000)), Some((20 + 40 + 1000) / 3));
        let last = (1..=8).map(|i| interval(ms(100_000 + 10 * i))).last();
        assert_eq!(last, Some(Some(10)));
    }

    #[test]
    fn frames_with_the_same_timestamp_have_no_interval() {
        let mut pace = pace([0, 1], 0);
        assert_eq!([0, 0, 0].map(|_| pace.frame(MS, ms(5), 1.0, false)), [None; 3]);
    }

    #[test]
    fn with_lookahead_the_times_are_averaged() {
        let mut pace = pace([25, 1], 2);
        let times =
            [3, 6, 30, 3, 3].map(|time| pace.frame(time * MS, None, 1.0, false).unwrap().time);
        assert_eq!(times[2..], [13 * MS, 13 * MS, 12 * MS]);
    }
}
