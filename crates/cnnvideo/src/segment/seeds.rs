// SPDX-License-Identifier: MIT OR Apache-2.0

//! Seeds: the points, strokes and boxes by which a user selects regions, and their text form.

/// Highest label, and so the number of regions that can be selected at a time.
pub const MAX_LABEL: u8 = 8;
/// Largest number of seeds; adding one more drops the oldest.
const MAX_SEEDS: usize = 512;
/// Largest net number of growth steps, more than a region tree has.
const MAX_STEPS: i32 = 64;
/// Largest number of points of a stroke; the rest are dropped.
pub const MAX_STROKE_POINTS: usize = 256;

/// Shape of a seed. Coordinates `[x, y]` are shares of the picture's width and height, from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Single point (a click).
    Point([f32; 2]),
    /// Polyline (a scribble).
    Stroke {
        /// Vertices of the polyline.
        points: Vec<[f32; 2]>,
        /// Half of the stroke's thickness, as a share of the picture's width.
        radius: f32,
    },
    /// Box around the region.
    Box {
        /// One corner.
        corner: [f32; 2],
        /// Opposite corner.
        opposite: [f32; 2],
    },
    /// Number of steps to grow (above 0) or shrink (below 0) the region along the region tree,
    /// starting at its extent when the seed is added.
    Grow(i32),
}

impl Shape {
    /// Returns whether the shape has a position in the picture, which [`Shape::Grow`] does not.
    pub fn has_position(&self) -> bool {
        !matches!(self, Self::Grow(_))
    }

    /// Returns whether all coordinates, and the radius of a stroke, are finite numbers.
    pub fn is_finite(&self) -> bool {
        let are_finite = |point: &[f32; 2]| point.iter().all(|v| v.is_finite());
        match self {
            Self::Point(point) => are_finite(point),
            Self::Stroke { points, radius } => radius.is_finite() && points.iter().all(are_finite),
            Self::Box { corner, opposite } => are_finite(corner) && are_finite(opposite),
            Self::Grow(_) => true,
        }
    }
}

/// Seed of a region or of the background.
#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    /// Region that the seed belongs to, 1 to [`MAX_LABEL`]; 0 for the background, which is outside
    /// of all regions.
    pub label: u8,
    /// Shape and position.
    pub shape: Shape,
}

/// List of seeds in the order in which the user added them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seeds(Vec<Seed>);

/// Errors of parsing the text form of seeds ([`ParsedSeeds`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedParseError {
    /// The seed has no colon that separates its kind from its coordinates.
    #[error("'{0}' has no kind: write kind:coordinates, as in fg:320,240")]
    MissingKind(String),
    /// The kind or its label does not exist.
    #[error(
        "'{0}' is no kind of seed: use fg, bg, box, stroke-fg or stroke-bg; \
         all but bg and stroke-bg may have a label from 1 to 8, as in fg2"
    )]
    UnknownKind(String),
    /// A coordinate is not a finite number.
    #[error("'{0}' is not a coordinate: write pixels, as in 320, or percent, as in 50%")]
    InvalidCoordinate(String),
    /// The number of coordinates does not fit the kind.
    #[error("'{kind}' has {count} coordinates, but takes {takes}")]
    WrongCoordinateCount {
        /// Kind of the seed, as written.
        kind: String,
        /// Number of coordinates that the kind takes, in words.
        takes: &'static str,
        /// Number of coordinates that the seed has.
        count: usize,
    },
    /// The text has more seeds than are kept.
    #[error("there are more than {MAX_SEEDS} seeds: leave some out")]
    TooManySeeds,
}

/// Coordinate in the text form of a seed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Coordinate {
    /// Index of a pixel of the frame; 0 is the first.
    Pixels(f32),
    /// Percent of the frame's width or height.
    Percent(f32),
}

impl Coordinate {
    /// Converts the coordinate to a share of a width or height in pixels.
    fn to_share(self, length: usize) -> f32 {
        match self {
            // Pixel coordinates stand for the centres of pixels.
            Self::Pixels(at) => (at + 0.5) / length.max(1) as f32,
            Self::Percent(at) => at / 100.0,
        }
    }
}

/// Parsed text form of seeds, independent of the size of the picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParsedSeeds(Vec<ParsedSeed>);

/// Parsed seed of [`ParsedSeeds`].
#[derive(Debug, Clone, PartialEq)]
struct ParsedSeed {
    label: u8,
    kind: Kind,
    /// Coordinates x, y, x, y and so on; their number fits the kind.
    coordinates: Vec<Coordinate>,
}

