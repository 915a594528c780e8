// SPDX-License-Identifier: MIT OR Apache-2.0

//! Thousands of frames through one instance.

use std::time::{Duration, Instant};

use rand::{SeedableRng, rngs::StdRng};

use crate::{
    Amount, actions,
    common::video::buffer,
    resources::{files_and_threads, resident_kib},
    subject::{Subject, scene},
};

/// Runs the frames of an element, and checks memory, files and threads.
pub(crate) fn run(subject: &Subject, amount: Amount) {
    let mut rng = StdRng::seed_from_u64(11);
    let mut running = subject.start();
    let mut frames = Vec::new();
    let mut times = Vec::with_capacity(amount.frames as usize);
    // The resident memory fluctuates. The minimum of each quarter shows what is not freed.
    let mut minima = [u64::MAX; 4];
    let mut resources = None;
    for number in 0..amount.frames {
        let info = actions::before_frame(&mut running, number, &mut rng);
        let size = info.size();
        if frames.first().map(Vec::len) != Some(size) {
            frames = (0..4).map(|seed| scene(&info, seed)).collect();
        }
        let input = buffer(frames[number as usize % frames.len()].clone(), number);
        let start = Instant::now();
        let out = running.process(input);
        times.push(start.elapsed());
        assert_eq!(out.size(), size, "{}: frame {number}", subject.name());
        drop(out);
        if number % 10 == 9 {
            let quarter = &mut minima[(4 * number / amount.frames) as usize];
            *quarter = resident_kib().min(*quarter);
        }
        if number == amount.frames / 2 {
            resources = Some(files_and_threads());
        }
    }
    if let Some(count) = actions::statistic::<u64>(&running.element, "frames") {
        assert!(count <= amount.frames && count > 0, "{}: {count} frames", subject.name());
    }
    let growth = minima[3].saturating_sub(minima[1]);
    let (median, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!(
        "{:<16}{} frames: median {:.2} ms, p99 {:.2} ms ({:.1} times), memory {minima:?} KiB",
        subject.name(),
        amount.frames,
        milliseconds(median),
        milliseconds(p99),
        p99.as_secs_f64() / median.as_secs_f64(),
    );
    assert!(growth < amount.max_growth, "{}: {growth} KiB more memory", subject.name());
    assert_eq!(resources, Some(files_and_threads()), "{}: files and threads", subject.name());
    assert!(!amount.checks_times || p99 <= 3 * median, "{}: p99 is too long", subject.name());
}

/// Returns a percentile of times.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

fn milliseconds(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}
