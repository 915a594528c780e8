// SPDX-License-Identifier: MIT OR Apache-2.0

//! Evaluation of the regions of cnnsegment in video: objects from photographs that are covered,
//! turn, change their size, leave and cross, and a real clip that a band covers.

mod band;
mod clip;
mod follow;
mod layer;
mod material;
mod scene;
mod upkeep;

use std::path::{Path, PathBuf};

use cnnvideo::segment::SegmentNetworks;

use self::{
    clip::Clip,
    follow::{Course, follow},
    material::Material,
    scene::{AFTER, Kind, Scene},
};
use crate::segment::networks;
use cnnvideo_eval::{Result, output::create_folder, say_line};

/// Least intersection over union of a region that is back.
const GOOD_IOU: f64 = 0.75;
/// Largest relative error of the area of a region that has changed its shape.
const GOOD_AREA_ERROR: f64 = 0.2;

#[derive(clap::Args)]
pub(crate) struct RegionsVideoArguments {
    /// Folder with `images` and `masks` of the same names, from which objects are cut; mask values:
    /// 255 the object, 128 uncertain, 0 the rest
    #[arg(long)]
    objects: PathBuf,
    /// Folder with photographs for backgrounds and for what covers the objects
    #[arg(long)]
    backgrounds: PathBuf,
    /// Folder with `frames` and `masks` of a clip, which is measured too
    #[arg(long)]
    clip: Option<PathBuf>,
    /// Model file to use instead of the built-in model
    #[arg(long)]
    model: Option<PathBuf>,
    /// Seed of the scenes. Odd seeds draw from every other photograph, even ones from the others
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of scenes of each kind
    #[arg(long, default_value_t = 20)]
    count: u64,
    /// Largest number of clicks on each object in the first frame; fewer if its IoU reaches 0.85
    #[arg(long, default_value_t = 10)]
    clicks: usize,
    /// Kinds of scenes, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "cover,cover-at-once,reenter,turn,scale,cross,leave"
    )]
    kinds: Vec<Kind>,
    /// Print a line for each scene
    #[arg(long)]
    each: bool,
    /// Measure the time of a frame at 1920x1080 instead
    #[arg(long)]
    upkeep: bool,
    /// Folder to write every fourth frame of each scene to
    #[arg(long)]
    pictures: Option<PathBuf>,
}

/// What is measured of a scene.
struct Figures {
    /// Intersection over union before the event.
    before: f64,
    /// Intersection over union at the end, the mean of all objects.
    after: f64,
    /// Area of the region at the end, as a share of the object's.
    area: f64,
    /// Share of the frames without the object in which there is a region nevertheless.
    wrong: f64,
    lost: usize,
    found: usize,
}

/// Measures all kinds of scenes and the clip, and prints a table.
pub(crate) fn run(arguments: &RegionsVideoArguments) -> Result<()> {
    let networks = networks(arguments.model.as_deref())?;
    let material = Material::load(&arguments.objects, &arguments.backgrounds, arguments.seed)?;
    if arguments.upkeep {
        let mut draws = material.draws(arguments.seed, 0);
        return upkeep::measure(&networks, &Scene::new(Kind::Cover, &mut draws));
    }
    say_line!(
        "| scenes | number | IoU before | IoU after | IoU >= {GOOD_IOU} | area after | area within \
         {GOOD_AREA_ERROR} | false | lost | found |\n| --- | --- | --- | --- | --- | --- | --- | \
         --- | --- | --- |"
    )?;
    for kind in &arguments.kinds {
        let mut all = Vec::new();
        for number in 0..arguments.count {
            let scene = Scene::new(*kind, &mut material.draws(arguments.seed, number));
            let frames = (0..scene.len()).map(|i| Ok(scene.frame(i)));
            let name = format!("{kind:?}-{number}").to_lowercase();
            let pictures = folder(arguments, &name)?;
            let course = follow(&networks, arguments.clicks, frames, pictures.as_deref())?;
            let figures = figures_of(*kind, &course);
            if arguments.each {
                print_row(&name, std::slice::from_ref(&figures))?;
            }
            all.push(figures);
        }
        print_row(kind.name(), &all)?;
    }
    if let Some(path) = &arguments.clip {
        measure_clip(arguments, &networks, &material, path)?;
    }
    Ok(())
}

