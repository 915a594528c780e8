//! The properties that give a key.

use std::path::PathBuf;

use glib::{ParamSpec, ParamSpecString, prelude::*};
use gst::prelude::*;

use crate::{
    element::value_of,
    watermark::{Key, KeyError},
};

/// Where the key comes from. Never printed.
#[derive(Default, Clone)]
pub(super) struct KeySettings {
    file: Option<PathBuf>,
    hex: Option<zeroize::Zeroizing<String>>,
}

impl KeySettings {
    /// Takes over the value of a property; `None` where it is not one of these.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Option<Result<(), String>> {
        match name {
            "key-file" => Some(value_of(value).map(|file| self.file = file)),
            "key" => {
                Some(value_of::<Option<String>>(value).map(|hex| self.hex = hex.map(Into::into)))
            }
            _ => None,
        }
    }

    /// The value of a property that may be read.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        (name == "key-file").then(|| self.file.to_value())
    }

    /// Loads the key.
    ///
    /// # Errors
    /// What to tell the user.
    pub fn load(&self) -> Result<Key, gst::ErrorMessage> {
        let key = match (&self.file, &self.hex) {
            (Some(file), _) => Key::from_file(file),
            (None, Some(hex)) => Key::from_hex(hex),
            (None, None) => {
                return Err(gst::error_msg!(
                    gst::ResourceError::Settings,
                    ("No key: set key-file to a file of 32 random bytes (head -c 32 /dev/urandom > FILE)")
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

    pub fn properties() -> Vec<ParamSpec> {
        vec![
            ParamSpecString::builder("key-file")
                .nick("Key file")
                .blurb("File with the secret key: 32 bytes, or 64 hex digits")
                .mutable_ready()
                .build(),
            ParamSpecString::builder("key")
                .nick("Key")
                .blurb("The key itself as 64 hex digits, for tests: others may see it in process lists. Cannot be read back")
                .write_only()
                .mutable_ready()
                .build(),
        ]
    }
}
