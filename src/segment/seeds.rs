//! What a person says: points, strokes and boxes.

/// Regions that can be told apart.
pub const MAX_LABEL: u8 = 8;
/// Seeds that are kept; the oldest goes first.
const MOST: usize = 512;
/// More steps than a tree has.
const MOST_STEPS: i32 = 64;
/// Points of a stroke that are kept.
const MOST_POINTS: usize = 256;

/// The shape of a seed. Coordinates are shares of the picture's width and height, from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Point([f32; 2]),
    /// A line through points, so many shares of the picture's width thick to each side.
    Stroke {
        points: Vec<[f32; 2]>,
        radius: f32,
    },
    /// Two opposite corners.
    Box([f32; 2], [f32; 2]),
    /// The region as it is then, so many steps larger, or smaller, along the tree of regions.
    Steps(i32),
}

impl Shape {
    /// Whether it is somewhere in the picture.
    pub fn points(&self) -> bool {
        !matches!(self, Self::Steps(_))
    }
}

/// Something that a person pointed at.
#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    /// 1 to 8: a region; 0: none of them.
    pub label: u8,
    pub shape: Shape,
}

/// Seeds in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seeds(Vec<Seed>);

/// A description of seeds that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("'{0}' is not kind:numbers, as in fg:320,240")]
    NoKind(String),
    #[error("'{0}' is none of fg, bg, box, stroke-fg, stroke-bg, or those with a label as in fg2")]
    UnknownKind(String),
    #[error("'{0}' is not a number of pixels or percent")]
    NoNumber(String),
    #[error("'{kind}' takes {takes}, not {count} numbers")]
    WrongCount { kind: String, takes: &'static str, count: usize },
    #[error("more than {MOST} seeds")]
    TooMany,
}

/// A coordinate as a person writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Coordinate {
    Pixels(f32),
    Percent(f32),
}

impl Coordinate {
    /// As a share of a length in pixels.
    fn share(self, length: usize) -> f32 {
        match self {
            // The middle of a pixel.
            Self::Pixels(at) => (at + 0.5) / length.max(1) as f32,
            Self::Percent(at) => at / 100.0,
        }
    }
}

/// Seeds as they are written, before the size of the picture is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WrittenSeeds(Vec<(u8, Kind, Vec<Coordinate>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Point,
    Stroke,
    Box,
}

impl std::str::FromStr for WrittenSeeds {
    type Err = ParseError;

    /// `fg:320,240;bg:10,10;box:80,60,560,420;stroke-fg:10,10,20,14,30,20`: pixels of the frame, or percent with `%`. A number
    /// after `fg` or `box` is the label, from 1 to 8.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let excerpt = |text: &str| text.chars().take(40).collect::<String>();
        let mut seeds = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            if seeds.len() == MOST {
                return Err(ParseError::TooMany);
            }
            let (name, numbers) =
                part.split_once(':').ok_or_else(|| ParseError::NoKind(excerpt(part)))?;
            let name = name.trim();
            let unknown = || ParseError::UnknownKind(excerpt(name));
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
            let numbers = numbers.split(',').map(coordinate).collect::<Result<Vec<_>, _>>()?;
            let (fits, takes) = match kind {
                Kind::Point => (numbers.len() == 2, "2"),
                Kind::Box => (numbers.len() == 4, "4"),
                Kind::Stroke => (numbers.len() >= 2 && numbers.len() % 2 == 0, "pairs of"),
            };
            if !fits {
                return Err(ParseError::WrongCount {
                    kind: excerpt(name),
                    takes,
                    count: numbers.len(),
                });
            }
            seeds.push((label, kind, numbers));
        }
        Ok(Self(seeds))
    }
}

fn coordinate(text: &str) -> Result<Coordinate, ParseError> {
    let text = text.trim();
    let (number, percent) = text.strip_suffix('%').map_or((text, false), |number| (number, true));
    let value = number.trim().parse::<f32>().ok().filter(|value| value.is_finite());
    let value = value.ok_or_else(|| ParseError::NoNumber(text.chars().take(40).collect()))?;
    Ok(if percent { Coordinate::Percent(value) } else { Coordinate::Pixels(value) })
}

