// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evaluation of flicker in cnnsmooth's output: motion-compensated differences between successive
//! frames.

use std::path::PathBuf;

use clap::Args;
use cnnvideo::{
    nn::Threads,
    segment::flow::{Flow, FlowWindow, LumaPyramid, motion_compensate},
};
use ndarray::Array2;

use cnnvideo_eval::{
    Result, colour::full_range_luma, element::run_element, frame::RawFrame, images, init, say_line,
};

/// Pixels of the input clip whose motion-compensated difference exceeds this value, in 8-bit units,
/// are occluded or badly tracked and do not count.
const MAX_TRACKED_DIFFERENCE: f32 = 20.0;

#[derive(Args)]
pub(crate) struct StabilityArguments {
    /// Folder with the frames of a clip (.png, .jpg), ordered by name
    #[arg(long)]
    data: PathBuf,
    /// Maximum number of frames to use
    #[arg(long, default_value_t = 40)]
    frames: usize,
    /// Smoothing scales, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "4,8,16")]
    scales: Vec<f32>,
    /// Further properties of cnnsmooth, in the syntax of gst-launch-1.0
    #[arg(long, default_value = "")]
    set: String,
}

/// Measures flicker of the input and of the output by scale.
pub(crate) fn run(arguments: &StabilityArguments) -> Result<()> {
    init()?;
    let mut clip = images::load_rgb(&arguments.data)?;
    clip.truncate(arguments.frames);
    let frames = clip.iter().map(RawFrame::from_image).collect::<Result<Vec<_>>>()?;
    let size = frames[0].size();
    let luma = |frames: &[RawFrame]| -> Vec<_> {
        frames.iter().map(|frame| full_range_luma(&frame.first_plane(), size)).collect()
    };
    let clip = luma(&frames);
    let threads = Threads::new(0)?;
    let mut pyramids = [LumaPyramid::default(), LumaPyramid::default()];
    let whole = FlowWindow::whole((size.1 as usize, size.0 as usize));
    let flows: Vec<Flow> = clip
        .windows(2)
        .map(|pair| {
            let mut flow = Flow::default();
            pyramids.iter_mut().zip(pair).for_each(|(pyramid, luma)| pyramid.build(luma, &threads));
            flow.estimate(&pyramids[1], &pyramids[0], &whole, &threads);
            flow
        })
        .collect();
    say_line!(
        "Root mean square motion-compensated difference to the previous frame, \
         in 8-bit units of luma\n"
    )?;
    say_line!(
        "| | difference |\n| --- | --- |\n| {} | {:.2} |",
        arguments.data.display(),
        motion_compensated_rms(&clip, &clip, &flows)
    )?;
    for scale in &arguments.scales {
        let element = gst::parse::launch(&format!("cnnsmooth scale={scale} {}", arguments.set))?;
        let smoothed = luma(&run_element(&element, &frames)?.frames);
        say_line!(
            "| cnnsmooth scale={scale} {} | {:.2} |",
            arguments.set,
            motion_compensated_rms(&smoothed, &clip, &flows)
        )?;
    }
    Ok(())
}

/// Returns the root mean square motion-compensated difference of `frames`, with the flow of `clip`,
/// over its well-tracked pixels.
fn motion_compensated_rms(frames: &[Array2<f32>], clip: &[Array2<f32>], flows: &[Flow]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for ((frames, clip), flow) in frames.windows(2).zip(clip.windows(2)).zip(flows) {
        let moved = |pair: &[Array2<f32>]| {
            &pair[1] - &motion_compensate(&pair[0], flow, &FlowWindow::whole(pair[0].dim()))
        };
        for (difference, own) in moved(frames).iter().zip(&moved(clip)) {
            if own.abs() <= MAX_TRACKED_DIFFERENCE {
                sum += f64::from(difference * difference);
                count += 1.0;
            }
        }
    }
    (sum / f64::max(count, 1.0)).sqrt()
}
