// SPDX-License-Identifier: MIT OR Apache-2.0

//! Grows and shrinks a region along the region tree ([`RegionTree`]) around the last click.

use ndarray::{Array2, Zip};

use super::{RegionTree, Superpixels};

/// Least ratio of the areas of two regions that are one step apart.
const MIN_AREA_RATIO: f32 = 1.25;
/// Least probability of pixels that join a region. Pixels that leave it get at most one minus this.
const JOINED_PROBABILITY: f32 = 0.9;

/// Grows (`steps` above 0) or shrinks (below 0) a region along the region tree.
///
/// The steps start at the ancestor of the superpixel `around` that overlaps most with the region.
/// Growth stops before a region that contains one of the superpixels that are `outside`; shrinking
/// stops at the superpixel itself.
pub(super) fn grow_region(
    probability: &mut Array2<f32>,
    superpixels: &Superpixels,
    tree: &RegionTree,
    around: u32,
    outside: &[bool],
    steps: i32,
) {
    let membership = superpixels.means(&probability.mapv(|p| f32::from(u8::from(p > 0.5))));
    let total: f32 = membership.iter().zip(&superpixels.areas).map(|(m, area)| m * area).sum();
    let ancestors = ancestors(tree, around);
    // Intersection over union of the region and a node of the tree.
    let overlap = |node: &u32| {
        let intersection: f32 = tree
            .superpixels(*node)
            .iter()
            .map(|i| membership[*i as usize] * superpixels.areas[*i as usize])
            .sum();
        intersection / (total + tree.area(*node) - intersection).max(1.0)
    };
    let overlaps: Vec<f32> = ancestors.iter().map(overlap).collect();
    let current =
        (0..ancestors.len()).fold(0, |best, i| if overlaps[i] > overlaps[best] { i } else { best });
    let free = |node: u32| !tree.superpixels(node).iter().any(|i| outside[*i as usize]);
    let target = if steps < 0 {
        current.saturating_sub(steps.unsigned_abs() as usize)
    } else {
        (current..ancestors.len())
            .take(steps as usize + 1)
            .take_while(|i| *i == current || free(ancestors[*i]))
            .last()
            .expect("the current ancestor itself is always taken")
    };
    if target == current {
        return;
    }
    let mut in_target = vec![false; superpixels.len()];
    tree.superpixels(ancestors[target]).into_iter().for_each(|i| in_target[i as usize] = true);
    Zip::from(probability).and(&superpixels.indices).for_each(|p, superpixel| {
        match (steps > 0, in_target[*superpixel as usize]) {
            (true, true) => *p = p.max(JOINED_PROBABILITY),
            (false, false) => *p = p.min(1.0 - JOINED_PROBABILITY),
            _ => {}
        }
    });
}

/// Returns a superpixel and those of its ancestors in the tree that are at least
/// [`MIN_AREA_RATIO`] times as large as the one before, smallest first.
fn ancestors(tree: &RegionTree, superpixel: u32) -> Vec<u32> {
    let mut ancestors = vec![superpixel];
    let (mut node, mut area) = (superpixel, tree.area(superpixel));
    while let Some(parent) = tree.parent(node) {
        node = parent;
        if tree.area(node) >= MIN_AREA_RATIO * area {
            area = tree.area(node);
            ancestors.push(node);
        }
    }
    ancestors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Format, Picture, Plane};
    use crate::segment::{WorkingImage, superpixel::edge_strength};

    #[test]
    fn regions_grow_and_shrink_and_come_back() {
        // A bright square inside of a grey square on a dark background.
        let grey: Vec<u8> = (0..96 * 96)
            .map(|i| match ((i % 96usize).abs_diff(48)).max((i / 96usize).abs_diff(48)) {
                0..12 => 210,
                12..28 => 140,
                _ => 40,
            })
            .collect();
        let picture = Picture::new(Format::GRAY8, 96, 96, &[Plane::new(&grey, 96)]).unwrap();
        let mut image = WorkingImage::default();
        image.fill(&picture);
        let superpixels = Superpixels::segment(&image, &edge_strength(&image, None));
        let tree = RegionTree::build(&superpixels);
        let inner = Array2::from_shape_fn((96, 96), |(y, x)| {
            if x.abs_diff(48).max(y.abs_diff(48)) < 12 { 0.99 } else { 0.01f32 }
        });
        let area = |probability: &Array2<f32>| probability.iter().filter(|p| **p > 0.5).count();
        let around = superpixels.indices[[48, 48]];
        let none = vec![false; superpixels.len()];
        let mut corner = none.clone();
        corner[superpixels.indices[[2, 2]] as usize] = true;
        let mut region = inner.clone();
        let mut areas = vec![area(&region)];
        for _ in 0..12 {
            grow_region(&mut region, &superpixels, &tree, around, &none, 1);
            areas.push(area(&region));
        }
        assert!(areas.is_sorted(), "{areas:?}");
        assert_eq!(areas.last(), Some(&(96 * 96)));
        // The grey square is one of the steps, as regions merge across its edge last.
        assert!(areas.iter().any(|area| area.abs_diff(55 * 55) < 300), "{areas:?}");
        // Growth stops before superpixels that hold outside seeds.
        let mut region = inner.clone();
        grow_region(&mut region, &superpixels, &tree, around, &corner, 100);
        assert!(region[[2, 2]] < 0.5 && area(&region) > area(&inner));
        let grown = area(&region);
        grow_region(&mut region, &superpixels, &tree, around, &corner, -1);
        assert!(area(&region) < grown);
        grow_region(&mut region, &superpixels, &tree, around, &corner, i32::MIN);
        assert!(area(&region) > 0 && area(&region) < area(&inner));
    }
}
