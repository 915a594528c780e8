// SPDX-License-Identifier: MIT OR Apache-2.0

//! Minimum s-t cuts of small graphs.

use std::collections::VecDeque;

/// Graph whose nodes a minimum cut divides into inside and outside.
///
/// Boykov and Jolly, "Interactive Graph Cuts for Optimal Boundary and Region Segmentation", 2001.
/// Dinitz's algorithm computes the maximum flow, which is fast enough for the few thousand nodes of
/// a superpixel graph.
#[derive(Debug, Default)]
pub struct GraphCut {
    /// Edges in pairs: each is followed by its reverse.
    edges: Vec<ResidualEdge>,
    /// Edges that leave each node, as indices of `edges`.
    outgoing: Vec<Vec<u32>>,
}

/// Edge of the residual graph.
#[derive(Debug, Clone, Copy)]
struct ResidualEdge {
    to: u32,
    capacity: f32,
}

/// Residual capacity below which an edge counts as saturated.
const EPSILON: f32 = 1e-5;
/// Node that stands for inside.
const SOURCE: usize = 0;
/// Node that stands for outside.
const SINK: usize = 1;

impl GraphCut {
    /// Creates a graph of `nodes` nodes without any costs.
    pub fn new(nodes: usize) -> Self {
        Self { edges: Vec::new(), outgoing: vec![Vec::new(); nodes + 2] }
    }

    /// Adds a unary cost: `inside` is paid if the node ends up outside, or, if negative, `-inside`
    /// if it ends up inside.
    ///
    /// # Panics
    /// Panics if the graph has no such node.
    pub fn add_unary(&mut self, node: usize, inside: f32) {
        if inside > 0.0 {
            self.add_edge(SOURCE, node + 2, inside, 0.0);
        } else {
            self.add_edge(node + 2, SINK, -inside, 0.0);
        }
    }

    /// Adds a pairwise cost, paid if one of the nodes ends up inside and the other outside.
    ///
    /// # Panics
    /// Panics if the graph has no such nodes.
    pub fn add_pairwise(&mut self, a: usize, b: usize, cost: f32) {
        self.add_edge(a + 2, b + 2, cost, cost);
    }

    /// Adds an edge and its reverse, with their capacities.
    fn add_edge(&mut self, from: usize, to: usize, capacity: f32, reverse_capacity: f32) {
        self.outgoing[from].push(self.edges.len() as u32);
        self.edges.push(ResidualEdge { to: to as u32, capacity });
        self.outgoing[to].push(self.edges.len() as u32);
        self.edges.push(ResidualEdge { to: from as u32, capacity: reverse_capacity });
    }

    /// Computes the minimum cut. Returns for each node whether it is inside.
    pub fn cut(mut self) -> Vec<bool> {
        loop {
            let levels = self.levels();
            if levels[SINK] == u32::MAX {
                return levels[2..].iter().map(|level| *level != u32::MAX).collect();
            }
            let mut next = vec![0; self.outgoing.len()];
            while self.augment(&levels, &mut next) {}
        }
    }

    /// Returns the number of unsaturated edges on the shortest path from the source to each node,
    /// `u32::MAX` if there is none.
    fn levels(&self) -> Vec<u32> {
        let mut levels = vec![u32::MAX; self.outgoing.len()];
        levels[SOURCE] = 0;
        let mut queue = VecDeque::from([SOURCE]);
        while let Some(node) = queue.pop_front() {
            for edge in self.outgoing[node].iter().map(|edge| self.edges[*edge as usize]) {
                if edge.capacity > EPSILON && levels[edge.to as usize] == u32::MAX {
                    levels[edge.to as usize] = levels[node] + 1;
                    queue.push_back(edge.to as usize);
                }
            }
        }
        levels
    }

    /// Augments one path from source to sink along increasing `levels`. Returns false if there is
    /// none left. `next` is the first edge of each node that is not yet known to be a dead end.
    fn augment(&mut self, levels: &[u32], next: &mut [usize]) -> bool {
        let mut path: Vec<u32> = Vec::new();
        let mut node = SOURCE;
        while node != SINK {
            let outgoing = &self.outgoing[node];
            let usable = |edge: &u32| {
                let edge = self.edges[*edge as usize];
                edge.capacity > EPSILON
                    && levels[edge.to as usize] == levels[node].saturating_add(1)
            };
            match outgoing[next[node]..].iter().position(usable) {
                Some(skipped) => {
                    next[node] += skipped;
                    let edge = outgoing[next[node]];
                    path.push(edge);
                    node = self.edges[edge as usize].to as usize;
                }
                None => {
                    next[node] = outgoing.len();
                    let Some(edge) = path.pop() else { return false };
                    node = self.edges[edge as usize ^ 1].to as usize;
                    next[node] += 1;
                }
            }
        }
        let flow = path
            .iter()
            .map(|edge| self.edges[*edge as usize].capacity)
            .fold(f32::INFINITY, f32::min);
        for edge in path {
            self.edges[edge as usize].capacity -= flow;
            self.edges[edge as usize ^ 1].capacity += flow;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cost of a division into inside and outside.
    fn cost(unary: &[f32], pairwise: &[(usize, usize, f32)], inside: &[bool]) -> f32 {
        let unary_cost =
            unary.iter().zip(inside).map(|(p, i)| if *i { (-p).max(0.0) } else { p.max(0.0) });
        let pairwise_cost =
            pairwise.iter().filter(|(a, b, _)| inside[*a] != inside[*b]).map(|(_, _, cost)| cost);
        unary_cost.sum::<f32>() + pairwise_cost.sum::<f32>()
    }

    #[test]
    fn cut_matches_brute_force() {
        let mut state = 12345u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        for _ in 0..40 {
            let n = 9;
            let unary: Vec<_> = (0..n).map(|_| 2.0 * random() - 1.0).collect();
            let mut pairwise = Vec::new();
            for a in 0..n {
                for b in a + 1..n {
                    if random() < 0.4 {
                        pairwise.push((a, b, random()));
                    }
                }
            }
            let mut graph = GraphCut::new(n);
            unary.iter().enumerate().for_each(|(i, p)| graph.add_unary(i, *p));
            pairwise.iter().for_each(|(a, b, c)| graph.add_pairwise(*a, *b, *c));
            let found = cost(&unary, &pairwise, &graph.cut());
            let best = (0..1u32 << n)
                .map(|bits| {
                    cost(&unary, &pairwise, &(0..n).map(|i| bits >> i & 1 == 1).collect::<Vec<_>>())
                })
                .fold(f32::INFINITY, f32::min);
            assert!((found - best).abs() < 1e-3, "the cut costs {found}, the optimum {best}");
        }
    }
}
