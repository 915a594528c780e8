//! Segments and tracks the regions of a video: the core of interactive segmentation.
//!
//! [`Segmenter`] combines the segmentation network, the edge network, superpixels, a minimum cut
//! and motion compensation; [`Networks`] holds the networks that it runs.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use ndarray::{Array2, ArrayViewMut2, Zip};

use super::{
    ColourModel, Hierarchy, Image, SIGNATURE, Superpixels, clue, distance,
    edges::EdgeFinder,
    geodesic,
    graph_cut::GraphCut,
    grow, logistic,
    marks::Marks,
    mask,
    refine::{Hints, Refiner, View},
    seeds::{MAX_LABEL, Seeds},
    superpixel,
    track::{self, LEAST_AREA, LOST, Status, Tracker},
};
use crate::{
    frame::{self, Picture, Sample},
    nn::{self, Device, ModelSource, Network, Precision, Threads, cache},
    smooth,
};

/// Segmentation network that is part of the plugin.
const BUILT_IN: ModelSource = ModelSource::Embedded {
    name: "segment-fast",
    bytes: include_bytes!("../../models/segment-fast.safetensors"),
};

/// Weight of the colour histograms in the unary cost of a superpixel; that of the network's
/// log-odds is 1.
const COLOUR_WEIGHT: f32 = 0.3;
/// Weight of the relative geodesic distance (-1 to 1) to inside and outside seeds in the unary cost
/// of a superpixel.
const GEODESIC_WEIGHT: f32 = 0.4;
/// Pairwise cost of 10 pixels of border between two superpixels where the edge strength is 0.
const BOND: f32 = 2.5;
/// Rate of the exponential decay of the pairwise cost with the edge strength.
const BOND_FALL: f32 = 8.0;
/// Largest share of the picture whose colours a single seed contributes to the colour histograms.
const MOST_GROWN: f32 = 0.1;
/// Log-odds of superpixels that contain a seed: a hard constraint of the cut.
const CERTAIN: f32 = 1e4;
/// Log-odds that the cut adds to pixels inside of it and subtracts from the others.
const CUT_WEIGHT: f32 = 0.5;
/// Weight of the relative geodesic distance (-1 to 1) if there is no segmentation network.
const ALONE_WEIGHT: f32 = 3.0;
/// Log-odds that a seed adds to the unary cost at its own position.
const SEED_WEIGHT: f32 = 4.0;
/// Geodesic distance over which the influence of a seed falls by the factor `e`.
const SEED_REACH: f32 = 0.3;
/// Largest magnitude of the network's mean log-odds of a superpixel; larger ones are clamped.
const MOST_SAID: f32 = 12.0;

/// Number of frames after which the network predicts tracked regions again.
const RENEWED_EVERY: u32 = 6;
/// Weight of the log-odds of that prediction, relative to those of the tracked region.
const RENEWED_WEIGHT: f32 = 0.5;
/// Largest magnitude of the log-odds of that prediction; larger ones are clamped.
const MOST_RENEWED: f32 = 6.0;
/// Least intersection over union of that prediction and the tracked region; with less, the
/// prediction is not used.
const AGREED: f32 = 0.6;

/// Errors of [`Segmenter`] and [`Networks`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A model cannot be loaded or run.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// A frame does not have the expected layout.
    #[error(transparent)]
    Frame(#[from] frame::Error),
}

/// Networks that the segmentation runs.
#[derive(Clone)]
pub struct Networks {
    /// Predicts structural edges: the smoothing network, of the signature [`smooth::SIGNATURE`].
    pub edges: Arc<dyn Network>,
    /// Predicts regions, of the signature [`SIGNATURE`]. Without it, regions depend on colours,
    /// edges and geodesic distances alone.
    pub region: Option<Arc<dyn Network>>,
}

