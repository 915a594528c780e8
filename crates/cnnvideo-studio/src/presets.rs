// SPDX-License-Identifier: MIT OR Apache-2.0

//! Presets: chains of cards that the user has stored, one JSON file each.

use std::{env, fs, path::PathBuf};

use cnnvideo::nn::files::write_atomically;

use crate::{
    card::{Card, MAX_CARDS},
    problem::{Problem, Result},
};

/// Longest name of a preset.
const MAX_NAME: usize = 64;
/// Largest file of a preset.
const MAX_BYTES: u64 = 64 * 1024;

/// The folder with the presets.
#[derive(Debug)]
pub(crate) struct Presets(Option<PathBuf>);

/// Returns the folder of the user for presets: `~/.config/cnnvideo/presets`.
pub(crate) fn folder_of_user() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    Some(config?.join("cnnvideo/presets"))
}

impl Presets {
    /// Keeps presets in a folder, which the first one creates.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// Returns the names of all presets, sorted.
    ///
    /// # Errors
    /// There is no folder for them.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let Ok(files) = fs::read_dir(self.folder()?) else { return Ok(Vec::new()) };
        let paths = files.filter_map(|file| file.ok()).map(|file| file.path());
        let json = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        let mut names: Vec<_> = json
            .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
            .filter(|name| is_name(name))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Returns the cards of a preset.
    ///
    /// # Errors
    /// There is no such preset, or its file is damaged.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<Card>> {
        let path = self.path(name)?;
        let unreadable = |reason: String| {
            Problem::new(format!("cannot read the preset {name}: {reason}"), "store it again")
        };
        let bytes = path.metadata().map_err(|err| unreadable(err.to_string()))?.len();
        if bytes > MAX_BYTES {
            return Err(unreadable(format!("it has {bytes} bytes")));
        }
        let text = fs::read_to_string(&path).map_err(|err| unreadable(err.to_string()))?;
        serde_json::from_str(&text).map_err(|err| unreadable(err.to_string()))
    }

    /// Stores cards as a preset, in place of one of the same name.
    ///
    /// # Errors
    /// The name is not one, or the file cannot be written.
    pub(crate) fn write(&self, name: &str, cards: &[Card]) -> Result<()> {
        if cards.len() > MAX_CARDS {
            return Err(Problem::new("the preset has too many cards", "remove some"));
        }
        let path = self.path(name)?;
        let failed = |err: std::io::Error| {
            Problem::new(format!("cannot store the preset {name}: {err}"), "check the disk")
        };
        fs::create_dir_all(self.folder()?).map_err(failed)?;
        let text = serde_json::to_string_pretty(cards).map_err(|err| failed(err.into()))?;
        write_atomically(&path, |temporary| fs::write(temporary, &text)).map_err(failed)
    }

    /// Removes a preset.
    ///
    /// # Errors
    /// There is no such preset.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.path(name)?).map_err(|err| {
            Problem::new(format!("cannot remove the preset {name}: {err}"), "check its name")
        })
    }

    fn folder(&self) -> Result<&PathBuf> {
        self.0.as_ref().ok_or_else(|| {
            Problem::new("there is no folder for presets", "set HOME, or download the preset")
        })
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        if !is_name(name) {
            return Err(Problem::new(
                "this is not a name for a preset",
                format!("use up to {MAX_NAME} letters, digits, spaces, - and _"),
            ));
        }
        Ok(self.folder()?.join(format!("{name}.json")))
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    !name.trim().is_empty() && name.len() <= MAX_NAME && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_stored_and_names_stay_in_the_folder() {
        let folder = env::temp_dir().join(format!("studio-presets-{}", std::process::id()));
        let presets = Presets::new(Some(folder.clone()));
        let card: Card = serde_json::from_str(r#"{"element":"cnndenoise"}"#).unwrap();
        assert_eq!(presets.names().unwrap(), [""; 0]);
        presets.write("Weak noise", std::slice::from_ref(&card)).unwrap();
        assert_eq!(presets.names().unwrap(), ["Weak noise"]);
        assert_eq!(presets.read("Weak noise").unwrap(), [card]);
        for name in ["../x", "a/b", "", " ", ".", "a.b", "a\0"] {
            assert!(presets.write(name, &[]).is_err(), "{name}");
            assert!(presets.read(name).is_err(), "{name}");
        }
        fs::write(folder.join("bad.json"), "{").unwrap();
        assert!(presets.read("bad").is_err());
        presets.remove("Weak noise").unwrap();
        assert!(presets.remove("Weak noise").is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
