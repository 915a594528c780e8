// SPDX-License-Identifier: MIT OR Apache-2.0

//! Line plots as SVG that scale with the page.

use std::fmt::Write;

/// Line colours, in order.
const COLOURS: [&str; 6] = ["#888", "#0a7", "#d53", "#37c", "#a3c", "#b80"];
/// Width and height of a plot in SVG units.
const SIZE: [f64; 2] = [560.0, 240.0];
/// Space for the labels of the y and x axis in SVG units.
const MARGIN: [f64; 2] = [48.0, 28.0];

/// Returns a plot of lines over `x` = 0, 1, 2, ... with a legend of their names.
pub(super) fn lines(title: &str, x_name: &str, series: &[(String, Vec<f64>)]) -> String {
    let all = || series.iter().flat_map(|(_, values)| values).filter(|v| v.is_finite());
    let (low, high) =
        all().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    let (low, high) = if low < high { (low, high) } else { (low - 0.5, low + 0.5) };
    let length = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0).max(2);
    let x = |i: f64| MARGIN[0] + i / (length - 1) as f64 * (SIZE[0] - MARGIN[0] - 8.0);
    let y = |v: f64| SIZE[1] - MARGIN[1] - (v - low) / (high - low) * (SIZE[1] - MARGIN[1] - 24.0);
    let mut svg = format!(
        "<figure><svg viewBox='0 0 {} {}' role='img' aria-label='{}'>",
        SIZE[0],
        SIZE[1],
        escape(title)
    );
    for i in 0..=4 {
        let v = low + (high - low) * f64::from(i) / 4.0;
        let _ = write!(
            svg,
            "<line x1='{0}' x2='{1}' y1='{2:.1}' y2='{2:.1}' class='grid'/><text x='{3}' \
             y='{4:.1}' class='tick' text-anchor='end'>{5}</text>",
            MARGIN[0],
            SIZE[0] - 8.0,
            y(v),
            MARGIN[0] - 5.0,
            y(v) + 4.0,
            short(v)
        );
    }
    let _ = write!(
        svg,
        "<text x='{}' y='{}' class='tick' text-anchor='end'>{}</text>",
        SIZE[0] - 8.0,
        SIZE[1] - 8.0,
        escape(x_name)
    );
    let _ = write!(svg, "<text x='{}' y='14' class='title'>{}</text>", MARGIN[0], escape(title));
    for (number, (_, values)) in series.iter().enumerate() {
        let points: Vec<_> = values
            .iter()
            .enumerate()
            .filter(|(_, v)| v.is_finite())
            .map(|(i, v)| format!("{:.1},{:.1}", x(i as f64), y(*v)))
            .collect();
        let colour = COLOURS[number % COLOURS.len()];
        let _ = write!(
            svg,
            "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='1.6'/>",
            points.join(" ")
        );
    }
    svg.push_str("</svg><figcaption>");
    for (number, (name, _)) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let _ = write!(svg, "<span><i style='background:{colour}'></i>{}</span> ", escape(name));
    }
    svg.push_str("</figcaption></figure>");
    svg
}

/// Formats a number with few digits.
pub(super) fn short(v: f64) -> String {
    let digits = if v.abs() >= 100.0 {
        0
    } else if v.abs() >= 1.0 {
        2
    } else {
        4
    };
    format!("{v:.digits$}")
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}
