// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cards: the elements that the page puts in a chain, with their settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most cards of a chain.
pub(crate) const MAX_CARDS: usize = 16;

/// An element with the settings that differ from its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Card {
    /// Number that the page gives the card.
    #[serde(default)]
    pub(crate) id: u32,
    /// Name of the element.
    pub(crate) element: String,
    /// Whether the element runs.
    #[serde(default = "yes")]
    pub(crate) on: bool,
    /// Values of properties: numbers, booleans and texts.
    #[serde(default)]
    pub(crate) properties: BTreeMap<String, Value>,
}

fn yes() -> bool {
    true
}

impl Card {
    /// Returns whether another card has the same element in the same place.
    pub(crate) fn same_element(&self, other: &Self) -> bool {
        (self.id, &self.element) == (other.id, &other.element)
    }
}
