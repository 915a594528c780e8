// SPDX-License-Identifier: MIT OR Apache-2.0

//! Renewed prediction of tracked regions every few frames.

use ndarray::{Array2, Zip};

use super::Segmenter;
use crate::segment::{
    Error, WorkingImage, logistic, logit,
    memory::Memory,
    plain::PlainSurfaces,
    region::Region,
    region_predictor::{Augmentation, CropRect, Guidance, RegionPredictor},
    region_seeds::RegionSeeds,
    seeds::Seeds,
    track::box_filter,
};

/// Largest magnitude of the log-odds of the prediction; larger ones are clamped. It exceeds those
/// of the tracked region, so that a sure prediction corrects any drift. In scenes with objects that
/// change their size it raised the IoU from 0.82 to 0.85, relative to a prediction of half the
/// weight.
const MAX_REPREDICTION_LOG_ODDS: f32 = 8.0;
/// Weight of the log-odds of the colours. Of 0, 0.4 and 0.8 the last one was the best in scenes
/// with objects that turn and change their size; a clip with dark and bright parts preferred less.
const COLOUR_WEIGHT: f32 = 0.7;
/// Least intersection over union of the prediction and the tracked region; with less, the
/// prediction is not used.
const MIN_REPREDICTION_IOU: f32 = 0.6;

/// Probability up to which the colour of a pixel does not matter.
const UNLIKELY: f32 = 0.01;
/// Largest magnitude of the log-odds of a colour; larger ones are clamped.
const MAX_COLOUR_LOG_ODDS: f32 = 4.0;
/// Radius in pixels over which the log-odds of colours are averaged.
const COLOUR_RADIUS: usize = 2;

impl Segmenter {
    /// Predicts all tracked regions again with the network, so that parts of an object that have
    /// come into view join its region and drift along the border is corrected.
    pub(super) fn repredict(&mut self, seeds: &Seeds) -> Result<(), Error> {
        for ((label, region), memory) in (1u8..).zip(&mut self.regions).zip(&self.memories) {
            let Some(region) = region else { continue };
            if region.is_plain {
                let surfaces =
                    self.plain_surfaces.get_or_insert_with(|| PlainSurfaces::find(&self.image));
                if !surfaces.is_empty() {
                    surfaces.fit(&mut region.probability);
                    continue;
                }
            }
            let Some(region_predictor) = &mut self.region_predictor else { continue };
            let (image, log_odds) = (&self.image, &mut self.log_odds);
            predict_tracked(region_predictor, image, (label, region), seeds, log_odds)?;
            // A prediction with little overlap is of another object.
            if iou(&region.probability, &self.log_odds) < MIN_REPREDICTION_IOU {
                continue;
            }
            let colours = memory.as_ref().map(|memory| {
                colour_evidence(&self.image, memory, &region.probability, &self.log_odds)
            });
            let region = Zip::indexed(&mut region.probability).and(&self.log_odds);
            region.for_each(|at, p, predicted| {
                let predicted =
                    predicted.clamp(-MAX_REPREDICTION_LOG_ODDS, MAX_REPREDICTION_LOG_ODDS);
                let colour = colours.as_ref().map_or(0.0, |map| map[at]);
                *p = logistic(logit(*p) + predicted + COLOUR_WEIGHT * colour);
            });
        }
        Ok(())
    }
}

/// Returns the log-odds of the colours around each pixel to be inside of a region, where the region
/// or its prediction may be.
pub(super) fn colour_evidence(
    image: &WorkingImage,
    memory: &Memory,
    probability: &Array2<f32>,
    log_odds: &Array2<f32>,
) -> Array2<f32> {
    let mut evidence = Array2::zeros(probability.dim());
    Zip::indexed(&mut evidence).and(probability).and(log_odds).par_for_each(
        |(y, x), to, p, log_odds| {
            if *p > UNLIKELY || *log_odds > logit(UNLIKELY) {
                let colour = memory.colour_log_odds(image.at(y, x));
                *to = colour.clamp(-MAX_COLOUR_LOG_ODDS, MAX_COLOUR_LOG_ODDS);
            }
        },
    );
    box_filter(&evidence, COLOUR_RADIUS)
}

/// Returns the intersection over union of a region and of a prediction of it, 0 if both are empty.
pub(super) fn iou(probability: &Array2<f32>, log_odds: &Array2<f32>) -> f32 {
    let (mut intersection, mut union) = (0.0f32, 0.0f32);
    for (p, log_odds) in probability.iter().zip(log_odds) {
        let (is_inside, is_predicted) = (*p > 0.5, *log_odds > 0.0);
        intersection += f32::from(u8::from(is_inside && is_predicted));
        union += f32::from(u8::from(is_inside || is_predicted));
    }
    intersection / union.max(1.0)
}

/// Fills `log_odds` with the network's prediction of a tracked region with its label.
///
/// # Errors
/// Fails if the backend cannot run the network.
fn predict_tracked(
    region_predictor: &mut RegionPredictor,
    image: &WorkingImage,
    (label, region): (u8, &Region),
    seeds: &Seeds,
    log_odds: &mut Array2<f32>,
) -> Result<(), Error> {
    let dim = region.probability.dim();
    let mut region_seeds = RegionSeeds::for_region(label, seeds, dim);
    region_seeds.drop_contradicting(&region.probability);
    let interior_point = region.interior_point().map(|(y, x)| [x as f32, y as f32]);
    region_seeds.points.inside.extend(interior_point);
    let crop = region_seeds.crop(&region.probability).unwrap_or(CropRect::whole(dim));
    let guidance = Guidance { points: &region_seeds.points, previous_mask: &region.probability };
    Ok(region_predictor.predict(image, crop, &guidance, Augmentation::None, log_odds)?)
}
