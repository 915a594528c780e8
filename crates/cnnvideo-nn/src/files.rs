// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files that are written completely or not at all, and their identity.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

/// Replaces a file as one step: at every moment, even after a crash, `path` holds the complete old
/// or the complete new content.
///
/// `write` gets the path of a temporary file in the same folder, with the same extension. It
/// replaces `path` after it has reached the disk, and is removed after an error. A symbolic link is
/// followed. Files that are not regular, such as FIFOs, are written directly.
///
/// # Errors
/// The error of `write`, or of storing or renaming the temporary file.
pub fn write_atomically<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        return write(&path);
    }
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name").into());
    };
    let mut temporary_name = std::ffi::OsString::from(format!(".{}-", std::process::id()));
    temporary_name.push(name);
    let temporary = path.with_file_name(temporary_name);
    let result = write(&temporary).and_then(|()| Ok(replace(&temporary, &path)?));
    if result.is_err() {
        // The temporary file need not exist, and the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    result
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
fn replace(temporary: &Path, path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(temporary)?.sync_all()?;
    fs::rename(temporary, path)?;
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
        // Nothing was written, so there is nothing to rename.
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
