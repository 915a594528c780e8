// SPDX-License-Identifier: MIT OR Apache-2.0

//! Settings of the crate `c2pa`: no access to the network, and signals stop long work.

use c2pa::{Context, Error};
use serde_json::{Value, json};

use crate::{
    error::{Failure, Result, failed},
    stop::Stop,
};

/// Assertions for which the signer vouches. The others count as gathered from elsewhere.
const CREATED: [&str; 3] = ["c2pa.actions", "c2pa.ingredient", "c2pa.soft-binding"];

/// Returns the context that signs manifests and then validates them.
///
/// # Errors
/// The crate refuses its settings.
pub(super) fn signing(stop: &Stop) -> Result<Context> {
    let settings = json!({
        "core": {"allowed_network_hosts": []},
        "builder": {"created_assertion_labels": CREATED},
        "verify": {"verify_after_sign": true, "verify_after_sign_hash": true},
    });
    context(settings, stop).map_err(|err| failed!("cannot set up C2PA: {err}"))
}

/// Returns the context that validates manifests. `trust_anchors` are certificates in PEM.
///
/// # Errors
/// The certificates cannot be read.
pub(super) fn reading(trust_anchors: Option<&str>, stop: &Stop) -> Result<Context> {
    let settings = json!({
        "core": {"allowed_network_hosts": []},
        "trust": {"user_anchors": trust_anchors},
    });
    context(settings, stop).map_err(|err| failed!("cannot use the trust anchors: {err}"))
}

fn context(settings: Value, stop: &Stop) -> c2pa::Result<Context> {
    let stop = stop.clone();
    let context = Context::new().with_settings(settings)?;
    Ok(context.with_progress_callback(move |_, _, _| stop.check().is_ok()))
}

/// Returns the failure for an error, which a signal may have caused. `failure` describes it.
pub(super) fn failure(
    err: &Error,
    stop: &Stop,
    failure: impl FnOnce(&Error) -> Failure,
) -> Failure {
    stop.check().err().unwrap_or_else(|| failure(err))
}
