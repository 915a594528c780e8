// SPDX-License-Identifier: MIT OR Apache-2.0

//! The elements in a filter that must know which part of a video they get.

use gst::prelude::*;

use super::plan::ChunkPlan;
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

/// Frames after which `cnndenoise` measures the noise of the same component again.
const NOISE_PERIOD: u64 = 6;

/// Returns the elements `cnndenoise` of a filter.
pub(crate) fn denoisers(filter: &gst::Element) -> Vec<gst::Element> {
    elements_of(filter).into_iter().filter(|element| is(element, "cnndenoise")).collect()
}

/// Returns whether the output of a filter depends on earlier frames.
pub(crate) fn has_memory(filter: &gst::Element) -> bool {
    let forgets =
        |element: &gst::Element| FRAME_BY_FRAME.iter().any(|factory| is(element, factory));
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

/// Returns the number of frames after which what a filter does from frame to frame repeats:
/// a warm-up begins a multiple of it behind a cut, so that it does the same as in the whole shot.
pub(crate) fn period(filter: &gst::Element) -> u64 {
    // The pass backwards over the frames in advance serves half of them.
    let passes = denoisers(filter).into_iter().map(|denoiser| {
        (u64::from(denoiser.property::<u32>("lookahead")) + 1).div_euclid(2).max(1)
    });
    passes.fold(NOISE_PERIOD, lcm)
}

/// Returns the least common multiple of two numbers that are not 0.
fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

/// Prepares a filter, before it starts, for the frames from number `first` on: numbers the frames
/// of watermarks, and lets denoisers begin anew at cuts. Elements whose number of threads is
/// automatic get `threads`.
///
/// # Errors
/// The filter has no input.
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
    if !denoisers(filter).is_empty() {
        let times = plan.timestamps();
        restart_at_cuts(filter, plan.shots.iter().map(|first| times[*first as usize]).collect())?;
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
            // It averages the estimates of the noise.
            ("cnndenoise temporal=false", true, 0),
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
    fn warm_ups_keep_the_order_of_what_denoisers_do() {
        for (text, frames) in [
            ("cnndenoise", 6),
            ("cnndenoise lookahead=2", 6),
            ("cnndenoise lookahead=8", 12),
            ("cnndenoise lookahead=10 ! cnnsmooth ! cnndenoise lookahead=16", 120),
            ("cnnsmooth", 6),
        ] {
            assert_eq!(period(&filter(text)), frames, "{text}");
        }
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
}
