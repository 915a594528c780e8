// SPDX-License-Identifier: MIT OR Apache-2.0

//! Choice of the best quality preset that keeps up with a stream, from measured times
//! ([`PresetControl`]).

use std::time::Duration;

/// Number of frames with a whole run of the network whose loads decide on a step up.
const WINDOW: usize = 16;
/// Frames of the window that may exceed the quantile that decides: single delays, for example by
/// other programs, do not count.
const OUTLIERS: usize = 1;
/// Number of recent frames in which late ones are counted.
const RECENT: u32 = 8;
/// Late frames among the recent ones with which the preset is too slow.
const MAX_LATE: u32 = 3;
/// Largest load that a step up may lead to. The rest is a margin, and left to other elements.
const TARGET_LOAD: f64 = 0.8;
/// Frames after a change that do not count: the first frame of a network touches new memory, and
/// reports of late frames from downstream may be about frames before the change.
const SETTLING: u32 = 2;
/// Longest stream time that one frame counts for, so that gaps do not replace measurements.
const MAX_STEP: Duration = Duration::from_secs(1);
/// Stream time with a margin before a step up: at first, after the stream has been too slow once,
/// and at most.
const WAITS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(256)];
/// A step up has failed if a step down follows within this stream time.
const TRIAL: Duration = Duration::from_secs(30);

/// Measurements of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FrameLoad {
    /// Processing time.
    pub(super) time: Duration,
    /// Time until the next frame of the stream; not zero.
    pub(super) interval: Duration,
    /// Whether the network ran on the whole frame.
    pub(super) is_full: bool,
    /// Whether downstream has reported a late frame since the frame before.
    pub(super) is_late_downstream: bool,
}

/// Direction of a change of the preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// To a slower and better preset.
    Up,
    /// To a faster preset.
    Down,
}

/// Chooses a preset by number, from 0, the fastest one.
///
/// It steps down as soon as a few frames were late, and up when the next preset would have kept up
/// for some time. A step up that fails doubles the time before the next try. Frames that skip a
/// part of the network are no evidence for a step up, as the next frame may need all of it.
#[derive(Debug)]
pub(super) struct PresetControl {
    /// Usual times of a frame by preset, relative to each other, ascending.
    costs: Vec<f64>,
    preset: usize,
    /// Load that led to the last change.
    load_before_change: f64,
    /// Loads (processing time by interval) of the last frames with a whole run of the network.
    loads: [f64; WINDOW],
    /// Number of loads since the last change. The next one is stored at this number modulo
    /// [`WINDOW`].
    count: usize,
    /// Which of the recent frames were late, the last one in bit 0.
    late: u32,
    /// Frames that still do not count.
    settling: u32,
    /// Stream time since the last change.
    since_change: Duration,
    /// Stream time for which the next preset would have kept up.
    margin: Duration,
    /// Whether the last change was a step up.
    is_trial: bool,
    /// Time of margin before a step up to each preset.
    waits: Vec<Duration>,
}

impl PresetControl {
    /// Starts with the fastest of the presets with these usual times of a frame, in ascending order
    /// and relative to each other.
    pub(super) fn new(costs: Vec<f64>) -> Self {
        Self {
            waits: vec![WAITS[0]; costs.len()],
            costs,
            preset: 0,
            load_before_change: 0.0,
            loads: [0.0; WINDOW],
            count: 0,
            late: 0,
            settling: SETTLING,
            since_change: Duration::ZERO,
            margin: Duration::ZERO,
            is_trial: false,
        }
    }

    /// Returns the number of the preset for the next frame.
    pub(super) fn preset(&self) -> usize {
        self.preset
    }

    /// Returns the load that led to the last change, 0 before the first one.
    pub(super) fn load_before_change(&self) -> f64 {
        self.load_before_change
    }

    /// Returns the load that all but a few of the last frames stayed below: processing time by
    /// interval. It is 0 without frames.
    fn load(&self) -> f64 {
        let mut loads = self.loads;
        let sorted = &mut loads[..self.count.min(WINDOW)];
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len().saturating_sub(1 + OUTLIERS)).copied().unwrap_or(0.0)
    }

    /// Takes the measurements of a frame, and returns how the preset changes.
    pub(super) fn frame(&mut self, frame: FrameLoad) -> Option<Change> {
        let step = frame.interval.min(MAX_STEP);
        self.since_change += step;
        if self.settling > 0 {
            self.settling -= 1;
            return None;
        }
        let is_late = frame.time > frame.interval || frame.is_late_downstream;
        self.late = (self.late << 1 | u32::from(is_late)) & ((1 << RECENT) - 1);
        if frame.is_full || is_late {
            self.loads[self.count % WINDOW] =
                frame.time.as_secs_f64() / frame.interval.as_secs_f64();
            self.count += 1;
        }
        if self.late.count_ones() >= MAX_LATE {
            return self.step_down();
        }
        let has_margin = self.late.count_ones() as usize <= OUTLIERS
            && self.predicted_load(self.preset + 1) <= TARGET_LOAD;
        if !has_margin {
            self.margin = Duration::ZERO;
        } else if frame.is_full && !is_late {
            self.margin += step;
        }
        self.step_up()
    }

    /// Returns the load to expect with a preset, infinite if there is none of this number.
    fn predicted_load(&self, preset: usize) -> f64 {
        let cost = self.costs.get(preset).copied().unwrap_or(f64::INFINITY);
        self.load() * cost / self.costs[self.preset]
    }

    /// Changes to the best faster preset that should keep up, or to the fastest one.
    fn step_down(&mut self) -> Option<Change> {
        self.margin = Duration::ZERO;
        if self.preset == 0 {
            return None;
        }
        let failed = self.is_trial && self.since_change <= TRIAL;
        let wait = &mut self.waits[self.preset];
        *wait = if failed { (*wait * 2).clamp(WAITS[1], WAITS[2]) } else { WAITS[1] };
        let keeps_up = |preset: &usize| self.predicted_load(*preset) <= 1.0;
        let preset = (0..self.preset).rev().find(keeps_up).unwrap_or(0);
        Some(self.change(preset, Change::Down))
    }

    /// Changes to the next better preset after enough time with a margin.
    fn step_up(&mut self) -> Option<Change> {
        let next = self.preset + 1;
        let is_sure = self.count >= WINDOW && next < self.costs.len();
        (is_sure && self.margin >= self.waits[next]).then(|| self.change(next, Change::Up))
    }

    fn change(&mut self, preset: usize, change: Change) -> Change {
        self.load_before_change = self.load();
        self.preset = preset;
        self.count = 0;
        self.late = 0;
        self.settling = SETTLING;
        self.since_change = Duration::ZERO;
        self.margin = Duration::ZERO;
        self.is_trial = change == Change::Up;
        change
    }
}

#[cfg(test)]
mod tests;
