// SPDX-License-Identifier: MIT OR Apache-2.0

//! Finds scene cuts from small pictures of luma.
//!
//! A frame begins a shot if it differs from the previous one far more than its neighbours do from
//! theirs, and if the picture does not come back, as it does after a flash. A missed cut costs a
//! warm-up; a wrong one would cost a visible step. The limits are therefore high.

use std::collections::VecDeque;

/// Width and height of the small pictures.
pub(crate) const SIZE: [usize; 2] = [64, 36];
/// Frames on each side whose differences count as usual.
const NEIGHBOURS: usize = 8;
/// Least mean difference of a cut in code values. Cuts between similar shots of films have 12 and
/// more.
const LEAST_DIFFERENCE: f32 = 10.0;
/// Least ratio of the difference of a cut to the mean one of its neighbours. Fast motion reaches
/// 2, and animation that moves every third frame 3.
const LEAST_RATIO: f32 = 2.8;
/// Least ratio of the difference of a cut to the second largest one of its neighbours: animation
/// reaches 1.
const LEAST_RATIO_TO_PEAK: f32 = 1.5;
/// Least distance of the histograms of a cut, 0 to 1. Motion within a shot stays below 0.1.
const LEAST_HISTOGRAM_DISTANCE: f32 = 0.12;
/// Frames after which the picture has come back after a flash.
const FLASH: usize = 3;
/// Bins of the histograms.
const BINS: usize = 32;

/// Differences of a frame to the frames before it.
#[derive(Debug, Clone, Copy)]
struct Differences {
    /// Mean difference to the frame 1, 2, ... frames before; infinite if there is none.
    by_lag: [f32; FLASH + 1],
    /// Distance of the histograms of this frame and the previous one.
    histogram: f32,
}

/// Collects the frames of a video.
#[derive(Debug, Default)]
pub(crate) struct CutDetector {
    previous: VecDeque<(Vec<u8>, [u32; BINS])>,
    differences: Vec<Differences>,
}

impl CutDetector {
    /// Takes the luma of the next frame: `SIZE` samples.
    pub(crate) fn push(&mut self, luma: Vec<u8>) {
        let mut by_lag = [f32::INFINITY; FLASH + 1];
        for (difference, (earlier, _)) in by_lag.iter_mut().zip(&self.previous) {
            *difference = mean_difference(earlier, &luma);
        }
        let histogram = histogram(&luma);
        let distance =
            self.previous.front().map_or(0.0, |(_, earlier)| distance(earlier, &histogram));
        self.differences.push(Differences { by_lag, histogram: distance });
        self.previous.push_front((luma, histogram));
        self.previous.truncate(FLASH + 1);
    }

    /// Returns the numbers of the frames that begin a shot, without frame 0.
    pub(crate) fn cuts(&self) -> Vec<u64> {
        (1..self.differences.len()).filter(|i| self.is_cut(*i)).map(|i| i as u64).collect()
    }

    fn is_cut(&self, i: usize) -> bool {
        let Differences { by_lag: [difference, ..], histogram } = self.differences[i];
        difference >= LEAST_DIFFERENCE
            && histogram >= LEAST_HISTOGRAM_DISTANCE
            && self.stands_out(i)
            && !self.comes_back(i)
    }

    /// Returns whether the difference of a frame is far above those of its neighbours. The largest
    /// of them does not count: it may be another cut.
    fn stands_out(&self, i: usize) -> bool {
        let [difference, ..] = self.differences[i].by_lag;
        let end = self.differences.len().min(i + NEIGHBOURS + 1);
        let range = i.saturating_sub(NEIGHBOURS).max(1)..end;
        let mut others: Vec<f32> =
            range.filter(|j| *j != i).map(|j| self.differences[j].by_lag[0]).collect();
        others.sort_by(f32::total_cmp);
        others.pop();
        let mean = others.iter().sum::<f32>() / others.len().max(1) as f32;
        let peak = others.last().copied().unwrap_or(0.0);
        difference >= LEAST_RATIO * mean && difference >= LEAST_RATIO_TO_PEAK * peak
    }

    /// Returns whether a flash begins or ends with frame `i`: one of the next frames is like the
    /// frame before it, or it is like one of those before that.
    fn comes_back(&self, i: usize) -> bool {
        let [difference, ref earlier @ ..] = self.differences[i].by_lag;
        let is_like = |other: f32| other < difference / 2.0;
        let later = (1..=FLASH).filter_map(|k| Some(self.differences.get(i + k)?.by_lag[k]));
        later.chain(earlier.iter().copied()).any(is_like)
    }
}