/// Kind of a seed in the text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Point,
    Stroke,
    Box,
}

impl std::str::FromStr for ParsedSeeds {
    type Err = SeedParseError;

    /// Parses text such as
    /// `fg:320,240;bg:10,10;box:80,60,560,420;stroke-fg:10,10,20,14,30,20`.
    ///
    /// Coordinates are pixels of the frame, or percent of its width and height with `%`. A number
    /// after `fg`, `stroke-fg` or `box` is the label, from 1 to 8 (1 if left out).
    fn from_str(text: &str) -> Result<Self, SeedParseError> {
        let mut seeds = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            if seeds.len() == MAX_SEEDS {
                return Err(SeedParseError::TooManySeeds);
            }
            let (name, numbers) =
                part.split_once(':').ok_or_else(|| SeedParseError::MissingKind(excerpt(part)))?;
            let name = name.trim();
            let unknown = || SeedParseError::UnknownKind(excerpt(name));
            let (stem, label) = match name.find(|c: char| c.is_ascii_digit()) {
                Some(at) => (&name[..at], Some(name[at..].parse::<u8>().map_err(|_| unknown())?)),
                None => (name, None),
            };
            let kind = match stem {
                "fg" | "bg" => Kind::Point,
                "stroke-fg" | "stroke-bg" => Kind::Stroke,
                "box" => Kind::Box,
                _ => return Err(unknown()),
            };
            let label = match (stem.ends_with("bg"), label) {
                (true, None) => 0,
                (false, None) => 1,
                (false, Some(label)) if (1..=MAX_LABEL).contains(&label) => label,
                _ => return Err(unknown()),
            };
            let coordinates =
                numbers.split(',').map(parse_coordinate).collect::<Result<Vec<_>, _>>()?;
            let count = coordinates.len();
            let (fits, takes) = match kind {
                Kind::Point => (count == 2, "2"),
                Kind::Box => (count == 4, "4"),
                Kind::Stroke => (count >= 2 && count % 2 == 0, "pairs of x and y"),
            };
            if !fits {
                return Err(SeedParseError::WrongCoordinateCount {
                    kind: excerpt(name),
                    takes,
                    count,
                });
            }
            seeds.push(ParsedSeed { label, kind, coordinates });
        }
        Ok(Self(seeds))
    }
}

/// Returns the beginning of a text, for an error message.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Parses one coordinate.
///
/// # Errors
/// Fails if the text is not a finite number, with or without `%`.
fn parse_coordinate(text: &str) -> Result<Coordinate, SeedParseError> {
    let text = text.trim();
    let (number, percent) = text.strip_suffix('%').map_or((text, false), |number| (number, true));
    let value = number.trim().parse::<f32>().ok().filter(|value| value.is_finite());
    let value = value.ok_or_else(|| SeedParseError::InvalidCoordinate(excerpt(text)))?;
    Ok(if percent { Coordinate::Percent(value) } else { Coordinate::Pixels(value) })
}

impl ParsedSeeds {
    /// Returns the seeds for a picture of `width` by `height` pixels.
    pub fn to_seeds(&self, width: usize, height: usize) -> impl Iterator<Item = Seed> {
        self.0.iter().map(move |ParsedSeed { label, kind, coordinates }| {
            let mut points =
                coordinates.chunks_exact(2).map(|p| [p[0].to_share(width), p[1].to_share(height)]);
            let mut next = || points.next().expect("the number of coordinates fits the kind");
            let shape = match kind {
                Kind::Point => Shape::Point(next()),
                Kind::Box => Shape::Box { corner: next(), opposite: next() },
                Kind::Stroke => Shape::Stroke { points: points.collect(), radius: 0.0 },
            };
            Seed { label: *label, shape }
        })
    }
}

