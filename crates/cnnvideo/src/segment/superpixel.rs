//! Superpixels by a watershed whose markers are the pixels of least edge strength in each cell of a
//! grid.
//!
//! Machairas et al., "Waterpixels", 2015. The compactness term (distance to the marker) is that of
//! Neubert and Protzel, "Compact Watershed and Preemptive SLIC", 2014.

use ndarray::Array2;

use super::Image;

/// Approximate number of superpixels of a picture.
const COUNT: f32 = 1600.0;
/// Number of priorities of the flooding queue.
const LEVELS: usize = 256;
/// Compactness: priorities added to a pixel for its distance to the marker, per side of a grid
/// cell.
const COMPACTNESS: f32 = 10.0;
/// Colour gradient, in code values over two pixels, at which the squared edge strength is one half.
const STEP: f32 = 24.0;
/// Factor of the edge strength where the network predicts no edge; it is 1 where it predicts one.
const LEAST: f32 = 0.3;

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
    pub labels: Array2<u32>,
    /// Number of pixels of each superpixel.
    pub areas: Vec<f32>,
    /// Mean colour `[y, u, v]` of each superpixel, in 8-bit code values.
    pub colours: Vec<[f32; 3]>,
    /// Centroid `[x, y]` of each superpixel.
    pub centres: Vec<[f32; 2]>,
    /// Borders between superpixels.
    pub borders: Vec<Border>,
    /// Borders of each superpixel, as indices of `borders`.
    pub around: Vec<Vec<u32>>,
}

/// Returns the edge strength of each pixel, from 0 to 1: the colour gradient, attenuated where the
/// network predicts no edge. `edges` is the predicted edge probability at half the size of `image`;
/// without it, nothing is attenuated.
pub fn strength(image: &Image, edges: Option<&Array2<f32>>) -> Array2<f32> {
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
        let step = squares / (squares + STEP * STEP);
        let learnt = edges.map_or(1.0, |edges| {
            edges[[(y / 2).min(edges.nrows() - 1), (x / 2).min(edges.ncols() - 1)]]
        });
        step.sqrt() * (LEAST + (1.0 - LEAST) * learnt)
    })
}

impl Superpixels {
    /// Divides a picture into superpixels along its edges, given by their strength ([`strength`]).
    pub fn of(image: &Image, edges: &Array2<f32>) -> Self {
        let labels = flood(edges);
        let count = labels.iter().max().map_or(0, |most| *most as usize + 1);
        let mut this = Self {
            areas: vec![0.0; count],
            colours: vec![[0.0; 3]; count],
            centres: vec![[0.0; 2]; count],
            around: vec![Vec::new(); count],
            borders: Vec::new(),
            labels,
        };
        for ((y, x), label) in this.labels.indexed_iter() {
            let at = *label as usize;
            this.areas[at] += 1.0;
            this.colours[at].iter_mut().zip(image.at(y, x)).for_each(|(sum, v)| *sum += v);
            this.centres[at][0] += x as f32;
            this.centres[at][1] += y as f32;
        }
        for ((area, colour), centre) in
            this.areas.iter().zip(&mut this.colours).zip(&mut this.centres)
        {
            colour.iter_mut().chain(centre).for_each(|v| *v /= area.max(1.0));
        }
        this.find_borders(edges);
        this
    }

