//! Minimum s-t cuts of small graphs.

use std::collections::VecDeque;

/// Graph whose nodes a minimum cut divides into inside and outside.
///
/// Boykov and Jolly, "Interactive Graph Cuts for Optimal Boundary and Region Segmentation", 2001.
/// Dinitz's algorithm computes the maximum flow, which is fast enough for the few thousand nodes of
/// a superpixel graph.
#[derive(Debug, Default)]
pub struct GraphCut {
    /// Arcs in pairs: each is followed by its reverse.
    arcs: Vec<Arc>,
    /// Arcs that leave each node, as indices of `arcs`.
    first: Vec<Vec<u32>>,
}

/// Arc of the residual graph.
#[derive(Debug, Clone, Copy)]
struct Arc {
    to: u32,
    capacity: f32,
}

/// Residual capacity below which an arc counts as saturated.
const EPSILON: f32 = 1e-5;
/// Node that stands for inside.
const SOURCE: usize = 0;
/// Node that stands for outside.
const SINK: usize = 1;

impl GraphCut {
    /// Creates a graph of `nodes` nodes without any costs.
    pub fn new(nodes: usize) -> Self {
        Self { arcs: Vec::new(), first: vec![Vec::new(); nodes + 2] }
    }

    /// Adds a unary cost: `inside` is paid if the node ends up outside, or, if negative, `-inside`
    /// if it ends up inside.
    ///
    /// # Panics
    /// Panics if the graph has no such node.
    pub fn prefer(&mut self, node: usize, inside: f32) {
        if inside > 0.0 {
            self.arc(SOURCE, node + 2, inside, 0.0);
        } else {
            self.arc(node + 2, SINK, -inside, 0.0);
        }
    }

    /// Adds a pairwise cost, paid if one of the nodes ends up inside and the other outside.
    ///
    /// # Panics
    /// Panics if the graph has no such nodes.
    pub fn bind(&mut self, a: usize, b: usize, cost: f32) {
        self.arc(a + 2, b + 2, cost, cost);
    }

    /// Adds an arc and its reverse, with their capacities.
    fn arc(&mut self, from: usize, to: usize, capacity: f32, back: f32) {
        self.first[from].push(self.arcs.len() as u32);
        self.arcs.push(Arc { to: to as u32, capacity });
        self.first[to].push(self.arcs.len() as u32);
        self.arcs.push(Arc { to: from as u32, capacity: back });
    }

    /// Computes the minimum cut. Returns for each node whether it is inside.
    pub fn cut(mut self) -> Vec<bool> {
        loop {
            let levels = self.levels();
            if levels[SINK] == u32::MAX {
                return levels[2..].iter().map(|level| *level != u32::MAX).collect();
            }
            let mut next = vec![0; self.first.len()];
            while self.push(&levels, &mut next) {}
        }
    }

    /// Returns the number of unsaturated arcs on the shortest path from the source to each node,
    /// `u32::MAX` if there is none.
    fn levels(&self) -> Vec<u32> {
        let mut levels = vec![u32::MAX; self.first.len()];
        levels[SOURCE] = 0;
        let mut queue = VecDeque::from([SOURCE]);
        while let Some(node) = queue.pop_front() {
            for arc in self.first[node].iter().map(|arc| self.arcs[*arc as usize]) {
                if arc.capacity > EPSILON && levels[arc.to as usize] == u32::MAX {
                    levels[arc.to as usize] = levels[node] + 1;
                    queue.push_back(arc.to as usize);
                }
            }
        }
        levels
    }

    /// Augments one path from source to sink along increasing `levels`. Returns false if there is
    /// none left. `next` is the first arc of each node that is not yet known to be a dead end.
    fn push(&mut self, levels: &[u32], next: &mut [usize]) -> bool {
        let mut path: Vec<u32> = Vec::new();
        let mut node = SOURCE;
        while node != SINK {
            let arcs = &self.first[node];
            let usable = |arc: &u32| {
                let arc = self.arcs[*arc as usize];
                arc.capacity > EPSILON && levels[arc.to as usize] == levels[node].saturating_add(1)
            };
            match arcs[next[node]..].iter().position(usable) {
                Some(skipped) => {
                    next[node] += skipped;
                    let arc = arcs[next[node]];
                    path.push(arc);
                    node = self.arcs[arc as usize].to as usize;
                }
                None => {
                    next[node] = arcs.len();
                    let Some(arc) = path.pop() else { return false };
                    node = self.arcs[arc as usize ^ 1].to as usize;
                    next[node] += 1;
                }
            }
        }
        let flow =
            path.iter().map(|arc| self.arcs[*arc as usize].capacity).fold(f32::INFINITY, f32::min);
        for arc in path {
            self.arcs[arc as usize].capacity -= flow;
            self.arcs[arc as usize ^ 1].capacity += flow;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cost of a division into inside and outside.
    fn cost(prefer: &[f32], bonds: &[(usize, usize, f32)], inside: &[bool]) -> f32 {
        let alone =
            prefer.iter().zip(inside).map(|(p, i)| if *i { (-p).max(0.0) } else { p.max(0.0) });
        let parted =
            bonds.iter().filter(|(a, b, _)| inside[*a] != inside[*b]).map(|(_, _, cost)| cost);
        alone.sum::<f32>() + parted.sum::<f32>()
    }

    #[test]
    fn no_division_costs_less() {
        let mut state = 12345u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        for _ in 0..40 {
            let n = 9;
            let prefer: Vec<_> = (0..n).map(|_| 2.0 * random() - 1.0).collect();
            let mut bonds = Vec::new();
            for a in 0..n {
                for b in a + 1..n {
                    if random() < 0.4 {
                        bonds.push((a, b, random()));
                    }
                }
            }
            let mut graph = GraphCut::new(n);
            prefer.iter().enumerate().for_each(|(i, p)| graph.prefer(i, *p));
            bonds.iter().for_each(|(a, b, c)| graph.bind(*a, *b, *c));
            let found = cost(&prefer, &bonds, &graph.cut());
            let best = (0..1u32 << n)
                .map(|bits| {
                    cost(&prefer, &bonds, &(0..n).map(|i| bits >> i & 1 == 1).collect::<Vec<_>>())
                })
                .fold(f32::INFINITY, f32::min);
            assert!((found - best).abs() < 1e-3, "the cut costs {found}, the optimum {best}");
        }
    }
}