impl Seeds {
    /// Adds a seed and returns whether it is valid; an invalid one is left out.
    ///
    /// Coordinates outside of the picture are clamped to its border. Seeds are invalid if a number
    /// is not finite, the label exceeds [`MAX_LABEL`], a stroke has no points, or steps are for the
    /// background or for a region without any other seed. Dropping the oldest seed makes room if
    /// the list is full.
    pub fn push(&mut self, mut seed: Seed) -> bool {
        if seed.label > MAX_LABEL || !seed.shape.is_finite() {
            return false;
        }
        let clamp_point = |p: &mut [f32; 2]| *p = p.map(|v| v.clamp(0.0, 1.0));
        match &mut seed.shape {
            Shape::Point(p) => clamp_point(p),
            Shape::Box { corner, opposite } => [corner, opposite].into_iter().for_each(clamp_point),
            Shape::Stroke { points, .. } if points.is_empty() => return false,
            Shape::Stroke { points, radius } => {
                *radius = radius.clamp(0.0, 1.0);
                points.truncate(MAX_STROKE_POINTS);
                points.iter_mut().for_each(clamp_point);
            }
            Shape::Grow(_) if seed.label == 0 || !self.has_position_for(seed.label) => {
                return false;
            }
            Shape::Grow(steps) => *steps = (*steps).clamp(-MAX_STEPS, MAX_STEPS),
        }
        if self.0.len() == MAX_SEEDS {
            self.0.remove(0);
        }
        self.0.push(seed);
        true
    }

    /// Returns whether a region has a seed with a position in the picture.
    pub fn has_position_for(&self, label: u8) -> bool {
        self.0.iter().any(|seed| seed.label == label && seed.shape.has_position())
    }

    /// Returns the net number of steps by which a region was grown (above 0) or shrunk (below 0).
    pub fn net_steps(&self, label: u8) -> i32 {
        let steps_of = |seed: &Seed| match seed.shape {
            Shape::Grow(steps) if seed.label == label => steps,
            _ => 0,
        };
        self.0.iter().map(steps_of).fold(0, |sum, steps| (sum + steps).clamp(-MAX_STEPS, MAX_STEPS))
    }

    /// Returns the newest `count` seeds, or all if there are fewer.
    pub fn newest(&self, count: usize) -> Self {
        Self(self.0[self.0.len().saturating_sub(count)..].to_vec())
    }

    /// Removes and returns the newest seed.
    pub fn undo(&mut self) -> Option<Seed> {
        self.0.pop()
    }

    /// Removes all seeds of a label.
    pub fn remove(&mut self, label: u8) {
        self.0.retain(|seed| seed.label != label);
    }

