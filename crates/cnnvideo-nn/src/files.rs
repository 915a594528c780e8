// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files that are written completely or not at all, and their identity.

mod temporary;

pub use temporary::Temporary;

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

/// Replaces a file as one step: at every moment, even after a crash, `path` holds the complete old
/// or the complete new content.
///
/// `write` gets the path of an empty temporary file in the same folder, with the same extension. It
/// replaces `path` after it has reached the disk, and is removed after an error; if the process is
/// killed, by the next one that writes `path` ([`Temporary`]). A symbolic link is followed. Files
/// that are not regular, such as FIFOs, are written directly.
///
/// # Errors
/// The error of `write`, or of creating, storing or renaming the temporary file, which may not stay
/// empty.
pub fn write_atomically<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        return write(&path);
    }
    let temporary = Temporary::file(&path)?;
    write(temporary.path())?;
    Ok(replace(temporary, &path)?)
}

/// Returns whether two paths lead to the same existing file, through links as well.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |path: &Path| fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
        identity(a).is_some_and(|a| Some(a) == identity(b))
    }
    #[cfg(not(unix))]
    {
        fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
    }
}

/// Renames a file to `path` after its content has reached the disk.
fn replace(temporary: Temporary, path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(temporary.path())?;
    if file.metadata()?.len() == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing was written"));
    }
    file.sync_all()?;
    temporary.rename(path)?;
    // Without this, a crash of the machine could undo the renaming. Not all file systems can sync
    // folders, and the new file is complete anyway.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a new folder that holds the file `file` with the content `old`.
    fn folder(name: &str) -> std::path::PathBuf {
        let name = format!("cnnvideo-files-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), "old").unwrap();
        folder
    }

    /// Returns the names of the files in a folder.
    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = folder("whole");
        let file = folder.join("file");
        write_atomically(&file, |temporary| {
            fs::write(temporary, "ne")?;
            assert_eq!(fs::read_to_string(&file)?, "old");
            fs::write(temporary, "new")
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(names(&folder), ["file"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_error_keeps_the_old_file() {
        let folder = folder("error");
        let file = folder.join("file");
        let error = write_atomically(&file, |temporary| {
            fs::write(temporary, "part")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(error.unwrap_err().to_string(), "the disk is full");
        // Nothing was written.
        assert!(write_atomically(&file, |_| io::Result::Ok(())).is_err());
        assert!(write_atomically(Path::new("/"), |_| Err(io::Error::other("a folder"))).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        assert_eq!(names(&folder), ["file"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_written_directly() {
        let folder = folder("links");
        let link = folder.join("link");
        std::os::unix::fs::symlink(folder.join("file"), &link).unwrap();
        assert!(is_same_file(&link, &folder.join("file")));
        assert!(!is_same_file(&link, &folder) && !is_same_file(&link, &folder.join("none")));
        write_atomically(&link, |temporary| fs::write(temporary, "new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "new");
        let device = Path::new("/dev/null");
        write_atomically(device, |path| {
            assert_eq!(path, device);
            fs::write(path, "new")
        })
        .unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
