//! A tail-biting convolutional code of rate 1/4 and constraint length 7, with a soft wrap-around Viterbi decoder (Shao, Lin
//! and Fossorier, "Two Decoding Algorithms for Tailbiting Codes", IEEE Transactions on Communications 51(10), 2003).

/// Bits of a message.
pub const MESSAGE: usize = 96;
/// Coded bits.
pub const CODED: usize = 4 * MESSAGE;
/// Octal 135, 135, 147, 163: the best of this rate and length by distance (Larsen, IEEE Transactions on Information Theory
/// 19(3), 1973).
const GENERATORS: [u32; 4] = [0o135, 0o135, 0o147, 0o163];
const MEMORY: usize = 6;
const STATES: usize = 1 << MEMORY;
/// Times that the decoder goes around at most.
const ROUNDS: usize = 4;

/// Coded bits as signs for a register that holds the new bit and the six before it.
fn outputs(register: usize) -> [f32; 4] {
    GENERATORS.map(|g| if (register as u32 & g).count_ones() % 2 == 1 { 1.0 } else { -1.0 })
}

/// Codes a message; coded bits are signs.
pub fn encode(message: &[bool; MESSAGE]) -> [f32; CODED] {
    let mut state =
        message[MESSAGE - MEMORY..].iter().fold(0, |state, bit| state << 1 | usize::from(*bit));
    let mut coded = [0.0; CODED];
    for (bit, out) in message.iter().zip(coded.chunks_exact_mut(4)) {
        let register = state << 1 | usize::from(*bit);
        out.copy_from_slice(&outputs(register));
        state = register % STATES;
    }
    coded
}

/// The message whose coded bits agree best with `soft`: positive values speak for a set bit.
pub fn decode(soft: &[f32; CODED]) -> [bool; MESSAGE] {
    let table: [[f32; 4]; 2 * STATES] = std::array::from_fn(outputs);
    let mut metrics = [0.0f32; STATES];
    let mut best = (f32::NEG_INFINITY, [false; MESSAGE]);
    let mut came_from = [[0u8; STATES]; MESSAGE];
    for _ in 0..ROUNDS {
        let before = metrics;
        for (values, from) in soft.chunks_exact(4).zip(&mut came_from) {
            let mut next = [0.0; STATES];
            for state in 0..STATES {
                // The two states before it differ in the bit that falls out.
                let [a, b] = [state >> 1, state >> 1 | STATES >> 1].map(|old| {
                    let signs = &table[old << 1 | state & 1];
                    metrics[old] + signs.iter().zip(values).map(|(s, v)| s * v).sum::<f32>()
                });
                next[state] = a.max(b);
                from[state] = u8::from(b > a);
            }
            metrics = next;
        }
        // Of the paths that end as they began, which all messages do, the best; and whether any other is better still.
        let mut likeliest = (f32::NEG_INFINITY, false);
        for (end, metric) in metrics.iter().enumerate() {
            let (start, message) = trace(&came_from, end);
            let gain = metric - before[start];
            if start == end && gain > best.0 {
                best = (gain, message);
            }
            if *metric > likeliest.0 {
                likeliest = (*metric, start == end);
            }
        }
        if likeliest.1 {
            break;
        }
    }
    best.1
}

/// The message of the path to a state, and the state that it began in.
fn trace(came_from: &[[u8; STATES]; MESSAGE], end: usize) -> (usize, [bool; MESSAGE]) {
    let mut message = [false; MESSAGE];
    let mut state = end;
    for (bit, from) in message.iter_mut().zip(came_from).rev() {
        *bit = state & 1 == 1;
        state = state >> 1 | usize::from(from[state]) << (MEMORY - 1);
    }
    (state, message)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng, seq::index::sample};

    use super::*;

    fn message(rng: &mut StdRng) -> [bool; MESSAGE] {
        std::array::from_fn(|_| rng.random())
    }

    #[test]
    fn any_eight_errors_are_mended() {
        // Half the free distance of 20, less one: what must decode wherever the errors lie.
        let mut rng = StdRng::seed_from_u64(1);
        for round in 0..300 {
            let sent = message(&mut rng);
            let mut coded = encode(&sent);
            let errors = round % 9;
            sample(&mut rng, CODED, errors).iter().for_each(|i| coded[i] = -coded[i]);
            assert_eq!(decode(&coded), sent, "{errors} errors");
            // Side by side is where they hurt most.
            let mut coded = encode(&sent);
            (0..errors).for_each(|i| coded[(round * 7 + i) % CODED] *= -1.0);
            assert_eq!(decode(&coded), sent, "{errors} errors in a row");
        }
    }

    #[test]
    fn noise_of_twice_the_amplitude_of_the_bits_is_too_much_and_of_the_same_is_not() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut right = [0, 0];
        for _ in 0..100 {
            let sent = message(&mut rng);
            for (count, level) in right.iter_mut().zip([0.9, 2.5]) {
                let noise =
                    |rng: &mut StdRng| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
                let received = encode(&sent).map(|bit| bit + level * noise(&mut rng));
                *count += usize::from(decode(&received) == sent);
            }
        }
        assert!(right[0] >= 97 && right[1] <= 10, "{right:?}");
    }

    #[test]
    fn silence_decodes_to_something() {
        assert_eq!(decode(&[0.0; CODED]).len(), MESSAGE);
    }
}
