// SPDX-License-Identifier: MIT OR Apache-2.0

//! Integration tests of the studio's server, in one binary so that they link once.

mod common;
mod export;
mod queue;
mod security;
mod session;
