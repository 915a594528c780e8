// SPDX-License-Identifier: MIT OR Apache-2.0

//! Benchmark of the networks: the embedded engine and, in builds with the feature `torch`,
//! libtorch, alternating in one run.
//!
//! `cargo run --release --features torch --package cnnvideo-eval --bin benchmark -- --threads 2`

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use clap::Parser;
use cnnvideo::nn::{
    Model, ModelSource, Network, Output, RowSink, Size, Source,
    cpu::{FloatKernels, FloatNetwork, Int8Kernels, Int8Network},
    model::Quantisation,
};
use cnnvideo_eval::{Result, output::run_program, say_line};

#[derive(Parser)]
#[command(about = "Measures the speed of a model in every engine of the cnnvideo plugin")]
struct Arguments {
    /// Model file to measure
    #[arg(long, default_value = "models/denoise-yuv420-fast.safetensors")]
    model: PathBuf,
    /// Width of the frame in pixels
    #[arg(long, default_value_t = 1280)]
    width: usize,
    /// Height of the frame in pixels
    #[arg(long, default_value_t = 720)]
    height: usize,
    /// Number of threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Measure only engines whose name contains this text, such as `int8`. The plain Rust engine is
    /// slow and runs only if the text contains `portable`
    #[arg(long, default_value = "")]
    engine: String,
    /// Number of rounds; each engine runs once in every round
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

/// A synthetic input and an output that discards rows, so that only the network is measured.
struct Synthetic;

impl Source for Synthetic {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        row.fill(0.1 + y as f32 * 1e-4);
    }
}

impl Output for Synthetic {
    fn split<'a>(&'a mut self, bands: &[std::ops::Range<usize>]) -> Vec<Box<dyn RowSink + 'a>> {
        bands.iter().map(|_| Box::new(Synthetic) as Box<dyn RowSink>).collect()
    }
}

impl RowSink for Synthetic {
    fn write_row(&mut self, _y: usize, row: &[f32]) {
        std::hint::black_box(row);
    }
}

/// Returns the networks to compare with.
#[cfg(feature = "torch")]
fn peers(model: &Model) -> Result<Vec<Arc<dyn Network>>> {
    use cnnvideo::nn::{Device, torch::TorchNetwork};
    Ok(vec![Arc::new(TorchNetwork::new(model, Device::Cpu)?)])
}

#[cfg(not(feature = "torch"))]
fn peers(_model: &Model) -> Result<Vec<Arc<dyn Network>>> {
    say_line!("Build with the feature torch to compare with libtorch.")?;
    Ok(Vec::new())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run_program("benchmark", || run(&arguments))
}

fn run(arguments: &Arguments) -> Result<()> {
    let model = ModelSource::File(arguments.model.clone()).load()?;
    let macs = model.graph().macs_per_pixel() / 4.0;
    let pixels = (arguments.width * arguments.height) as f64;
    say_line!(
        "{}: {macs:.0} MAC per pixel, {}x{}, {} threads, {} rounds",
        arguments.model.display(),
        arguments.width,
        arguments.height,
        arguments.threads,
        arguments.rounds
    )?;
    let granularity = model.graph().granularity();
    let half = |n: usize| n.div_ceil(2).next_multiple_of(granularity);
    let size = Size { width: half(arguments.width), height: half(arguments.height) };

    let mut networks: Vec<Arc<dyn Network>> = vec![Arc::new(FloatNetwork::new(model.clone())?)];
    networks.extend(peers(&model)?);
    for kernels in FloatKernels::available().into_iter().skip(1) {
        networks.push(Arc::new(FloatNetwork::with_kernels(model.clone(), kernels)?));
    }
    // The values of the quantisation steps do not affect the time.
    let steps = |count: usize| vec![0.01; count];
    let (input, convs) = (steps(model.graph().input_channels()), steps(model.graph().convs.len()));
    let quantised = model.clone().with_quantisation(Quantisation::new(input, convs))?;
    for kernels in Int8Kernels::available() {
        networks.push(Arc::new(Int8Network::with_kernels(quantised.clone(), kernels)?));
    }
    // The plain Rust engine would take most of the time.
    let slow = |name: &str| name.ends_with("portable") && !arguments.engine.contains("portable");
    networks.retain(|network| {
        network.backend().contains(&arguments.engine) && !slow(&network.backend())
    });
    let mut sessions = networks
        .iter()
        .map(|n| n.session(size, arguments.threads))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::new(); sessions.len()];
    for round in 0..=arguments.rounds {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let start = Instant::now();
            session.run(&Synthetic, &mut Synthetic)?;
            // The first round is a warm-up.
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    say_line!(
        "{:<20} {:>10} {:>9} {:>16} {:>10}",
        "engine",
        "median ms",
        "GMAC/s",
        "ratio to first",
        "min ms"
    )?;
    // `median` has sorted the times.
    for ((network, time), times) in networks.iter().zip(&medians).zip(&times) {
        let (rate, ratio, minimum) =
            (macs * pixels / time / 1e9, time / medians[0], times.first().unwrap_or(&f64::NAN));
        say_line!(
            "{:<20} {:>10.2} {rate:>9.1} {ratio:>16.2} {:>10.2}",
            network.backend(),
            time * 1e3,
            minimum * 1e3
        )?;
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
