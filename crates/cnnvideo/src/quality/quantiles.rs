// SPDX-License-Identifier: MIT OR Apache-2.0

//! Quantiles of a stream of values in bounded memory.

/// Values of a level above which every other one moves to the next level.
const LEVEL_SIZE: usize = 8192;

/// Quantiles of the values added so far: exact for the first 8192, then with an error of the rank
/// of at most 0.1% up to some 10^8 values.
///
/// Karnin, Lang and Liberty, "Optimal Quantile Approximation in Streams", FOCS 2016, with levels of
/// equal size and alternating instead of random choice, so that results repeat. Memory grows by
/// 32 KiB when the number of values doubles.
#[derive(Debug, Clone, Default)]
pub struct Quantiles {
    /// A value of level n stands for `2^n` values.
    levels: Vec<Level>,
}

#[derive(Debug, Clone, Default)]
struct Level {
    values: Vec<f32>,
    /// Whether the next values to keep are those at odd positions.
    odd: bool,
}

impl Quantiles {
    /// Adds a value. NaN does not count.
    pub fn add(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        self.push(0, value as f32);
    }

    /// Returns the value below which a share (0 to 1) of the values lies, by the nearest rank;
    /// `None` without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let mut weighted: Vec<(f32, u64)> = Vec::new();
        for (level, values) in self.levels.iter().enumerate() {
            weighted.extend(values.values.iter().map(|value| (*value, 1 << level)));
        }
        weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: u64 = weighted.iter().map(|(_, weight)| weight).sum();
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut sum = 0;
        let found = weighted.iter().find(|(_, weight)| {
            sum += weight;
            sum >= rank
        });
        found.map(|(value, _)| f64::from(*value))
    }

    fn push(&mut self, level: usize, value: f32) {
        if self.levels.len() <= level {
            self.levels.push(Level::default());
        }
        let Level { values, odd } = &mut self.levels[level];
        if values.len() < LEVEL_SIZE {
            values.push(value);
            return;
        }
        let mut full = std::mem::replace(values, vec![value]);
        let skipped = usize::from(std::mem::replace(odd, !*odd));
        full.sort_by(f32::total_cmp);
        for kept in full.into_iter().skip(skipped).step_by(2) {
            self.push(level + 1, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns 0 to `count - 1` in a scrambled order.
    fn scrambled(count: u64) -> impl Iterator<Item = f64> {
        (0..count).map(move |i| (i * 7_919_993 % count) as f64)
    }

    #[test]
    fn quantiles_of_few_values_are_exact() {
        let mut quantiles = Quantiles::default();
        assert_eq!(quantiles.quantile(0.5), None);
        scrambled(1000).for_each(|value| quantiles.add(value + 1.0));
        quantiles.add(f64::NAN);
        let at = [0.0, 0.01, 0.05, 0.5, 1.0].map(|share| quantiles.quantile(share).unwrap());
        assert_eq!(at, [1.0, 10.0, 50.0, 500.0, 1000.0]);
        quantiles.add(f64::INFINITY);
        assert_eq!(quantiles.quantile(1.0), Some(f64::INFINITY));
    }

    #[test]
    fn quantiles_of_many_values_are_near_and_memory_is_bounded() {
        for in_order in [false, true] {
            let count = 1_000_003;
            let mut quantiles = Quantiles::default();
            if in_order {
                (0..count).for_each(|i| quantiles.add(i as f64));
            } else {
                scrambled(count).for_each(|value| quantiles.add(value));
            }
            for share in [0.01, 0.05, 0.1, 0.5, 0.99] {
                let found = quantiles.quantile(share).unwrap() / count as f64;
                assert!((found - share).abs() < 1e-3, "{share}: {found}");
            }
            let kept: usize = quantiles.levels.iter().map(|level| level.values.len()).sum();
            assert!(kept <= 8 * (LEVEL_SIZE + 1), "{kept}");
        }
    }
}
