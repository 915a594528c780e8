// SPDX-License-Identifier: MIT OR Apache-2.0

//! The arguments of `cnnvideo` and `cnnvideo-cluster`.

use super::{Codec, pipeline};
use crate::{card::Card, elements::text_of, player::steps::Step, problem::Result};

/// Future frames that the page uses unless a card sets another number; that of the command differs.
const LOOKAHEAD: &str = "0";

/// A run of the program over a file.
pub(super) struct Job<'a> {
    /// The video.
    pub(super) input: &'a str,
    /// File to write.
    pub(super) output: &'a str,
    /// Codec of the video.
    pub(super) codec: Codec,
    /// Quality.
    pub(super) crf: Option<u32>,
}

impl Job<'_> {
    /// Returns the arguments of `cnnvideo` that run the chain of some cards.
    ///
    /// # Errors
    /// A value cannot be written.
    pub(super) fn arguments(&self, cards: &[Card], chain: &[Step<'_>]) -> Result<Vec<String>> {
        let mut words: Vec<String> = Vec::new();
        let files = [self.input, self.output].map(str::to_owned);
        match (cards, chain, cards.first().and_then(subcommand)) {
            ([card], [_], Some(command)) => {
                words.extend(command.iter().map(|word| (*word).to_owned()));
                words.extend(files);
                words.extend(settings(card)?);
            }
            _ => {
                words.push("denoise".to_owned());
                words.extend(files);
                words.extend(["--filter".to_owned(), filter(chain)?]);
            }
        }
        words.extend(self.quality());
        Ok(words)
    }

    /// Returns the arguments of `cnnvideo` that look for a watermark.
    ///
    /// # Errors
    /// A value cannot be written.
    pub(super) fn detection(&self, cards: &[Card]) -> Result<Vec<String>> {
        let mut words = ["watermark", "detect", self.input].map(str::to_owned).to_vec();
        for card in cards.iter().take(1) {
            if let Some(key) = card.properties.get("key-file") {
                words.extend(["--key-file".to_owned(), text_of(&card.element, "key-file", key)?]);
            }
        }
        words.push("--all".to_owned());
        Ok(words)
    }

    /// Returns the arguments of `cnnvideo-cluster`.
    ///
    /// # Errors
    /// A value cannot be written.
    pub(super) fn cluster(&self, chain: &[Step<'_>]) -> Result<Vec<String>> {
        let mut words = ["run", self.input, self.output, "--filter"].map(str::to_owned).to_vec();
        words.push(filter(chain)?);
        words.extend(self.quality());
        words.extend(["--scheduler", "tcp://HOST:8786"].map(str::to_owned));
        Ok(words)
    }

    fn quality(&self) -> Vec<String> {
        let codec = match self.codec {
            Codec::Ffv1 => "ffv1",
            Codec::H264 => "h264",
            Codec::Vp9 => "vp9",
        };
        let mut words = ["--codec", codec].map(str::to_owned).to_vec();
        if let Some(crf) = self.crf.filter(|_| self.codec != Codec::Ffv1) {
            words.extend(["--crf".to_owned(), crf.to_string()]);
        }
        words
    }
}

/// Returns the elements of a chain as a filter. Where the chain reduces the depth of the samples,
/// the filter restores it, as the program keeps it.
fn filter(chain: &[Step<'_>]) -> Result<String> {
    let mut words = pipeline::chain(chain)?;
    if chain.contains(&Step::Convert) {
        words.extend(["!", "videoconvert"].map(str::to_owned));
    }
    Ok(words.join(" "))
}

/// Returns the subcommand that runs the element of a card alone.
fn subcommand(card: &Card) -> Option<&'static [&'static str]> {
    let is_option = |name: &String| ["key-file", "payload", "target-psnr"].contains(&name.as_str());
    match card.element.as_str() {
        "cnndenoise" => Some(&["denoise"]),
        "cnnsmooth" => Some(&["smooth"]),
        "watermarkembed" if card.properties.keys().all(is_option) => Some(&["watermark", "embed"]),
        _ => None,
    }
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
