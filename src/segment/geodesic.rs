//! Distances along the superpixels, across as little edge as possible.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::Superpixels;

/// What a step costs by its length alone, in strengths of edges per side of a superpixel.
const LENGTH: f32 = 0.03;
/// What a difference of mean colours of one level adds.
const COLOUR: f32 = 0.01;

/// Geodesic distance of each superpixel to the nearest of `seeds` (Bai and Sapiro, "A Geodesic Framework for Fast Interactive Image
/// and Video Segmentation", 2007); infinite without seeds. Dijkstra's algorithm.
pub fn distances(parts: &Superpixels, seeds: impl IntoIterator<Item = u32>) -> Vec<f32> {
    let mut distances = vec![f32::INFINITY; parts.len()];
    let mut heap = BinaryHeap::new();
    for seed in seeds {
        if let Some(distance) = distances.get_mut(seed as usize) {
            *distance = 0.0;
            heap.push((Reverse(0), seed));
        }
    }
    while let Some((Reverse(bits), at)) = heap.pop() {
        // Distances are never negative, so their bits are in their order.
        let distance = f32::from_bits(bits);
        if distance > distances[at as usize] {
            continue;
        }
        for (next, border) in parts.neighbours(at) {
            let [a, b] = [at, next].map(|i| parts.colours[i as usize]);
            let colour = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
            let there = distance + border.strength + COLOUR * colour + LENGTH;
            if there < distances[next as usize] {
                distances[next as usize] = there;
                heap.push((Reverse(there.to_bits()), next));
            }
        }
    }
    distances
}
