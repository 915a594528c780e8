//! Tail-biting convolutional code of rate 1/4 and constraint length 7, with a wrap-around Viterbi
//! decoder for soft bits (Shao, Lin and Fossorier, "Two Decoding Algorithms for Tailbiting Codes",
//! IEEE Transactions on Communications 51(10), 2003).

/// Number of bits of a message: payload and check.
pub const MESSAGE: usize = 96;
/// Number of coded bits of a message.
pub const CODED: usize = 4 * MESSAGE;
/// Generator polynomials: the largest free distance at this rate and constraint length (Larsen,
/// IEEE Transactions on Information Theory 19(3), 1973).
const GENERATORS: [u32; 4] = [0o135, 0o135, 0o147, 0o163];
/// Number of previous bits in the shift register.
const MEMORY: usize = 6;
/// Number of states of the trellis.
const STATES: usize = 1 << MEMORY;
/// Maximum number of passes around the circular trellis.
const ROUNDS: usize = 4;

/// Returns the coded bits, as signs, for a register of the new bit and the six before it.
fn outputs(register: usize) -> [f32; 4] {
    GENERATORS.map(|g| if (register as u32 & g).count_ones() % 2 == 1 { 1.0 } else { -1.0 })
}

/// Encodes a message; a coded bit is 1 if set, else -1.
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

/// Returns the message whose coded bits correlate best with `soft`, where positive values indicate
/// a set bit.
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

/// Follows the path that ends in a state; returns its first state and its message.
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
        // The free distance is 20, so any 9 errors can be corrected. The test leaves one in
        // reserve.
        let mut rng = StdRng::seed_from_u64(1);
        for round in 0..300 {
            let sent = message(&mut rng);
            let mut coded = encode(&sent);
            let errors = round % 9;
            sample(&mut rng, CODED, errors).iter().for_each(|i| coded[i] = -coded[i]);
            assert_eq!(decode(&coded), sent, "{errors} errors");
            // Adjacent errors are the hardest pattern.
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
