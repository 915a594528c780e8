// SPDX-License-Identifier: MIT OR Apache-2.0

//! A/B variants: two HLS streams of a video whose segments carry different payloads, a playlist for
//! each receiver that mixes them, and the search for the receivers of a leaked copy.
//!
//! The scheme is that of ETSI TS 104 002: the server delivers, segment by segment, variant A or B
//! by a pattern that only one receiver gets.

mod make;
mod manifest;
mod package;
mod receiver;
mod trace;

pub(crate) use make::make;
pub(crate) use receiver::write_playlist;
pub(crate) use trace::trace;
