// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes a plan.

use std::path::Path;

use cnnvideo::nn::files::Temporary;

use super::{
    analyse::{Analysis, analyse},
    borders::{Part, divide},
    elements::{check_preset, has_memory, lookahead, period},
    identity::Identity,
    plan::{Chunk, ChunkPlan, SourceOfChunks},
};
use crate::{
    args::{ProgressMode, Quality},
    codec,
    container::Container,
    error::{Result, failed},
    filter::Filter,
    media::{Input, probe::Media},
    progress::Progress,
    stop::Stop,
    transcode::{expected_frames, path::VideoPath, trial},
};

/// What to plan.
pub(crate) struct Order<'a> {
    /// The video.
    pub(crate) input: &'a Path,
    /// Container of the final file.
    pub(crate) container: Container,
    /// Whether frames that cannot be decoded are left out.
    pub(crate) ignore_damage: bool,
    /// Elements that process the video.
    pub(crate) filter: Filter,
    /// Codec and quality.
    pub(crate) quality: &'a Quality,
    /// About how many frames a chunk has.
    pub(crate) chunk_frames: u64,
    /// Frames of the warm-up where a chunk does not begin at a cut.
    pub(crate) warm_up: u64,
    /// Name for a file of a few frames, beside the files to come. No such file stays.
    pub(crate) trial_file: &'a Path,
}

impl Order<'_> {
    /// Makes the plan.
    ///
    /// # Errors
    /// The input cannot be divided or decoded, the output would lose something, or a signal
    /// arrives.
    pub(crate) fn plan(self, progress: ProgressMode, stop: &Stop) -> Result<ChunkPlan> {
        codec::check(self.quality.codec, self.quality.crf, self.container)?;
        check_preset(&self.filter.build()?)?;
        let kind = Input::of(self.input)?;
        if kind == Input::Standard {
            return Err(failed!(
                "the standard input cannot be read again for each chunk: write it to a .y4m file \
                 first"
            ));
        }
        let media = Media::of(&kind, stop)?;
        let path = VideoPath::choose(
            self.filter.clone(),
            media.caps.clone(),
            self.container,
            self.quality,
            None,
        )?;
        self.try_container(&path, &media, stop)?;
        // VP8 has packets without a frame to show.
        let counts_packets = media.streams[media.video].type_name() != "video/x-vp8";
        let frames = expected_frames(&media.info, media.duration);
        let show = |count| Progress::new(progress, count, media.duration, frames).of_step("plan");
        let ignore_damage = self.ignore_damage;
        let analysis = analyse(&kind, ignore_damage, counts_packets, show, stop)?;
        let identity = Identity::of(self.input, stop)?;
        let parts = divide(analysis.times.len() as u64, &analysis.cuts, self.chunk_frames);
        let shots = std::iter::once(0).chain(analysis.cuts.iter().copied()).collect();
        let chunks = self.chunks(&analysis, parts)?;
        let encoder = path.encoder.ok_or_else(|| failed!("there is no encoder"))?;
        let source = SourceOfChunks { identity, offset: analysis.offset, ignore_damage };
        Ok(ChunkPlan::new(source, &path, encoder, shots, chunks))
    }

    /// Finds out what the encoder and the container lose.
    fn try_container(&self, path: &VideoPath, media: &Media, stop: &Stop) -> Result<()> {
        let kept = trial::Kept { caps: media.caps.clone(), orientation: media.orientation.clone() };
        let about = self.input.display().to_string();
        let temporary = Temporary::file(self.trial_file)
            .map_err(|err| failed!("cannot write beside {}: {err}", self.trial_file.display()))?;
        trial::check(path, self.container, &kept, temporary.path(), &about, stop)
    }

    fn chunks(&self, analysis: &Analysis, parts: Vec<Part>) -> Result<Vec<Chunk>> {
        let filter = self.filter.build()?;
        let warm_up = if has_memory(&filter) { self.warm_up } else { 0 };
        let (future, period) = (lookahead(&filter), period(&filter));
        let times = &analysis.times;
        let total = times.len() as u64;
        let chunk = |part: Part| {
            let times = times[part.frames.start as usize..part.frames.end as usize].to_vec();
            // Nothing passes a cut.
            let cuts = &analysis.cuts;
            let before = cuts.partition_point(|cut| *cut <= part.frames.start);
            let last_cut = before.checked_sub(1).map_or(0, |i| cuts[i]);
            let after = cuts.partition_point(|cut| *cut < part.frames.end);
            let next_cut = cuts.get(after).copied().unwrap_or(total);
            Chunk {
                first_frame: part.frames.start,
                frames: part.frames.end - part.frames.start,
                first_pts: times[0].0,
                last_pts: times[times.len() - 1].0,
                warm_up: warm_up_of(warm_up, part.frames.start - last_cut, period),
                future: future.min(next_cut - part.frames.end),
                times,
            }
        };
        Ok(parts.into_iter().map(chunk).collect())
    }
}

/// Returns the frames of the warm-up for a chunk that begins `position` frames behind a cut: at
/// least `wanted`, and so many that it begins a multiple of `period` behind the cut; all of them if
/// there are no more.
fn warm_up_of(wanted: u64, position: u64, period: u64) -> u64 {
    match wanted {
        0 => 0,
        _ => position - position.saturating_sub(wanted) / period * period,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_ups_begin_in_step_with_the_shot() {
        for (wanted, position, expected) in [
            (48, 0, 0),
            (48, 30, 30),
            (48, 48, 48),
            (48, 50, 50),
            (48, 130, 58),
            (48, 132, 48),
            (0, 130, 0),
        ] {
            assert_eq!(warm_up_of(wanted, position, 12), expected, "{wanted} at {position}");
        }
    }
}
