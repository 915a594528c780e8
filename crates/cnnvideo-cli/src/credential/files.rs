// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads small files of users.

use std::{fs::File, io::Read, path::Path};

use zeroize::Zeroizing;

use crate::error::{Result, failed};

/// Reads a regular file of at most `limit` bytes. The memory is cleared in the end, as the file may
/// be a private key.
///
/// # Errors
/// It cannot be read, is not a regular file, or is larger.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>> {
    let shown = path.display();
    let cannot_read = |err| failed!("cannot read {shown}: {err}");
    let mut file = File::open(path).map_err(cannot_read)?;
    let metadata = file.metadata().map_err(cannot_read)?;
    if !metadata.is_file() {
        return Err(failed!("cannot read {shown}: it is not a regular file"));
    }
    if metadata.len() > limit {
        return Err(failed!("cannot read {shown}: it has more than {limit} bytes"));
    }
    // One byte more, so that reading to the end does not copy it.
    let mut content = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    file.by_ref().take(limit).read_to_end(&mut content).map_err(cannot_read)?;
    Ok(content)
}
