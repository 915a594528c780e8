// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the player tells the page: the opened video, its state, and messages of the elements.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{Player, frame::Frame};
use crate::{elements::json_of, problem::of_message};

/// Time between reports of the state.
const INTERVAL: Duration = Duration::from_millis(500);

/// Counts shown frames.
#[derive(Debug)]
pub(super) struct Rate {
    since: Instant,
    frames: u32,
    per_second: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { since: Instant::now(), frames: 0, per_second: 0.0 }
    }
}

impl Rate {
    pub(super) fn count(&mut self) {
        self.frames += 1;
    }

    /// Returns whether a report is due; if so, the next period begins.
    pub(super) fn is_due(&mut self) -> bool {
        let elapsed = self.since.elapsed();
        if elapsed < INTERVAL {
            return false;
        }
        let now = f64::from(self.frames) / elapsed.as_secs_f64();
        self.per_second = if self.per_second == 0.0 { now } else { (self.per_second + now) / 2.0 };
        if self.frames == 0 {
            self.per_second = 0.0;
        }
        self.frames = 0;
        self.since = Instant::now();
        true
    }
}

impl Player {
    /// Describes the opened video, once.
    pub(super) fn describe(&mut self, frame: &Frame) {
        if std::mem::replace(&mut self.described, true) {
            return;
        }
        if let (Some(decoder), Some(source)) = (&self.decoder, &self.source) {
            let video = decoder.describe(source, frame);
            let event = json!({"type": "opened", "opening": self.opening, "video": video});
            self.around.outbox.event(&event);
        }
    }

    pub(super) fn report_status(&self) {
        let status = json!({
            "type": "status",
            "open": self.decoder.is_some(),
            "playing": self.playing,
            "ended": self.ended,
            "loop": self.looped,
            "rate": self.rate.per_second,
            "stats": self.chain.as_ref().map(|(chain, _)| chain.stats()),
        });
        self.around.outbox.status(&status);
    }

    /// Passes messages of the elements on.
    pub(super) fn report_messages(&self) {
        let Some((chain, _)) = &self.chain else { return };
        while let Some((card, message)) = chain.message() {
            match message.view() {
                gst::MessageView::Error(error) => {
                    self.report_problem(&of_message(error), card);
                }
                gst::MessageView::Warning(warning) => {
                    let text = warning.error().message().to_owned();
                    let event = json!({"type": "warning", "text": text, "card": card});
                    self.around.outbox.event(&event);
                }
                _ => {
                    if let Some(event) = message.structure().map(|fields| element(card, fields)) {
                        self.around.outbox.event(&event);
                    }
                }
            }
        }
    }
}

/// Returns the message of an element with its fields.
fn element(card: Option<u32>, structure: &gst::StructureRef) -> Value {
    let fields =
        structure.iter().filter_map(|(name, value)| Some((name.to_string(), json_of(value)?)));
    let fields: Map<String, Value> = fields.collect();
    json!({"type": "message", "card": card, "name": structure.name().as_str(), "fields": fields})
}
