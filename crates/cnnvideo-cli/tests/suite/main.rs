// SPDX-License-Identifier: MIT OR Apache-2.0

//! Integration tests of the command, in one binary so that they link once.

mod chunks;
mod common;
#[cfg(feature = "c2pa")]
mod credentials;
mod errors;
mod files;
mod pipes;
mod studio;
mod tools;
mod variants;
