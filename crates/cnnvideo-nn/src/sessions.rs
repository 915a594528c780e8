//! Cache of [`Session`]s of one network for the frame sizes of a stream.

use super::{Error, Network, Session, Size};

/// Number of cached sessions. Two, because the fields of an interlaced frame of odd height differ
/// in size by one row.
const KEPT: usize = 2;

/// The most recently created sessions of one network, at most [`KEPT`].
#[derive(Default)]
pub struct Sessions(Vec<Box<dyn Session>>);

impl Sessions {
    /// Returns the session for frames of `width` x `height` pixels, and creates it when it is not
    /// cached. The input of the network has half the frame size (pixel-unshuffled), rounded up to
    /// the granularity of the network.
    ///
    /// # Errors
    /// [`Error::Backend`] for a size that the network cannot run on.
    pub fn for_frame(
        &mut self,
        network: &dyn Network,
        threads: usize,
        width: usize,
        height: usize,
    ) -> Result<&mut dyn Session, Error> {
        let granularity = network.granularity();
        let half = |n: usize| n.div_ceil(2).next_multiple_of(granularity);
        let size = Size { width: half(width), height: half(height) };
        let at = match self.0.iter().position(|s| s.size() == size) {
            Some(at) => at,
            None => {
                let session = network.session(size, threads)?;
                self.0.truncate(KEPT - 1);
                self.0.insert(0, session);
                0
            }
        };
        Ok(&mut *self.0[at])
    }
}
