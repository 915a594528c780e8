// SPDX-License-Identifier: MIT OR Apache-2.0

//! A/B variants: each segment of a video exists twice, with different payloads, and each receiver
//! gets a pattern of variants of its own.
//!
//! The patterns are codes of Tardos, "Optimal probabilistic fingerprint codes", Journal of the ACM
//! 55(2), 2008, so that receivers who mix their copies are still found. The score is the symmetric
//! one of Skoric, Katzenbeisser and Celik, "Symmetric Tardos fingerprinting codes for arbitrary
//! alphabet sizes", Designs, Codes and Cryptography 46, 2008.

use super::{
    key::{Key, KeyedRng},
    payload::Payload,
};

/// One of the two variants of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The first variant.
    A,
    /// The second variant.
    B,
}

impl Variant {
    /// Both variants.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// Returns the name: `a` or `b`.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// What the payload of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentMark {
    /// Number of the video, chosen by its owner.
    pub asset: u32,
    /// Number of the segment, from 0 to 2^31 - 1.
    pub segment: u32,
    /// Variant of the segment.
    pub variant: Variant,
}

impl SegmentMark {
    /// Returns the payload: 32 bits of the asset, 31 of the segment, 1 of the variant.
    ///
    /// # Panics
    /// If `segment` exceeds 31 bits.
    pub fn payload(&self) -> Payload {
        assert!(self.segment < 1 << 31, "a segment number has 31 bits");
        let variant = u64::from(self.variant == Variant::B);
        Payload(u64::from(self.asset) << 32 | u64::from(self.segment) << 1 | variant)
    }
}

impl From<Payload> for SegmentMark {
    fn from(Payload(bits): Payload) -> Self {
        let variant = if bits & 1 == 0 { Variant::A } else { Variant::B };
        Self { asset: (bits >> 32) as u32, segment: (bits as u32) >> 1, variant }
    }
}

/// Variants that a suspect copy shows in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Observed {
    /// No variant was read.
    #[default]
    Nothing,
    /// One variant.
    One(Variant),
    /// Both: several receivers mixed their copies.
    Both,
}

impl Observed {
    /// Adds a variant that was read.
    pub fn add(&mut self, variant: Variant) {
        *self = match *self {
            Self::Nothing => Self::One(variant),
            Self::One(before) if before == variant => Self::One(variant),
            _ => Self::Both,
        };
    }
}

/// A receiver whose pattern agrees with a suspect copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accusation {
    /// Number of the receiver.
    pub receiver: u32,
    /// Tardos score, in standard deviations of that of an innocent receiver.
    pub score: f64,
    /// Base-10 logarithm of an upper bound on the probability that any innocent receiver has this
    /// score.
    pub log10_p: f64,
}

/// Patterns of variants for the receivers of one asset.
pub struct Patterns<'a> {
    key: &'a Key,
    asset: u32,
    /// Probability of variant B in each segment.
    biases: Vec<f64>,
}

impl<'a> Patterns<'a> {
    /// Creates the patterns of an asset of `segments` segments, for coalitions of up to `colluders`
    /// receivers.
    ///
    /// Key, asset and `colluders` determine them. Those of a shorter video are the beginning of
    /// those of a longer one.
    pub fn new(key: &'a Key, asset: u32, segments: usize, colluders: u32) -> Self {
        let cutoff = 1.0 / (300.0 * f64::from(colluders.max(1)));
        let least = cutoff.sqrt().asin();
        let mut rng = key.rng("variant biases", &[asset, colluders]);
        let bias = |_| {
            let angle = least + (std::f64::consts::FRAC_PI_2 - 2.0 * least) * rng.uniform();
            angle.sin().powi(2)
        };
        Self { key, asset, biases: (0..segments).map(bias).collect() }
    }

    /// Returns the variants that a receiver gets, by segment.
    pub fn of(&self, receiver: u32) -> Vec<Variant> {
        let mut rng: KeyedRng = self.key.rng("variants", &[self.asset, receiver]);
        let variant = |bias: &f64| if rng.uniform() < *bias { Variant::B } else { Variant::A };
        self.biases.iter().map(variant).collect()
    }

    /// Returns the receivers from 0 to `receivers - 1` that a copy comes from, the most certain
    /// first.
    ///
    /// The probability of accusing any innocent receiver is at most `false_accusations`: for the
    /// observed segments, the score of an innocent receiver is a sum of independent random numbers
    /// of known distribution, and Chernoff's bound with the union bound over all receivers applies.
    /// Segments that show both variants or none do not count. Numbers beyond the end of `observed`
    /// do not count, either.
    pub fn trace(
        &self,
        observed: &[Observed],
        receivers: u32,
        false_accusations: f64,
    ) -> Vec<Accusation> {
        let read: Vec<_> = observed
            .iter()
            .zip(&self.biases)
            .enumerate()
            .filter_map(|(i, (observed, bias))| match observed {
                Observed::One(variant) => Some((i, Increments::new(*variant, *bias))),
                _ => None,
            })
            .collect();
        let deviation = (read.len() as f64).sqrt().max(1.0);
        let scores = (0..receivers).map(|receiver| {
            let variants = self.of(receiver);
            let score = read.iter().map(|(i, increments)| increments.of(variants[*i])).sum::<f64>();
            (receiver, score)
        });
        // A bound is costly, so it is computed for those scores alone that can be significant.
        let promising = scores.filter(|(_, score)| *score > 2.0 * deviation);
        let increments: Vec<_> = read.iter().map(|(_, increments)| *increments).collect();
        let mut accused: Vec<_> = promising
            .map(|(receiver, score)| {
                let log10_p = f64::from(receivers).log10() + log10_tail(&increments, score);
                Accusation { receiver, score: score / deviation, log10_p }
            })
            .filter(|accusation| accusation.log10_p <= false_accusations.log10())
            .collect();
        accused.sort_by(|a, b| a.log10_p.total_cmp(&b.log10_p));
        accused
    }
}

