// SPDX-License-Identifier: MIT OR Apache-2.0

//! Prints the manifests that were found for a file.

use std::path::Path;

use cnnvideo::watermark::Version;
use gstcnnvideo::watermarkdetect::WatermarkMessage;
use serde_json::{Value, json};

use super::{
    arguments::FindArguments,
    find::{Entry, Found},
    manifest::Credential,
};
use crate::{
    error::Result,
    output::{note, print_line},
    watermark::{mark_json, mark_text},
};

/// Share of the evidence from tiles that depend on the picture below which a mark may be a copy.
const LEAST_DESCRIBED: f64 = 0.1;

/// Prints the result as JSON.
///
/// # Errors
/// The standard output cannot be written.
pub(super) fn print_json(file: &Path, frames: u64, found: &[Found]) -> Result<()> {
    let payload = |found: &Found| {
        let mut mark = mark_json(&found.mark);
        mark["manifests"] = found.entries.iter().map(entry_json).collect();
        mark
    };
    print_line(json!({
        "file": file.to_string_lossy(),
        "found": !found.is_empty(),
        "frames": frames,
        "payloads": found.iter().map(payload).collect::<Vec<_>>(),
    }))
}

fn entry_json(entry: &Entry) -> Value {
    let path = entry.path.to_string_lossy();
    match &entry.credential {
        Err(problem) => json!({"path": path, "error": problem}),
        Ok(credential) => json!({
            "path": path,
            "manifest": credential.label,
            "title": credential.title,
            "signer": credential.signer,
            "claim_generator": credential.generator,
            "time": credential.time,
            "time_certified": credential.is_time_certified,
            "signature_valid": credential.problems.is_empty(),
            "problems": credential.problems,
            "trusted": credential.is_trusted,
            "hard_binding_valid": credential.has_signed_bytes,
        }),
    }
}

/// Prints the result for people.
///
/// # Errors
/// The standard output cannot be written.
pub(super) fn print_text(arguments: &FindArguments, found: &[Found]) -> Result<()> {
    let file = arguments.file.display();
    if found.is_empty() {
        return print_line(format_args!("{file}: no watermark of this key"));
    }
    let mut is_another_file = false;
    for Found { mark, entries } in found {
        print_line(format_args!("{file}: {}", mark_text(mark)))?;
        if entries.is_empty() {
            print_line(format_args!("{}: no manifest for it", arguments.store.display()))?;
        }
        for Entry { path, credential } in entries {
            match credential {
                Err(problem) => print_line(format_args!("problem: {problem}"))?,
                Ok(credential) => {
                    is_another_file |= !credential.has_signed_bytes;
                    print_credential(path, credential, arguments.trust_anchors.is_some())?;
                }
            }
        }
    }
    if is_another_file {
        note(
            "The payload leads to a manifest, but does not prove that this file shows what was \
             signed: an edited video keeps its mark. Compare them before you rely on it.",
        );
    }
    if is_another_file && found.iter().any(|found| can_be_copied(&found.mark)) {
        note("This mark, in addition, may have been copied here from another video.");
    }
    Ok(())
}

/// Returns whether an attacker without the key can put such a mark on any video.
fn can_be_copied(mark: &WatermarkMessage) -> bool {
    mark.report.version == Version::One || mark.report.described < LEAST_DESCRIBED
}

fn print_credential(path: &Path, credential: &Credential, has_anchors: bool) -> Result<()> {
    let time = credential.time.as_deref().unwrap_or("not stated");
    let by = match credential.is_time_certified {
        true => "certified by a time-stamping authority",
        false => "stated by the signer",
    };
    print_line(format_args!("manifest {}", credential.label))?;
    let lines = [
        ("file", path.display().to_string()),
        ("title", credential.title.clone().unwrap_or_default()),
        ("signer", format!("{} ({})", credential.signer, trust(credential, has_anchors))),
        ("claim generator", credential.generator.clone()),
        ("time", format!("{time} ({by})")),
        ("signature", signature(credential)),
        ("hard binding", hard_binding(credential).to_owned()),
    ];
    for (name, value) in lines {
        print_line(format_args!("  {name:<16} {value}"))?;
    }
    Ok(())
}

fn trust(credential: &Credential, has_anchors: bool) -> &'static str {
    match (credential.is_trusted, has_anchors) {
        (true, _) => "trusted",
        (false, true) => "NOT trusted: the certificate comes from none of the trust anchors",
        (false, false) => "not verified: everyone can use this name; see --trust-anchors",
    }
}

fn signature(credential: &Credential) -> String {
    match credential.problems.is_empty() {
        true => "valid".to_owned(),
        false => format!("NOT valid: {}", credential.problems.join("; ")),
    }
}

fn hard_binding(credential: &Credential) -> &'static str {
    match credential.has_signed_bytes {
        true => "valid: the content is what was signed",
        false if !credential.problems.is_empty() => "not valid, as the signature",
        false => "not valid: other bytes than those that were signed, as after encoding again",
    }
}
