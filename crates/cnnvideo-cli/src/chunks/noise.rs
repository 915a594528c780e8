// SPDX-License-Identifier: MIT OR Apache-2.0

//! Estimates the noise of shots that lie in several chunks once, so that all of them assume the
//! same. In other shots, the filter estimates it as it goes.

use gst::prelude::*;

use super::{borders::Part, elements::denoisers, plan::Shot, reader::Reader};
use crate::{
    error::Result,
    filter::Filter,
    formats,
    run::{Observer, Running, run},
    stop::Stop,
    transcode::path::VideoPath,
};

/// Frames of a shot that are measured. The estimate needs about six to settle.
const FRAMES: u64 = 12;

/// Returns the shots that begin at frame 0 and at the cuts, with their noise if they are divided.
///
/// # Errors
/// Frames cannot be decoded or processed, or a signal arrives.
pub(crate) fn estimate(
    reader: &Reader,
    path: &VideoPath,
    cuts: &[u64],
    parts: &[Part],
    stop: &Stop,
) -> Result<Vec<Shot>> {
    let has_denoiser = !denoisers(&path.filter.build()?).is_empty();
    let starts: Vec<u64> = std::iter::once(0).chain(cuts.iter().copied()).collect();
    let mut shots = Vec::new();
    for (i, first_frame) in starts.iter().copied().enumerate() {
        stop.check()?;
        let end = starts.get(i + 1).copied().unwrap_or(reader.frames());
        let is_inside = |part: &Part| (first_frame + 1..end).contains(&part.frames.start);
        let noise = match has_denoiser && parts.iter().any(is_inside) {
            true => of_shot(reader, path, first_frame..end, stop)?,
            false => Vec::new(),
        };
        shots.push(Shot { first_frame, noise });
    }
    Ok(shots)
}

/// Returns the noise models that the denoisers of a filter find in the middle of a shot.
fn of_shot(
    reader: &Reader,
    path: &VideoPath,
    shot: std::ops::Range<u64>,
    stop: &Stop,
) -> Result<Vec<String>> {
    let count = FRAMES.min(shot.end - shot.start);
    let first = shot.start + (shot.end - shot.start - count) / 2;
    let pipeline = Running(gst::Pipeline::new());
    let source = gst_app::AppSrc::builder().format(gst::Format::Time).build();
    let filter = path.filter.build()?;
    let depth = |bits| {
        let caps = formats::caps_of_depth(bits);
        gst::ElementFactory::make("capsfilter").property("caps", caps).build()
    };
    let elements = [
        source.clone().upcast(),
        gst::ElementFactory::make("videoconvert").build()?,
        depth(path.input_depth)?,
        filter.clone(),
        depth(path.input_depth.max(path.output_depth))?,
        gst::ElementFactory::make("fakesink").property("sync", false).build()?,
    ];
    pipeline.0.add_many(&elements)?;
    gst::Element::link_many(&elements)?;
    let denoisers = denoisers(&filter);
    let fixed = fixed_models(&path.filter, &denoisers)?;
    let mut frames = reader.range(first..first + count, stop)?;
    while let Some((buffer, caps)) = frames.next()? {
        source.set_caps(Some(&caps));
        // A failure is reported on the bus.
        let _ = source.push_buffer(buffer);
    }
    let _ = source.end_of_stream();
    run(&pipeline, gst::State::Playing, stop, &reader.about(), &mut Quiet)?;
    let model = |(denoiser, is_fixed): (&gst::Element, &bool)| match is_fixed {
        true => String::new(),
        false => model_of(denoiser),
    };
    Ok(denoisers.iter().zip(&fixed).map(model).collect())
}

/// Returns for each denoiser, before the start, whether the user has fixed its noise model.
fn fixed_models(filter: &Filter, denoisers: &[gst::Element]) -> Result<Vec<bool>> {
    let untouched = model_of(&gst::ElementFactory::make("cnndenoise").build()?);
    let mentions = match filter {
        Filter::Element { properties, .. } => {
            properties.iter().any(|(name, _)| name == "noise-model")
        }
        Filter::Description(text) => text.contains("noise-model"),
    };
    Ok(denoisers.iter().map(|denoiser| mentions && model_of(denoiser) != untouched).collect())
}

fn model_of(denoiser: &gst::Element) -> String {
    let model = denoiser.property::<Option<gst::Structure>>("noise-model");
    model.map(|model| model.to_string()).unwrap_or_default()
}

/// Ignores warnings, which come again in the chunks.
struct Quiet;

impl Observer for Quiet {
    fn warning(&mut self, _text: &str) {}
}
