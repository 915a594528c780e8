// SPDX-License-Identifier: MIT OR Apache-2.0

//! A plain HTTP client, which sends whatever a test wants.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::{PATIENCE, Running};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Running {
    /// Sends a request with exactly these header lines.
    pub fn raw(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{lines}content-length: {length}\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        // The server may refuse a long body before it has read it.
        let _ = stream.write_all(body.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// Sends a request with further header lines to a page's usual ones.
    pub fn request(&self, method: &str, path: &str, more: &[&str], body: &str) -> Answer {
        let (host, bearer) = (self.host(), self.bearer());
        let mut headers = vec![host.as_str(), bearer.as_str(), "content-type: application/json"];
        headers.extend(more);
        self.raw(method, path, &headers, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    pub fn host(&self) -> String {
        format!("host: {}", self.address)
    }

    pub fn bearer(&self) -> String {
        format!("authorization: Bearer {}", self.token)
    }
}
