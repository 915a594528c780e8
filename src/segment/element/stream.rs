use gst_video::VideoInfo;
use ndarray::Array2;

use super::input::Command;
use crate::{
    frame::Format,
    segment::{self, Seed, Seeds, Segmenter, Shape},
};

/// Change of confidence that is worth a message.
const NEWS: f32 = 0.15;

/// What belongs to the caps that are negotiated.
pub(super) struct Stream {
    pub input: VideoInfo,
    pub output: VideoInfo,
    pub format: Format,
    pub segmenter: Segmenter,
    pub seeds: Seeds,
    /// Labels of the last frame's pixels.
    pub labels: Array2<u8>,
    /// Confidence that was last told, by label.
    pub told: [Option<f32>; segment::MAX_LABEL as usize],
}

/// What is worth a message about a region.
pub(super) struct News {
    pub label: u8,
    pub area: f32,
    pub confidence: f32,
    pub lost: bool,
}

impl Stream {
    /// Does what was asked for, in order.
    ///
    /// # Errors
    /// A backend that fails.
    pub fn obey(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<(), segment::Error> {
        let mut answered = true;
        for command in commands {
            if let Command::Add(Seed { label, shape: Shape::Steps(steps) }) = command {
                // These start from what was said before.
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
                // What the last seed did is forgotten too: the regions are worked out anew.
                self.seeds.undo();
                self.segmenter.forget();
            }
            Command::Clear => {
                self.seeds.clear();
                self.segmenter.forget();
            }
        }
    }

    /// Forgets the seeds of regions that are gone.
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
