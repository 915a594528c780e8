// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversion of demosaicked planes to the format of the output.

use ndarray::{ArrayViewMut1, Axis};
use rayon::prelude::*;

use super::{io::RgbPlanes, raw::Grid};
use crate::{
    frame::{Colour, PictureMut, Sample},
    nn::Threads,
    simd::vectorise,
};

/// Conversion from red, green and blue to luma and chroma.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct YuvEncoding {
    /// Weights of red and of blue in luma, see ITU-R BT.709.
    pub weights: [f32; 2],
    /// Whether code values use the full range of 0 to 255, and not 16 to 235 and 16 to 240.
    pub full_range: bool,
    /// Whether subsampled chroma lies at the left one of its pixels (MPEG-2), and not in the middle
    /// between them (JPEG).
    pub left_chroma: bool,
}

impl Default for YuvEncoding {
    /// Returns the encoding of HD video: BT.709, limited range.
    fn default() -> Self {
        Self { weights: [0.2126, 0.0722], full_range: false, left_chroma: true }
    }
}

impl YuvEncoding {
    /// Returns the weights of red, green and blue in Y, U and V, and the offset of each.
    fn matrix(&self) -> [[f32; 4]; 3] {
        let [red, blue] = self.weights;
        let luma = [red, 1.0 - red - blue, blue];
        let (luma_scale, chroma_scale, black) =
            if self.full_range { (1.0, 1.0, 0.0) } else { (219.0 / 255.0, 224.0 / 255.0, 16.0) };
        let chroma = |colour: usize| {
            let scale = 0.5 * chroma_scale / (1.0 - luma[colour]);
            let weight = |i| scale * (f32::from(u8::from(i == colour)) - luma[i]);
            [weight(0), weight(1), weight(2), 128.0]
        };
        let [r, g, b] = luma.map(|weight| luma_scale * weight);
        [[r, g, b, black], chroma(2), chroma(0)]
    }
}

/// Writes a demosaicked picture to `output`, which has the size of the frame.
pub(super) fn write<T: Sample>(
    planes: &RgbPlanes,
    grid: &Grid,
    encoding: &YuvEncoding,
    output: &mut PictureMut<'_, T>,
    threads: &Threads,
) {
    let source = RgbRows { planes, offset: grid.offset };
    match output.colour {
        Colour::Rgb => write_rgb(&source, output, threads),
        Colour::Gray => write_yuv(&source, [1; 2], encoding, output, threads),
        Colour::Yuv { shift_x, shift_y } => {
            write_yuv(&source, [1 << shift_x, 1 << shift_y], encoding, output, threads);
        }
    }
}

/// Rows of a demosaicked picture.
struct RgbRows<'a> {
    planes: &'a RgbPlanes,
    /// Rows and columns of the planes before the picture.
    offset: [usize; 2],
}

/// Code values of a row.
type RgbLine = [Vec<f32>; 3];

impl RgbRows<'_> {
    /// Converts a row of `width` pixels to code values.
    fn read(&self, y: usize, width: usize, line: &mut RgbLine) {
        let [above, before] = self.offset;
        for (samples, values) in self.planes.row(y + above).into_iter().zip(line) {
            values.resize(width, 0.0);
            let samples = &samples[before..][..width];
            vectorise(
                #[inline(always)]
                || values.iter_mut().zip(samples).for_each(|(v, sample)| *v = sample.code_value()),
            );
        }
    }
}

/// Writes red, green and blue.
fn write_rgb<T: Sample>(source: &RgbRows<'_>, output: &mut PictureMut<'_, T>, threads: &Threads) {
    let [red, green, blue] = &mut output.components[..] else {
        unreachable!("RGB has three components")
    };
    let rows = red.axis_iter_mut(Axis(0)).into_par_iter();
    let rows = rows.zip(green.axis_iter_mut(Axis(0))).zip(blue.axis_iter_mut(Axis(0)));
    threads.enter(|| {
        rows.enumerate().for_each_init(RgbLine::default, |line, (y, ((red, green), blue))| {
            source.read(y, red.len(), line);
            let rows = [red, green, blue].into_iter().zip(&*line);
            rows.for_each(|(row, values)| store(values, row));
        });
    });
}

