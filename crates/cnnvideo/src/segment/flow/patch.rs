// SPDX-License-Identifier: MIT OR Apache-2.0

//! Search of one patch by gradient descent, the core of Dense Inverse Search.

use ndarray::Array2;

/// Side of a patch, in pixels of its pyramid level.
pub(super) const PATCH_SIDE: usize = 8;
/// Pixels of a patch.
const PATCH_AREA: usize = PATCH_SIDE * PATCH_SIDE;
/// Largest number of gradient descent iterations per patch.
const MAX_ITERATIONS: usize = 12;
/// Length of a descent step, in pixels of the pyramid level, below which the descent ends.
const MIN_UPDATE: f32 = 0.03;
/// Starting points that differ by less than this along both axes, in pixels, count as one.
const DUPLICATE_DISTANCE: f32 = 0.25;
/// Added to the diagonal of the structure tensor, in squared code values summed over a patch, so
/// that patches without texture keep the flow of the coarser pyramid level.
const DAMPING: f32 = 60.0;

/// Displacement of a patch and its match error.
#[derive(Debug, Clone, Copy)]
pub(super) struct PatchMatch {
    /// Displacement `[x, y]`, in pixels of the pyramid level.
    pub displacement: [f32; 2],
    /// Mean absolute difference of the two patches, each minus its mean, in code values.
    pub error: f32,
}

/// Patch of one pyramid level of the current picture, with the terms of the descent that do not
/// depend on the displacement.
pub(super) struct Patch {
    /// Top row.
    y0: usize,
    /// Left column.
    x0: usize,
    /// Luma minus its mean over the patch.
    values: [f32; PATCH_AREA],
    /// Horizontal and vertical derivative.
    gradients: [[f32; PATCH_AREA]; 2],
    /// Inverse of the structure tensor, as its entries `[xx, xy, yy]`.
    inverse: [f32; 3],
}

impl Patch {
    /// Extracts the patch whose top left pixel is `(y0, x0)`; pixels beyond the border are
    /// replicated.
    #[inline(always)]
    pub(super) fn extract(picture: &Array2<f32>, y0: usize, x0: usize) -> Self {
        let (height, width) = picture.dim();
        let at = |y: usize, x: usize| picture[[y.min(height - 1), x.min(width - 1)]];
        let (mut values, mut gradients) = ([0.0; PATCH_AREA], [[0.0; PATCH_AREA]; 2]);
        let mut sums = [DAMPING, 0.0, DAMPING];
        let mut mean = 0.0;
        for i in 0..PATCH_AREA {
            let (y, x) = (y0 + i / PATCH_SIDE, x0 + i % PATCH_SIDE);
            values[i] = at(y, x);
            mean += values[i] / PATCH_AREA as f32;
            let gx = 0.5 * (at(y, x + 1) - at(y, x.saturating_sub(1)));
            let gy = 0.5 * (at(y + 1, x) - at(y.saturating_sub(1), x));
            (gradients[0][i], gradients[1][i]) = (gx, gy);
            sums = [sums[0] + gx * gx, sums[1] + gx * gy, sums[2] + gy * gy];
        }
        values.iter_mut().for_each(|v| *v -= mean);
        let determinant = sums[0] * sums[2] - sums[1] * sums[1];
        let inverse = [sums[2] / determinant, -sums[1] / determinant, sums[0] / determinant];
        Self { y0, x0, values, gradients, inverse }
    }

    /// Finds the patch in `previous`: refines the starting point with the smallest match error.
    /// `left` is the displacement of the patch to the left, a further starting point.
    #[inline(always)]
    pub(super) fn best_displacement(
        &self,
        previous: &Array2<f32>,
        starts: &[[f32; 2]; 5],
        left: Option<[f32; 2]>,
    ) -> PatchMatch {
        let mut best = PatchMatch { displacement: [0.0; 2], error: f32::INFINITY };
        let mut tried = [[f32::INFINITY; 2]; 6];
        for (i, d) in starts.iter().copied().chain(left).enumerate() {
            let is_duplicate = |other: &[f32; 2]| {
                (other[0] - d[0]).abs() < DUPLICATE_DISTANCE
                    && (other[1] - d[1]).abs() < DUPLICATE_DISTANCE
            };
            if tried[..i].iter().any(is_duplicate) {
                continue;
            }
            tried[i] = d;
            let error = self.match_error(previous, d);
            if error < best.error {
                best = PatchMatch { displacement: d, error };
            }
        }
        self.refine(previous, best)
    }

