// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files of the page, which are part of the program.

use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

/// Lists files of the folder `page` with their types.
macro_rules! files {
    ($($name:literal => $kind:expr),* $(,)?) => {
        [$(($name, $kind, include_str!(concat!("../../page/", $name)))),*]
    };
}

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Returns a file of the page.
pub(super) async fn file(uri: Uri) -> Response {
    let name = match uri.path() {
        "/" => "index.html",
        path => path.trim_start_matches('/'),
    };
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    match found {
        Some((_, kind, content)) => ([(header::CONTENT_TYPE, *kind)], *content).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    }
}

const FILES: [(&str, &str, &str); 28] = files![
    "api.js" => SCRIPT,
    "base.css" => STYLE,
    "cards.css" => STYLE,
    "cards.js" => SCRIPT,
    "chain.js" => SCRIPT,
    "chart.js" => SCRIPT,
    "control.js" => SCRIPT,
    "dialog.js" => SCRIPT,
    "dialogs.css" => STYLE,
    "dom.js" => SCRIPT,
    "exporting.js" => SCRIPT,
    "files.js" => SCRIPT,
    "index.html" => "text/html; charset=utf-8",
    "keys.js" => SCRIPT,
    "layout.css" => STYLE,
    "main.js" => SCRIPT,
    "narrow.css" => STYLE,
    "opening.js" => SCRIPT,
    "panels.css" => STYLE,
    "pointer.js" => SCRIPT,
    "presets.js" => SCRIPT,
    "quality.js" => SCRIPT,
    "queue.js" => SCRIPT,
    "segment.js" => SCRIPT,
    "toolbar.js" => SCRIPT,
    "transport.js" => SCRIPT,
    "view.js" => SCRIPT,
    "watermark.js" => SCRIPT,
];
