// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the choice of a preset with simulated times.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const COSTS: [f64; 3] = [1.0, 2.0, 8.0];
const MS: Duration = Duration::from_millis(1);
/// Interval of 25 frames per second.
const INTERVAL: Duration = Duration::from_millis(40);

/// A stream whose frames take a time by preset.
struct Stream {
    control: PresetControl,
    /// Preset of each frame so far.
    presets: Vec<usize>,
    rng: StdRng,
}

impl Stream {
    fn new() -> Self {
        let control = PresetControl::new(COSTS.to_vec());
        Self { control, presets: Vec::new(), rng: StdRng::seed_from_u64(1) }
    }

    /// Runs `count` frames that take `time_of` the preset, and returns the last preset.
    fn run(&mut self, count: usize, mut time_of: impl FnMut(usize) -> Duration) -> usize {
        self.frames(count, |preset, _| FrameLoad {
            time: time_of(preset),
            interval: INTERVAL,
            is_full: true,
            is_late_downstream: false,
        })
    }

    /// As [`Self::run`], with times that vary by `jitter` of them.
    fn run_with_jitter(&mut self, count: usize, fast: Duration, jitter: f64) -> usize {
        self.frames(count, |preset, rng| FrameLoad {
            time: fast.mul_f64(COSTS[preset] * rng.random_range(1.0 - jitter..1.0 + jitter)),
            interval: INTERVAL,
            is_full: true,
            is_late_downstream: false,
        })
    }

    fn frames(
        &mut self,
        count: usize,
        mut load: impl FnMut(usize, &mut StdRng) -> FrameLoad,
    ) -> usize {
        for _ in 0..count {
            let preset = self.control.preset();
            self.presets.push(preset);
            let change = self.control.frame(load(preset, &mut self.rng));
            let expected = match self.control.preset().cmp(&preset) {
                std::cmp::Ordering::Less => Some(Change::Down),
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => Some(Change::Up),
            };
            assert_eq!(change, expected);
        }
        self.control.preset()
    }

    /// Numbers of the frames before which the preset went up.
    fn steps_up(&self) -> Vec<usize> {
        let pairs = self.presets.windows(2).enumerate();
        pairs.filter(|(_, pair)| pair[1] > pair[0]).map(|(i, _)| i + 1).collect()
    }
}

/// Times of a preset if the fastest one takes `fast`.
fn costs(fast: Duration) -> impl Fn(usize) -> Duration {
    move |preset| fast.mul_f64(COSTS[preset])
}

#[test]
fn the_best_preset_that_keeps_up_is_reached_and_kept() {
    for (fast, expected) in [(2, 2), (3, 2), (6, 1), (15, 1), (20, 0), (30, 0), (90, 0)] {
        let mut stream = Stream::new();
        assert_eq!(stream.run(200, costs(fast * MS)), expected, "{fast} ms");
        assert_eq!(stream.steps_up().len(), expected, "{fast} ms");
        stream.run(20_000, costs(fast * MS));
        assert_eq!(stream.steps_up().len(), expected, "{fast} ms");
    }
}

#[test]
fn the_first_step_up_takes_a_window_and_a_moment() {
    let mut stream = Stream::new();
    stream.run(200, costs(MS));
    let first = SETTLING as usize + WINDOW;
    assert_eq!(stream.steps_up(), [first, 2 * first]);
}

#[test]
fn overload_steps_down_after_a_few_frames() {
    let mut stream = Stream::new();
    assert_eq!(stream.run(200, costs(2 * MS)), 2);
    // Single late frames do not matter.
    for _ in 0..20 {
        stream.run(1, |_| 10 * INTERVAL);
        assert_eq!(stream.run(15, costs(2 * MS)), 2);
    }
    // All presets take three times as long: the middle one keeps up.
    assert_eq!(stream.run(3, costs(6 * MS)), 1);
    assert_eq!(stream.run(3, costs(2 * MS)), 1);
    // So much that even the fastest one is late: no step between.
    assert_eq!(stream.run(200, costs(2 * MS)), 2);
    assert_eq!(stream.run(3, costs(50 * MS)), 0);
    assert_eq!(stream.run(100, costs(50 * MS)), 0);
}

