// SPDX-License-Identifier: MIT OR Apache-2.0

//! Region tree: superpixels merged step by step into one region, so that a selection can grow and
//! shrink along the merges.
//!
//! Regions merge in the order of the edge strength along their common border and the difference of
//! their mean colours (Nock and Nielsen, "Statistical Region Merging", 2004, sort pairs likewise).
//! The result is a binary partition tree (Salembier and Garrido, 2000).

use std::{cmp::Ordering, collections::BinaryHeap, sync::OnceLock};

use super::{Superpixels, colour};

/// Merge cost per code value of difference between mean colours, in units of edge strength.
const COLOUR_COST: f32 = 0.012;
/// Exponent of the smaller area, in pixels, by which the merge cost is multiplied, so that small
/// regions merge first.
const AREA_EXPONENT: f32 = 0.2;

/// Binary tree of regions. The first nodes (leaves) are the superpixels; each later node merges two
/// earlier ones.
#[derive(Debug, Default)]
pub struct RegionTree {
    /// Parent of each node; a root is its own parent.
    parents: Vec<u32>,
    /// Children of each node that is not a leaf.
    children: Vec<[u32; 2]>,
    /// Pixels of each node.
    areas: Vec<f32>,
    /// Number of superpixels.
    leaves: usize,
}

/// Superpixels of a picture, with the region tree over them.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// Superpixels of the picture.
    pub superpixels: Superpixels,
    tree: OnceLock<RegionTree>,
}

impl Partition {
    /// Creates the partition of a picture from its superpixels.
    pub(super) fn new(superpixels: Superpixels) -> Self {
        Self { superpixels, tree: OnceLock::new() }
    }

    /// Returns the region tree. The first call builds it.
    pub(super) fn tree(&self) -> &RegionTree {
        self.tree.get_or_init(|| RegionTree::build(&self.superpixels))
    }
}

/// Region that has not been merged into another one yet.
struct Node {
    area: f32,
    /// Mean colour `[y, u, v]`.
    colour: [f32; 3],
    /// Adjacent regions.
    neighbours: Vec<Neighbour>,
}

/// Adjacent region and the border to it.
#[derive(Clone, Copy)]
struct Neighbour {
    region: u32,
    /// Length of the common border, in pixels.
    length: f32,
    /// Sum of the edge strength along the border.
    strength: f32,
}

/// Candidate merge of two adjacent regions.
struct Merge {
    cost: f32,
    pair: [u32; 2],
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Merge {}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Merge {
    /// Reverses the order of costs, as [`BinaryHeap`] pops the greatest element first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.cost.total_cmp(&self.cost).then_with(|| other.pair.cmp(&self.pair))
    }
}

impl RegionTree {
    /// Builds the tree of a picture's superpixels by merging until one region is left.
    pub fn build(superpixels: &Superpixels) -> Self {
        let leaves = superpixels.len();
        let mut nodes: Vec<Option<Node>> = (0..leaves as u32)
            .map(|i| {
                let neighbours = superpixels.neighbours(i).map(|(j, border)| Neighbour {
                    region: j,
                    length: border.length,
                    strength: border.length * border.strength,
                });
                let (area, colour) =
                    (superpixels.areas[i as usize], superpixels.colours[i as usize]);
                Some(Node { area, colour, neighbours: neighbours.collect() })
            })
            .collect();
        let leaf = |i: u32| nodes[i as usize].as_ref().expect("no superpixel has been merged yet");
        let mut heap: BinaryHeap<_> = superpixels
            .borders
            .iter()
            .map(|border| {
                let [a, b] = border.between;
                let strength = border.length * border.strength;
                Merge { cost: merge_cost(leaf(a), leaf(b), border.length, strength), pair: [a, b] }
            })
            .collect();
        let mut tree = Self {
            parents: (0..leaves as u32).collect(),
            children: Vec::new(),
            areas: superpixels.areas.clone(),
            leaves,
        };
        while let Some(Merge { pair: [a, b], .. }) = heap.pop() {
            // One of the two regions may have been merged after this candidate was queued.
            if nodes[a as usize].is_none() || nodes[b as usize].is_none() {
                continue;
            }
            let [first, second] =
                [a, b].map(|i| nodes[i as usize].take().expect("both regions exist"));
            let new = nodes.len() as u32;
            let area = first.area + second.area;
            let colour = std::array::from_fn(|i| {
                (first.colour[i] * first.area + second.colour[i] * second.area) / area
            });
            let mut neighbours: Vec<_> = first
                .neighbours
                .into_iter()
                .chain(second.neighbours)
                .filter(|neighbour| neighbour.region != a && neighbour.region != b)
                .collect();
            neighbours.sort_unstable_by_key(|neighbour| neighbour.region);
            neighbours.dedup_by(|next, kept| {
                let same = next.region == kept.region;
                if same {
                    kept.length += next.length;
                    kept.strength += next.strength;
                }
                same
            });
            let node = Node { area, colour, neighbours };
            for Neighbour { region, length, strength } in node.neighbours.iter().copied() {
                let other =
                    nodes[region as usize].as_mut().expect("adjacent regions are not merged yet");
                other.neighbours.retain(|old| old.region != a && old.region != b);
                other.neighbours.push(Neighbour { region: new, length, strength });
                let cost = merge_cost(&node, other, length, strength);
                heap.push(Merge { cost, pair: [region, new] });
            }
            nodes.push(Some(node));
            tree.parents.push(new);
            tree.areas.push(area);
            tree.children.push([a, b]);
            (tree.parents[a as usize], tree.parents[b as usize]) = (new, new);
        }
        tree
    }

