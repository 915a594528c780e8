// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversion of rows of components to network input: pixel-unshuffled to half size and normalised
//! to `(code value - 128) / 255`.

use ndarray::{ArrayView1, ArrayView2, Axis};

use super::Sample;

/// Code value that is 0 in network input.
pub(crate) const INPUT_ZERO: f32 = 128.0;
/// Code values per unit of network input.
pub(crate) const INPUT_SCALE: f32 = 255.0;

/// Returns the normalised value of a sample.
#[inline(always)]
fn normalise<T: Sample>(sample: T) -> f32 {
    (sample.code_value() - INPUT_ZERO) * (1.0 / INPUT_SCALE)
}

/// Returns row `y` of a component, or the last row if `y` is beyond it (replicate border).
pub(crate) fn row_clamped<'a, T>(component: &'a ArrayView2<'a, T>, y: usize) -> ArrayView1<'a, T> {
    component.index_axis(Axis(0), y.min(component.len_of(Axis(0)) - 1))
}

/// Fills the first six of `N` channels from a 4:2:0 picture: Y of 2x2 pixels, U, V.
///
/// `luma` are two rows, `chroma` a row of U and one of V; without `chroma`, U and V are 0.
/// Replicates the last samples of the rows.
#[inline(always)]
pub(crate) fn unshuffle_yuv420<T: Sample, const N: usize>(
    luma: [ArrayView1<'_, T>; 2],
    chroma: Option<[ArrayView1<'_, T>; 2]>,
    row: &mut [[f32; N]],
) {
    let put = |pixel: &mut [f32; N], [a, b]: [[T; 2]; 2], [u, v]: [f32; 2]| {
        let values = [normalise(a[0]), normalise(a[1]), normalise(b[0]), normalise(b[1]), u, v];
        pixel.iter_mut().zip(values).for_each(|(to, v)| *to = v);
    };
    let mut done = 0;
    if let [Some(above), Some(below)] = luma.each_ref().map(|line| line.to_slice()) {
        let pairs = above.as_chunks::<2>().0.iter().zip(below.as_chunks::<2>().0);
        match chroma.map(|lines| lines.map(|line| line.to_slice())) {
            None => {
                done = pairs.len().min(row.len());
                row.iter_mut()
                    .zip(pairs)
                    .for_each(|(pixel, (a, b))| put(pixel, [*a, *b], [0.0; 2]));
            }
            Some([Some(u), Some(v)]) => {
                done = pairs.len().min(u.len()).min(row.len());
                for (pixel, ((a, b), (u, v))) in row.iter_mut().zip(pairs.zip(u.iter().zip(v))) {
                    put(pixel, [*a, *b], [normalise(*u), normalise(*v)]);
                }
            }
            // Interleaved chroma is not contiguous; the loop below reads it.
            Some(_) => {}
        }
    }
    let at = |line: &ArrayView1<'_, T>, x: usize| line[x.min(line.len() - 1)];
    for (x, pixel) in row.iter_mut().enumerate().skip(done) {
        let pair = |line: &ArrayView1<'_, T>| [at(line, 2 * x), at(line, 2 * x + 1)];
        let chroma =
            chroma.map_or([0.0; 2], |lines| lines.each_ref().map(|line| normalise(at(line, x))));
        put(pixel, luma.each_ref().map(pair), chroma);
    }
}

/// Writes each pair of neighbouring samples of `line` to the channels `first` and `first + 1` of a
/// pixel of `row`, which has `channels` channels. Replicates the last sample.
pub(crate) fn unshuffle_row<T: Sample>(
    line: ArrayView1<'_, T>,
    row: &mut [f32],
    channels: usize,
    first: usize,
) {
    let mut pixels = row.chunks_exact_mut(channels);
    let put = |pixel: &mut [f32], pair: [T; 2]| {
        pixel[first..first + 2]
            .iter_mut()
            .zip(pair)
            .for_each(|(to, sample)| *to = normalise(sample));
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
            pairs
                .into_iter()
                .zip(pixels.by_ref())
                .for_each(|(pair, pixel)| put(pixel, [pair[0], pair[1]]));
            let rest = line.len() % 2;
            pixels.by_ref().take(rest).for_each(|pixel| put(pixel, [*last; 2]));
        }
    }
    pixels.for_each(|pixel| put(pixel, [*last; 2]));
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    #[test]
    fn yuv420_path_matches_generic_path() {
        let luma = Array2::from_shape_fn((2, 13), |(y, x)| (17 * y + 5 * x) as u8);
        let chroma = Array2::from_shape_fn((2, 14), |(y, x)| (90 + 3 * y + 7 * x) as u8);
        let apart = [s![0, ..7], s![1, ..7]].map(|part| chroma.slice(part));
        let interleaved = [s![0, ..;2], s![0, 1..;2]].map(|part| chroma.slice(part));
        for [u, v] in [apart, interleaved] {
            let lines = [luma.row(0), luma.row(1)];
            let mut ours = [[f32::NAN; 7]; 9];
            unshuffle_yuv420(lines, Some([u, v]), &mut ours);
            let mut expected = vec![f32::NAN; 7 * 9];
            unshuffle_row(lines[0], &mut expected, 7, 0);
            unshuffle_row(lines[1], &mut expected, 7, 2);
            for (x, pixel) in expected.chunks_exact_mut(7).enumerate() {
                [pixel[4], pixel[5]] = [u, v].map(|line| normalise(line[x.min(line.len() - 1)]));
            }
            for (ours, expected) in ours.iter().zip(expected.chunks(7)) {
                assert_eq!(ours[..6], expected[..6]);
            }
            unshuffle_yuv420(lines, None, &mut ours);
            assert!(
                ours.iter()
                    .zip(expected.chunks(7))
                    .all(|(a, b)| a[..4] == b[..4] && a[4..6] == [0.0; 2])
            );
        }
    }
}
