// SPDX-License-Identifier: MIT OR Apache-2.0

//! Raw video frames in memory.

use cnnvideo::frame::{Format, Picture, Plane, luma::rgb_to_luma};
use gst_video::{VideoFormat, VideoInfo};
use image::RgbImage;
use ndarray::Array2;

use cnnvideo::frame::luma::yuv_to_rgb;

use crate::{Noise, Result};

/// A frame in RGB or I420, with GStreamer's default strides.
#[derive(Clone)]
pub struct RawFrame {
    info: VideoInfo,
    bytes: Vec<u8>,
}

impl RawFrame {
    /// Copies interleaved RGB of `size` (width, height).
    ///
    /// # Errors
    /// GStreamer does not support the size.
    pub fn from_rgb(rgb: &[u8], size: (u32, u32)) -> Result<Self> {
        let info = VideoInfo::builder(VideoFormat::Rgb, size.0, size.1).build()?;
        let mut frame = Self { bytes: vec![0; info.size()], info };
        let length = 3 * size.0 as usize;
        frame.rows_mut(0).zip(rgb.chunks(length)).for_each(|(to, from)| to.copy_from_slice(from));
        Ok(frame)
    }

    /// Copies an RGB image.
    ///
    /// # Errors
    /// GStreamer does not support the size.
    pub fn from_image(image: &RgbImage) -> Result<Self> {
        Self::from_rgb(image.as_raw(), image.dimensions())
    }

    /// Converts an image to I420 (ITU-R BT.601, limited range) and crops it to an even size. Each
    /// chroma sample is the mean of four pixels.
    ///
    /// # Errors
    /// GStreamer does not support the size.
    pub fn i420_from_image(image: &RgbImage) -> Result<Self> {
        const CHROMA_WEIGHTS: [[f32; 3]; 2] =
            [[-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]];
        let (width, height) = (image.width() & !1, image.height() & !1);
        let info = VideoInfo::builder(VideoFormat::I420, width, height).build()?;
        let mut frame = Self { bytes: vec![0; info.size()], info };
        let rgb = |x: usize, y: usize| image.get_pixel(x as u32, y as u32).0.map(f32::from);
        for (y, row) in frame.rows_mut(0).enumerate() {
            for (x, sample) in row.iter_mut().enumerate() {
                let [r, g, b] = rgb(x, y);
                *sample = (16.5 + 0.2568 * r + 0.5041 * g + 0.0979 * b) as u8;
            }
        }
        for (i, weights) in CHROMA_WEIGHTS.into_iter().enumerate() {
            for (y, row) in frame.rows_mut(1 + i).enumerate() {
                for (x, sample) in row.iter_mut().enumerate() {
                    let (x, y) = (2 * x, 2 * y);
                    let sum = |c: usize| {
                        rgb(x, y)[c] + rgb(x + 1, y)[c] + rgb(x, y + 1)[c] + rgb(x + 1, y + 1)[c]
                    };
                    let value = (0..3).map(|c| weights[c] * 0.25 * sum(c)).sum::<f32>();
                    *sample = (128.5 + value) as u8;
                }
            }
        }
        Ok(frame)
    }

