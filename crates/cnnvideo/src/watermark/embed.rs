// SPDX-License-Identifier: MIT OR Apache-2.0

//! Embeds a watermark in pictures: [`Embedder`].

use ndarray::{Array2, ArrayViewMut1, Axis};
use rayon::prelude::*;

use super::{
    key::Key,
    mask::{LumaSums, PerceptualMask},
    mask_network::MaskNetwork,
    pattern::{HOPS, Layers, layers, patterns},
    payload::Payload,
    plane::{canonical_scale, resample_plane},
    tile_weights::{TileSigns, TileWeights},
    version::Version,
};
use crate::{
    frame::{Colour, PictureMut, Sample, luma::luma_row},
    nn::Threads,
    simd::vectorise,
};

/// Number of frames of a hop, after which the embedder switches to the next pattern.
pub const HOP_FRAMES: u64 = 24;
/// Quantisation of stored patterns: `i8` steps per standard deviation.
const PATTERN_STEPS: f32 = 24.0;
/// Largest standard deviation, in 8-bit units, of the watermark in flat mid-grey areas. With the
/// perceptual mask it limits the amplitude whatever the target PSNR is.
const MAX_FLAT_SIGMA: f32 = 1.1;

/// Protection of an embedded watermark against attackers who have marked pictures, but no key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Security {
    /// Version 2 of the format: a mark that is copied to another picture is not accepted there.
    #[default]
    CopyResistant,
    /// Version 1 of the format: the same patterns for any picture, which survive a little more
    /// compression.
    Robust,
}

impl Security {
    /// Returns the version of the marks.
    pub fn version(self) -> Version {
        match self {
            Self::CopyResistant => Version::Two,
            Self::Robust => Version::One,
        }
    }
}

/// Strength of an embedded watermark. The default is 45 dB with the perceptual mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// Lower bound of the PSNR of the marked picture in dB.
    pub target_psnr: f32,
    /// Whether the perceptual mask distributes the watermark over the picture; otherwise its
    /// amplitude is uniform.
    pub texture_aware: bool,
}

impl Default for Strength {
    fn default() -> Self {
        Self { target_psnr: 45.0, texture_aware: true }
    }
}

/// Embeds a payload in the pictures of one stream.
pub struct Embedder {
    key: Key,
    /// Key epoch.
    epoch: u32,
    threads: Threads,
    /// Payload of the current hop.
    payload: Payload,
    /// Payload from the next hop on.
    next_payload: Payload,
    /// Number of the next picture in the video.
    next_frame: u64,
    /// Whether a picture has been marked.
    has_begun: bool,
    /// Width and height that `patterns` were computed for; 0 before the first picture.
    size: (usize, usize),
    security: Security,
    /// Patterns of each hop label at the size of the pictures, in steps of 1 / [`PATTERN_STEPS`].
    /// Version 1 has one pattern, version 2 one per layer: described tiles, flat tiles, pilot.
    patterns: Vec<Vec<Array2<i8>>>,
    /// Signs of the tiles; `None` before they are needed.
    signs: Option<TileSigns>,
    /// Statistics of the current picture's mask cells.
    cells: Array2<LumaSums>,
    mask: PerceptualMask,
    /// Network that predicts the mask; without it the analytic mask is used.
    mask_network: Option<MaskNetwork>,
    /// Error that disabled the network, until the caller takes it.
    mask_error: Option<crate::nn::Error>,
}

impl Embedder {
    /// Creates an embedder of key epoch 0 that uses all threads of the machine.
    ///
    /// # Errors
    /// Returns an error if threads cannot be started or the mask network cannot be loaded.
    pub fn new(key: Key, payload: Payload) -> Result<Self, crate::nn::Error> {
        let threads = Threads::new(0)?;
        Ok(Self {
            key,
            epoch: 0,
            mask_network: Some(MaskNetwork::built_in(threads.count())?),
            mask_error: None,
            threads,
            payload,
            next_payload: payload,
            next_frame: 0,
            has_begun: false,
            size: (0, 0),
            security: Security::default(),
            patterns: Vec::new(),
            signs: None,
            cells: Array2::default((0, 0)),
            mask: PerceptualMask::default(),
        })
    }

