// SPDX-License-Identifier: MIT OR Apache-2.0

//! The elements of a chain with the conversions between them. The player and the export build the
//! same ones.

use crate::card::Card;

/// An element of a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step<'a> {
    /// `videoconvert`.
    Convert,
    /// The element of a card.
    Card(&'a Card),
}

/// Returns the steps for video of some caps. Conversions stand only where an element does not take
/// the format in front of it.
pub(crate) fn steps<'a>(cards: impl Iterator<Item = &'a Card>, caps: &gst::Caps) -> Vec<Step<'a>> {
    let mut format = Some(caps.clone());
    let mut steps = Vec::new();
    for card in cards {
        let fits = format.as_ref().is_some_and(|caps| takes(&card.element, caps));
        if !fits {
            steps.push(Step::Convert);
            // videoconvert chooses one of these. Which one does not matter to the next card, as
            // their formats of a depth are the same.
            format = accepted(&card.element);
        }
        steps.push(Step::Card(card));
        if changes_format(card) {
            format = None;
        }
    }
    steps
}

fn takes(element: &str, caps: &gst::Caps) -> bool {
    accepted(element).is_some_and(|own| caps.can_intersect(&own))
}

/// Returns the caps of the sink pad of an element.
pub(crate) fn accepted(element: &str) -> Option<gst::Caps> {
    let factory = gst::ElementFactory::find(element)?;
    let templates = factory.static_pad_templates();
    let sink = templates.iter().find(|pad| pad.direction() == gst::PadDirection::Sink)?;
    Some(sink.caps())
}

/// Returns whether the output of a card has another format than its input.
fn changes_format(card: &Card) -> bool {
    card.properties.get("output").is_some_and(|output| output == "mask" || output == "alpha")
}
