// SPDX-License-Identifier: MIT OR Apache-2.0

//! Superpixels by a watershed whose markers are the pixels of least edge strength in each cell of a
//! grid.
//!
//! Machairas et al., "Waterpixels", 2015. The compactness term (distance to the marker) is that of
//! Neubert and Protzel, "Compact Watershed and Preemptive SLIC", 2014.

use ndarray::Array2;

use super::{ColourModel, Side, WorkingImage};

/// Approximate number of superpixels of a picture.
const TARGET_COUNT: f32 = 1600.0;
/// Number of priorities of the flooding queue.
const PRIORITIES: usize = 256;
/// Compactness: priorities added to a pixel for its distance to the marker, per side of a grid
/// cell.
const COMPACTNESS: f32 = 10.0;
/// Colour gradient, in code values over two pixels, at which the squared edge strength is one half.
const HALF_STRENGTH_GRADIENT: f32 = 24.0;
/// Factor of the edge strength where the network predicts no edge; it is 1 where it predicts one.
const MIN_ATTENUATION: f32 = 0.3;

/// Common border of two superpixels.
#[derive(Debug, Clone, Copy)]
pub struct Border {
    /// The two superpixels, the one with the lower index first.
    pub between: [u32; 2],
    /// Length in pixels.
    pub length: f32,
    /// Mean edge strength along the border, from 0 to 1.
    pub strength: f32,
}

/// Division of a picture into superpixels.
#[derive(Debug, Default)]
pub struct Superpixels {
    /// Index of the superpixel of each pixel.
    pub indices: Array2<u32>,
    /// Number of pixels of each superpixel.
    pub areas: Vec<f32>,
    /// Mean colour `[y, u, v]` of each superpixel, in 8-bit code values.
    pub colours: Vec<[f32; 3]>,
    /// Centroid `[x, y]` of each superpixel.
    pub centres: Vec<[f32; 2]>,
    /// Borders between superpixels.
    pub borders: Vec<Border>,
    /// Borders of each superpixel, as indices of `borders`.
    pub border_indices: Vec<Vec<u32>>,
}

/// Returns the edge strength of each pixel, from 0 to 1: the colour gradient, attenuated where the
/// network predicts no edge. `edges` is the predicted edge probability at half the size of `image`;
/// without it, nothing is attenuated.
pub fn edge_strength(image: &WorkingImage, edges: Option<&Array2<f32>>) -> Array2<f32> {
    let (height, width) = image.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
        let (above, below) = (y.saturating_sub(1), (y + 1).min(height - 1));
        let mut squares = 0.0;
        for (plane, weight) in image.planes().iter().zip([1.0, 1.5, 1.5]) {
            let across = plane[[y, right]] - plane[[y, left]];
            let down = plane[[below, x]] - plane[[above, x]];
            squares += weight * (across * across + down * down);
        }
        let squared_strength =
            squares / (squares + HALF_STRENGTH_GRADIENT * HALF_STRENGTH_GRADIENT);
        let predicted = edges.map_or(1.0, |edges| {
            edges[[(y / 2).min(edges.nrows() - 1), (x / 2).min(edges.ncols() - 1)]]
        });
        squared_strength.sqrt() * (MIN_ATTENUATION + (1.0 - MIN_ATTENUATION) * predicted)
    })
}

impl Superpixels {
    /// Divides a picture into superpixels along its edges, given by their strength
    /// ([`edge_strength`]).
    pub fn segment(image: &WorkingImage, edges: &Array2<f32>) -> Self {
        let indices = flood(edges);
        let count = indices.iter().max().map_or(0, |last| *last as usize + 1);
        let mut result = Self {
            areas: vec![0.0; count],
            colours: vec![[0.0; 3]; count],
            centres: vec![[0.0; 2]; count],
            border_indices: vec![Vec::new(); count],
            borders: Vec::new(),
            indices,
        };
        for ((y, x), index) in result.indices.indexed_iter() {
            let at = *index as usize;
            result.areas[at] += 1.0;
            result.colours[at].iter_mut().zip(image.at(y, x)).for_each(|(sum, v)| *sum += v);
            result.centres[at][0] += x as f32;
            result.centres[at][1] += y as f32;
        }
        for ((area, colour), centre) in
            result.areas.iter().zip(&mut result.colours).zip(&mut result.centres)
        {
            colour.iter_mut().chain(centre).for_each(|v| *v /= area.max(1.0));
        }
        result.find_borders(edges);
        result
    }

