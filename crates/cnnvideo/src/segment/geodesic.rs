//! Geodesic distances over the superpixel graph: paths across edges are long.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::Superpixels;

/// Cost of every step from one superpixel to the next, in units of edge strength.
const LENGTH: f32 = 0.03;
/// Cost per code value of difference between mean colours, in units of edge strength.
const COLOUR: f32 = 0.01;

/// Returns the geodesic distance of each superpixel to the nearest of `seeds`, infinite if no seed
/// can be reached.
///
/// Dijkstra's algorithm; the distance is that of Bai and Sapiro, "A Geodesic Framework for Fast
/// Interactive Image and Video Segmentation", 2007. A step costs the strength of the edge between
/// the two superpixels, plus terms for the difference of their colours and for its length.
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
        // The bit patterns of non-negative floats sort like the floats, and u32 implements Ord.
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
