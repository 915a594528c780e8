// SPDX-License-Identifier: MIT OR Apache-2.0

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
    smooth::training::{
        DEFAULT_EDGE_SIGMA, EDGE_LOGIT_RANGE, EXP_ORDER, MIN_EDGE_CONFIDENCE, fill_strength_map,
        lambda, lambda_fractions,
    },
};

/// Exponent of the weight function.
const POWER: i32 = EXP_ORDER as i32;

/// The network's output for one image, or derivatives with respect to it.
pub(super) struct Prediction {
    /// Guidance map for luma (luma without texture), in 8-bit units.
    pub(super) guide: Array2<f32>,
    /// Guidance maps for U and V at half the size, in 8-bit units.
    pub(super) chroma: [Array2<f32>; 2],
    /// Edge logits at half the size.
    pub(super) edges: Array2<f32>,
}

/// Runs the solver on luma and compares the result with `target`, all in 8-bit units. Returns the
/// root mean square error and its derivatives with respect to the network's output.
pub(super) fn solve_with_gradient(
    luma: &Array2<f32>,
    prediction: &Prediction,
    target: &Array2<f32>,
    scale: f32,
    threads: &Threads,
) -> (f32, Prediction) {
    let strength = strength_map(luma, prediction, scale, threads);
    let strength = strength
        .mapv(|strength: u8| (f32::from(strength) / 255.0).powi(2).max(1e-6) * lambda(scale));

    let edge_confidence = prediction.edges.mapv(edge_confidence);
    let directions = [Direction::Across, Direction::Down];
    let neighbour_weights =
        directions.map(|direction| NeighbourWeights::new(direction, prediction, &edge_confidence));
    let strengths = [strength.t().to_owned(), strength];
    let mut results = Vec::new();
    let mut current = luma.t().to_owned();
    for lambda_fraction in lambda_fractions() {
        for (neighbour_weights, strength) in neighbour_weights.iter().zip(&strengths) {
            current = solve(&current, &neighbour_weights.weights, strength, lambda_fraction);
            results.push(current.clone());
            current = current.t().to_owned();
        }
    }
    // Each pass transposes the image, so `current` is transposed after the last one.
    let error = &current.t() - target;
    let error = error.as_standard_layout().into_owned();
    let root = (error.mapv(|v| v * v).mean().expect("a patch has pixels") + 1e-6).sqrt();
    let mut gradient = error / (root * luma.len() as f32);
    let mut by_weight = neighbour_weights
        .each_ref()
        .map(|neighbour_weights| Array2::zeros(neighbour_weights.weights.dim()));
    for (i, result) in results.iter().enumerate().rev() {
        let (lambda_fraction, direction) = (lambda_fractions()[i / 2], i % 2);
        let (weights, strength) = (&neighbour_weights[direction].weights, &strengths[direction]);
        if i + 1 < results.len() {
            gradient = gradient.t().to_owned();
        }
        let adjoint = solve(&(&gradient * strength), weights, strength, lambda_fraction) / strength;
        let scaled_adjoint = &adjoint * strength * lambda_fraction;
        let last = result.nrows() - 1;
        let step = &result.slice(s![1.., ..]) - &result.slice(s![..last, ..]);
        let change =
            (&scaled_adjoint.slice(s![..last, ..]) - &scaled_adjoint.slice(s![1.., ..])) * step;
        let mut to = by_weight[direction].slice_mut(s![..last, ..]);
        to += &change;
        gradient = adjoint;
    }
    let mut gradient_sum = Prediction {
        guide: Array2::zeros(luma.dim()),
        chroma: prediction.chroma.each_ref().map(|plane| Array2::zeros(plane.dim())),
        edges: Array2::zeros(prediction.edges.dim()),
    };
    for (neighbour_weights, by_weight) in neighbour_weights.iter().zip(&by_weight) {
        neighbour_weights.backpropagate(by_weight, prediction, &edge_confidence, &mut gradient_sum);
    }
    Zip::from(&mut gradient_sum.edges).and(&prediction.edges).for_each(|by, logit| {
        let rising = *logit
            > EDGE_LOGIT_RANGE[0]
                + MIN_EDGE_CONFIDENCE * (EDGE_LOGIT_RANGE[1] - EDGE_LOGIT_RANGE[0])
            && *logit < EDGE_LOGIT_RANGE[1];
        *by = if rising { *by / (EDGE_LOGIT_RANGE[1] - EDGE_LOGIT_RANGE[0]) } else { 0.0 };
    });
    (root, gradient_sum)
}