    /// Fills `borders` and `border_indices` from `indices`.
    fn find_borders(&mut self, edges: &Array2<f32>) {
        let (height, width) = self.indices.dim();
        let mut pairs = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let index = self.indices[[y, x]];
                for (v, u) in [(y, x + 1), (y + 1, x)] {
                    if v < height && u < width && self.indices[[v, u]] != index {
                        let neighbour = self.indices[[v, u]];
                        pairs.push((
                            index.min(neighbour),
                            index.max(neighbour),
                            edges[[y, x]].max(edges[[v, u]]),
                        ));
                    }
                }
            }
        }
        pairs.sort_unstable_by_key(|(a, b, _)| (*a, *b));
        for same in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let length = same.len() as f32;
            let between = [same[0].0, same[0].1];
            let strength = same.iter().map(|(_, _, strength)| strength).sum::<f32>() / length;
            for i in between {
                self.border_indices[i as usize].push(self.borders.len() as u32);
            }
            self.borders.push(Border { between, length, strength });
        }
    }

    /// Returns the number of superpixels.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Returns whether there are no superpixels.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// Returns the mean of a map over each superpixel.
    pub fn means(&self, map: &Array2<f32>) -> Vec<f32> {
        let mut sums = vec![0.0; self.len()];
        self.indices.iter().zip(map).for_each(|(index, v)| sums[*index as usize] += v);
        sums.iter_mut().zip(&self.areas).for_each(|(sum, area)| *sum /= area.max(1.0));
        sums
    }

    /// Returns the superpixel at a point `[x, y]`.
    pub(super) fn at(&self, [x, y]: &[f32; 2]) -> u32 {
        self.indices[[*y as usize, *x as usize]]
    }

    /// Returns the superpixels at the border of the picture, in ascending order.
    pub(super) fn at_picture_border(&self) -> Vec<u32> {
        let (height, width) = self.indices.dim();
        let rows = [0, height - 1].into_iter().flat_map(|y| self.indices.row(y));
        let columns = [0, width - 1].into_iter().flat_map(|x| self.indices.column(x));
        let mut superpixels: Vec<u32> = rows.chain(columns).copied().collect();
        superpixels.sort_unstable();
        superpixels.dedup();
        superpixels
    }

    /// Computes colour histograms from the probability of each superpixel to be inside.
    pub(super) fn colour_model(&self, inside: &[f32]) -> ColourModel {
        let mut model = ColourModel::default();
        for ((colour, area), inside) in self.colours.iter().zip(&self.areas).zip(inside) {
            model.add(Side::Inside, *colour, area * inside);
            model.add(Side::Outside, *colour, area * (1.0 - inside));
        }
        model
    }

    /// Returns the neighbours of a superpixel, with the border to each.
    ///
    /// # Panics
    /// Panics if there is no such superpixel.
    pub fn neighbours(&self, superpixel: u32) -> impl Iterator<Item = (u32, &Border)> {
        self.border_indices[superpixel as usize].iter().map(move |i| {
            let border = &self.borders[*i as usize];
            let [a, b] = border.between;
            (if a == superpixel { b } else { a }, border)
        })
    }
}

