// SPDX-License-Identifier: MIT OR Apache-2.0

//! Renewed prediction of tracked regions every few frames.

use ndarray::Array2;

use super::Segmenter;
use crate::segment::{
    Error, WorkingImage, logistic, logit,
    plain::PlainSurfaces,
    region::Region,
    region_predictor::{Augmentation, CropRect, Guidance, RegionPredictor},
    region_seeds::RegionSeeds,
    seeds::Seeds,
};

/// Weight of the log-odds of the prediction, relative to those of the tracked region.
const REPREDICTION_WEIGHT: f32 = 0.5;
/// Largest magnitude of the log-odds of the prediction; larger ones are clamped.
const MAX_REPREDICTION_LOG_ODDS: f32 = 6.0;
/// Least intersection over union of the prediction and the tracked region; with less, the
/// prediction is not used.
const MIN_REPREDICTION_IOU: f32 = 0.6;

impl Segmenter {
    /// Predicts all tracked regions again with the network, so that parts of an object that have
    /// come into view join its region and drift along the border is corrected.
    pub(super) fn repredict(&mut self, seeds: &Seeds) -> Result<(), Error> {
        for (label, region) in (1u8..).zip(&mut self.regions) {
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
            let (mut intersection, mut union) = (0.0f32, 0.0f32);
            for (p, predicted) in region.probability.iter().zip(&self.log_odds) {
                let (tracked, predicted) = (*p > 0.5, *predicted > 0.0);
                intersection += f32::from(u8::from(tracked && predicted));
                union += f32::from(u8::from(tracked || predicted));
            }
            // A prediction with little overlap is of another object.
            if intersection < MIN_REPREDICTION_IOU * union {
                continue;
            }
            region.probability.zip_mut_with(&self.log_odds, |p, predicted| {
                let predicted =
                    predicted.clamp(-MAX_REPREDICTION_LOG_ODDS, MAX_REPREDICTION_LOG_ODDS);
                *p = logistic(logit(*p) + REPREDICTION_WEIGHT * predicted);
            });
        }
        Ok(())
    }
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
