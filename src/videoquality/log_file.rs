// SPDX-License-Identifier: MIT OR Apache-2.0

//! The log file: a row for each measured pair, as CSV or as JSON lines.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use cnnvideo::{
    nn::files::Temporary,
    quality::{Measures, NAMES},
};

/// Ending that a log gets whose stream did not end.
const PARTIAL: &str = "partial";
/// Endings of names of files with JSON lines. All others are CSV.
const JSON_ENDINGS: [&str; 3] = ["jsonl", "ndjson", "json"];

/// Format of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

/// Open log. Until the stream ends, the rows are in a temporary file; then it gets its name. A log
/// that is dropped before keeps its rows under the name with `.partial` added.
pub(super) struct LogFile {
    /// `None` once the file has its name.
    temporary: Option<Temporary>,
    rows: Rows<File>,
    path: PathBuf,
}

impl LogFile {
    /// Opens a log for the final name `path`.
    ///
    /// # Errors
    /// The name is that of something else than a file, or the folder is not writable.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        // The rename at the end would replace devices and pipes.
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
            }
            _ => (),
        }
        // A symbolic link is followed.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let temporary = Temporary::file(path)?;
        let file = File::options().write(true).open(temporary.path())?;
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        let format = match JSON_ENDINGS.iter().any(|json| ending == **json) {
            true => Format::JsonLines,
            false => Format::Csv,
        };
        let rows = Rows::new(file, format)?;
        Ok(Self { temporary: Some(temporary), rows, path: path.to_owned() })
    }

    /// Adds the row of pair `number` (from 0) with its running time in nanoseconds.
    ///
    /// # Errors
    /// The row cannot be written; the file then ends with the row before.
    pub(super) fn add(
        &mut self,
        number: u64,
        running_time: Option<u64>,
        measures: &Measures,
    ) -> io::Result<()> {
        let row = self.rows.format.row(number, running_time, measures);
        self.rows.add(&row)
    }

    /// Removes all rows, for a new measurement.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.rows.restart()
    }

    /// Gives the complete log its name.
    ///
    /// # Errors
    /// The system cannot store the file or rename it.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.rows.file.sync_all()?;
        match self.temporary.take() {
            Some(temporary) => temporary.rename(&self.path),
            None => Ok(()),
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let mut name = self.path.clone().into_os_string();
            name.push(".");
            name.push(PARTIAL);
            // If it fails, the temporary file is removed, and there is no one to report it to.
            let _ = temporary.rename(Path::new(&name));
        }
    }
}

/// What rows are written to.
trait RowFile: Write {
    /// Cuts the file after `length` bytes and continues there.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl RowFile for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        use io::Seek;
        self.set_len(length)?;
        self.seek(io::SeekFrom::Start(length)).map(|_| ())
    }
}

/// A file of whole rows.
struct Rows<F> {
    file: F,
    format: Format,
    /// Bytes of the rows written so far.
    length: u64,
}

impl<F: RowFile> Rows<F> {
    fn new(file: F, format: Format) -> io::Result<Self> {
        let mut rows = Self { file, format, length: 0 };
        rows.add(&format.header())?;
        Ok(rows)
    }

    /// Writes a row. If this fails, the file ends with the row before.
    fn add(&mut self, row: &str) -> io::Result<()> {
        if let Err(err) = self.file.write_all(row.as_bytes()) {
            // What was written of the row goes; the first error is the one to report.
            let _ = self.file.cut(self.length);
            return Err(err);
        }
        self.length += row.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.cut(0)?;
        self.length = 0;
        self.add(&self.format.header())
    }
}

impl Format {
    /// Returns the first line.
    fn header(self) -> String {
        match self {
            Self::Csv => format!("frame,running-time,{}\n", NAMES.join(",")),
            Self::JsonLines => String::new(),
        }
    }

    /// Returns the line of a pair.
    fn row(self, number: u64, running_time: Option<u64>, measures: &Measures) -> String {
        let named = measures.named();
        let time = running_time.map(|time| time.to_string());
        let mut row = String::new();
        // Writing to a string does not fail.
        let _ = match self {
            Self::Csv => write!(row, "{number},{}", time.unwrap_or_default()),
            Self::JsonLines => {
                write!(
                    row,
                    "{{\"frame\":{number},\"running-time\":{}",
                    time.as_deref().unwrap_or("null")
                )
            }
        };
        match self {
            Self::Csv => {
                for name in NAMES {
                    row.push(',');
                    if let Some((_, value)) = named.iter().find(|(other, _)| *other == name) {
                        let _ = write!(row, "{value}");
                    }
                }
                row.push('\n');
            }
            Self::JsonLines => {
                for (name, value) in named {
                    // JSON has no infinity.
                    let _ = match value.is_finite() {
                        true => write!(row, ",\"{name}\":{value}"),
                        false => write!(row, ",\"{name}\":null"),
                    };
                }
                row.push_str("}\n");
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on a disk with room for some bytes.
    struct Disk {
        content: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            let written = data.len().min(self.room - self.content.len());
            self.content.extend(&data[..written]);
            if written == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(written) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl RowFile for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.content.truncate(length as usize);
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_leaves_whole_rows() {
        let disk = Disk { content: Vec::new(), room: 20 };
        let mut rows = Rows::new(disk, Format::JsonLines).unwrap();
        rows.add("{\"frame\":0}\n").unwrap();
        let error = rows.add("{\"frame\":1}\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(rows.file.content, b"{\"frame\":0}\n");
        rows.restart().unwrap();
        assert!(rows.file.content.is_empty());
    }

    #[test]
    fn rows_hold_all_measures() {
        let measures = Measures { ssim: Some(0.5), ..Default::default() };
        let row = Format::Csv.row(3, Some(40), &measures);
        let fields: Vec<_> = row.trim_end().split(',').collect();
        let header = Format::Csv.header();
        let value = |name: &str| {
            fields[header.trim_end().split(',').position(|other| other == name).unwrap()]
        };
        assert_eq!((value("frame"), value("running-time"), value("mse")), ("3", "40", "0"));
        assert_eq!((value("psnr"), value("ssim"), value("iou")), ("inf", "0.5", ""));
        let row = Format::JsonLines.row(3, None, &measures);
        assert!(row.starts_with("{\"frame\":3,\"running-time\":null,\"mse\":0,\"psnr\":null,"));
        assert!(row.contains(",\"ssim\":0.5,") && row.ends_with("}\n"), "{row}");
    }
}
