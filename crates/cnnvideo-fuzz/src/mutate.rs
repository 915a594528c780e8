// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes inputs from a corpus by random mutations.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{Target, input::INTERESTING};

/// Longest input in bytes.
pub const MAX_LENGTH: usize = 1 << 16;
/// Most mutations of an input.
const MAX_MUTATIONS: u32 = 6;
/// Most mutations of an input by [`Target::mutate`].
const MAX_NEAR_MUTATIONS: u32 = 3;
/// Longest piece that a mutation inserts, removes or replaces, in bytes.
const MAX_PIECE: usize = 64;

/// Makes the inputs of a target.
#[derive(Debug)]
pub struct Mutator {
    target: Target,
    corpus: Vec<Vec<u8>>,
    seed: u64,
}

impl Mutator {
    /// Creates the mutator of a target. Each seed leads to other inputs.
    ///
    /// # Panics
    /// If the corpus of the target is empty.
    pub fn new(target: Target, seed: u64) -> Self {
        let corpus = (target.corpus)();
        assert!(!corpus.is_empty(), "{}: the corpus is empty", target.name);
        Self { target, corpus, seed }
    }

    /// Creates the mutator of a target whose first inputs are `inputs`.
    pub(crate) fn of_inputs(target: Target, inputs: Vec<Vec<u8>>) -> Self {
        Self { target, corpus: inputs, seed: 0 }
    }

    /// Returns input `number`, which depends on target, seed and number only.
    ///
    /// The first inputs are those of the corpus.
    pub fn input(&self, number: u64) -> Vec<u8> {
        if let Some(valid) = usize::try_from(number).ok().and_then(|n| self.corpus.get(n)) {
            return valid.clone();
        }
        // The odd factor spreads consecutive numbers over all bits (Knuth, TAOCP 3, 6.4).
        let rng = self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let rng = &mut StdRng::seed_from_u64(rng);
        let mut input = self.pick(rng).to_vec();
        if let Some(mutate) = self.target.mutate
            && rng.random_ratio(3, 4)
        {
            (0..rng.random_range(1..=MAX_NEAR_MUTATIONS)).for_each(|_| mutate(&mut input, rng));
            return input;
        }
        for _ in 0..rng.random_range(1..=MAX_MUTATIONS) {
            self.mutate(&mut input, rng);
        }
        input.truncate(MAX_LENGTH);
        if let Some(repair) = self.target.repair
            && rng.random_ratio(7, 8)
        {
            repair(&mut input);
        }
        input
    }

    /// Returns an input of the corpus.
    fn pick(&self, rng: &mut StdRng) -> &[u8] {
        self.corpus.choose(rng).expect("the corpus is not empty")
    }

    /// Changes an input once.
    fn mutate(&self, input: &mut Vec<u8>, rng: &mut StdRng) {
        let at = rng.random_range(0..=input.len());
        let piece = at..(at + rng.random_range(1..=MAX_PIECE)).min(input.len());
        match rng.random_range(0..12) {
            0 => flip_bit(input, at, rng),
            1 => overwrite(input, at, &[rng.random()]),
            2 => {
                let value = INTERESTING.choose(rng).expect("there are integers");
                let width = [1, 2, 4, 8].choose(rng).expect("there are widths");
                overwrite(input, at, &integer_bytes(*value, *width, rng.random()));
            }
            3 => replace_number(input, at, rng),
            4 => input.truncate(at),
            5 => drop(input.drain(piece)),
            6 => {
                let copy = input[piece].to_vec();
                input.splice(at..at, copy);
            }
            7 => {
                let random: Vec<u8> = piece.map(|_| rng.random()).collect();
                overwrite(input, at, &random);
            }
            8 => {
                let other = self.pick(rng);
                let from = rng.random_range(0..=other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            9 => {
                let other = self.pick(rng);
                let from = rng.random_range(0..=other.len());
                let to = (from + rng.random_range(1..=MAX_PIECE)).min(other.len());
                overwrite(input, at, &other[from..to]);
            }
            insert => {
                if let Some(word) = self.target.dictionary.choose(rng) {
                    let end = if insert == 10 { at } else { (at + word.len()).min(input.len()) };
                    input.splice(at..end, word.bytes());
                }
            }
        }
    }
}

/// Flips a bit of the byte at `at`.
fn flip_bit(input: &mut [u8], at: usize, rng: &mut StdRng) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << rng.random_range(0..8);
    }
}

/// Replaces bytes from `at` on, without a change of the length.
fn overwrite(input: &mut [u8], at: usize, with: &[u8]) {
    input[at..].iter_mut().zip(with).for_each(|(to, from)| *to = *from);
}

/// Returns the lowest `width` bytes of an integer in one of the byte orders.
fn integer_bytes(value: u64, width: usize, big_endian: bool) -> Vec<u8> {
    let mut bytes = value.to_le_bytes()[..width].to_vec();
    if big_endian {
        bytes.reverse();
    }
    bytes
}

/// Replaces the decimal number at or after `at` by another one.
fn replace_number(input: &mut Vec<u8>, at: usize, rng: &mut StdRng) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) else {
        return;
    };
    let length = input[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    let number = match rng.random_range(0..4) {
        0 => rng.random_range(0..20).to_string(),
        1 => format!("-{}", INTERESTING.choose(rng).expect("there are integers")),
        2 => ["1e39", "1e400", "0.5", "nan", "inf", "00", ""][rng.random_range(0..7)].to_owned(),
        _ => INTERESTING.choose(rng).expect("there are integers").to_string(),
    };
    input.splice(start..start + length, number.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        crate::targets::text::TARGET
    }

    #[test]
    fn inputs_depend_on_seed_and_number_only() {
        let (a, b, c) =
            (Mutator::new(target(), 1), Mutator::new(target(), 1), Mutator::new(target(), 2));
        let differ = (1000..2000).filter(|n| a.input(*n) != c.input(*n)).count();
        assert!(differ > 900, "{differ}");
        for number in (1000..2000).rev() {
            assert_eq!(a.input(number), b.input(number));
        }
    }

    #[test]
    fn the_first_inputs_are_the_corpus() {
        let mutator = Mutator::new(target(), 1);
        let corpus = (target().corpus)();
        for (number, valid) in corpus.iter().enumerate() {
            assert_eq!(mutator.input(number as u64), *valid);
        }
    }

    #[test]
    fn numbers_in_text_are_replaced() {
        let rng = &mut StdRng::seed_from_u64(3);
        let mut texts: Vec<Vec<u8>> = (0..100)
            .map(|_| {
                let mut text = b"a:123,b".to_vec();
                replace_number(&mut text, 0, rng);
                text
            })
            .collect();
        assert!(texts.iter().all(|text| text.starts_with(b"a:") && text.ends_with(b",b")));
        texts.sort();
        texts.dedup();
        assert!(texts.len() > 20);
        let mut text = b"no number".to_vec();
        replace_number(&mut text, 9, rng);
        assert_eq!(text, b"no number");
    }
}
