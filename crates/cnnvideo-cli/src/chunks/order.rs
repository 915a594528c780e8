// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decoding times for packets that are stored in another order than they are shown.

/// Returns the decoding time of each packet in nanoseconds. `order` gives, for each packet in the
/// order of decoding, the number of its frame in the order of presentation; `times` the timestamp
/// of each frame.
///
/// The times increase, and none is behind the timestamp of its packet. The first ones may be
/// negative.
pub(crate) fn decoding_times(order: &[u32], times: &[u64]) -> Vec<i64> {
    // A packet is decoded that many frames before the frame of the same position is shown.
    let delay = order.iter().enumerate().map(|(i, frame)| i as i64 - i64::from(*frame)).max();
    let delay = delay.unwrap_or(0).max(0);
    let time = |frame: i64| times[frame as usize] as i64;
    let step = times.get(1).map_or(1, |second| (*second - times[0]) as i64);
    (0..order.len() as i64)
        .map(|i| match i - delay {
            frame @ 0.. => time(frame),
            before => time(0) + before * step,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_increase_and_precede_the_presentation() {
        let times = [0, 33, 73, 90, 190, 223, 263];
        for order in [
            &[0, 1, 2, 3, 4, 5, 6][..],
            &[0, 3, 1, 2, 6, 4, 5],
            &[0, 4, 2, 1, 3, 5, 6],
            &[2, 0, 1, 3, 6, 5, 4],
        ] {
            let decoding = decoding_times(order, &times);
            assert!(decoding.is_sorted_by(|a, b| a < b), "{decoding:?}");
            for (packet, time) in order.iter().zip(&decoding) {
                assert!(*time <= times[*packet as usize] as i64, "{order:?}: {decoding:?}");
            }
        }
        assert_eq!(decoding_times(&[0, 1, 2], &times), [0, 33, 73]);
        assert_eq!(decoding_times(&[0, 2, 1], &times), [-33, 0, 33]);
        assert_eq!(decoding_times(&[], &[]), []);
    }
}
