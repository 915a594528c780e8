// SPDX-License-Identifier: MIT OR Apache-2.0

//! Guidance maps: the network inputs that encode seeds and boxes. Inference and training share
//! them.

/// Box of pixels; all four sides belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelBox {
    /// Leftmost column.
    pub left: usize,
    /// Topmost row.
    pub top: usize,
    /// Rightmost column.
    pub right: usize,
    /// Bottommost row.
    pub bottom: usize,
}

impl PixelBox {
    /// Returns whether a pixel lies in the box.
    pub fn contains(&self, x: usize, y: usize) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }

    /// Returns the box between two opposite corners `[x, y]`.
    pub(super) fn between([ax, ay]: [f32; 2], [bx, by]: [f32; 2]) -> Self {
        let pixel = |v: f32| v.round() as usize;
        Self {
            left: pixel(ax.min(bx)),
            top: pixel(ay.min(by)),
            right: pixel(ax.max(bx)),
            bottom: pixel(ay.max(by)),
        }
    }

    /// Iterates over the pixels `(x, y)`.
    pub(super) fn pixels(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (columns, rows) = (self.left..=self.right, self.top..=self.bottom);
        rows.flat_map(move |y| columns.clone().map(move |x| (x, y)))
    }
}

/// Seeds that a box implies, `[x, y]` in pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxSeeds {
    /// Inside point: the centre of the box.
    pub centre: [f32; 2],
    /// Up to eight outside points, slightly beyond the sides and corners of the box.
    pub outside: Vec<[f32; 2]>,
}

/// Value of the previous-mask input inside of a box that the user drew.
pub const BOX_MASK_VALUE: f32 = 0.6;
/// Distance, in pixels at the full resolution of the network input, over which the value of a seed
/// map falls by the factor `e`.
const SEED_DECAY: f32 = 8.0;
/// Distance of the outside points from the sides of a box, as a share of its longer side.
const SIDE_MARGIN: f32 = 0.04;
/// Distance of the outside points from the corners of a box along each axis, as a share of its
/// longer side.
const CORNER_MARGIN: f32 = 0.02;
/// Directions `[x, y]` from the centre of a box to the outside points around it.
const OUTSIDE_DIRECTIONS: [[f32; 2]; 8] = [
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
pub fn seed_map_row(seeds: &[[f32; 2]], y: usize, row: &mut [f32]) {
    // Squared distance to the nearest seed first.
    row.fill(f32::INFINITY);
    let y = 2.0 * y as f32 + 0.5;
    for [seed_x, seed_y] in seeds {
        // exp(-7) is below 0.001, so the map may as well be 0 from there on.
        let reach = 7.0 * SEED_DECAY;
        if (seed_y - y).abs() > reach {
            continue;
        }
        let first = ((seed_x - reach) / 2.0).max(0.0) as usize;
        let last = (((seed_x + reach) / 2.0).max(0.0) as usize + 1).min(row.len());
        for (x, to) in row.iter_mut().enumerate().take(last).skip(first) {
            let (dx, dy) = (2.0 * x as f32 + 0.5 - seed_x, seed_y - y);
            *to = to.min(dx * dx + dy * dy);
        }
    }
    row.iter_mut().for_each(|v| *v = (-v.sqrt() / SEED_DECAY).exp());
}

/// Returns the seeds that a box in a picture of size `(height, width)` implies. Outside points that
/// would lie outside of the picture are left out.
pub fn box_seeds(bounds: PixelBox, (height, width): (usize, usize)) -> BoxSeeds {
    let [x0, y0, x1, y1] = [bounds.left, bounds.top, bounds.right, bounds.bottom].map(|v| v as f32);
    let centre = [0.5 * (x0 + x1), 0.5 * (y0 + y1)];
    let longer = (x1 - x0).max(y1 - y0);
    let outside = OUTSIDE_DIRECTIONS.iter().map(|[i, j]| {
        let margin =
            2.0 + longer * if *i == 0.0 || *j == 0.0 { SIDE_MARGIN } else { CORNER_MARGIN };
        [centre[0] + i * (0.5 * (x1 - x0) + margin), centre[1] + j * (0.5 * (y1 - y0) + margin)]
    });
    let within =
        |[x, y]: &[f32; 2]| *x >= 0.0 && *y >= 0.0 && *x < width as f32 && *y < height as f32;
    BoxSeeds { centre, outside: outside.filter(within).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_gives_centre_and_outside_points() {
        let bounds = PixelBox { left: 10, top: 20, right: 60, bottom: 40 };
        let BoxSeeds { centre, outside } = box_seeds(bounds, (100, 100));
        assert_eq!(centre, [35.0, 30.0]);
        assert_eq!(outside.len(), 8);
        assert!(
            outside.iter().all(|[x, y]| !(10.0..=60.0).contains(x) || !(20.0..=40.0).contains(y))
        );
        // Points outside of the picture are left out.
        let bounds = PixelBox { left: 0, top: 0, right: 60, bottom: 40 };
        assert_eq!(box_seeds(bounds, (100, 100)).outside.len(), 3);
    }

    #[test]
    fn seed_map_decays_with_distance() {
        let mut row = [0.0; 60];
        seed_map_row(&[[20.5, 10.5], [90.5, 10.5]], 5, &mut row);
        assert!((row[10] - 1.0).abs() < 1e-6 && (row[45] - 1.0).abs() < 1e-6);
        assert!((row[14] - (-1.0f32).exp()).abs() < 1e-6);
        assert!(row[0] < row[5] && row[59] > 0.0);
        seed_map_row(&[[20.5, 300.0]], 5, &mut row);
        assert!(row.iter().all(|v| *v == 0.0));
    }
}
