// SPDX-License-Identifier: MIT OR Apache-2.0

//! Means and their confidence intervals.

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;

/// Number of bootstrap samples.
const DRAWS: usize = 2000;

/// A mean and its 95% confidence interval.
#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
pub(super) struct Interval {
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Returns the mean over groups (sources) of the means over their members (frames), with a
/// percentile bootstrap interval (Efron 1979). Resamples groups if there are at least three, else
/// members. Returns `None` without groups.
pub(super) fn interval(groups: &[Vec<f64>], seed: u64) -> Option<Interval> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means: Vec<_> = groups.iter().map(|group| mean(group)).collect();
    if means.is_empty() {
        return None;
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let mut resampled_mean = |values: &[f64]| {
        let sum: f64 = (0..values.len()).map(|_| values[rng.random_range(0..values.len())]).sum();
        sum / values.len() as f64
    };
    let mut draws: Vec<f64> = (0..DRAWS)
        .map(|_| {
            if means.len() >= 3 {
                resampled_mean(&means)
            } else {
                let all: Vec<_> = groups.iter().map(|group| resampled_mean(group)).collect();
                mean(&all)
            }
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| draws[((DRAWS as f64 * share) as usize).min(DRAWS - 1)];
    Some(Interval { mean: mean(&means), low: at(0.025), high: at(0.975) })
}
