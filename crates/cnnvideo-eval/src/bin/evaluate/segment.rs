// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evaluation of cnnsegment: number of clicks a region needs, and tracking of a region through a
//! clip.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cnnvideo::{
    frame::{Format, Picture, Plane},
    nn::{Device, Precision},
    segment::{
        Seed, Seeds, SegmentNetworks, Segmenter, Shape,
        simulate::{Click, next_click},
    },
};
use image::{GrayImage, RgbImage};
use ndarray::Array2;

use cnnvideo_eval::{Result, images, output::write_image, say_line};

/// Maximum number of clicks.
const MAX_CLICKS: usize = 20;
/// Intersections over union for which the number of clicks (NoC) is reported.
const REACHED: [f64; 2] = [0.85, 0.90];
/// Numbers of clicks after which the mean intersection over union is reported.
const SHOWN: [usize; 6] = [1, 2, 3, 5, 10, 20];

#[derive(clap::Args)]
pub(crate) struct SegmentArguments {
    /// Folder with `images` and `masks` of the same names; mask values: 255 the object, 128
    /// ignored, 0 the rest
    #[arg(long)]
    data: PathBuf,
    /// Model file to use instead of the built-in model
    #[arg(long)]
    model: Option<PathBuf>,
    /// Use colours and edges only, without the segmentation network
    #[arg(long)]
    without_network: bool,
    /// Folder to write images to: each with its clicks and its region after three clicks
    #[arg(long)]
    pictures: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct SegmentVideoArguments {
    /// Folder with `frames` and `masks` of the same names; mask values above 0 are the object
    #[arg(long)]
    data: PathBuf,
    /// Number of clicks on the first frame
    #[arg(long, default_value_t = 3)]
    clicks: usize,
    /// Model file to use instead of the built-in model
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder to write images to: every eighth frame with its region
    #[arg(long)]
    pictures: Option<PathBuf>,
}

/// Returns the networks: with a model file, or else the built-in ones.
pub(crate) fn networks(model: Option<&Path>) -> Result<SegmentNetworks> {
    Ok(match model {
        Some(path) => SegmentNetworks::from_file(path.to_owned(), Device::Cpu, Precision::Auto)?,
        None => SegmentNetworks::built_in(Device::Cpu, Precision::Auto)?,
    })
}

/// Measures how well a region follows an object through a clip.
pub(crate) fn track(arguments: &SegmentVideoArguments) -> Result<()> {
    let networks = networks(arguments.model.as_deref())?;
    let mut segmenter = Segmenter::new(&networks, 0)?;
    let mut seeds = Seeds::default();
    let (mut ious, mut times) = (Vec::new(), Vec::new());
    let files = images::image_files(&arguments.data.join("frames"))?;
    for (number, file) in files.iter().enumerate() {
        let name = images::stem(file);
        let image = images::open_rgb(file)?;
        let mask = image::open(arguments.data.join("masks").join(&name).with_extension("png"))?
            .into_luma8();
        let dim = (mask.height() as usize, mask.width() as usize);
        let truth =
            Array2::from_shape_fn(dim, |(y, x)| Some(mask.get_pixel(x as u32, y as u32).0[0] > 0));
        let start = Instant::now();
        push_frame(&mut segmenter, &image, &mut seeds)?;
        if number == 0 {
            let mut mask = Array2::from_elem(dim, false);
            for _ in 0..arguments.clicks {
                let Some(Click { x, y, inside }) = next_click(&mask.view(), &truth.view()) else {
                    break;
                };
                let point = [(x as f32 + 0.5) / dim.1 as f32, (y as f32 + 0.5) / dim.0 as f32];
                seeds.push(Seed { label: u8::from(inside), shape: Shape::Point(point) });
                segmenter.update_regions(&seeds)?;
                mask = full_size_mask(&segmenter, dim);
            }
        } else {
            times.push(start.elapsed());
        }
        let mask = full_size_mask(&segmenter, dim);
        ious.push(iou(&mask, &truth));
        if let Some(folder) = &arguments.pictures
            && number % 8 == 0
        {
            let case = Case { name: name.clone(), image, truth };
            let picture = draw_mask(&case, &mask, &seeds);
            write_image(&folder.join(format!("{name}.jpg")), &picture)?;
        }
    }
    let mean = ious.iter().sum::<f64>() / ious.len().max(1) as f64;
    let every_fifth: Vec<_> = ious.iter().step_by(5).map(|iou| format!("{iou:.2}")).collect();
    say_line!(
        "mean IoU {mean:.3} over {} frames; every fifth: {}",
        ious.len(),
        every_fifth.join(" ")
    )?;
    times.sort_unstable();
    if let Some(median) = times.get(times.len() / 2) {
        say_line!("time of a frame: median {:.1} ms", median.as_secs_f64() * 1e3)?;
    }
    Ok(())
}

/// An image with the true mask of one object; `None` marks ignored pixels.
struct Case {
    name: String,
    image: RgbImage,
    truth: Array2<Option<bool>>,
}

/// Measures how many clicks the objects of a data set need.
pub(crate) fn run(arguments: &SegmentArguments) -> Result<()> {
    let mut networks = networks(arguments.model.as_deref())?;
    if arguments.without_network {
        networks.region = None;
    }
    let cases = load(&arguments.data)?;
    say_line!("{} images of {}", cases.len(), arguments.data.display())?;
    let mut clicks = [Vec::new(), Vec::new()];
    let (mut by_click, mut boxes, mut extremes) = (vec![0.0; MAX_CLICKS], 0.0, 0.0);
    let mut times = Vec::new();
    for case in &cases {
        let curve = click_through(case, &networks, &mut times, arguments.pictures.as_deref())?;
        for (clicks, reached) in clicks.iter_mut().zip(REACHED) {
            clicks
                .push(curve.iter().position(|iou| *iou >= reached).map_or(MAX_CLICKS, |at| at + 1));
        }
        by_click.iter_mut().zip(&curve).for_each(|(sum, iou)| *sum += iou / cases.len() as f64);
        let [x0, y0, x1, y1] = bounds(&case.truth);
        boxes +=
            iou_of_seeds(case, &networks, &[Shape::Box { corner: [x0, y0], opposite: [x1, y1] }])?
                / cases.len() as f64;
        let points: Vec<_> = extreme_points(&case.truth).into_iter().map(Shape::Point).collect();
        extremes += iou_of_seeds(case, &networks, &points)? / cases.len() as f64;
        if std::env::var_os("CASES").is_some() {
            say_line!("{}: {:.2?}", case.name, &curve[..6])?;
        }
    }
    for (clicks, reached) in clicks.iter().zip(REACHED) {
        let mean = clicks.iter().sum::<usize>() as f64 / clicks.len() as f64;
        let failed = clicks.iter().filter(|c| **c == MAX_CLICKS).count();
        say_line!(
            "NoC@{:.0}: {mean:.2} clicks, {failed} failed within {MAX_CLICKS}",
            100.0 * reached
        )?;
    }
    let shown = SHOWN.map(|n| format!("{n}: {:.3}", by_click[n - 1]));
    say_line!("mean IoU by clicks: {}", shown.join(", "))?;
    say_line!("mean IoU of a box alone: {boxes:.3}, of four extreme points: {extremes:.3}")?;
    times.sort_unstable();
    let at =
        |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    say_line!("time of a click: median {:.1} ms, 99% {:.1} ms", at(50), at(99))?;
    Ok(())
}

/// Returns the intersection over union after each of up to [`MAX_CLICKS`] simulated clicks.
fn click_through(
    case: &Case,
    networks: &SegmentNetworks,
    times: &mut Vec<Duration>,
    pictures: Option<&Path>,
) -> Result<Vec<f64>> {
    let mut segmenter = Segmenter::new(networks, 0)?;
    let mut seeds = Seeds::default();
    let (height, width) = case.truth.dim();
    let mut mask = Array2::from_elem((height, width), false);
    let mut curve = Vec::new();
    for number in 1..=MAX_CLICKS {
        if let Some(Click { x, y, inside }) = next_click(&mask.view(), &case.truth.view()) {
            let point = [(x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32];
            seeds.push(Seed { label: u8::from(inside), shape: Shape::Point(point) });
            let start = Instant::now();
            if number == 1 {
                push_frame(&mut segmenter, &case.image, &mut Seeds::default())?;
            }
            segmenter.update_regions(&seeds)?;
            mask = full_size_mask(&segmenter, (height, width));
            times.push(start.elapsed());
        }
        curve.push(iou(&mask, &case.truth));
        if let Some(folder) = pictures
            && number == 3
        {
            let picture = draw_mask(case, &mask, &seeds);
            write_image(&folder.join(format!("{}.jpg", case.name)), &picture)?;
        }
    }
    Ok(curve)
}

/// Returns the intersection over union of the region from the given seeds.
fn iou_of_seeds(case: &Case, networks: &SegmentNetworks, shapes: &[Shape]) -> Result<f64> {
    let mut segmenter = Segmenter::new(networks, 0)?;
    push_frame(&mut segmenter, &case.image, &mut Seeds::default())?;
    let mut seeds = Seeds::default();
    for shape in shapes {
        seeds.push(Seed { label: 1, shape: shape.clone() });
    }
    segmenter.update_regions(&seeds)?;
    Ok(iou(&full_size_mask(&segmenter, case.truth.dim()), &case.truth))
}

/// Passes an RGB image to the segmenter as the next frame.
fn push_frame(segmenter: &mut Segmenter, image: &RgbImage, seeds: &mut Seeds) -> Result<()> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let format = Format::RGB;
    segmenter.next_picture(
        &Picture::new(format, width, height, &[Plane::new(image.as_raw(), 3 * width)])?,
        seeds,
    )?;
    Ok(())
}

/// Returns the region of the segmenter at the size of the image.
fn full_size_mask(segmenter: &Segmenter, dim: (usize, usize)) -> Array2<bool> {
    let mut mask = Array2::zeros(dim);
    segmenter.mask(mask.view_mut());
    mask.mapv(|label| label > 0)
}

/// Returns the intersection over union, without ignored pixels.
fn iou(mask: &Array2<bool>, truth: &Array2<Option<bool>>) -> f64 {
    let pairs =
        mask.iter().zip(truth).filter_map(|(mask, truth)| truth.map(|truth| (*mask, truth)));
    let (both, either) = pairs.fold((0u32, 0u32), |(both, either), (a, b)| {
        (both + u32::from(a && b), either + u32::from(a || b))
    });
    f64::from(both) / f64::from(either.max(1))
}

/// Returns the bounding box `[left, top, right, bottom]` of the object, relative to the size of the
/// image.
fn bounds(truth: &Array2<Option<bool>>) -> [f32; 4] {
    let (height, width) = truth.dim();
    let inside = truth.indexed_iter().filter(|(_, t)| **t == Some(true)).map(|(at, _)| at);
    let [l, t, r, b] = inside.fold([width, height, 0, 0], |[l, t, r, b], (y, x)| {
        [l.min(x), t.min(y), r.max(x), b.max(y)]
    });
    let (width, height) = (width as f32, height as f32);
    [
        (l as f32 + 0.5) / width,
        (t as f32 + 0.5) / height,
        (r as f32 + 0.5) / width,
        (b as f32 + 0.5) / height,
    ]
}

/// Returns a point at each side of the object's bounding box, relative to the size of the image.
fn extreme_points(truth: &Array2<Option<bool>>) -> Vec<[f32; 2]> {
    let (height, width) = truth.dim();
    let inside: Vec<_> =
        truth.indexed_iter().filter(|(_, t)| **t == Some(true)).map(|(at, _)| at).collect();
    let points = [
        inside.iter().min_by_key(|(_, x)| *x),
        inside.iter().max_by_key(|(_, x)| *x),
        inside.iter().min_by_key(|(y, _)| *y),
        inside.iter().max_by_key(|(y, _)| *y),
    ];
    let share = |(y, x): &(usize, usize)| {
        [(*x as f32 + 0.5) / width as f32, (*y as f32 + 0.5) / height as f32]
    };
    points.into_iter().flatten().map(share).collect()
}

/// Draws the clicks and darkens the image outside the region.
fn draw_mask(case: &Case, mask: &Array2<bool>, seeds: &Seeds) -> RgbImage {
    let mut image = case.image.clone();
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        if !mask[[y as usize, x as usize]] {
            pixel.0 = pixel.0.map(|v| v / 3);
        }
    }
    let (width, height) = (image.width() as f32, image.height() as f32);
    for seed in seeds.iter() {
        if let Shape::Point([u, v]) = seed.shape {
            let colour = if seed.label > 0 { [0, 255, 0] } else { [255, 0, 0] };
            for (dy, dx) in (-3..=3).flat_map(|dy| (-3..=3).map(move |dx| (dy, dx))) {
                let (x, y) = ((u * width) as i64 + dx, (v * height) as i64 + dy);
                if let Some(pixel) = image.get_pixel_mut_checked(x.max(0) as u32, y.max(0) as u32) {
                    pixel.0 = colour;
                }
            }
        }
    }
    image
}

fn load(folder: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for file in images::image_files(&folder.join("images"))? {
        let name = images::stem(&file);
        let image = images::open_rgb(&file)?;
        let mask: GrayImage =
            image::open(folder.join("masks").join(&name).with_extension("png"))?.into_luma8();
        if mask.dimensions() != image.dimensions() {
            return Err(format!("{name}: image and mask differ in size").into());
        }
        let truth =
            Array2::from_shape_fn((mask.height() as usize, mask.width() as usize), |(y, x)| {
                match mask.get_pixel(x as u32, y as u32).0[0] {
                    255 => Some(true),
                    0 => Some(false),
                    _ => None,
                }
            });
        cases.push(Case { name, image, truth });
    }
    Ok(cases)
}
