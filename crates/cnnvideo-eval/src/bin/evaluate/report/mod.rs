//! Report of any elements on images and clips: an HTML page, and the same figures as JSON.

mod frames;
mod page;
mod plot;
mod statistics;

use std::path::PathBuf;

use cnnvideo::quality::{Comparison, Gradient, Histogram, Measures, gradient};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array2;
use serde::Serialize;

use self::{
    frames::{Clip, Frame},
    statistics::Interval,
};
use crate::Result;
use cnnvideo_eval::Noise;

#[derive(clap::Args)]
pub struct Report {
    /// Images (.png, .jpg), folders with images, or videos that GStreamer can decode
    #[arg(long, required = true, num_args = 1..)]
    source: Vec<PathBuf>,
    /// Elements to compare, in the syntax of gst-launch-1.0, such as "cnndenoise noise-level=25";
    /// link several elements with `!`
    #[arg(long, required = true, num_args = 1..)]
    element: Vec<String>,
    /// Sigma in 8-bit units of the white noise that is added to the input of the elements, but not
    /// to the reference
    #[arg(long, default_value_t = 0.0)]
    noise: f32,
    /// Maximum number of frames of each video
    #[arg(long, default_value_t = 40)]
    frames: usize,
    /// Maximum number of images of each folder
    #[arg(long, default_value_t = 24)]
    pictures: usize,
    /// Seed of the noise and of the bootstrap
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder to write index.html and report.json to
    #[arg(long)]
    out: PathBuf,
}

/// Results of one element on one source.
#[derive(Serialize)]
struct Outcome {
    source: String,
    element: String,
    /// Measures of each frame by name.
    frames: Vec<Vec<(&'static str, f64)>>,
    /// Mean time of a frame.
    milliseconds: f64,
}

/// Mean results of one element over all sources.
#[derive(Serialize)]
struct Summary {
    element: String,
    measures: Vec<(&'static str, Interval)>,
    /// Time of a frame, median over the sources.
    milliseconds: f64,
}

/// Content of the JSON report.
#[derive(Serialize)]
struct Results {
    command: Vec<String>,
    version: &'static str,
    seed: u64,
    noise: f32,
    summaries: Vec<Summary>,
    outcomes: Vec<Outcome>,
}

/// Images of the first frame of a source for the page.
struct Strip {
    source: String,
    cells: Vec<(String, frames::Rgb)>,
    histograms: Vec<(String, [f64; 256])>,
}

/// The element that stands for the unprocessed input.
const NOTHING: &str = "identity";

pub fn run(task: &Report) -> Result<()> {
    gst::init()?;
    gstcnnvideo::plugin_register_static()?;
    let mut clips = Vec::new();
    for source in &task.source {
        clips.extend(frames::load(source, task.frames, task.pictures)?);
    }
    let elements: Vec<String> =
        std::iter::once(NOTHING.to_owned()).chain(task.element.iter().cloned()).collect();
    let bar = ProgressBar::new((clips.len() * elements.len()) as u64);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} [{wide_bar}] {pos}/{len} {msg}",
    )?);
    let (mut outcomes, mut strips) = (Vec::new(), Vec::new());
    for (number, clip) in clips.iter().enumerate() {
        let noisy = with_noise(clip, task.noise, task.seed.wrapping_add(number as u64));
        let mut strip =
            Strip { source: clip.name.clone(), cells: Vec::new(), histograms: Vec::new() };
        strip.show("reference", &clip.frames[0], None)?;
        for element in &elements {
            bar.set_message(format!("{element} on {}", clip.name));
            let (out, milliseconds) = frames::through(element, &noisy)?;
            let mut comparison = Comparison::new(0)?;
            let mut frames = Vec::new();
            for (reference, out) in clip.frames.iter().zip(&out) {
                frames.push(comparison.measure(&reference.view()?, &out.view()?)?);
            }
            let first = out.first().ok_or("the elements returned no frame")?;
            if element != NOTHING || task.noise > 0.0 {
                let name = if element == NOTHING { "input" } else { element };
                strip.show(name, first, Some(&clip.frames[0]))?;
            }
            let frames = frames.iter().map(Measures::named).collect();
            outcomes.push(Outcome {
                source: clip.name.clone(),
                element: element.clone(),
                frames,
                milliseconds,
            });
            bar.inc(1);
        }
        strips.push(strip);
    }
    bar.finish_and_clear();
    let summaries = elements.iter().map(|element| summary(element, &outcomes, task.seed)).collect();
    let results = Results {
        command: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION"),
        seed: task.seed,
        noise: task.noise,
        summaries,
        outcomes,
    };
    std::fs::create_dir_all(&task.out)?;
    std::fs::write(task.out.join("report.json"), serde_json::to_string_pretty(&results)?)?;
    std::fs::write(task.out.join("index.html"), page::write(&results, &strips)?)?;
    print(&results);
    println!("wrote {0}/index.html and {0}/report.json", task.out.display());
    Ok(())
}

