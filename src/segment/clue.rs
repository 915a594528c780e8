//! How seeds are told to the network.

/// What the map of the region so far holds inside of a box.
pub const BOX: f32 = 0.6;
/// A seed fades by the factor `e` over this many pixels of the network's full resolution.
const REACH: f32 = 8.0;
/// How far beyond the sides and corners of bounds nothing belongs to the region, as a share of their longer side; and these places.
const SIDE_MARGIN: f32 = 0.04;
const CORNER_MARGIN: f32 = 0.02;
const AROUND: [[f32; 2]; 8] = [
    [-1.0, -1.0],
    [0.0, -1.0],
    [1.0, -1.0],
    [-1.0, 0.0],
    [1.0, 0.0],
    [-1.0, 1.0],
    [0.0, 1.0],
    [1.0, 1.0],
];

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

/// What bounds `[left, top, right, bottom]` in a picture of `(height, width)` say beside their area: their middle most likely belongs to
/// what lies in them, and the points beyond their sides and corners do not.
pub fn bounds(bounds: [usize; 4], (height, width): (usize, usize)) -> ([f32; 2], Vec<[f32; 2]>) {
    let [x0, y0, x1, y1] = bounds.map(|v| v as f32);
    let middle = [0.5 * (x0 + x1), 0.5 * (y0 + y1)];
    let longer = (x1 - x0).max(y1 - y0);
    let around = AROUND.iter().map(|[i, j]| {
        let margin =
            2.0 + longer * if *i == 0.0 || *j == 0.0 { SIDE_MARGIN } else { CORNER_MARGIN };
        [middle[0] + i * (0.5 * (x1 - x0) + margin), middle[1] + j * (0.5 * (y1 - y0) + margin)]
    });
    let within =
        |[x, y]: &[f32; 2]| *x >= 0.0 && *y >= 0.0 && *x < width as f32 && *y < height as f32;
    (middle, around.filter(within).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn points_around_bounds() {
        let (middle, around) = super::bounds([10, 20, 60, 40], (100, 100));
        assert_eq!(middle, [35.0, 30.0]);
        assert_eq!(around.len(), 8);
        assert!(
            around.iter().all(|[x, y]| !(10.0..=60.0).contains(x) || !(20.0..=40.0).contains(y))
        );
        // Only sides that lie in the picture.
        assert_eq!(super::bounds([0, 0, 60, 40], (100, 100)).1.len(), 3);
    }

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