/// Writes luma and chroma, of which each sample belongs to `block` (columns, rows) pixels.
fn write_yuv<T: Sample>(
    source: &RgbRows<'_>,
    block: [usize; 2],
    encoding: &YuvEncoding,
    output: &mut PictureMut<'_, T>,
    threads: &Threads,
) {
    let [luma, u, v] = encoding.matrix();
    let (height, width) = output.components[0].dim();
    let [columns, rows] = block;
    let mut components = output.components.iter_mut();
    let bands = components.next().expect("there is luma").axis_chunks_iter_mut(Axis(0), rows);
    let bands: Vec<_> = bands.collect();
    let chroma = components.map(|chroma| chroma.axis_iter_mut(Axis(0)).collect::<Vec<_>>());
    let mut chroma = chroma.map(Vec::into_iter).collect::<Vec<_>>();
    let bands: Vec<_> = bands
        .into_iter()
        .map(|luma| (luma, chroma.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()))
        .collect();
    threads.enter(|| {
        bands.into_par_iter().enumerate().for_each_init(
            Scratch::default,
            |Scratch { line, sums, values }, (band, (mut luma_rows, chroma))| {
                let first = band * rows;
                let count = rows.min(height - first);
                sums.iter_mut().for_each(|sum| sum.clear());
                for (dy, row) in luma_rows.rows_mut().into_iter().enumerate() {
                    source.read(first + dy, width, line);
                    combine(line, &luma, values);
                    store(values, row);
                    accumulate(line, 1.0 / count as f32, sums);
                }
                for (row, weights) in chroma.into_iter().zip([&u, &v]) {
                    combine(sums, weights, values);
                    reduce(values, columns, encoding.left_chroma);
                    store(values, row);
                }
            },
        );
    });
}

/// Buffers of [`write_yuv`].
#[derive(Default)]
struct Scratch {
    line: RgbLine,
    /// Means of the rows of a block.
    sums: RgbLine,
    values: Vec<f32>,
}

/// Adds a row times `share` to `sums`, which are empty before the first one.
fn accumulate(line: &RgbLine, share: f32, sums: &mut RgbLine) {
    for (values, sums) in line.iter().zip(sums) {
        sums.resize(values.len(), 0.0);
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
    }
}

/// Writes the weighted sum of red, green and blue of a row to `values`.
fn combine([red, green, blue]: &RgbLine, [r, g, b, offset]: &[f32; 4], values: &mut Vec<f32>) {
    values.resize(red.len(), 0.0);
    vectorise(
        #[inline(always)]
        || {
            for (x, value) in values.iter_mut().enumerate() {
                *value = r * red[x] + g * green[x] + b * blue[x] + offset;
            }
        },
    );
}

/// Reduces a row by `columns` (1 or 2).
fn reduce(values: &mut Vec<f32>, columns: usize, is_left: bool) {
    if columns == 1 {
        return;
    }
    let (width, last) = (values.len(), values.len() - 1);
    let mut before = values[0];
    for i in 0..width.div_ceil(2) {
        let (here, after) = (values[2 * i], values[(2 * i + 1).min(last)]);
        values[i] =
            if is_left { 0.25 * (before + after) + 0.5 * here } else { 0.5 * (here + after) };
        before = after;
    }
    values.truncate(width.div_ceil(2));
}

/// Stores code values as samples.
fn store<T: Sample>(values: &[f32], mut row: ArrayViewMut1<'_, T>) {
    match row.as_slice_mut() {
        Some(row) => vectorise(
            #[inline(always)]
            || row.iter_mut().zip(values).for_each(|(to, v)| *to = T::from_code_value(*v)),
        ),
        None => row.iter_mut().zip(values).for_each(|(to, v)| *to = T::from_code_value(*v)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_map_white_and_primaries_as_the_standards_do() {
        let convert = |encoding: YuvEncoding, rgb: [f32; 3]| {
            encoding.matrix().map(|[r, g, b, offset]| {
                (r * rgb[0] + g * rgb[1] + b * rgb[2] + offset).round() as i32
            })
        };
        let hd = YuvEncoding::default();
        assert_eq!(convert(hd, [255.0; 3]), [235, 128, 128]);
        assert_eq!(convert(hd, [0.0; 3]), [16, 128, 128]);
        assert_eq!(convert(hd, [0.0, 0.0, 255.0]), [32, 240, 118]);
        assert_eq!(convert(hd, [255.0, 0.0, 0.0]), [63, 102, 240]);
        let jpeg = YuvEncoding { weights: [0.299, 0.114], full_range: true, left_chroma: false };
        assert_eq!(convert(jpeg, [255.0; 3]), [255, 128, 128]);
        assert_eq!(convert(jpeg, [0.0, 255.0, 0.0]), [150, 44, 21]);
    }

    #[test]
    fn chroma_is_reduced_at_its_place() {
        let slope: Vec<f32> = (0..7).map(|x| x as f32).collect();
        let reduced = |is_left| {
            let mut values = slope.clone();
            reduce(&mut values, 2, is_left);
            values
        };
        assert_eq!(reduced(true), [0.25, 2.0, 4.0, 5.75]);
        assert_eq!(reduced(false), [0.5, 2.5, 4.5, 6.0]);
    }
}
