// SPDX-License-Identifier: MIT OR Apache-2.0

//! Integration tests of the inference core, in one binary so that they link once.

mod model_files;
mod networks;
mod parity;
