// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which files the page may open: those below the folders that the user has named.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::problem::{Problem, Result};

/// Most entries of a folder that are listed.
const MAX_ENTRIES: usize = 2000;
/// Extensions of files that are listed as videos.
const VIDEOS: [&str; 20] = [
    "mp4", "mkv", "mov", "webm", "avi", "m4v", "ts", "m2ts", "mts", "mpg", "mpeg", "y4m", "ogv",
    "flv", "wmv", "3gp", "mxf", "h264", "hevc", "vob",
];

/// Folders below which files may be read and written.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    folders: Vec<PathBuf>,
}

/// Contents of a folder.
#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    /// The folder.
    pub(crate) path: String,
    /// The folder above, if it may be listed.
    pub(crate) parent: Option<String>,
    /// Folders and files, sorted by name, folders first.
    pub(crate) entries: Vec<Entry>,
}

/// A folder or file.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    name: String,
    path: String,
    folder: bool,
    video: bool,
    bytes: u64,
}

impl Access {
    /// Allows folders and all that is below them.
    ///
    /// # Errors
    /// One is not a folder.
    pub(crate) fn new(folders: &[PathBuf]) -> Result<Self> {
        let real = |folder: &PathBuf| {
            folder.canonicalize().ok().filter(|folder| folder.is_dir()).ok_or_else(|| {
                Problem::new(format!("{} is not a folder", folder.display()), "name a folder")
            })
        };
        Ok(Self { folders: folders.iter().map(real).collect::<Result<_>>()? })
    }

    /// Returns the folders.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Returns the real path of a file or folder that exists.
    ///
    /// # Errors
    /// It is not below an allowed folder, once links are followed, or does not exist. The error is
    /// the same for both, so that it tells nothing about files elsewhere.
    pub(crate) fn existing(&self, path: &str) -> Result<PathBuf> {
        let real = Path::new(path).canonicalize().ok();
        real.filter(|path| self.contains(path)).ok_or_else(|| refusal(path))
    }

    /// Returns the real path of a file.
    ///
    /// # Errors
    /// As [`Self::existing`], or it is not a regular file.
    pub(crate) fn file(&self, path: &str) -> Result<PathBuf> {
        let real = self.existing(path)?;
        if real.is_file() {
            return Ok(real);
        }
        Err(Problem::new(format!("{path} is not a file"), "choose a file"))
    }

    /// Returns the path of a file that is to be written, with the real path of its folder.
    ///
    /// # Errors
    /// Its folder does not exist or is not below an allowed one, or it is a link or a folder.
    pub(crate) fn output(&self, path: &str) -> Result<PathBuf> {
        let path_of = Path::new(path);
        let name = path_of.file_name().filter(|name| *name != OsStr::new(".."));
        let (Some(name), Some(folder)) = (name, path_of.parent().and_then(Path::to_str)) else {
            return Err(refusal(path));
        };
        let file = self.existing(folder)?.join(name);
        match fs::symlink_metadata(&file) {
            Ok(metadata) if !metadata.is_file() => Err(refusal(path)),
            _ => Ok(file),
        }
    }

    /// Lists a folder, or the allowed folders if the path is empty.
    ///
    /// # Errors
    /// As [`Self::existing`], or the folder cannot be read.
    pub(crate) fn list(&self, path: &str) -> Result<Listing> {
        if path.is_empty() {
            let entries = self.folders.iter().filter_map(|path| self.entry(path)).collect();
            return Ok(Listing { path: String::new(), parent: None, entries });
        }
        let folder = self.existing(path)?;
        let read = fs::read_dir(&folder).map_err(|err| {
            Problem::new(format!("cannot read {path}: {err}"), "choose another folder")
        })?;
        let visible = read
            .filter_map(|entry| entry.ok())
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
        let mut entries: Vec<_> =
            visible.take(MAX_ENTRIES).filter_map(|entry| self.entry(&entry.path())).collect();
        entries.sort_by_key(|entry| (!entry.folder, entry.name.to_lowercase()));
        let parent = match folder.parent() {
            Some(parent) if self.contains(parent) => Some(parent.to_string_lossy().into_owned()),
            // Above an allowed folder is the list of them.
            _ => Some(String::new()),
        };
        Ok(Listing { path: folder.to_string_lossy().into_owned(), parent, entries })
    }

