// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures of single frames, their differences, and PNG files of them.

use gst_video::{VideoFormat, VideoFrameRef, VideoInfo, prelude::*};

use crate::{
    error::{Result, failed},
    media::{Input, frames::Frames},
    stop::Stop,
};

/// Longest time for the conversion of a picture.
const TIMEOUT: Option<gst::ClockTime> = Some(gst::ClockTime::from_seconds(60));
/// Largest width and height of a picture; of a larger frame, the worst part is shown.
const LARGEST: [usize; 2] = [960, 540];
/// Side of the blocks in which the worst part of a frame is looked for.
const BLOCK: usize = 16;
/// Largest amplification of differences.
const MOST_GAIN: u8 = 32;
/// Share of the samples whose amplified difference must fit.
const FITTING: f64 = 0.999;

/// A picture in RGB of 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rgb {
    pub(super) width: usize,
    pub(super) height: usize,
    samples: Vec<u8>,
}

/// A part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) x: usize,
    pub(super) y: usize,
    width: usize,
    height: usize,
}

/// Returns the frames of a video that are nearest to some running times, which increase.
///
/// # Errors
/// The video cannot be decoded, a frame has no timestamp, or a signal arrives.
pub(super) fn at_times(input: &Input, times: &[u64], stop: &Stop) -> Result<Vec<Rgb>> {
    let mut frames = Frames::of_input(input, "identity", stop)?;
    let mut pictures = Vec::new();
    let mut before = None;
    while pictures.len() < times.len()
        && let Some(frame) = frames.next()?
    {
        while let Some(time) = times.get(pictures.len())
            && frame.running_time >= *time
        {
            let is_nearer = |(other, _): &(u64, _)| time - other < frame.running_time - time;
            let nearest = before.as_ref().filter(|before| is_nearer(before));
            pictures.push(Rgb::of(nearest.map_or(&frame.sample, |(_, sample)| sample))?);
        }
        before = Some((frame.running_time, frame.sample));
    }
    // The times that are left lie behind the last frame.
    if let Some((_, last)) = before {
        let last = Rgb::of(&last)?;
        pictures.resize(times.len(), last);
    }
    match pictures.len() == times.len() {
        true => Ok(pictures),
        false => Err(failed!("{} has no video frame at its second reading", input.name())),
    }
}

impl Rgb {
    /// Converts a frame.
    fn of(sample: &gst::Sample) -> Result<Self> {
        let caps = gst::Caps::builder("video/x-raw").field("format", "RGB").build();
        let converted = gst_video::convert_sample(sample, &caps, TIMEOUT)?;
        let caps = converted.caps().ok_or_else(|| failed!("a frame has no format"))?;
        let info = VideoInfo::from_caps(caps)?;
        let buffer = converted.buffer().ok_or_else(|| failed!("a frame has no samples"))?;
        let frame = VideoFrameRef::from_buffer_ref_readable(buffer, &info)?;
        let (width, height) = (info.width() as usize, info.height() as usize);
        let plane = frame.plane_data(0)?;
        let rows = plane.chunks(frame.plane_stride()[0] as usize).take(height);
        let samples = rows.flat_map(|row| &row[..width * 3]).copied().collect();
        Ok(Self { width, height, samples })
    }

    /// Returns a part of the picture.
    pub(super) fn part(&self, part: Part) -> Self {
        let rows = self.samples.chunks(self.width * 3).skip(part.y).take(part.height);
        let samples = rows.flat_map(|row| &row[part.x * 3..][..part.width * 3]).copied().collect();
        Self { width: part.width, height: part.height, samples }
    }

    /// Returns the picture as a PNG file.
    ///
    /// # Errors
    /// The encoder is missing.
    pub(super) fn to_png(&self) -> Result<Vec<u8>> {
        let info =
            VideoInfo::builder(VideoFormat::Rgb, self.width as u32, self.height as u32).build()?;
        let mut data = vec![0; info.size()];
        let rows = data.chunks_mut(info.stride()[0] as usize);
        for (to, row) in rows.zip(self.samples.chunks(self.width * 3)) {
            to[..row.len()].copy_from_slice(row);
        }
        let (buffer, caps) = (gst::Buffer::from_mut_slice(data), info.to_caps()?);
        let sample = gst::Sample::builder().buffer(&buffer).caps(&caps).build();
        let png = gst::Caps::new_empty_simple("image/png");
        let converted = gst_video::convert_sample(&sample, &png, TIMEOUT).map_err(|err| {
            failed!(
                "cannot encode a PNG file ({}): install the package gstreamer1.0-plugins-good",
                err.message()
            )
        })?;
        let buffer = converted.buffer().ok_or_else(|| failed!("the PNG encoder gives no data"))?;
        Ok(buffer.map_readable()?.to_vec())
    }
}

