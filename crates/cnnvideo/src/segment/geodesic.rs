// SPDX-License-Identifier: MIT OR Apache-2.0

//! Geodesic distances over the superpixel graph: paths across edges are long.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{Superpixels, colour};

/// Cost of every step from one superpixel to the next, in units of edge strength.
const STEP_COST: f32 = 0.03;
/// Cost per code value of difference between mean colours, in units of edge strength.
const COLOUR_COST: f32 = 0.01;

/// Returns the geodesic distance of each superpixel to the nearest of `seeds`, infinite if no seed
/// can be reached.
///
/// Dijkstra's algorithm; the distance is that of Bai and Sapiro, "A Geodesic Framework for Fast
/// Interactive Image and Video Segmentation", 2007. A step costs the strength of the edge between
/// the two superpixels, plus terms for the difference of their colours and for its length.
///
/// # Panics
/// Panics if a seed is not one of the superpixels.
pub fn geodesic_distances(
    superpixels: &Superpixels,
    seeds: impl IntoIterator<Item = u32>,
) -> Vec<f32> {
    let mut distances = vec![f32::INFINITY; superpixels.len()];
    let mut heap = BinaryHeap::new();
    for seed in seeds {
        distances[seed as usize] = 0.0;
        heap.push((Reverse(0), seed));
    }
    while let Some((Reverse(distance_bits), node)) = heap.pop() {
        // The bit patterns of non-negative floats sort like the floats, and u32 implements Ord.
        let distance = f32::from_bits(distance_bits);
        if distance > distances[node as usize] {
            continue;
        }
        for (next, border) in superpixels.neighbours(node) {
            let [a, b] = [node, next].map(|i| superpixels.colours[i as usize]);
            let colour = colour::distance(a, b);
            let candidate = distance + border.strength + COLOUR_COST * colour + STEP_COST;
            if candidate < distances[next as usize] {
                distances[next as usize] = candidate;
                heap.push((Reverse(candidate.to_bits()), next));
            }
        }
    }
    distances
}
