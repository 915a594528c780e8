// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which requests are answered.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::App;

/// Prefix of the WebSocket protocol that carries the token: browsers let pages set no other header.
const TOKEN_PROTOCOL: &str = "token.";

/// Path where a code is exchanged for the token.
pub(super) const LOGIN: &str = "/api/login";

/// Headers of each answer. The page may load its own files and talk to this server, nothing else.
const HEADERS: [(header::HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Answers a request if it may be answered.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let needs_token = path.starts_with("/api/") && path != LOGIN;
    let mut response = match refusal(&app, request.headers(), needs_token) {
        Some((status, reason)) => (status, reason).into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(
    app: &App,
    headers: &HeaderMap,
    needs_token: bool,
) -> Option<(StatusCode, &'static str)> {
    let Some(host) = only(headers, header::HOST).filter(|host| is_own(host, app.address)) else {
        return Some((StatusCode::FORBIDDEN, "open the address that the studio has printed\n"));
    };
    let has_origin = headers.contains_key(header::ORIGIN);
    let own = only(headers, header::ORIGIN).is_some_and(|origin| {
        origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    });
    if has_origin && !own {
        return Some((StatusCode::FORBIDDEN, "this request comes from another page\n"));
    }
    if needs_token && !token(headers).is_some_and(|token| same(token, &app.token)) {
        return Some((StatusCode::UNAUTHORIZED, "open the address with the token\n"));
    }
    None
}

/// Returns the value of a header that is there once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Returns whether the header `Host` names this server by its address. A page elsewhere that lets
/// its own name point to this machine has that name there.
fn is_own(host: &str, address: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    if port != Some(address.port()) {
        return false;
    }
    if name.eq_ignore_ascii_case("localhost") {
        return address.ip().is_loopback() || address.ip().is_unspecified();
    }
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.parse::<IpAddr>().is_ok_and(|ip| ip == address.ip() || address.ip().is_unspecified())
}

/// Returns the token of a request.
fn token(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = only(headers, header::AUTHORIZATION) {
        return value.strip_prefix("Bearer ");
    }
    let protocols = only(headers, header::SEC_WEBSOCKET_PROTOCOL)?;
    protocols.split(',').find_map(|protocol| protocol.trim().strip_prefix(TOKEN_PROTOCOL))
}

/// Compares in a time that does not tell how many characters agree.
pub(super) fn same(given: &str, token: &str) -> bool {
    let differences = given.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_server_are_its_hosts() {
        let listen = |text: &str| text.parse::<SocketAddr>().unwrap();
        let loopback = listen("127.0.0.1:8080");
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080"] {
            assert!(is_own(host, loopback), "{host}");
        }
        for host in [
            "evil.example:8080",
            "127.0.0.1.evil.example:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.2:8080",
            "localhost",
            "localhost.:8080",
            "",
            ":8080",
            "127.0.0.1:8080:8080",
        ] {
            assert!(!is_own(host, loopback), "{host}");
        }
        assert!(is_own("[::1]:8080", listen("[::1]:8080")));
        assert!(is_own("192.0.2.7:8080", listen("0.0.0.0:8080")));
        assert!(!is_own("host.lan:8080", listen("0.0.0.0:8080")));
        assert!(is_own("127.0.0.1", listen("127.0.0.1:80")));
    }

    #[test]
    fn tokens_are_compared_as_a_whole() {
        assert!(same("abc", "abc"));
        for wrong in ["", "ab", "abcd", "abd"] {
            assert!(!same(wrong, "abc"), "{wrong}");
        }
    }
}
