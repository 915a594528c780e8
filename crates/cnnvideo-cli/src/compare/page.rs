// SPDX-License-Identifier: MIT OR Apache-2.0

//! The HTML page of a report. It loads nothing from outside its folder.

use std::fmt::Write;

use serde_json::Value;

use super::{
    MEASURES,
    measures::{FrameMeasures, minimum, seconds},
    number_text,
    pictures::Part,
    plot::curve,
    report::KINDS,
};

const STYLE: &str = include_str!("style.css");

/// Content of the page.
pub(super) struct Page<'a> {
    /// Names of the videos, counts and means.
    pub(super) result: &'a Value,
    /// Measures of all frames.
    pub(super) frames: &'a [FrameMeasures],
    /// Name of the PSNR by which frames are ranked.
    pub(super) psnr: &'static str,
    /// Amplification of the differences.
    pub(super) gain: u8,
    /// The worst frames.
    pub(super) shown: &'a [Shown],
}

/// A frame with pictures.
pub(super) struct Shown {
    /// Number of the frame.
    pub(super) number: usize,
    /// Width and height of the pictures.
    pub(super) size: [usize; 2],
    /// The part of the frame that they show, if it is not the whole.
    pub(super) part: Option<Part>,
}

impl Shown {
    /// Returns the name of the file with a picture.
    pub(super) fn file(&self, kind: &str) -> String {
        format!("frame-{:06}-{kind}.png", self.number)
    }
}

impl Page<'_> {
    /// Returns the page.
    pub(super) fn to_html(&self) -> String {
        let text = |name: &str| escape(self.result[name].as_str().unwrap_or_default());
        let mut html = format!(
            "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n<meta \
             name='viewport' content='width=device-width,initial-scale=1'>\n<title>{} and {}\
             </title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Comparison of two \
             videos</h1>\n<dl><dt>Reference</dt><dd>{}</dd><dt>Test</dt><dd>{}</dd>\
             <dt>Frames</dt><dd>{}</dd></dl>\n",
            text("reference"),
            text("test"),
            text("reference"),
            text("test"),
            self.counts()
        );
        self.table(&mut html);
        self.curves(&mut html);
        self.pictures(&mut html);
        let _ = write!(
            html,
            "<footer><p>Written by cnnvideo {}. The measures of all frames are in <a \
             href='frames.json'>frames.json</a>. Frames are numbered from 0; deeper video is \
             measured in 8 bits.</p></footer>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        );
        html
    }

    /// Returns the number of frames, and what has no partner.
    fn counts(&self) -> String {
        let mut text = self.result["frames"].to_string();
        for (name, words) in [("unpaired_reference", "reference"), ("unpaired_test", "test")] {
            if let Some(count) = self.result[name].as_u64().filter(|count| *count > 0) {
                let _ = write!(text, "; {count} of the {words} without partner");
            }
        }
        if self.result["equal"] == true {
            text.push_str("; all are equal");
        }
        text
    }

    fn table(&self, html: &mut String) {
        html.push_str(
            "<h2>Means and minima</h2>\n<div class='scroll'><table>\n<tr><th>Measure</th>\
             <th>Mean</th><th>Minimum</th><th>in frame</th></tr>\n",
        );
        for (field, name, unit) in MEASURES {
            let (Some(mean), Some((number, least))) =
                (self.result["mean"].get(field), minimum(self.frames, field))
            else {
                continue;
            };
            let mean = number_text(mean.as_f64().unwrap_or(f64::INFINITY), unit);
            let _ = write!(html, "<tr><td>{name}</td><td>{mean}</td>");
            let _ = match least.is_finite() {
                true => writeln!(
                    html,
                    "<td>{}</td><td>{}{}</td></tr>",
                    number_text(least, unit),
                    self.link(number),
                    self.time(number)
                ),
                false => writeln!(html, "<td>infinite</td><td></td></tr>"),
            };
        }
        html.push_str("</table></div>\n<p>The mean PSNR is that of the mean square error.</p>\n");
    }

    /// Returns the number of a frame, as a link if the page shows it.
    fn link(&self, number: usize) -> String {
        match self.shown.iter().any(|shown| shown.number == number) {
            true => format!("<a href='#frame-{number}'>{number}</a>"),
            false => number.to_string(),
        }
    }

    /// Returns the time of a frame, to append to its number.
    fn time(&self, number: usize) -> String {
        let text = |time| format!(" ({:.2} s)", seconds(time));
        self.frames[number].time.map(text).unwrap_or_default()
    }

    fn curves(&self, html: &mut String) {
        for (field, name, unit) in MEASURES {
            if ![self.psnr, "ssim", "xpsnr-y", "ssimulacra2"].contains(&field) {
                continue;
            }
            let value = |frame: &FrameMeasures| frame.get(field).unwrap_or(f64::INFINITY);
            let values: Vec<_> = self.frames.iter().map(value).collect();
            // Equal frames only, or not measured.
            if values.iter().all(|value| value.is_infinite()) {
                continue;
            }
            let in_unit = if unit.is_empty() { String::new() } else { format!(", in{unit}") };
            let title = format!("{name} by frame{in_unit}");
            let marks: Vec<_> = self.shown.iter().map(|shown| shown.number).collect();
            let _ = write!(html, "<h2>{title}</h2>\n{}\n", curve(&title, &values, &marks));
            if values.iter().any(|value| value.is_infinite()) {
                html.push_str("<p>The curve has gaps where frames are equal.</p>\n");
            }
        }
    }

    fn pictures(&self, html: &mut String) {
        if self.shown.is_empty() {
            return;
        }
        let _ = writeln!(
            html,
            "<h2>Worst frames</h2>\n<p>The frames of the lowest PSNR, some frames apart. The \
             difference is test minus reference, times {}, around grey. A click on a picture \
             opens it in its own size.</p>",
            self.gain
        );
        for (shown, rank) in self.shown.iter().zip(1..) {
            let number = shown.number;
            let measures = MEASURES.into_iter().filter_map(|(field, name, unit)| {
                let value = self.frames[number].get(field)?;
                let is_shown = field == self.psnr || field == "ssim";
                is_shown.then(|| format!("{name} {}", number_text(value, unit)))
            });
            let _ = writeln!(
                html,
                "<section id='frame-{number}'><h3>{rank}. Frame {number}{}: {}</h3>",
                self.time(number),
                measures.collect::<Vec<_>>().join(", ")
            );
            let [width, height] = shown.size;
            if let Some(part) = shown.part {
                let _ = writeln!(
                    html,
                    "<p>The {width}x{height} pixels from column {} and row {} on, where the error \
                     is largest.</p>",
                    part.x, part.y
                );
            }
            html.push_str("<div class='pictures'>\n");
            for kind in KINDS {
                let file = shown.file(kind);
                let _ = writeln!(
                    html,
                    "<figure><a href='{file}'><img src='{file}' width='{width}' height='{height}' \
                     alt='{kind}, frame {number}'></a><figcaption>{kind}</figcaption></figure>"
                );
            }
            html.push_str("</div></section>\n");
        }
    }
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}
