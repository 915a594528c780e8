//! Flicker: how much frames differ from the ones before once these have been moved along.

use std::path::PathBuf;

use clap::Args;
use gstcnnvideo::{
    nn::Threads,
    segment::flow::{Flow, Pyramid, warp},
};
use ndarray::Array2;

use crate::{Result, element, load, smooth::luma};

/// Pixels of the clip that differ by more than this, in levels, along its motion are hidden or lost, and left out.
const LOST: f32 = 20.0;

#[derive(Args)]
pub struct Stability {
    /// Folder with the frames of a clip (.png, .jpg) in the order of their names.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value_t = 40)]
    frames: usize,
    #[arg(long, value_delimiter = ',', default_value = "4,8,16")]
    scales: Vec<f32>,
    /// Further properties of cnnsmooth, as in gst-launch-1.0.
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
        "Root mean square difference to the frame before along the clip's motion, in levels of luma\n"
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
