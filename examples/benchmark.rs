//! Measures the networks: the embedded engine and, in builds with `torch`, libtorch beside it in the same run.
//!
//! `cargo run --release --features torch --example benchmark -- --threads 2`

use std::{path::PathBuf, sync::Arc, time::Instant};

use clap::Parser;
use gstcnnvideo::nn::{
    Error, Model, ModelSource, Network, Output, RowSink, Size, Source,
    cpu::{FloatNetwork, Int8Network, kernels},
    model::Quantisation,
};

#[derive(Parser)]
#[command(
    about = "Measures the networks of the cnnvideo plugin, beside libtorch in builds with torch"
)]
struct Arguments {
    /// Model file.
    #[arg(long, default_value = "models/denoise-yuv420-fast.safetensors")]
    model: PathBuf,
    #[arg(long, default_value_t = 1280)]
    width: usize,
    #[arg(long, default_value_t = 720)]
    height: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Only engines whose name holds this, such as `int8`; plain Rust only for `portable`.
    #[arg(long, default_value = "")]
    engine: String,
    /// Rounds; in each one, every engine runs once.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

/// A picture of one value, and an output that is thrown away: what is measured is the network.
struct Flat;

impl Source for Flat {
    fn read_row(&self, y: usize, row: &mut [f32]) {
        row.fill(0.1 + y as f32 * 1e-4);
    }
}

impl Output for Flat {
    fn split<'a>(&'a mut self, bands: &[std::ops::Range<usize>]) -> Vec<Box<dyn RowSink + 'a>> {
        bands.iter().map(|_| Box::new(Flat) as Box<dyn RowSink>).collect()
    }
}

impl RowSink for Flat {
    fn write_row(&mut self, _y: usize, row: &[f32]) {
        std::hint::black_box(row);
    }
}

#[cfg(feature = "torch")]
fn peers(model: &Model) -> Result<Vec<Arc<dyn Network>>, Error> {
    use gstcnnvideo::nn::{Device, torch::TorchNetwork};
    Ok(vec![Arc::new(TorchNetwork::new(model, Device::Cpu)?)])
}

#[cfg(not(feature = "torch"))]
fn peers(_model: &Model) -> Result<Vec<Arc<dyn Network>>, Error> {
    println!("Without the feature torch there is no libtorch to compare with.");
    Ok(Vec::new())
}

fn main() {
    if let Err(err) = run(&Arguments::parse()) {
        eprintln!("benchmark: {err}");
        std::process::exit(1);
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let model = ModelSource::File(arguments.model.clone()).load()?;
    let macs = model.graph().macs_per_pixel() / 4.0;
    let pixels = (arguments.width * arguments.height) as f64;
    println!(
        "{}: {macs:.0} MAC per pixel, {}x{}, {} threads, {} rounds",
        arguments.model.display(),
        arguments.width,
        arguments.height,
        arguments.threads,
        arguments.rounds
    );
    let granularity = model.graph().granularity();
    let half = |n: usize| n.div_ceil(2).next_multiple_of(granularity);
    let size = Size { width: half(arguments.width), height: half(arguments.height) };

    let mut networks: Vec<Arc<dyn Network>> = vec![Arc::new(FloatNetwork::new(model.clone())?)];
    networks.extend(peers(&model)?);
    for kernels in kernels::float::Kernels::available().into_iter().skip(1) {
        networks.push(Arc::new(FloatNetwork::with_kernels(model.clone(), kernels)?));
    }
    // The time does not depend on the steps.
    let steps = |count: usize| vec![0.01; count];
    let (input, convs) = (steps(model.graph().input_channels()), steps(model.graph().convs.len()));
    let quantised = model.clone().with_quantisation(Quantisation::new(input, convs))?;
    for kernels in kernels::int8::Kernels::available() {
        networks.push(Arc::new(Int8Network::with_kernels(quantised.clone(), kernels)?));
    }
    // Plain Rust would take most of the time.
    let slow = |name: &str| name.ends_with("portable") && !arguments.engine.contains("portable");
    networks.retain(|network| {
        network.backend().contains(&arguments.engine) && !slow(&network.backend())
    });
    let mut sessions = networks
        .iter()
        .map(|n| n.session(size, arguments.threads))
        .collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::new(); sessions.len()];
    for round in 0..=arguments.rounds {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let start = Instant::now();
            session.run(&Flat, &mut Flat)?;
            // The first round warms up.
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    println!(
        "{:<20} {:>10} {:>9} {:>16} {:>10}",
        "engine", "median ms", "GMAC/s", "ratio to first", "least ms"
    );
    // The medians have left the times in order.
    for ((network, time), times) in networks.iter().zip(&medians).zip(&times) {
        let (rate, ratio, least) =
            (macs * pixels / time / 1e9, time / medians[0], times.first().unwrap_or(&f64::NAN));
        println!(
            "{:<20} {:>10.2} {rate:>9.1} {ratio:>16.2} {:>10.2}",
            network.backend(),
            time * 1e3,
            least * 1e3
        );
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
