// SPDX-License-Identifier: MIT OR Apache-2.0

//! Minimum cut over superpixels, which aligns a region with image edges.

use ndarray::Array2;

use super::{
    ColourModel, Side, geodesic::geodesic_distances, graph_cut::GraphCut, logistic,
    region_seeds::RegionSeeds, region_tree::Partition,
};

/// Weight of the colour histograms in the unary cost of a superpixel; that of the network's
/// log-odds is 1.
const UNARY_COLOUR_WEIGHT: f32 = 0.3;
/// Weight of the relative geodesic distance (-1 to 1) to inside and outside seeds in the unary cost
/// of a superpixel.
const GEODESIC_WEIGHT: f32 = 0.4;
/// Weight of the relative geodesic distance (-1 to 1) if there is no segmentation network.
const GEODESIC_WEIGHT_WITHOUT_NETWORK: f32 = 3.0;
/// Largest magnitude of the colour log-odds if there is no segmentation network; larger ones are
/// clamped.
const MAX_COLOUR_LOG_ODDS: f32 = 4.0;
/// Log-odds that a seed adds to the unary cost at its own position.
const SEED_WEIGHT: f32 = 4.0;
/// Geodesic distance over which the influence of a seed falls by the factor `e`.
const SEED_DECAY: f32 = 0.3;
/// Log-odds of superpixels that contain a seed: a hard constraint of the cut.
const HARD_LOG_ODDS: f32 = 1e4;
/// Pairwise cost of 10 pixels of border between two superpixels where the edge strength is 0.
const PAIRWISE_COST: f32 = 2.5;
/// Rate of the exponential decay of the pairwise cost with the edge strength.
const PAIRWISE_DECAY: f32 = 8.0;
/// Largest share of the picture whose colours a single seed contributes to the colour histograms.
const MAX_SEED_REGION_SHARE: f32 = 0.1;

/// Evidence for a region besides its seeds and the image edges.
pub(super) enum RegionEvidence<'a> {
    /// Log-odds of each pixel that the segmentation network predicts.
    Network(&'a Array2<f32>),
    /// Colours of the region so far; there is no segmentation network.
    Colours(&'a ColourModel),
}

/// Computes the minimum cut over the superpixels. Returns for each superpixel whether it is inside
/// of the region.
pub(super) fn cut(
    partition: &Partition,
    region_seeds: &RegionSeeds,
    evidence: &RegionEvidence<'_>,
) -> Vec<bool> {
    let superpixels = &partition.superpixels;
    let [inside, outside] = [&region_seeds.points.inside, &region_seeds.points.outside]
        .map(|points| points.iter().map(|point| superpixels.at(point)).collect::<Vec<_>>());
    // Without outside seeds, the border of the picture counts as outside.
    let border = if outside.is_empty() { superpixels.at_picture_border() } else { Vec::new() };
    let to_inside = geodesic_distances(superpixels, inside.iter().copied());
    let to_outside = geodesic_distances(superpixels, outside.iter().chain(&border).copied());
    // Relative geodesic distance: 1 at inside seeds, -1 at outside seeds.
    let relative_distance = |i: usize| match (to_inside[i], to_outside[i]) {
        (near, far) if near.is_finite() && far.is_finite() => (far - near) / (far + near + 1e-3),
        (near, _) if near.is_finite() => 1.0,
        _ => 0.0,
    };
    // Close to a seed in geodesic distance, the seed outweighs the other terms.
    let seed_influence = |i: usize| {
        let influence = |d: f32| (-d / SEED_DECAY).exp();
        let of_outside = if outside.is_empty() { 0.0 } else { influence(to_outside[i]) };
        influence(to_inside[i]) - of_outside
    };
    let unary: Vec<f32> = match evidence {
        RegionEvidence::Network(log_odds) => {
            let predicted = superpixels.means(log_odds);
            let probabilities: Vec<f32> = predicted.iter().map(|v| logistic(*v)).collect();
            let colour_model = superpixels.colour_model(&probabilities);
            let unary = |(i, predicted): (usize, &f32)| {
                predicted
                    + GEODESIC_WEIGHT * relative_distance(i)
                    + UNARY_COLOUR_WEIGHT * colour_model.log_odds(superpixels.colours[i])
                    + SEED_WEIGHT * seed_influence(i)
            };
            predicted.iter().enumerate().map(unary).collect()
        }
        RegionEvidence::Colours(colours) => {
            let colour_model =
                colours_from_seeds(partition, region_seeds, colours, [&inside, &outside]);
            let unary = |i: usize| {
                if region_seeds.outside_box(superpixels.centres[i]) {
                    return -HARD_LOG_ODDS;
                }
                let colour = colour_model
                    .log_odds(superpixels.colours[i])
                    .clamp(-MAX_COLOUR_LOG_ODDS, MAX_COLOUR_LOG_ODDS);
                GEODESIC_WEIGHT_WITHOUT_NETWORK * relative_distance(i)
                    + SEED_WEIGHT * seed_influence(i)
                    + colour
            };
            (0..superpixels.len()).map(unary).collect()
        }
    };
    let mut graph = GraphCut::new(superpixels.len());
    for (i, (unary, area)) in unary.iter().zip(&superpixels.areas).enumerate() {
        let weight = (area / 100.0).sqrt();
        graph.add_unary(i, unary * weight);
    }
    inside.iter().for_each(|i| graph.add_unary(*i as usize, HARD_LOG_ODDS));
    outside.iter().for_each(|i| graph.add_unary(*i as usize, -HARD_LOG_ODDS));
    for border in &superpixels.borders {
        let cost = PAIRWISE_COST * border.length / 10.0 * (-PAIRWISE_DECAY * border.strength).exp();
        graph.add_pairwise(border.between[0] as usize, border.between[1] as usize, cost);
    }
    graph.cut()
}

/// Estimates the colour histograms of a region without a network: from its `previous` histograms,
/// from the regions of the tree around the superpixels of the seeds (`inside` and `outside`), from
/// the border of the picture and from the box.
fn colours_from_seeds(
    partition: &Partition,
    region_seeds: &RegionSeeds,
    previous: &ColourModel,
    [inside, outside]: [&[u32]; 2],
) -> ColourModel {
    let (superpixels, tree) = (&partition.superpixels, partition.tree());
    let mut model = previous.clone();
    model.decay(0.5);
    let max_area = MAX_SEED_REGION_SHARE * superpixels.indices.len() as f32;
    for (seeds, side, others) in [(inside, Side::Inside, outside), (outside, Side::Outside, inside)]
    {
        for seed in seeds {
            let ancestor = tree.largest_ancestor(*seed, max_area, |i| !others.contains(&i));
            for i in tree.superpixels(ancestor) {
                model.add(side, superpixels.colours[i as usize], superpixels.areas[i as usize]);
            }
        }
    }
    for i in superpixels.at_picture_border() {
        let pixels = 0.5 * superpixels.areas[i as usize];
        model.add(Side::Outside, superpixels.colours[i as usize], pixels);
    }
    if let Some(bounds) = region_seeds.current_box {
        for (i, [x, y]) in superpixels.centres.iter().enumerate() {
            let inside = bounds.contains(*x as usize, *y as usize);
            let side = if inside { Side::Inside } else { Side::Outside };
            model.add(side, superpixels.colours[i], superpixels.areas[i]);
        }
    }
    model
}
