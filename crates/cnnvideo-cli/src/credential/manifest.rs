// SPDX-License-Identifier: MIT OR Apache-2.0

//! A manifest of the store, validated and compared with a file.

use std::{fs::File, io::Cursor, path::Path, sync::Arc};

use c2pa::{
    Context, Manifest, Reader,
    assertions::Actions,
    validation_results::{StatusCodes, validation_codes as codes},
};
use cnnvideo::watermark::{Payload, Version};

use super::{binding, claim::MARKED, context, files::read_small};
use crate::{
    error::{Result, failed},
    stop::Stop,
};

/// Largest size of a manifest in bytes. A manifest contains those of the videos it was made from.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// Failures that say that the file has other bytes than the signed one.
const OTHER_BYTES: [&str; 4] = [
    codes::ASSERTION_BMFFHASH_MISMATCH,
    codes::ASSERTION_DATAHASH_MISMATCH,
    codes::ASSERTION_BOXHASH_MISMATCH,
    codes::ASSERTION_BOXHASH_UNKNOWN_BOX,
];
/// Successes that say that the file has the signed bytes.
const SAME_BYTES: [&str; 3] = [
    codes::ASSERTION_BMFFHASH_MATCH,
    codes::ASSERTION_DATAHASH_MATCH,
    codes::ASSERTION_BOXHASH_MATCH,
];

/// A mark that was found in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) payload: Payload,
    pub(super) version: Version,
}

/// What a manifest states, and how far that is proved.
#[derive(Debug)]
pub(super) struct Credential {
    /// Identifier of the manifest.
    pub(super) label: String,
    pub(super) title: Option<String>,
    /// Organisation and name in the certificate.
    pub(super) signer: String,
    /// Programs that made the manifest.
    pub(super) generator: String,
    /// Time of the signature in ISO 8601.
    pub(super) time: Option<String>,
    /// Whether a time-stamping authority certifies the time, or the signer alone states it.
    pub(super) is_time_certified: bool,
    /// Why the signature is not valid; empty if it is.
    pub(super) problems: Vec<String>,
    /// Whether a valid signature is by a certificate from a trust anchor.
    pub(super) is_trusted: bool,
    /// Whether the file has the bytes that a valid signature is for.
    pub(super) has_signed_bytes: bool,
}

/// Reads the manifests of a store, and compares them with a file.
pub(super) struct Validator<'a> {
    context: Arc<Context>,
    /// `None` for the standard input, which has been read.
    file: Option<&'a Path>,
    stop: &'a Stop,
}

impl<'a> Validator<'a> {
    pub(super) fn new(context: Context, file: Option<&'a Path>, stop: &'a Stop) -> Self {
        Self { context: context.into_shared(), file, stop }
    }

    /// Reads a manifest that should name a payload.
    ///
    /// # Errors
    /// It is damaged, or does not name the payload.
    pub(super) fn read(&self, manifest: &Path, mark: Mark) -> Result<Credential> {
        let shown = manifest.display();
        let bytes = read_small(manifest, MANIFEST_LIMIT)?;
        let reader = self.reader(&bytes).map_err(|err| {
            context::failure(&err, self.stop, |err| {
                failed!("{shown} is damaged or no manifest: {err}; restore it from a copy")
            })
        })?;
        let manifest = reader.active_manifest();
        let manifest = manifest.ok_or_else(|| failed!("{shown} has no active manifest"))?;
        if !binding::names(manifest, mark.payload, mark.version) {
            return Err(failed!(
                "{shown} does not name payload {} of marks of version {}: it is a manifest of \
                 another video",
                mark.payload,
                mark.version.number()
            ));
        }
        let results = reader.validation_results().and_then(|results| results.active_manifest());
        let results = results.ok_or_else(|| failed!("{shown} was not validated"))?;
        Ok(credential(manifest, results))
    }

    fn reader(&self, manifest: &[u8]) -> c2pa::Result<Reader> {
        let reader = Reader::from_shared_context(&self.context);
        match self.file {
            Some(path) => {
                let format = c2pa::format_from_path(path).unwrap_or_default();
                reader.with_manifest_data_and_stream(manifest, &format, File::open(path)?)
            }
            None => reader.with_manifest_data_and_stream(manifest, "", Cursor::new([])),
        }
    }
}

fn credential(manifest: &Manifest, results: &StatusCodes) -> Credential {
    let has = |code: &str| results.success().iter().any(|status| status.code() == code);
    let mut problems: Vec<_> = results
        .failure()
        .iter()
        .filter(|status| {
            !OTHER_BYTES.contains(&status.code())
                && status.code() != codes::SIGNING_CREDENTIAL_UNTRUSTED
        })
        .map(|status| {
            let explanation = status.explanation().unwrap_or_default();
            format!("{} ({})", printable(status.code()), printable(explanation))
        })
        .collect();
    if problems.is_empty() && !has(codes::CLAIM_SIGNATURE_VALIDATED) {
        problems.push(codes::CLAIM_SIGNATURE_MISSING.to_owned());
    }
    let (time, is_time_certified) = match manifest.time() {
        Some(time) => (Some(time), true),
        None => (stated_time(manifest), false),
    };
    Credential {
        label: printable(manifest.label().unwrap_or_default()),
        title: manifest.title().map(printable),
        signer: signer(manifest),
        generator: generator(manifest),
        time: time.as_deref().map(printable),
        is_time_certified,
        is_trusted: problems.is_empty() && has(codes::SIGNING_CREDENTIAL_TRUSTED),
        has_signed_bytes: problems.is_empty() && SAME_BYTES.into_iter().any(has),
        problems,
    }
}

/// Returns the organisation and the name in the certificate.
fn signer(manifest: &Manifest) -> String {
    let names = [manifest.issuer(), manifest.common_name()];
    let names: Vec<_> = names.iter().flatten().map(|name| printable(name)).collect();
    names.join(", ")
}

/// Returns the names and versions of the programs that made the manifest.
fn generator(manifest: &Manifest) -> String {
    let programs = manifest.claim_generator_info.iter().flatten().map(|program| {
        let version = program.version.as_deref().unwrap_or_default();
        printable(&format!("{} {version}", program.name)).trim_end().to_owned()
    });
    programs.collect::<Vec<_>>().join(", ")
}

/// Returns the time at which the signer says to have embedded the mark.
fn stated_time(manifest: &Manifest) -> Option<String> {
    let actions: Actions = manifest.find_assertion(Actions::LABEL).ok()?;
    let marked = actions.actions().iter().find(|action| action.action() == MARKED)?;
    marked.when().map(ToOwned::to_owned)
}

/// Returns a text without characters that control a terminal: everyone can write manifests.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
