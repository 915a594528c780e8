// SPDX-License-Identifier: MIT OR Apache-2.0

//! Commands of a page to its session.

use serde::Deserialize;

use super::source::Source;
use crate::card::{Card, MAX_CARDS};

/// A message of the page.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Command {
    /// Opens a source.
    Open {
        /// The source.
        source: Source,
    },
    /// Plays, from the start if the video has ended.
    Play,
    /// Pauses.
    Pause,
    /// Moves to a time.
    Seek {
        /// Time in seconds.
        seconds: f64,
    },
    /// Pauses and moves by frames.
    Step {
        /// 1 or -1.
        frames: i32,
    },
    /// Plays again and again, or not.
    Loop {
        /// True to switch it on.
        on: bool,
    },
    /// Replaces the chain.
    Chain {
        /// All cards.
        cards: Vec<Card>,
        /// Number of this state of the chain.
        revision: u64,
    },
    /// The page has shown a picture.
    Ack,
    /// Measures the picture, or not.
    Quality {
        /// True to switch it on.
        on: bool,
        /// A video to compare with instead of the input.
        reference: Option<String>,
    },
    /// Draws the regions over the picture, or not.
    Regions {
        /// True to switch it on.
        on: bool,
    },
}

impl Command {
    /// Reads a message of the page.
    ///
    /// # Errors
    /// It is not one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let command: Self = serde_json::from_str(text).map_err(|err| err.to_string())?;
        match &command {
            Self::Chain { cards, .. } if cards.len() > MAX_CARDS => {
                Err(format!("a chain has at most {MAX_CARDS} cards"))
            }
            Self::Seek { seconds } if !(0.0..1e9).contains(seconds) => {
                Err("the time is not within the video".to_owned())
            }
            _ => Ok(command),
        }
    }

    /// Returns whether a later command of the same kind makes this one needless.
    fn is_replaced_by(&self, later: &Self) -> bool {
        matches!(
            (self, later),
            (Self::Seek { .. }, Self::Seek { .. }) | (Self::Chain { .. }, Self::Chain { .. })
        )
    }
}

/// Removes commands that the next one replaces: a slider sends more of them than frames pass.
pub(crate) fn without_replaced(commands: Vec<Command>) -> Vec<Command> {
    let mut kept: Vec<Command> = Vec::with_capacity(commands.len());
    for command in commands {
        if kept.last().is_some_and(|last| last.is_replaced_by(&command)) {
            kept.pop();
        }
        kept.push(command);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_messages_are_refused() {
        for text in [
            "",
            "x",
            "{}",
            r#"{"type":"quit"}"#,
            r#"{"type":"seek"}"#,
            r#"{"type":"seek","seconds":-1}"#,
            r#"{"type":"seek","seconds":1e300}"#,
            r#"{"type":"step","frames":1e9}"#,
            r#"{"type":"open","source":{"kind":"url","path":"http://x"}}"#,
            r#"{"type":"chain","cards":[{"element":1}],"revision":0}"#,
        ] {
            assert!(Command::parse(text).is_err(), "{text}");
        }
        let many = vec![r#"{"element":"cnndenoise"}"#; 17].join(",");
        let chain = format!(r#"{{"type":"chain","revision":1,"cards":[{many}]}}"#);
        assert!(Command::parse(&chain).is_err());
    }

    #[test]
    fn of_many_seeks_only_the_last_is_kept() {
        let seek = |seconds| Command::Seek { seconds };
        let commands = vec![seek(1.0), seek(2.0), Command::Play, seek(3.0), seek(4.0)];
        assert_eq!(without_replaced(commands), [seek(2.0), Command::Play, seek(4.0)]);
    }
}
