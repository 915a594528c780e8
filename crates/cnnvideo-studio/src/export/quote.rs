// SPDX-License-Identifier: MIT OR Apache-2.0

//! Quotes texts for the shell and for GStreamer's pipeline syntax.

use crate::problem::{Problem, Result};

/// Returns a word as a POSIX shell reads it.
pub(super) fn for_shell(word: &str) -> String {
    // A lone ! is the link of gst-launch-1.0, which shells leave alone.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:,%-+@=".contains(c);
    if word == "!" || (!word.is_empty() && word.chars().all(is_plain)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns a value of a property as GStreamer reads it.
///
/// # Errors
/// The syntax of pipelines has no way to write the value.
pub(crate) fn for_gstreamer(value: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:,%-+@".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return Ok(value.to_owned());
    }
    // A backslash escapes any character but a quote.
    if value.contains('"') || value.ends_with('\\') {
        return Err(Problem::new(
            format!("gst-launch-1.0 cannot take {value}"),
            "rename the file: without quotes, and without a backslash at the end",
        ));
    }
    Ok(format!("\"{}\"", value.replace('\\', r"\\")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_read_the_words_back() {
        for word in
            ["plain", "a b", "it's", "$(rm x)", "`x`", "a;b", "", "\"", "\\", "new\nline", "!"]
        {
            let script = format!("printf %s {}", for_shell(word));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn gstreamer_reads_the_values_back() {
        use gst::prelude::*;
        gst::init().unwrap();
        for value in ["plain", "a b", "it's", "fg:1,2;bg:3%,4%", "a\\b", "a ! b", "(x)"] {
            let text = format!("identity name={}", for_gstreamer(value).unwrap());
            let element = gst::parse::launch(&text).unwrap();
            assert_eq!(element.name(), value);
        }
        assert!(for_gstreamer("a\"b").is_err() && for_gstreamer("a b\\").is_err());
    }
}