    /// Sets the key epoch, on which the patterns depend beside the key.
    pub fn with_epoch(self, epoch: u32) -> Self {
        Self { epoch, size: (0, 0), signs: None, ..self }
    }

    /// Sets the protection against attackers, copy-resistant unless set.
    pub fn with_security(self, security: Security) -> Self {
        Self { security, size: (0, 0), ..self }
    }

    /// Sets the number of threads, 0 for as many as the machine has processors. It makes no
    /// difference to the marked pictures.
    ///
    /// # Errors
    /// Returns an error if threads cannot be started or the mask network cannot be loaded.
    pub fn with_threads(self, count: usize) -> Result<Self, crate::nn::Error> {
        let threads = Threads::new(count)?;
        let mask_network = match self.mask_network {
            Some(_) => Some(MaskNetwork::built_in(threads.count())?),
            None => None,
        };
        Ok(Self { threads, mask_network, ..self })
    }

    /// Sets the number of the first picture in the video, 0 unless set. Parts of a video that are
    /// marked apart then get the same pixels as the whole.
    pub fn with_first_frame(self, number: u64) -> Self {
        Self { next_frame: number, ..self }
    }

    /// Replaces the mask network by the analytic mask, the network's fallback.
    pub fn with_analytic_mask(self) -> Self {
        Self { mask_network: None, ..self }
    }

    /// Returns the error that made the embedder fall back to the analytic mask, once.
    pub fn take_mask_error(&mut self) -> Option<crate::nn::Error> {
        self.mask_error.take()
    }

    /// Returns the payload of the current hop.
    pub fn payload(&self) -> Payload {
        self.payload
    }

    /// Sets the payload that is embedded from the next hop on.
    pub fn set_payload(&mut self, payload: Payload) {
        self.next_payload = payload;
    }

    /// Computes the patterns for pictures of this size.
    ///
    /// [`Self::process`] does so when the size changes; calling this first keeps the delay off the
    /// first picture.
    pub fn prepare(&mut self, width: usize, height: usize) {
        let scale = canonical_scale(width, height);
        let (key, epoch, payload) = (&self.key, self.epoch, self.payload);
        let quantise = |v: f32| (v * PATTERN_STEPS).round() as i8;
        let resample =
            |pattern: &Array2<f32>| resample_plane(&pattern.view(), width, height, quantise);
        self.patterns = self.threads.enter(|| match self.security {
            Security::Robust => patterns(key, epoch, payload, scale)
                .par_iter()
                .map(|pattern| vec![resample(pattern)])
                .collect(),
            Security::CopyResistant => (0..HOPS)
                .into_par_iter()
                .map(|label| {
                    let Layers { described, flat, pilot } =
                        layers(key, epoch, payload, scale, label);
                    [described, flat, pilot].par_iter().map(resample).collect()
                })
                .collect(),
        });
        if self.security == Security::CopyResistant && self.signs.is_none() {
            self.signs = Some(TileSigns::new(key, epoch));
        }
        self.size = (width, height);
    }

