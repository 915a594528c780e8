// SPDX-License-Identifier: MIT OR Apache-2.0

//! The cases whose instructions are counted: algorithms on synthetic clips.

use std::hint::black_box;

use clap::ValueEnum;
use cnnvideo::{
    denoise::{self, AssumedNoise, BitDepth, Networks, NoiseEstimator, NoiseModel, Quality},
    frame::{Field, Format, Picture, PictureMut, Plane, PlaneMut},
    nn::{Device, Precision},
    smooth::{self, Smoother},
    watermark::{Embedder, Key, Payload, Strength},
};
use cnnvideo_eval::{Noise, Result};

/// Frames that are counted. Valgrind takes seconds for some of them, above all where float32
/// networks multiply and add in one instruction.
pub(super) const MEASURED: usize = 2;
/// Width and height of the frames in pixels.
const SIZE: (usize, usize) = (320, 192);
/// Format of the frames.
const FORMAT: Format = Format::I420;
/// Strides of its planes.
const STRIDES: [usize; 3] = [SIZE.0, SIZE.0 / 2, SIZE.0 / 2];
/// Motion of the moving clip in pixels a frame.
const MOTION: (f32, f32) = (3.25, 1.5);
/// Noise sigma of the noisy clips.
const SIGMA: f32 = 10.0;
/// Number of threads.
const THREADS: usize = 1;

/// Planes of a frame.
type Planes = [Vec<u8>; 3];

/// An algorithm with a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// Denoise a clip that moves.
    DenoiseMoving,
    /// Denoise a still clip.
    DenoiseStill,
    /// Estimate the noise of a frame.
    NoiseEstimate,
    /// Smooth a clip.
    Smooth,
    /// Embed a watermark in a clip.
    WatermarkEmbed,
}

/// An algorithm: processes a frame into another, which is a copy of it before.
type Algorithm = Box<dyn FnMut(&Planes, &mut Planes) -> Result<()>>;

impl Case {
    /// All cases.
    pub(super) const ALL: [Self; 5] = [
        Self::DenoiseMoving,
        Self::DenoiseStill,
        Self::NoiseEstimate,
        Self::Smooth,
        Self::WatermarkEmbed,
    ];

    /// Returns the name of the case on the command line and in the budget.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DenoiseMoving => "denoise-moving",
            Self::DenoiseStill => "denoise-still",
            Self::NoiseEstimate => "noise-estimate",
            Self::Smooth => "smooth",
            Self::WatermarkEmbed => "watermark-embed",
        }
    }

    /// Returns the number of frames before those that are counted: memory is allocated, and still
    /// areas are recognised.
    fn warm_up(self) -> usize {
        match self {
            Self::DenoiseMoving | Self::Smooth => 2,
            Self::DenoiseStill => 8,
            Self::NoiseEstimate | Self::WatermarkEmbed => 1,
        }
    }

    /// Runs the case. Callgrind counts between [`begin_measurement`] and [`end_measurement`].
    ///
    /// # Errors
    /// A model does not load, or an algorithm fails.
    pub(super) fn run(self) -> Result<()> {
        let mut algorithm = self.algorithm()?;
        let mut frames = self.clip();
        let mut outputs = frames.clone();
        let mut run = |range: std::ops::Range<usize>| {
            let pairs = frames[range.clone()].iter_mut().zip(&mut outputs[range]);
            pairs.into_iter().try_for_each(|(input, output)| algorithm(input, output))
        };
        let warm_up = self.warm_up();
        run(0..warm_up)?;
        begin_measurement();
        run(warm_up..warm_up + MEASURED)?;
        end_measurement();
        black_box(outputs);
        Ok(())
    }

    fn algorithm(self) -> Result<Algorithm> {
        match self {
            Self::DenoiseMoving | Self::DenoiseStill => denoiser(),
            Self::NoiseEstimate => estimator(),
            Self::Smooth => smoother(),
            Self::WatermarkEmbed => embedder(),
        }
    }

    fn clip(self) -> Vec<Planes> {
        let (moves, sigma) = match self {
            Self::DenoiseMoving => (true, SIGMA),
            Self::DenoiseStill | Self::NoiseEstimate => (false, SIGMA),
            Self::Smooth | Self::WatermarkEmbed => (true, 2.0),
        };
        let mut noise = Noise::new(1);
        (0..self.warm_up() + MEASURED)
            .map(|number| {
                let t = if moves { number as f32 } else { 0.0 };
                let mut planes = scene(MOTION.0 * t, MOTION.1 * t);
                planes.iter_mut().for_each(|plane| noise.add(plane, sigma));
                planes
            })
            .collect()
    }
}

