//! Scale- and structure-aware smoothing: a network tells texture from structure, an exact solver smooths.

pub mod wls;
