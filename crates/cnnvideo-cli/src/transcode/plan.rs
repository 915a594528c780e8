// SPDX-License-Identifier: MIT OR Apache-2.0

//! What happens with each stream of a file.

use gst::prelude::*;
use serde_json::{Value, json};

use super::plain_text;
use crate::{
    container::{Container, pad_template},
    error::{Result, failed},
    media::{
        demux::Kind,
        probe::{Media, Stream},
    },
    output::note,
};

/// What happens with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// It is decoded, processed and encoded.
    Process,
    /// It is copied into a pad of the muxer.
    Copy {
        /// Name of the template of the muxer's pad.
        pad: String,
        /// What changes its form on the way.
        conversion: Conversion,
    },
    /// It is left out.
    Drop,
}

/// How a stream gets the form in which a container stores it. The content stays the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// As it is.
    None,
    /// Through a parser.
    Parser(String),
    /// Text with escaped characters becomes plain text.
    PlainText,
}

/// Streams with their routes, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Plan(pub(crate) Vec<(Stream, Route)>);

impl Plan {
    /// Plans how a file gets into a container.
    ///
    /// # Errors
    /// The container cannot hold a stream and `drop_unsupported` is false.
    pub(crate) fn new(media: &Media, container: Container, drop_unsupported: bool) -> Result<Self> {
        let muxer = (container != Container::Y4m).then(|| container.muxer()).transpose()?;
        let mut routes = Vec::new();
        for (index, stream) in media.streams.iter().enumerate() {
            let copy = muxer.as_ref().and_then(|muxer| copy(muxer, stream));
            let route = match copy {
                _ if index == media.video => Route::Process,
                Some(route) => route,
                None if drop_unsupported || muxer.is_none() => Route::Drop,
                None => {
                    return Err(failed!(
                        "a .{} file cannot hold stream {index} ({} of type {}): write a .mkv file, \
                         or add --drop-unsupported to leave it out",
                        container.extension(),
                        stream.kind.name(),
                        stream.type_name()
                    ));
                }
            };
            routes.push((stream.clone(), route));
        }
        Ok(Self(routes))
    }

    /// Tells the user which streams are left out.
    pub(crate) fn note_dropped(&self) {
        let dropped = self.0.iter().enumerate().filter(|(_, (_, route))| *route == Route::Drop);
        let words: Vec<_> = dropped
            .map(|(index, (stream, _))| {
                format!("{index} ({} of type {})", stream.kind.name(), stream.type_name())
            })
            .collect();
        if !words.is_empty() {
            note(format_args!("cnnvideo: left out: stream {}", words.join(", stream ")));
        }
    }

    /// Returns the streams for a report.
    pub(crate) fn to_json(&self) -> Value {
        let entry = |(stream, route): &(Stream, Route)| {
            let action = match route {
                Route::Process => "processed",
                Route::Copy { .. } => "copied",
                Route::Drop => "left out",
            };
            json!({"kind": stream.kind.name(), "type": stream.type_name(), "action": action})
        };
        self.0.iter().map(entry).collect()
    }
}

impl Stream {
    /// Returns the media type, for example `audio/x-opus`.
    pub(crate) fn type_name(&self) -> &str {
        self.caps.structure(0).map_or("unknown", |structure| structure.name().as_str())
    }
}

/// Returns the route of a stream that is copied, if the muxer can hold it.
fn copy(muxer: &gst::Element, stream: &Stream) -> Option<Route> {
    let name = match stream.kind {
        Kind::Video => "video_%u",
        Kind::Audio => "audio_%u",
        Kind::Subtitle if stream.type_name().starts_with("closedcaption/") => "caption_%u",
        Kind::Subtitle => "subtitle_%u",
        Kind::Other => return None,
    };
    let template = pad_template(muxer, name)?;
    let pad = name.to_owned();
    if template.caps().can_intersect(&stream.caps) {
        return Some(Route::Copy { pad, conversion: Conversion::None });
    }
    if plain_text::can_convert(&stream.caps) && template.caps().can_intersect(&plain_text::caps()) {
        return Some(Route::Copy { pad, conversion: Conversion::PlainText });
    }
    let parsers = gst::ElementFactory::factories_with_type(
        gst::ElementFactoryType::PARSER,
        gst::Rank::MARGINAL,
    );
    let converts = |parser: &gst::ElementFactory| {
        parser.can_sink_any_caps(&stream.caps) && parser.can_src_any_caps(template.caps())
    };
    let parser = parsers.into_iter().find(converts)?;
    Some(Route::Copy { pad, conversion: Conversion::Parser(parser.name().to_string()) })
}