impl WrittenSeeds {
    /// The seeds in a picture of a size.
    pub fn seeds(&self, width: usize, height: usize) -> impl Iterator<Item = Seed> {
        self.0.iter().map(move |(label, kind, numbers)| {
            let mut points =
                numbers.chunks_exact(2).map(|p| [p[0].share(width), p[1].share(height)]);
            let mut next = || points.next().unwrap_or_default();
            let shape = match kind {
                Kind::Point => Shape::Point(next()),
                Kind::Box => Shape::Box(next(), next()),
                Kind::Stroke => Shape::Stroke { points: points.collect(), radius: 0.0 },
            };
            Seed { label: *label, shape }
        })
    }
}

impl Seeds {
    /// Adds a seed. What lies outside of the picture is brought to its border; a seed of no number is left out.
    pub fn add(&mut self, mut seed: Seed) -> bool {
        let whole = |p: &mut [f32; 2]| {
            *p = p.map(|v| v.clamp(0.0, 1.0));
            p.iter().all(|v| v.is_finite())
        };
        let fits = match &mut seed.shape {
            Shape::Point(p) => whole(p),
            Shape::Box(a, b) => whole(a) && whole(b),
            Shape::Stroke { points, radius } => {
                *radius = if radius.is_finite() { radius.clamp(0.0, 1.0) } else { 0.0 };
                points.truncate(MOST_POINTS);
                !points.is_empty() && points.iter_mut().all(whole)
            }
            Shape::Steps(steps) => {
                *steps = (*steps).clamp(-MOST_STEPS, MOST_STEPS);
                seed.label > 0 && self.points_at(seed.label)
            }
        };
        if !fits || seed.label > MAX_LABEL {
            return false;
        }
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(seed);
        true
    }

    /// Whether anything points at a region.
    pub fn points_at(&self, label: u8) -> bool {
        self.0.iter().any(|seed| seed.label == label && seed.shape.points())
    }

    /// Steps that a region was brought along the tree.
    pub fn steps(&self, label: u8) -> i32 {
        let of = |seed: &Seed| match seed.shape {
            Shape::Steps(steps) if seed.label == label => steps,
            _ => 0,
        };
        self.0.iter().map(of).fold(0, |sum, steps| (sum + steps).clamp(-MOST_STEPS, MOST_STEPS))
    }

    /// Takes the last one back.
    pub fn undo(&mut self) -> Option<Seed> {
        self.0.pop()
    }

