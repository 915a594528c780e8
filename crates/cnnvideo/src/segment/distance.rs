// SPDX-License-Identifier: MIT OR Apache-2.0

//! Distance transform and connected components of binary masks.

use ndarray::{Array2, ArrayView2, Axis};

/// Squared distance, in pixels, that stands for infinity.
const INFINITY: f32 = 1e12;

/// Returns the squared Euclidean distance, in pixels, of each pixel to the nearest one that is
/// `false`. Pixels outside of the picture count as `false`.
///
/// Exact and in linear time: Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled
/// Functions", 2012.
pub fn squared_distance_transform(inside: &ArrayView2<'_, bool>) -> Array2<f32> {
    let mut result = inside.mapv(|inside| if inside { INFINITY } else { 0.0 });
    transform(&mut result, 0.0);
    result
}

/// Returns the squared Euclidean distance of each pixel of a picture of size `dim` to the nearest
/// of `points` `(y, x)`, in pixels; at least 1e12 without points.
///
/// # Panics
/// Panics if a point lies outside of the picture.
pub(super) fn squared_distances_to(
    points: impl IntoIterator<Item = (usize, usize)>,
    dim: (usize, usize),
) -> Array2<f32> {
    let mut result = Array2::from_elem(dim, INFINITY);
    points.into_iter().for_each(|at| result[at] = 0.0);
    transform(&mut result, INFINITY);
    result
}

/// Replaces each value of a map by the minimum over all pixels of their value plus the squared
/// distance to them. Pixels outside of the map have the value `border`.
fn transform(map: &mut Array2<f32>, border: f32) {
    let mut envelope = Envelope::default();
    let mut line = Vec::new();
    for axis in [Axis(0), Axis(1)] {
        for mut lane in map.lanes_mut(axis) {
            line.clear();
            line.push(border);
            line.extend(&lane);
            line.push(border);
            let distances = envelope.transform(&line);
            lane.iter_mut().zip(&distances[1..]).for_each(|(to, d)| *to = *d);
        }
    }
}

/// Lower envelope of parabolas, with buffers that are reused from line to line.
#[derive(Default)]
struct Envelope {
    /// Positions of the parabolas that make up the envelope.
    vertices: Vec<usize>,
    /// Position from which each of them is the lowest.
    starts: Vec<f32>,
    /// Result of the latest transform.
    values: Vec<f32>,
}

impl Envelope {
    /// Computes the one-dimensional distance transform of `line`: for each p, the minimum over q of
    /// `(p - q)^2 + line[q]`.
    fn transform(&mut self, line: &[f32]) -> &[f32] {
        let Self { vertices, starts, values } = self;
        vertices.clear();
        starts.clear();
        for (q, value) in line.iter().enumerate() {
            let mut start = f32::NEG_INFINITY;
            while let (Some(&v), Some(&first)) = (vertices.last(), starts.last()) {
                let (near, far) = (v as f32, q as f32);
                start = ((value + far * far) - (line[v] + near * near)) / (2.0 * (far - near));
                if start > first {
                    break;
                }
                vertices.pop();
                starts.pop();
                start = f32::NEG_INFINITY;
            }
            vertices.push(q);
            starts.push(start);
        }
        values.clear();
        let mut k = 0;
        for p in 0..line.len() {
            while k + 1 < vertices.len() && starts[k + 1] < p as f32 {
                k += 1;
            }
            let v = vertices[k];
            let offset = p as f32 - v as f32;
            values.push(offset * offset + line[v]);
        }
        values
    }
}

/// Labels the 4-connected components of a mask.
///
/// Returns the label of each pixel (from 1; 0 where the mask is `false`) and the number of pixels
/// of each component, that of label `n` at index `n - 1`.
pub fn connected_components(inside: &ArrayView2<'_, bool>) -> (Array2<u32>, Vec<u32>) {
    let (height, width) = inside.dim();
    let mut labels = Array2::zeros((height, width));
    let mut sizes = Vec::new();
    let mut stack = Vec::new();
    for y in 0..height {
        for x in 0..width {
            if !inside[[y, x]] || labels[[y, x]] != 0 {
                continue;
            }
            let label = sizes.len() as u32 + 1;
            let mut size = 0;
            labels[[y, x]] = label;
            stack.push((y, x));
            while let Some((y, x)) = stack.pop() {
                size += 1;
                let neighbours = [
                    (y.checked_sub(1), Some(x)),
                    (Some(y + 1).filter(|y| *y < height), Some(x)),
                    (Some(y), x.checked_sub(1)),
                    (Some(y), Some(x + 1).filter(|x| *x < width)),
                ];
                for (y, x) in neighbours {
                    if let (Some(y), Some(x)) = (y, x)
                        && inside[[y, x]]
                        && labels[[y, x]] == 0
                    {
                        labels[[y, x]] = label;
                        stack.push((y, x));
                    }
                }
            }
            sizes.push(size);
        }
    }
    (labels, sizes)
}

/// Returns the pixel `(y, x)` of a mask that is farthest from its border, and its squared distance
/// to the nearest pixel outside; `None` if the mask is empty. Of several such pixels it returns the
/// first in raster order.
pub fn interior_point(mask: &ArrayView2<'_, bool>) -> Option<((usize, usize), f32)> {
    let distances = squared_distance_transform(mask);
    let best = distances
        .indexed_iter()
        .fold(((0, 0), 0.0), |best, (at, d)| if *d > best.1 { (at, *d) } else { best });
    (best.1 > 0.0).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_transform_matches_brute_force() {
        let inside = Array2::from_shape_fn((17, 23), |(y, x)| {
            (x * 7 + y * y * 3) % 11 != 0 && (x, y) != (4, 4)
        });
        let distances = squared_distance_transform(&inside.view());
        for ((y, x), distance) in distances.indexed_iter() {
            let mut best = i64::MAX;
            for v in -1..18i64 {
                for u in -1..24i64 {
                    let outside = !(0..17).contains(&v)
                        || !(0..23).contains(&u)
                        || !inside[[v as usize, u as usize]];
                    if outside {
                        best = best.min((u - x as i64).pow(2) + (v - y as i64).pow(2));
                    }
                }
            }
            assert_eq!(*distance, best as f32, "{x} {y}");
        }
    }

    #[test]
    fn distances_to_points_ignore_the_border() {
        let distances = squared_distances_to([(1, 2), (7, 9)], (8, 30));
        assert_eq!((distances[[0, 0]], distances[[7, 29]], distances[[7, 9]]), (5.0, 400.0, 0.0));
        assert!(squared_distances_to([], (4, 5)).iter().all(|distance| *distance >= 1e12));
    }

    #[test]
    fn connected_components_are_labelled() {
        let inside =
            ndarray::arr2(&[[true, true, false], [false, false, true], [true, false, true]]);
        let (labels, sizes) = connected_components(&inside.view());
        assert_eq!(sizes, [2, 2, 1]);
        assert_eq!(labels, ndarray::arr2(&[[1, 1, 0], [0, 0, 2], [3, 0, 2]]));
    }
}