    /// Embeds the watermark in a picture.
    ///
    /// Returns the payload if this picture is the first to carry it.
    pub fn process<T: Sample>(
        &mut self,
        picture: &mut PictureMut<'_, T>,
        strength: &Strength,
    ) -> Option<Payload> {
        let (height, width) = picture.components[0].dim();
        let hop = self.next_frame / HOP_FRAMES;
        let hop_begins = self.next_frame.is_multiple_of(HOP_FRAMES);
        self.next_frame = self.next_frame.wrapping_add(1);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let changed = hop_begins && self.next_payload != self.payload;
        if changed {
            self.payload = self.next_payload;
        }
        if changed || self.size != (width, height) {
            self.prepare(width, height);
        }
        let side = cell_side(width, height);
        let target_sigma = 255.0 * 10.0f32.powf(-strength.target_psnr / 20.0);
        let needs_cells = strength.texture_aware || self.security == Security::CopyResistant;
        if needs_cells {
            self.measure_cells(picture, side);
        }
        let max_gain = if strength.texture_aware {
            MAX_FLAT_SIGMA / self.compute_mask()
        } else {
            self.mask.resize((height.div_ceil(side), width.div_ceil(side)));
            self.mask.amplitudes.fill(1.0);
            f32::INFINITY
        };
        let cell = canonical_scale(width, height) * side as f64;
        let signs = self.signs.as_ref().filter(|_| self.security == Security::CopyResistant);
        let tiles = signs.map(|signs| signs.weights(hop, &self.cells, cell));
        let amplitudes = &self.mask.amplitudes;
        let power = match &tiles {
            Some(tiles) => tiles.power(amplitudes, cell),
            None => amplitudes.iter().map(|a| a * a).sum(),
        };
        let cells = amplitudes.len() as f32;
        let gain = (target_sigma / (power / cells).sqrt().max(1e-9)).min(max_gain);
        let label = tiles.as_ref().map_or((hop % HOPS as u64) as usize, |tiles| tiles.label);
        self.add_patterns(picture, label, tiles.as_ref(), side, gain);
        (changed || is_first).then_some(self.payload)
    }

    /// Computes the mask from the cells; returns the amplitude that flat mid-grey gets.
    fn compute_mask(&mut self) -> f32 {
        self.mask.resize(self.cells.dim());
        if let Some(network) = &mut self.mask_network {
            match network.run(&self.cells, &mut self.mask.amplitudes) {
                Ok(()) => return network.flat_amplitude,
                // Retrying would switch between two masks from frame to frame, which is visible.
                Err(err) => (self.mask_network, self.mask_error) = (None, Some(err)),
            }
        }
        self.mask.compute(&self.cells);
        super::mask::FLAT_AMPLITUDE
    }

    /// Computes the luma statistics of all mask cells.
    fn measure_cells<T: Sample>(&mut self, picture: &PictureMut<'_, T>, side: usize) {
        let (height, width) = picture.components[0].dim();
        let dim = (height.div_ceil(side), width.div_ceil(side));
        if self.cells.dim() != dim {
            self.cells = Array2::default(dim);
        }
        let picture = &picture.view();
        self.threads.enter(|| {
            let rows = self.cells.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
            rows.for_each_init(
                || vec![0.0; width],
                |luma, (row, mut cells)| {
                    cells.fill(LumaSums::default());
                    for y in row * side..((row + 1) * side).min(height) {
                        luma_row(picture, y, luma);
                        for (cell, part) in cells.iter_mut().zip(luma.chunks(side)) {
                            cell.count += part.len() as f32;
                            cell.sum += part.iter().sum::<f32>();
                            cell.squares += part.iter().map(|v| v * v).sum::<f32>();
                        }
                    }
                },
            );
        });
    }

