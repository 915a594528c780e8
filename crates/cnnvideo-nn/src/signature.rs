// SPDX-License-Identifier: MIT OR Apache-2.0

//! The interface between a model and the algorithm that uses it: a task name and channel counts.

use super::{Error, Network};

/// Channels of a model's input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IoSpec {
    /// Input channels that hold the picture.
    pub picture: usize,
    /// Input channels that hold control maps. They follow the picture's channels.
    pub control: usize,
    /// Output channels.
    pub output: usize,
}

impl IoSpec {
    /// Returns the number of input channels, control maps included.
    pub const fn input_channels(self) -> usize {
        self.picture + self.control
    }
}

/// Task and channels that an algorithm needs from a model.
///
/// The engine does not interpret the task. An algorithm declares the signatures that it can use and
/// [checks](Self::check) that a network has one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature {
    /// Task, as in the metadata of model files.
    pub task: &'static str,
    /// Channels of input and output.
    pub io: IoSpec,
}

impl Signature {
    /// Creates a signature from the channel counts of [`IoSpec`].
    pub const fn new(task: &'static str, io: IoSpec) -> Self {
        Self { task, io }
    }

    /// Returns whether a network has this task and these channels.
    pub fn matches(&self, network: &dyn Network) -> bool {
        network.task() == self.task && network.io() == self.io
    }

    /// Checks that a network has this task and these channels.
    ///
    /// # Errors
    /// [`Error::Task`].
    pub fn check(&self, network: &dyn Network) -> Result<(), Error> {
        if self.matches(network) { Ok(()) } else { Err(Error::task(network, &[*self])) }
    }
}
