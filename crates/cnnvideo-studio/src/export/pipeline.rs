// SPDX-License-Identifier: MIT OR Apache-2.0

//! The words of gst-launch-1.0.

use super::{Codec, for_gstreamer};
use crate::{
    elements::text_of,
    player::steps::Step,
    problem::{Problem, Result},
};

/// Returns the elements of a chain.
///
/// # Errors
/// A value cannot be written.
pub(super) fn chain(chain: &[Step<'_>]) -> Result<Vec<String>> {
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

/// Returns the elements that write a file.
///
/// # Errors
/// The container does not take the codec.
pub(super) fn writer(output: &str, codec: Codec, crf: Option<u32>) -> Result<Vec<String>> {
    let muxer = muxer(output, codec)?;
    let mut words = ["!", "videoconvert", "!"].map(str::to_owned).to_vec();
    words.extend(encoder(codec, crf));
    words.extend(["!", muxer, "!", "filesink"].map(str::to_owned));
    words.push(format!("location={}", for_gstreamer(output)?));
    Ok(words)
}

fn encoder(codec: Codec, crf: Option<u32>) -> Vec<String> {
    match codec {
        Codec::Ffv1 => vec!["avenc_ffv1".into()],
        Codec::H264 => {
            let crf = crf.unwrap_or(18).min(50);
            vec!["x264enc".into(), "pass=qual".into(), format!("quantizer={crf}")]
        }
        Codec::Vp9 => {
            let crf = crf.unwrap_or(24).min(63);
            vec!["vp9enc".into(), "end-usage=cq".into(), format!("cq-level={crf}")]
        }
    }
}

/// Returns the muxer for the name of a file.
fn muxer(path: &str, codec: Codec) -> Result<&'static str> {
    let muxer = match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("mkv") => "matroskamux",
        Some("mp4") => "mp4mux",
        Some("mov") => "qtmux",
        Some("webm") => "webmmux",
        _ => return Err(Problem::new("no container has this name", "name a .mkv or .mp4 file")),
    };
    match (muxer, codec) {
        ("mp4mux" | "qtmux" | "webmmux", Codec::Ffv1) => {
            Err(Problem::new("FFV1 needs Matroska", "name a .mkv file"))
        }
        ("webmmux", Codec::H264) => {
            Err(Problem::new("WebM does not take H.264", "choose VP9, or name a .mkv file"))
        }
        ("qtmux", Codec::Vp9) => {
            Err(Problem::new("QuickTime does not take VP9", "name a .webm or .mkv file"))
        }
        _ => Ok(muxer),
    }
}
