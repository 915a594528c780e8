//! The output of the edge-aware solver and its derivatives with respect to the network's output, so
//! that the network trains for the final result.
//!
//! Each pass solves lines `A u = f` with `A = I + S L(w)`, where `S` is the diagonal matrix of the
//! smoothing strengths (lambdas) and `L` the Laplacian with the weights `w`. With the adjoint
//! `g = A^-T dl/du`, the derivatives are `dl/df = g` and `dl/dw = -g^T (dA/dw) u`. Because
//! `A^-T = S^-1 A^-1 S`, the same elimination solves both systems.

use ndarray::{Array2, ArrayView2, Zip, s};

use cnnvideo::{
    nn::Threads,
    smooth::{self, BELIEVED, LEAST_BELIEF, SIGMA, lambda, wls},
};

/// Exponent of the weight function.
const POWER: i32 = wls::POWER as i32;

/// The network's output for one image, or derivatives with respect to it.
pub(super) struct Saying {
    /// Guidance map for luma (luma without texture), in 8-bit units.
    pub guide: Array2<f32>,
    /// Guidance maps for U and V at half the size, in 8-bit units.
    pub chroma: [Array2<f32>; 2],
    /// Edge logits at half the size.
    pub edges: Array2<f32>,
}

/// Runs the solver on luma and compares the result with `target`, all in 8-bit units. Returns the
/// root mean square error and its derivatives with respect to the network's output.
pub(super) fn solved(
    luma: &Array2<f32>,
    saying: &Saying,
    target: &Array2<f32>,
    scale: f32,
    threads: &Threads,
) -> (f32, Saying) {
    let share = share_of(luma, saying, scale, threads);
    let share =
        share.mapv(|share: u8| (f32::from(share) / 255.0).powi(2).max(1e-6) * lambda(scale));

    let belief = saying
        .edges
        .mapv(|odds| ((odds - BELIEVED[0]) / (BELIEVED[1] - BELIEVED[0])).clamp(LEAST_BELIEF, 1.0));
    let directions = [Direction::Across, Direction::Down];
    let bonds = directions.map(|direction| Bonds::new(direction, saying, &belief));
    let shares = [share.t().to_owned(), share];
    let mut results = Vec::new();
    let mut now = luma.t().to_owned();
    for part in wls::parts() {
        for (bonds, share) in bonds.iter().zip(&shares) {
            now = solve(&now, &bonds.weights, share, part);
            results.push(now.clone());
            now = now.t().to_owned();
        }
    }
    // Each pass transposes the image, so `now` is transposed after the last one.
    let error = &now.t() - target;
    let error = error.as_standard_layout().into_owned();
    let root = (error.mapv(|v| v * v).mean().unwrap_or(0.0) + 1e-6).sqrt();
    let mut gradient = error / (root * luma.len() as f32);
    let mut by_weight = bonds.each_ref().map(|bonds| Array2::zeros(bonds.weights.dim()));
    for (i, result) in results.iter().enumerate().rev() {
        let (part, way) = (wls::parts()[i / 2], i % 2);
        let (weights, share) = (&bonds[way].weights, &shares[way]);
        if i + 1 < results.len() {
            gradient = gradient.t().to_owned();
        }
        let adjoint = solve(&(&gradient * share), weights, share, part) / share;
        let pull = &adjoint * share * part;
        let last = result.nrows() - 1;
        let step = &result.slice(s![1.., ..]) - &result.slice(s![..last, ..]);
        let change = (&pull.slice(s![..last, ..]) - &pull.slice(s![1.., ..])) * step;
        let mut to = by_weight[way].slice_mut(s![..last, ..]);
        to += &change;
        gradient = adjoint;
    }
    let mut by = Saying {
        guide: Array2::zeros(luma.dim()),
        chroma: saying.chroma.each_ref().map(|plane| Array2::zeros(plane.dim())),
        edges: Array2::zeros(saying.edges.dim()),
    };
    for (bonds, by_weight) in bonds.iter().zip(&by_weight) {
        bonds.back(by_weight, saying, &belief, &mut by);
    }
    Zip::from(&mut by.edges).and(&saying.edges).for_each(|by, odds| {
        let rising =
            *odds > BELIEVED[0] + LEAST_BELIEF * (BELIEVED[1] - BELIEVED[0]) && *odds < BELIEVED[1];
        *by = if rising { *by / (BELIEVED[1] - BELIEVED[0]) } else { 0.0 };
    });
    (root, by)
}

