// SPDX-License-Identifier: MIT OR Apache-2.0

//! A plain WebSocket client.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Instant,
};

use serde_json::{Value, json};

use super::{PATIENCE, Running};

/// A page.
pub struct Page {
    stream: TcpStream,
    /// All that the server has sent.
    pub received: Vec<u8>,
}

/// A message of the server.
#[derive(Debug)]
pub enum Message {
    Event(Value),
    Picture(Picture),
    Closed,
}

/// A picture with its header.
#[derive(Debug)]
pub struct Picture {
    pub header: Value,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

impl Running {
    /// Opens the socket of a page, or returns the status of the refusal.
    pub fn page(&self) -> Result<Page, u16> {
        let token = format!("sec-websocket-protocol: cnnvideo-studio, token.{}", self.token);
        self.page_with(&[&self.host(), &token])
    }

    /// Does the same with exactly these header lines.
    pub fn page_with(&self, headers: &[&str]) -> Result<Page, u16> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!(
            "GET /api/socket HTTP/1.1\r\n{lines}upgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap() == 0 {
                break;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        if status != 101 {
            return Err(status);
        }
        Ok(Page { stream, received: Vec::new() })
    }
}

impl Page {
    pub fn send(&mut self, message: &Value) {
        self.send_frame(1, message.to_string().as_bytes()).unwrap();
    }

    /// Sends a frame of any kind.
    pub fn send_frame(&mut self, kind: u8, data: &[u8]) -> io::Result<()> {
        let mut frame = vec![0x80 | kind];
        match data.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        // A mask of zeros leaves the data as it is.
        frame.extend([0; 4]);
        frame.extend(data);
        self.stream.write_all(&frame)
    }

    pub fn open_test(&mut self) {
        let source = json!({"kind": "test", "pattern": "ball", "width": 192, "height": 128});
        self.send(&json!({"type": "open", "source": source}));
    }

    pub fn open_file(&mut self, path: &str) {
        self.send(&json!({"type": "open", "source": {"kind": "file", "path": path}}));
    }

    pub fn set_cards(&mut self, cards: &Value, revision: u64) {
        self.send(&json!({"type": "chain", "cards": cards, "revision": revision}));
    }

    /// Waits for the next message.
    pub fn next(&mut self) -> Message {
        let mut head = [0; 2];
        if self.read(&mut head).is_err() {
            return Message::Closed;
        }
        let mut length = u64::from(head[1] & 127);
        if length >= 126 {
            let mut long = [0; 8];
            let bytes = if length == 126 { 2 } else { 8 };
            self.read(&mut long[8 - bytes..]).unwrap();
            length = u64::from_be_bytes(long);
        }
        let mut data = vec![0; length as usize];
        self.read(&mut data).unwrap();
        match head[0] & 15 {
            1 => Message::Event(serde_json::from_slice(&data).unwrap()),
            2 => Message::Picture(Picture::of(&data)),
            8 => Message::Closed,
            _ => self.next(),
        }
    }

    fn read(&mut self, data: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(data)?;
        self.received.extend_from_slice(data);
        Ok(())
    }

    /// Waits for an event of a type, acknowledging pictures on the way.
    pub fn event(&mut self, kind: &str) -> Value {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.next() {
                Message::Event(event) if event["type"] == kind => return event,
                Message::Event(_) => (),
                Message::Picture(_) => self.send(&json!({"type": "ack"})),
                Message::Closed => panic!("closed while waiting for {kind}"),
            }
        }
        panic!("no event {kind}");
    }

    /// Waits for a picture for which a condition holds, and acknowledges it.
    pub fn picture(&mut self, condition: impl Fn(&Value) -> bool) -> Picture {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.next() {
                Message::Picture(picture) => {
                    self.send(&json!({"type": "ack"}));
                    if condition(&picture.header) {
                        return picture;
                    }
                }
                Message::Event(event) if event["type"] == "problem" => panic!("{event}"),
                Message::Event(_) => (),
                Message::Closed => panic!("closed while waiting for a picture"),
            }
        }
        panic!("no such picture");
    }

    /// Waits for a picture without loss.
    pub fn lossless(&mut self) -> Picture {
        self.picture(|header| header["lossless"] == true)
    }
}

impl Picture {
    fn of(data: &[u8]) -> Self {
        let length = u32::from_le_bytes(data[..4].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&data[4..4 + length]).unwrap();
        let mut rest = &data[4 + length..];
        let mut part = |index: usize| {
            let bytes = header["bytes"][index].as_u64().unwrap() as usize;
            let (part, after) = rest.split_at(bytes);
            rest = after;
            part.to_vec()
        };
        let (before, after) = (part(0), part(1));
        Self { header, before, after }
    }

    /// Returns the RGB values behind the chain.
    pub fn pixels(&self) -> Vec<u8> {
        image::load_from_memory(&self.after).unwrap().to_rgb8().into_raw()
    }
}
