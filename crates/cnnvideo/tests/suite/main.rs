// SPDX-License-Identifier: MIT OR Apache-2.0

//! Integration tests of the algorithms, in one binary so that they link once.

mod perceptual;
mod photographs;
mod plain_graphics;
#[path = "../../../../tests/common/random.rs"]
mod random;
mod regions;
mod smoothing;
mod watermark;
