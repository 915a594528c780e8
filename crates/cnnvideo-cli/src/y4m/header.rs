// SPDX-License-Identifier: MIT OR Apache-2.0

//! The line that begins a stream.

use std::fmt;

use super::{Error, MAGIC};

/// Largest width and height in pixels, that of the elements.
pub const MAX_SIDE: u32 = 8192;
/// Largest numerator and denominator of a ratio.
const MAX_TERM: u32 = i32::MAX as u32;

/// Chroma subsampling and bit depth of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chroma {
    /// 4:2:0, 8 bits.
    C420,
    /// 4:2:2, 8 bits.
    C422,
    /// 4:4:4, 8 bits.
    C444,
    /// Luma only, 8 bits.
    Mono,
    /// 4:2:0, 10 bits.
    C420P10,
    /// 4:2:2, 10 bits.
    C422P10,
    /// 4:4:4, 10 bits.
    C444P10,
    /// Luma only, 10 bits.
    Mono10,
}

impl Chroma {
    /// All kinds with the names that ffmpeg writes.
    const NAMES: [(Self, &'static str); 8] = [
        (Self::C420, "420"),
        (Self::C422, "422"),
        (Self::C444, "444"),
        (Self::Mono, "mono"),
        (Self::C420P10, "420p10"),
        (Self::C422P10, "422p10"),
        (Self::C444P10, "444p10"),
        (Self::Mono10, "mono10"),
    ];

    /// Returns the name in the header.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(chroma, _)| *chroma == self).map_or("", |(_, name)| name)
    }

    /// Returns the bits of a sample.
    pub fn depth(self) -> u32 {
        match self {
            Self::C420 | Self::C422 | Self::C444 | Self::Mono => 8,
            Self::C420P10 | Self::C422P10 | Self::C444P10 | Self::Mono10 => 10,
        }
    }

    /// Returns how many columns and rows of luma share a chroma sample; `None` without chroma.
    pub fn subsampling(self) -> Option<[usize; 2]> {
        match self {
            Self::C420 | Self::C420P10 => Some([2, 2]),
            Self::C422 | Self::C422P10 => Some([2, 1]),
            Self::C444 | Self::C444P10 => Some([1, 1]),
            Self::Mono | Self::Mono10 => None,
        }
    }
}

/// How the rows of a frame were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interlacing {
    /// All at once, or unknown.
    Progressive,
    /// In two fields, the upper one first.
    TopFirst,
    /// In two fields, the lower one first.
    BottomFirst,
}

/// The header of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Width of the frames in pixels, 1 to [`MAX_SIDE`].
    pub width: u32,
    /// Height of the frames in pixels, 1 to [`MAX_SIDE`].
    pub height: u32,
    /// Frames per second as a fraction. Not zero.
    pub rate: [u32; 2],
    /// Interlacing of all frames.
    pub interlacing: Interlacing,
    /// Width of a pixel divided by its height, as a fraction; `None` if it is unknown.
    pub aspect: Option<[u32; 2]>,
    /// Chroma subsampling and bit depth.
    pub chroma: Chroma,
    /// Position of the chroma samples of 8-bit 4:2:0: `jpeg`, `mpeg2` or `paldv`.
    pub siting: Option<&'static str>,
    /// Whether the samples use the full range of values; `None` if it is unknown.
    pub full_range: Option<bool>,
}

