// SPDX-License-Identifier: MIT OR Apache-2.0

//! Playing, seeking, and running the chain again on the frames decoded last.

use std::time::{Duration, Instant};

use gst::ClockTime;

use super::{
    Goal, MAX_LOOKAHEAD, Player, SETTLED, WARM_UP,
    chain::CardFault,
    decoder::{Next, duration},
    frame::{Frame, Pair},
};
use crate::problem::Problem;

/// How long a call waits for a frame, so that commands are carried out soon.
const WAIT: ClockTime = ClockTime::from_mseconds(20);
/// Time without a frame that counts as a blocked decoder.
const BLOCKED: Duration = Duration::from_secs(30);
/// Delay beyond which playing goes on from now instead of catching up.
const LATE: Duration = Duration::from_millis(100);
/// Longest wait for the time of a frame. Timestamps may jump.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

impl Player {
    pub(super) fn play(&mut self) {
        if self.ended {
            self.seek(ClockTime::ZERO);
        }
        self.playing = self.decoder.is_some();
        self.refine_at = None;
        self.clock = None;
    }

    pub(super) fn pause(&mut self) {
        if std::mem::replace(&mut self.playing, false) {
            self.show_again();
        }
    }

    /// Moves by a frame.
    pub(super) fn step(&mut self, frames: i32) {
        let Some(now) = self.shown.as_ref().map(|pair| pair.before.clone()) else { return };
        self.playing = false;
        if frames > 0 {
            self.goal = Some(Goal::After(now.time()));
        } else {
            let known = self.recent.iter().rev().find(|frame| frame.time() < now.time());
            let before = known.map(Frame::time);
            self.seek(before.unwrap_or(now.time().saturating_sub(duration(&now))));
        }
    }

    /// Moves to a time. The chain sees the frames before it, so that the picture is about that of
    /// a run from the start.
    pub(super) fn seek(&mut self, time: ClockTime) {
        let Some(decoder) = self.decoder.as_ref().filter(|decoder| !decoder.is_live()) else {
            return;
        };
        if !self.described {
            // A pipeline that has no frame yet does not seek: it decodes up to the time instead.
            self.goal = Some(Goal::At(time));
            return;
        }
        let frame = self.recent.back().map_or(ClockTime::from_mseconds(40), duration);
        // The last frame is shown for what lies behind it.
        let time = decoder.duration().map_or(time, |end| time.min(end));
        let start = time.saturating_sub(frame * WARM_UP as u64);
        if let Err(problem) = decoder.seek(start) {
            self.report_problem(&problem, None);
            return;
        }
        self.forget(start != time);
        self.goal = Some(Goal::At(time));
    }

    /// Makes the chain begin anew. Before the frame of the seeds it runs without them.
    pub(super) fn forget(&mut self, hold_seeds: bool) {
        if let Some((chain, _)) = &mut self.chain {
            chain.reset();
            chain.hold_seeds();
            if !hold_seeds {
                chain.release_seeds();
            }
        }
        self.recent.clear();
        self.ready.clear();
        self.passed = None;
        self.drained = false;
        self.ended = false;
        self.clock = None;
        self.refine_at = None;
        self.waiting_since = None;
    }

    /// Shows a frame that is ready, or decodes one and runs the chain on it.
    pub(super) fn advance(&mut self) {
        if let Some(pair) = self.ready.pop_front() {
            self.take(pair);
            return;
        }
        let Some(decoder) = &self.decoder else { return };
        match decoder.next(WAIT) {
            Ok(Next::Frame(frame)) => {
                self.waiting_since = None;
                self.describe(&frame);
                if let (Some((chain, _)), Some(Goal::At(goal))) = (&mut self.chain, self.goal)
                    && is_at(&frame, goal)
                {
                    chain.release_seeds();
                }
                let pairs = self.push(frame);
                self.ready.extend(pairs);
            }
            Ok(Next::Wait) => self.wait_for_frame(),
            Ok(Next::End) if !self.drained => {
                self.drained = true;
                let pairs = self.chain.as_mut().map(|(chain, _)| chain.drain());
                self.ready.extend(pairs.unwrap_or_default());
            }
            Ok(Next::End) => self.end(),
            Err(problem) => {
                self.report_problem(&problem, None);
                self.close();
            }
        }
    }

    /// Shows a pair: that at the goal, or each at its time.
    fn take(&mut self, pair: Pair) {
        let reached = match self.goal {
            Some(Goal::At(time)) => is_at(&pair.before, time),
            Some(Goal::After(time)) => pair.before.time() > time,
            None => {
                self.keep_time(pair.before.time());
                self.rate.count();
                self.show(pair, false);
                return;
            }
        };
        if reached {
            self.goal = None;
            self.passed = None;
            let lossless = !self.playing;
            self.show(pair, lossless);
        } else {
            self.passed = Some(pair);
        }
    }

