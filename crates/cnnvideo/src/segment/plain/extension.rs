// SPDX-License-Identifier: MIT OR Apache-2.0

//! Extension of cores to whole surfaces: the pixels between cores join the surface with the closest
//! colour.

use std::{cmp::Reverse, collections::BinaryHeap};

use ndarray::Array2;

use super::{cores::Cores, features::Features, neighbours};
use crate::segment::{colour, distance::connected_components};

/// Largest distance of a pixel from the core that it joins, in pixels, without smoothing: blocks of
/// lossy codecs with an edge have ripples up to about this distance from the edge.
const MARGIN: u32 = 10;
/// Largest number of passes over the borders. Few change anything after this many.
const MAX_PASSES: usize = 6;
/// Largest distance of a pixel to the colour of its surface, in tolerances, that noise explains.
const MAX_NOISE: f32 = 1.5;
/// Largest distance of a pixel to the colour of its surface, relative to the contrast to adjacent
/// surfaces. A mixture of two surfaces is at most half as far from the closer one.
const MAX_MIXTURE: f32 = 0.6;
/// Number of connected pixels of a foreign colour from which on they do not belong to the surface.
const MIN_FOREIGN_AREA: u32 = 12;

/// Returns the surface of each pixel, from 1 on; 0 for pixels of no surface.
pub(super) fn extend(features: &Features<'_>, cores: &Cores) -> Array2<u32> {
    let mut labels = cores.labels.clone();
    flood(features, cores, &mut labels);
    for _ in 0..MAX_PASSES {
        if !settle_borders(features, cores, &mut labels) {
            break;
        }
    }
    remove_foreign(features, cores, &mut labels);
    labels
}

/// Adds pixels to surfaces in the order of the distance of their colours (Adams and Bischof,
/// "Seeded Region Growing", 1994).
fn flood(features: &Features<'_>, cores: &Cores, labels: &mut Array2<u32>) {
    let dim = labels.dim();
    let margin = MARGIN + features.radius as u32;
    // The bit patterns of non-negative floats sort like the floats, and u32 implements Ord.
    let cost = |at, label: u32| features.distance(at, cores.colours[label as usize - 1]).to_bits();
    let mut heap = BinaryHeap::new();
    for (at, label) in labels.indexed_iter().filter(|(_, label)| **label > 0) {
        for next in neighbours(at, dim).filter(|next| labels[*next] == 0) {
            heap.push(Reverse((cost(next, *label), next, *label, 1)));
        }
    }
    while let Some(Reverse((_, at, label, steps))) = heap.pop() {
        if labels[at] != 0 {
            continue;
        }
        labels[at] = label;
        if steps < margin {
            for next in neighbours(at, dim).filter(|next| labels[*next] == 0) {
                heap.push(Reverse((cost(next, label), next, label, steps + 1)));
            }
        }
    }
}

/// Gives each pixel at the border of two surfaces to the one with the closest colour. Returns
/// whether this changed anything.
fn settle_borders(features: &Features<'_>, cores: &Cores, labels: &mut Array2<u32>) -> bool {
    let (height, width) = labels.dim();
    let mut changed = false;
    for at in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let own = labels[at];
        let mut others = neighbours(at, (height, width))
            .map(|other| labels[other])
            .filter(|other| own != 0 && *other != 0 && *other != own)
            .peekable();
        if others.peek().is_none() {
            continue;
        }
        let cost = |label: u32| features.distance(at, cores.colours[label as usize - 1]);
        let (_, closest) = others.fold((cost(own), own), |best, other| {
            let cost = cost(other);
            if cost < best.0 { (cost, other) } else { best }
        });
        changed |= closest != own;
        labels[at] = closest;
    }
    changed
}

/// Removes pixels that have joined a surface although their colour is neither its own nor a mixture
/// with that of an adjacent surface, such as thin lines.
fn remove_foreign(features: &Features<'_>, cores: &Cores, labels: &mut Array2<u32>) {
    let dim = labels.dim();
    let colour = |label: u32| cores.colours[label as usize - 1];
    let mut limits = vec![MAX_NOISE; cores.colours.len()];
    for (at, label) in labels.indexed_iter().filter(|(_, label)| **label > 0) {
        for other in neighbours(at, dim).map(|other| labels[other]) {
            if other > 0 && other != *label {
                let contrast = colour::distance(colour(*label), colour(other));
                let limit = &mut limits[*label as usize - 1];
                *limit = limit.max(MAX_MIXTURE * contrast);
            }
        }
    }
    let is_foreign = Array2::from_shape_fn(dim, |at| {
        let label = labels[at];
        label > 0
            && cores.labels[at] == 0
            && features.distance(at, colour(label)) > limits[label as usize - 1]
    });
    let (parts, areas) = connected_components(&is_foreign.view());
    for (label, part) in labels.iter_mut().zip(&parts) {
        // Single pixels are noise.
        if part.checked_sub(1).is_some_and(|part| areas[part as usize] >= MIN_FOREIGN_AREA) {
            *label = 0;
        }
    }
}
