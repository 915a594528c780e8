//! Evaluation of flicker in cnnsmooth's output: motion-compensated differences between successive
//! frames.

use std::path::PathBuf;

use clap::Args;
use cnnvideo::{
    nn::Threads,
    segment::flow::{Flow, Pyramid, warp},
};
use ndarray::Array2;

use crate::{Result, element, load, smooth::luma};

/// Pixels of the input clip whose motion-compensated difference exceeds this value, in 8-bit units,
/// are occluded or badly tracked and do not count.
const LOST: f32 = 20.0;

#[derive(Args)]
pub struct Stability {
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

pub fn run(task: &Stability) -> Result<()> {
    gst::init()?;
    gstcnnvideo::plugin_register_static()?;
    let mut pictures = load(&task.data)?;
    pictures.truncate(task.frames);
    let size = pictures[0].dimensions();
    let frames: Vec<&[u8]> = pictures.iter().map(|picture| picture.as_raw().as_slice()).collect();
    let clip: Vec<_> = frames.iter().map(|frame| luma(frame, size)).collect();
    let threads = Threads::new(0)?;
    let mut pyramids = [Pyramid::default(), Pyramid::default()];
    let whole = (0..size.1 as usize, 0..size.0 as usize);
    let flows: Vec<Flow> = clip
        .windows(2)
        .map(|pair| {
            let mut flow = Flow::default();
            pyramids.iter_mut().zip(pair).for_each(|(pyramid, luma)| pyramid.build(luma));
            flow.search(&pyramids[1], &pyramids[0], &whole, &threads);
            flow
        })
        .collect();
    println!(
        "Root mean square motion-compensated difference to the previous frame, \
         in 8-bit units of luma\n"
    );
    println!(
        "| | difference |\n| --- | --- |\n| {} | {:.2} |",
        task.data.display(),
        along(&clip, &clip, &flows)
    );
    for scale in &task.scales {
        let element = gst::parse::launch(&format!("cnnsmooth scale={scale} {}", task.set))?;
        let smoothed = element::through_all(&element, &frames, size)?;
        let smoothed: Vec<_> = smoothed.iter().map(|frame| luma(frame, size)).collect();
        println!(
            "| cnnsmooth scale={scale} {} | {:.2} |",
            task.set,
            along(&smoothed, &clip, &flows)
        );
    }
    Ok(())
}

/// Returns the root mean square motion-compensated difference of `frames`, with the flow of `clip`,
/// over its well-tracked pixels.
fn along(frames: &[Array2<f32>], clip: &[Array2<f32>], flows: &[Flow]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for ((frames, clip), flow) in frames.windows(2).zip(clip.windows(2)).zip(flows) {
        let moved = |pair: &[Array2<f32>]| {
            let mut moved = Array2::zeros(pair[0].dim());
            warp(&pair[0], flow, (0, 0), &mut moved);
            &pair[1] - &moved
        };
        for (difference, own) in moved(frames).iter().zip(&moved(clip)) {
            if own.abs() <= LOST {
                sum += f64::from(difference * difference);
                count += 1.0;
            }
        }
    }
    (sum / f64::max(count, 1.0)).sqrt()
}
