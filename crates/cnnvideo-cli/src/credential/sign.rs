// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo watermark credential sign`: marks a video, and signs a manifest with the payload.

use std::{
    fs,
    path::{Path, PathBuf},
};

use c2pa::BoxedSigner;
use cnnvideo::{nn::files::Temporary, watermark::Security};
use serde_json::json;

use super::{
    arguments::SignArguments,
    binding,
    claim::{Claim, mime_type},
    context,
    signer::signer,
    store::Store,
};
use crate::{
    args::{Files, ProgressMode},
    container::Container,
    error::{Result, failed, usage},
    filter::Filter,
    output::{check_output, is_standard, note, print_line, write_whole},
    stop::Stop,
    transcode::{Job, Report, transcode_silently},
    watermark::{Detector, check_key, embed_settings, key_settings, read_marks},
};

/// Executes the command.
///
/// # Errors
/// The video cannot be read or marked, the certificate and its key cannot sign, or a file cannot be
/// written. Then there is neither an output nor a manifest.
pub(super) fn sign(arguments: &SignArguments, stop: &Stop) -> Result<()> {
    let work = Work::prepare(arguments, stop)?;
    let marked = marked_file(&arguments.output)?;
    let report = work.mark(marked.path())?;
    work.check_mark(marked.path())?;
    let stored = work.write_signed(marked.path(), &report)?;
    print(arguments, &report, &stored)
}

/// The checked arguments.
struct Work<'a> {
    arguments: &'a SignArguments,
    store: Store<'a>,
    claim: Claim<'a>,
    signer: BoxedSigner,
    stop: &'a Stop,
}

impl<'a> Work<'a> {
    /// Checks, before any work, that it can succeed.
    fn prepare(arguments: &'a SignArguments, stop: &'a Stop) -> Result<Self> {
        let SignArguments { input, output, key_file, certificate, private_key, .. } = arguments;
        let format = format(output)?;
        check_key(key_file)?;
        let store = Store::open(&arguments.store)?;
        store.check_writable()?;
        let read = [input.as_path(), key_file, certificate, private_key];
        let read: Vec<_> = read.into_iter().filter(|path| !is_standard(path)).collect();
        check_output(output, &read, arguments.overwrite)?;
        let title = match &arguments.title {
            Some(title) => title.clone(),
            None => output.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let claim = Claim { title, parent: input, format };
        let signer = signer(certificate, private_key)?;
        claim.check(context::signing(stop)?, signer.as_ref()).map_err(|err| {
            failed!(
                "cannot sign with {}: {err}; it must be valid now, belong to the private key, have \
                 an issuer, and the extended key usage emailProtection",
                certificate.display()
            )
        })?;
        warn_of_others(arguments, &store)?;
        Ok(Self { arguments, store, claim, signer, stop })
    }

    /// Embeds the payload.
    fn mark(&self, marked: &Path) -> Result<Report> {
        let SignArguments { input, key_file, payload, target_psnr, .. } = self.arguments;
        let settings = embed_settings(key_file, None, Some(*payload), *target_psnr)?;
        let files = Files { input: input.clone(), output: marked.to_owned(), overwrite: true };
        let job = Job {
            command: "watermark credential sign",
            files: &files,
            filter: Filter::element("watermarkembed", &settings)?,
            encoding: &self.arguments.encoding,
            progress: self.arguments.progress,
            read: vec![key_file.clone()],
            key_frame_interval: None,
        };
        transcode_silently(&job, self.stop)
    }

    /// Checks that the payload is the first one that is read: a soft binding that leads nowhere, or
    /// to another manifest, is of no use.
    fn check_mark(&self, marked: &Path) -> Result<()> {
        let settings = key_settings(&self.arguments.key_file, None)?;
        let detector = Detector { file: marked, settings: &settings, mode: ProgressMode::None };
        let (marks, _) = read_marks(&detector, false, self.stop)?;
        let shown = self.arguments.input.display();
        match marks.first().and_then(|mark| mark.report.payload) {
            Some(payload) if payload == self.arguments.payload => Ok(()),
            Some(other) => Err(failed!(
                "{shown} already carries another payload of this key, {other}, which leads to \
                 another manifest: use the video as it was before, or another key"
            )),
            None => Err(failed!(
                "the payload cannot be read back from the marked {shown}: it is too short or too \
                 flat, or carries another payload of this key; a lower --target-psnr or --crf may \
                 help"
            )),
        }
    }

    /// Writes the output with its manifest, and the manifest into the store. Returns the file
    /// there.
    fn write_signed(&self, marked: &Path, report: &Report) -> Result<PathBuf> {
        let SignArguments { output, payload, .. } = self.arguments;
        let binding = binding::assertion(*payload, Security::default().version(), report.time);
        let mut stored = None;
        let written = write_whole(output, |signed| {
            let context = context::signing(self.stop)?;
            let manifest = self.claim.sign(context, self.signer.as_ref(), &binding, marked, signed);
            let manifest = manifest.map_err(|err| {
                context::failure(&err, self.stop, |err| {
                    failed!("cannot sign {}: {err}", output.display())
                })
            })?;
            stored = Some(self.store.add(*payload, &manifest)?);
            Ok(())
        });
        if let (Err(_), Some(file)) = (&written, &stored) {
            // A manifest of a file that does not exist is of no use.
            let _ = fs::remove_file(file);
        }
        written?;
        stored.ok_or_else(|| failed!("there is no manifest"))
    }
}

/// Returns the MIME type of a file that can carry a manifest.
fn format(output: &Path) -> Result<&'static str> {
    let container = Container::of(output).ok().filter(|container| container.is_mp4());
    container.map(mime_type).ok_or_else(|| {
        usage!(
            "the name of OUT ({}) must end in .mp4, .m4v or .mov: manifests are bound to these \
             containers only",
            output.display()
        )
    })
}

/// Tells if the payload is in use, perhaps by mistake.
fn warn_of_others(arguments: &SignArguments, store: &Store<'_>) -> Result<()> {
    if !store.files(arguments.payload)?.is_empty() {
        note(format_args!(
            "cnnvideo: warning: payload {} is already in the store; find will show all its \
             manifests",
            arguments.payload
        ));
    }
    Ok(())
}

/// Creates the file of the marked video, without a manifest, beside the output.
fn marked_file(output: &Path) -> Result<Temporary> {
    let extension = output.extension().unwrap_or_default().to_string_lossy();
    Temporary::file(&output.with_extension(format!("marked.{extension}")))
        .map_err(|err| failed!("cannot create a file beside {}: {err}", output.display()))
}

fn print(arguments: &SignArguments, report: &Report, stored: &Path) -> Result<()> {
    let SignArguments { input, output, payload, .. } = arguments;
    if arguments.progress.report.json {
        return print_line(json!({
            "event": "done",
            "command": "watermark credential sign",
            "input": input.to_string_lossy(),
            "output": output.to_string_lossy(),
            "frames": report.frames,
            "payload": payload.to_string(),
            "manifest": stored.to_string_lossy(),
        }));
    }
    note(format_args!(
        "{}: {} frames with payload {payload}, signed; the manifest is also in {}",
        output.display(),
        report.frames,
        stored.display()
    ));
    Ok(())
}
