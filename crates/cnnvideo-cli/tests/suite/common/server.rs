// SPDX-License-Identifier: MIT OR Apache-2.0

//! An HTTP server of one file that answers range requests.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

/// Serves a file to any number of clients until the process ends, and returns its URL.
pub(crate) fn serve(file: &Path) -> String {
    let content: &'static [u8] = fs::read(file).unwrap().leak();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/clip.mkv", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes away is no fault.
            thread::spawn(move || answer(client, content));
        }
    });
    url
}

/// Answers the requests of a connection.
fn answer(mut client: TcpStream, content: &[u8]) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    loop {
        let (mut first, mut range) = (String::new(), None);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("range: bytes=") {
                let (start, end) = text.split_once('-').unwrap_or((text, ""));
                let start = start.parse().unwrap_or(0).min(content.len());
                let end = end.parse().map_or(content.len(), |end: usize| end + 1);
                range = Some((start, end.min(content.len())));
            }
        }
        let (start, end) = range.unwrap_or((0, content.len()));
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let last = end.saturating_sub(1);
        write!(
            client,
            "HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n\
             Content-Range: bytes {start}-{last}/{}\r\nContent-Type: video/x-matroska\r\n\r\n",
            end - start,
            content.len()
        )?;
        if !first.starts_with("HEAD") {
            client.write_all(&content[start..end])?;
        }
    }
}
