// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where a file is: a path, or an http(s) URL that is read by ranges.

use std::path::Path;

use gst::prelude::*;

use crate::error::{Result, failed};

/// Memory for the data of a URL in bytes; within it, the demultiplexer moves without a new request.
const RING_BUFFER: u64 = 16 << 20;

/// Returns whether a file is named by an http(s) URL.
pub(crate) fn is_url(location: &Path) -> bool {
    let text = location.to_string_lossy();
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// Adds the elements that read a file, and returns the last one.
///
/// # Errors
/// An element is missing.
pub(crate) fn add_source(pipeline: &gst::Pipeline, location: &Path) -> Result<gst::Element> {
    if !is_url(location) {
        let source = gst::ElementFactory::make("filesrc").property("location", location).build()?;
        pipeline.add(&source)?;
        return Ok(source);
    }
    let source = http_source(location)?;
    // Lets the demultiplexer read at any position, as from a file.
    let buffer = gst::ElementFactory::make("queue2")
        .property("ring-buffer-max-size", RING_BUFFER)
        .build()?;
    pipeline.add_many([&source, &buffer])?;
    source.link(&buffer)?;
    Ok(buffer)
}

/// Creates the element that reads a URL.
///
/// # Errors
/// It is missing.
pub(crate) fn http_source(location: &Path) -> Result<gst::Element> {
    gst::ElementFactory::make("souphttpsrc")
        .property("location", location.to_string_lossy().as_ref())
        .build()
        .map_err(|_| {
            failed!(
                "cannot read {}: the element souphttpsrc is missing: install the package \
                 gstreamer1.0-plugins-good",
                location.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["http://host/a.mkv", "HTTPS://host:8080/a%20b.mp4?x=1"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in ["a.mkv", "/http/a.mkv", "http:", "file:///a.mkv", "http/a"] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
    }
}
