//! Perceptual mask of the watermark as a small network predicts it.

use std::{ops::Range, sync::Arc};

use ndarray::{Array2, ArrayViewMut2};

use super::mask::Cell;
use crate::nn::{
    self, Device, IoSpec, ModelSource, Network, Output, Precision, RowSink, Sessions, Signature,
    Source, cache, parts,
};

/// Network that is embedded in the plugin.
/// Signature of the network that predicts the perceptual mask.
///
/// The picture is the mean and the standard deviation of luma in cells of several pixels; one input
/// pixel is one cell. The network predicts the logarithm of the watermark amplitude.
pub const SIGNATURE: Signature =
    Signature::new("watermark-texture", IoSpec { picture: 2, control: 0, output: 1 });

const BUILT_IN: ModelSource = ModelSource::Embedded {
    name: "watermark-texture",
    bytes: include_bytes!("../../models/watermark-texture.safetensors"),
};
/// Standard deviation of a cell, in 8-bit units, that is 1 at the network's input.
pub const DEVIATION_SCALE: f32 = 32.0;
/// Limit of the magnitude of an amplitude's natural logarithm.
pub const MOST_LOG: f32 = 3.0;
/// Exponent applied to the amplitudes. Lower values make the watermark more visible and easier to
/// detect. At 1 it is the least visible, at 0.8 it is detected as well as with the analytic mask.
const CONTRAST: f32 = 0.9;
/// Side, in cells, of the flat grey input from which `flat` is computed.
const FLAT_SIDE: usize = 16;

/// The mask network and its sessions.
pub(super) struct Texture {
    network: Arc<dyn Network>,
    threads: usize,
    sessions: Sessions,
    /// Amplitude of flat mid-grey.
    pub flat: f32,
}

impl Texture {
    /// Loads the network that is embedded in the plugin, to run on `threads` threads.
    ///
    /// # Errors
    /// Returns an error if the backend fails.
    pub fn built_in(threads: usize) -> Result<Self, nn::Error> {
        let network = cache::load(&BUILT_IN, Device::Cpu, Precision::Fp32, &[SIGNATURE])?;
        let mut texture = Self { network, threads, sessions: Sessions::default(), flat: 1.0 };
        let grey = Array2::from_elem(
            (FLAT_SIDE, FLAT_SIDE),
            Cell { count: 1.0, sum: 128.0, squares: 128.0 * 128.0 },
        );
        let mut amplitudes = Array2::zeros(grey.dim());
        texture.run(&grey, &mut amplitudes)?;
        texture.flat = amplitudes[[FLAT_SIDE / 2, FLAT_SIDE / 2]];
        texture.sessions = Sessions::default();
        Ok(texture)
    }

    /// Predicts the amplitude of each cell.
    ///
    /// # Errors
    /// Returns an error if the backend fails.
    pub fn run(
        &mut self,
        cells: &Array2<Cell>,
        amplitudes: &mut Array2<f32>,
    ) -> Result<(), nn::Error> {
        let (rows, columns) = cells.dim();
        // `for_frame` expects networks that run at half of the frame's resolution; this one runs on
        // cells.
        let session =
            self.sessions.for_frame(&*self.network, self.threads, 2 * columns, 2 * rows)?;
        session.run(&Cells(cells), &mut Amplitudes(amplitudes))
    }
}

/// Network input: mean and standard deviation of each cell, replicated beyond the border.
struct Cells<'a>(&'a Array2<Cell>);

impl Source for Cells<'_> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let cells = self.0.row(y.min(self.0.nrows() - 1));
        let last = self.0.ncols() - 1;
        for (x, values) in row.chunks_exact_mut(SIGNATURE.io.inputs()).enumerate() {
            let (mean, deviation) = cells[x.min(last)].statistics();
            values.copy_from_slice(&[(mean - 128.0) / 255.0, deviation / DEVIATION_SCALE]);
        }
    }
}

/// Network output: natural logarithm of each cell's amplitude.
struct Amplitudes<'a>(&'a mut Array2<f32>);

impl Output for Amplitudes<'_> {
    fn split<'b>(&'b mut self, bands: &[Range<usize>]) -> Vec<Box<dyn RowSink + 'b>> {
        let parts = parts(self.0, bands, 1).into_iter().zip(bands);
        parts
            .map(|(amplitudes, band)| {
                Box::new(Band { first: band.start, amplitudes }) as Box<dyn RowSink>
            })
            .collect()
    }
}

/// Part of the amplitudes that one thread writes.
struct Band<'a> {
    first: usize,
    amplitudes: ArrayViewMut2<'a, f32>,
}

impl RowSink for Band<'_> {
    fn write_row(&mut self, y: usize, row: &[f32]) {
        if y - self.first < self.amplitudes.nrows() {
            let to = self.amplitudes.row_mut(y - self.first);
            to.into_iter()
                .zip(row)
                .for_each(|(to, log)| *to = (CONTRAST * log.clamp(-MOST_LOG, MOST_LOG)).exp());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texture_hides_more_than_flat_ground_and_ground_beside_an_edge_little() {
        // Texture on the left; flat on the right, with an edge in it.
        let cells = Array2::from_shape_fn((25, 61), |(_, x)| {
            let (mean, deviation) = match x {
                0..20 => (120.0, 12.0f32),
                20..40 => (120.0, 0.3),
                40 => (150.0, 30.0),
                _ => (180.0, 0.3),
            };
            Cell {
                count: 16.0,
                sum: 16.0 * mean,
                squares: 16.0 * (mean * mean + deviation * deviation),
            }
        });
        for threads in [1, 2] {
            let mut texture = Texture::built_in(threads).unwrap();
            let mut amplitudes = Array2::zeros(cells.dim());
            texture.run(&cells, &mut amplitudes).unwrap();
            let at = |x: usize| amplitudes[[12, x]];
            assert!(at(10) > 2.0 * at(30), "{} {}", at(10), at(30));
            assert!(
                at(44) < 0.7 * at(10) && at(36) < 0.7 * at(10),
                "{} {} {}",
                at(36),
                at(44),
                at(10)
            );
            assert!(texture.flat > 0.0 && amplitudes.iter().all(|a| a.is_finite() && *a > 0.0));
        }
    }
}
