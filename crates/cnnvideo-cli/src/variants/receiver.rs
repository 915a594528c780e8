// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo watermark playlist`: the playlist of a receiver.

use std::{fs, path::PathBuf};

use cnnvideo::watermark::{Key, Variant};

use super::{
    manifest::{Manifest, PLAYLIST},
    package::Playlist,
};
use crate::{
    args::PlaylistArguments,
    error::{Result, failed},
    output::{check_output, note, write_whole},
    watermark::check_key,
};

/// Executes the command.
///
/// # Errors
/// The folder is not one of variants, or the playlist cannot be written.
pub(crate) fn write_playlist(arguments: &PlaylistArguments) -> Result<()> {
    let PlaylistArguments { folder, key_file, receiver, output, base, overwrite } = arguments;
    let key: Key = check_key(key_file)?;
    let manifest = Manifest::read(folder)?;
    let playlist = Playlist::read(&folder.join(Variant::A.name()).join(PLAYLIST))?;
    if playlist.segments().count() != manifest.segments {
        return Err(failed!("{} is incomplete: make the variants again", folder.display()));
    }
    let variants = manifest.patterns(&key).of(*receiver);
    let base = base.as_deref().map(|base| format!("{}/", base.trim_end_matches('/')));
    let base = base.unwrap_or_default();
    let text = playlist.renamed(|number, name| format!("{base}{}/{name}", variants[number].name()));
    let output: PathBuf =
        output.clone().unwrap_or_else(|| folder.join(format!("receiver-{receiver}.m3u8")));
    check_output(&output, &[key_file], *overwrite)?;
    write_whole(&output, |temporary| {
        fs::write(temporary, &text)
            .map_err(|err| failed!("cannot write {}: {err}", output.display()))
    })?;
    note(format_args!("{}: the playlist of receiver {receiver}", output.display()));
    Ok(())
}
