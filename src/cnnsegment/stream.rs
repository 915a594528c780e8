//! State of a negotiated stream: the segmenter, the seeds and the events to post.

use gst_video::VideoInfo;
use ndarray::Array2;

use super::input::Command;
use cnnvideo::{
    frame::Format,
    segment::{self, Seed, Seeds, Segmenter, Shape},
};

/// Change of a region's confidence above which the element posts a message.
const NEWS: f32 = 0.15;

/// State of a stream with fixed caps; new caps replace it.
pub(super) struct Stream {
    /// Video info of the sink pad.
    pub input: VideoInfo,
    /// Video info of the source pad.
    pub output: VideoInfo,
    /// Memory layout of input frames.
    pub format: Format,
    /// Segments and tracks the regions.
    pub segmenter: Segmenter,
    /// Current seeds, moved with the video.
    pub seeds: Seeds,
    /// Label of each pixel of the latest frame, 0 outside of regions.
    pub labels: Array2<u8>,
    /// Confidence in the latest message about each label, that of label `n` at index `n - 1`.
    pub told: [Option<f32>; segment::MAX_LABEL as usize],
}

/// Event of a region that the element posts a message about.
pub(super) struct News {
    /// Label of the region.
    pub label: u8,
    /// Area as a share of the frame, 0 if lost.
    pub area: f32,
    /// Confidence of the tracking from 0 to 1, 0 if lost.
    pub confidence: f32,
    /// Whether the region has been lost.
    pub lost: bool,
}

impl Stream {
    /// Executes commands in order and updates the regions.
    ///
    /// # Errors
    /// Fails if the backend cannot run a network.
    pub fn obey(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<(), segment::Error> {
        let mut answered = true;
        for command in commands {
            if let Command::Add(Seed { label, shape: Shape::Steps(steps) }) = command {
                // Growth starts from the region that the seeds before it give.
                if !std::mem::replace(&mut answered, true) {
                    self.segmenter.answer(&self.seeds)?;
                }
                if self.seeds.add(Seed { label, shape: Shape::Steps(steps) }) {
                    self.segmenter.grow(label, &self.seeds, steps)?;
                }
                continue;
            }
            self.note(command);
            answered = false;
        }
        if answered { Ok(()) } else { self.segmenter.answer(&self.seeds) }
    }

    /// Applies a command to the seeds.
    fn note(&mut self, command: Command) {
        match command {
            Command::Add(seed) => {
                self.seeds.add(seed);
            }
            Command::Replace(written) => {
                self.seeds.clear();
                self.segmenter.forget();
                for seed in written.seeds(self.input.width() as usize, self.input.height() as usize)
                {
                    self.seeds.add(seed);
                }
            }
            Command::Undo => {
                // The masks of the regions contain the effect of the seed, so they are dropped and
                // computed anew.
                self.seeds.undo();
                self.segmenter.forget();
            }
            Command::Clear => {
                self.seeds.clear();
                self.segmenter.forget();
            }
        }
    }

    /// Removes the seeds of lost regions and adds events about them to `messages`. Without any
    /// region left, it removes the seeds of the background too.
    pub fn lose(&mut self, labels: &[u8], messages: &mut Vec<News>) {
        for label in labels {
            self.seeds.remove(*label);
            self.told[usize::from(*label) - 1] = None;
            messages.push(News { label: *label, area: 0.0, confidence: 0.0, lost: true });
        }
        if !labels.is_empty() && !self.segmenter.has_regions() {
            self.seeds.clear();
        }
    }

    /// Adds events about current regions to `messages`: about all of them if seeds have changed
    /// (`answered`), otherwise about those whose confidence has changed noticeably.
    pub fn tell(&mut self, answered: bool, messages: &mut Vec<News>) {
        for status in self.segmenter.status() {
            let told = &mut self.told[usize::from(status.label) - 1];
            if answered || told.is_none_or(|told| (told - status.confidence).abs() > NEWS) {
                *told = Some(status.confidence);
                let segment::Status { label, area, confidence } = status;
                messages.push(News { label, area, confidence, lost: false });
            }
        }
    }
}