    /// Forgets those of a label.
    pub fn remove(&mut self, label: u8) {
        self.0.retain(|seed| seed.label != label);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Seed> {
        self.0.iter()
    }

    /// Moves points, for seeds that follow the picture; `to` gives where a point went, `None` where it left.
    pub fn follow(&mut self, to: impl Fn([f32; 2]) -> Option<[f32; 2]>) {
        self.0.retain_mut(|seed| match &mut seed.shape {
            Shape::Point(point) => to(*point).map(|there| *point = there).is_some(),
            Shape::Stroke { points, .. } => {
                points.retain_mut(|point| to(*point).map(|there| *point = there).is_some());
                !points.is_empty()
            }
            Shape::Box(a, b) => {
                let centre = [0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1])];
                to(centre)
                    .map(|there| {
                        for corner in [a, b] {
                            *corner =
                                [0, 1].map(|i| (corner[i] + there[i] - centre[i]).clamp(0.0, 1.0));
                        }
                    })
                    .is_some()
            }
            Shape::Steps(_) => true,
        });
        // Steps of a region that nothing points at any more would wait for the next one.
        let pointed: [bool; 1 + MAX_LABEL as usize] =
            std::array::from_fn(|label| self.points_at(label as u8));
        self.0.retain(|seed| pointed[usize::from(seed.label)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Seed>, ParseError> {
        Ok(text.parse::<WrittenSeeds>()?.seeds(100, 50).collect())
    }

    #[test]
    fn seeds_are_written_in_pixels_and_percent() {
        let seeds =
            parse(" fg:49.5,24.5 ; bg:0%,100%;box3:10%,20%,50%,60%;stroke-fg:0,0, 10,10;").unwrap();
        assert_eq!(seeds[0], Seed { label: 1, shape: Shape::Point([0.5, 0.5]) });
        assert_eq!(seeds[1], Seed { label: 0, shape: Shape::Point([0.0, 1.0]) });
        assert_eq!(seeds[2], Seed { label: 3, shape: Shape::Box([0.1, 0.2], [0.5, 0.6]) });
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
    fn what_is_wrong_is_named() {
        assert!(matches!(parse("fg 1,2"), Err(ParseError::NoKind(_))));
        for bad in ["xx:1,2", "fg9:1,2", "fg0:1,2", "bg1:1,2", "fg1x:1,2", "fg999:1,2", ":1,2"] {
            assert!(matches!(parse(bad), Err(ParseError::UnknownKind(_))), "{bad}");
        }
        for bad in ["fg:", "fg:1,", "fg:a,b", "fg:nan,1", "fg:inf,1", "fg:1%%,2", "box:1,2,3,é"] {
            assert!(matches!(parse(bad), Err(ParseError::NoNumber(_))), "{bad}");
        }
        for bad in ["fg:1", "fg:1,2,3", "box:1,2", "stroke-bg:1,2,3"] {
            assert!(matches!(parse(bad), Err(ParseError::WrongCount { .. })), "{bad}");
        }
        assert_eq!(parse(&"fg:1,1;".repeat(MOST + 1)), Err(ParseError::TooMany));
    }

    #[test]
    fn no_text_is_too_strange() {
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
                found.into_iter().for_each(|seed| assert!(seeds.add(seed)));
            }
        }
    }

    #[test]
    fn seeds_are_taken_back_and_follow() {
        let mut seeds = Seeds::default();
        assert!(seeds.add(Seed { label: 1, shape: Shape::Point([7.0, -3.0]) }));
        assert!(!seeds.add(Seed { label: 1, shape: Shape::Point([f32::NAN, 0.0]) }));
        assert!(!seeds.add(Seed { label: 9, shape: Shape::Point([0.0, 0.0]) }));
        assert_eq!(seeds.iter().next().unwrap().shape, Shape::Point([1.0, 0.0]));
        seeds.add(Seed {
            label: 0,
            shape: Shape::Stroke { points: vec![[0.2, 0.2], [0.9, 0.9]], radius: f32::NAN },
        });
        seeds.follow(|[x, y]| (x < 0.95).then_some([x + 0.1, y]).filter(|[x, _]| *x <= 1.0));
        assert_eq!(seeds.len(), 1);
        let Shape::Stroke { points, .. } = &seeds.iter().next().unwrap().shape else { panic!() };
        assert!((points[0][0] - 0.3).abs() < 1e-6);
        assert!(seeds.undo().is_some() && seeds.undo().is_none());
        // Nothing can grow before it is pointed at.
        assert!(!seeds.add(Seed { label: 1, shape: Shape::Steps(1) }));
        seeds.add(Seed { label: 1, shape: Shape::Point([0.5; 2]) });
        for (steps, sum) in [(2, 2), (-1, 1), (i32::MAX, MOST_STEPS), (i32::MIN, 0)] {
            assert!(seeds.add(Seed { label: 1, shape: Shape::Steps(steps) }));
            assert_eq!((seeds.steps(1), seeds.steps(2)), (sum, 0));
        }
        // They go with what they were said of.
        seeds.follow(|_| None);
        assert!(seeds.is_empty());
        (0..2 * MOST)
            .for_each(|_| assert!(seeds.add(Seed { label: 1, shape: Shape::Point([0.5; 2]) })));
        assert_eq!(seeds.len(), MOST);
    }
}
