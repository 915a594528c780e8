// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests that the server refuses, and goes on.

use std::fs;

use serde_json::json;

use crate::common::{self, Running, socket::Message};

/// Checks that the server still works.
fn assert_alive(studio: &Running) {
    let mut page = studio.page().expect("a page opens");
    page.open_test();
    page.lossless();
}

#[test]
fn the_page_needs_no_token_and_may_load_nothing_else() {
    let studio = Running::start();
    let page = studio.raw("GET", "/", &[&studio.host()], "");
    assert_eq!(page.status, 200);
    for header in ["default-src 'none'", "frame-ancestors 'none'", "nosniff", "no-store"] {
        assert!(page.head.contains(header), "{header}: {}", page.head);
    }
    assert!(!page.body.contains(&studio.token));
    assert!(!page.head.contains("access-control-allow-origin"));
}

#[test]
fn requests_without_the_token_are_refused() {
    let studio = Running::start();
    let host = studio.host();
    let wrong = format!("authorization: Bearer {}", "0".repeat(32));
    let part = format!("authorization: Bearer {}", &studio.token[..31]);
    let longer = format!("authorization: Bearer {}0", studio.token);
    for (method, path) in [
        ("GET", "/api/files"),
        ("POST", "/api/export"),
        ("GET", "/api/presets"),
        ("GET", "/api/presets/x"),
        ("PUT", "/api/presets/x"),
        ("DELETE", "/api/presets/x"),
        ("GET", "/api/socket"),
        ("GET", "/api/unknown"),
    ] {
        for header in ["accept: */*", &wrong, &part, &longer, "authorization: Bearer "] {
            let answer = studio.raw(method, path, &[&host, header], "");
            assert_eq!(answer.status, 401, "{method} {path} {header}");
        }
    }
    for token in ["", "token.", "token.0000"] {
        let protocol = format!("sec-websocket-protocol: cnnvideo-studio, {token}");
        assert_eq!(studio.page_with(&[&host, &protocol]).err(), Some(401), "{token}");
    }
    // The token in the address would get into logs.
    let path = format!("/api/files?token={}", studio.token);
    assert_eq!(studio.raw("GET", &path, &[&host], "").status, 401);
    assert_alive(&studio);
}

#[test]
fn the_code_for_the_browser_works_once() {
    let studio = Running::start();
    let (_, code) = studio.url_for_browser.split_once("#code=").unwrap();
    assert_ne!(code, studio.token);
    let (host, kind) = (studio.host(), "content-type: application/json");
    let login = |code: &str, more: &[&str]| {
        let headers: Vec<_> =
            [host.as_str(), kind].into_iter().chain(more.iter().copied()).collect();
        studio.raw("POST", "/api/login", &headers, &json!({"code": code}).to_string())
    };
    assert_eq!(login(&"0".repeat(32), &[]).status, 401);
    assert_eq!(login("", &[]).status, 401);
    assert_eq!(login(code, &["origin: https://evil.example"]).status, 403);
    let first = login(code, &[]);
    assert_eq!((first.status, first.body), (200, format!("\"{}\"", studio.token)));
    assert_eq!(login(code, &[]).status, 401);
    assert_eq!(login("", &[]).status, 401);
}

#[test]
fn requests_of_other_pages_are_refused() {
    let studio = Running::start();
    let own = format!("origin: http://{}", studio.address);
    assert_eq!(studio.request("GET", "/api/files", &[&own], "").status, 200);
    let (host, token) =
        (studio.host(), format!("sec-websocket-protocol: cnnvideo-studio, token.{}", studio.token));
    for origin in [
        "origin: https://evil.example".to_owned(),
        "origin: null".to_owned(),
        "origin: http://127.0.0.1".to_owned(),
        "origin: http://127.0.0.1:1".to_owned(),
        format!("origin: https://{}", studio.address),
        format!("origin: http://{}.evil.example", studio.address),
    ] {
        for (method, path) in [("GET", "/"), ("GET", "/api/files"), ("POST", "/api/export")] {
            let answer = studio.request(method, path, &[&origin], "{}");
            assert_eq!(answer.status, 403, "{method} {path} {origin}");
        }
        assert_eq!(studio.page_with(&[&host, &token, &origin]).err(), Some(403), "{origin}");
    }
    let twice = [own.as_str(), "origin: https://evil.example"];
    assert_eq!(studio.request("GET", "/api/files", &twice, "").status, 403);
    assert_alive(&studio);
}

#[test]
fn names_of_other_hosts_are_refused() {
    let studio = Running::start();
    let port = studio.address.port();
    let (own, bearer) = (studio.host(), studio.bearer());
    for host in [
        format!("host: evil.example:{port}"),
        format!("host: 127.0.0.1.evil.example:{port}"),
        "host: 127.0.0.1".to_owned(),
        "host: ".to_owned(),
        format!("host: 192.0.2.1:{port}"),
    ] {
        for path in ["/", "/api/files"] {
            let answer = studio.raw("GET", path, &[&host, &bearer], "");
            assert_eq!(answer.status, 403, "{path} {host}");
        }
    }
    let evil = format!("host: evil.example:{port}");
    for headers in [vec![&own, &evil], vec![&evil, &own], vec![]] {
        let headers: Vec<_> = headers.into_iter().chain([&bearer]).map(String::as_str).collect();
        let status = studio.raw("GET", "/api/files", &headers, "").status;
        assert!(matches!(status, 400 | 403), "{headers:?}: {status}");
    }
    let localhost = format!("host: localhost:{port}");
    assert_eq!(studio.raw("GET", "/api/files", &[&localhost, &bearer], "").status, 200);
}

