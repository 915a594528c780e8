//! Grows and shrinks a region along the region tree ([`Hierarchy`]) around the last click.

use ndarray::{Array2, Zip};

use super::{Hierarchy, Superpixels};

/// Least ratio of the areas of two regions that are one step apart.
const STEP: f32 = 1.25;
/// Least probability of pixels that join a region. Pixels that leave it get at most one minus this.
const JOINED: f32 = 0.9;

/// Grows (`steps` above 0) or shrinks (below 0) a region along the region tree.
///
/// The steps start at the ancestor of the superpixel `around` that overlaps most with the region.
/// Growth stops before a region that contains one of the superpixels in `outside`; shrinking stops
/// at the superpixel itself.
pub(super) fn step(
    probability: &mut Array2<f32>,
    parts: &Superpixels,
    tree: &Hierarchy,
    around: u32,
    outside: &[u32],
    steps: i32,
) {
    let own = parts.means(&probability.mapv(|p| f32::from(u8::from(p > 0.5))));
    let total: f32 = own.iter().zip(&parts.areas).map(|(own, area)| own * area).sum();
    let ladder = ladder(tree, around);
    let overlap = |node: &u32| {
        let both: f32 = tree
            .superpixels(*node)
            .iter()
            .map(|i| own[*i as usize] * parts.areas[*i as usize])
            .sum();
        both / (total + tree.area(*node) - both).max(1.0)
    };
    let overlaps: Vec<f32> = ladder.iter().map(overlap).collect();
    let here =
        (0..ladder.len()).fold(0, |best, i| if overlaps[i] > overlaps[best] { i } else { best });
    let free = |node: u32| !tree.superpixels(node).iter().any(|i| outside.contains(i));
    let there = if steps < 0 {
        here.saturating_sub(steps.unsigned_abs() as usize)
    } else {
        (here..ladder.len())
            .take(steps as usize + 1)
            .take_while(|i| *i == here || free(ladder[*i]))
            .last()
            .unwrap_or(here)
    };
    if there == here {
        return;
    }
    let mut within = vec![false; parts.len()];
    tree.superpixels(ladder[there]).into_iter().for_each(|i| within[i as usize] = true);
    Zip::from(probability).and(&parts.labels).for_each(|p, part| {
        match (steps > 0, within[*part as usize]) {
            (true, true) => *p = p.max(JOINED),
            (false, false) => *p = p.min(1.0 - JOINED),
            _ => {}
        }
    });
}

/// Returns a superpixel and those of its ancestors in the tree that are at least [`STEP`] times as
/// large as the one before, smallest first.
fn ladder(tree: &Hierarchy, superpixel: u32) -> Vec<u32> {
    let mut ladder = vec![superpixel];
    let (mut node, mut area) = (superpixel, tree.area(superpixel));
    while let Some(parent) = tree.parent(node) {
        node = parent;
        if tree.area(node) >= STEP * area {
            area = tree.area(node);
            ladder.push(node);
        }
    }
    ladder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Image, superpixel::strength};

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
        let picture =
            crate::frame::Picture::new(crate::frame::Format::GRAY8, 96, 96, &[(&grey, 96)])
                .unwrap();
        let mut image = Image::default();
        image.fill(&picture);
        let parts = Superpixels::of(&image, &strength(&image, None));
        let tree = Hierarchy::of(&parts);
        let inner = Array2::from_shape_fn((96, 96), |(y, x)| {
            if x.abs_diff(48).max(y.abs_diff(48)) < 12 { 0.99 } else { 0.01f32 }
        });
        let area = |probability: &Array2<f32>| probability.iter().filter(|p| **p > 0.5).count();
        let (around, corner) = (parts.labels[[48, 48]], parts.labels[[2, 2]]);
        let mut region = inner.clone();
        let mut areas = vec![area(&region)];
        for _ in 0..12 {
            step(&mut region, &parts, &tree, around, &[], 1);
            areas.push(area(&region));
        }
        assert!(areas.is_sorted(), "{areas:?}");
        assert_eq!(areas.last(), Some(&(96 * 96)));
        // The grey square is one of the steps, as regions merge across its edge last.
        assert!(areas.iter().any(|area| area.abs_diff(55 * 55) < 300), "{areas:?}");
        // Growth stops before superpixels that hold outside seeds.
        let mut region = inner.clone();
        step(&mut region, &parts, &tree, around, &[corner], 100);
        assert!(region[[2, 2]] < 0.5 && area(&region) > area(&inner));
        let grown = area(&region);
        step(&mut region, &parts, &tree, around, &[corner], -1);
        assert!(area(&region) < grown);
        step(&mut region, &parts, &tree, around, &[corner], i32::MIN);
        assert!(area(&region) > 0 && area(&region) < area(&inner));
    }
}