/// Measures a clip as it is, and with a band from either side.
fn measure_clip(
    arguments: &RegionsVideoArguments,
    networks: &SegmentNetworks,
    material: &Material,
    path: &Path,
) -> Result<()> {
    let clip = Clip::open(path)?;
    let clicks = arguments.clicks;
    let pictures = folder(arguments, "clip")?;
    let course = follow(networks, clicks, clip.plain(), pictures.as_deref())?;
    print_row("clip", &[figures_of(Kind::Turn, &course)])?;
    let mean = course.frames.iter().map(|frame| frame[0].iou).sum::<f64>();
    let mut all = Vec::new();
    for number in 0..arguments.count.min(8) {
        let mut draws = material.draws(arguments.seed, number);
        let name = format!("clip-covered-{number}");
        let pictures = folder(arguments, &name)?;
        let course = follow(networks, clicks, clip.covered(&mut draws), pictures.as_deref())?;
        let figures = figures_of(Kind::Cover, &course);
        if arguments.each {
            print_row(&name, std::slice::from_ref(&figures))?;
        }
        all.push(figures);
    }
    print_row("clip, covered for 10 frames", &all)?;
    say_line!("\nMean IoU of the clip as it is: {:.3}", mean / course.frames.len() as f64)
}

/// Creates the folder for the pictures of a scene.
fn folder(arguments: &RegionsVideoArguments, name: &str) -> Result<Option<PathBuf>> {
    let folder = arguments.pictures.as_ref().map(|folder| folder.join(name));
    folder.as_deref().map(create_folder).transpose()?;
    Ok(folder)
}

fn figures_of(kind: Kind, course: &Course) -> Figures {
    let frames = &course.frames;
    let hidden: Vec<usize> = (0..frames.len()).filter(|i| frames[*i][0].object == 0).collect();
    let end = match (kind, hidden.last()) {
        (Kind::Cover | Kind::CoverAtOnce | Kind::Reenter, Some(last)) => {
            (last + AFTER).min(frames.len() - 1)
        }
        _ => frames.len() - 1,
    };
    let objects = &frames[end];
    // A region may outlive its object for some frames.
    let away = || hidden.iter().filter(|i| **i >= hidden[0] + 5);
    let wrong = away().filter(|i| frames[**i][0].region > 0).count();
    let mean = |compared: &[follow::Comparison]| {
        compared.iter().map(|object| object.iou).sum::<f64>() / compared.len() as f64
    };
    Figures {
        before: mean(&frames[0]),
        after: mean(objects),
        area: objects[0].region as f64 / objects[0].object.max(1) as f64,
        wrong: wrong as f64 / away().count().max(1) as f64,
        lost: course.lost,
        found: course.found,
    }
}

/// Prints the means over scenes.
fn print_row(name: &str, figures: &[Figures]) -> Result<()> {
    let mean = |value: &dyn Fn(&Figures) -> f64| {
        figures.iter().map(value).sum::<f64>() / figures.len() as f64
    };
    let share = |holds: &dyn Fn(&Figures) -> bool| 100.0 * mean(&|f| f64::from(u8::from(holds(f))));
    say_line!(
        "| {name} | {} | {:.3} | {:.3} | {:.0} % | {:.2} | {:.0} % | {:.0} % | {:.0} % | {:.0} % |",
        figures.len(),
        mean(&|f| f.before),
        mean(&|f| f.after),
        share(&|f| f.after >= GOOD_IOU),
        mean(&|f| f.area),
        share(&|f| (f.area - 1.0).abs() <= GOOD_AREA_ERROR),
        100.0 * mean(&|f| f.wrong),
        share(&|f| f.lost > 0),
        share(&|f| f.found > 0)
    )
}
