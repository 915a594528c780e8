// SPDX-License-Identifier: MIT OR Apache-2.0

//! Shows how far the work is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gst::prelude::*;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::{
    args::ProgressMode,
    error::Result,
    output::{note, print_line},
    run::{Next, Observer},
    transcode::durations::running_time,
};

/// Time from one JSON line to the next.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Frames that have passed a pad. Clones count the same ones.
#[derive(Debug, Default, Clone)]
pub(crate) struct Count(Arc<Passed>);

#[derive(Debug, Default)]
struct Passed {
    frames: AtomicU64,
    timed_frames: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Count {
    /// Counts the buffers that pass a pad from now on.
    pub(crate) fn at(pad: &gst::Pad) -> Self {
        let count = Self::default();
        let passed = Arc::clone(&count.0);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            passed.frames.fetch_add(1, Ordering::Relaxed);
            if let Some(buffer) = info.buffer()
                && let Some(time) = running_time(pad, buffer)
            {
                passed.timed_frames.fetch_add(1, Ordering::Relaxed);
                let end = time + buffer.duration().unwrap_or_default();
                passed.nanoseconds.fetch_max(end.nseconds(), Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        count
    }

    /// Returns the number of frames.
    pub(crate) fn frames(&self) -> u64 {
        self.0.frames.load(Ordering::Relaxed)
    }

    /// Returns the number of frames with a timestamp.
    pub(crate) fn timed_frames(&self) -> u64 {
        self.0.timed_frames.load(Ordering::Relaxed)
    }

    /// Returns the end of the last frame in the video.
    pub(crate) fn time(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.0.nanoseconds.load(Ordering::Relaxed))
    }
}

/// Shows the progress of a run.
pub(crate) struct Progress {
    count: Count,
    duration: Option<gst::ClockTime>,
    frames: Option<u64>,
    mode: ProgressMode,
    /// What is done, if there are several steps.
    step: Option<String>,
    bar: ProgressBar,
    start: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts to show the progress of `count`, with the length of the video and its number of
    /// frames as far as they are known.
    pub(crate) fn new(
        mode: ProgressMode,
        count: Count,
        duration: Option<gst::ClockTime>,
        frames: Option<u64>,
    ) -> Self {
        let duration = duration.filter(|duration| !duration.is_zero());
        let bar = match duration.map(gst::ClockTime::mseconds).or(frames) {
            Some(length) => ProgressBar::new(length),
            None => ProgressBar::no_length(),
        };
        // A bar is drawn only if the standard error is a terminal.
        let target = match mode {
            ProgressMode::Bar => ProgressDrawTarget::stderr_with_hz(5),
            ProgressMode::Json | ProgressMode::None => ProgressDrawTarget::hidden(),
        };
        bar.set_draw_target(target);
        bar.set_style(style(duration.is_some() || frames.is_some()));
        let start = Instant::now();
        Self { count, duration, frames, mode, step: None, bar, start, last_line: start }
    }

    /// Names the step that this is the progress of.
    pub(crate) fn of_step(mut self, step: impl Into<String>) -> Self {
        self.step = Some(step.into());
        self
    }

    /// Returns the frames per second since the start.
    pub(crate) fn rate(&self) -> f64 {
        self.count.frames() as f64 / self.start.elapsed().as_secs_f64().max(1e-3)
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the time that the rest will take, if it is known.
    fn remaining(&self) -> Option<Duration> {
        let done = self.share()?;
        (done > 0.0).then(|| self.start.elapsed().mul_f64((1.0 - done) / done))
    }

    /// Returns how much is done, 0 to 1.
    fn share(&self) -> Option<f64> {
        let (done, all) = match (self.duration, self.frames) {
            (Some(duration), _) => (self.count.time().nseconds(), duration.nseconds()),
            (None, frames) => (self.count.frames(), frames?),
        };
        Some((done as f64 / all.max(1) as f64).min(1.0))
    }

    fn print_json(&self) -> Result<()> {
        print_line(json!({
            "event": "progress",
            "step": self.step,
            "frame": self.count.frames(),
            "frames": self.frames,
            "seconds": self.count.time().nseconds() as f64 / 1e9,
            "percent": self.share().map(|share| 100.0 * share),
            "fps": self.rate(),
            "eta_seconds": self.remaining().map(|time| time.as_secs_f64()),
        }))
    }
}

impl Observer for Progress {
    fn warning(&mut self, text: &str) {
        // Not into the line of the bar.
        self.bar.suspend(|| note(format_args!("cnnvideo: warning: {text}")));
    }

    fn tick(&mut self) -> Result<Next> {
        match self.mode {
            ProgressMode::None => (),
            ProgressMode::Bar => {
                let frames = match self.frames {
                    Some(frames) => format!("{} of about {frames}", self.count.frames()),
                    None => self.count.frames().to_string(),
                };
                let rest = self.remaining().map(|time| format!(", {} left", clock(time)));
                let step = self.step.as_ref().map(|step| format!("{step}, ")).unwrap_or_default();
                let text = format!(
                    "{step}frame {frames}, {:.1} fps{}",
                    self.rate(),
                    rest.unwrap_or_default()
                );
                let position = match self.duration {
                    Some(_) => self.count.time().mseconds(),
                    None => self.count.frames(),
                };
                self.bar.set_position(position);
                self.bar.set_message(text);
                self.bar.tick();
            }
            ProgressMode::Json if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                self.print_json()?;
            }
            ProgressMode::Json => (),
        }
        Ok(Next::Continue)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the look of the bar.
fn style(has_length: bool) -> ProgressStyle {
    let template = if has_length { "{percent:>3}% [{bar:30}] {msg}" } else { "{spinner} {msg}" };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Returns a time as minutes and seconds, with hours where there are any.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(clock(Duration::from_secs(61)), "1:01");
        assert_eq!(clock(Duration::from_secs(36_061)), "10:01:01");
    }
}
