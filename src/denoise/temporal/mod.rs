//! The past of a stream, aligned with the present.
//!
//! A network of the domain [`Yuv420Video`](crate::nn::Domain::Yuv420Video) sees, besides the picture, what it made of the
//! picture before, shifted block by block to where things are now. How much of that to believe is for the network to
//! learn: a recurrence over denoised pictures as in Sajjadi et al., "Frame-Recurrent Video Super-Resolution" (CVPR 2018),
//! with block motion in place of a flow network, since that costs a hundredth. Only the past is used: there is no delay.

mod compensate;
mod motion;

use ndarray::Array2;

use self::motion::{Motion, Pyramid};
use crate::{
    frame::{Colour, Picture, PictureMut, Sample},
    nn::Threads,
};

/// What is remembered from picture to picture.
#[derive(Debug, Default)]
pub struct Temporal {
    /// The picture before, denoised; empty planes if there is none.
    past: Vec<Array2<f32>>,
    past_pyramid: Pyramid,
    has_past: bool,
    /// The picture that is being made.
    next: Vec<Array2<f32>>,
    present_pyramid: Pyramid,
    motion: Motion,
    aligned: Vec<Array2<f32>>,
}

impl Temporal {
    /// Forgets the past.
    pub fn reset(&mut self) {
        self.has_past = false;
    }

    /// Aligns the past with a picture; where there is no past, the picture itself stands for it. `level` is the noise of
    /// its luma. Gives the aligned past, and the planes that are to be filled with the denoised picture.
    pub fn align<T: Sample>(
        &mut self,
        picture: &Picture<'_, T>,
        level: f32,
        threads: &Threads,
    ) -> (Picture<'_, f32>, PictureMut<'_, f32>) {
        let colour = picture.colour;
        for planes in [&mut self.past, &mut self.next, &mut self.aligned] {
            let fit = planes.len() == picture.components.len()
                && planes.iter().zip(&picture.components).all(|(a, b)| a.dim() == b.dim());
            if !fit {
                *planes = picture.components.iter().map(|c| Array2::zeros(c.dim())).collect();
                self.has_past = false;
            }
        }
        if self.has_past {
            self.present_pyramid.build(picture.components[0], threads);
            self.motion.search(&self.present_pyramid, &self.past_pyramid, level, threads);
            for (i, (plane, to)) in self.past.iter().zip(&mut self.aligned).enumerate() {
                let shifts = match colour {
                    Colour::Yuv { shift_x, shift_y } if i > 0 => [shift_x, shift_y],
                    _ => [0, 0],
                };
                compensate::shift(plane, &self.motion, shifts, to, threads);
            }
        } else {
            for (plane, component) in self.aligned.iter_mut().zip(&picture.components) {
                plane.zip_mut_with(component, |to, from| *to = from.level());
            }
        }
        let aligned = Picture { colour, components: self.aligned.iter().map(|plane| plane.view()).collect() };
        let next = PictureMut { colour, components: self.next.iter_mut().map(|plane| plane.view_mut()).collect() };
        (aligned, next)
    }

    /// Makes the picture that was filled the past.
    pub fn advance(&mut self, threads: &Threads) {
        std::mem::swap(&mut self.past, &mut self.next);
        if let Some(luma) = self.past.first() {
            self.past_pyramid.build(luma.view(), threads);
            self.has_past = true;
        }
    }
}
