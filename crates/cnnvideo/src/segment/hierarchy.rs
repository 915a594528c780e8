//! Region tree: superpixels merged step by step into one region, so that a selection can grow and
//! shrink along the merges.
//!
//! Regions merge in the order of the edge strength along their common border and the difference of
//! their mean colours (Nock and Nielsen, "Statistical Region Merging", 2004, sort pairs likewise).
//! The result is a binary partition tree (Salembier and Garrido, 2000).

use std::{cmp::Ordering, collections::BinaryHeap};

use super::Superpixels;

/// Merge cost per code value of difference between mean colours, in units of edge strength.
const COLOUR: f32 = 0.012;
/// Exponent of the smaller area, in pixels, by which the merge cost is multiplied, so that small
/// regions merge first.
const SMALL_FIRST: f32 = 0.2;

/// Binary tree of regions. The first nodes (leaves) are the superpixels; each later node merges two
/// earlier ones.
#[derive(Debug, Default)]
pub struct Hierarchy {
    /// Parent of each node; a root is its own parent.
    parents: Vec<u32>,
    /// Children of each node that is not a leaf.
    children: Vec<[u32; 2]>,
    /// Pixels of each node.
    areas: Vec<f32>,
    /// Number of superpixels.
    leaves: usize,
}

/// Region that has not been merged into another one yet.
struct Node {
    area: f32,
    /// Mean colour `[y, u, v]`.
    colour: [f32; 3],
    /// Adjacent regions, each with the length in pixels of the common border and the sum of the
    /// edge strength along it.
    near: Vec<(u32, f32, f32)>,
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

impl Hierarchy {
    /// Builds the tree of a picture's superpixels by merging until one region is left.
    pub fn of(parts: &Superpixels) -> Self {
        let leaves = parts.len();
        let mut nodes: Vec<Option<Node>> = (0..leaves as u32)
            .map(|i| {
                let near = parts
                    .neighbours(i)
                    .map(|(j, border)| (j, border.length, border.length * border.strength));
                let (area, colour) = (parts.areas[i as usize], parts.colours[i as usize]);
                Some(Node { area, colour, near: near.collect() })
            })
            .collect();
        let mut heap: BinaryHeap<_> = parts
            .borders
            .iter()
            .filter_map(|border| {
                let [a, b] = border.between;
                let (node, other) = (nodes[a as usize].as_ref()?, nodes[b as usize].as_ref()?);
                Some(Merge {
                    cost: cost(node, other, border.length, border.length * border.strength),
                    pair: [a, b],
                })
            })
            .collect();
        let mut this = Self {
            parents: (0..leaves as u32).collect(),
            children: Vec::new(),
            areas: parts.areas.clone(),
            leaves,
        };
        while let Some(Merge { pair: [a, b], .. }) = heap.pop() {
            // One of the two regions was merged after this candidate was queued.
            if nodes[a as usize].is_none() || nodes[b as usize].is_none() {
                continue;
            }
            let (Some(first), Some(second)) = (nodes[a as usize].take(), nodes[b as usize].take())
            else {
                continue;
            };
            let new = nodes.len() as u32;
            let area = first.area + second.area;
            let colour = std::array::from_fn(|i| {
                (first.colour[i] * first.area + second.colour[i] * second.area) / area
            });
            let mut near: Vec<_> = first
                .near
                .into_iter()
                .chain(second.near)
                .filter(|(j, ..)| *j != a && *j != b)
                .collect();
            near.sort_unstable_by_key(|(j, ..)| *j);
            near.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    (kept.1, kept.2) = (kept.1 + next.1, kept.2 + next.2);
                }
                same
            });
            let node = Node { area, colour, near };
            for (j, length, sum) in &node.near {
                if let Some(other) = nodes[*j as usize].as_mut() {
                    other.near.retain(|(k, ..)| *k != a && *k != b);
                    other.near.push((new, *length, *sum));
                    heap.push(Merge { cost: cost(&node, other, *length, *sum), pair: [*j, new] });
                }
            }
            nodes.push(Some(node));
            this.parents.push(new);
            this.areas.push(area);
            this.children.push([a, b]);
            (this.parents[a as usize], this.parents[b as usize]) = (new, new);
        }
        this
    }

    /// Returns the region that a region was merged into; `None` for the root (the whole picture).
    pub fn parent(&self, node: u32) -> Option<u32> {
        self.parents.get(node as usize).copied().filter(|parent| *parent != node)
    }

    /// Returns the number of pixels of a region, 0 if there is no such region.
    pub fn area(&self, node: u32) -> f32 {
        self.areas.get(node as usize).copied().unwrap_or(0.0)
    }

    /// Returns the superpixels that make up a region.
    pub fn superpixels(&self, node: u32) -> Vec<u32> {
        let (mut found, mut stack) = (Vec::new(), vec![node]);
        while let Some(node) = stack.pop() {
            match (node as usize).checked_sub(self.leaves) {
                None => found.push(node),
                Some(at) => stack.extend(self.children.get(at).into_iter().flatten()),
            }
        }
        found
    }

    /// Returns the largest region around `superpixel` that has at most `most` pixels and whose
    /// superpixels all satisfy `allowed`; at least the superpixel itself.
    pub fn grow(&self, superpixel: u32, most: f32, mut allowed: impl FnMut(u32) -> bool) -> u32 {
        let mut node = superpixel;
        while let Some(parent) = self.parent(node) {
            if self.area(parent) > most || !self.superpixels(parent).into_iter().all(&mut allowed) {
                break;
            }
            node = parent;
        }
        node
    }
}

/// Returns the cost of merging two regions, whose common border has this length and this sum of
/// edge strength.
fn cost(a: &Node, b: &Node, length: f32, sum: f32) -> f32 {
    let colour = a.colour.iter().zip(b.colour).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
    (sum / length.max(1.0) + COLOUR * colour) * a.area.min(b.area).powf(SMALL_FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Image, superpixel::strength};

    #[test]
    fn regions_grow_up_to_edges() {
        let grey: Vec<u8> = (0..80 * 60).map(|i| if i % 80 < 30 { 50 } else { 180 }).collect();
        let picture =
            crate::frame::Picture::new(crate::frame::Format::GRAY8, 80, 60, &[(&grey, 80)])
                .unwrap();
        let mut image = Image::default();
        image.fill(&picture);
        let parts = Superpixels::of(&image, &strength(&image, None));
        let tree = Hierarchy::of(&parts);
        let (left, right) = (parts.labels[[30, 10]], parts.labels[[30, 60]]);
        let root = tree.grow(left, f32::INFINITY, |_| true);
        assert_eq!((tree.area(root), tree.parent(root)), (4800.0, None));
        assert_eq!(tree.superpixels(root).len(), parts.len());
        // The left half, as growth stops before the superpixel on the right.
        let region = tree.grow(left, f32::INFINITY, |i| i != right);
        assert!((tree.area(region) - 1800.0).abs() < 200.0, "{}", tree.area(region));
        assert_eq!(tree.grow(left, 1.0, |_| true), left);
        assert_eq!(tree.area(u32::MAX), 0.0);
    }
}