/// Callgrind sets its count to 0 before this function.
#[inline(never)]
fn begin_measurement() {
    // Another value than in `end_measurement`: the compiler merges functions that are the same.
    black_box(1);
}

/// Callgrind writes its count before this function.
#[inline(never)]
fn end_measurement() {
    black_box(2);
}

/// Returns a scene with smooth areas, texture and edges, moved by `x`, `y`.
fn scene(x: f32, y: f32) -> Planes {
    let luma = |x: f32, y: f32| {
        let smooth = 40.0 * (0.021 * x).sin() * (0.017 * y).cos();
        let texture =
            if x > 160.0 { 18.0 * (0.9 * x).sin() * (0.7 * y + 0.3 * x).cos() } else { 0.0 };
        let edge = if (0.05 * x + 0.08 * y).sin() > 0.6 { 50.0 } else { 0.0 };
        100.0 + smooth + texture + edge
    };
    let chroma = |x: f32, y: f32| 128.0 + 30.0 * (0.03 * x + 0.02 * y).sin();
    let plane = |value: &dyn Fn(f32, f32) -> f32, step: usize| {
        let (width, height) = (SIZE.0 / step, SIZE.1 / step);
        (0..width * height)
            .map(|i| {
                let at = |position: usize, shift: f32| (position * step) as f32 + shift;
                value(at(i % width, x), at(i / width, y)).round() as u8
            })
            .collect()
    };
    [plane(&luma, 1), plane(&chroma, 2), plane(&|x, y| chroma(y, x), 2)]
}

fn picture(planes: &Planes) -> Result<Picture<'_, u8>> {
    let planes: Vec<_> = planes.iter().map(Vec::as_slice).zip(STRIDES).map(Plane::from).collect();
    Ok(Picture::new(FORMAT, SIZE.0, SIZE.1, &planes)?)
}

fn picture_mut(planes: &mut Planes) -> Result<PictureMut<'_, u8>> {
    let planes = planes.iter_mut().map(Vec::as_mut_slice).zip(STRIDES).map(PlaneMut::from);
    Ok(PictureMut::new(FORMAT, SIZE.0, SIZE.1, planes)?)
}

fn denoiser() -> Result<Algorithm> {
    let networks = Networks::built_in(Quality::Fast, Device::Cpu, Precision::Auto)?;
    let mut denoiser = networks.denoiser(FORMAT.colour(), BitDepth::Eight, THREADS)?;
    denoiser.prepare(SIZE.0, SIZE.1)?;
    // As estimated, without the time of an estimate, which is a case of its own.
    let [main, chroma] = [NoiseModel::uniform(SIGMA); 2];
    let noise = AssumedNoise { main, chroma, chroma_detail: [0.0; 2] };
    let parameters = denoise::Parameters { noise: Some(noise), ..Default::default() };
    Ok(Box::new(move |input, output| {
        let mut output = picture_mut(output)?;
        denoiser.process(&picture(input)?, &mut output, &parameters, None, Field::First)?;
        Ok(())
    }))
}

fn estimator() -> Result<Algorithm> {
    let mut estimator = NoiseEstimator::built_in(THREADS)?;
    Ok(Box::new(move |input, _| {
        black_box(estimator.estimate(&picture(input)?.components[0], 1)?);
        Ok(())
    }))
}

fn smoother() -> Result<Algorithm> {
    let network = smooth::built_in(Device::Cpu, Precision::Auto)?;
    let mut smoother = Smoother::new(network, THREADS)?;
    let parameters = smooth::Parameters::default();
    Ok(Box::new(move |input, output| {
        let mut output = picture_mut(output)?;
        smoother.process(&picture(input)?, &mut output, &parameters, None, Field::First)?;
        Ok(())
    }))
}

fn embedder() -> Result<Algorithm> {
    let mut embedder = Embedder::new(Key::new([7; 32]), Payload(0x0123_4567_89ab_cdef))?;
    embedder.prepare(SIZE.0, SIZE.1);
    let strength = Strength { target_psnr: 45.0, texture_aware: true };
    Ok(Box::new(move |_, output| {
        embedder.process(&mut picture_mut(output)?, &strength);
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_run_and_have_their_names() {
        for case in Case::ALL {
            assert_eq!(Case::from_str(case.name(), false), Ok(case));
            case.run().unwrap();
        }
    }
}
