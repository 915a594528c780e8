// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cache of [`Session`]s of one network for the frame sizes of a stream.

use super::{Error, Network, Session, Size};

/// Number of cached sessions. Two, because the fields of an interlaced frame of odd height differ
/// in size by one row.
const CAPACITY: usize = 2;

/// The most recently created sessions of one network, at most two.
#[derive(Default)]
pub struct SessionCache(Vec<Box<dyn Session>>);

impl SessionCache {
    /// Returns the session for frames of `width` x `height` pixels, and creates it when it is not
    /// cached. The input of the network has half the frame size (pixel-unshuffled), rounded up to
    /// the granularity of the network.
    ///
    /// # Errors
    /// [`Error::Backend`] for a size that the network cannot run on.
    pub fn for_frame_size(
        &mut self,
        network: &dyn Network,
        threads: usize,
        width: usize,
        height: usize,
    ) -> Result<&mut dyn Session, Error> {
        let half = Size { width: width.div_ceil(2), height: height.div_ceil(2) };
        self.for_input_size(network, threads, half)
    }

    /// Returns the session for network inputs of `size`, rounded up to the granularity of the
    /// network, and creates it when it is not cached.
    ///
    /// # Errors
    /// [`Error::Backend`] for a size that the network cannot run on.
    pub fn for_input_size(
        &mut self,
        network: &dyn Network,
        threads: usize,
        size: Size,
    ) -> Result<&mut dyn Session, Error> {
        let size = size.next_multiple_of(network.granularity());
        let index = match self.0.iter().position(|session| session.size() == size) {
            Some(index) => index,
            None => {
                let session = network.session(size, threads)?;
                self.0.truncate(CAPACITY - 1);
                self.0.insert(0, session);
                0
            }
        };
        Ok(&mut *self.0[index])
    }
}
