//! Interactive segmentation: a person points at what matters in a picture, and the region follows the video.

pub(crate) mod clue;
pub mod distance;
pub mod simulate;
