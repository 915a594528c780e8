// SPDX-License-Identifier: MIT OR Apache-2.0

//! The assertion `c2pa.soft-binding` of a manifest, which names the payload of the watermark.

use c2pa::{
    Manifest,
    assertions::{SoftBinding, SoftBindingBlock, SoftBindingScope, SoftBindingTimespan},
};
use cnnvideo::watermark::{Payload, Version};

/// Name of the algorithm, without the version of the mark's format that follows. It is not in the
/// list of algorithms that C2PA has approved.
const ALGORITHM: &str = "gst-plugin-cnnvideo.watermark.";

/// Returns the name of the algorithm for a version of the mark's format.
fn algorithm(version: Version) -> String {
    format!("{ALGORITHM}{}", version.number())
}

/// Returns the assertion for a video that carries a payload from its start to its end.
pub(super) fn assertion(payload: Payload, version: Version, end: gst::ClockTime) -> SoftBinding {
    let timespan = SoftBindingTimespan { start: 0, end: end.mseconds() };
    let mut scope = SoftBindingScope::default();
    scope.timespan = Some(timespan);
    let mut binding = SoftBinding::default();
    binding.alg = Some(algorithm(version));
    binding.blocks = vec![SoftBindingBlock { scope, value: payload.to_string() }];
    binding
}

/// Returns whether a manifest names a payload, for marks of a version.
pub(super) fn names(manifest: &Manifest, payload: Payload, version: Version) -> bool {
    let algorithm = algorithm(version);
    bindings(manifest)
        .filter(|binding| binding.alg.as_ref() == Some(&algorithm))
        .flat_map(|binding| binding.blocks)
        .any(|block| block.value.parse() == Ok(payload))
}

/// Returns the soft bindings of a manifest. Those that cannot be read bind nothing.
fn bindings(manifest: &Manifest) -> impl Iterator<Item = SoftBinding> {
    // Several assertions of a kind have numbers behind the label.
    let is_binding = |label: &str| label.split("__").next() == Some(SoftBinding::LABEL);
    let assertions = manifest.assertions().iter();
    assertions
        .filter(move |assertion| is_binding(assertion.label()))
        .filter_map(|assertion| assertion.to_assertion().ok())
}
