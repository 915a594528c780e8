// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes marks of version 1, whose carriers are the same for any picture.

use rayon::prelude::*;

use super::{
    collect::Window,
    convolutional_code::CODED_BITS,
    geometry::Geometry,
    key::Key,
    message::BestMessage,
    pattern::{Carriers, HOPS, Wave},
    plane::Fft2,
    spectra::{CUTOFF_FREQUENCIES, Spectra},
    sync::{best_label, label_scores},
    version::Version,
};

/// Spectra of the residuals of a window at one geometry, summed by the hop label that the pilot
/// shows.
pub(super) struct SpectraByLabel {
    labels: Vec<usize>,
    spectra: Spectra,
}

impl SpectraByLabel {
    /// Computes the spectra.
    pub(super) fn new(waves: &[Wave], window: &Window, geometry: &Geometry, fft: &Fft2) -> Self {
        let mut sums: [Option<ndarray::Array2<f32>>; HOPS] = Default::default();
        for group in &window.groups {
            let label = best_label(&label_scores(waves, &group.residual_sum, geometry));
            match &mut sums[label] {
                Some(sum) => *sum += &group.residual_sum,
                none => *none = Some(group.residual_sum.clone()),
            }
        }
        let (labels, planes): (Vec<_>, Vec<_>) =
            sums.iter().enumerate().filter_map(|(label, sum)| Some((label, sum.as_ref()?))).unzip();
        Self { labels, spectra: Spectra::new(&planes, geometry, waves, fft) }
    }

    /// Decodes at each cutoff frequency and for each of `epochs`, until `accept` returns true for a
    /// message. Returns whether it did.
    pub(super) fn decode(
        &self,
        key: &Key,
        carriers: &Carriers,
        epochs: &[u32],
        fft: &Fft2,
        mut accept: impl FnMut(u32, BestMessage) -> bool,
    ) -> bool {
        CUTOFF_FREQUENCIES.into_iter().any(|cutoff| {
            let planes = self.spectra.filtered(cutoff, fft);
            let decode = |epoch: &u32| {
                let mut soft = [0.0; CODED_BITS];
                for (label, plane) in self.labels.iter().zip(&planes) {
                    carriers.correlate(key, *epoch, *label, plane, &mut soft);
                }
                (*epoch, BestMessage::new(&soft, key, Version::One, *epoch))
            };
            epochs.chunks(rayon::current_num_threads()).any(|epochs| {
                let decoded: Vec<_> = epochs.par_iter().map(decode).collect();
                decoded.into_iter().any(|(epoch, message)| accept(epoch, message))
            })
        })
    }
}
