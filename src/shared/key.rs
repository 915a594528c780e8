//! The properties `key-file` and `key` that both watermark elements have.

use std::path::PathBuf;

use glib::{ParamSpec, ParamSpecString, prelude::*};
use gst::prelude::*;

use crate::shared::value_of;
use cnnvideo::watermark::{Key, KeyError};

/// Source of the key. It is never logged.
#[derive(Default, Clone)]
pub(crate) struct KeySettings {
    file: Option<PathBuf>,
    hex: Option<zeroize::Zeroizing<String>>,
}

impl KeySettings {
    /// Sets a property; returns `None` if it is neither `key-file` nor `key`.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Option<Result<(), String>> {
        match name {
            "key-file" => Some(value_of(value).map(|file| self.file = file)),
            "key" => {
                Some(value_of::<Option<String>>(value).map(|hex| self.hex = hex.map(Into::into)))
            }
            _ => None,
        }
    }

    /// Returns the value of a readable property: `key` is write-only.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        (name == "key-file").then(|| self.file.to_value())
    }

    /// Loads the key.
    ///
    /// # Errors
    /// Returns the message for the user if no key is set, or if it is invalid or cannot be read.
    pub fn load(&self) -> Result<Key, gst::ErrorMessage> {
        let key = match (&self.file, &self.hex) {
            (Some(file), _) => Key::from_file(file),
            (None, Some(hex)) => Key::from_hex(hex),
            (None, None) => {
                return Err(gst::error_msg!(
                    gst::ResourceError::Settings,
                    ("No key: set key-file to a file of 32 random bytes \
                      (head -c 32 /dev/urandom > FILE)")
                ));
            }
        };
        let from =
            self.file.as_ref().map_or("property key".to_owned(), |file| file.display().to_string());
        key.map_err(|err| match &err {
            KeyError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                gst::error_msg!(gst::ResourceError::NotFound, ("{}", err))
            }
            KeyError::Read { .. } => gst::error_msg!(gst::ResourceError::Read, ("{}", err)),
            KeyError::Format => {
                gst::error_msg!(gst::ResourceError::Settings, ("Cannot use {}: {}", from, err))
            }
        })
    }

    /// Returns the specifications of the properties.
    pub fn properties() -> Vec<ParamSpec> {
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
        ]
    }
}
