//! Scale- and structure-aware smoothing: a network tells texture from structure, an exact solver smooths.
//!
//! [`Smoother`] does it for the pictures of a stream; [`wls`] is the solver alone, for any guide.

mod adapt;
pub mod element;
pub(crate) mod io;
mod smoother;
pub mod wls;

#[cfg(feature = "torch")]
pub(crate) use self::{
    adapt::share,
    io::{BELIEVED, LEAST_BELIEF},
    smoother::{SIGMA, lambda},
};
pub use smoother::{Error, Parameters, Smoother, built_in, from_file};

/// Largest scale that can be asked for, in pixels.
pub const MAX_SCALE: f32 = 64.0;

/// What networks are told of a scale in pixels: 0 for 1, 1 for 64, by octaves.
pub fn control(scale: f32) -> f32 {
    scale.clamp(1.0, MAX_SCALE).log2() / MAX_SCALE.log2()
}
