//! Guidance maps: the network inputs that encode seeds and boxes. Inference and training share
//! them.

/// Value of the previous-mask input inside of a box that the user drew.
pub const BOX: f32 = 0.6;
/// Distance, in pixels at the full resolution of the network input, over which the value of a seed
/// map falls by the factor `e`.
const REACH: f32 = 8.0;
/// Distance of the outside points from the sides of a box, as a share of its longer side.
const SIDE_MARGIN: f32 = 0.04;
/// Distance of the outside points from the corners of a box along each axis, as a share of its
/// longer side.
const CORNER_MARGIN: f32 = 0.02;
/// Directions `[x, y]` from the centre of a box to the outside points around it.
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

/// Fills row `y` of a seed map at half the resolution of the network input.
///
/// The value is 1 at a seed and decays exponentially with the distance to the nearest seed. `seeds`
/// are `[x, y]` in pixels at full resolution.
pub fn row(seeds: &[[f32; 2]], y: usize, row: &mut [f32]) {
    row.fill(0.0);
    let y = 2.0 * y as f32 + 0.5;
    for [sx, sy] in seeds {
        // exp(-7) is below 0.001, so the map may as well be 0 from there on.
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

/// Returns the seeds that a box implies: its centre as an inside point, and up to eight outside
/// points slightly beyond its sides and corners.
///
/// `bounds` is `[left, top, right, bottom]` in pixels of a picture of size `(height, width)`;
/// points are `[x, y]`. Outside points that would lie outside of the picture are left out.
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
        // Points outside of the picture are left out.
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
