//! How seeds are told to the network.

/// What the map of the region so far holds inside of a box.
pub const BOX: f32 = 0.6;
/// A seed fades by the factor `e` over this many pixels of the network's full resolution.
const REACH: f32 = 8.0;

/// Fills row `y` of a map at half the resolution: 1 at a seed, less with the distance to the nearest. Seeds are `[x, y]` in pixels of
/// the full resolution.
pub fn row(seeds: &[[f32; 2]], y: usize, row: &mut [f32]) {
    row.fill(0.0);
    let y = 2.0 * y as f32 + 0.5;
    for [sx, sy] in seeds {
        // Beyond seven times the reach nothing is left.
        let reach = 7.0 * REACH;
        if (sy - y).abs() > reach {
            continue;
        }
        let first = ((sx - reach) / 2.0).max(0.0) as usize;
        let last = (((sx + reach) / 2.0).max(0.0) as usize + 1).min(row.len());
        for (x, to) in row.iter_mut().enumerate().take(last).skip(first) {
            let apart = (2.0 * x as f32 + 0.5 - sx).hypot(sy - y);
            *to = to.max((-apart / REACH).exp());
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fades_with_distance() {
        let mut row = [0.0; 60];
        super::row(&[[20.5, 10.5], [90.5, 10.5]], 5, &mut row);
        assert!((row[10] - 1.0).abs() < 1e-6 && (row[45] - 1.0).abs() < 1e-6);
        assert!((row[14] - (-1.0f32).exp()).abs() < 1e-6);
        assert!(row[0] < row[5] && row[59] > 0.0);
        super::row(&[[20.5, 300.0]], 5, &mut row);
        assert!(row.iter().all(|v| *v == 0.0));
    }
}
