// SPDX-License-Identifier: MIT OR Apache-2.0

//! The commands that do to a whole file what the page shows.

mod quote;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    access::Access,
    card::Card,
    elements::{ELEMENTS, is_path, text_of},
    engine::{
        source::Source,
        steps::{Step, steps},
    },
    problem::{Problem, Result},
};
pub(crate) use quote::for_gstreamer;
use quote::for_shell;

/// Future frames that the page uses unless a card sets another number; that of the command differs.
const LOOKAHEAD: &str = "0";

/// What to export.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Request {
    /// The video.
    pub(crate) source: Source,
    /// Pixel format of its decoded frames.
    pub(crate) format: String,
    /// The chain.
    pub(crate) cards: Vec<Card>,
    /// File to write.
    pub(crate) output: String,
    /// Codec of the video.
    pub(crate) codec: Codec,
    /// Quality, as of `cnnvideo denoise --crf`.
    pub(crate) crf: Option<u32>,
    /// Whether to write the regions as a black and white video instead of the picture.
    #[serde(default)]
    pub(crate) matte: bool,
    /// Whether a file of the queue can go on after it was stopped.
    #[serde(default)]
    pub(crate) resume: bool,
}

/// Codecs that the page offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Codec {
    /// Lossless.
    Ffv1,
    /// H.264.
    H264,
    /// VP9.
    Vp9,
}

/// The commands.
#[derive(Debug, Serialize)]
pub(crate) struct Lines {
    /// A line of gst-launch-1.0.
    gstreamer: String,
    /// A line of `cnnvideo`, if the source is a file.
    command: Option<String>,
    /// A line of `cnnvideo-cluster`, for several machines.
    cluster: Option<String>,
    #[serde(skip)]
    arguments: Option<Vec<String>>,
}

/// Returns the commands of a chain.
///
/// # Errors
/// A file may not be read or written, no card is on, or the container does not take the codec.
pub(crate) fn export(request: &Request, access: &Access) -> Result<Lines> {
    let output = access.output(&request.output)?;
    let output = output.to_str().ok_or_else(|| not_text(&request.output))?;
    let container = Container::of(output, request.codec)?;
    let cards = exported_cards(request, access)?;
    let format = gst::Caps::builder("video/x-raw").field("format", &request.format).build();
    let chain = steps(cards.iter(), &format);

    let mut words = vec!["gst-launch-1.0".to_owned()];
    words.extend(request.source.words(access)?);
    words.extend(["!", "videoconvert", "!"].map(str::to_owned));
    words.extend(chain_words(&chain)?);
    words.extend(["!", "videoconvert", "!"].map(str::to_owned));
    words.extend(encoder(request.codec, request.crf).iter().map(ToString::to_string));
    words.extend(["!", container.muxer(), "!", "filesink"].map(str::to_owned));
    words.push(format!("location={}", for_gstreamer(output)?));

    let arguments = match &request.source {
        Source::File { path } => {
            let input = access.file(path)?;
            let input = input.to_str().ok_or_else(|| not_text(path))?;
            Some(arguments(request, &cards, &chain, input, output)?)
        }
        _ => None,
    };
    let cluster = match (&request.source, &arguments) {
        (Source::File { path }, Some(_)) => {
            let filter = chain_words(&chain)?.join(" ");
            let words =
                ["cnnvideo-cluster", "run", path, output, "--filter", &filter, "--local", "2"];
            Some(line(words.iter().copied()))
        }
        _ => None,
    };
    Ok(Lines {
        gstreamer: line(words.iter().map(String::as_str)),
        command: arguments
            .as_ref()
            .map(|words| line(std::iter::once("cnnvideo").chain(words.iter().map(String::as_str)))),
        cluster,
        arguments,
    })
}

/// Returns the arguments of `cnnvideo` for a file of the queue. Where the command can, it works in
/// chunks, so that it goes on where it was stopped.
///
/// # Errors
/// As [`export`], or the source is not a file.
pub(crate) fn job_arguments(request: &Request, access: &Access) -> Result<Vec<String>> {
    let lines = export(request, access)?;
    let mut arguments = lines
        .arguments
        .ok_or_else(|| Problem::new("only files can be in the queue", "open a file"))?;
    let in_chunks = arguments.first().is_some_and(|command| command != "watermark");
    if request.resume && in_chunks {
        arguments.push("--resume".to_owned());
    }
    Ok(arguments)
}

fn line<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(for_shell).collect::<Vec<_>>().join(" ")
}

/// Returns the cards that are on, with the real paths of their files. For a matte, the chain ends
/// with the regions.
fn exported_cards(request: &Request, access: &Access) -> Result<Vec<Card>> {
    let mut cards: Vec<_> = request.cards.iter().filter(|card| card.on).cloned().collect();
    if request.matte {
        let segment = cards.iter().rposition(|card| card.element == "cnnsegment");
        let Some(index) = segment else {
            return Err(Problem::new("there are no regions", "add the card cnnsegment"));
        };
        cards.truncate(index + 1);
        if let Some(card) = cards.last_mut() {
            card.properties.insert("output".to_owned(), Value::from("mask"));
        }
    }
    if cards.is_empty() {
        return Err(Problem::new("no card is on", "switch one on"));
    }
    for card in &mut cards {
        if !ELEMENTS.contains(&card.element.as_str()) {
            return Err(Problem::new(format!("there is no card {}", card.element), "remove it"));
        }
        for (name, value) in &mut card.properties {
            let text = text_of(&card.element, name, value)?;
            if is_path(name) && !text.is_empty() {
                *value = Value::from(access.file(&text)?.to_string_lossy().as_ref());
            }
        }
    }
    Ok(cards)
}