/// Returns the part of a frame to show: all of it, or that with the largest error.
pub(super) fn worst_part(reference: &Rgb, test: &Rgb) -> Part {
    let (width, height) = (reference.width, reference.height);
    let [part_width, part_height] = [width.min(LARGEST[0]), height.min(LARGEST[1])];
    let sums = block_sums(reference, test);
    // The last place ends with the frame, so it may begin within a block.
    let last = [(width - part_width).div_ceil(BLOCK), (height - part_height).div_ceil(BLOCK)];
    let blocks = [part_width.div_ceil(BLOCK), part_height.div_ceil(BLOCK)];
    let error = |&(row, column): &(usize, usize)| -> u64 {
        let rows = sums.iter().skip(row).take(blocks[1]);
        rows.flat_map(|row| row.iter().skip(column).take(blocks[0])).sum()
    };
    let places = (0..=last[1]).flat_map(|row| (0..=last[0]).map(move |column| (row, column)));
    let (row, column) = places.max_by_key(error).unwrap_or_default();
    Part {
        x: (column * BLOCK).min(width - part_width),
        y: (row * BLOCK).min(height - part_height),
        width: part_width,
        height: part_height,
    }
}

/// Returns the sums of the squared differences of blocks.
fn block_sums(reference: &Rgb, test: &Rgb) -> Vec<Vec<u64>> {
    let (width, height) = (reference.width, reference.height);
    let mut sums = vec![vec![0; width.div_ceil(BLOCK)]; height.div_ceil(BLOCK)];
    let pairs = reference.samples.iter().zip(&test.samples).enumerate();
    for (i, (a, b)) in pairs {
        let (x, y) = (i / 3 % width, i / 3 / width);
        sums[y / BLOCK][x / BLOCK] += u64::from(a.abs_diff(*b)).pow(2);
    }
    sums
}

/// Returns the power of two by which nearly all differences can be amplified.
pub(super) fn gain(pairs: &[[Rgb; 2]]) -> u8 {
    let mut counts = [0u64; 256];
    for [reference, test] in pairs {
        for (a, b) in reference.samples.iter().zip(&test.samples) {
            counts[usize::from(a.abs_diff(*b))] += 1;
        }
    }
    let enough = (counts.iter().sum::<u64>() as f64 * FITTING) as u64;
    let mut below = 0;
    let largest = counts.iter().position(|count| {
        below += count;
        below >= enough
    });
    let mut gain = 1;
    while gain < MOST_GAIN && largest.unwrap_or(0) * usize::from(gain) * 2 <= 127 {
        gain *= 2;
    }
    gain
}

/// Returns test minus reference, amplified, around grey.
pub(super) fn difference(reference: &Rgb, test: &Rgb, gain: u8) -> Rgb {
    let pairs = reference.samples.iter().zip(&test.samples);
    let amplified = |(a, b): (&u8, &u8)| {
        let difference = i32::from(*b) - i32::from(*a);
        (128 + i32::from(gain) * difference).clamp(0, 255) as u8
    };
    Rgb {
        width: reference.width,
        height: reference.height,
        samples: pairs.map(amplified).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize) -> Rgb {
        Rgb { width, height, samples: vec![100; width * height * 3] }
    }

    #[test]
    fn the_worst_part_has_the_error() {
        let reference = grey(1920, 1080);
        let mut test = reference.clone();
        test.samples[(1000 * 1920 + 1800) * 3] = 140;
        let part = worst_part(&reference, &test);
        assert!((part.x..part.x + part.width).contains(&1800), "{part:?}");
        assert!((part.y..part.y + part.height).contains(&1000), "{part:?}");
        assert!(part.x + part.width <= 1920 && part.y + part.height <= 1080, "{part:?}");
        let [a, b] = [&reference, &test].map(|picture| picture.part(part));
        assert_eq!(difference(&a, &b, 2).samples.iter().filter(|s| **s == 208).count(), 1);
        let mut below = reference.clone();
        below.samples[(1079 * 1920 + 1919) * 3] = 200;
        let part = worst_part(&reference, &below);
        assert_eq!((part.x + part.width, part.y + part.height), (1920, 1080), "{part:?}");
        let small = grey(5, 3);
        assert_eq!(worst_part(&small, &small), Part { x: 0, y: 0, width: 5, height: 3 });
    }

    #[test]
    fn gains_fit_the_differences() {
        let reference = grey(64, 64);
        for (change, expected) in [(0, 32), (1, 32), (4, 16), (63, 2), (64, 1), (155, 1)] {
            let mut test = reference.clone();
            test.samples.iter_mut().for_each(|sample| *sample += change);
            assert_eq!(gain(&[[reference.clone(), test]]), expected, "{change}");
        }
    }
}
