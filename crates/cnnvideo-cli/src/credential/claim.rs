// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a manifest states about a marked video.

use std::{
    fs::File,
    io::{Cursor, Read, Seek},
    path::Path,
};

use c2pa::{Builder, Context, Error, Signer, assertions::SoftBinding};
use serde_json::json;

use crate::{container::Container, media::Input};

/// Action of embedding the watermark that the soft binding of the manifest describes.
pub(super) const MARKED: &str = "c2pa.watermarked.bound";

/// Name of the ingredient, by which the action of opening it refers to it.
const PARENT: &str = "parent";

/// The smallest .mp4 file that can be signed.
const SMALLEST: &[u8] = b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08mdat";

/// What a manifest states.
pub(super) struct Claim<'a> {
    pub(super) title: String,
    /// Video that was marked. Its own manifest, if it has one, becomes part of the new one.
    pub(super) parent: &'a Path,
    /// MIME type of the marked video.
    pub(super) format: &'static str,
}

impl Claim<'_> {
    /// Signs a tiny file, to see whether a certificate and its key are fit for signatures.
    ///
    /// # Errors
    /// They are not.
    pub(super) fn check(&self, context: Context, signer: &dyn Signer) -> c2pa::Result<()> {
        let mut builder = self.builder(context, &SoftBinding::default(), &mut Cursor::new([]))?;
        let mut signed = Cursor::new(Vec::new());
        builder.sign(signer, self.format, &mut Cursor::new(SMALLEST), &mut signed)?;
        Ok(())
    }

    /// Copies the marked video with a signed manifest. Returns the manifest.
    ///
    /// # Errors
    /// A file cannot be read or written, or the crate finds the result invalid.
    pub(super) fn sign(
        &self,
        context: Context,
        signer: &dyn Signer,
        binding: &SoftBinding,
        marked: &Path,
        signed: &Path,
    ) -> c2pa::Result<Vec<u8>> {
        let mut builder = match Input::of(self.parent) {
            Ok(Input::File(path)) if path.is_file() => {
                self.builder(context, binding, &mut File::open(path)?)?
            }
            _ => self.builder(context, binding, &mut Cursor::new([]))?,
        };
        let mut to = File::options().read(true).write(true).open(signed)?;
        builder.sign(signer, self.format, &mut File::open(marked)?, &mut to)
    }

    fn builder(
        &self,
        context: Context,
        binding: &SoftBinding,
        parent: &mut (impl Read + Seek + Send),
    ) -> c2pa::Result<Builder> {
        let definition = json!({
            "title": self.title,
            "claim_generator_info": [{"name": "cnnvideo", "version": env!("CARGO_PKG_VERSION")}],
        });
        let mut builder = Builder::from_context(context).with_definition(definition)?;
        // Without the name of the file, which may be confidential.
        let ingredient = json!({"relationship": "parentOf", "label": PARENT});
        let format = Container::of(self.parent).map_or("application/octet-stream", mime_type);
        builder.add_ingredient_from_stream(ingredient.to_string(), format, parent)?;
        let now = now()?;
        builder.add_action(json!({
            "action": "c2pa.opened",
            "when": now,
            "parameters": {"ingredientIds": [PARENT]},
        }))?;
        for action in [MARKED, "c2pa.transcoded"] {
            builder.add_action(json!({"action": action, "when": now}))?;
        }
        builder.add_assertion(SoftBinding::LABEL, binding)?;
        Ok(builder)
    }
}

/// Returns the MIME type of a container.
pub(super) fn mime_type(container: Container) -> &'static str {
    match container {
        Container::Matroska => "video/x-matroska",
        Container::Mp4 => "video/mp4",
        Container::Mov => "video/quicktime",
        Container::Webm => "video/webm",
        Container::Y4m => "application/octet-stream",
    }
}

/// Returns the time as manifests state it.
fn now() -> c2pa::Result<String> {
    let now = glib::DateTime::now_utc().and_then(|now| now.format("%Y-%m-%dT%H:%M:%SZ"));
    now.map(|now| now.to_string()).map_err(|err| Error::OtherError(Box::new(err)))
}