    /// Describes a path, unless it leads elsewhere or is neither file nor folder.
    fn entry(&self, path: &Path) -> Option<Entry> {
        let real = path.canonicalize().ok().filter(|real| self.contains(real))?;
        let metadata = real.metadata().ok()?;
        let folder = metadata.is_dir();
        let name = match self.folders.iter().any(|folder| folder == path) {
            true => path.to_string_lossy().into_owned(),
            false => path.file_name()?.to_string_lossy().into_owned(),
        };
        // The page cannot name a path that is not UTF-8.
        let path_of = path.to_str()?.to_owned();
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        (folder || metadata.is_file()).then(|| Entry {
            name,
            path: path_of,
            folder,
            video: !folder && VIDEOS.iter().any(|known| known.eq_ignore_ascii_case(extension)),
            bytes: metadata.len(),
        })
    }

    fn contains(&self, real: &Path) -> bool {
        self.folders.iter().any(|folder| real.starts_with(folder))
    }
}

fn refusal(path: &str) -> Problem {
    Problem::new(
        format!("there is no {path} below the folders of this studio"),
        "start it with --allow FOLDER to open files of another folder",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with `inside/clip.mp4` and `secret`, removed at the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("studio-{name}-{}", std::process::id()));
            fs::create_dir_all(folder.join("inside")).unwrap();
            fs::write(folder.join("inside/clip.mp4"), "x").unwrap();
            fs::write(folder.join("secret"), "x").unwrap();
            Self(folder.canonicalize().unwrap())
        }

        fn access(&self) -> Access {
            Access::new(&[self.0.join("inside")]).unwrap()
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_files_below_the_folders_can_be_opened() {
        let tree = Tree::new("open");
        let access = tree.access();
        assert!(access.file(&tree.path("inside/clip.mp4")).is_ok());
        for path in ["secret", "inside/../secret", "inside/missing", "inside"] {
            assert!(access.file(&tree.path(path)).is_err(), "{path}");
        }
        assert!(access.file("/etc/passwd").is_err());
        assert!(access.file("clip.mp4\0").is_err());
    }

    #[test]
    fn the_refusal_does_not_tell_what_exists_elsewhere() {
        let tree = Tree::new("tell");
        let text = |name: &str| {
            let path = tree.path(name);
            tree.access().file(&path).unwrap_err().text.replace(&path, "PATH")
        };
        assert_eq!(text("secret"), text("missing"));
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_elsewhere_are_refused() {
        let tree = Tree::new("links");
        std::os::unix::fs::symlink(tree.0.join("secret"), tree.0.join("inside/link.mp4")).unwrap();
        std::os::unix::fs::symlink(&tree.0, tree.0.join("inside/up")).unwrap();
        let access = tree.access();
        for path in ["inside/link.mp4", "inside/up", "inside/up/secret"] {
            assert!(access.existing(&tree.path(path)).is_err(), "{path}");
            assert!(access.output(&tree.path(path)).is_err(), "{path}");
        }
        let listed = access.list(&tree.path("inside")).unwrap();
        assert_eq!(listed.entries.len(), 1, "{:?}", listed.entries);
    }

    #[test]
    fn outputs_lie_in_the_folders_too() {
        let tree = Tree::new("output");
        let access = tree.access();
        assert!(access.output(&tree.path("inside/new.mkv")).is_ok());
        for path in ["new.mkv", "inside/../new.mkv", "inside/..", "inside/no/new.mkv"] {
            assert!(access.output(&tree.path(path)).is_err(), "{path}");
        }
        assert!(access.output("new.mkv").is_err());
    }

    #[test]
    fn folders_above_are_not_listed() {
        let tree = Tree::new("list");
        let access = tree.access();
        let top = access.list(&tree.path("inside")).unwrap();
        assert_eq!(top.parent.as_deref(), Some(""));
        assert!(access.list(&tree.path("")).is_err());
        assert_eq!(access.list("").unwrap().entries.len(), 1);
    }
}
