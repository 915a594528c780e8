// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fixed-lag smoothing: fuses a picture with future pictures too ([`Lookahead`]).
//!
//! A second pass of temporal fusion runs backwards in time over the queued pictures, from the
//! newest one. Its result for a picture is combined with that of the forward pass by inverse
//! variance (the two-filter smoother of Fraser and Potter, "The optimum linear smoother as a
//! combination of two optimum linear filters", IEEE Transactions on Automatic Control 14(4), 1969).

use std::collections::VecDeque;

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::{CONTIGUOUS, FusedPicture, NoiseModels, TemporalFusion, load_planes};
use crate::{
    frame::{Colour, FixedSample, Picture, Sample},
    nn::Threads,
    simd::vectorise,
};

/// Largest number of pictures in the queue. It limits the memory if pictures are queued and never
/// processed.
const MAX_QUEUED: usize = 64;

/// Pictures from the next one to be processed on.
#[derive(Debug, Default)]
pub struct Lookahead {
    queue: VecDeque<Queued>,
    /// Temporal fusion backwards in time.
    backward: TemporalFusion,
    /// The picture of both passes combined, and its remaining variance.
    combined: Pass,
    /// Memory of processed pictures, to reuse.
    spare: Option<Vec<Array2<FixedSample>>>,
}

/// A queued picture.
#[derive(Debug)]
struct Queued {
    colour: Colour,
    planes: Vec<Array2<FixedSample>>,
    /// Result of the backward pass; `None` if it has not got to this picture yet.
    backward: Option<Pass>,
}

/// Result of a pass of temporal fusion.
#[derive(Debug, Default)]
struct Pass {
    planes: Vec<Array2<FixedSample>>,
    /// Variance of the remaining noise, as in [`FusedPicture`].
    variance: Array2<f32>,
}

impl Lookahead {
    /// Removes all pictures.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.backward.reset();
    }

    /// Returns whether no picture is queued.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Removes the first picture, if there is one.
    pub fn remove_first(&mut self) {
        self.queue.pop_front();
    }

    /// Adds a picture behind those that are queued. Removes the first one if there are more than
    /// 64.
    pub fn push<T: Sample>(&mut self, picture: &Picture<'_, T>, threads: &Threads) {
        let mut planes = self.spare.take().unwrap_or_default();
        planes.resize_with(picture.components.len(), Default::default);
        for (plane, component) in planes.iter_mut().zip(&picture.components) {
            if plane.dim() != component.dim() {
                *plane = Array2::default(component.dim());
            }
        }
        load_planes(&mut planes, picture, threads);
        if self.queue.len() == MAX_QUEUED {
            self.remove_first();
        }
        self.queue.push_back(Queued { colour: picture.colour, planes, backward: None });
    }

    /// Removes the first picture and returns `fused`, its fusion with previous pictures, combined
    /// with its fusion with the other queued pictures. `noise` is that of all pictures.
    ///
    /// Returns `fused` if no picture is queued behind it.
    pub(crate) fn combine<'a>(
        &'a mut self,
        fused: FusedPicture<'a>,
        noise: &NoiseModels,
        threads: &Threads,
    ) -> FusedPicture<'a> {
        let is_alone = self.queue.len() < 2;
        if !is_alone && self.queue.front().is_some_and(|first| first.backward.is_none()) {
            self.run_backward(noise, threads);
        }
        let Some(first) = self.queue.pop_front() else { return fused };
        let dims = |planes: &[Array2<_>]| planes.iter().map(|p| p.dim()).collect::<Vec<_>>();
        let fits = fused.picture.components.iter().map(|c| c.dim()).eq(dims(&first.planes));
        let Some(backward) = first.backward.filter(|_| fits) else { return fused };
        self.combined.assign(&first.planes, &fused, &backward, first.colour, threads);
        self.spare = Some(first.planes);
        let components = self.combined.planes.iter().map(|plane| plane.view()).collect();
        FusedPicture {
            picture: Picture { colour: first.colour, components },
            variance: &self.combined.variance,
            corrections: fused.corrections,
        }
    }

    /// Runs the backward pass from the newest picture to the first one.
    ///
    /// One pass serves the first half of the queue: each picture is combined with at least half of
    /// the pictures that the queue can hold, and fused backwards about twice.
    fn run_backward(&mut self, noise: &NoiseModels, threads: &Threads) {
        let served = self.queue.len() / 2;
        self.backward.restart();
        for (i, queued) in self.queue.iter_mut().enumerate().rev() {
            let components = queued.planes.iter().map(|plane| plane.view()).collect();
            let picture = Picture { colour: queued.colour, components };
            let fused = self.backward.fuse(&picture, noise, threads);
            if i < served {
                let planes = fused.picture.components.iter().map(|plane| plane.to_owned());
                queued.backward =
                    Some(Pass { planes: planes.collect(), variance: fused.variance.clone() });
            }
        }
    }
}

