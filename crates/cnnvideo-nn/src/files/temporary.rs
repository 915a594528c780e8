// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files and folders under a temporary name, and what processes that were killed have left of them.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Begin of the temporary names; the number of the process and the final name follow.
const PREFIX: &str = ".cnnvideo-";
/// How often, and after which pause, a temporary name is tried that another process is about to
/// give up.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// A file or folder under a temporary name beside its final one. It is removed unless it gets the
/// final name, also by the next process that wants the same final name, if this one is killed.
///
/// A lock marks it as being in use, so that processes on several machines may write to one folder.
/// Where the file system has no locks, nothing is removed after a process was killed.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    is_kept: bool,
    /// Held as long as the value lives.
    _lock: File,
}

impl Temporary {
    /// Creates an empty file beside `path`, its final name. Removes those that processes which do
    /// not live any more have left for this name.
    ///
    /// # Errors
    /// The path has no file name, or the system reports an error.
    pub fn file(path: &Path) -> io::Result<Self> {
        Self::create(path, |temporary| File::create(temporary))
    }

    /// Creates an empty folder beside `path`, as [`Self::file`] does.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn folder(path: &Path) -> io::Result<Self> {
        Self::create(path, |temporary| {
            fs::create_dir(temporary)?;
            File::open(temporary)
        })
    }

    /// Returns the temporary path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file or folder a name.
    ///
    /// # Errors
    /// Something that cannot be replaced has this name.
    pub fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_kept = true;
        Ok(())
    }

    fn create(path: &Path, create: impl Fn(&Path) -> io::Result<File>) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name")
        })?;
        remove_abandoned(path, name);
        let mut own = OsString::from(format!("{PREFIX}{}-", std::process::id()));
        own.push(name);
        let own = path.with_file_name(own);
        for _ in 0..ATTEMPTS {
            let file = create(&own)?;
            // A process that looks for abandoned files may have removed it before it was locked.
            if lock(&file) && leads_to(&own, &file) {
                return Ok(Self { path: own, is_kept: false, _lock: file });
            }
            thread::sleep(PAUSE);
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process is writing it"))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_kept {
            // It may be gone already, and there is no one to report another error to.
            let _ = remove(&self.path);
        }
    }
}

/// Locks a file or folder unless another process has locked it. Returns `false` in that case. Where
/// there are no locks, the file counts as locked.
fn lock(file: &File) -> bool {
    // The locks of other systems keep all other handles of the file from writing.
    !cfg!(unix) || !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Returns whether a path still leads to an open file.
#[cfg(unix)]
fn leads_to(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let found = fs::symlink_metadata(path).map(identity);
    found.is_ok_and(|found| file.metadata().map(identity).is_ok_and(|own| own == found))
}

/// Other systems have no such race, as nothing is removed there.
#[cfg(not(unix))]
fn leads_to(_: &Path, _: &File) -> bool {
    true
}

/// Removes the temporary files and folders for a final path whose processes do not live any more.
/// What cannot be examined stays.
fn remove_abandoned(path: &Path, name: &OsStr) {
    if !cfg!(unix) {
        return;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_temporary_name(&entry.file_name(), name)) {
        let Ok(kind) = entry.file_type() else { continue };
        if !kind.is_file() && !kind.is_dir() {
            continue;
        }
        let opened = File::options().read(true).write(kind.is_file()).open(entry.path());
        // The lock is held while it is removed: its process may just have created it.
        if let Ok(file) = opened
            && file.try_lock().is_ok()
        {
            // The work does not need this to succeed.
            let _ = remove(&entry.path());
        }
    }
}

/// Returns whether a name is a temporary one for a final name.
fn is_temporary_name(name: &OsStr, of: &OsStr) -> bool {
    let rest = name.as_encoded_bytes().strip_prefix(PREFIX.as_bytes());
    let rest = rest.and_then(|rest| rest.strip_suffix(of.as_encoded_bytes()));
    let number = rest.and_then(|rest| rest.strip_suffix(b"-"));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// Removes a file, or a folder with its content.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Returns a new folder.
    fn folder(name: &str) -> PathBuf {
        let name = format!("cnnvideo-temporary-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Returns the names in a folder, sorted.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_was_abandoned_for_the_same_name_is_removed() {
        let folder = folder("abandoned");
        let write = |name: &str| fs::write(folder.join(name), "part").unwrap();
        let kept = [
            ".1-out.mkv",
            ".cnnvideo--out.mkv",
            ".cnnvideo-1-other.mkv",
            ".cnnvideo-1x-out.mkv",
            ".cnnvideo-7-out.mkv",
            "out.mkv",
        ];
        kept.into_iter().for_each(write);
        write(".cnnvideo-1-out.mkv");
        fs::create_dir(folder.join(".cnnvideo-2-out.mkv")).unwrap();
        write(".cnnvideo-2-out.mkv/page");
        std::os::unix::fs::symlink("out.mkv", folder.join(".cnnvideo-3-out.mkv")).unwrap();
        // Another handle stands for another process.
        let living = File::open(folder.join(".cnnvideo-7-out.mkv")).unwrap();
        living.lock().unwrap();
        let temporary = Temporary::file(&folder.join("out.mkv")).unwrap();
        let own = format!(".cnnvideo-{}-out.mkv", std::process::id());
        let mut expected: Vec<_> = kept.into_iter().map(ToOwned::to_owned).collect();
        expected.extend([own, ".cnnvideo-3-out.mkv".to_owned()]);
        expected.sort();
        assert_eq!(names(&folder), expected);
        // Nor does a thread of this process take the name away.
        assert!(Temporary::file(&folder.join("out.mkv")).is_err());
        drop(temporary);
        assert_eq!(names(&folder).len(), expected.len() - 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn folders_get_their_name_or_disappear() {
        let folder = folder("folders");
        let path = folder.join("report");
        let temporary = Temporary::folder(&path).unwrap();
        fs::write(temporary.path().join("page"), "text").unwrap();
        drop(temporary);
        assert!(names(&folder).is_empty());
        let temporary = Temporary::folder(&path).unwrap();
        fs::write(temporary.path().join("page"), "text").unwrap();
        temporary.rename(&path).unwrap();
        assert_eq!(names(&folder), ["report"]);
        assert_eq!(names(&path), ["page"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
