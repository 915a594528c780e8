// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo watermark credential`: manifests of C2PA that name the payload of a watermark, so that
//! they are found again after someone has removed them from the file.
//!
//! The crate `c2pa` writes, signs and validates manifests. This module adds the assertion with the
//! payload (`binding`), a folder of manifests (`store`), and the two commands.

mod arguments;
mod binding;
mod claim;
mod context;
mod files;
mod find;
mod manifest;
mod report;
mod sign;
mod signer;
mod store;

pub(crate) use arguments::CredentialCommand;

use std::process::ExitCode;

use crate::{error::Result, stop::Stop};

/// Executes a subcommand.
///
/// # Errors
/// It fails.
pub(crate) fn credential(command: &CredentialCommand, stop: &Stop) -> Result<ExitCode> {
    match command {
        CredentialCommand::Sign(arguments) => {
            sign::sign(arguments, stop)?;
            Ok(ExitCode::SUCCESS)
        }
        CredentialCommand::Find(arguments) => find::find(arguments, stop),
    }
}
