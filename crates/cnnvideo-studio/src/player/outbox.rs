// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages that wait for a page. Their number is bounded, so that a slow page piles up nothing.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::Notify;

/// Most events that wait; the oldest ones go first.
const MAX_EVENTS: usize = 256;

/// A message to the page.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// JSON.
    Text(String),
    /// A picture.
    Binary(Vec<u8>),
}

#[derive(Debug, Default)]
struct Content {
    events: VecDeque<String>,
    status: Option<String>,
    /// As many as the view sends without an acknowledgement.
    pictures: VecDeque<Vec<u8>>,
}

/// Messages that wait for the page.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    content: Mutex<Content>,
    changed: Notify,
}

impl Outbox {
    /// Adds an event, which the page gets in order.
    pub(crate) fn event(&self, event: &Value) {
        let mut content = self.lock();
        if content.events.len() == MAX_EVENTS {
            content.events.pop_front();
        }
        content.events.push_back(event.to_string());
        drop(content);
        self.changed.notify_one();
    }

    /// Replaces the status.
    pub(crate) fn status(&self, status: &Value) {
        self.lock().status = Some(status.to_string());
        self.changed.notify_one();
    }

    /// Adds a picture. None may be lost: a later one may lack what an earlier one has.
    pub(crate) fn picture(&self, picture: Vec<u8>) {
        self.lock().pictures.push_back(picture);
        self.changed.notify_one();
    }

    /// Waits for a message and takes it: events first, then the status, then pictures.
    pub(crate) async fn take(&self) -> Message {
        loop {
            let changed = self.changed.notified();
            if let Some(message) = self.try_take() {
                return message;
            }
            changed.await;
        }
    }

    fn try_take(&self) -> Option<Message> {
        let mut content = self.lock();
        let text = content.events.pop_front().or_else(|| content.status.take());
        text.map(Message::Text).or_else(|| content.pictures.pop_front().map(Message::Binary))
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_come_first_and_pictures_stay_in_order() {
        let outbox = Outbox::default();
        outbox.picture(vec![1]);
        outbox.picture(vec![2]);
        outbox.status(&json!(1));
        outbox.status(&json!(2));
        outbox.event(&json!("a"));
        let taken: Vec<_> = std::iter::from_fn(|| outbox.try_take()).collect();
        let text = |text: &str| Message::Text(text.to_owned());
        assert_eq!(
            taken,
            [text("\"a\""), text("2"), Message::Binary(vec![1]), Message::Binary(vec![2])]
        );
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let outbox = Outbox::default();
        (0..1000).for_each(|number| outbox.event(&json!(number)));
        assert_eq!(outbox.try_take(), Some(Message::Text("744".to_owned())));
    }
}
