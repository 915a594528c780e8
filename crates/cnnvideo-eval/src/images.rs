// SPDX-License-Identifier: MIT OR Apache-2.0

//! Folders of images.

use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::Result;

/// Returns whether a file is an image by its extension.
pub fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "png" || e == "jpg" || e == "jpeg")
}

/// Returns the image files of a folder in the order of their names.
///
/// # Errors
/// The folder cannot be read or has no images.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |err| format!("{}: {err}", folder.display());
    let mut files = std::fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|file| is_image(file));
    files.sort();
    if files.is_empty() {
        return Err(format!("no images (.png, .jpg) in {}", folder.display()).into());
    }
    Ok(files)
}

/// Returns the files among `paths` and the image files of the folders among them.
///
/// # Errors
/// As [`image_files`] for a folder.
pub fn files_and_folders(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(image_files(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// Returns the file name of a path without its extension.
///
/// # Panics
/// The path has no file name.
pub fn stem(path: &Path) -> String {
    path.file_stem().expect("an image file has a name").to_string_lossy().into_owned()
}

/// Reads an image as RGB.
///
/// # Errors
/// The file cannot be read or decoded.
pub fn open_rgb(path: &Path) -> Result<RgbImage> {
    Ok(image::open(path).map_err(|err| format!("{}: {err}", path.display()))?.into_rgb8())
}

/// Reads all images of a folder as RGB, in the order of their names.
///
/// # Errors
/// A file cannot be read or decoded, or the folder has no images.
pub fn load_rgb(folder: &Path) -> Result<Vec<RgbImage>> {
    image_files(folder)?.iter().map(|file| open_rgb(file)).collect()
}