/// Adds white noise of the given sigma to a clip.
fn with_noise(clip: &Clip, level: f32, seed: u64) -> Clip {
    let mut noise = Noise::new(seed);
    let mut clip = clip.clone();
    if level > 0.0 {
        for frame in &mut clip.frames {
            frame.samples().for_each(|v| *v = (f32::from(*v) + level * noise.next()).round() as u8);
        }
    }
    clip
}

/// Averages the measures of an element: mean over sources of the mean over their frames.
fn summary(element: &str, outcomes: &[Outcome], seed: u64) -> Summary {
    let own: Vec<_> = outcomes.iter().filter(|outcome| outcome.element == element).collect();
    let mut names: Vec<&'static str> = Vec::new();
    for (name, _) in own.iter().flat_map(|outcome| &outcome.frames).flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let of = |outcome: &Outcome, name: &str| {
        let values = outcome.frames.iter().flatten().filter(|(n, v)| *n == name && v.is_finite());
        values.map(|(_, v)| *v).collect::<Vec<_>>()
    };
    let measures = names
        .into_iter()
        .filter_map(|name| {
            let groups: Vec<_> =
                own.iter().map(|outcome| of(outcome, name)).filter(|v| !v.is_empty()).collect();
            Some((name, statistics::interval(&groups, seed)?))
        })
        .collect();
    let mut times: Vec<_> = own.iter().map(|outcome| outcome.milliseconds).collect();
    times.sort_by(f64::total_cmp);
    Summary {
        element: element.to_owned(),
        measures,
        milliseconds: times.get(times.len() / 2).copied().unwrap_or(0.0),
    }
}

/// Prints the main measures.
fn print(results: &Results) {
    for Summary { element, measures, milliseconds } in &results.summaries {
        let shown = measures.iter().filter(|(name, _)| ["psnr", "ssim", "mse"].contains(name));
        let shown: Vec<_> = shown
            .map(|(name, v)| format!("{name} {:.4} ({:.4} to {:.4})", v.mean, v.low, v.high))
            .collect();
        println!("{element}: {}, {milliseconds:.1} ms a frame", shown.join(", "));
    }
}

impl Strip {
    /// Adds an image, its luma histogram and its gradient; if there is a reference, also the error.
    fn show(&mut self, name: &str, frame: &Frame, reference: Option<&Frame>) -> Result<()> {
        self.cells.push((name.to_owned(), frame.rgb()));
        let luma = frame.luma()?;
        self.histograms.push((name.to_owned(), Histogram::of(&luma.view()).0));
        if let Some(reference) = reference {
            let before = reference.luma()?;
            let error = frames::grey(&Array2::from_shape_fn(luma.dim(), |at| {
                128.0 + 4.0 * (luma[at] - before[at])
            }));
            self.cells.push((format!("{name}: error x 4"), error));
        }
        let edges = gradient(&luma.view(), Gradient::Sobel).mapv(|v| 3.0 * v);
        self.cells.push((format!("{name}: gradient"), frames::grey(&edges)));
        Ok(())
    }
}
