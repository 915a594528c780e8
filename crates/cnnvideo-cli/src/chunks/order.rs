// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decoding times for packets that are stored in another order than they are shown.

use super::plan::Time;

/// Returns the decoding time of each packet in nanoseconds. `order` gives, for each packet in the
/// order of decoding, the number of its frame in the order of presentation; `times` the time of
/// each frame.
///
/// The times increase, and none is behind the timestamp of its packet. The first ones may be
/// negative. From the first one to the end of the last packet, it is as long as the video: .mp4
/// files store that as its length, and players leave out frames beyond it.
pub(crate) fn decoding_times(order: &[u32], times: &[Time]) -> Vec<i64> {
    // A packet is decoded that many frames before the frame of the same position is shown.
    let delay = order.iter().enumerate().map(|(i, frame)| i as i64 - i64::from(*frame)).max();
    let delay = delay.unwrap_or(0).max(0);
    let lead = if delay > 0 { lead(order, times, delay as usize) } else { 0 };
    let time = |frame: i64| times[frame as usize].0 as i64;
    (0..order.len() as i64)
        .map(|i| match i - delay {
            frame @ 0.. => time(frame),
            before => time(0) + before * lead / delay,
        })
        .collect()
}

/// Returns the time by which the first packet precedes the first frame.
fn lead(order: &[u32], times: &[Time], delay: usize) -> i64 {
    let last = times.len() - 1;
    let step = times.get(1).map_or(1, |second| second.0 - times[0].0);
    let duration = |frame: usize| times[frame].1.unwrap_or(step) as i64;
    let end = times[last].0 as i64 + duration(last);
    let last_packet = order.last().map_or(0, |frame| *frame as usize);
    let decoded = times[last.saturating_sub(delay)].0 as i64 + duration(last_packet);
    (end - decoded).max(delay as i64 * step as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_increase_and_precede_the_presentation() {
        let durations = [33, 40, 17, 100, 33, 40, 17];
        let mut time = 0;
        let times = durations.map(|duration| {
            time += duration;
            (time - duration, Some(duration))
        });
        for order in [
            &[0, 1, 2, 3, 4, 5, 6][..],
            &[0, 3, 1, 2, 6, 4, 5],
            &[0, 4, 2, 1, 3, 5, 6],
            &[2, 0, 1, 3, 6, 5, 4],
        ] {
            let decoding = decoding_times(order, &times);
            assert!(decoding.is_sorted_by(|a, b| a < b), "{decoding:?}");
            for (packet, time) in order.iter().zip(&decoding) {
                assert!(*time <= times[*packet as usize].0 as i64, "{order:?}: {decoding:?}");
            }
            let end = decoding[6] + durations[*order.last().unwrap() as usize] as i64;
            assert!(end - decoding[0] >= 280, "{order:?}: {decoding:?}");
        }
        assert_eq!(decoding_times(&[0, 1, 2], &times[..3]), [0, 33, 73]);
        assert_eq!(decoding_times(&[0, 2, 1], &times[..3]), [-33, 0, 33]);
        assert!(decoding_times(&[], &[]).is_empty());
    }
}
