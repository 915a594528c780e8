// SPDX-License-Identifier: MIT OR Apache-2.0

//! The commands that do to a whole file what the page shows.

mod command;
mod pipeline;
mod quote;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    access::Access,
    card::Card,
    elements::{self, ELEMENTS},
    player::{source::Source, steps::steps},
    problem::{Problem, Result},
};
use command::Job;
pub(crate) use quote::for_gstreamer;
use quote::for_shell;

/// The element that only reports, and changes no frame.
const DETECTOR: &str = "watermarkdetect";

/// Request for an export.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Request {
    /// The video.
    pub(crate) source: Source,
    /// Pixel format of its decoded frames.
    format: String,
    /// The chain.
    cards: Vec<Card>,
    /// File to write.
    output: String,
    /// Codec of the video.
    codec: Codec,
    /// Quality, as of `cnnvideo denoise --crf`.
    crf: Option<u32>,
    /// Whether to write the regions as a black and white video instead of the picture.
    #[serde(default)]
    matte: bool,
    /// Whether a file of the queue can go on after it was stopped.
    #[serde(default)]
    resume: bool,
}

/// Codecs that the page offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Codec {
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
    let cards = exported_cards(request, access)?;
    let format = gst::Caps::builder("video/x-raw").field("format", &request.format).build();
    let chain = steps(cards.iter(), &format);
    let detects = cards.iter().all(|card| card.element == DETECTOR);

    let mut words = request.source.words(access)?;
    words.extend(["!", "videoconvert", "!"].map(str::to_owned));
    words.extend(pipeline::chain(&chain)?);
    if detects {
        words.splice(0..0, ["gst-launch-1.0", "-m"].map(str::to_owned));
        words.extend(["!", "fakesink"].map(str::to_owned));
    } else {
        words.insert(0, "gst-launch-1.0".to_owned());
        words.extend(pipeline::writer(output, request.codec, request.crf)?);
    }

    let (mut arguments, mut cluster) = (None, None);
    if let Source::File { path } = &request.source {
        let input = access.file(path)?;
        let input = input.to_str().ok_or_else(|| not_text(path))?;
        let job = Job { input, output, codec: request.codec, crf: request.crf };
        if detects {
            arguments = Some(job.detection(&cards)?);
        } else {
            arguments = Some(job.arguments(&cards, &chain)?);
            if in_chunks(&cards) {
                cluster = Some(line("cnnvideo-cluster", &job.cluster(&chain)?));
            }
        }
    }
    Ok(Lines {
        gstreamer: words.iter().map(|word| for_shell(word)).collect::<Vec<_>>().join(" "),
        command: arguments.as_ref().map(|words| line("cnnvideo", words)),
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
    let arguments = export(request, access)?.arguments;
    let mut arguments =
        arguments.ok_or_else(|| Problem::new("only files can be in the queue", "open a file"))?;
    let has_chunks = arguments.first().is_some_and(|command| command != "watermark");
    let on: Vec<_> = request.cards.iter().filter(|card| card.on).cloned().collect();
    if request.resume && has_chunks && in_chunks(&on) {
        arguments.push("--resume".to_owned());
    }
    Ok(arguments)
}

/// Returns whether a chain can work on parts of a video. The seeds of regions belong to its first
/// frame only.
fn in_chunks(cards: &[Card]) -> bool {
    cards.iter().all(|card| card.element != "cnnsegment")
}

fn line(program: &str, arguments: &[String]) -> String {
    let words = std::iter::once(program).chain(arguments.iter().map(String::as_str));
    words.map(for_shell).collect::<Vec<_>>().join(" ")
}

/// Returns the cards that are on, with the real paths of their files. For a matte, the chain ends
/// with the regions. Detectors are left out unless there is nothing else.
fn exported_cards(request: &Request, access: &Access) -> Result<Vec<Card>> {
    let mut cards: Vec<_> = request.cards.iter().filter(|card| card.on).cloned().collect();
    if request.matte {
        let segment = cards.iter().rposition(|card| card.element == "cnnsegment");
        let Some(index) = segment else {
            return Err(Problem::new("there are no regions", "add the card cnnsegment"));
        };
        cards.truncate(index + 1);
    }
    if cards.iter().any(|card| card.element != DETECTOR) {
        cards.retain(|card| card.element != DETECTOR);
    }
    if cards.is_empty() {
        return Err(Problem::new("no card is on", "switch one on"));
    }
    for card in &mut cards {
        if !ELEMENTS.contains(&card.element.as_str()) {
            return Err(Problem::new(format!("there is no card {}", card.element), "remove it"));
        }
        elements::check(card, access)?;
    }
    if request.matte
        && let Some(card) = cards.last_mut()
    {
        card.properties.insert("output".to_owned(), Value::from("mask"));
    }
    Ok(cards)
}

fn not_text(path: &str) -> Problem {
    Problem::new(format!("the name of {path} is not UTF-8"), "rename it")
}