    /// Removes all seeds.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the number of seeds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no seeds.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the seeds, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Seed> {
        self.0.iter()
    }

    /// Moves all seeds with the motion of the video.
    ///
    /// `next_position` maps a point to its position in the next frame, or to `None` if it has left
    /// the picture. Points that have left are removed, and so are seeds without any point left. A
    /// box moves with its centre.
    pub fn move_points(&mut self, next_position: impl Fn([f32; 2]) -> Option<[f32; 2]>) {
        let move_point = |point: &mut [f32; 2]| {
            next_position(*point).map(|position| *point = position).is_some()
        };
        self.0.retain_mut(|seed| match &mut seed.shape {
            Shape::Point(point) => move_point(point),
            Shape::Stroke { points, .. } => {
                points.retain_mut(move_point);
                !points.is_empty()
            }
            Shape::Box { corner: a, opposite: b } => {
                let centre = [0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1])];
                next_position(centre)
                    .map(|position| {
                        for corner in [a, b] {
                            *corner = [0, 1]
                                .map(|i| (corner[i] + position[i] - centre[i]).clamp(0.0, 1.0));
                        }
                    })
                    .is_some()
            }
            Shape::Grow(_) => true,
        });
        // Removes all seeds of labels that have lost their last point: remaining steps would apply
        // to the next region with the same label.
        let has_position: [bool; 1 + MAX_LABEL as usize] =
            std::array::from_fn(|label| self.has_position_for(label as u8));
        self.0.retain(|seed| has_position[usize::from(seed.label)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Seed>, SeedParseError> {
        Ok(text.parse::<ParsedSeeds>()?.to_seeds(100, 50).collect())
    }

    #[test]
    fn seeds_are_written_in_pixels_and_percent() {
        let seeds =
            parse(" fg:49.5,24.5 ; bg:0%,100%;box3:10%,20%,50%,60%;stroke-fg:0,0, 10,10;").unwrap();
        assert_eq!(seeds[0], Seed { label: 1, shape: Shape::Point([0.5, 0.5]) });
        assert_eq!(seeds[1], Seed { label: 0, shape: Shape::Point([0.0, 1.0]) });
        assert_eq!(
            seeds[2],
            Seed { label: 3, shape: Shape::Box { corner: [0.1, 0.2], opposite: [0.5, 0.6] } }
        );
        assert_eq!(
            seeds[3],
            Seed {
                label: 1,
                shape: Shape::Stroke { points: vec![[0.005, 0.01], [0.105, 0.21]], radius: 0.0 }
            }
        );
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn parse_errors_name_the_cause() {
        assert!(matches!(parse("fg 1,2"), Err(SeedParseError::MissingKind(_))));
        for bad in ["xx:1,2", "fg9:1,2", "fg0:1,2", "bg1:1,2", "fg1x:1,2", "fg999:1,2", ":1,2"] {
            assert!(matches!(parse(bad), Err(SeedParseError::UnknownKind(_))), "{bad}");
        }
        for bad in ["fg:", "fg:1,", "fg:a,b", "fg:nan,1", "fg:inf,1", "fg:1%%,2", "box:1,2,3,é"] {
            assert!(matches!(parse(bad), Err(SeedParseError::InvalidCoordinate(_))), "{bad}");
        }
        for bad in ["fg:1", "fg:1,2,3", "box:1,2", "stroke-bg:1,2,3"] {
            assert!(
                matches!(parse(bad), Err(SeedParseError::WrongCoordinateCount { .. })),
                "{bad}"
            );
        }
        assert_eq!(parse(&"fg:1,1;".repeat(MAX_SEEDS + 1)), Err(SeedParseError::TooManySeeds));
    }

    #[test]
    fn parser_survives_random_text() {
        let pieces =
            ["fg", "bg", "box", ":", ";", ",", "1", "%", "-", "stroke-", "\u{0}", "é", "9e99", " "];
        let mut state = 9u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
            }
            let mut seeds = Seeds::default();
            if let Ok(found) = parse(&text) {
                found.into_iter().for_each(|seed| assert!(seeds.push(seed)));
            }
        }
    }

    #[test]
    fn seeds_undo_and_move() {
        let mut seeds = Seeds::default();
        assert!(seeds.push(Seed { label: 1, shape: Shape::Point([7.0, -3.0]) }));
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for shape in [
                Shape::Point([wrong, 0.0]),
                Shape::Box { corner: [0.0, 0.0], opposite: [1.0, wrong] },
                Shape::Stroke { points: vec![[0.5, 0.5], [wrong, 0.5]], radius: 0.0 },
                Shape::Stroke { points: vec![[0.5, 0.5]], radius: wrong },
            ] {
                assert!(!seeds.push(Seed { label: 1, shape: shape.clone() }), "{shape:?}");
            }
        }
        assert!(
            !seeds.push(Seed { label: 1, shape: Shape::Stroke { points: vec![], radius: 0.0 } })
        );
        assert!(!seeds.push(Seed { label: 9, shape: Shape::Point([0.0, 0.0]) }));
        assert_eq!(seeds.iter().next().unwrap().shape, Shape::Point([1.0, 0.0]));
        seeds.push(Seed {
            label: 0,
            shape: Shape::Stroke { points: vec![[0.2, 0.2], [0.9, 0.9]], radius: -1.0 },
        });
        seeds.move_points(|[x, y]| (x < 0.95).then_some([x + 0.1, y]).filter(|[x, _]| *x <= 1.0));
        assert_eq!(seeds.len(), 1);
        let Shape::Stroke { points, .. } = &seeds.iter().next().unwrap().shape else { panic!() };
        assert!((points[0][0] - 0.3).abs() < 1e-6);
        assert!(seeds.undo().is_some() && seeds.undo().is_none());
        // A region without a point cannot grow.
        assert!(!seeds.push(Seed { label: 1, shape: Shape::Grow(1) }));
        seeds.push(Seed { label: 1, shape: Shape::Point([0.5; 2]) });
        for (steps, sum) in [(2, 2), (-1, 1), (i32::MAX, MAX_STEPS), (i32::MIN, 0)] {
            assert!(seeds.push(Seed { label: 1, shape: Shape::Grow(steps) }));
            assert_eq!((seeds.net_steps(1), seeds.net_steps(2)), (sum, 0));
        }
        // Steps are removed with the last point of their region.
        seeds.move_points(|_| None);
        assert!(seeds.is_empty());
        (0..2 * MAX_SEEDS)
            .for_each(|_| assert!(seeds.push(Seed { label: 1, shape: Shape::Point([0.5; 2]) })));
        assert_eq!(seeds.len(), MAX_SEEDS);
    }
}
