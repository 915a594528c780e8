// SPDX-License-Identifier: MIT OR Apache-2.0

//! Video denoising, structure-aware smoothing, interactive segmentation, watermarking and quality
//! measurement on [`ndarray`] views of frames, without GStreamer.
//!
//! # Overview
//!
//! * [`frame`]: typed views of the components of a frame, for planar, semi-planar and packed
//!   formats of 8 and 10 bits with any strides. All algorithms read [`frame::Picture`] and write
//!   [`frame::PictureMut`].
//! * [`denoise`]: noise estimation, temporal fusion and denoising networks.
//! * [`smooth`]: removes texture up to a chosen scale and keeps edges.
//! * [`deband`]: removes false contours from gradients.
//! * [`segment`]: predicts regions from clicks, scribbles and boxes and follows them through video.
//! * [`watermark`]: embeds and detects a keyed payload of 64 bits.
//! * [`quality`]: PSNR, SSIM and other measures, and a panel that shows them.
//! * [`nn`]: the inference core, re-exported from `cnnvideo-nn`.
//!
//! The networks are compiled into the library. They run on the CPU, or with the feature `torch` on
//! CUDA devices. A processor (such as [`denoise::Denoiser`]) belongs to one stream and keeps its
//! temporal state; loaded networks are shared.
//!
//! # Denoise an image
//!
//! Pixels are in memory as R, G and B, for example from the crate `image`. The denoiser estimates
//! the noise sigma of the image:
//!
//! ```
//! use cnnvideo::{
//!     denoise::{BitDepth, Networks, Parameters, Quality},
//!     frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
//!     nn::{Device, Precision},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (width, height) = (96, 64);
//! let noisy: Vec<u8> = (0..3 * width * height).map(|i| (120 + i * i % 17) as u8).collect();
//!
//! let input = Picture::new(Format::RGB, width, height, &[Plane::new(&noisy, 3 * width)])?;
//! let mut clean = vec![0; noisy.len()];
//! let plane = PlaneMut::new(&mut clean, 3 * width);
//! let mut output = PictureMut::new(Format::RGB, width, height, [plane])?;
//!
//! let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto)?;
//! let mut denoiser = networks.denoiser(input.colour, BitDepth::Eight, 0)?;
//! let parameters = Parameters { temporal: false, ..Parameters::default() };
//! let sigmas = denoiser.process(&input, &mut output, &parameters, None, Field::First)?;
//! println!("removed noise of sigma {:.1}", sigmas.main);
//! # assert_ne!(noisy, clean);
//! # Ok(())
//! # }
//! ```
//!
//! # Denoise the frames of a video
//!
//! One denoiser processes all frames of a stream, so that it can fuse each frame with the previous
//! ones. The planes of I420 are Y, U and V:
//!
//! ```
//! # use cnnvideo::{
//! #     denoise::{BitDepth, Networks, Parameters, Quality},
//! #     frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
//! #     nn::{Device, Precision},
//! # };
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (width, height) = (64, 48);
//! # let frames = vec![[vec![90u8; 64 * 48], vec![128; 32 * 24], vec![128; 32 * 24]]; 3];
//! let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto)?;
//! let mut denoiser = networks.denoiser(Format::I420.colour(), BitDepth::Eight, 0)?;
//! let strides = [width, width / 2, width / 2];
//! for planes in &frames {
//!     let views = [0, 1, 2].map(|i| Plane::new(&planes[i], strides[i]));
//!     let input = Picture::new(Format::I420, width, height, &views)?;
//!     let mut result = planes.clone();
//!     let views = result.iter_mut().zip(strides).map(|(p, stride)| PlaneMut::new(p, stride));
//!     let mut output = PictureMut::new(Format::I420, width, height, views)?;
//!     denoiser.process(&input, &mut output, &Parameters::default(), None, Field::First)?;
//!     // `result` holds the denoised frame.
//! }
//! // Before the first frame of another scene:
//! denoiser.reset();
//! # Ok(())
//! # }
//! ```
//!
//! # Embed and detect a watermark in an array
//!
//! ```
//! use cnnvideo::{
//!     frame::{Format, Picture, PictureMut, Plane, PlaneMut},
//!     watermark::{
//!         Collector, Decoder, DecoderOptions, Embedder, Key, Payload, Search, Strength,
//!     },
//! };
//! use ndarray::Array2;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Key::new([7; 32]);
//! let payload = Payload(0xc0ff_ee42);
//! let (width, height) = (640, 360);
//!
//! let mut embedder = Embedder::new(key.clone(), payload)?;
//! let mut collector = Collector::new(12);
//! for frame in 0..12 {
//!     let texture = |(y, x)| (100 + (x * 7 + y * 13 + frame * 5) % 60) as u8;
//!     let mut luma = Array2::from_shape_fn((height, width), texture);
//!     let samples = luma.as_slice_mut().expect("a new array is contiguous");
//!     let plane = PlaneMut::new(samples, width);
//!     let mut picture = PictureMut::new(Format::GRAY8, width, height, [plane])?;
//!     embedder.process(&mut picture, &Strength::default());
//!
//!     let plane = Plane::new(luma.as_slice().expect("a new array is contiguous"), width);
//!     collector.push(&Picture::new(Format::GRAY8, width, height, &[plane])?);
//! }
//! let mut decoder = Decoder::new(key, DecoderOptions::default());
//! let report = decoder.decode(&collector.window(), Search::WholeFrame);
//! assert_eq!(report.payload, Some(payload));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! * `torch`: the libtorch backend of `cnnvideo-nn`, for CUDA devices and TorchScript models.

pub mod deband;
pub mod demosaic;
pub mod denoise;
pub mod frame;
pub mod quality;
pub mod segment;
pub mod smooth;
pub mod watermark;

pub use cnnvideo_nn as nn;
pub(crate) use cnnvideo_nn::simd;
