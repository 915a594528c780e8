// SPDX-License-Identifier: MIT OR Apache-2.0

//! Report of any elements on images and clips: an HTML page, and the same figures as JSON.

mod clip;
mod page;
mod plot;
mod statistics;

use std::path::PathBuf;

use cnnvideo::quality::{Comparison, Gradient, Histogram, Measures, gradient};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array2;
use serde::Serialize;

use self::{clip::Clip, statistics::Interval};
use cnnvideo_eval::{
    Noise, Result,
    element::run_description,
    frame::RawFrame,
    init,
    output::{create_folder, write_file},
    say_line,
};

#[derive(clap::Args)]
pub(crate) struct ReportArguments {
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
    cells: Vec<(String, RgbImage)>,
    histograms: Vec<(String, [f64; 256])>,
}

/// The element that stands for the unprocessed input.
const UNPROCESSED: &str = "identity";

/// Runs the elements and writes the report.
pub(crate) fn run(arguments: &ReportArguments) -> Result<()> {
    init()?;
    let mut clips = Vec::new();
    for source in &arguments.source {
        clips.extend(clip::load(source, arguments.frames, arguments.pictures)?);
    }
    let elements: Vec<String> =
        std::iter::once(UNPROCESSED.to_owned()).chain(arguments.element.iter().cloned()).collect();
    let bar = ProgressBar::new((clips.len() * elements.len()) as u64);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} [{wide_bar}] {pos}/{len} {msg}",
    )?);
    let (mut outcomes, mut strips) = (Vec::new(), Vec::new());
    for (number, clip) in clips.iter().enumerate() {
        let noisy = with_noise(clip, arguments.noise, arguments.seed.wrapping_add(number as u64));
        let mut strip =
            Strip { source: clip.name.clone(), cells: Vec::new(), histograms: Vec::new() };
        strip.add("reference", &clip.frames[0], None)?;
        for element in &elements {
            bar.set_message(format!("{element} on {}", clip.name));
            let output = run_description(element, &noisy.frames)?;
            let mut comparison = Comparison::new(0)?;
            let mut frames = Vec::new();
            for (reference, out) in clip.frames.iter().zip(&output.frames) {
                frames.push(comparison.measure(&reference.view()?, &out.view()?)?);
            }
            let first = &output.frames[0];
            if element != UNPROCESSED || arguments.noise > 0.0 {
                let name = if element == UNPROCESSED { "input" } else { element };
                strip.add(name, first, Some(&clip.frames[0]))?;
            }
            let frames = frames.iter().map(Measures::named).collect();
            outcomes.push(Outcome {
                source: clip.name.clone(),
                element: element.clone(),
                frames,
                milliseconds: output.milliseconds,
            });
            bar.inc(1);
        }
        strips.push(strip);
    }
    bar.finish_and_clear();
    let summaries =
        elements.iter().map(|element| summary(element, &outcomes, arguments.seed)).collect();
    let results = Results {
        command: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION"),
        seed: arguments.seed,
        noise: arguments.noise,
        summaries,
        outcomes,
    };
    // Before the files: a full disk must not cost the results.
    print(&results)?;
    create_folder(&arguments.out)?;
    for (name, content) in [
        ("report.json", serde_json::to_string_pretty(&results)?),
        ("index.html", page::write(&results, &strips)?),
    ] {
        write_file(&arguments.out.join(name), |file| Ok(std::fs::write(file, &content)?))?;
    }
    say_line!("wrote {0}/index.html and {0}/report.json", arguments.out.display())?;
    Ok(())
}

/// Adds white noise of the given sigma to a clip.
fn with_noise(clip: &Clip, sigma: f32, seed: u64) -> Clip {
    let mut noise = Noise::new(seed);
    let mut clip = clip.clone();
    if sigma > 0.0 {
        clip.frames.iter_mut().for_each(|frame| frame.add_noise(sigma, &mut noise));
    }
    clip
}

/// Averages the measures of an element: mean over sources of the mean over their frames.
fn summary(element: &str, outcomes: &[Outcome], seed: u64) -> Summary {
    let of_element: Vec<_> = outcomes.iter().filter(|outcome| outcome.element == element).collect();
    let mut names: Vec<&'static str> = Vec::new();
    for (name, _) in of_element.iter().flat_map(|outcome| &outcome.frames).flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let values_of = |outcome: &Outcome, name: &str| {
        let values = outcome.frames.iter().flatten().filter(|(n, v)| *n == name && v.is_finite());
        values.map(|(_, v)| *v).collect::<Vec<_>>()
    };
    let measures = names
        .into_iter()
        .filter_map(|name| {
            let groups: Vec<_> = of_element
                .iter()
                .map(|outcome| values_of(outcome, name))
                .filter(|v| !v.is_empty())
                .collect();
            Some((name, statistics::interval(&groups, seed)?))
        })
        .collect();
    let mut times: Vec<_> = of_element.iter().map(|outcome| outcome.milliseconds).collect();
    times.sort_by(f64::total_cmp);
    Summary { element: element.to_owned(), measures, milliseconds: times[times.len() / 2] }
}

/// Prints the main measures.
fn print(results: &Results) -> Result<()> {
    for Summary { element, measures, milliseconds } in &results.summaries {
        let shown = measures.iter().filter(|(name, _)| ["psnr", "ssim", "mse"].contains(name));
        let shown: Vec<_> = shown
            .map(|(name, v)| format!("{name} {:.4} ({:.4} to {:.4})", v.mean, v.low, v.high))
            .collect();
        say_line!("{element}: {}, {milliseconds:.1} ms a frame", shown.join(", "))?;
    }
    Ok(())
}

impl Strip {
    /// Adds an image, its luma histogram and its gradient; if there is a reference, also the error.
    fn add(&mut self, name: &str, frame: &RawFrame, reference: Option<&RawFrame>) -> Result<()> {
        self.cells.push((name.to_owned(), clip::frame_image(frame)?));
        let luma = frame.luma()?;
        self.histograms.push((name.to_owned(), *Histogram::from_plane(&luma.view()).frequencies()));
        if let Some(reference) = reference {
            let before = reference.luma()?;
            let error = clip::plane_image(&Array2::from_shape_fn(luma.dim(), |at| {
                128.0 + 4.0 * (luma[at] - before[at])
            }));
            self.cells.push((format!("{name}: error x 4"), error));
        }
        let edges = gradient(&luma.view(), Gradient::Sobel).mapv(|v| 3.0 * v);
        self.cells.push((format!("{name}: gradient"), clip::plane_image(&edges)));
        Ok(())
    }
}
