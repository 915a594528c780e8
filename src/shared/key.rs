// SPDX-License-Identifier: MIT OR Apache-2.0

//! The properties `key-file`, `key` and `nonce` that both watermark elements have.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use glib::{ParamSpec, ParamSpecString, prelude::*};
use gst::prelude::*;
use zeroize::Zeroizing;

use crate::shared::get_value;
use cnnvideo::{
    nn::model::open_regular_file,
    watermark::{Key, KeyError},
};

/// Source of the key. It is never logged.
#[derive(Default, Clone)]
pub(crate) struct KeySettings {
    file: Option<PathBuf>,
    hex: Option<Zeroizing<String>>,
    /// Name of the video, from which and the key that of the video is derived.
    nonce: Option<String>,
}

impl KeySettings {
    /// Sets the field that belongs to the property `name`.
    ///
    /// # Errors
    /// A value of another type, or a name that is none of the three.
    pub(crate) fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "key-file" => self.file = get_value(value)?,
            "key" => self.hex = get_value::<Option<String>>(value)?.map(Into::into),
            "nonce" => self.nonce = get_value(value)?,
            _ => return Err("unknown property".to_owned()),
        }
        Ok(())
    }

    /// Returns the value of the property `name`, or `None` if it is neither `key-file` nor `nonce`:
    /// `key` is write-only.
    pub(crate) fn get(&self, name: &str) -> Option<glib::Value> {
        match name {
            "key-file" => Some(self.file.to_value()),
            "nonce" => Some(self.nonce.to_value()),
            _ => None,
        }
    }

    /// Loads the key for an element. Posts a warning of the element if users other than the owner
    /// and the group of the key file have access to it.
    ///
    /// # Errors
    /// Returns the message for the user if no key is set, if it is invalid or cannot be read, or if
    /// all its bytes are zero.
    pub(crate) fn load(&self, element: &impl IsA<gst::Element>) -> Result<Key, gst::ErrorMessage> {
        let (key, source) = match (&self.file, &self.hex) {
            (Some(file), _) => (read_key(file, element), file.display().to_string()),
            (None, Some(hex)) => (Key::from_hex(hex), "property key".to_owned()),
            (None, None) => {
                return Err(gst::error_msg!(
                    gst::ResourceError::Settings,
                    ("No key: set key-file to a file of 32 random bytes \
                      (head -c 32 /dev/urandom > FILE)")
                ));
            }
        };
        let key = key.map(|key| match &self.nonce {
            Some(nonce) => key.for_video(nonce),
            None => key,
        });
        key.map_err(|err| match &err {
            KeyError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                gst::error_msg!(gst::ResourceError::NotFound, ("{}", err))
            }
            KeyError::Read { .. } => gst::error_msg!(gst::ResourceError::Read, ("{}", err)),
            KeyError::Format | KeyError::Zero => {
                gst::error_msg!(gst::ResourceError::Settings, ("Cannot use {}: {}", source, err))
            }
        })
    }

    /// Returns the specifications of the properties.
    pub(crate) fn properties() -> Vec<ParamSpec> {
        vec![
            ParamSpecString::builder("key-file")
                .nick("Key file")
                .blurb("File with the secret key: 32 bytes or 64 hex digits")
                .mutable_ready()
                .build(),
            ParamSpecString::builder("key")
                .nick("Key")
                .blurb(
                    "Secret key as 64 hex digits, for tests only: on a command line other users \
                     can read it in the process list",
                )
                .write_only()
                .mutable_ready()
                .build(),
            ParamSpecString::builder("nonce")
                .nick("Nonce")
                .blurb(
                    "Name of the video, such as its number: gives it a key of its own, derived \
                     from the key and this text; embedder and detector need the same",
                )
                .mutable_ready()
                .build(),
        ]
    }
}

/// Reads a key file without blocking. Posts a warning of the element if other users have access to
/// the file.
fn read_key(path: &Path, element: &impl IsA<gst::Element>) -> Result<Key, KeyError> {
    let open = || {
        let file = open_regular_file(path)?;
        warn_about_access(path, &file, element)?;
        Ok(file)
    };
    let file = open().map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    Key::from_open_file(&file, path)
}

/// Posts a warning if users other than the owner and the group may read or write a file.
#[cfg(unix)]
fn warn_about_access(path: &Path, file: &File, element: &impl IsA<gst::Element>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o006 != 0 {
        gst::element_warning!(
            element,
            gst::ResourceError::Settings,
            (
                "Every user of this machine has access to key file {} (mode {:04o}): \
                 chmod 600 FILE restricts it to its owner",
                path.display(),
                mode
            )
        );
    }
    Ok(())
}

/// Does nothing: other systems have no file modes.
#[cfg(not(unix))]
fn warn_about_access(_: &Path, _: &File, _: &impl IsA<gst::Element>) -> io::Result<()> {
    Ok(())
}
