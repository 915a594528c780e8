//! What pictures differ by along time, as another opinion on how strong noise is.

use crate::denoise::NoiseModel;

/// Pictures whose median is believed: a cut or a flash is not noise, and compressed pictures take turns at how much of it they keep.
const PICTURES: usize = 5;
/// Fewer tell nothing.
const LEAST: usize = 3;
/// Noise is corrected where that is larger than the estimate by the first factor at least, wholly by the second.
const CORRECTED: [f32; 2] = [1.15, 1.4];
/// The same in levels: what is less may be errors of the motion.
const WORTHWHILE: [f32; 2] = [1.0, 2.0];

/// Standard deviations that the last pictures have shown, for luma (R, G and B) and chroma.
#[derive(Debug, Default)]
pub(super) struct Seen {
    last: [[f32; 2]; PICTURES],
    count: usize,
}

impl Seen {
    pub fn push(&mut self, levels: [f32; 2]) {
        self.last[self.count % PICTURES] = levels;
        self.count += 1;
    }

    /// Noise of both, of a higher level where more than that was seen.
    pub fn correct(&self, [main, chroma]: [NoiseModel; 2]) -> [NoiseModel; 2] {
        if self.count < LEAST {
            return [main, chroma];
        }
        [corrected(main, self.median(0)), corrected(chroma, self.median(1))]
    }

    fn median(&self, which: usize) -> f32 {
        let mut all = self.last.map(|levels| levels[which]);
        let all = &mut all[..self.count.min(PICTURES)];
        all.sort_by(f32::total_cmp);
        all[all.len() / 2]
    }
}

fn corrected(noise: NoiseModel, seen: f32) -> NoiseModel {
    let rising = |value: f32, [none, all]: [f32; 2]| ((value - none) / (all - none)).clamp(0.0, 1.0);
    let excess = seen / noise.level.max(f32::MIN_POSITIVE);
    let share = rising(excess, CORRECTED) * rising(seen, WORTHWHILE);
    noise.at_least(noise.level + share * (seen - noise.level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_for_long_counts_and_what_is_seen_once_does_not() {
        let noise = [NoiseModel::uniform(2.0), NoiseModel::default()];
        let mut seen = Seen::default();
        for levels in [[6.0, 0.0], [50.0, 2.5]] {
            seen.push(levels);
            assert_eq!(seen.correct(noise), noise);
        }
        seen.push([6.5, 2.5]);
        assert_eq!(seen.correct(noise).map(|n| n.level), [6.5, 2.5]);
        seen.push([5.0, 2.5]);
        seen.push([5.0, 2.5]);
        assert_eq!(seen.correct(noise).map(|n| n.level), [6.0, 2.5]);
        // What is a little more is chance, and less is what estimates of single pictures are better at.
        for level in [2.2, 1.0] {
            (0..PICTURES).for_each(|_| seen.push([level, 0.9]));
            assert_eq!(seen.correct(noise), noise);
        }
    }
}
