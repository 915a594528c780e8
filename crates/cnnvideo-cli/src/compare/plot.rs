// SPDX-License-Identifier: MIT OR Apache-2.0

//! A curve over the frames as SVG, which scales with the page.

use std::fmt::Write;

/// Width and height in SVG units.
const SIZE: [f64; 2] = [720.0, 240.0];
/// Space at the left, top, right and bottom.
const MARGINS: [f64; 4] = [64.0, 14.0, 14.0, 36.0];
/// Number of points above which several frames share two of them: their least and largest value.
const MOST_POINTS: usize = 1200;
/// Least range of values that an axis shows.
const LEAST_RANGE: f64 = 1e-3;
/// About how many lines divide an axis.
const TICKS: f64 = 4.0;

/// Returns a curve of `values` over the frames. It has a gap where a value is infinite. The frames
/// in `marks` have a circle and a number.
pub(super) fn curve(label: &str, values: &[f64], marks: &[usize]) -> String {
    let axes = Axes::of(values);
    let mut svg = format!(
        "<svg viewBox='0 0 {} {}' role='img' aria-label='{}'>",
        SIZE[0],
        SIZE[1],
        super::page::escape(label)
    );
    axes.grid(&mut svg);
    let _ = write!(svg, "<path class='curve' d='{}'/>", axes.path(values));
    for (rank, number) in marks.iter().enumerate() {
        let [x, y] = axes.place(*number, values[*number]);
        // The rank stays within the plot.
        let (class, text_x) = match x > SIZE[0] / 2.0 {
            true => ("tick end", x - 10.0),
            false => ("tick", x + 10.0),
        };
        let _ = write!(
            svg,
            "<a href='#frame-{number}'><circle class='mark' cx='{x:.1}' cy='{y:.1}' r='4.5'>\
             <title>frame {number}</title></circle><text class='{class}' x='{text_x:.1}' \
             y='{:.1}'>{}</text></a>",
            y + 4.0,
            rank + 1
        );
    }
    svg.push_str("</svg>");
    svg
}

/// The scales of a curve.
struct Axes {
    /// Number of the last frame, at least 1.
    last: usize,
    low: f64,
    high: f64,
    /// Distance of the lines.
    step: f64,
}

impl Axes {
    fn of(values: &[f64]) -> Self {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (low, high) =
            finite().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low > high {
            // There is no finite value.
            (0.0, 1.0)
        } else if high - low < LEAST_RANGE {
            (low - LEAST_RANGE, low + LEAST_RANGE)
        } else {
            (low, high)
        };
        let step = round_step((high - low) / TICKS);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { last: values.len().saturating_sub(1).max(1), low, high, step }
    }

    /// Returns the position of a value.
    fn place(&self, number: usize, value: f64) -> [f64; 2] {
        let [left, top, right, bottom] = MARGINS;
        let across = number as f64 / self.last as f64;
        let up = (value - self.low) / (self.high - self.low);
        [left + across * (SIZE[0] - left - right), SIZE[1] - bottom - up * (SIZE[1] - top - bottom)]
    }

    /// Adds lines with their values, and the numbers of frames.
    fn grid(&self, svg: &mut String) {
        let digits = (-self.step.log10().floor()).max(0.0) as usize;
        for i in 0..=((self.high - self.low) / self.step).round() as usize {
            let value = self.low + i as f64 * self.step;
            let [left, y] = self.place(0, value);
            let _ = write!(
                svg,
                "<line class='grid' x1='{left}' x2='{}' y1='{y:.1}' y2='{y:.1}'/><text \
                 class='tick end' x='{}' y='{:.1}'>{value:.digits$}</text>",
                SIZE[0] - MARGINS[2],
                left - 6.0,
                y + 4.0
            );
        }
        let step = round_step(self.last as f64 / TICKS).max(1.0) as usize;
        for number in (0..=self.last).step_by(step) {
            let [x, y] = self.place(number, self.low);
            let _ = write!(
                svg,
                "<text class='tick middle' x='{x:.1}' y='{:.1}'>{number}</text>",
                y + 26.0
            );
        }
    }

    /// Returns the path through the values.
    fn path(&self, values: &[f64]) -> String {
        let mut path = String::new();
        let mut is_drawing = false;
        for (number, value) in points(values) {
            if value.is_finite() {
                let [x, y] = self.place(number, value);
                // A line without length makes a single frame between gaps a dot.
                let _ = match is_drawing {
                    true => write!(path, "L{x:.1} {y:.1}"),
                    false => write!(path, "M{x:.1} {y:.1}h0"),
                };
            }
            is_drawing = value.is_finite();
        }
        path
    }
}

/// Returns the frames that the path goes through, with their values.
fn points(values: &[f64]) -> Vec<(usize, f64)> {
    let all: Vec<_> = values.iter().copied().enumerate().collect();
    if values.len() <= MOST_POINTS {
        return all;
    }
    let group = values.len().div_ceil(MOST_POINTS / 2);
    let extremes = |frames: &[(usize, f64)]| {
        let compare = |a: &&(usize, f64), b: &&(usize, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (frames.iter().min_by(compare), frames.iter().max_by(compare));
        let mut both: Vec<_> = low.into_iter().chain(high).copied().collect();
        both.sort_by_key(|(number, _)| *number);
        both
    };
    all.chunks(group).flat_map(extremes).collect()
}

/// Returns 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0];
    factors.map(|factor| factor * power).into_iter().find(|s| *s >= step).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (step, expected) in [(0.3, 0.5), (1.0, 1.0), (13.0, 20.0), (0.0007, 0.001)] {
            assert!((round_step(step) / expected - 1.0).abs() < 1e-9, "{step}");
        }
    }

    #[test]
    fn infinite_values_are_gaps() {
        let infinite = f64::INFINITY;
        let path = Axes::of(&[1.0, infinite, 2.0]).path(&[1.0, infinite, 2.0]);
        assert_eq!(path.matches('M').count(), 2, "{path}");
        for values in [&[][..], &[infinite], &[3.0], &[3.0, 3.0]] {
            let svg = curve("<curve>", values, &[]);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("&lt;curve&gt;"));
        }
    }

    #[test]
    fn long_videos_keep_their_extremes() {
        let mut values: Vec<_> = (0..50_000).map(|i| f64::from(i % 7)).collect();
        values[12_345] = -4.0;
        let points = points(&values);
        assert!(points.len() <= MOST_POINTS + 2);
        assert!(points.contains(&(12_345, -4.0)));
        assert!(points.is_sorted_by_key(|(number, _)| *number));
    }
}
