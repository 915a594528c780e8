// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where video comes from.

use gst::prelude::*;
use serde::Deserialize;

use super::strand::{make, make_caps};
use crate::{
    access::Access,
    export::for_gstreamer,
    problem::{Problem, Result},
};

/// Longest test picture, in frames: enough to look at, and an end for the export.
const TEST_FRAMES: i32 = 500;
/// Frames of a test picture that the preview can show: an hour.
const PREVIEW_FRAMES: i32 = 90_000;

/// A file, camera or test picture.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Source {
    /// A video file.
    File {
        /// Its path.
        path: String,
    },
    /// A camera of Video4Linux.
    Camera {
        /// Its device, `/dev/videoN`.
        device: String,
    },
    /// A test picture.
    Test {
        /// A pattern of `videotestsrc`.
        pattern: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// The elements that decode a source.
pub(crate) struct Elements {
    /// The elements, of which all but those around `decoder` are to be linked in order.
    pub(crate) all: Vec<gst::Element>,
    /// Index of an element whose pads appear later.
    pub(crate) decoder: Option<usize>,
    /// Whether frames come in real time and cannot be sought.
    pub(crate) live: bool,
}

impl Source {
    /// Returns the name that the page shows.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::File { path } => path.rsplit('/').next().unwrap_or(path).to_owned(),
            Self::Camera { device } => device.clone(),
            Self::Test { pattern, .. } => format!("test picture {pattern}"),
        }
    }

    /// Makes the elements.
    ///
    /// # Errors
    /// The file may not be opened, or a value is wrong.
    pub(crate) fn elements(&self, access: &Access) -> Result<Elements> {
        match self {
            Self::File { path } => {
                let path = access.file(path)?;
                let source = make("filesrc")?;
                source.set_property("location", path.to_string_lossy().as_ref());
                let decoder = make("decodebin")?;
                decoder.set_property("force-sw-decoders", true);
                decoder.set_property("expose-all-streams", false);
                let any = gst::Caps::builder("video/x-raw").any_features().build();
                decoder.set_property("caps", any);
                Ok(Elements { all: vec![source, decoder], decoder: Some(1), live: false })
            }
            Self::Camera { device } => {
                check_camera(device)?;
                let source = make("v4l2src")?;
                source.set_property("device", device);
                let decoder = make("decodebin")?;
                Ok(Elements { all: vec![source, decoder], decoder: Some(1), live: true })
            }
            Self::Test { pattern, width, height } => {
                let source = make("videotestsrc")?;
                // A seek does not reset this count, so it is far above that of the export.
                source.set_property("num-buffers", PREVIEW_FRAMES);
                let spec = source.find_property("pattern");
                let value =
                    spec.and_then(|spec| glib::Value::deserialize_with_pspec(pattern, &spec).ok());
                let value = value.ok_or_else(|| wrong_test("no such pattern"))?;
                source.set_property_from_value("pattern", &value);
                if !(16..=4096).contains(width) || !(16..=4096).contains(height) {
                    return Err(wrong_test("the size is not within 16 to 4096 pixels"));
                }
                let size = gst::Caps::builder("video/x-raw")
                    .field("format", "I420")
                    .field("width", *width as i32)
                    .field("height", *height as i32)
                    .field("framerate", gst::Fraction::new(25, 1));
                let all = vec![source, make_caps(&size.build())?];
                Ok(Elements { all, decoder: None, live: false })
            }
        }
    }

    /// Returns the elements in the words of gst-launch-1.0, up to decoded video.
    pub(crate) fn words(&self, access: &Access) -> Result<Vec<String>> {
        let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Ok(match self {
            Self::File { path } => {
                let path = access.file(path)?;
                let location = format!("location={}", for_gstreamer(&path.to_string_lossy())?);
                let decode = ["!", "decodebin", "force-sw-decoders=true"];
                let mut words = vec!["filesrc".to_owned(), location];
                words.extend(decode.map(str::to_owned));
                words
            }
            Self::Camera { device } => {
                texts(&["v4l2src", &format!("device={device}"), "!", "decodebin"])
            }
            Self::Test { pattern, width, height } => texts(&[
                "videotestsrc",
                &format!("num-buffers={TEST_FRAMES}"),
                &format!("pattern={pattern}"),
                "!",
                &format!("video/x-raw,format=I420,width={width},height={height},framerate=25/1"),
            ]),
        })
    }
}

/// Checks that a text names a camera and no other file.
fn check_camera(device: &str) -> Result<()> {
    let number = device.strip_prefix("/dev/video").unwrap_or_default();
    if number.is_empty() || number.len() > 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::new(
            format!("{device} is not a camera"),
            "name /dev/video0 to video999",
        ));
    }
    Ok(())
}

fn wrong_test(reason: &str) -> Problem {
    Problem::new(format!("test picture: {reason}"), "choose another one")
}