impl Header {
    /// Parses the first line of a stream, without its line feed.
    ///
    /// # Errors
    /// It is not a header, or that of video that is not supported; [`Error::Header`] tells why.
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Header(what.to_owned());
        let line = std::str::from_utf8(line).map_err(|_| wrong("the y4m header is not text"))?;
        let magic = std::str::from_utf8(MAGIC).unwrap_or_default();
        let fields = line.strip_prefix(magic).ok_or_else(|| wrong("this is not y4m"))?;
        let (mut width, mut height, mut rate) = (None, None, None);
        let mut interlacing = Interlacing::Progressive;
        let (mut aspect, mut full_range) = (None, None);
        let mut chroma = (Chroma::C420, None);
        for field in fields.split(' ').filter(|field| !field.is_empty()) {
            let refuse = || Error::Header(format!("the y4m header has the wrong field {field:?}"));
            let (tag, value) = field.split_at_checked(1).ok_or_else(refuse)?;
            match tag {
                "W" => width = Some(side(value).ok_or_else(refuse)?),
                "H" => height = Some(side(value).ok_or_else(refuse)?),
                "F" => rate = Some(ratio(value).ok_or_else(refuse)?),
                "A" => aspect = Some(ratio(value).ok_or_else(refuse)?),
                "C" => chroma = parse_chroma(value).ok_or_else(|| unsupported_chroma(value))?,
                "I" => interlacing = parse_interlacing(value)?,
                "X" => match value.strip_prefix("COLORRANGE=") {
                    Some("FULL") => full_range = Some(true),
                    Some("LIMITED") => full_range = Some(false),
                    // Comments of other programs.
                    _ => (),
                },
                _ => return Err(refuse()),
            }
        }
        let rate = rate.unwrap_or([25, 1]);
        if rate.contains(&0) {
            return Err(wrong("the y4m header has no frame rate"));
        }
        Ok(Self {
            width: width.ok_or_else(|| wrong("the y4m header has no width"))?,
            height: height.ok_or_else(|| wrong("the y4m header has no height"))?,
            rate,
            interlacing,
            aspect: aspect.filter(|aspect| !aspect.contains(&0)),
            chroma: chroma.0,
            siting: chroma.1,
            full_range,
        })
    }

    /// Returns width and height of the planes: of Y, or of Y, U and V.
    pub fn planes(&self) -> Vec<[usize; 2]> {
        let luma = [self.width as usize, self.height as usize];
        let mut planes = vec![luma];
        if let Some([x, y]) = self.chroma.subsampling() {
            planes.extend([[luma[0].div_ceil(x), luma[1].div_ceil(y)]; 2]);
        }
        planes
    }

    /// Returns the bytes of a sample.
    pub fn sample_len(&self) -> usize {
        if self.chroma.depth() > 8 { 2 } else { 1 }
    }

    /// Returns the bytes of a frame.
    pub fn frame_len(&self) -> usize {
        self.planes().iter().map(|[width, height]| width * height).sum::<usize>()
            * self.sample_len()
    }
}

/// Parses a width or height.
fn side(text: &str) -> Option<u32> {
    number(text).filter(|side| (1..=MAX_SIDE).contains(side))
}

/// Parses decimal digits.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= MAX_TERM)
}

/// Parses a ratio; 0:0 means that it is unknown.
fn ratio(text: &str) -> Option<[u32; 2]> {
    let (numerator, denominator) = text.split_once(':')?;
    Some([number(numerator)?, number(denominator)?])
}

fn parse_interlacing(text: &str) -> Result<Interlacing, Error> {
    match text {
        "p" | "?" => Ok(Interlacing::Progressive),
        "t" => Ok(Interlacing::TopFirst),
        "b" => Ok(Interlacing::BottomFirst),
        _ => Err(Error::Header(format!(
            "y4m with the interlacing I{text} is not supported: use progressive (Ip) or \
             interlaced (It, Ib) video"
        ))),
    }
}

/// Parses the field C: the samples, and the position of chroma.
fn parse_chroma(text: &str) -> Option<(Chroma, Option<&'static str>)> {
    for siting in ["jpeg", "mpeg2", "paldv"] {
        if text.strip_prefix("420") == Some(siting) {
            return Some((Chroma::C420, Some(siting)));
        }
    }
    let chroma = Chroma::NAMES.iter().find(|(_, name)| *name == text)?.0;
    Some((chroma, None))
}

fn unsupported_chroma(text: &str) -> Error {
    let names: Vec<_> = Chroma::NAMES.iter().map(|(_, name)| format!("C{name}")).collect();
    Error::Header(format!(
        "y4m with C{text} is not supported: convert the video to one of {}",
        names.join(", ")
    ))
}