/// Returns the edge confidence for a predicted edge logit, as `cnnsmooth` computes it.
fn edge_confidence(logit: f32) -> f32 {
    ((logit - EDGE_LOGIT_RANGE[0]) / (EDGE_LOGIT_RANGE[1] - EDGE_LOGIT_RANGE[0]))
        .clamp(MIN_EDGE_CONFIDENCE, 1.0)
}

/// Returns the smoothing strength of each pixel, 0 to 255.
fn strength_map(
    luma: &Array2<f32>,
    prediction: &Prediction,
    scale: f32,
    threads: &Threads,
) -> Array2<u8> {
    let mut strength = Array2::zeros(luma.dim());
    let texture = (luma - &prediction.guide).mapv(f32::abs);
    let cells = texture
        .exact_chunks([2, 2])
        .into_iter()
        .map(|cell| cell.mean().expect("a cell has pixels"))
        .collect();
    let dim = (luma.nrows() / 2, luma.ncols() / 2);
    let cells = Array2::from_shape_vec(dim, cells).expect("there is one value for each cell");
    fill_strength_map(&cells.view(), 1.0, lambda(scale), &mut strength, threads);
    strength
}

/// Solves all lines along the first axis by Gaussian elimination of a tridiagonal system.
fn solve(
    values: &Array2<f32>,
    weights: &Array2<f32>,
    strength: &Array2<f32>,
    lambda_fraction: f32,
) -> Array2<f32> {
    let (length, lines) = values.dim();
    let mut result = values.clone();
    let mut upper = Array2::<f32>::zeros((length, lines));
    for i in 0..length {
        for j in 0..lines {
            let strength = strength[[i, j]] * lambda_fraction;
            let (above, upper_above, weight_above) = if i > 0 {
                (result[[i - 1, j]], upper[[i - 1, j]], weights[[i - 1, j]])
            } else {
                (0.0, 0.0, 0.0)
            };
            let (a, c) = (strength * weight_above, strength * weights[[i, j]]);
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
struct NeighbourWeights {
    direction: Direction,
    weights: Array2<f32>,
    slopes: Array2<f32>,
}

/// Transposes a map if necessary so that the first axis runs along the lines.
fn line_major(direction: Direction, map: &Array2<f32>) -> ArrayView2<'_, f32> {
    if direction == Direction::Across { map.t() } else { map.view() }
}

impl NeighbourWeights {
    /// Computes the weights from the guidance maps and the edge confidence.
    fn new(direction: Direction, prediction: &Prediction, edge_confidence: &Array2<f32>) -> Self {
        let guide = line_major(direction, &prediction.guide);
        let chroma = prediction.chroma.each_ref().map(|plane| line_major(direction, plane));
        let edge_confidence = line_major(direction, edge_confidence);
        let mut weights = Array2::zeros(guide.dim());
        let mut slopes = Array2::zeros(guide.dim());
        for i in 0..guide.nrows() - 1 {
            for j in 0..guide.ncols() {
                let step = guide_step(&guide, &chroma, i, j) * edge_confidence[[i / 2, j / 2]];
                let base = (1.0 - step / (POWER as f32 * DEFAULT_EDGE_SIGMA)).max(0.0);
                weights[[i, j]] = base.powi(POWER);
                slopes[[i, j]] = -base.powi(POWER - 1) / DEFAULT_EDGE_SIGMA;
            }
        }
        Self { direction, weights, slopes }
    }

    /// Backpropagates derivatives with respect to the weights to the network's output; adds them to
    /// `by`.
    fn backpropagate(
        &self,
        by_weight: &Array2<f32>,
        prediction: &Prediction,
        edge_confidence: &Array2<f32>,
        gradient_sum: &mut Prediction,
    ) {
        let direction = self.direction;
        let guide = line_major(direction, &prediction.guide);
        let chroma = prediction.chroma.each_ref().map(|plane| line_major(direction, plane));
        let edge_confidence = line_major(direction, edge_confidence);
        let place =
            |i: usize, j: usize| if direction == Direction::Across { [j, i] } else { [i, j] };
        for ((i, j), by_weight) in
            by_weight.indexed_iter().filter(|((i, _), _)| i + 1 < guide.nrows())
        {
            let by_step = by_weight * self.slopes[[i, j]];
            gradient_sum.edges[place(i / 2, j / 2)] += by_step * guide_step(&guide, &chroma, i, j);
            let by_step = by_step * edge_confidence[[i / 2, j / 2]];
            let sign = (guide[[i + 1, j]] - guide[[i, j]]).signum();
            gradient_sum.guide[place(i + 1, j)] += by_step * sign;
            gradient_sum.guide[place(i, j)] -= by_step * sign;
            if i % 2 == 1 {
                for (by, plane) in gradient_sum.chroma.iter_mut().zip(&chroma) {
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
fn guide_step(
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
    use cnnvideo::smooth::wls::{EdgeGuides, EdgeWeights, Guide, Smoothness, Wls};

    #[test]
    fn output_matches_the_solver() {
        let mut rng = StdRng::seed_from_u64(9);
        let mut random =
            |dim, low: f32, high: f32| Array2::from_shape_fn(dim, |_| rng.random_range(low..high));
        let (dim, half, scale) = ((20, 26), (10, 13), 6.0);
        let (luma, target) = (random(dim, 60.0, 120.0), random(dim, 80.0, 100.0));
        let prediction = Prediction {
            guide: random(dim, 88.0, 96.0),
            chroma: [random(half, 120.0, 124.0), random(half, 120.0, 124.0)],
            edges: random(half, -3.0, 2.0),
        };
        let threads = Threads::new(1).unwrap();
        let (error, _) = solve_with_gradient(&luma, &prediction, &target, scale, &threads);

        let mut result = Array2::zeros(luma.dim());
        let strength = strength_map(&luma, &prediction, scale, &threads);
        let edge_confidence = prediction.edges.mapv(edge_confidence);
        let halved = |plane| Guide { plane, subsampling: [1, 1] };
        let guides = [
            Guide { plane: prediction.guide.view(), subsampling: [0, 0] },
            halved(prediction.chroma[0].view()),
            halved(prediction.chroma[1].view()),
        ];
        let mut weights = EdgeWeights::default();
        let confidence = Some(halved(edge_confidence.view()));
        let guides = EdgeGuides { guides: &guides, confidence, sigma: DEFAULT_EDGE_SIGMA };
        weights.fill(dim, guides, &threads);
        let smoothness =
            Smoothness { weights: &weights, strength: strength.view(), lambda: lambda(scale) };
        let output = &mut [result.view_mut()];
        Wls::default().smooth(&[luma.view()], output, &smoothness, &threads);
        let expected = (&result - &target).mapv(|v: f32| v * v).mean().unwrap().sqrt();
        assert!((&result - &luma).iter().any(|v| v.abs() > 5.0));
        assert!((error - expected).abs() < 0.02, "{error} {expected}");
    }

    #[test]
    fn derivatives_match_finite_differences() {
        let mut rng = StdRng::seed_from_u64(4);
        let dim = (12, 14);
        let mut random =
            |dim, low: f32, high: f32| Array2::from_shape_fn(dim, |_| rng.random_range(low..high));
        let luma = random(dim, 60.0, 120.0);
        let target = random(dim, 80.0, 100.0);
        let half = (6, 7);
        let prediction = Prediction {
            guide: random(dim, 88.0, 92.0),
            chroma: [random(half, 120.0, 122.0), random(half, 120.0, 122.0)],
            edges: random(half, -2.0, 1.0),
        };
        let threads = Threads::new(1).unwrap();
        let value = |prediction: &Prediction| {
            solve_with_gradient(&luma, prediction, &target, 4.0, &threads).0
        };
        let (_, gradient_sum) = solve_with_gradient(&luma, &prediction, &target, 4.0, &threads);
        // The texture amplitude is far above the range in which the smoothing strength changes, so
        // the derivative of the strength, which is not computed, is 0.
        let compare = |name: &str, expected: f32, change: &mut dyn FnMut(&mut Prediction, f32)| {
            let differ = |by: f32, change: &mut dyn FnMut(&mut Prediction, f32)| {
                let mut other = Prediction {
                    guide: prediction.guide.clone(),
                    chroma: prediction.chroma.clone(),
                    edges: prediction.edges.clone(),
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
            compare("guide", gradient_sum.guide[at], &mut |prediction, by| {
                prediction.guide[at] += by
            });
        }
        for at in [[2, 3], [4, 5]] {
            compare("chroma", gradient_sum.chroma[1][at], &mut |prediction, by| {
                prediction.chroma[1][at] += by
            });
            compare("edges", gradient_sum.edges[at], &mut |prediction, by| {
                prediction.edges[at] += by
            });
        }
        assert!(gradient_sum.guide.iter().any(|v| v.abs() > 1e-3));
    }
}