/// Returns the smoothing strength of each pixel, 0 to 255.
fn share_of(luma: &Array2<f32>, saying: &Saying, scale: f32, threads: &Threads) -> Array2<u8> {
    let mut share = Array2::zeros(luma.dim());
    let texture = (luma - &saying.guide).mapv(f32::abs);
    let cells =
        texture.exact_chunks([2, 2]).into_iter().map(|cell| cell.mean().unwrap_or(0.0)).collect();
    let dim = (luma.nrows() / 2, luma.ncols() / 2);
    if let Ok(cells) = Array2::from_shape_vec(dim, cells) {
        smooth::share(&cells.view(), 1.0, lambda(scale), &mut share, threads);
    }
    share
}

/// Solves all lines along the first axis by Gaussian elimination of a tridiagonal system.
fn solve(
    values: &Array2<f32>,
    weights: &Array2<f32>,
    share: &Array2<f32>,
    part: f32,
) -> Array2<f32> {
    let (length, lines) = values.dim();
    let mut result = values.clone();
    let mut upper = Array2::<f32>::zeros((length, lines));
    for i in 0..length {
        for j in 0..lines {
            let share = share[[i, j]] * part;
            let (above, upper_above, weight_above) = if i > 0 {
                (result[[i - 1, j]], upper[[i - 1, j]], weights[[i - 1, j]])
            } else {
                (0.0, 0.0, 0.0)
            };
            let (a, c) = (share * weight_above, share * weights[[i, j]]);
            let inverse = 1.0 / (1.0 + a + c - a * upper_above);
            upper[[i, j]] = c * inverse;
            result[[i, j]] = (result[[i, j]] + a * above) * inverse;
        }
    }
    for i in (0..length - 1).rev() {
        for j in 0..lines {
            let below = result[[i + 1, j]];
            result[[i, j]] += upper[[i, j]] * below;
        }
    }
    result
}

/// Direction of the lines of a pass.
#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Across,
    Down,
}

/// Weights between neighbours in one direction and their derivatives with respect to the step; the
/// first axis runs along the lines.
struct Bonds {
    direction: Direction,
    weights: Array2<f32>,
    slopes: Array2<f32>,
}

/// Transposes a map if necessary so that the first axis runs along the lines.
fn turned(direction: Direction, map: &Array2<f32>) -> ArrayView2<'_, f32> {
    if direction == Direction::Across { map.t() } else { map.view() }
}

impl Bonds {
    /// Computes the weights from the guidance maps and the edge confidence `belief`.
    fn new(direction: Direction, saying: &Saying, belief: &Array2<f32>) -> Self {
        let guide = turned(direction, &saying.guide);
        let chroma = saying.chroma.each_ref().map(|plane| turned(direction, plane));
        let belief = turned(direction, belief);
        let mut weights = Array2::zeros(guide.dim());
        let mut slopes = Array2::zeros(guide.dim());
        for i in 0..guide.nrows() - 1 {
            for j in 0..guide.ncols() {
                let step = raw_step(&guide, &chroma, i, j) * belief[[i / 2, j / 2]];
                let base = (1.0 - step / (POWER as f32 * SIGMA)).max(0.0);
                weights[[i, j]] = base.powi(POWER);
                slopes[[i, j]] = -base.powi(POWER - 1) / SIGMA;
            }
        }
        Self { direction, weights, slopes }
    }

    /// Backpropagates derivatives with respect to the weights to the network's output; adds them to
    /// `by`.
    fn back(
        &self,
        by_weight: &Array2<f32>,
        saying: &Saying,
        belief: &Array2<f32>,
        by: &mut Saying,
    ) {
        let direction = self.direction;
        let guide = turned(direction, &saying.guide);
        let chroma = saying.chroma.each_ref().map(|plane| turned(direction, plane));
        let belief = turned(direction, belief);
        let place =
            |i: usize, j: usize| if direction == Direction::Across { [j, i] } else { [i, j] };
        for ((i, j), by_weight) in
            by_weight.indexed_iter().filter(|((i, _), _)| i + 1 < guide.nrows())
        {
            let by_step = by_weight * self.slopes[[i, j]];
            by.edges[place(i / 2, j / 2)] += by_step * raw_step(&guide, &chroma, i, j);
            let by_step = by_step * belief[[i / 2, j / 2]];
            let sign = (guide[[i + 1, j]] - guide[[i, j]]).signum();
            by.guide[place(i + 1, j)] += by_step * sign;
            by.guide[place(i, j)] -= by_step * sign;
            if i % 2 == 1 {
                for (by, plane) in by.chroma.iter_mut().zip(&chroma) {
                    let sign = (plane[[i / 2 + 1, j / 2]] - plane[[i / 2, j / 2]]).signum();
                    by[place(i / 2 + 1, j / 2)] += by_step * sign;
                    by[place(i / 2, j / 2)] -= by_step * sign;
                }
            }
        }
    }
}