impl Networks {
    /// Loads the networks that are part of the plugin. `precision` applies to the edge network; the
    /// segmentation network runs with automatic precision.
    ///
    /// # Errors
    /// Fails if the device is not available.
    pub fn built_in(device: Device, precision: Precision) -> Result<Self, nn::Error> {
        let edges = smooth::built_in(device, precision)?;
        Ok(Self {
            edges,
            region: Some(cache::load(&BUILT_IN, device, Precision::Auto, &[SIGNATURE])?),
        })
    }

    /// Loads the segmentation network from a model file; the edge network is the built-in one.
    ///
    /// # Errors
    /// Fails if the file cannot be read, is not a model or is a model for another domain, or if the
    /// device is not available.
    pub fn from_file(path: PathBuf, device: Device, precision: Precision) -> Result<Self, Error> {
        let region = cache::load(&ModelSource::File(path), device, precision, &[SIGNATURE])?;
        Ok(Self { edges: smooth::built_in(device, precision)?, region: Some(region) })
    }

    /// Returns the name of the backend and device that run the segmentation network, or the edge
    /// network if there is none.
    pub fn backend(&self) -> String {
        self.region.as_ref().unwrap_or(&self.edges).backend()
    }
}

/// State of one region.
#[derive(Debug, Clone, Default)]
pub(super) struct Region {
    /// Probability of each pixel of the working image to belong to the region.
    pub probability: Array2<f32>,
    /// Colours inside and outside of the region.
    pub colours: ColourModel,
    /// Confidence of the tracking, from 0 to 1; 1 when the region has been computed from seeds.
    pub confidence: f32,
}

impl Region {
    /// Returns the area as a share of the picture.
    fn area(&self) -> f32 {
        self.probability.iter().filter(|p| **p > 0.5).count() as f32
            / self.probability.len().max(1) as f32
    }
}

/// Segments the pictures of a video into regions given by seeds, and tracks the regions.
///
/// Call [`Segmenter::see`] for every picture and [`Segmenter::answer`] when the seeds have changed;
/// [`Segmenter::mask`] writes the result.
pub struct Segmenter {
    edge_finder: EdgeFinder,
    /// Segmentation network, if there is one.
    refiner: Option<Refiner>,
    /// Current picture at the working resolution.
    image: Image,
    /// Probability of a structural edge at half the size of `image`.
    edges: Array2<f32>,
    parts: Superpixels,
    /// Region tree of `parts`, built when it is first needed.
    tree: OnceLock<Hierarchy>,
    /// Whether `edges`, `parts` and `tree` belong to the current `image`.
    current: bool,
    /// Region of each label, that of label `n` at index `n - 1`.
    regions: Vec<Option<Region>>,
    /// Latest output of the segmentation network, at the size of `image`.
    log_odds: Array2<f32>,
    tracker: Tracker,
    /// Pictures since the latest [`Segmenter::answer`].
    followed: u32,
    threads: Threads,
}

impl Segmenter {
    /// Creates a segmenter that runs `networks` on `threads` threads (0 for one per core).
    ///
    /// # Errors
    /// Fails if the threads cannot be started.
    pub fn new(networks: &Networks, threads: usize) -> Result<Self, Error> {
        let count = threads;
        let threads = Threads::new(threads)?;
        Ok(Self {
            edge_finder: EdgeFinder::new(networks.edges.clone(), count),
            refiner: networks.region.clone().map(|network| Refiner::new(network, threads.clone())),
            image: Image::default(),
            edges: Array2::zeros((0, 0)),
            parts: Superpixels::default(),
            tree: OnceLock::new(),
            current: false,
            regions: vec![None; usize::from(MAX_LABEL)],
            log_odds: Array2::zeros((0, 0)),
            tracker: Tracker::default(),
            followed: 0,
            threads,
        })
    }

