// SPDX-License-Identifier: MIT OR Apache-2.0

//! Starts and ends `cnnvideo studio`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use crate::common::Folder;

#[test]
fn the_studio_prints_its_address_and_ends_by_a_signal() {
    let folder = Folder::new("studio");
    let mut child = folder
        .command(&["studio", "--listen", "127.0.0.1:0", "--no-browser"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (host, token) = line.strip_prefix("http://").unwrap().trim().split_once("/#").unwrap();
    assert_eq!(token.len(), 32, "{line}");
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("<title>cnnvideo studio"));
    let kill = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_keeps_the_studio_from_starting_is_explained() {
    let folder = Folder::new("no-studio");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    folder.run(&["studio", "--no-browser", "--listen", &address]).fails(1, "--listen");
    folder.run(&["studio", "--no-browser", "missing.mp4"]).fails(1, "cannot open missing.mp4");
    let allow = ["studio", "--no-browser", "--listen", "127.0.0.1:0", "--allow", "missing"];
    folder.run(&allow).fails(1, "missing is not a folder");
}
