// SPDX-License-Identifier: MIT OR Apache-2.0

//! Metadata of model files: the strings beside the tensors.

use std::collections::HashMap;

use crate::{Error, IoSpec, arch::Architecture};

/// Version of the file format that the writer uses.
const FORMAT_VERSION: &str = "2";
/// Older version of the file format, which remains readable.
const LEGACY_FORMAT_VERSION: &str = "1";
/// The values of the key `domain` in files of format 1, with their numbers of control channels.
const LEGACY_DOMAINS: [(&str, usize); 6] =
    [("rgb", 1), ("yuv420", 2), ("plane", 0), ("guide", 1), ("region", 3), ("texture", 0)];

/// The entries of a model file that describe the model.
pub(super) struct Metadata {
    pub task: String,
    pub io: IoSpec,
    pub architecture: Architecture,
    pub version: String,
    pub training: String,
}

impl Metadata {
    /// Parses the metadata of a file.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the missing or wrong key.
    pub(super) fn parse(entries: &HashMap<String, String>) -> Result<Self, Error> {
        let entries = Entries(entries);
        let formats = [FORMAT_VERSION, LEGACY_FORMAT_VERSION];
        let format = formats[entries.one_of("format", &formats)?];
        let name = Architecture::NAMES[entries.one_of("architecture", &Architecture::NAMES)?];
        let architecture = Architecture::parse(name, entries.text("hyper-parameters")?)?;
        let (task, io) = if format == LEGACY_FORMAT_VERSION {
            entries.legacy_interface(&architecture)?
        } else {
            (entries.text("task")?.to_owned(), entries.io()?)
        };
        Ok(Self {
            task,
            io,
            architecture,
            version: entries.text("version")?.to_owned(),
            training: entries.text("training")?.to_owned(),
        })
    }

    /// Returns the entries to write to a file.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the hyper-parameters cannot be serialised.
    pub(super) fn entries(&self) -> Result<HashMap<String, String>, Error> {
        let hyper_parameters = serde_json::to_string(&self.architecture)
            .map_err(|err| Error::invalid("hyper-parameters", err.to_string()))?;
        let entries = [
            ("format", FORMAT_VERSION.to_owned()),
            ("task", self.task.clone()),
            ("picture-channels", self.io.picture.to_string()),
            ("control-channels", self.io.control.to_string()),
            ("output-channels", self.io.output.to_string()),
            ("architecture", self.architecture.name().to_owned()),
            ("hyper-parameters", hyper_parameters),
            ("version", self.version.clone()),
            ("training", self.training.clone()),
        ];
        Ok(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }
}

/// Raw entries, with accessors that name the key in their errors.
struct Entries<'a>(&'a HashMap<String, String>);

impl<'a> Entries<'a> {
    /// Returns the value of a key.
    fn text(&self, key: &str) -> Result<&'a str, Error> {
        let value = self.0.get(key).map(String::as_str);
        value.ok_or_else(|| Error::invalid(key, "missing from the metadata"))
    }

    /// Returns the index of a value among the known ones.
    fn one_of(&self, key: &str, known: &[&str]) -> Result<usize, Error> {
        let value = self.text(key)?;
        known.iter().position(|k| *k == value).ok_or_else(|| {
            let (value, known) = (excerpt(value), known.join(", "));
            Error::invalid(key, format!("'{value}' is not one of {known}"))
        })
    }

    /// Returns the number of channels that is the value of a key.
    fn channels(&self, key: &str) -> Result<usize, Error> {
        let value = self.text(key)?;
        value.parse().map_err(|_| {
            Error::invalid(key, format!("'{}' is not a number of channels", excerpt(value)))
        })
    }

    /// Returns the channel counts of a file of format 2.
    fn io(&self) -> Result<IoSpec, Error> {
        Ok(IoSpec {
            picture: self.channels("picture-channels")?,
            control: self.channels("control-channels")?,
            output: self.channels("output-channels")?,
        })
    }

    /// Returns the task and the channels of a file of format 1. It names the task in two parts, of
    /// which the second implies the number of control channels.
    fn legacy_interface(&self, architecture: &Architecture) -> Result<(String, IoSpec), Error> {
        let known = LEGACY_DOMAINS.map(|(domain, _)| domain);
        let (domain, control) = LEGACY_DOMAINS[self.one_of("domain", &known)?];
        let io = IoSpec {
            picture: architecture.input_channels().saturating_sub(control),
            control,
            output: architecture.output_channels(),
        };
        Ok((format!("{}-{domain}", self.text("task")?), io))
    }
}

/// Returns the first 40 characters of a text from a file, escaped for use in a message.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}