/// Returns the index of the superpixel of each pixel.
fn flood(edges: &Array2<f32>) -> Array2<u32> {
    let (height, width) = edges.dim();
    let side = ((width * height) as f32 / TARGET_COUNT).sqrt().max(3.0);
    let cells = |n: usize| ((n as f32 / side).round() as usize).max(1);
    let (rows, columns) = (cells(height), cells(width));
    let mut indices = Array2::from_elem((height, width), u32::MAX);
    let mut markers = Vec::with_capacity(rows * columns);
    // Pixels `(y, x)` to flood from, by priority, with the index of their superpixel.
    let mut queues: Vec<Vec<(u32, u32, u32)>> = vec![Vec::new(); PRIORITIES];
    for row in 0..rows {
        for column in 0..columns {
            // Markers lie in the middle half of their cell, so that they keep a distance.
            let middle_half = |i: usize, n: usize, cells: usize| {
                let (from, to) = (i * n / cells, (i + 1) * n / cells);
                let margin = (to - from) / 4;
                from + margin..(to - margin).max(from + margin + 1)
            };
            let mut best = (f32::INFINITY, (0, 0));
            for y in middle_half(row, height, rows) {
                for x in middle_half(column, width, columns) {
                    if edges[[y, x]] < best.0 {
                        best = (edges[[y, x]], (y, x));
                    }
                }
            }
            let (y, x) = best.1;
            indices[[y, x]] = markers.len() as u32;
            queues[0].push((y as u32, x as u32, markers.len() as u32));
            markers.push((y as f32, x as f32));
        }
    }
    let mut current = 0;
    let mut front = Vec::new();
    while current < PRIORITIES {
        if queues[current].is_empty() {
            current += 1;
            continue;
        }
        // Pixels of equal priority are flooded in the order of their arrival, so that in flat areas
        // borders lie halfway between markers.
        std::mem::swap(&mut front, &mut queues[current]);
        for (y, x, index) in front.drain(..) {
            let (y, x) = (y as usize, x as usize);
            let neighbours =
                [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)];
            for (y, x) in neighbours {
                if y >= height || x >= width || indices[[y, x]] != u32::MAX {
                    continue;
                }
                indices[[y, x]] = index;
                let (marker_y, marker_x) = markers[index as usize];
                let distance =
                    ((y as f32 - marker_y).powi(2) + (x as f32 - marker_x).powi(2)).sqrt() / side;
                let priority = edges[[y, x]] * (PRIORITIES as f32 * 0.9) + COMPACTNESS * distance;
                let next = (priority as usize).clamp(current, PRIORITIES - 1);
                queues[next].push((y as u32, x as u32, index));
            }
        }
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Format, Picture, Plane};

    #[test]
    fn superpixels_respect_edges() {
        let mut planes = vec![0u8; 120 * 90];
        for (i, v) in planes.iter_mut().enumerate() {
            let (x, y) = ((i % 120) as i32, (i / 120) as i32);
            *v = if (x - 60).pow(2) + (y - 45).pow(2) < 900 { 200 } else { 60 };
        }
        let picture = Picture::new(Format::GRAY8, 120, 90, &[Plane::new(&planes, 120)]).unwrap();
        let mut image = WorkingImage::default();
        image.fill(&picture);
        let edges = edge_strength(&image, None);
        let superpixels = Superpixels::segment(&image, &edges);
        assert!((600..2000).contains(&superpixels.len()), "{}", superpixels.len());
        assert_eq!(superpixels.areas.iter().sum::<f32>(), 120.0 * 90.0);
        // Few pixels lie in a superpixel whose mean colour is that of the other side.
        let wrong = superpixels.indices.indexed_iter().filter(|((y, x), index)| {
            (superpixels.colours[**index as usize][0] > 130.0) != (planes[y * 120 + x] > 130)
        });
        assert!(wrong.count() < 110);
        for border in &superpixels.borders {
            let [a, b] = border.between.map(|i| superpixels.colours[i as usize][0]);
            assert!((a - b).abs() < 100.0 || border.strength > 0.5, "{border:?}");
        }
        assert!(superpixels.neighbours(superpixels.indices[[45, 60]]).count() >= 3);
    }
}