impl Pass {
    /// Combines the two passes over the picture `planes`. Both contain it, so its information is
    /// subtracted once.
    fn assign(
        &mut self,
        planes: &[Array2<FixedSample>],
        forward: &FusedPicture<'_>,
        backward: &Pass,
        colour: Colour,
        threads: &Threads,
    ) {
        self.variance.clone_from(forward.variance);
        self.variance.zip_mut_with(&backward.variance, |variance, other| {
            *variance = 1.0 / (1.0 / *variance + 1.0 / other - 1.0);
        });
        self.planes.resize_with(planes.len(), Default::default);
        for (i, plane) in planes.iter().enumerate() {
            let to = &mut self.planes[i];
            if to.dim() != plane.dim() {
                *to = Array2::default(plane.dim());
            }
            let [shift_x, shift_y] = colour.subsampling(i);
            let rows = to.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
            let maps = [&self.variance, forward.variance, &backward.variance];
            threads.enter(|| {
                rows.for_each(|(y, to)| {
                    let cells =
                        maps.map(|map| map.row((y << shift_y) / 2).to_slice().expect(CONTIGUOUS));
                    let samples = Row {
                        own: plane.row(y).to_slice().expect(CONTIGUOUS),
                        forward: forward.picture.components[i].row(y).to_slice().expect(CONTIGUOUS),
                        backward: backward.planes[i].row(y).to_slice().expect(CONTIGUOUS),
                    };
                    let to = to.into_slice().expect(CONTIGUOUS);
                    let samples_per_cell = 2 >> shift_x;
                    vectorise(
                        #[inline(always)]
                        || combine_row(to, &samples, cells, samples_per_cell),
                    );
                });
            });
        }
    }
}

/// A row of a picture and of the results of both passes.
struct Row<'a> {
    own: &'a [FixedSample],
    forward: &'a [FixedSample],
    backward: &'a [FixedSample],
}

/// Combines a row. `cells` are the combined variance and those of the forward and backward pass.
#[inline(always)]
fn combine_row(
    to: &mut [FixedSample],
    row: &Row<'_>,
    [combined, forward, backward]: [&[f32]; 3],
    samples_per_cell: usize,
) {
    let samples = to
        .chunks_mut(samples_per_cell)
        .zip(row.own.chunks(samples_per_cell))
        .zip(row.forward.chunks(samples_per_cell))
        .zip(row.backward.chunks(samples_per_cell));
    let variances = combined.iter().zip(forward).zip(backward);
    for ((((to, own), ahead), behind), ((combined, forward), backward)) in samples.zip(variances) {
        let weights = [combined / forward, combined / backward];
        for (((to, own), ahead), behind) in to.iter_mut().zip(own).zip(ahead).zip(behind) {
            *to = FixedSample::from_code_value(
                weights[0] * ahead.code_value() + weights[1] * behind.code_value()
                    - combined * own.code_value(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::denoise::NoiseModel;

    /// Returns a texture of mean `value` with noise of sigma 8.
    fn picture(value: f32, seed: u64) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        Array2::from_shape_fn((96, 128), |(y, x)| {
            let (x, y) = (x as f32, y as f32);
            let texture = 30.0 * (0.31 * x + 0.05 * y).sin() * (0.23 * y - 0.02 * x).cos();
            let noise: f32 = (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum();
            value + texture + 8.0 * noise
        })
    }

    /// Returns the means and the variances of the pictures of a stream with a queue of `queued`
    /// pictures.
    fn run(values: &[f32], queued: usize) -> Vec<[f32; 2]> {
        let threads = Threads::new(2).unwrap();
        let model = NoiseModel::uniform(8.0);
        let noise = NoiseModels { main: model, chroma: model };
        let (mut fusion, mut lookahead) = (TemporalFusion::default(), Lookahead::default());
        let planes: Vec<_> =
            values.iter().enumerate().map(|(i, value)| picture(*value, i as u64)).collect();
        let pictures: Vec<_> = planes
            .iter()
            .map(|plane| Picture { colour: Colour::Gray, components: vec![plane.view()] })
            .collect();
        let mut results = Vec::new();
        for i in 0..pictures.len() {
            let known =
                if i == 0 { 0..queued.min(pictures.len()) } else { i + queued - 1..i + queued };
            for next in known.filter(|next| *next < pictures.len()) {
                lookahead.push(&pictures[next], &threads);
            }
            let fused =
                lookahead.combine(fusion.fuse(&pictures[i], &noise, &threads), &noise, &threads);
            let plane = fused.picture.components[0].mapv(FixedSample::code_value);
            results.push([plane.mean().unwrap(), fused.variance.mean().unwrap()]);
        }
        results
    }

    #[test]
    fn variance_falls_with_the_number_of_future_pictures() {
        let values = [100.0; 12];
        let alone = run(&values, 0);
        for queued in [1, 2, 5, 9] {
            let results = run(&values, queued);
            let first = results[0][1];
            let expected = 1.0 / queued as f32;
            assert!((0.9..1.5).contains(&(first / expected)), "{queued}: {first}");
            for ([mean, variance], [_, of_alone]) in results.iter().zip(&alone) {
                assert!((mean - 100.0).abs() < 0.5 && *variance < of_alone + 0.01);
            }
        }
    }

    #[test]
    fn pictures_behind_a_cut_do_not_count() {
        let mut values = [60.0; 10];
        values[5..].fill(180.0);
        let results = run(&values, 5);
        for (i, [mean, variance]) in results.iter().enumerate() {
            assert!((mean - values[i]).abs() < 0.5, "{i}: {mean}");
            assert!(*variance < 0.35, "{i}: {variance}");
        }
    }
}