impl fmt::Display for Header {
    /// Writes the line that begins a stream, without its line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interlacing = match self.interlacing {
            Interlacing::Progressive => 'p',
            Interlacing::TopFirst => 't',
            Interlacing::BottomFirst => 'b',
        };
        let [a, b] = self.aspect.unwrap_or([0, 0]);
        let [rate, scale] = self.rate;
        write!(
            f,
            "YUV4MPEG2 W{} H{} F{rate}:{scale} I{interlacing} A{a}:{b} C{}{}",
            self.width,
            self.height,
            self.chroma.name(),
            self.siting.unwrap_or_default()
        )?;
        if self.chroma.depth() > 8 {
            // Programs that use the older name of the format look at this comment.
            write!(f, " XYSCSS={}", self.chroma.name().to_uppercase())?;
        }
        match self.full_range {
            Some(true) => f.write_str(" XCOLORRANGE=FULL"),
            Some(false) => f.write_str(" XCOLORRANGE=LIMITED"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_ffmpeg_are_understood() {
        let header =
            Header::parse(b"YUV4MPEG2 W1920 H1080 F30000:1001 It A4:3 C420jpeg XYSCSS=420JPEG")
                .unwrap();
        assert_eq!(header.rate, [30000, 1001]);
        assert_eq!(header.interlacing, Interlacing::TopFirst);
        assert_eq!(header.aspect, Some([4, 3]));
        assert_eq!((header.chroma, header.siting), (Chroma::C420, Some("jpeg")));
        assert_eq!(header.frame_len(), 1920 * 1080 * 3 / 2);

        let line = b"YUV4MPEG2 W3 H5 F25:1 Ip A0:0 C422p10 XYSCSS=422P10 XCOLORRANGE=LIMITED";
        let header = Header::parse(line).unwrap();
        assert_eq!((header.aspect, header.full_range), (None, Some(false)));
        assert_eq!(header.planes(), [[3, 5], [2, 5], [2, 5]]);
        assert_eq!(header.frame_len(), 2 * (15 + 10 + 10));
        assert_eq!(header.to_string().as_bytes(), line);
    }

    #[test]
    fn headers_are_written_and_read_again() {
        for (chroma, name) in Chroma::NAMES {
            let text = format!("YUV4MPEG2 W7 H9 F24:1 Ib A1:1 C{name}");
            let header = Header::parse(text.as_bytes()).unwrap();
            assert_eq!((header.chroma, chroma.name()), (chroma, name));
            assert_eq!(Header::parse(header.to_string().as_bytes()).unwrap(), header);
        }
    }

    #[test]
    fn wrong_headers_are_refused() {
        for (line, expected) in [
            ("", "not y4m"),
            ("YUV4MPEG2", "not y4m"),
            ("YUV4MPEG2 H9 F25:1", "no width"),
            ("YUV4MPEG2 W9 F25:1", "no height"),
            ("YUV4MPEG2 W0 H9", "\"W0\""),
            ("YUV4MPEG2 W-1 H9", "\"W-1\""),
            ("YUV4MPEG2 W+1 H9", "\"W+1\""),
            ("YUV4MPEG2 W8193 H9", "\"W8193\""),
            ("YUV4MPEG2 W4294967297 H9", "\"W4294967297\""),
            ("YUV4MPEG2 W9 H9 F25", "\"F25\""),
            ("YUV4MPEG2 W9 H9 F0:1", "no frame rate"),
            ("YUV4MPEG2 W9 H9 F25:0", "no frame rate"),
            ("YUV4MPEG2 W9 H9 C420p12", "C420p12 is not supported"),
            ("YUV4MPEG2 W9 H9 C444alpha", "C444alpha is not supported"),
            ("YUV4MPEG2 W9 H9 Im", "Im is not supported"),
            ("YUV4MPEG2 W9 H9 Q1", "\"Q1\""),
            ("YUV4MPEG2 W9 H9 \u{e9}", "wrong field"),
        ] {
            let error = Header::parse(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(Header::parse(b"YUV4MPEG2 W9 H\xff").is_err());
    }
}
