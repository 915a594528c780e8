// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parts of this module that training programs share with the filters. Not for other users.

pub use super::interpolate::catmull_rom_weights;
