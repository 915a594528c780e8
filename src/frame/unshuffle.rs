//! Lines of components as networks see them: pixel-unshuffled to half size, as `(level - 128) / 255`.

use ndarray::{ArrayView1, ArrayView2, Axis};

use super::Sample;

pub(crate) const CENTRE: f32 = 128.0;
pub(crate) const SCALE: f32 = 255.0;

/// Row `y` of a component, or its last.
pub(crate) fn line<'a, T>(component: &'a ArrayView2<'a, T>, y: usize) -> ArrayView1<'a, T> {
    component.index_axis(Axis(0), y.min(component.len_of(Axis(0)) - 1))
}

/// Puts neighbouring samples of a line into channels `first` and `first + 1` of the pixels of `row`.
pub(crate) fn pairs<T: Sample>(line: ArrayView1<'_, T>, row: &mut [f32], channels: usize, first: usize) {
    let mut samples = line.iter();
    let mut last = CENTRE;
    for pixel in row.chunks_exact_mut(channels) {
        for value in &mut pixel[first..first + 2] {
            last = samples.next().map_or(last, |sample| sample.level());
            *value = (last - CENTRE) / SCALE;
        }
    }
}

/// Puts the samples of a line into channel `channel` of the pixels of `row`.
pub(crate) fn singles<T: Sample>(line: ArrayView1<'_, T>, row: &mut [f32], channels: usize, channel: usize) {
    let mut samples = line.iter();
    let mut last = CENTRE;
    for pixel in row.chunks_exact_mut(channels) {
        last = samples.next().map_or(last, |sample| sample.level());
        pixel[channel] = (last - CENTRE) / SCALE;
    }
}
