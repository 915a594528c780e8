// SPDX-License-Identifier: MIT OR Apache-2.0

//! Statistics of the windows around the samples of a row ([`Windows`]).

/// Distance of the farthest samples of a window along the row.
pub(super) const REACH: usize = 8;
/// Distance of the samples of a window along the row from each other.
const STEP: usize = 2;
/// Number of samples of a row in a window.
const COUNT: f32 = (2 * REACH / STEP + 1) as f32;
/// Number of samples whose windows are computed together, so that sums stay in the first cache.
pub(super) const CHUNK: usize = 64;

/// Samples of a row with a margin of [`REACH`] on both sides.
pub(super) type Line = [f32; CHUNK + 2 * REACH];

/// Statistics of the windows around each of [`CHUNK`] samples.
pub(super) struct Windows {
    pub(super) means: [f32; CHUNK],
    pub(super) variances: [f32; CHUNK],
    /// Largest difference of the mean of a third of a window, along or across the row, from that of
    /// the window.
    pub(super) unevenness: [f32; CHUNK],
}

impl Windows {
    /// Computes the statistics of windows that hold samples of three rows.
    #[inline(always)]
    pub(super) fn new(rows: &[Line; 3]) -> Self {
        let mut windows =
            Self { means: [0.0; CHUNK], variances: [0.0; CHUNK], unevenness: [0.0; CHUNK] };
        let squares = thirds(&std::array::from_fn(|x| {
            rows[0][x] * rows[0][x] + rows[1][x] * rows[1][x] + rows[2][x] * rows[2][x]
        }));
        let [a, b, c] = [thirds(&rows[0]), thirds(&rows[1]), thirds(&rows[2])];
        for x in 0..CHUNK {
            let (middle, right) = (x + 3 * STEP, x + 6 * STEP);
            let of_rows = [
                a[x] + a[middle] + a[right],
                b[x] + b[middle] + b[right],
                c[x] + c[middle] + c[right],
            ];
            let of_thirds = [
                a[x] + b[x] + c[x],
                a[middle] + b[middle] + c[middle],
                a[right] + b[right] + c[right],
            ];
            let mean = (of_rows[0] + of_rows[1] + of_rows[2]) * (1.0 / (3.0 * COUNT));
            let square = (squares[x] + squares[middle] + squares[right]) * (1.0 / (3.0 * COUNT));
            windows.means[x] = mean;
            windows.variances[x] = (square - mean * mean).max(0.0);
            windows.unevenness[x] =
                largest_difference(of_rows, mean).max(largest_difference(of_thirds, mean));
        }
        windows
    }
}

/// Returns the largest difference of the means of parts from that of the whole. `sums` are over
/// [`COUNT`] samples.
#[inline(always)]
fn largest_difference(sums: [f32; 3], mean: f32) -> f32 {
    let [a, b, c] = sums.map(|sum| (sum * (1.0 / COUNT) - mean).abs());
    a.max(b).max(c)
}

/// Returns the sums of three samples at distances of [`STEP`]. The last ones are zero.
#[inline(always)]
fn thirds(row: &Line) -> Line {
    let mut sums = [0.0; CHUNK + 2 * REACH];
    for x in 0..CHUNK + 2 * REACH - 2 * STEP {
        sums[x] = row[x] + row[x + STEP] + row[x + 2 * STEP];
    }
    sums
}
