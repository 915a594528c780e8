// SPDX-License-Identifier: MIT OR Apache-2.0

//! Search for the linear part of a geometry: for each of many transforms, the power of the pilot
//! waves where they would appear.

use super::{
    geometry::Geometry,
    pattern::Wave,
    plane::{PLANE_HEIGHT, PLANE_WIDTH},
    polar::{PolarMap, Range, Similarity},
    sync::{RECEIVED_BAND, Synchroniser},
};

/// Lowest and highest enlargement of the search.
const SCALES: (f64, f64) = (0.3, 3.05);
/// Lowest and highest enlargement for which rotations are searched as well.
const ROTATED_SCALES: (f64, f64) = (0.45, 2.25);
/// Ratio of successive enlargements.
pub(super) const SCALE_STEP: f64 = 1.006;
/// Largest rotation of the search to each side, in degrees.
const MAX_ANGLE: f64 = 16.0;
/// Number of coarse geometries that are refined.
const CANDIDATES: usize = 48;
/// Number of refined geometries whose shift is estimated.
pub(super) const SHIFT_CANDIDATES: usize = 5;

/// Geometries that a [`Decoder`](super::Decoder) searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Whole, upright pictures at any size, and the geometry of the last watermark found.
    WholeFrame,
    /// Also pictures that were cropped, enlarged, reduced or letterboxed.
    Scale,
    /// Also pictures that were rotated, stretched, mirrored or turned.
    Full,
}

/// Linear map from a received picture to the plane, by rows.
pub(super) type Linear = [[f64; 2]; 2];

/// What the search needs of a wave.
pub(super) struct CoarseWave {
    /// Frequency in cycles per canonical pixel.
    pub x: f32,
    pub y: f32,
    pub is_steady: bool,
}

impl CoarseWave {
    pub(super) fn new(wave: &Wave) -> Self {
        let (x, y) = wave.frequency();
        Self { x, y, is_steady: wave.is_steady() }
    }
}

/// Power by frequency, of the waves that depend on the hop and of the steady ones; width and height
/// are powers of two.
pub(super) struct PowerMaps<'a> {
    /// Power by rows.
    pub maps: [&'a [f32]; 2],
    pub width: usize,
    pub height: usize,
    /// Mean of a map.
    pub mean: f32,
}

impl PowerMaps<'_> {
    /// Returns the power at the frequency of a map that is nearest to `(x, y)` cycles per canonical
    /// pixel, each below 0.5.
    pub(super) fn at(&self, map: usize, x: f32, y: f32) -> f32 {
        // An offset instead of a rounding function, which is slow.
        let nearest = |v: f32, period: usize| {
            (v * period as f32 + period as f32 + 0.5) as usize & (period - 1)
        };
        self.maps[map][nearest(y, self.height) * self.width + nearest(x, self.width)]
    }

    /// Returns the power at the waves above the mean, normalised by the number of waves.
    pub(super) fn score(&self, waves: &[CoarseWave], matrix: &Linear) -> f32 {
        let [[a, b], [c, d]] = matrix.map(|row| row.map(|v| v as f32));
        let band = [RECEIVED_BAND.0, RECEIVED_BAND.1].map(|limit| (limit * limit) as f32);
        let (mut sum, mut count) = (0.0, 0);
        for wave in waves {
            let (x, y) = (a * wave.x + c * wave.y, b * wave.x + d * wave.y);
            let radius = x * x + y * y;
            if radius < band[0] || radius >= band[1] {
                continue;
            }
            sum += self.at(usize::from(wave.is_steady), x, y) - self.mean;
            count += 1;
        }
        if count == 0 { 0.0 } else { sum / (count as f32).sqrt() }
    }
}

/// Returns the first `count` candidates, the best first, that are not near a better one.
pub(super) fn distinct<T>(
    candidates: impl IntoIterator<Item = T>,
    count: usize,
    are_near: impl Fn(&T, &T) -> bool,
) -> Vec<T> {
    let mut found: Vec<T> = Vec::with_capacity(count);
    for candidate in candidates {
        if found.len() == count {
            break;
        }
        if !found.iter().any(|other| are_near(other, &candidate)) {
            found.push(candidate);
        }
    }
    found
}

/// Returns the linear map of an enlargement and a clockwise rotation.
pub(super) fn similarity(scale: f64, degrees: f64) -> Linear {
    let (sin, cos) = degrees.to_radians().sin_cos();
    [[cos / scale, sin / scale], [-sin / scale, cos / scale]]
}

impl Synchroniser {
    /// Returns the power maps at the full resolution of the spectrum.
    pub(super) fn fine_maps(&self) -> PowerMaps<'_> {
        let maps = [self.sum_of_power(), &self.power_of_sum]
            .map(|power| power.smoothed.as_slice().expect("own planes are contiguous"));
        PowerMaps { maps, width: PLANE_WIDTH, height: PLANE_HEIGHT, mean: 1.0 }
    }

    /// Returns the power maps on a log-polar grid, created once.
    pub(super) fn polar_map(&self) -> &PolarMap {
        self.polar.get_or_init(|| PolarMap::new(&self.fine_maps()))
    }

    /// Returns the geometries of upright pictures, without shift, at which the pilot waves stand
    /// out most, with the power of their peaks, the best first.
    pub(super) fn upright_candidates(
        &self,
        waves: &[Wave],
        polar: &PolarMap,
        search: Search,
    ) -> Vec<(f32, Geometry)> {
        let coarse: Vec<_> = waves.iter().map(CoarseWave::new).collect();
        let upright = Range { scales: SCALES, degrees: 0.0, mirrored: false };
        let rotated = Range { scales: ROTATED_SCALES, degrees: MAX_ANGLE, mirrored: false };
        let ranges = if search == Search::Full { vec![upright, rotated] } else { vec![upright] };
        let found = polar.search(&coarse, &ranges, CANDIDATES);
        self.refined(waves, found.iter().map(Similarity::matrix))
    }

    /// Refines geometries; returns the best with the power of their peaks, the best first.
    pub(super) fn refined(
        &self,
        waves: &[Wave],
        matrices: impl Iterator<Item = Linear>,
    ) -> Vec<(f32, Geometry)> {
        let refined = matrices.map(|matrix| {
            let geometry = self.refine(waves, self.about_centre(matrix));
            (self.peak_power(waves, &geometry), geometry)
        });
        let mut refined: Vec<_> = refined.collect();
        refined.sort_by(|a, b| b.0.total_cmp(&a.0));
        refined.truncate(SHIFT_CANDIDATES);
        refined
    }
}
