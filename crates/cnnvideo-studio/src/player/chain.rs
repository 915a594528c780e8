// SPDX-License-Identifier: MIT OR Apache-2.0

//! The elements of the cards, and the frames that pass them.

use std::collections::VecDeque;

use gst::prelude::*;
use serde_json::{Value, json};

use super::{
    frame::{Frame, Pair},
    steps::{Step, steps},
    strand::{Fault, Strand, make},
};
use crate::{
    access::Access,
    card::Card,
    elements::{configure, is_live_property, stats},
    problem::{Problem, Result},
};

/// Prefix of element names.
const CARD: &str = "card";

/// The running elements of the cards that are on.
pub(crate) struct Chain {
    strand: Strand,
    cards: Vec<(Card, gst::Element)>,
    /// Frames that have entered and not left.
    pending: VecDeque<Frame>,
    /// Whether `cnnsegment` has its seeds.
    seeded: bool,
}

/// A card that does not start.
#[derive(Debug)]
pub(crate) struct CardFault {
    /// The card, if the error tells which one.
    pub(crate) card: Option<u32>,
    /// The error.
    pub(crate) problem: Problem,
}

impl Chain {
    /// Starts the elements of cards for video of some caps.
    ///
    /// # Errors
    /// A setting is wrong, or an element does not start.
    pub(crate) fn start(
        cards: &[Card],
        caps: &gst::Caps,
        access: &Access,
    ) -> std::result::Result<Self, CardFault> {
        let mut elements = Vec::new();
        let mut running = Vec::new();
        for step in steps(cards.iter().filter(|card| card.on), caps) {
            let element = match step {
                Step::Convert => {
                    make("videoconvert").map_err(|problem| of_no_card(problem.into()))?
                }
                Step::Card(card) => {
                    let element = element_of(card, access)
                        .map_err(|problem| CardFault { card: Some(card.id), problem })?;
                    running.push((card.clone(), element.clone()));
                    element
                }
            };
            elements.push(element);
        }
        let strand = Strand::start(&elements).map_err(of_no_card)?;
        Ok(Self { strand, cards: running, pending: VecDeque::new(), seeded: true })
    }

    /// Changes settings while the elements run. Returns whether that was possible; if not, the
    /// chain has to start anew.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn update(
        &mut self,
        cards: &[Card],
        access: &Access,
    ) -> std::result::Result<bool, CardFault> {
        let on: Vec<_> = cards.iter().filter(|card| card.on).collect();
        let same = on.len() == self.cards.len()
            && on.iter().zip(&self.cards).all(|(new, (old, element))| is_live(new, old, element));
        if same {
            for (new, (old, element)) in on.into_iter().zip(&mut self.cards) {
                if new != old {
                    configure(element, new, Some(&*old), access)
                        .map_err(|problem| CardFault { card: Some(new.id), problem })?;
                    *old = new.clone();
                }
            }
        }
        Ok(same)
    }

    /// Pushes a frame; returns the pairs that are complete.
    ///
    /// # Errors
    /// An element fails.
    pub(crate) fn push(&mut self, frame: Frame) -> std::result::Result<Vec<Pair>, CardFault> {
        let out = self.strand.push(&frame);
        self.pending.push_back(frame);
        match out {
            Ok(frames) => Ok(frames.into_iter().filter_map(|after| self.pair(after)).collect()),
            Err(fault) => Err(of_no_card(fault)),
        }
    }

    /// Ends the stream; returns the pairs that were kept back.
    pub(crate) fn drain(&mut self) -> Vec<Pair> {
        let frames = self.strand.drain();
        frames.into_iter().filter_map(|after| self.pair(after)).collect()
    }

    /// Makes the elements forget all frames.
    pub(crate) fn reset(&mut self) {
        self.strand.reset();
        self.pending.clear();
    }

    /// Takes the seeds from `cnnsegment`. They belong to the frame on which the user has clicked,
    /// not to those before it.
    pub(crate) fn hold_seeds(&mut self) {
        self.set_seeds(|_| "");
        self.seeded = false;
    }

    /// Gives the seeds to `cnnsegment`, unless it has them.
    pub(crate) fn release_seeds(&mut self) {
        if !std::mem::replace(&mut self.seeded, true) {
            self.set_seeds(|seeds| seeds);
        }
    }

    fn set_seeds(&self, of: impl Fn(&str) -> &str) {
        for (card, element) in &self.cards {
            if let Some(seeds) = card.properties.get("seeds").and_then(Value::as_str) {
                element.set_property("seeds", of(seeds));
            }
        }
    }

    /// Returns the next message of an element with the number of its card.
    pub(crate) fn message(&self) -> Option<(Option<u32>, gst::Message)> {
        let message = self.strand.message()?;
        let card = message.src().and_then(|source| card_of(&source.name()));
        Some((card, message))
    }

    /// Returns the statistics of the elements by card.
    pub(crate) fn stats(&self) -> Value {
        let of = |(card, element): &(Card, gst::Element)| (card.id.to_string(), stats(element));
        json!(self.cards.iter().map(of).collect::<serde_json::Map<_, _>>())
    }

    /// Finds the frame before the chain that belongs to one behind it, by its time.
    fn pair(&mut self, after: Frame) -> Option<Pair> {
        while let Some(before) = self.pending.pop_front() {
            if before.buffer.pts() == after.buffer.pts() {
                return Some(Pair { before, after });
            }
        }
        None
    }
}

/// Makes the element of a card with its settings.
fn element_of(card: &Card, access: &Access) -> Result<gst::Element> {
    let name = format!("{CARD}{}", card.id);
    let element = gst::ElementFactory::make(&card.element).name(name).build()?;
    configure(&element, card, None, access)?;
    if element.find_property("qos").is_some() {
        // The preview waits for each frame, so none is late.
        element.set_property("qos", false);
    }
    Ok(element)
}

/// Returns whether an element can go on with other settings of its card.
fn is_live(new: &Card, old: &Card, element: &gst::Element) -> bool {
    let names = new.properties.keys().chain(old.properties.keys());
    let mut changed = names.filter(|name| new.properties.get(*name) != old.properties.get(*name));
    let output = |card: &Card| card.properties.get("output").cloned();
    new.same_element(old)
        && output(new) == output(old)
        && changed.all(|name| is_live_property(element, name))
}

fn of_no_card(fault: Fault) -> CardFault {
    let card = fault.element.as_deref().and_then(card_of);
    CardFault { card, problem: fault.problem }
}

/// Returns the number of a card by the name of its element.
fn card_of(name: &str) -> Option<u32> {
    name.strip_prefix(CARD)?.parse().ok()
}
