// SPDX-License-Identifier: MIT OR Apache-2.0

//! The properties `key-file` and `key` that both watermark elements have.

use std::path::PathBuf;

use glib::{ParamSpec, ParamSpecString, prelude::*};
use gst::prelude::*;

use crate::shared::get_value;
use cnnvideo::watermark::{Key, KeyError};

/// Source of the key. It is never logged.
#[derive(Default, Clone)]
pub(crate) struct KeySettings {
    file: Option<PathBuf>,
    hex: Option<zeroize::Zeroizing<String>>,
}

impl KeySettings {
    /// Sets the field that belongs to the property `name`.
    ///
    /// # Errors
    /// A value of another type, or a name that is neither `key-file` nor `key`.
    pub(crate) fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        match name {
            "key-file" => self.file = get_value(value)?,
            "key" => self.hex = get_value::<Option<String>>(value)?.map(Into::into),
            _ => return Err("unknown property".to_owned()),
        }
        Ok(())
    }

    /// Returns the value of the property `name`, or `None` if it is not `key-file`: `key` is
    /// write-only.
    pub(crate) fn get(&self, name: &str) -> Option<glib::Value> {
        (name == "key-file").then(|| self.file.to_value())
    }

    /// Loads the key.
    ///
    /// # Errors
    /// Returns the message for the user if no key is set, or if it is invalid or cannot be read.
    pub(crate) fn load(&self) -> Result<Key, gst::ErrorMessage> {
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
        let source =
            self.file.as_ref().map_or("property key".to_owned(), |file| file.display().to_string());
        key.map_err(|err| match &err {
            KeyError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                gst::error_msg!(gst::ResourceError::NotFound, ("{}", err))
            }
            KeyError::Read { .. } => gst::error_msg!(gst::ResourceError::Read, ("{}", err)),
            KeyError::Format => {
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
        ]
    }
}
