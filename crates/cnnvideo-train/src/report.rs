// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress reports of a training run: progress bar, log and training curve.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Error, files::write_file};

/// One line of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    /// Optimiser step.
    pub(crate) step: u64,
    /// Training time so far in seconds.
    pub(crate) seconds: f64,
    /// Mean loss of the steps since the previous entry, times 255: a root mean square error becomes
    /// 8-bit units.
    pub(crate) loss: f64,
    /// Validation results by condition: PSNR in dB, or other measures of the training task.
    #[serde(rename = "psnr")]
    pub(crate) results: Vec<(String, f64)>,
}

impl std::fmt::Display for LogEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {} ({:.1} min): loss {:.3}", self.step, self.seconds / 60.0, self.loss)?;
        self.results.iter().try_for_each(|(name, result)| write!(f, ", {name} {result:.2}"))
    }
}

/// Creates a progress bar of 1000 units for the whole run.
pub(crate) fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} [{wide_bar}] {percent}% {msg}")
        .expect("the template is valid");
    ProgressBar::new(1000).with_style(style)
}

/// Draws loss and validation results over the steps and writes a PNG. Does nothing while the log is
/// empty.
///
/// # Errors
/// [`Error::File`] if the image cannot be drawn or written.
pub(crate) fn draw_curve(path: &Path, log: &[LogEntry]) -> Result<(), Error> {
    let Some(last) = log.last() else { return Ok(()) };
    write_file(path, |temporary| curve(temporary, log, last))
}

fn curve(path: &Path, log: &[LogEntry], last: &LogEntry) -> Result<(), Box<dyn std::error::Error>> {
    // plotters includes no font, and a training machine may have none installed.
    plotters::style::register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the built-in font is not valid")?;
    let names: Vec<&str> = last.results.iter().map(|(name, _)| name.as_str()).collect();
    let series = |i: usize| {
        log.iter().filter_map(move |e| e.results.get(i).map(|(_, v)| (e.step as f64, *v)))
    };
    let all = (0..names.len()).flat_map(series).map(|(_, v)| v);
    let (low, high) = all.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    let steps = 0.0..last.step as f64;

    let root = BitMapBackend::new(path, (1000, 700)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(450);
    let mut chart = ChartBuilder::on(&upper)
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(steps.clone(), low - 0.2..high + 0.2)?;
    chart.configure_mesh().y_desc("validation (PSNR in dB or other measures)").draw()?;
    for (i, name) in names.iter().enumerate() {
        let colour = Palette99::pick(i).to_rgba();
        chart
            .draw_series(LineSeries::new(series(i), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;

    let loss_high = log.iter().map(|e| e.loss).fold(0.0, f64::max);
    let loss_low = log.iter().map(|e| e.loss).fold(f64::MAX, f64::min);
    let mut chart = ChartBuilder::on(&lower)
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(steps, loss_low * 0.95..loss_high * 1.05)?;
    chart.configure_mesh().x_desc("step").y_desc("loss (8-bit units)").draw()?;
    chart.draw_series(LineSeries::new(log.iter().map(|e| (e.step as f64, e.loss)), BLUE))?;
    root.present()?;
    Ok(())
}