#[test]
fn files_elsewhere_are_out_of_reach() {
    let studio = Running::start();
    fs::write(studio.folder.join("secret.mp4"), "secret").unwrap();
    fs::write(studio.file("clip.mp4"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", studio.file("link")).unwrap();
    let outside = studio.folder.join("secret.mp4").to_str().unwrap().to_owned();
    let paths = [
        "/etc".to_owned(),
        "..".to_owned(),
        studio.file(".."),
        studio.file("../secret.mp4"),
        studio.file("link"),
        studio.file("link/passwd"),
        outside.clone(),
    ];
    for path in &paths {
        let encoded: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = studio.get(&format!("/api/files?path={encoded}"));
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
    }
    let listing = studio.get(&format!("/api/files?path={}", studio.file("")));
    assert!(listing.body.contains("clip.mp4") && !listing.body.contains("link"), "{listing:?}");
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "//etc/passwd", "/page/../lib.rs"] {
        assert_eq!(studio.raw("GET", path, &[&studio.host()], "").status, 404, "{path}");
    }
    let mut page = studio.page().unwrap();
    for path in &paths {
        page.open_file(path);
        let event = page.event("problem").to_string();
        assert!(event.contains("below the folders") || event.contains("not a file"), "{event}");
    }
    // Paths in settings and exports are files too.
    page.open_test();
    let card = json!([{"id": 1, "element": "cnndenoise", "properties": {"model-file": outside}}]);
    page.set_cards(&card, 1);
    assert!(page.event("problem").to_string().contains("below the folders"));
    let export = json!({
        "source": {"kind": "file", "path": studio.file("clip.mp4")},
        "format": "I420", "cards": [{"element": "cnndenoise"}], "codec": "ffv1",
        "output": studio.folder.join("out.mkv"),
    });
    assert_eq!(studio.request("POST", "/api/export", &[], &export.to_string()).status, 400);
}

#[test]
fn oversized_and_malformed_messages_do_no_harm() {
    let studio = Running::start();
    let long = "x".repeat(200_000);
    assert_eq!(studio.request("POST", "/api/export", &[], &long).status, 413);
    assert_eq!(studio.request("POST", "/api/export", &[], "{").status, 400);
    assert_eq!(studio.request("PUT", "/api/presets/x", &[], &format!("\"{long}\"")).status, 413);
    let header = format!("x-long: {long}");
    assert_eq!(studio.request("GET", "/api/files", &[&header], "").status, 431);

    let mut page = studio.page().unwrap();
    for text in ["", "{", "[]", "{\"type\":\"quit\"}", "\u{0}"] {
        page.send_frame(1, text.as_bytes()).unwrap();
        page.event("problem");
    }
    page.send_frame(2, &[1, 2, 3]).unwrap();
    page.open_test();
    page.lossless();
    // This one the server does not read, and closes the page.
    let _ = page.send_frame(1, long.as_bytes());
    while !matches!(page.next(), Message::Closed) {}
    let mut page = studio.page().unwrap();
    let _ = page.send_frame(1, &[0xff, 0xfe]);
    while !matches!(page.next(), Message::Closed) {}
    assert_alive(&studio);
}

#[test]
fn fifty_connections_do_not_take_the_server_down() {
    let studio = Running::start();
    let idle: Vec<_> =
        (0..50).map(|_| std::net::TcpStream::connect(studio.address).unwrap()).collect();
    assert_eq!(studio.get("/api/files").status, 200);
    let mut pages: Vec<_> = (0..50).map(|_| studio.page().unwrap()).collect();
    let greeted = pages.iter_mut().map(|page| !matches!(page.next(), Message::Closed));
    let greeted = greeted.filter(|greeted| *greeted).count();
    assert!((1..50).contains(&greeted), "{greeted} pages have a session");
    assert_eq!(studio.get("/api/files").status, 200);
    drop((idle, pages));
    // The places are free again once the server has noticed.
    let start = std::time::Instant::now();
    while matches!(studio.page().unwrap().next(), Message::Closed) {
        assert!(start.elapsed() < common::PATIENCE, "no place becomes free");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn keys_never_reach_the_page() {
    let studio = Running::start();
    let key: Vec<u8> = (100..132).collect();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(studio.file("my.key"), &key).unwrap();
    fs::write(studio.file("hex.key"), &hex).unwrap();
    // Neither is a key, but the error must not quote it.
    fs::write(studio.file("bad.key"), &hex[..40]).unwrap();
    let mut page = studio.page().unwrap();
    page.open_test();
    let card = |properties: serde_json::Value| {
        let element = "watermarkembed";
        json!([{"id": 1, "element": element, "properties": properties}])
    };
    let payload = "00000000c0ffee42";
    for (revision, name) in (1..).zip(["my.key", "hex.key"]) {
        page.set_cards(&card(json!({"key-file": studio.file(name), "payload": payload})), revision);
        page.picture(|header| header["revision"] == revision);
    }
    page.set_cards(&card(json!({"key-file": studio.file("bad.key"), "payload": payload})), 8);
    page.event("problem");
    page.set_cards(&card(json!({"key": hex, "payload": payload})), 9);
    let refused = page.event("problem").to_string();
    assert!(refused.contains("no such setting"), "{refused}");
    let text = String::from_utf8_lossy(&page.received);
    assert!(!text.contains(&hex[..40]));
    assert!(!page.received.windows(8).any(|bytes| bytes == &key[..8]));
    // The list of files has their names only.
    let listing = studio.get(&format!("/api/files?path={}", studio.file("")));
    assert!(listing.body.contains("my.key") && !listing.body.contains(&hex[..40]));
}
