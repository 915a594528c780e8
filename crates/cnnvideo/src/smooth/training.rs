// SPDX-License-Identifier: MIT OR Apache-2.0

//! Constants and functions of the smoother that training needs to reproduce its solver. Not for
//! other users.

pub use super::{
    io::{EDGE_LOGIT_RANGE, MIN_EDGE_CONFIDENCE},
    smoother::{DEFAULT_EDGE_SIGMA, lambda},
    strength::fill_strength_map,
    wls::{EXP_ORDER, lambda_fractions},
};