    /// Processes the next picture: tracks the regions and moves the seeds with the motion.
    ///
    /// Returns the labels of lost regions. A region is lost if it has become too small, if its
    /// confidence is below the threshold, or if the scene or the size of the picture has changed.
    ///
    /// # Errors
    /// Fails if the backend cannot run the segmentation network.
    pub fn see<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        seeds: &mut Seeds,
    ) -> Result<Vec<u8>, Error> {
        let before = self.image.dim();
        self.threads.enter(|| self.image.fill(picture));
        self.current = false;
        let follows = self.tracker.follow(&self.image, &mut self.regions, seeds, &self.threads);
        let same = follows && self.image.dim() == before;
        let mut lost = Vec::new();
        for (label, region) in (1u8..).zip(&mut self.regions) {
            let gone = |region: &mut Region| {
                !same || region.confidence < LOST || region.area() < LEAST_AREA
            };
            if region.take_if(gone).is_some() {
                lost.push(label);
            }
        }
        self.followed += 1;
        if same && self.followed.is_multiple_of(RENEWED_EVERY) {
            self.renew(seeds)?;
        }
        Ok(lost)
    }

    /// Predicts all tracked regions again with the network, so that parts of an object that have
    /// come into view join its region and drift along the border is corrected.
    fn renew(&mut self, seeds: &Seeds) -> Result<(), Error> {
        let Some(refiner) = &mut self.refiner else { return Ok(()) };
        for (label, region) in (1u8..).zip(&mut self.regions) {
            let Some(region) = region else { continue };
            let mut marks = Marks::of(label, seeds, region.probability.dim());
            marks.keep(&region.probability);
            let deepest = distance::deepest(&region.probability.mapv(|p| p > 0.5).view());
            marks.inside.extend(deepest.map(|((y, x), _)| [x as f32, y as f32]));
            let (height, width) = region.probability.dim();
            let whole = View { x: 0.0, y: 0.0, width: width as f32, height: height as f32 };
            let view = marks.view(&region.probability).unwrap_or(whole);
            let hints = Hints {
                inside: &marks.inside,
                outside: &marks.outside,
                before: &region.probability,
            };
            refiner.run(&self.image, view, &hints, false, &mut self.log_odds)?;
            let (mut both, mut either) = (0.0f32, 0.0f32);
            for (p, said) in region.probability.iter().zip(&self.log_odds) {
                let (own, said) = (*p > 0.5, *said > 0.0);
                both += f32::from(u8::from(own && said));
                either += f32::from(u8::from(own || said));
            }
            // A prediction with little overlap is of another object.
            if both < AGREED * either {
                continue;
            }
            region.probability.zip_mut_with(&self.log_odds, |p, said| {
                *p = logistic(
                    track::log_odds(*p) + RENEWED_WEIGHT * said.clamp(-MOST_RENEWED, MOST_RENEWED),
                );
            });
        }
        Ok(())
    }

    /// Drops all regions and makes tracking start anew, as the next picture does not continue the
    /// previous one.
    pub fn reset(&mut self) {
        self.tracker.forget();
        self.forget();
    }

    /// Returns the area and the confidence of each region.
    pub fn status(&self) -> impl Iterator<Item = Status> {
        (1u8..).zip(&self.regions).filter_map(|(label, region)| {
            let region = region.as_ref()?;
            Some(Status { label, area: region.area(), confidence: region.confidence })
        })
    }

    /// Returns the current picture at the working resolution.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Drops all regions.
    pub fn forget(&mut self) {
        self.regions.fill(None);
    }

    /// Returns whether there is any region.
    pub fn has_regions(&self) -> bool {
        self.regions.iter().any(Option::is_some)
    }

    /// Updates all regions of the current picture from the seeds, after seeds were added. Regions
    /// without a seed of their own are dropped.
    ///
    /// # Errors
    /// Fails if the backend cannot run a network.
    pub fn answer(&mut self, seeds: &Seeds) -> Result<(), Error> {
        self.prepare()?;
        self.followed = 0;
        for label in 1..=MAX_LABEL {
            let at = usize::from(label) - 1;
            if !seeds.points_at(label) {
                self.regions[at] = None;
                continue;
            }
            let mut region = self.regions[at].take().unwrap_or_default();
            let fresh = region.probability.is_empty();
            self.work_out(label, seeds, &mut region)?;
            if fresh {
                self.bring(label, seeds, &mut region, seeds.steps(label));
            }
            self.regions[at] = Some(region);
        }
        Ok(())
    }

    /// Grows (`steps` above 0) or shrinks (below 0) a region along the region tree around its
    /// latest inside seed. Does nothing if there is no such region.
    ///
    /// # Errors
    /// Fails if the backend cannot run the edge network.
    pub fn grow(&mut self, label: u8, seeds: &Seeds, steps: i32) -> Result<(), Error> {
        let at = usize::from(label.wrapping_sub(1));
        let Some(mut region) = self.regions.get_mut(at).and_then(Option::take) else {
            return Ok(());
        };
        self.prepare()?;
        self.bring(label, seeds, &mut region, steps);
        self.regions[at] = Some(region);
        Ok(())
    }

    /// Grows or shrinks `region` by `steps`, then enforces the seeds and updates the colours.
    fn bring(&self, label: u8, seeds: &Seeds, region: &mut Region, steps: i32) {
        let parts = &self.parts;
        let marks = Marks::of(label, seeds, region.probability.dim());
        let part = |[x, y]: &[f32; 2]| parts.labels[[*y as usize, *x as usize]];
        let deepest = || distance::deepest(&region.probability.mapv(|p| p > 0.5).view());
        let around =
            marks.inside.last().map(part).or_else(|| deepest().map(|(at, _)| parts.labels[at]));
        let Some(around) = around.filter(|_| steps != 0) else { return };
        let outside: Vec<_> = marks.outside.iter().map(part).collect();
        grow::step(&mut region.probability, parts, self.tree(), around, &outside, steps);
        marks.enforce(&mut region.probability);
        region.colours = colours(parts, &parts.means(&region.probability));
    }

    /// Returns the region tree of the current superpixels.
    fn tree(&self) -> &Hierarchy {
        self.tree.get_or_init(|| Hierarchy::of(&self.parts))
    }

    /// Computes edges and superpixels of the current picture, unless that is done already.
    ///
    /// # Errors
    /// Fails if the backend cannot run the edge network.
    fn prepare(&mut self) -> Result<(), Error> {
        if !self.current {
            self.edge_finder.find(&self.image, &mut self.edges)?;
            let strength = superpixel::strength(&self.image, Some(&self.edges));
            self.parts = Superpixels::of(&self.image, &strength);
            self.tree.take();
            self.current = true;
        }
        Ok(())
    }

    /// Computes one region from the seeds and from its previous probability map.
    ///
    /// # Errors
    /// Fails if the backend cannot run the segmentation network.
    fn work_out(&mut self, label: u8, seeds: &Seeds, region: &mut Region) -> Result<(), Error> {
        let dim = self.image.dim();
        let marks = Marks::of(label, seeds, dim);
        let fresh = region.probability.dim() != dim;
        if fresh {
            region.probability = Array2::zeros(dim);
        }
        let expected = marks.new_box.or_else(|| marks.extremes().filter(|_| fresh));
        if let Some([x0, y0, x1, y1]) = expected {
            region.probability.fill(0.0);
            region.probability.slice_mut(ndarray::s![y0..=y1, x0..=x1]).fill(clue::BOX);
        }
        self.see_region(&marks, region, expected, fresh)?;
        let inside = self.cut(&marks, region);
        let parts = &self.parts;
        let certain = self.refiner.is_some();
        Zip::from(&mut region.probability).and(&self.log_odds).and(&parts.labels).for_each(
            |to, log_odds, part| {
                let cut = CUT_WEIGHT * if inside[*part as usize] { 1.0 } else { -1.0 };
                let sum = if certain { log_odds + cut } else { 4.0 * cut };
                *to = logistic(sum);
            },
        );
        if let Some([x0, y0, x1, y1]) = marks.new_box {
            region.probability.indexed_iter_mut().for_each(|((y, x), p)| {
                if !(x0..=x1).contains(&x) || !(y0..=y1).contains(&y) {
                    *p = 0.0;
                }
            });
        }
        marks.enforce(&mut region.probability);
        region.colours = colours(parts, &parts.means(&region.probability));
        region.confidence = 1.0;
        Ok(())
    }

    /// Fills `log_odds` with the network's prediction, or with 0 if there is no network.
    ///
    /// `expected` is the bounding box `[left, top, right, bottom]` of the region, if the user drew
    /// one or clicked extreme points. `fresh` means that there is no previous mask.
    ///
    /// # Errors
    /// Fails if the backend cannot run the network.
    fn see_region(
        &mut self,
        marks: &Marks,
        region: &Region,
        expected: Option<[usize; 4]>,
        fresh: bool,
    ) -> Result<(), Error> {
        let dim = self.image.dim();
        let Some(refiner) = &mut self.refiner else {
            self.log_odds = Array2::zeros(dim);
            return Ok(());
        };
        let whole = View { x: 0.0, y: 0.0, width: dim.1 as f32, height: dim.0 as f32 };
        let fresh = fresh && expected.is_none();
        let (inside, outside) = marks.points_with(expected, dim);
        let mut before = region.probability.clone();
        // Passes of the network: on the whole picture (false), or on a crop around the region, with
        // the flipped crop as well (true). Without a mask or a box, the pass on the whole picture
        // finds the crop. With a box, the second pass refines the result of the first, which raised
        // the IoU from 0.767 to 0.775 (box) and from 0.761 to 0.786 (extreme points).
        let looks: &[bool] = match (fresh, expected) {
            (true, _) => &[false, true],
            (false, Some(_)) => &[true, true],
            (false, None) => &[true],
        };
        for closer in looks {
            let view = if *closer { marks.view(&before) } else { None };
            let hints = Hints { inside: &inside, outside: &outside, before: &before };
            refiner.run(&self.image, view.unwrap_or(whole), &hints, *closer, &mut self.log_odds)?;
            before.zip_mut_with(&self.log_odds, |to, v| *to = logistic(*v));
        }
        Ok(())
    }

    /// Computes the minimum cut over the superpixels. Returns for each superpixel whether it is
    /// inside of the region.
    fn cut(&self, marks: &Marks, region: &Region) -> Vec<bool> {
        let parts = &self.parts;
        let at = |p: &[f32; 2]| parts.labels[[p[1] as usize, p[0] as usize]];
        let (inside, outside): (Vec<_>, Vec<_>) =
            (marks.inside.iter().map(at).collect(), marks.outside.iter().map(at).collect());
        let said = parts.means(&self.log_odds);
        let border: Vec<u32> = if outside.is_empty() { frame_of(parts) } else { Vec::new() };
        let near = geodesic::distances(parts, inside.iter().copied());
        let far = geodesic::distances(parts, outside.iter().chain(&border).copied());
        let closer = |i: usize| match (near[i], far[i]) {
            (near, far) if near.is_finite() && far.is_finite() => {
                (far - near) / (far + near + 1e-3)
            }
            (near, _) if near.is_finite() => 1.0,
            _ => 0.0,
        };
        let colour_model = if self.refiner.is_some() {
            colours(parts, &said.iter().map(|v| logistic(*v)).collect::<Vec<_>>())
        } else {
            self.first_colours(marks, region, &inside, &outside)
        };
        let local = |i: usize| {
            // Close to a seed in geodesic distance, the seed outweighs the other terms.
            let pull = |d: f32| (-d / SEED_REACH).exp();
            let b = if outside.is_empty() { 0.0 } else { pull(far[i]) };
            pull(near[i]) - b
        };
        let mut graph = GraphCut::new(parts.len());
        for (i, said) in said.iter().enumerate() {
            let weight = (parts.areas[i] / 100.0).sqrt();
            let own = if self.refiner.is_some() {
                said.clamp(-MOST_SAID, MOST_SAID)
                    + GEODESIC_WEIGHT * closer(i)
                    + COLOUR_WEIGHT * colour_model.log_odds(parts.colours[i])
                    + SEED_WEIGHT * local(i)
            } else {
                let boxed = marks.outside_box(parts.centres[i]);
                let colour = colour_model.log_odds(parts.colours[i]).clamp(-4.0, 4.0);
                if boxed {
                    -CERTAIN
                } else {
                    ALONE_WEIGHT * closer(i) + SEED_WEIGHT * local(i) + colour
                }
            };
            graph.prefer(i, own * weight);
        }
        inside.iter().for_each(|i| graph.prefer(*i as usize, CERTAIN));
        outside.iter().for_each(|i| graph.prefer(*i as usize, -CERTAIN));
        for border in &parts.borders {
            let cost = BOND * border.length / 10.0 * (-BOND_FALL * border.strength).exp();
            graph.bind(border.between[0] as usize, border.between[1] as usize, cost);
        }
        graph.cut()
    }

    /// Estimates the colour histograms without a network: from the regions of the tree around the
    /// seeds, from the border of the picture and from the box.
    fn first_colours(
        &self,
        marks: &Marks,
        region: &Region,
        inside: &[u32],
        outside: &[u32],
    ) -> ColourModel {
        let parts = &self.parts;
        let mut model = region.colours.clone();
        model.fade(0.5);
        let tree = self.tree();
        let most = MOST_GROWN * parts.labels.len() as f32;
        for (seeds, side, others) in [(inside, true, outside), (outside, false, inside)] {
            for seed in seeds {
                for i in tree.superpixels(tree.grow(*seed, most, |i| !others.contains(&i))) {
                    model.add(side, parts.colours[i as usize], parts.areas[i as usize]);
                }
            }
        }
        for i in frame_of(parts) {
            model.add(false, parts.colours[i as usize], 0.5 * parts.areas[i as usize]);
        }
        if let Some([x0, y0, x1, y1]) = marks.new_box {
            for (i, [x, y]) in parts.centres.iter().enumerate() {
                let within =
                    (x0..=x1).contains(&(*x as usize)) && (y0..=y1).contains(&(*y as usize));
                model.add(within, parts.colours[i], parts.areas[i]);
            }
        }
        model
    }

    /// Fills `mask`, of any size, with the label of the most probable region at each pixel, 0
    /// outside of all regions. The picture is scaled to the size of `mask`.
    pub fn mask(&self, mask: ArrayViewMut2<'_, u8>) {
        let regions: Vec<_> = (1u8..)
            .zip(&self.regions)
            .filter_map(|(label, region)| Some((label, &region.as_ref()?.probability)))
            .collect();
        self.threads.enter(|| mask::fill(&regions, mask));
    }
}

/// Returns the superpixels at the border of the picture, in ascending order.
fn frame_of(parts: &Superpixels) -> Vec<u32> {
    let (height, width) = parts.labels.dim();
    let rows = [0, height - 1].into_iter().flat_map(|y| parts.labels.row(y));
    let columns = [0, width - 1].into_iter().flat_map(|x| parts.labels.column(x));
    let mut all: Vec<u32> = rows.chain(columns).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Computes the colour histograms from the probability of each superpixel to be inside.
fn colours(parts: &Superpixels, inside: &[f32]) -> ColourModel {
    let mut model = ColourModel::default();
    for ((colour, area), inside) in parts.colours.iter().zip(&parts.areas).zip(inside) {
        model.add(true, *colour, area * inside);
        model.add(false, *colour, area * (1.0 - inside));
    }
    model
}