    /// Waits for the time of a frame.
    fn keep_time(&mut self, time: ClockTime) {
        let now = Instant::now();
        let (start, first) = *self.clock.get_or_insert((now, time));
        let due = start + Duration::from_nanos(time.saturating_sub(first).nseconds());
        let live = self.decoder.as_ref().is_none_or(|decoder| decoder.is_live());
        if live || now > due + LATE || due > now + LONGEST_WAIT {
            self.clock = Some((now, time));
        } else {
            std::thread::sleep(due.saturating_duration_since(now));
        }
    }

    /// Runs the chain on a frame, which is remembered.
    fn push(&mut self, frame: Frame) -> Vec<Pair> {
        self.recent.push_back(frame.clone());
        if self.recent.len() > WARM_UP + MAX_LOOKAHEAD {
            self.recent.pop_front();
        }
        self.run_chain(frame)
    }

    fn run_chain(&mut self, frame: Frame) -> Vec<Pair> {
        self.around.health.beat();
        if self.chain.as_ref().is_none_or(|(_, caps)| *caps != frame.caps) {
            self.start_chain(&frame.caps);
        }
        let Some((chain, _)) = &mut self.chain else { return Vec::new() };
        match chain.push(frame.clone()) {
            Ok(pairs) => pairs,
            Err(fault) => self.without_failed(fault, frame),
        }
    }

    /// Goes on without the card that has failed.
    fn without_failed(&mut self, fault: CardFault, frame: Frame) -> Vec<Pair> {
        self.fail(fault);
        let caps = frame.caps.clone();
        self.start_chain(&caps);
        match &mut self.chain {
            Some((chain, _)) => chain.push(frame).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Runs a new chain over the recent frames without showing them.
    pub(super) fn warm_up(&mut self) {
        for frame in self.last_frames(WARM_UP) {
            self.run_chain(frame);
        }
    }

    /// Runs the chain again on the recent frames, and shows the one that was shown before.
    pub(super) fn replay(&mut self, warm_up: usize, lossless: bool) {
        let Some(shown) = self.shown.as_ref().map(|pair| pair.before.buffer.pts()) else { return };
        let frames = self.last_frames(warm_up);
        if let Some((chain, _)) = &mut self.chain {
            chain.reset();
            chain.hold_seeds();
        }
        let mut pairs = Vec::new();
        for frame in frames {
            if lossless && self.around.health.has_commands() {
                // The user's commands come first.
                if let Some((chain, _)) = &mut self.chain {
                    chain.release_seeds();
                }
                self.refine_at = Some(Instant::now() + SETTLED);
                return;
            }
            if frame.buffer.pts() == shown
                && let Some((chain, _)) = &mut self.chain
            {
                chain.release_seeds();
            }
            pairs.extend(self.run_chain(frame));
        }
        if self.drained
            && let Some((chain, _)) = &mut self.chain
        {
            pairs.extend(chain.drain());
        }
        let mut pairs = pairs.into_iter().skip_while(|pair| pair.before.buffer.pts() != shown);
        if let Some(pair) = pairs.next() {
            self.ready = pairs.collect();
            self.show(pair, lossless);
        }
    }

    /// Returns the shown frame, as many before it, and all that are already decoded behind it.
    fn last_frames(&self, before: usize) -> Vec<Frame> {
        let shown = self.shown.as_ref().and_then(|pair| pair.before.buffer.pts());
        let index = self.recent.iter().rposition(|frame| frame.buffer.pts() == shown);
        let index = index.unwrap_or(self.recent.len().saturating_sub(1));
        self.recent.iter().skip(index.saturating_sub(before)).cloned().collect()
    }

    fn end(&mut self) {
        if self.shown.is_none() && self.passed.is_none() {
            let text = "the video has no frame that can be shown";
            self.report_problem(&Problem::new(text, "choose a video file"), None);
            self.close();
            return;
        }
        if self.playing && self.looped {
            self.seek(ClockTime::ZERO);
            return;
        }
        self.goal = None;
        self.ended = true;
        if let Some(pair) = self.passed.take() {
            self.show(pair, true);
        }
        self.pause();
        self.report_status();
    }

    fn wait_for_frame(&mut self) {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if since.elapsed() > BLOCKED {
            let text = "the decoder gives no frame";
            self.report_problem(&Problem::new(text, "open the video again"), None);
            self.close();
        }
    }

    fn close(&mut self) {
        self.decoder = None;
        self.playing = false;
        self.goal = None;
        self.report_status();
    }
}

/// Returns whether a frame is the one to show at a time, or a later one.
fn is_at(frame: &Frame, time: ClockTime) -> bool {
    frame.time() + duration(frame) / 2 >= time
}
