// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decodes marks of version 1, whose carriers are the same for any picture.

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

/// Decodes a window at one geometry, at each cutoff frequency and for each of `epochs`, until
/// `accept` returns true for a message. Returns whether it did.
pub(super) fn decode(
    key: &Key,
    waves: &[Wave],
    epochs: impl Iterator<Item = u32> + Clone,
    window: &Window,
    geometry: &Geometry,
    fft: &mut Fft2,
    mut accept: impl FnMut(u32, BestMessage) -> bool,
) -> bool {
    let carriers = Carriers::new(key);
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
    let spectra = Spectra::new(&planes, geometry, waves, fft);
    CUTOFF_FREQUENCIES.into_iter().any(|cutoff| {
        let planes = spectra.filtered(cutoff, fft);
        epochs.clone().any(|epoch| {
            let mut soft = [0.0; CODED_BITS];
            for (label, plane) in labels.iter().zip(&planes) {
                carriers.correlate(key, epoch, *label, plane, &mut soft);
            }
            accept(epoch, BestMessage::new(&soft, key, Version::One, epoch))
        })
    })
}
