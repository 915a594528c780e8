// SPDX-License-Identifier: MIT OR Apache-2.0

//! Routes and their handlers.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};

use super::{App, guard, page, socket};
use crate::{
    card::Card,
    export::{self, Request},
    problem::{Problem, Result},
};

/// Longest body of a request.
const MAX_BODY: usize = 64 * 1024;

/// Answer of a handler: JSON, or a problem with the status of a wrong request.
struct Answer<T>(Result<T>);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match self.0 {
            Ok(value) => Json(value).into_response(),
            Err(problem) => (StatusCode::BAD_REQUEST, Json(problem)).into_response(),
        }
    }
}

/// Returns the table of all paths.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(guard::LOGIN, post(login))
        .route("/api/socket", get(socket::open))
        .route("/api/files", get(files))
        .route("/api/export", post(export))
        .route("/api/presets", get(preset_names))
        .route("/api/presets/{name}", get(preset).put(store_preset).delete(remove_preset))
        .route("/api/jobs", get(jobs).post(add_job))
        .route("/api/jobs/{id}", delete(remove_job))
        .route("/api/jobs/{id}/cancel", post(cancel_job))
        .route("/api/jobs/{id}/again", post(repeat_job))
        .fallback(get(page::file))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

#[derive(Debug, Deserialize)]
struct Login {
    code: String,
}

async fn login(State(app): State<Arc<App>>, Json(login): Json<Login>) -> Response {
    match app.exchange(&login.code) {
        Some(token) => Json(token).into_response(),
        None => (StatusCode::UNAUTHORIZED, "this address was used before\n").into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct Folder {
    #[serde(default)]
    path: String,
}

async fn files(State(app): State<Arc<App>>, Query(folder): Query<Folder>) -> Response {
    blocking(move || app.access.list(&folder.path)).await
}

async fn export(State(app): State<Arc<App>>, Json(request): Json<Request>) -> Response {
    blocking(move || export::export(&request, &app.access)).await
}

async fn jobs(State(app): State<Arc<App>>) -> Response {
    Answer(Ok(app.jobs.list())).into_response()
}

async fn add_job(State(app): State<Arc<App>>, Json(request): Json<Request>) -> Response {
    blocking(move || {
        let title = request.source.title();
        let arguments = export::job_arguments(&request, &app.access)?;
        app.jobs.add(title, arguments)
    })
    .await
}

async fn cancel_job(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Response {
    Answer(app.jobs.cancel(id)).into_response()
}

async fn repeat_job(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Response {
    Answer(app.jobs.again(id)).into_response()
}

async fn remove_job(State(app): State<Arc<App>>, Path(id): Path<u64>) -> Response {
    Answer(app.jobs.remove(id)).into_response()
}

async fn preset_names(State(app): State<Arc<App>>) -> Response {
    blocking(move || app.presets.names()).await
}

async fn preset(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    blocking(move || app.presets.read(&name)).await
}

async fn store_preset(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(cards): Json<Vec<Card>>,
) -> Response {
    blocking(move || app.presets.write(&name, &cards)).await
}

async fn remove_preset(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    blocking(move || app.presets.remove(&name)).await
}

/// Runs work on files on a thread that may wait for the disk.
async fn blocking<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Response {
    let done = tokio::task::spawn_blocking(work).await;
    let failed = |_| Err(Problem::new("the server failed", "report this, with what you did"));
    Answer(done.unwrap_or_else(failed)).into_response()
}