    /// Fills `borders` and `around` from `labels`.
    fn find_borders(&mut self, edges: &Array2<f32>) {
        let (height, width) = self.labels.dim();
        let mut pairs = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let here = self.labels[[y, x]];
                for (v, u) in [(y, x + 1), (y + 1, x)] {
                    if v < height && u < width && self.labels[[v, u]] != here {
                        let there = self.labels[[v, u]];
                        pairs.push((
                            here.min(there),
                            here.max(there),
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
                self.around[i as usize].push(self.borders.len() as u32);
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
        self.labels.iter().zip(map).for_each(|(label, v)| sums[*label as usize] += v);
        sums.iter_mut().zip(&self.areas).for_each(|(sum, area)| *sum /= area.max(1.0));
        sums
    }

    /// Returns the neighbours of a superpixel, with the border to each.
    pub fn neighbours(&self, of: u32) -> impl Iterator<Item = (u32, &Border)> {
        self.around[of as usize].iter().map(move |at| {
            let border = &self.borders[*at as usize];
            (if border.between[0] == of { border.between[1] } else { border.between[0] }, border)
        })
    }
}

/// Returns the index of the superpixel of each pixel.
fn flood(edges: &Array2<f32>) -> Array2<u32> {
    let (height, width) = edges.dim();
    let side = ((width * height) as f32 / COUNT).sqrt().max(3.0);
    let cells = |n: usize| ((n as f32 / side).round() as usize).max(1);
    let (rows, columns) = (cells(height), cells(width));
    let mut labels = Array2::from_elem((height, width), u32::MAX);
    let mut seeds = Vec::with_capacity(rows * columns);
    let mut queues: Vec<Vec<(u32, u32, u32)>> = vec![Vec::new(); LEVELS];
    for row in 0..rows {
        for column in 0..columns {
            // Markers lie in the middle half of their cell, so that they keep a distance.
            let within = |i: usize, n: usize, of: usize| {
                let (from, to) = (i * n / of, (i + 1) * n / of);
                let margin = (to - from) / 4;
                from + margin..(to - margin).max(from + margin + 1)
            };
            let mut best = (f32::INFINITY, (0, 0));
            for y in within(row, height, rows) {
                for x in within(column, width, columns) {
                    if edges[[y, x]] < best.0 {
                        best = (edges[[y, x]], (y, x));
                    }
                }
            }
            let (y, x) = best.1;
            labels[[y, x]] = seeds.len() as u32;
            queues[0].push((y as u32, x as u32, seeds.len() as u32));
            seeds.push((y as f32, x as f32));
        }
    }
    let mut level = 0;
    let mut wave = Vec::new();
    while level < LEVELS {
        if queues[level].is_empty() {
            level += 1;
            continue;
        }
        // Pixels of equal priority are flooded in the order of their arrival, so that in flat areas
        // borders lie halfway between markers.
        std::mem::swap(&mut wave, &mut queues[level]);
        for (y, x, label) in wave.drain(..) {
            let (y, x) = (y as usize, x as usize);
            let near = [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)];
            for (y, x) in near {
                if y >= height || x >= width || labels[[y, x]] != u32::MAX {
                    continue;
                }
                labels[[y, x]] = label;
                let (sy, sx) = seeds[label as usize];
                let distance = ((y as f32 - sy).powi(2) + (x as f32 - sx).powi(2)).sqrt() / side;
                let own = edges[[y, x]] * (LEVELS as f32 * 0.9) + COMPACTNESS * distance;
                let next = (own as usize).clamp(level, LEVELS - 1);
                queues[next].push((y as u32, x as u32, label));
            }
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superpixels_keep_to_edges_and_cover_everything() {
        let mut planes = vec![0u8; 120 * 90];
        for (i, v) in planes.iter_mut().enumerate() {
            let (x, y) = ((i % 120) as i32, (i / 120) as i32);
            *v = if (x - 60).pow(2) + (y - 45).pow(2) < 900 { 200 } else { 60 };
        }
        let picture =
            crate::frame::Picture::new(crate::frame::Format::GRAY8, 120, 90, &[(&planes, 120)])
                .unwrap();
        let mut image = Image::default();
        image.fill(&picture);
        let edges = strength(&image, None);
        let parts = Superpixels::of(&image, &edges);
        assert!((600..2000).contains(&parts.len()), "{}", parts.len());
        assert_eq!(parts.areas.iter().sum::<f32>(), 120.0 * 90.0);
        // Few pixels lie in a superpixel whose mean colour is that of the other side.
        let wrong = parts.labels.indexed_iter().filter(|((y, x), label)| {
            (parts.colours[**label as usize][0] > 130.0) != (planes[y * 120 + x] > 130)
        });
        assert!(wrong.count() < 110);
        for border in &parts.borders {
            let [a, b] = border.between.map(|i| parts.colours[i as usize][0]);
            assert!((a - b).abs() < 100.0 || border.strength > 0.5, "{border:?}");
        }
        assert!(parts.neighbours(parts.labels[[45, 60]]).count() >= 3);
    }
}