#[test]
fn failed_steps_up_become_rarer() {
    let mut stream = Stream::new();
    // The second preset takes much more than its usual time.
    let time = |preset| [10 * MS, 45 * MS, 200 * MS][preset];
    stream.run(25 * 600, time);
    let steps = stream.steps_up();
    let pauses: Vec<_> = steps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((5..=9).contains(&steps.len()), "{steps:?}");
    assert!(pauses.windows(2).all(|pair| pair[1] as f64 > 1.5 * pair[0] as f64), "{pauses:?}");
    // Few frames are late.
    let late = stream.presets.iter().filter(|preset| **preset > 0).count();
    assert!(late <= 6 * steps.len(), "{late}");
}

#[test]
fn times_at_the_border_do_not_flap() {
    // From a second preset with a load of 0.6 to one of 1.1, with jitter.
    for fast in [12.0, 14.0, 16.0, 18.0, 19.0, 20.0, 21.0, 22.0] {
        for jitter in [0.05, 0.2, 0.4] {
            let mut stream = Stream::new();
            stream.run_with_jitter(25 * 600, MS.mul_f64(fast), jitter);
            let count = stream.steps_up().len();
            assert!(count <= 20, "{fast} ms, jitter {jitter}: {count} steps up in ten minutes");
        }
    }
}

#[test]
fn varying_load_is_followed() {
    let mut stream = Stream::new();
    for _ in 0..5 {
        // A minute with little load, then a minute with much.
        assert_eq!(stream.run(25 * 60, costs(3 * MS)), 2);
        assert_eq!(stream.run(25 * 60, costs(25 * MS)), 0);
    }
    assert_eq!(stream.steps_up().len(), 10);
}

#[test]
fn cheap_frames_are_no_evidence_for_a_step_up() {
    let mut stream = Stream::new();
    let cheap = |_, _: &mut StdRng| FrameLoad {
        time: MS,
        interval: INTERVAL,
        is_full: false,
        is_late_downstream: false,
    };
    assert_eq!(stream.frames(1000, cheap), 0);
    // Between whole frames that leave no margin, either.
    for _ in 0..100 {
        stream.run(1, costs(30 * MS));
        assert_eq!(stream.frames(50, cheap), 0);
    }
    // A still scene keeps the preset.
    assert_eq!(stream.run(200, costs(2 * MS)), 2);
    assert_eq!(stream.frames(1000, cheap), 2);
}

#[test]
fn late_frames_downstream_step_down() {
    let mut stream = Stream::new();
    let load = |late: bool| FrameLoad {
        time: MS,
        interval: INTERVAL,
        is_full: true,
        is_late_downstream: late,
    };
    stream.frames(200, |_, _| load(false));
    assert_eq!(stream.frames(3, |_, _| load(true)), 1);
    // Reports about frames before the change do not count.
    assert_eq!(stream.frames(SETTLING as usize + 2, |_, _| load(true)), 1);
    assert_eq!(stream.frames(200, |_, _| load(true)), 0);
    // Late whatever the preset: no step up.
    assert_eq!(stream.frames(10_000, |_, _| load(true)), 0);
}

#[test]
fn the_frame_rate_may_vary() {
    let mut stream = Stream::new();
    let mut run = |count, interval| {
        stream.frames(count, |preset, _| FrameLoad {
            time: costs(8 * MS)(preset),
            interval,
            is_full: true,
            is_late_downstream: false,
        })
    };
    // A frame each second, 25, 60 and 240 in a second, and back.
    assert_eq!(run(100, 1000 * MS), 2);
    assert_eq!(run(100, 40 * MS), 1);
    assert_eq!(run(500, Duration::from_micros(16_667)), 1);
    assert_eq!(run(100, Duration::from_micros(4_167)), 0);
    assert_eq!(run(500, 40 * MS), 1);
    assert_eq!(run(100, 1000 * MS), 2);
}

#[test]
fn one_preset_never_changes() {
    let mut control = PresetControl::new(vec![1.0]);
    for time in [MS, 100 * MS] {
        for _ in 0..100 {
            let load =
                FrameLoad { time, interval: INTERVAL, is_full: true, is_late_downstream: false };
            assert_eq!(control.frame(load), None);
        }
    }
}
