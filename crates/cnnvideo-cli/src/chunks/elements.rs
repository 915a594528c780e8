// SPDX-License-Identifier: MIT OR Apache-2.0

//! The elements in a filter that must know which part of a video they get.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gst::prelude::*;

use super::plan::{ChunkPlan, Shot};
use crate::{
    error::{Result, failed, usage},
    filter::elements_of,
    transcode::durations::running_time,
};

/// Elements whose output frames depend on one input frame and on its number.
const FRAME_BY_FRAME: [&str; 9] = [
    "cnnsmooth",
    "cnndeband",
    "watermarkembed",
    "videoconvert",
    "videoscale",
    "videocrop",
    "capsfilter",
    "identity",
    "queue",
];

fn is(element: &gst::Element, factory: &str) -> bool {
    element.factory().is_some_and(|own| own.name() == factory)
}

/// Returns the elements `cnndenoise` of a filter.
pub(crate) fn denoisers(filter: &gst::Element) -> Vec<gst::Element> {
    elements_of(filter).into_iter().filter(|element| is(element, "cnndenoise")).collect()
}

/// Returns whether the output of a filter depends on earlier frames.
pub(crate) fn has_memory(filter: &gst::Element) -> bool {
    let forgets = |element: &gst::Element| {
        FRAME_BY_FRAME.iter().any(|factory| is(element, factory))
            || (is(element, "cnndenoise") && !element.property::<bool>("temporal"))
    };
    !elements_of(filter).iter().all(forgets)
}

/// Checks that the output of a filter does not depend on the speed of the machine, as the chunks of
/// one video must look alike.
///
/// # Errors
/// A denoiser with `quality=auto`.
pub(crate) fn check_preset(filter: &gst::Element) -> Result<()> {
    let is_auto = |element: &gst::Element| {
        glib::EnumValue::from_value(&element.property_value("quality"))
            .is_some_and(|(_, value)| value.nick() == "auto")
    };
    match denoisers(filter).iter().find(|element| is_auto(element)) {
        Some(_) => Err(usage!(
            "quality=auto follows the speed of each machine, so the chunks of a video would differ \
             in quality: set fast, balanced or best"
        )),
        None => Ok(()),
    }
}

/// Returns the number of future frames that the output of a filter depends on.
pub(crate) fn lookahead(filter: &gst::Element) -> u64 {
    let of = |element: &gst::Element| match element.find_property("lookahead") {
        Some(spec) if spec.value_type() == u32::static_type() => {
            u64::from(element.property::<u32>("lookahead"))
        }
        _ => 0,
    };
    elements_of(filter).iter().map(of).sum()
}

/// Prepares a filter, before it starts, for the frames from number `first` on: numbers the frames
/// of watermarks, sets the noise of each shot, and lets denoisers begin anew at cuts. Elements
/// whose number of threads is automatic get `threads`.
///
/// # Errors
/// The plan has a wrong noise model.
pub(crate) fn prepare(
    filter: &gst::Element,
    plan: &ChunkPlan,
    first: u64,
    threads: Option<u32>,
) -> Result<()> {
    for element in elements_of(filter) {
        let spec = element.find_property("threads");
        if let (Some(threads), Some(spec)) = (threads, spec)
            && spec.value_type() == u32::static_type()
            && element.property::<u32>("threads") == 0
        {
            element.set_property("threads", threads);
        }
    }
    for element in elements_of(filter).iter().filter(|element| is(element, "watermarkembed")) {
        let offset: u64 = element.property("frame-offset");
        element.set_property("frame-offset", offset + first);
    }
    let times = Arc::new(plan.timestamps());
    let denoisers = denoisers(filter);
    if !denoisers.is_empty() {
        let starts = plan.shots.iter().map(|shot| times[shot.first_frame as usize]).collect();
        restart_at_cuts(filter, starts)?;
    }
    for (i, denoiser) in denoisers.iter().enumerate() {
        let models = models(&plan.shots, i)?;
        if !models.is_empty() {
            follow_shots(denoiser, models, Arc::clone(&times), first)?;
        }
    }
    Ok(())
}