    /// Returns the region that a region was merged into; `None` for the root (the whole picture).
    ///
    /// # Panics
    /// Panics if there is no such region.
    pub fn parent(&self, node: u32) -> Option<u32> {
        Some(self.parents[node as usize]).filter(|parent| *parent != node)
    }

    /// Returns the number of pixels of a region.
    ///
    /// # Panics
    /// Panics if there is no such region.
    pub fn area(&self, node: u32) -> f32 {
        self.areas[node as usize]
    }

    /// Returns the superpixels that make up a region.
    ///
    /// # Panics
    /// Panics if there is no such region.
    pub fn superpixels(&self, node: u32) -> Vec<u32> {
        let (mut found, mut stack) = (Vec::new(), vec![node]);
        while let Some(node) = stack.pop() {
            match (node as usize).checked_sub(self.leaves) {
                None => found.push(node),
                Some(inner) => stack.extend(self.children[inner]),
            }
        }
        found
    }

    /// Returns the largest region around `superpixel` that has at most `max_area` pixels and
    /// whose superpixels all satisfy `allowed`; at least the superpixel itself.
    ///
    /// # Panics
    /// Panics if there is no such superpixel.
    pub fn largest_ancestor(
        &self,
        superpixel: u32,
        max_area: f32,
        mut allowed: impl FnMut(u32) -> bool,
    ) -> u32 {
        let mut node = superpixel;
        while let Some(parent) = self.parent(node) {
            if self.area(parent) > max_area
                || !self.superpixels(parent).into_iter().all(&mut allowed)
            {
                break;
            }
            node = parent;
        }
        node
    }
}

/// Returns the cost of merging two regions, whose common border has this length and this sum of
/// edge strength.
fn merge_cost(a: &Node, b: &Node, length: f32, strength: f32) -> f32 {
    let colour = colour::distance(a.colour, b.colour);
    (strength / length.max(1.0) + COLOUR_COST * colour) * a.area.min(b.area).powf(AREA_EXPONENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Format, Picture, Plane};
    use crate::segment::{WorkingImage, superpixel::edge_strength};

    #[test]
    fn regions_grow_up_to_edges() {
        let grey: Vec<u8> = (0..80 * 60).map(|i| if i % 80 < 30 { 50 } else { 180 }).collect();
        let picture = Picture::new(Format::GRAY8, 80, 60, &[Plane::new(&grey, 80)]).unwrap();
        let mut image = WorkingImage::default();
        image.fill(&picture);
        let superpixels = Superpixels::segment(&image, &edge_strength(&image, None));
        let tree = RegionTree::build(&superpixels);
        let (left, right) = (superpixels.indices[[30, 10]], superpixels.indices[[30, 60]]);
        let root = tree.largest_ancestor(left, f32::INFINITY, |_| true);
        assert_eq!((tree.area(root), tree.parent(root)), (4800.0, None));
        assert_eq!(tree.superpixels(root).len(), superpixels.len());
        // The left half, as growth stops before the superpixel on the right.
        let region = tree.largest_ancestor(left, f32::INFINITY, |i| i != right);
        assert!((tree.area(region) - 1800.0).abs() < 200.0, "{}", tree.area(region));
        assert_eq!(tree.largest_ancestor(left, 1.0, |_| true), left);
    }
}
