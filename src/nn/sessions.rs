use super::{Error, Network, Session, Size};

/// Sessions kept: the two fields of an interlaced picture of odd height differ in size.
const KEPT: usize = 2;

/// Sessions of a network for the sizes of a stream's pictures.
#[derive(Default)]
pub(crate) struct Sessions(Vec<Box<dyn Session>>);

impl Sessions {
    /// The session for frames of a size in pixels, which the network sees at half of it; made if there is none.
    ///
    /// # Errors
    /// A size that the network cannot run on.
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