/// Lets a filter begin anew at the frames with these timestamps, as if it had started there: a
/// chunk that begins at a cut then equals that part of an undivided run.
///
/// A segment ends a scene for the elements of this project. It is the segment that they have
/// already, so nothing else changes.
fn restart_at_cuts(filter: &gst::Element, starts: Vec<u64>) -> Result<()> {
    let pad = filter.static_pad("sink").ok_or_else(|| failed!("the filter has no input"))?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let time = info.buffer().and_then(|buffer| running_time(pad, buffer));
        if let Some(time) = time
            && starts.binary_search(&time.nseconds()).is_ok()
            && let Some(event) = pad.sticky_event::<gst::event::Segment>(0)
        {
            pad.send_event(gst::event::Segment::new(event.segment()));
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// Returns the first frames of the shots with the models of a denoiser: without fields where it is
/// to estimate the noise. None if it is to keep what the user has set.
fn models(shots: &[Shot], denoiser: usize) -> Result<Vec<(u64, gst::Structure)>> {
    let of = |shot: &Shot| {
        let model = match shot.noise.get(denoiser) {
            Some(text) => {
                text.parse().map_err(|_| failed!("the plan has a wrong noise model: {text}"))?
            }
            None => gst::Structure::new_empty("cnn-noise-model"),
        };
        Ok((shot.first_frame, model))
    };
    let texts = || shots.iter().filter_map(|shot| shot.noise.get(denoiser));
    if texts().next().is_none() || texts().any(String::is_empty) {
        return Ok(Vec::new());
    }
    shots.iter().map(of).collect()
}

/// Sets the model of each frame before the element processes it: as soon as the frame before it has
/// left. The element may have received later frames by then.
fn follow_shots(
    denoiser: &gst::Element,
    models: Vec<(u64, gst::Structure)>,
    times: Arc<Vec<u64>>,
    first: u64,
) -> Result<()> {
    let set = |element: &gst::Element, model: &gst::Structure| {
        element.set_property("noise-model", model);
    };
    let pad = denoiser.static_pad("src").ok_or_else(|| failed!("cnndenoise has no output"))?;
    let current = AtomicUsize::new(shot_of(&models, first));
    set(denoiser, &models[current.load(Ordering::Relaxed)].1);
    let element = denoiser.downgrade();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(time) = info.buffer().and_then(|buffer| running_time(pad, buffer)) {
            let next = times.partition_point(|other| *other <= time.nseconds()) as u64;
            let shot = shot_of(&models, next);
            if current.swap(shot, Ordering::Relaxed) != shot
                && let Some(element) = element.upgrade()
            {
                set(&element, &models[shot].1);
            }
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// Returns the index of the shot of a frame.
fn shot_of(models: &[(u64, gst::Structure)], frame: u64) -> usize {
    models.partition_point(|(start, _)| *start <= frame).max(1) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    fn filter(text: &str) -> gst::Element {
        crate::init().unwrap();
        Filter::description(text).unwrap().build().unwrap()
    }

    #[test]
    fn memory_and_lookahead_of_filters() {
        for (text, memory, future) in [
            ("cnndenoise", true, 0),
            ("cnndenoise temporal=false", false, 0),
            ("cnnsmooth ! cnndeband ! watermarkembed", false, 0),
            ("cnndenoise lookahead=4 ! cnnsmooth ! cnndenoise lookahead=3", true, 7),
            ("videorate", true, 0),
        ] {
            let filter = filter(text);
            assert_eq!(has_memory(&filter), memory, "{text}");
            assert_eq!(lookahead(&filter), future, "{text}");
        }
        let single = Filter::element("cnndenoise", &["lookahead=5".to_owned()]).unwrap();
        assert_eq!(lookahead(&single.build().unwrap()), 5);
        assert_eq!(denoisers(&single.build().unwrap()).len(), 1);
    }

    #[test]
    fn a_quality_that_depends_on_speed_is_refused() {
        assert!(check_preset(&filter("cnnsmooth quality=auto ! cnndenoise quality=best")).is_ok());
        let auto = filter("cnnsmooth ! cnndenoise quality=auto");
        let error = check_preset(&auto).unwrap_err().to_string();
        assert!(error.contains("fast, balanced or best"), "{error}");
    }

    #[test]
    fn denoisers_come_in_the_order_of_the_stream() {
        let filter =
            filter("cnndenoise name=a ! cnnsmooth ! cnndenoise name=b ! cnndenoise name=c");
        let names: Vec<_> = denoisers(&filter).iter().map(|d| d.name().to_string()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn frames_find_their_shots() {
        crate::init().unwrap();
        let models: Vec<_> =
            [0, 10, 25].map(|start| (start, gst::Structure::new_empty("n"))).into();
        for (frame, shot) in [(0, 0), (9, 0), (10, 1), (24, 1), (25, 2), (900, 2)] {
            assert_eq!(shot_of(&models, frame), shot, "{frame}");
        }
    }
}