/// Returns the sum over the guidance maps of the absolute difference between positions `i` and
/// `i + 1`.
fn raw_step(
    guide: &ArrayView2<'_, f32>,
    chroma: &[ArrayView2<'_, f32>; 2],
    i: usize,
    j: usize,
) -> f32 {
    let mut step = (guide[[i + 1, j]] - guide[[i, j]]).abs();
    if i % 2 == 1 {
        step +=
            chroma.iter().map(|c| (c[[i / 2 + 1, j / 2]] - c[[i / 2, j / 2]]).abs()).sum::<f32>();
    }
    step
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn the_result_is_that_of_the_solver() {
        let mut rng = StdRng::seed_from_u64(9);
        let mut random =
            |dim, low: f32, high: f32| Array2::from_shape_fn(dim, |_| rng.random_range(low..high));
        let (dim, half, scale) = ((20, 26), (10, 13), 6.0);
        let (luma, target) = (random(dim, 60.0, 120.0), random(dim, 80.0, 100.0));
        let saying = Saying {
            guide: random(dim, 88.0, 96.0),
            chroma: [random(half, 120.0, 124.0), random(half, 120.0, 124.0)],
            edges: random(half, -3.0, 2.0),
        };
        let threads = Threads::new(1).unwrap();
        let (error, _) = solved(&luma, &saying, &target, scale, &threads);

        let mut result = Array2::zeros(luma.dim());
        let share = share_of(&luma, &saying, scale, &threads);
        let belief = saying.edges.mapv(|odds| {
            ((odds - BELIEVED[0]) / (BELIEVED[1] - BELIEVED[0])).clamp(LEAST_BELIEF, 1.0)
        });
        let halved = |plane| wls::Guide { plane, shift: [1, 1] };
        let guides = [
            wls::Guide { plane: saying.guide.view(), shift: [0, 0] },
            halved(saying.chroma[0].view()),
            halved(saying.chroma[1].view()),
        ];
        let mut weights = wls::Weights::default();
        weights.fill(dim, &guides, Some(halved(belief.view())), SIGMA, &threads);
        let output = &mut [result.view_mut()];
        wls::Wls::default().smooth(
            &[luma.view()],
            output,
            &weights,
            &share.view(),
            lambda(scale),
            &threads,
        );
        let expected = (&result - &target).mapv(|v| v * v).mean().unwrap().sqrt();
        assert!((&result - &luma).iter().any(|v| v.abs() > 5.0));
        assert!((error - expected).abs() < 0.02, "{error} {expected}");
    }

    #[test]
    fn derivatives_are_those_of_differences() {
        let mut rng = StdRng::seed_from_u64(4);
        let dim = (12, 14);
        let mut random =
            |dim, low: f32, high: f32| Array2::from_shape_fn(dim, |_| rng.random_range(low..high));
        let luma = random(dim, 60.0, 120.0);
        let target = random(dim, 80.0, 100.0);
        let half = (6, 7);
        let saying = Saying {
            guide: random(dim, 88.0, 92.0),
            chroma: [random(half, 120.0, 122.0), random(half, 120.0, 122.0)],
            edges: random(half, -2.0, 1.0),
        };
        let threads = Threads::new(1).unwrap();
        let value = |saying: &Saying| solved(&luma, saying, &target, 4.0, &threads).0;
        let (_, by) = solved(&luma, &saying, &target, 4.0, &threads);
        // The texture amplitude is far above the range in which the smoothing strength changes, so
        // the derivative of the strength, which is not computed, is 0.
        let compare = |name: &str, expected: f32, change: &mut dyn FnMut(&mut Saying, f32)| {
            let differ = |by: f32, change: &mut dyn FnMut(&mut Saying, f32)| {
                let mut other = Saying {
                    guide: saying.guide.clone(),
                    chroma: saying.chroma.clone(),
                    edges: saying.edges.clone(),
                };
                change(&mut other, by);
                value(&other)
            };
            let slope = (differ(0.02, change) - differ(-0.02, change)) / 0.04;
            assert!(
                (slope - expected).abs() < 2e-3 + 0.05 * slope.abs(),
                "{name}: {slope} {expected}"
            );
        };
        for at in [[3, 4], [7, 9], [5, 5], [10, 12]] {
            compare("guide", by.guide[at], &mut |saying, by| saying.guide[at] += by);
        }
        for at in [[2, 3], [4, 5]] {
            compare("chroma", by.chroma[1][at], &mut |saying, by| saying.chroma[1][at] += by);
            compare("edges", by.edges[at], &mut |saying, by| saying.edges[at] += by);
        }
        assert!(by.guide.iter().any(|v| v.abs() > 1e-3));
    }
}
