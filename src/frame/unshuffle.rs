//! Lines of components as networks see them: pixel-unshuffled to half size, as `(level - 128) / 255`.

use ndarray::{ArrayView1, ArrayView2, Axis};

use super::Sample;

pub(crate) const CENTRE: f32 = 128.0;
pub(crate) const SCALE: f32 = 255.0;

/// A sample as networks see it.
#[inline(always)]
fn value<T: Sample>(sample: T) -> f32 {
    (sample.level() - CENTRE) * (1.0 / SCALE)
}

/// Row `y` of a component, or its last.
pub(crate) fn line<'a, T>(component: &'a ArrayView2<'a, T>, y: usize) -> ArrayView1<'a, T> {
    component.index_axis(Axis(0), y.min(component.len_of(Axis(0)) - 1))
}

/// Puts neighbouring samples of a line into channels `first` and `first + 1` of the pixels of `row`.
pub(crate) fn pairs<T: Sample>(line: ArrayView1<'_, T>, row: &mut [f32], channels: usize, first: usize) {
    let mut pixels = row.chunks_exact_mut(channels);
    let put = |pixel: &mut [f32], pair: [T; 2]| {
        pixel[first..first + 2].iter_mut().zip(pair).for_each(|(to, sample)| *to = value(sample));
    };
    let Some(last) = line.last() else { return };
    match line.to_slice() {
        Some(line) => {
            let (pairs, rest) = line.as_chunks();
            pairs.iter().zip(pixels.by_ref()).for_each(|(pair, pixel)| put(pixel, *pair));
            rest.iter().zip(pixels.by_ref()).for_each(|(sample, pixel)| put(pixel, [*sample; 2]));
        }
        None => {
            let pairs = line.exact_chunks(2);
            pairs.into_iter().zip(pixels.by_ref()).for_each(|(pair, pixel)| put(pixel, [pair[0], pair[1]]));
            let rest = line.len() % 2;
            pixels.by_ref().take(rest).for_each(|pixel| put(pixel, [*last; 2]));
        }
    }
    pixels.for_each(|pixel| put(pixel, [*last; 2]));
}

/// Puts the samples of a line into channel `channel` of the pixels of `row`.
pub(crate) fn singles<T: Sample>(line: ArrayView1<'_, T>, row: &mut [f32], channels: usize, channel: usize) {
    let Some(last) = line.last() else { return };
    let mut pixels = row.chunks_exact_mut(channels);
    line.iter().zip(pixels.by_ref()).for_each(|(sample, pixel)| pixel[channel] = value(*sample));
    pixels.for_each(|pixel| pixel[channel] = value(*last));
}
