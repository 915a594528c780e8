// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line of `watermark credential`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use cnnvideo::watermark::Payload;

use crate::args::{Encoding, ProgressArguments};

/// The subcommands of `watermark credential`.
#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Embed a payload in a video, and sign a C2PA manifest that names it
    Sign(SignArguments),
    /// Read the payload of a video, and show the manifests that name it; exit status 0 if one is
    /// valid, 3 if there is no payload or no manifest
    Find(FindArguments),
}

/// Arguments of `watermark credential sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// Video file or its http(s) URL, or - for y4m from the standard input
    #[arg(value_name = "IN")]
    pub(super) input: PathBuf,
    /// File to write: .mp4, .m4v or .mov
    #[arg(value_name = "OUT")]
    pub(super) output: PathBuf,
    /// Replace OUT if it exists
    #[arg(long)]
    pub(super) overwrite: bool,
    /// File with the secret key of the watermark (cnnvideo watermark key new FILE creates one)
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: PathBuf,
    /// Payload, 16 hex digits; another one for each video
    #[arg(long, value_name = "HEX")]
    pub(super) payload: Payload,
    /// Certificate of the signer, followed by those of its issuers, in PEM
    #[arg(long, value_name = "FILE")]
    pub(super) certificate: PathBuf,
    /// Private key of the certificate, in PEM (PKCS #8): ECDSA P-256, P-384, P-521, or Ed25519
    #[arg(long, value_name = "FILE")]
    pub(super) private_key: PathBuf,
    /// Folder of manifests, to which the new one is added
    #[arg(long, value_name = "DIR")]
    pub(super) store: PathBuf,
    /// Title in the manifest; by default the name of OUT
    #[arg(long, value_name = "TEXT")]
    pub(super) title: Option<String>,
    /// Lowest PSNR of marked frames in dB; lower is more robust and more visible
    #[arg(long, value_name = "DB")]
    pub(super) target_psnr: Option<f32>,
    #[command(flatten)]
    pub(super) encoding: Encoding,
    #[command(flatten)]
    pub(super) progress: ProgressArguments,
}

/// Arguments of `watermark credential find`.
#[derive(Debug, Args)]
pub(crate) struct FindArguments {
    /// Video file, or - for y4m from the standard input
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// File with the secret key of the watermark
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: PathBuf,
    /// Folder of manifests
    #[arg(long, value_name = "DIR")]
    pub(super) store: PathBuf,
    /// Certificates of the issuers that you trust, in PEM; without them, everyone can sign in any
    /// name
    #[arg(long, value_name = "FILE")]
    pub(super) trust_anchors: Option<PathBuf>,
    /// Read the file to its end, for all its payloads, instead of up to the first one
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) progress: ProgressArguments,
}
