// SPDX-License-Identifier: MIT OR Apache-2.0

//! Accepts connections, as many as the server can hold, and closes those that send no request.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};

/// Most connections at once. Further ones wait.
const MAX_CONNECTIONS: usize = 128;
/// Time within which a request has to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most header lines of a request.
const MAX_HEADERS: usize = 64;
/// Bytes that are read ahead; bounds the header of a request.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Pause after a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers connections for ever.
pub(super) async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Pictures are sent as a whole; a delay to fill packets would only hold them back.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // Errors are those of the client, which has gone.
            let _ = connection.await;
        });
    }
}