    /// Adds the patterns of a hop label, multiplied by mask, weights of the tiles and `gain`, to luma.
    ///
    /// In RGB pictures it adds the same value to R, G and B, which changes luma by that value.
    fn add_patterns<T: Sample>(
        &self,
        picture: &mut PictureMut<'_, T>,
        label: usize,
        tiles: Option<&TileWeights>,
        side: usize,
        gain: f32,
    ) {
        let patterns = self.patterns.get(label).expect("`prepare` computes all patterns");
        let components = if picture.colour == Colour::Rgb { 3 } else { 1 };
        let amplitudes = &self.mask.amplitudes;
        let (height, width) = patterns[0].dim();
        let scale = canonical_scale(width, height);
        self.threads.enter(|| {
            let mut bands: Vec<Vec<_>> = Vec::new();
            for component in &mut picture.components[..components] {
                for (i, rows) in component.axis_chunks_iter_mut(Axis(0), side).enumerate() {
                    if bands.len() <= i {
                        bands.push(Vec::with_capacity(components));
                    }
                    bands[i].push(rows);
                }
            }
            bands.into_par_iter().enumerate().for_each_init(
                || (vec![0.0; amplitudes.ncols()], vec![0.0; width]),
                |(cells, change), (i, mut rows)| {
                    for k in 0..rows[0].nrows() {
                        let t = (k as f32 + 0.5) / side as f32 - 0.5;
                        interpolate_rows(amplitudes, i, t, cells);
                        cells.iter_mut().for_each(|v| *v *= gain / PATTERN_STEPS);
                        interpolate_cells(cells, side, change);
                        let y = i * side + k;
                        let row = |layer: usize| {
                            let row = patterns[layer].row(y);
                            row.to_slice().expect("rows of own patterns are contiguous")
                        };
                        match tiles {
                            Some(tiles) => tiles.multiply(change, y, [0, 1, 2].map(row), scale),
                            None => multiply(change, row(0)),
                        }
                        rows.iter_mut().for_each(|rows| add_to_row(rows.row_mut(k), change));
                    }
                },
            );
        });
    }
}

/// Multiplies samples by a pattern.
fn multiply(to: &mut [f32], pattern: &[i8]) {
    vectorise(
        #[inline(always)]
        || to.iter_mut().zip(pattern).for_each(|(to, pattern)| *to *= f32::from(*pattern)),
    );
}

/// Returns the side of a mask cell in pixels: about two canonical pixels.
fn cell_side(width: usize, height: usize) -> usize {
    ((2.0 / canonical_scale(width, height)).round() as usize).clamp(2, 32)
}

/// Interpolates linearly between two rows of cells.
///
/// `t`, from -0.5 to 0.5, is the distance from the centre of row `i` in cells; its sign selects the
/// neighbouring row.
fn interpolate_rows(amplitudes: &Array2<f32>, i: usize, t: f32, to: &mut [f32]) {
    let other = if t < 0.0 { i.saturating_sub(1) } else { (i + 1).min(amplitudes.nrows() - 1) };
    let t = t.abs();
    let rows = amplitudes.row(i).into_iter().zip(amplitudes.row(other));
    to.iter_mut().zip(rows).for_each(|(to, (a, b))| *to = a + t * (b - a));
}

/// Interpolates linearly between the centres of the cells of a row; writes one value per pixel.
fn interpolate_cells(cells: &[f32], side: usize, to: &mut [f32]) {
    let half = side / 2;
    let (last, step) = (cells[cells.len() - 1], 1.0 / side as f32);
    let (start, rest) = to.split_at_mut(half.min(to.len()));
    start.fill(cells[0]);
    for (i, part) in rest.chunks_mut(side).enumerate() {
        let a = cells.get(i).copied().unwrap_or(last);
        let slope = (cells.get(i + 1).copied().unwrap_or(last) - a) * step;
        // The centre of a cell with an even side lies between two pixels.
        let first = if side.is_multiple_of(2) { a + 0.5 * slope } else { a };
        part.iter_mut().enumerate().for_each(|(k, to)| *to = first + slope * k as f32);
    }
}

/// Adds `change` to the code values of a row.
///
/// Both arms compute the same; the compiler vectorises the one for contiguous rows.
fn add_to_row<T: Sample>(mut row: ArrayViewMut1<'_, T>, change: &[f32]) {
    match row.as_slice_mut() {
        Some(row) => vectorise(
            #[inline(always)]
            || {
                row.iter_mut()
                    .zip(change)
                    .for_each(|(v, c)| *v = T::from_code_value(v.code_value() + c));
            },
        ),
        None => row
            .iter_mut()
            .zip(change)
            .for_each(|(v, c)| *v = T::from_code_value(v.code_value() + c)),
    }
}
