// SPDX-License-Identifier: MIT OR Apache-2.0

//! The bit depths with which a filter is run.

use gst::prelude::*;
use gst_video::VideoInfo;

use crate::{
    args::BitDepth,
    error::{Failure, Result, failed},
    filter::{Filter, elements_of},
    formats,
};

/// Bits of the samples before and behind a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depths {
    /// Bits of the samples that the filter gets.
    pub(super) input: u32,
    /// Bits of the samples that the output keeps.
    pub(super) output: u32,
}

impl Depths {
    /// Chooses the depths for decoded video. `asked` is the depth that the user wants.
    ///
    /// Where the output has 8 bits, a filter that takes no more gets 8 bits.
    ///
    /// # Errors
    /// The filter takes neither.
    pub(super) fn choose(
        filter: &Filter,
        info: &VideoInfo,
        asked: Option<BitDepth>,
    ) -> Result<Self> {
        let input = if formats::depth(info.format()) > 8 { 10 } else { 8 };
        let output = match asked {
            Some(BitDepth::Eight) => 8,
            Some(BitDepth::Ten) => 10,
            None => input,
        };
        let converted = Self { input: input.min(output), output };
        for depths in [Self { input, output }, converted] {
            if depths.fit(filter)? {
                return Ok(depths);
            }
        }
        Err(Self { input, output }.failure(filter))
    }

    /// Returns the bits of the samples behind the filter: the higher of both depths. A lower one
    /// comes from the conversion at the end, which dithers.
    fn processed(self) -> u32 {
        self.input.max(self.output)
    }

    /// Returns whether a filter takes video of one depth and gives video of the other.
    fn fit(self, filter: &Filter) -> Result<bool> {
        let bin = gst::Bin::new();
        let filter = filter.build()?;
        let behind = gst::ElementFactory::make("capsfilter")
            .property("caps", formats::caps_of_depth(self.processed()))
            .build()?;
        bin.add_many([&filter, &behind])?;
        let taken = formats::caps_of_depth(self.input);
        let sink = filter.static_pad("sink");
        // Elements that do not fit cannot be linked.
        Ok(filter.link(&behind).is_ok()
            && sink.is_some_and(|sink| !sink.query_caps(Some(&taken)).is_empty()))
    }

    /// Returns the failure for a filter that the depths do not fit.
    fn failure(self, filter: &Filter) -> Failure {
        let Self { input, output } = self;
        let same = |depth| Self { input: depth, output: depth }.fit(filter).unwrap_or(false);
        if output > input && same(input) {
            return failed!(
                "{} cannot turn video of {input} bits into video of {output} bits: leave out \
                 --depth",
                filter.name()
            );
        }
        let element = refusing(filter, input).unwrap_or_else(|| filter.name().to_owned());
        let advice = match input > 8 && same(8) {
            true => "add --depth 8, which converts the video first, or use another element",
            false => "use another element",
        };
        failed!("{element} does not take raw video of {input} bits: {advice}")
    }
}

/// Returns the name of the first element of a filter that takes no video of a depth.
fn refusing(filter: &Filter, depth: u32) -> Option<String> {
    let takes = |factory: &gst::ElementFactory| {
        formats::accepted(factory).into_iter().any(|format| formats::depth(format) == depth)
    };
    let elements = elements_of(&filter.build().ok()?);
    let mut factories = elements.iter().filter_map(|element| element.factory());
    factories.find(|factory| !takes(factory)).map(|factory| factory.name().to_string())
}

#[cfg(test)]
mod tests {
    use gst_video::VideoFormat;

    use super::*;

    fn choose(text: &str, format: VideoFormat, asked: Option<BitDepth>) -> Result<Depths> {
        crate::init().unwrap();
        let info = VideoInfo::builder(format, 64, 48).build().unwrap();
        Depths::choose(&Filter::description(text).unwrap(), &info, asked)
    }

    #[test]
    fn depths_fit_the_filter() {
        use BitDepth::{Eight, Ten};
        let (eight, ten) = (VideoFormat::I420, VideoFormat::I42010le);
        for (text, format, asked, expected) in [
            ("cnndenoise", eight, None, (8, 8)),
            ("cnndenoise", eight, Some(Ten), (8, 10)),
            ("cnndenoise", ten, None, (10, 10)),
            ("cnndenoise", ten, Some(Eight), (10, 8)),
            ("cnndeband", VideoFormat::I42012le, None, (10, 10)),
            ("identity", ten, Some(Eight), (10, 8)),
            ("cnndenoise ! edgetv", eight, None, (8, 8)),
            ("cnndenoise ! edgetv", ten, Some(Eight), (8, 8)),
            ("videoconvert ! edgetv ! videoconvert", ten, None, (10, 10)),
            ("cnndenoise ! videoconvert ! edgetv", ten, Some(Eight), (8, 8)),
        ] {
            let depths = choose(text, format, asked).unwrap();
            assert_eq!((depths.input, depths.output), expected, "{text} {format} {asked:?}");
        }
        for (text, format, asked, expected) in [
            ("cnndenoise ! edgetv", ten, None, "edgetv does not take raw video of 10"),
            ("cnndenoise ! edgetv", ten, None, "add --depth 8"),
            ("videoconvert ! edgetv", ten, None, "add --depth 8"),
            ("edgetv", eight, Some(Ten), "leave out --depth"),
            ("identity", eight, Some(Ten), "leave out --depth"),
            ("audioconvert", eight, None, "audioconvert does not take raw video of 8 bits: use an"),
            ("audioconvert", ten, None, "audioconvert does not take raw video of 10 bits: use an"),
        ] {
            let error = choose(text, format, asked).unwrap_err().to_string();
            assert!(error.contains(expected), "{text} {format} {asked:?}: {error}");
        }
    }
}
