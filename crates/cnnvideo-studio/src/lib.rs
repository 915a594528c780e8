// SPDX-License-Identifier: MIT OR Apache-2.0

//! The server of `cnnvideo studio`: a page in the browser that shows video before and after a chain
//! of elements, with controls, and exports the command that does the same.
//!
//! [`Studio::bind`] opens the port and makes a random token; [`Studio::serve`] answers requests
//! until its owner stops it. Each page has a session with a player thread, which decodes the video
//! and runs the chain (`player`), and a thread that makes pictures of the frames.
//!
//! # Security
//! Whoever has the token can read and write video files below the allowed folders, no others
//! (`access`). The server refuses requests whose `Host` is a name (DNS rebinding), whose `Origin`
//! is another page, or that lack the token (`server::guard`). Sizes of messages and numbers of
//! connections and pages are bounded.

mod access;
mod card;
mod elements;
mod export;
mod jobs;
mod player;
mod presets;
mod problem;
mod server;
mod session;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use problem::Problem;
pub use server::Studio;

/// Options of a studio: allowed folders and address.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folders below which files may be read and written.
    pub folders: Vec<PathBuf>,
    /// Video to open first.
    pub file: Option<PathBuf>,
    /// The program `cnnvideo`, which works on the queue of files.
    pub program: PathBuf,
    /// Folder of the presets.
    pub presets: Option<PathBuf>,
    /// Elements that cards may have, beside those of this project.
    pub more_elements: Vec<String>,
    /// Time after which a pipeline without a sign of life is started again.
    pub patience: Duration,
}

impl Options {
    /// Returns options for an address, with the presets of the user.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            folders: Vec::new(),
            file: None,
            program: PathBuf::from("cnnvideo"),
            presets: presets::folder_of_user(),
            more_elements: Vec::new(),
            patience: Duration::from_secs(30),
        }
    }
}