    /// Returns the pixel differences to the displaced patch of `previous`, each patch minus its
    /// mean; `None` if half of the displaced patch or more lies outside of the picture.
    #[inline(always)]
    fn residual(&self, previous: &Array2<f32>, d: [f32; 2]) -> Option<[f32; PATCH_AREA]> {
        let (height, width) = previous.dim();
        let (x, y) = (self.x0 as f32 + d[0], self.y0 as f32 + d[1]);
        let reach = PATCH_SIDE as f32 / 2.0;
        if !(x > -reach && y > -reach && x + reach < width as f32 && y + reach < height as f32) {
            return None;
        }
        let (fx, fy) = (x - x.floor(), y - y.floor());
        let (x0, y0) = (x.floor() as isize, y.floor() as isize);
        let values = previous.as_slice().expect("pyramid levels are contiguous");
        // Interpolates each row horizontally once, as two output rows share it.
        let mut rows = [[0.0; PATCH_SIDE]; PATCH_SIDE + 1];
        for (y, row) in (y0..).zip(&mut rows) {
            let y = y.clamp(0, height as isize - 1) as usize;
            let line = &values[y * width..(y + 1) * width];
            let pixels: [f32; PATCH_SIDE + 1] =
                match usize::try_from(x0).ok().and_then(|x0| line.get(x0..)?.first_chunk()) {
                    Some(pixels) => *pixels,
                    // The displaced patch crosses the left or right border.
                    None => std::array::from_fn(|i| {
                        line[(x0 + i as isize).clamp(0, width as isize - 1) as usize]
                    }),
                };
            *row = std::array::from_fn(|i| pixels[i] + fx * (pixels[i + 1] - pixels[i]));
        }
        let mut result = [0.0; PATCH_AREA];
        let mut means = [0.0; PATCH_SIDE];
        for (dy, result) in result.chunks_exact_mut(PATCH_SIDE).enumerate() {
            for dx in 0..PATCH_SIDE {
                let value = rows[dy][dx] + fy * (rows[dy + 1][dx] - rows[dy][dx]);
                result[dx] = value - self.values[dy * PATCH_SIDE + dx];
                means[dx] += value / PATCH_AREA as f32;
            }
        }
        let mean = pairwise_sum(&means);
        result.iter_mut().for_each(|v| *v -= mean);
        Some(result)
    }

    /// Returns the match error of a displacement: the mean absolute difference of the two patches,
    /// each minus its mean, in code values.
    #[inline(always)]
    fn match_error(&self, previous: &Array2<f32>, d: [f32; 2]) -> f32 {
        let Some(residual) = self.residual(previous, d) else { return f32::INFINITY };
        let mut sums = [0.0; PATCH_SIDE];
        for row in residual.chunks_exact(PATCH_SIDE) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v.abs());
        }
        pairwise_sum(&sums) / PATCH_AREA as f32
    }

    /// Refines a match by gradient descent.
    #[inline(always)]
    fn refine(&self, previous: &Array2<f32>, start: PatchMatch) -> PatchMatch {
        let mut d = start.displacement;
        for _ in 0..MAX_ITERATIONS {
            let Some(residual) = self.residual(previous, d) else { break };
            let [gx, gy] = self.gradients.each_ref().map(|gradients| {
                let mut sums = [0.0; PATCH_SIDE];
                for (gradients, row) in
                    gradients.chunks_exact(PATCH_SIDE).zip(residual.chunks_exact(PATCH_SIDE))
                {
                    sums.iter_mut()
                        .zip(gradients.iter().zip(row))
                        .for_each(|(sum, (g, v))| *sum += g * v);
                }
                pairwise_sum(&sums)
            });
            let step = [
                self.inverse[0] * gx + self.inverse[1] * gy,
                self.inverse[1] * gx + self.inverse[2] * gy,
            ];
            d = [d[0] - step[0], d[1] - step[1]];
            if step[0].hypot(step[1]) < MIN_UPDATE {
                break;
            }
        }
        // A descent that moved farther than a patch has diverged.
        let [start_x, start_y] = start.displacement;
        let diverged = (d[0] - start_x).hypot(d[1] - start_y) > PATCH_SIDE as f32;
        let error = self.match_error(previous, d);
        if diverged || error > start.error {
            PatchMatch { error: start.error.min(255.0), ..start }
        } else {
            PatchMatch { displacement: d, error }
        }
    }
}

/// Adds the values of one vector in pairs, so that the additions do not depend on each other.
#[inline(always)]
fn pairwise_sum(values: &[f32; PATCH_SIDE]) -> f32 {
    let [a, b, c, d, e, f, g, h] = values;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}
