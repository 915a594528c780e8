// SPDX-License-Identifier: MIT OR Apache-2.0

//! The WebSocket of a page: its commands go to the session, messages of the session to the page.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};

use super::App;
use crate::{
    elements::describe,
    player::{command::Command, outbox},
    problem::{Problem, Result},
    session::Session,
};

/// Name of the protocol, for the page to ask for.
const PROTOCOL: &str = "cnnvideo-studio";
/// Longest message of a page.
const MAX_MESSAGE: usize = 64 * 1024;
/// Time between looks at whether the player still runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Time within which a page has to take a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Close code for a page that breaks the rules.
const POLICY: u16 = 1008;

/// Opens the session of a page.
pub(super) async fn open(State(app): State<Arc<App>>, upgrade: WebSocketUpgrade) -> Response {
    let place = Arc::clone(&app.pages).try_acquire_owned();
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| serve(app, socket, place))
}

/// Serves a page for which there is a place. A page cannot read the status of a refused upgrade, so
/// it gets the reason afterwards.
async fn serve(
    app: Arc<App>,
    mut socket: WebSocket,
    place: std::result::Result<OwnedSemaphorePermit, TryAcquireError>,
) {
    let served = match &place {
        Ok(_) => run(&app, &mut socket).await,
        Err(_) => Err(Problem::new("too many pages of this studio are open", "close some")),
    };
    let reason = match served {
        Ok(()) => return,
        Err(problem) => problem.to_string(),
    };
    let mut end = reason.len().min(120);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code: POLICY, reason: reason[..end].into() };
    let _ = socket.send(Message::Close(Some(frame))).await;
    drop(place);
}

/// Passes messages until the page goes.
async fn run(app: &App, socket: &mut WebSocket) -> Result<()> {
    let mut session =
        Session::start(Arc::clone(&app.access), Arc::clone(&app.elements), app.patience)?;
    let outbox = Arc::clone(session.outbox());
    outbox.event(&hello(app));
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    loop {
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => match Command::parse(&text) {
                    Ok(command) => session.send(command)?,
                    Err(reason) => {
                        let text = format!("the server does not understand the page: {reason}");
                        let problem = json!({"text": text, "advice": "load the page again"});
                        outbox.event(&json!({"type": "problem", "problem": problem}));
                    }
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                Some(Ok(_)) => (),
            },
            message = outbox.take() => {
                let message = match message {
                    outbox::Message::Text(text) => Message::Text(text.into()),
                    outbox::Message::Binary(bytes) => Message::Binary(bytes.into()),
                };
                match tokio::time::timeout(SEND_TIMEOUT, socket.send(message)).await {
                    Ok(Ok(())) => (),
                    _ => return Ok(()),
                }
            },
            _ = check.tick() => session.check()?,
        }
    }
}

/// Returns what a page needs to know first.
fn hello(app: &App) -> serde_json::Value {
    // JSON has no names that are not UTF-8.
    let folders = app.access.folders().iter().map(|folder| folder.to_string_lossy());
    json!({
        "type": "hello",
        "version": env!("CARGO_PKG_VERSION"),
        "elements": describe(&app.elements),
        "file": app.file.as_ref().map(|file| file.to_string_lossy()),
        "folders": folders.collect::<Vec<_>>(),
    })
}
