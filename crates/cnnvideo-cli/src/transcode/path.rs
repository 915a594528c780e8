// SPDX-License-Identifier: MIT OR Apache-2.0

//! The elements through which decoded video passes: the filter, and the encoder.

use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

use super::depths::Depths;
use crate::{
    args::Quality,
    codec::Encoder,
    container::Container,
    error::{Result, failed},
    filter::Filter,
    formats, pipe,
};

/// Frames between threads, so that filter, decoder and encoder run at the same time.
const QUEUED_FRAMES: u32 = 3;

/// The way of decoded video to its encoded form.
#[derive(Debug, Clone)]
pub(crate) struct VideoPath {
    /// Elements that process the video.
    pub(crate) filter: Filter,
    /// Encoder with quality, or `None` for raw video.
    pub(crate) encoder: Option<(Encoder, u32)>,
    /// Bits of the samples that the filter gets.
    pub(crate) input_depth: u32,
    /// Bits of the samples that the output keeps.
    pub(crate) output_depth: u32,
    /// Threads of the encoder.
    pub(crate) threads: u32,
    /// Caps of the decoded video.
    pub(crate) caps: gst::Caps,
    /// Whether the headers of the encoded video must not depend on the number of threads.
    pub(crate) fixed_headers: bool,
    /// Number of frames from one key frame to the next; by default as the encoder decides.
    pub(crate) key_frame_interval: Option<u32>,
}

/// The ends of the elements in a pipeline.
pub(crate) struct Ends {
    /// Element whose sink pad takes decoded video.
    pub(crate) first: gst::Element,
    /// The filter.
    pub(crate) filter: gst::Element,
    /// Element whose source pad gives the output.
    pub(crate) last: gst::Element,
}

/// Returns the number of threads of an encoder: the given one, or one for each core.
pub(crate) fn encoder_threads(threads: Option<u32>) -> u32 {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    threads.unwrap_or_else(cores).min(64)
}

impl VideoPath {
    /// Chooses formats and encoder for video of `caps` in a container.
    ///
    /// # Errors
    /// The filter does not take the bit depth, no encoder is installed, or it lacks the quality.
    pub(crate) fn choose(
        filter: Filter,
        caps: gst::Caps,
        container: Container,
        quality: &Quality,
        threads: Option<u32>,
    ) -> Result<Self> {
        let info = VideoInfo::from_caps(&caps)?;
        let Depths { input: input_depth, output: output_depth } =
            Depths::choose(&filter, &info, quality.depth)?;
        let encoder = if container == Container::Y4m {
            None
        } else {
            let encoder = Encoder::choose(quality.codec, container, output_depth)?;
            Some((encoder, encoder.codec.checked_crf(quality.crf)?))
        };
        Ok(Self {
            filter,
            encoder,
            input_depth,
            output_depth,
            threads: encoder_threads(threads),
            caps,
            fixed_headers: false,
            key_frame_interval: None,
        })
    }

    /// Adds the elements to a pipeline.
    ///
    /// # Errors
    /// An element is missing.
    pub(crate) fn add_to(&self, pipeline: &gst::Pipeline) -> Result<Ends> {
        let make = |factory: &str| gst::ElementFactory::make(factory).build();
        let filter = self.filter.build()?;
        // Behind the filter, the video has the higher of both depths. A lower one comes from the
        // conversion at the end, which dithers.
        let processed = self.input_depth.max(self.output_depth);
        let mut elements = vec![
            queue()?,
            make("videoconvert")?,
            capsfilter(&formats::caps_of_depth(self.input_depth))?,
            filter.clone(),
            capsfilter(&formats::caps_of_depth(processed))?,
            queue()?,
            make("videoconvert")?,
            capsfilter(&formats::caps(self.output_formats()))?,
        ];
        if let Some((encoder, crf)) = self.encoder {
            let threads = match self.fixed_headers && encoder.headers_depend_on_threads {
                true => 1,
                false => self.threads,
            };
            let element = encoder.build(crf, threads, self.key_frame_interval)?;
            if encoder.writes_hdr {
                add_x265_options(&element, &self.caps);
            }
            elements.push(element);
            if let Some(parser) = encoder.parser {
                elements.push(make(parser).map_err(|_| {
                    failed!(
                        "the element {parser} is missing: install the package \
                         gstreamer1.0-plugins-bad"
                    )
                })?);
            }
        }
        pipeline.add_many(&elements)?;
        gst::Element::link_many(&elements)?;
        for element in &elements {
            element.sync_state_with_parent()?;
        }
        let (first, last) = (elements[0].clone(), elements[elements.len() - 1].clone());
        if self.encoder.is_some_and(|(encoder, _)| encoder.writes_hdr) {
            leave_hdr_to_the_stream(&last);
        }
        Ok(Ends { first, filter, last })
    }

    /// Returns the bits of the samples in the file.
    pub(crate) fn encoded_depth(&self) -> u32 {
        let encoded =
            self.encoder.and_then(|(encoder, _)| encoder.encoded_depth(self.output_depth));
        encoded.unwrap_or(self.output_depth)
    }

    /// Returns the formats that the output may have.
    fn output_formats(&self) -> Vec<VideoFormat> {
        let formats = match self.encoder {
            Some((encoder, _)) => encoder.formats(),
            None => pipe::FORMATS.to_vec(),
        };
        let depth = self.encoded_depth();
        formats.into_iter().filter(|format| formats::depth(*format) == depth).collect()
    }
}

/// Creates a queue of a few frames.
fn queue() -> Result<gst::Element> {
    Ok(gst::ElementFactory::make("queue")
        .property("max-size-buffers", QUEUED_FRAMES)
        .property("max-size-bytes", 0u32)
        .property("max-size-time", 0u64)
        .build()?)
}

fn capsfilter(caps: &gst::Caps) -> Result<gst::Element> {
    Ok(gst::ElementFactory::make("capsfilter").property("caps", caps).build()?)
}

/// Fields of caps with HDR metadata.
const HDR_FIELDS: [&str; 2] = ["mastering-display-info", "content-light-level"];

/// Lets x265 write the HDR metadata of caps into its stream, and accept a variable frame rate.
fn add_x265_options(encoder: &gst::Element, caps: &gst::CapsRef) {
    let text = |field: &str| caps.structure(0)?.get::<String>(field).ok();
    let mut options = encoder.property::<String>("option-string");
    let rate = caps.structure(0).and_then(|caps| caps.get::<gst::Fraction>("framerate").ok());
    if rate.is_none_or(|rate| rate.numer() == 0) {
        // x265 needs some rate; constant quality hardly depends on it.
        options += ":fps=25:vui-timing-info=0";
    }
    if let Some(display) = text(HDR_FIELDS[0])
        && let [rx, ry, gx, gy, bx, by, wx, wy, high, low] =
            display.split(':').collect::<Vec<_>>()[..]
    {
        options += &format!(
            ":master-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"
        );
    }
    if let Some(light) = text(HDR_FIELDS[1]) {
        options += &format!(":max-cll={}", light.replace(':', ","));
    }
    encoder.set_property("option-string", options);
}

/// Removes HDR metadata from the caps for the muxer. Muxers of GStreamer 1.22 write wrong
/// luminances (Matroska) or nothing (MP4); readers take the metadata from the stream itself.
fn leave_hdr_to_the_stream(last: &gst::Element) {
    let Some(pad) = last.static_pad("src") else { return };
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view()) {
            let mut caps = event.caps_owned();
            if let Some(structure) = caps.make_mut().structure_mut(0) {
                structure.remove_fields(HDR_FIELDS);
            }
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
}
