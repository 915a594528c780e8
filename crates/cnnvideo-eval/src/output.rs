// SPDX-License-Identifier: MIT OR Apache-2.0

//! Output of the programs: files that are complete or absent, the standard output, and the exit
//! status.

use std::{
    fmt,
    io::{self, Cursor, Write},
    path::Path,
    process::ExitCode,
};

use image::{EncodableLayout, ImageBuffer, ImageFormat, PixelWithColorType};

use crate::Result;

/// Runs a program: prints its error with its name and returns the exit status 1 if it fails.
pub fn run_program(name: &str, run: impl FnOnce() -> Result<()>) -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            // Where the standard error cannot be written either, the exit status remains.
            let _ = writeln!(io::stderr(), "{name}: {err}");
            ExitCode::FAILURE
        }
    }
}

/// Prints text to the standard output, as `print!`, but returns an error where that panics.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::output::print(format_args!($($text)*)) };
}

/// Prints a line to the standard output, as `println!`, but returns an error where that panics.
#[macro_export]
macro_rules! say_line {
    () => { $crate::output::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes text to the standard output; see [`say!`] and [`say_line!`].
///
/// # Errors
/// The standard output cannot be written, for example because the disk is full.
pub fn print(text: fmt::Arguments<'_>) -> Result<()> {
    let written = io::stdout().write_fmt(text);
    Ok(written.map_err(|err| format!("cannot write the standard output: {err}"))?)
}

/// Writes a file completely or not at all: see
/// [`write_atomically`](cnnvideo::nn::files::write_atomically).
///
/// # Errors
/// The error of `write`, or of storing the file, with the path of the file.
pub fn write_file(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    cnnvideo::nn::files::write_atomically(path, write)
        .map_err(|err| format!("cannot write {}: {err}", path.display()).into())
}

/// Writes an image completely or not at all, in the format of the extension of `path`.
///
/// # Errors
/// The extension is not that of a format that can be written, or as [`write_file`].
pub fn write_image<P>(path: &Path, image: &ImageBuffer<P, Vec<P::Subpixel>>) -> Result<()>
where
    P: PixelWithColorType,
    [P::Subpixel]: EncodableLayout,
{
    write_file(path, |temporary| {
        // `ImageBuffer::save` ignores errors of the last write.
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::from_path(path)?)?;
        Ok(std::fs::write(temporary, bytes.into_inner())?)
    })
}

/// Creates a folder, with those above it, unless it exists.
///
/// # Errors
/// The folder cannot be created; names it.
pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .map_err(|err| format!("cannot create folder {}: {err}", path.display()).into())
}
