// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tail-biting convolutional code of rate 1/4 and constraint length 7, with a wrap-around Viterbi
//! decoder for soft bits (Shao, Lin and Fossorier, "Two Decoding Algorithms for Tailbiting Codes",
//! IEEE Transactions on Communications 51(10), 2003).

/// Number of bits of a message: payload and check.
pub(super) const MESSAGE_BITS: usize = 96;
/// Number of coded bits of a message.
pub(super) const CODED_BITS: usize = 4 * MESSAGE_BITS;
/// Generator polynomials: the largest free distance at this rate and constraint length (Larsen,
/// IEEE Transactions on Information Theory 19(3), 1973).
const GENERATORS: [u32; 4] = [0o135, 0o135, 0o147, 0o163];
/// Number of previous bits in the shift register.
const MEMORY: usize = 6;
/// Number of states of the trellis.
const STATES: usize = 1 << MEMORY;
/// Maximum number of passes around the circular trellis.
const MAX_ROUNDS: usize = 4;

/// Returns the coded bits, as signs, for a register of the new bit and the six before it.
fn outputs(register: usize) -> [f32; 4] {
    GENERATORS.map(|g| if (register as u32 & g).count_ones() % 2 == 1 { 1.0 } else { -1.0 })
}

/// Encodes a message; a coded bit is 1 if set, else -1.
pub(super) fn encode(message: &[bool; MESSAGE_BITS]) -> [f32; CODED_BITS] {
    let mut state = message[MESSAGE_BITS - MEMORY..]
        .iter()
        .fold(0, |state, bit| state << 1 | usize::from(*bit));
    let mut coded = [0.0; CODED_BITS];
    for (bit, out) in message.iter().zip(coded.chunks_exact_mut(4)) {
        let register = state << 1 | usize::from(*bit);
        out.copy_from_slice(&outputs(register));
        state = register % STATES;
    }
    coded
}

/// Returns the message whose coded bits correlate best with `soft`, where positive values indicate
/// a set bit.
pub(super) fn decode(soft: &[f32; CODED_BITS]) -> [bool; MESSAGE_BITS] {
    let table: [[f32; 4]; 2 * STATES] = std::array::from_fn(outputs);
    let mut metrics = [0.0f32; STATES];
    let (mut best_gain, mut best_message) = (f32::NEG_INFINITY, [false; MESSAGE_BITS]);
    let mut predecessors = [[0u8; STATES]; MESSAGE_BITS];
    for _ in 0..MAX_ROUNDS {
        let before = metrics;
        for (values, from) in soft.chunks_exact(4).zip(&mut predecessors) {
            let mut next = [0.0; STATES];
            for state in 0..STATES {
                // The two possible predecessors differ in the oldest bit of the register.
                let [a, b] = [state >> 1, state >> 1 | STATES >> 1].map(|old| {
                    let signs = &table[old << 1 | state & 1];
                    metrics[old] + signs.iter().zip(values).map(|(s, v)| s * v).sum::<f32>()
                });
                next[state] = a.max(b);
                from[state] = u8::from(b > a);
            }
            metrics = next;
        }
        // All valid messages are circular: their path ends in the state in which it begins. Keep
        // the best circular path; stop when it is the best of all paths.
        let mut best_metric = f32::NEG_INFINITY;
        let mut best_is_circular = false;
        for (end, metric) in metrics.iter().enumerate() {
            let (start, message) = trace_back(&predecessors, end);
            let gain = metric - before[start];
            if start == end && gain > best_gain {
                (best_gain, best_message) = (gain, message);
            }
            if *metric > best_metric {
                (best_metric, best_is_circular) = (*metric, start == end);
            }
        }
        if best_is_circular {
            break;
        }
    }
    best_message
}

/// Follows the path that ends in a state; returns its first state and its message.
fn trace_back(
    predecessors: &[[u8; STATES]; MESSAGE_BITS],
    end: usize,
) -> (usize, [bool; MESSAGE_BITS]) {
    let mut message = [false; MESSAGE_BITS];
    let mut state = end;
    for (bit, from) in message.iter_mut().zip(predecessors).rev() {
        *bit = state & 1 == 1;
        state = state >> 1 | usize::from(from[state]) << (MEMORY - 1);
    }
    (state, message)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng, seq::index::sample};

    use super::*;

    fn message(rng: &mut StdRng) -> [bool; MESSAGE_BITS] {
        std::array::from_fn(|_| rng.random())
    }

    #[test]
    fn any_eight_errors_are_corrected() {
        // The free distance is 20, so any 9 errors can be corrected. The test leaves one in
        // reserve.
        let mut rng = StdRng::seed_from_u64(1);
        for round in 0..300 {
            let sent = message(&mut rng);
            let mut coded = encode(&sent);
            let errors = round % 9;
            sample(&mut rng, CODED_BITS, errors).iter().for_each(|i| coded[i] = -coded[i]);
            assert_eq!(decode(&coded), sent, "{errors} errors");
            // Adjacent errors are the hardest pattern.
            let mut coded = encode(&sent);
            (0..errors).for_each(|i| coded[(round * 7 + i) % CODED_BITS] *= -1.0);
            assert_eq!(decode(&coded), sent, "{errors} errors in a row");
        }
    }

    #[test]
    fn decodes_at_noise_sigma_0_9_but_not_at_2_5() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut correct = [0, 0];
        for _ in 0..100 {
            let sent = message(&mut rng);
            for (count, sigma) in correct.iter_mut().zip([0.9, 2.5]) {
                let noise =
                    |rng: &mut StdRng| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
                let received = encode(&sent).map(|bit| bit + sigma * noise(&mut rng));
                *count += usize::from(decode(&received) == sent);
            }
        }
        assert!(correct[0] >= 97 && correct[1] <= 10, "{correct:?}");
    }

    #[test]
    fn zero_input_decodes_without_panic() {
        assert_eq!(decode(&[0.0; CODED_BITS]).len(), MESSAGE_BITS);
    }
}
