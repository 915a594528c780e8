// SPDX-License-Identifier: MIT OR Apache-2.0

//! Perceptual mask of the watermark as a small network predicts it.

use std::sync::Arc;

use ndarray::{Array2, ArrayViewMut1};

use super::mask::LumaSums;
use crate::nn::{
    self, Device, IoSpec, ModelSource, Network, PlaneOutput, Precision, SessionCache, Signature,
    Source, network_cache,
};

/// Signature of the network that predicts the perceptual mask.
///
/// The picture is the mean and the standard deviation of luma in cells of several pixels; one input
/// pixel is one cell. The network predicts the logarithm of the watermark amplitude.
pub const SIGNATURE: Signature =
    Signature::new("watermark-texture", IoSpec { picture: 2, control: 0, output: 1 });

/// Model file that is compiled into the library.
const BUILT_IN: ModelSource = ModelSource::Embedded {
    name: "watermark-texture",
    bytes: include_bytes!("../../models/watermark-texture.safetensors"),
};
/// Standard deviation of a cell, in 8-bit units, that is 1 at the network's input.
pub const CELL_SIGMA_SCALE: f32 = 32.0;
/// Limit of the magnitude of an amplitude's natural logarithm.
pub const MAX_LOG_AMPLITUDE: f32 = 3.0;
/// Exponent applied to the amplitudes. Lower values make the watermark more visible and easier to
/// detect. At 1 it is the least visible, at 0.8 it is detected as well as with the analytic mask.
const AMPLITUDE_EXPONENT: f32 = 0.9;
/// Side, in cells, of the flat grey input from which `flat_amplitude` is computed.
const FLAT_SIDE: usize = 16;

/// The mask network and its sessions.
pub(super) struct MaskNetwork {
    network: Arc<dyn Network>,
    threads: usize,
    sessions: SessionCache,
    /// Amplitude of flat mid-grey.
    pub flat_amplitude: f32,
}

impl MaskNetwork {
    /// Loads the network that is compiled into the library, to run on `threads` threads.
    ///
    /// # Errors
    /// Returns an error if the backend fails.
    pub(super) fn built_in(threads: usize) -> Result<Self, nn::Error> {
        let network = network_cache::load(&BUILT_IN, Device::Cpu, Precision::Fp32, &[SIGNATURE])?;
        let mut mask_network =
            Self { network, threads, sessions: SessionCache::default(), flat_amplitude: 1.0 };
        let grey = Array2::from_elem(
            (FLAT_SIDE, FLAT_SIDE),
            LumaSums { count: 1.0, sum: 128.0, squares: 128.0 * 128.0 },
        );
        let mut amplitudes = Array2::zeros(grey.dim());
        mask_network.run(&grey, &mut amplitudes)?;
        mask_network.flat_amplitude = amplitudes[[FLAT_SIDE / 2, FLAT_SIDE / 2]];
        // The sessions for the grey input would only occupy memory.
        mask_network.sessions = SessionCache::default();
        Ok(mask_network)
    }

    /// Predicts the amplitude of each cell.
    ///
    /// # Errors
    /// Returns an error if the backend fails.
    pub(super) fn run(
        &mut self,
        cells: &Array2<LumaSums>,
        amplitudes: &mut Array2<f32>,
    ) -> Result<(), nn::Error> {
        let (rows, columns) = cells.dim();
        let size = nn::Size { width: columns, height: rows };
        let session = self.sessions.for_input_size(&*self.network, self.threads, size)?;
        session.run(&CellStatistics(cells), &mut PlaneOutput::new(amplitudes, 1, write_amplitudes))
    }
}

/// Network input: mean and standard deviation of each cell, replicated beyond the border.
struct CellStatistics<'a>(&'a Array2<LumaSums>);

impl Source for CellStatistics<'_> {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        let cells = self.0.row(y.min(self.0.nrows() - 1));
        let last = self.0.ncols() - 1;
        for (x, values) in row.chunks_exact_mut(SIGNATURE.io.input_channels()).enumerate() {
            let (mean, sigma) = cells[x.min(last)].statistics();
            values.copy_from_slice(&[(mean - 128.0) / 255.0, sigma / CELL_SIGMA_SCALE]);
        }
    }
}

/// Stores the amplitude of each cell; the network predicts its natural logarithm.
fn write_amplitudes(row: &[f32], _: usize, amplitudes: ArrayViewMut1<'_, f32>) {
    amplitudes.into_iter().zip(row).for_each(|(to, log)| {
        *to = (AMPLITUDE_EXPONENT * log.clamp(-MAX_LOG_AMPLITUDE, MAX_LOG_AMPLITUDE)).exp()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_gives_texture_more_amplitude_than_flat_areas_and_edges() {
        // Texture on the left; flat on the right, with an edge in it.
        let cells = Array2::from_shape_fn((25, 61), |(_, x)| {
            let (mean, sigma) = match x {
                0..20 => (120.0, 12.0f32),
                20..40 => (120.0, 0.3),
                40 => (150.0, 30.0),
                _ => (180.0, 0.3),
            };
            LumaSums {
                count: 16.0,
                sum: 16.0 * mean,
                squares: 16.0 * (mean * mean + sigma * sigma),
            }
        });
        for threads in [1, 2] {
            let mut network = MaskNetwork::built_in(threads).unwrap();
            let mut amplitudes = Array2::zeros(cells.dim());
            network.run(&cells, &mut amplitudes).unwrap();
            let at = |x: usize| amplitudes[[12, x]];
            assert!(at(10) > 2.0 * at(30), "{} {}", at(10), at(30));
            assert!(
                at(44) < 0.7 * at(10) && at(36) < 0.7 * at(10),
                "{} {} {}",
                at(36),
                at(44),
                at(10)
            );
            assert!(
                network.flat_amplitude > 0.0
                    && amplitudes.iter().all(|a| a.is_finite() && *a > 0.0)
            );
        }
    }
}