/// What a segment adds to the score of a receiver.
#[derive(Clone, Copy)]
struct Increments {
    /// If the receiver got variant B.
    with_b: f64,
    /// If it got variant A.
    with_a: f64,
    /// Probability that an innocent receiver got variant B.
    bias: f64,
}

impl Increments {
    fn new(observed: Variant, bias: f64) -> Self {
        let (with_b, with_a) = match observed {
            Variant::B => (((1.0 - bias) / bias).sqrt(), -(bias / (1.0 - bias)).sqrt()),
            Variant::A => (-((1.0 - bias) / bias).sqrt(), (bias / (1.0 - bias)).sqrt()),
        };
        Self { with_b, with_a, bias }
    }

    fn of(&self, variant: Variant) -> f64 {
        if variant == Variant::B { self.with_b } else { self.with_a }
    }

    /// Returns the logarithm of the expectation of `exp(t x)` for the increment x of an innocent
    /// receiver.
    fn log_moment(&self, t: f64) -> f64 {
        (self.bias * (t * self.with_b).exp() + (1.0 - self.bias) * (t * self.with_a).exp()).ln()
    }
}

/// Returns the base-10 logarithm of Chernoff's bound on the probability that an innocent receiver
/// has at least this score.
fn log10_tail(increments: &[Increments], score: f64) -> f64 {
    let bound = |t: f64| increments.iter().map(|i| i.log_moment(t)).sum::<f64>() - t * score;
    // The bound is convex in t: narrows the interval around its minimum.
    let (mut low, mut high) = (0.0, 8.0);
    for _ in 0..60 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if bound(a) < bound(b) { high = b } else { low = a }
    }
    bound(low).min(0.0) / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVERS: u32 = 1000;

    fn key() -> Key {
        Key::new([5; 32])
    }

    /// Returns what a mix of the copies of `colluders` shows, if the detector reads a segment only
    /// where all agree.
    fn mixed(patterns: &Patterns<'_>, colluders: &[u32]) -> Vec<Observed> {
        let copies: Vec<_> = colluders.iter().map(|receiver| patterns.of(*receiver)).collect();
        let mut observed = vec![Observed::default(); copies[0].len()];
        for copy in &copies {
            observed.iter_mut().zip(copy).for_each(|(to, variant)| to.add(*variant));
        }
        observed
    }

    #[test]
    fn payloads_carry_asset_segment_and_variant() {
        for variant in Variant::ALL {
            let mark = SegmentMark { asset: 0xdead_beef, segment: 0x7fff_fff1, variant };
            assert_eq!(SegmentMark::from(mark.payload()), mark);
        }
    }

    #[test]
    fn patterns_depend_on_key_asset_and_receiver_and_extend() {
        let (a, b) = (key(), Key::new([6; 32]));
        let of = |key, asset, receiver| Patterns::new(key, asset, 200, 3).of(receiver);
        let reference = of(&a, 1, 7);
        for other in [of(&a, 1, 8), of(&a, 2, 7), of(&b, 1, 7)] {
            let agreeing = reference.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((80..180).contains(&agreeing), "{agreeing}");
        }
        assert_eq!(Patterns::new(&a, 1, 300, 3).of(7)[..200], reference);
    }

    #[test]
    fn one_receiver_is_found_in_few_segments_also_with_gaps() {
        let key = key();
        let patterns = Patterns::new(&key, 1, 120, 2);
        let mut observed = mixed(&patterns, &[123]);
        observed.iter_mut().step_by(3).for_each(|observed| *observed = Observed::Nothing);
        let accused = patterns.trace(&observed, RECEIVERS, 1e-3);
        assert_eq!(accused.iter().map(|a| a.receiver).collect::<Vec<_>>(), [123], "{accused:?}");
    }

    #[test]
    fn mixed_copies_accuse_colluders_and_nobody_else() {
        let key = key();
        for (colluders, segments) in [(vec![3, 700], 200), (vec![5, 6, 999], 500)] {
            let patterns = Patterns::new(&key, 9, segments, 3);
            let accused = patterns.trace(&mixed(&patterns, &colluders), RECEIVERS, 1e-3);
            assert!(!accused.is_empty(), "{colluders:?}");
            assert!(accused.iter().all(|a| colluders.contains(&a.receiver)), "{accused:?}");
            // Segments taken in turns: each shows the variant of one of them.
            let copies: Vec<_> = colluders.iter().map(|receiver| patterns.of(*receiver)).collect();
            let in_turns: Vec<_> =
                (0..segments).map(|i| Observed::One(copies[i % copies.len()][i])).collect();
            let accused = patterns.trace(&in_turns, RECEIVERS, 1e-3);
            assert!(!accused.is_empty(), "{colluders:?} in turns");
            assert!(accused.iter().all(|a| colluders.contains(&a.receiver)), "{accused:?}");
        }
    }

    #[test]
    fn unrelated_copies_accuse_nobody() {
        let key = key();
        let patterns = Patterns::new(&key, 1, 300, 3);
        for receiver in 5000..5040 {
            let observed = mixed(&patterns, &[receiver]);
            assert_eq!(patterns.trace(&observed, RECEIVERS, 1e-3), []);
        }
        assert_eq!(patterns.trace(&[], RECEIVERS, 1e-3), []);
        assert_eq!(patterns.trace(&[Observed::Both; 300], RECEIVERS, 1e-3), []);
    }
}
