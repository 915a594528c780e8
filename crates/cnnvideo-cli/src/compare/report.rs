// SPDX-License-Identifier: MIT OR Apache-2.0

//! The folder of a report: a page, pictures and the measures of all frames.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    measures::{FrameMeasures, main_psnr, worst},
    page::{Page, Shown},
    pictures::{at_times, difference, gain, worst_part},
};
use crate::{
    error::{Result, failed},
    media::Input,
    output::NewFolder,
    stop::Stop,
};

/// Name of the page in the folder.
pub(super) const PAGE: &str = "index.html";
/// Number of the worst frames that are shown.
const SHOWN: usize = 3;
/// Kinds of pictures, as in file names.
pub(super) const KINDS: [&str; 3] = ["reference", "test", "difference"];

/// Writes a report. `result` has the names of the videos, the counts and the means; it gets the
/// path of the page.
///
/// # Errors
/// The videos cannot be read again, the folder cannot be written, or a signal arrives. Then there
/// is no folder.
pub(super) fn write(
    path: &Path,
    inputs: &[Input; 2],
    frames: &[FrameMeasures],
    result: &mut Value,
    stop: &Stop,
) -> Result<()> {
    let folder = NewFolder::create(path)?;
    let psnr = main_psnr(frames);
    let numbers = worst(frames, psnr, SHOWN);
    let (gain, shown) = write_pictures(&folder, inputs, frames, &numbers, stop)?;
    let page = Page { result, frames, psnr, gain, shown: &shown };
    folder.write(PAGE, page.to_html().as_bytes())?;
    let all: Vec<_> = frames.iter().enumerate().map(|(n, frame)| frame.to_json(n)).collect();
    let mut data = result.clone();
    data["worst"] = json!(numbers);
    data["frames"] = json!(all);
    folder.write("frames.json", data.to_string().as_bytes())?;
    stop.check()?;
    folder.finish()?;
    result["report"] = json!(path.join(PAGE).to_string_lossy());
    Ok(())
}

/// Writes the pictures of some frames, and returns the amplification of their differences.
fn write_pictures(
    folder: &NewFolder,
    inputs: &[Input; 2],
    frames: &[FrameMeasures],
    numbers: &[usize],
    stop: &Stop,
) -> Result<(u8, Vec<Shown>)> {
    if numbers.is_empty() {
        return Ok((1, Vec::new()));
    }
    let untimed =
        || failed!("a frame has no timestamp: put the videos into other containers first");
    let time = |number: &usize| frames[*number].time.map(|time| (time, *number));
    let mut order: Vec<_> = numbers.iter().map(time).collect::<Option<_>>().ok_or_else(untimed)?;
    order.sort_unstable();
    let times: Vec<_> = order.iter().map(|(time, _)| *time).collect();
    let [references, tests] = [&inputs[0], &inputs[1]].map(|input| at_times(input, &times, stop));
    let mut pairs = Vec::new();
    let mut shown = Vec::new();
    for ((reference, test), (_, number)) in references?.into_iter().zip(tests?).zip(&order) {
        if (reference.width, reference.height) != (test.width, test.height) {
            return Err(failed!("the videos differ in size at frame {number}"));
        }
        let part = worst_part(&reference, &test);
        let pair = [reference.part(part), test.part(part)];
        let is_part = pair[0] != reference;
        let size = [pair[0].width, pair[0].height];
        let part = is_part.then_some(part);
        shown.push(Shown { number: *number, size, part });
        pairs.push(pair);
    }
    let gain = gain(&pairs);
    for ([reference, test], shown) in pairs.into_iter().zip(&shown) {
        let difference = difference(&reference, &test, gain);
        for (kind, picture) in KINDS.into_iter().zip([reference, test, difference]) {
            folder.write(&shown.file(kind), &picture.to_png()?)?;
        }
    }
    // In the order of the worst frames.
    shown.sort_by_key(|shown| numbers.iter().position(|number| *number == shown.number));
    Ok((gain, shown))
}