    /// Rounds a plane of luma to 8 bits and returns it as I420 without colour.
    ///
    /// # Errors
    /// GStreamer does not support the size.
    pub fn from_luma(luma: &Array2<f32>) -> Result<Self> {
        let (height, width) = luma.dim();
        let info = VideoInfo::builder(VideoFormat::I420, width as u32, height as u32).build()?;
        let mut frame = Self { bytes: vec![128; info.size()], info };
        for (to, from) in frame.rows_mut(0).zip(luma.rows()) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from.round() as u8);
        }
        Ok(frame)
    }

    /// Copies the frame of a sample, without the padding of its producer.
    ///
    /// # Errors
    /// The sample has no RGB or I420 frame.
    pub fn from_sample(sample: &gst::Sample) -> Result<Self> {
        let info = VideoInfo::from_caps(sample.caps().ok_or("the sample has no caps")?)?;
        if !matches!(info.format(), VideoFormat::Rgb | VideoFormat::I420) {
            return Err(format!("{} is neither RGB nor I420", info.format()).into());
        }
        let buffer = sample.buffer_owned().ok_or("the sample has no buffer")?;
        let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &info)
            .map_err(|_| "the buffer does not hold a frame of its caps")?;
        let info = VideoInfo::builder(info.format(), info.width(), info.height()).build()?;
        let buffer = gst::Buffer::with_size(info.size())?;
        let mut copy = gst_video::VideoFrame::from_buffer_writable(buffer, &info)
            .map_err(|_| "the new buffer cannot be mapped")?;
        frame.copy(&mut copy)?;
        let bytes = copy.into_buffer().map_readable()?.to_vec();
        Ok(Self { info, bytes })
    }

    /// Returns the format and size.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// Returns the memory, in the layout of [`Self::info`].
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.info.width(), self.info.height())
    }

    /// Returns the length of a plane's rows in bytes, without padding.
    fn row_length(&self, plane: usize) -> usize {
        let component = plane as u8;
        if self.info.is_rgb() {
            3 * self.info.width() as usize
        } else {
            self.info.comp_width(component) as usize
        }
    }

    /// Returns the rows of a plane without their padding.
    fn rows_mut(&mut self, plane: usize) -> impl Iterator<Item = &mut [u8]> {
        let length = self.row_length(plane);
        let (offset, stride) = (self.info.offset()[plane], self.info.stride()[plane] as usize);
        let height = self.info.comp_height(plane as u8) as usize;
        self.bytes[offset..].chunks_mut(stride).take(height).map(move |row| &mut row[..length])
    }

    /// Returns the samples of the first plane without padding: interleaved R, G and B, or luma.
    pub fn first_plane(&self) -> Vec<u8> {
        let length = self.row_length(0);
        let (offset, stride) = (self.info.offset()[0], self.info.stride()[0] as usize);
        let rows = self.bytes[offset..].chunks(stride).take(self.info.height() as usize);
        rows.flat_map(|row| &row[..length]).copied().collect()
    }

    /// Adds noise of standard deviation `sigma` to R, G and B, or to luma.
    pub fn add_noise(&mut self, sigma: f32, noise: &mut Noise) {
        self.rows_mut(0).for_each(|row| noise.add(row, sigma));
    }

    /// Returns a view for the library.
    ///
    /// # Errors
    /// The frame is too large for the library.
    pub fn view(&self) -> Result<Picture<'_, u8>> {
        let (width, height) = (self.info.width() as usize, self.info.height() as usize);
        let format = if self.info.is_rgb() { Format::RGB } else { Format::I420 };
        let planes: Vec<_> = (0..self.info.n_planes() as usize)
            .map(|i| {
                Plane::new(&self.bytes[self.info.offset()[i]..], self.info.stride()[i] as usize)
            })
            .collect();
        Ok(Picture::new(format, width, height, &planes)?)
    }

    /// Returns luma in limited range; converts RGB frames (ITU-R BT.601).
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn luma(&self) -> Result<Array2<f32>> {
        let components = self.view()?.components;
        Ok(if self.info.is_rgb() {
            let at = |(y, x): (usize, usize)| {
                rgb_to_luma([0, 1, 2].map(|i| f32::from(components[i][[y, x]])))
            };
            Array2::from_shape_fn(components[0].dim(), at)
        } else {
            components[0].mapv(f32::from)
        })
    }

    /// Converts the frame to an RGB image.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn to_image(&self) -> Result<RgbImage> {
        let view = self.view()?;
        let (width, height) = view.size();
        let at = |i: usize, x: usize, y: usize| {
            let component = &view.components[i];
            let (rows, columns) = component.dim();
            f32::from(component[[y * rows / height, x * columns / width]])
        };
        Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let values = [0, 1, 2].map(|i| at(i, x as usize, y as usize));
            let rgb = if self.info.is_rgb() { values } else { yuv_to_rgb(values) };
            image::Rgb(rgb.map(|v| v as u8))
        }))
    }
}
