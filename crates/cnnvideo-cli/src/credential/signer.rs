// SPDX-License-Identifier: MIT OR Apache-2.0

//! The certificate and the private key that sign manifests.

use std::path::Path;

use c2pa::{BoxedSigner, SigningAlg, create_signer};

use super::files::read_small;
use crate::error::{Result, failed};

/// Largest size of a file with certificates or a key in bytes.
pub(super) const PEM_LIMIT: u64 = 1 << 20;

/// The algorithms, which the kind of the private key determines. RSA is left out: the operations of
/// the crate `rsa` with private keys take a time that depends on the key (RUSTSEC-2023-0071).
const ALGORITHMS: [SigningAlg; 4] =
    [SigningAlg::Es256, SigningAlg::Es384, SigningAlg::Es512, SigningAlg::Ed25519];

/// Reads a certificate with those of its issuers, and its private key.
///
/// # Errors
/// A file cannot be read, or has another format. Whether the key fits the certificate is known only
/// after a signature.
pub(super) fn signer(certificate: &Path, private_key: &Path) -> Result<BoxedSigner> {
    let chain = read_certificates(certificate)?;
    let key = read_small(private_key, PEM_LIMIT)?;
    let signer = |algorithm| create_signer::from_keys(&chain, &key, algorithm, None).ok();
    ALGORITHMS.into_iter().find_map(signer).ok_or_else(|| {
        failed!(
            "{} is no private key in PEM that signs manifests: use ECDSA (P-256, P-384, P-521) or \
             Ed25519, and convert other formats with openssl pkcs8 -topk8 -nocrypt",
            private_key.display()
        )
    })
}

/// Reads a file with certificates.
///
/// # Errors
/// It cannot be read, or has no certificate in PEM.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let content = read_small(path, PEM_LIMIT)?;
    if !content.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(failed!("{} has no certificate in PEM", path.display()));
    }
    Ok(content.to_vec())
}