/// Returns the elements in the words of gst-launch-1.0.
fn chain_words(chain: &[Step<'_>]) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for step in chain {
        if !words.is_empty() {
            words.push("!".to_owned());
        }
        match step {
            Step::Convert => words.push("videoconvert".to_owned()),
            Step::Card(card) => {
                words.push(card.element.clone());
                for (name, value) in &card.properties {
                    let text = text_of(&card.element, name, value)?;
                    words.push(format!("{name}={}", for_gstreamer(&text)?));
                }
            }
        }
    }
    Ok(words)
}

/// Returns the arguments of `cnnvideo`.
fn arguments(
    request: &Request,
    cards: &[Card],
    chain: &[Step<'_>],
    input: &str,
    output: &str,
) -> Result<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    match (cards, chain) {
        ([card], [_]) if subcommand(card).is_some() => {
            words.extend(subcommand(card).into_iter().flatten().map(|word| (*word).to_owned()));
            words.extend([input, output].map(str::to_owned));
            words.extend(settings(card)?);
        }
        _ => {
            words.extend(["denoise", input, output].map(str::to_owned));
            words.extend(["--filter".to_owned(), chain_words(chain)?.join(" ")]);
        }
    }
    let codec = match request.codec {
        Codec::Ffv1 => "ffv1",
        Codec::H264 => "h264",
        Codec::Vp9 => "vp9",
    };
    words.extend(["--codec", codec].map(str::to_owned));
    if let Some(crf) = request.crf.filter(|_| request.codec != Codec::Ffv1) {
        words.extend(["--crf".to_owned(), crf.to_string()]);
    }
    Ok(words)
}

/// Returns the subcommand that runs the element of a card alone.
fn subcommand(card: &Card) -> Option<&'static [&'static str]> {
    match card.element.as_str() {
        "cnndenoise" => Some(&["denoise"]),
        "cnnsmooth" => Some(&["smooth"]),
        "watermarkembed" if card.properties.keys().all(|name| is_embed_option(name)) => {
            Some(&["watermark", "embed"])
        }
        _ => None,
    }
}

fn is_embed_option(name: &str) -> bool {
    ["key-file", "payload", "target-psnr"].contains(&name)
}

/// Returns the settings of a card as options of its subcommand.
fn settings(card: &Card) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for (name, value) in &card.properties {
        let text = text_of(&card.element, name, value)?;
        if card.element == "watermarkembed" {
            words.extend([format!("--{name}"), text]);
        } else {
            words.extend(["--set".to_owned(), format!("{name}={text}")]);
        }
    }
    if card.element == "cnndenoise" && !card.properties.contains_key("lookahead") {
        words.extend(["--set".to_owned(), format!("lookahead={LOOKAHEAD}")]);
    }
    Ok(words)
}

/// Returns the words of the encoder.
fn encoder(codec: Codec, crf: Option<u32>) -> Vec<String> {
    let words: Vec<String> = match codec {
        Codec::Ffv1 => vec!["avenc_ffv1".into()],
        Codec::H264 => {
            let crf = crf.unwrap_or(18).min(50);
            vec!["x264enc".into(), "pass=qual".into(), format!("quantizer={crf}")]
        }
        Codec::Vp9 => {
            let crf = crf.unwrap_or(24).min(63);
            vec!["vp9enc".into(), "end-usage=cq".into(), format!("cq-level={crf}")]
        }
    };
    words
}

/// Containers that the page offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Matroska,
    Mp4,
    WebM,
}

impl Container {
    fn of(path: &str, codec: Codec) -> Result<Self> {
        let container = match path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("mkv") => Self::Matroska,
            Some("mp4" | "mov") => Self::Mp4,
            Some("webm") => Self::WebM,
            _ => {
                return Err(Problem::new("no container has this name", "name a .mkv or .mp4 file"));
            }
        };
        match (container, codec) {
            (Self::Mp4 | Self::WebM, Codec::Ffv1) => {
                Err(Problem::new("FFV1 needs Matroska", "name a .mkv file"))
            }
            (Self::WebM, Codec::H264) => {
                Err(Problem::new("WebM does not take H.264", "choose VP9, or name a .mkv file"))
            }
            _ => Ok(container),
        }
    }

    fn muxer(self) -> &'static str {
        match self {
            Self::Matroska => "matroskamux",
            Self::Mp4 => "mp4mux",
            Self::WebM => "webmmux",
        }
    }
}

fn not_text(path: &str) -> Problem {
    Problem::new(format!("the name of {path} is not UTF-8"), "rename it")
}