/// Returns the mean absolute difference of the samples of two pictures.
fn mean_difference(a: &[u8], b: &[u8]) -> f32 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f32 / a.len().max(1) as f32
}

fn histogram(luma: &[u8]) -> [u32; BINS] {
    let mut bins = [0; BINS];
    for sample in luma {
        bins[usize::from(*sample) * BINS / 256] += 1;
    }
    bins
}

/// Returns the share of samples in other bins: 0 for equal histograms, 1 for disjoint ones.
fn distance(a: &[u32; BINS], b: &[u32; BINS]) -> f32 {
    let total: u32 = a.iter().sum();
    let moved: u32 = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).sum();
    moved as f32 / (2 * total.max(1)) as f32
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Returns a picture of a scene: soft blobs that move by `shift` pixels, with noise.
    fn picture(scene: u64, shift: f32, brightness: f32, noise: &mut StdRng) -> Vec<u8> {
        let mut random = StdRng::seed_from_u64(scene);
        let level: f32 = random.random_range(40.0..200.0);
        let blobs: Vec<[f32; 4]> = (0..12)
            .map(|_| {
                [
                    random.random_range(0.0..64.0),
                    random.random_range(0.0..36.0),
                    random.random_range(3.0..10.0),
                    random.random_range(-90.0..90.0),
                ]
            })
            .collect();
        let sample = |i: usize| {
            let (x, y) = ((i % SIZE[0]) as f32, (i / SIZE[0]) as f32);
            let value = blobs.iter().fold(level, |sum, [bx, by, size, height]| {
                let r = (x - bx - shift).powi(2) + (y - by).powi(2);
                sum + height * (-r / (size * size)).exp()
            });
            (value * brightness + noise.random_range(-4.0..4.0)).clamp(0.0, 255.0) as u8
        };
        (0..SIZE[0] * SIZE[1]).map(sample).collect()
    }

    fn cuts(frames: impl IntoIterator<Item = (u64, f32, f32)>) -> Vec<u64> {
        let mut noise = StdRng::seed_from_u64(7);
        let mut detector = CutDetector::default();
        for (scene, shift, brightness) in frames {
            detector.push(picture(scene, shift, brightness, &mut noise));
        }
        detector.cuts()
    }

    #[test]
    fn cuts_are_found() {
        let shots = [0..20, 20..25, 25..60, 60..61, 61..100];
        let frames = shots.into_iter().enumerate().flat_map(|(scene, shot)| {
            shot.map(move |frame| (scene as u64, (frame % 30) as f32 * 0.3, 1.0))
        });
        // A shot of a single frame counts as a flash or as a cut; both are fine.
        let found = cuts(frames);
        for cut in [20, 25] {
            assert!(found.contains(&cut), "{found:?}");
        }
        assert!(found.contains(&60) || found.contains(&61), "{found:?}");
        assert!(found.iter().all(|cut| [20, 25, 60, 61].contains(cut)), "{found:?}");
    }

    #[test]
    fn motion_fades_and_flashes_are_no_cuts() {
        let pan = (0..60).map(|frame| (3, frame as f32 * 1.5, 1.0));
        assert!(cuts(pan).is_empty());
        let fade = (0..60).map(|frame| (4, 0.0, 1.0 - frame as f32 / 60.0));
        assert!(cuts(fade).is_empty());
        let flash = (0..60).map(|frame| (5, 0.0, if frame % 20 == 9 { 2.5 } else { 1.0 }));
        assert!(cuts(flash).is_empty());
        let long_flash =
            (0..60).map(|frame| (6, 0.0, if (20..22).contains(&frame) { 2.5 } else { 1.0 }));
        assert!(cuts(long_flash).is_empty());
    }

    #[test]
    fn animation_on_threes_has_no_cuts() {
        assert!(cuts((0..60).map(|frame| (8, (frame / 3) as f32 * 9.0, 1.0))).is_empty());
    }

    #[test]
    fn short_videos_have_no_cuts() {
        assert!(CutDetector::default().cuts().is_empty());
        assert!(cuts([(1, 0.0, 1.0)]).is_empty());
        assert!(cuts([(1, 0.0, 1.0); 2]).is_empty());
    }
}
