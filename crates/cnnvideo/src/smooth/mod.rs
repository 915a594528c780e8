// SPDX-License-Identifier: MIT OR Apache-2.0

//! Scale- and structure-aware smoothing.
//!
//! A network predicts the texture up to a chosen scale and the edges of structure. Luma without
//! that texture guides an edge-preserving weighted least squares solver, which smooths the picture.
//! [`Smoother`] processes the pictures of a stream; [`wls`] is the solver alone, for any guide.

mod density;
pub(crate) mod io;
mod period;
mod smoother;
mod strength;
mod temporal;
pub mod training;
pub mod wls;

use cnnvideo_nn::{IoSpec, Signature};

pub use period::{PeriodMeter, texture_period};
pub use smoother::{Error, Parameters, Smoother, built_in, from_file};

/// Signature of the smoothing network.
///
/// The picture is Y, pixel-unshuffled to half the frame size in four channels, then U and V, as
/// `(code value - 128) / 255`. One control map follows, see [`scale_control`]. The network predicts
/// the texture of the same planes and the logit of a structure edge.
pub const SIGNATURE: Signature =
    Signature::new("smooth-guide", IoSpec { picture: 6, control: 1, output: 7 });

/// Largest supported texture scale in pixels.
pub const MAX_SCALE: f32 = 64.0;

/// Returns the value of the control map for a texture scale in pixels: `log2(scale) / 6`, 0 for 1
/// pixel and 1 for [`MAX_SCALE`]. Clamps scales outside this range.
pub fn scale_control(scale: f32) -> f32 {
    scale.clamp(1.0, MAX_SCALE).log2() / MAX_SCALE.log2()
}
