// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files that users name as `key-file` or `model-file`: every kind of file, and key files with any
//! content. Reading one never blocks.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use cnnvideo::{nn::Model, watermark::Key};
use gst::prelude::*;

use crate::{
    Target,
    elements::{self, MessageBus},
    input::Input,
    scratch,
};

/// The target.
pub const TARGET: Target = Target {
    name: "key-file",
    about: "files named by key-file and model-file: kinds, sizes, contents",
    corpus,
    dictionary: &["00", "ff", "5f", " ", "\n", "\r\n", "\t", "\u{feff}", "g", "é", elements::KEY],
    mutate: None,
    repair: None,
    run,
};

/// Files that are neither keys nor models: own files of all kinds by their names, and devices and
/// files of the kernel, which are not what they seem, by their paths.
const SPECIAL_FILES: [&str; 17] = [
    "fifo",
    "socket",
    "huge",
    "unreadable",
    "directory",
    "link-to-fifo",
    "link-to-device",
    "link-to-itself",
    "",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/stdin",
    "/proc/self/mem",
    "/proc/self/status",
    "/nowhere/key",
];
/// Largest key file in bytes.
const MAX_KEY_FILE: usize = 256;
/// Length of the huge file, which has no content.
const HUGE: u64 = 1 << 34;

/// Readers of files.
#[derive(Clone, Copy)]
enum Reader {
    Key,
    Embedder,
    Detector,
    Model,
    Denoiser,
    Segmenter,
}

/// Readers by the first byte of an input, the slow ones once.
const READERS: [Reader; 16] = {
    use Reader::{Denoiser, Detector, Embedder, Key, Model, Segmenter};
    [
        Key, Detector, Embedder, Model, Denoiser, Segmenter, Key, Detector, Key, Model, Denoiser,
        Segmenter, Key, Key, Key, Model,
    ]
};

fn corpus() -> Vec<Vec<u8>> {
    let hex = elements::KEY.as_bytes();
    let contents = [
        &[7; 32][..],
        hex,
        &[b" \n", hex, b"\r\n"].concat(),
        &hex.to_ascii_uppercase(),
        b"",
        &[0; 32],
        &[hex, &[b' '; MAX_KEY_FILE - 64]].concat(),
        &[hex, &[b' '; MAX_KEY_FILE]].concat(),
    ];
    let mut corpus = Vec::new();
    for (reader, content) in (0..3).flat_map(|reader| contents.map(|content| (reader, content))) {
        corpus.push([&[reader, 0][..], content].concat());
    }
    let kinds = SPECIAL_FILES.len() as u8;
    corpus.extend((0..6).flat_map(|reader| (1..=kinds).map(move |kind| vec![reader, kind])));
    corpus
}

fn run(data: &[u8]) {
    elements::init();
    let mut input = Input::new(data);
    let reader = READERS[usize::from(input.byte()) % READERS.len()];
    match usize::from(input.byte()) % (1 + SPECIAL_FILES.len()) {
        0 => {
            let path = scratch::folder().join("content");
            let content = input.rest();
            fs::write(&path, content).expect("the folder for temporary files is writable");
            let accepted = read(reader, &path);
            match reader {
                Reader::Key | Reader::Embedder | Reader::Detector => {
                    let usable = is_key(content) && !is_zero(content);
                    assert_eq!(accepted, usable, "{content:?}");
                }
                Reader::Model | Reader::Denoiser | Reader::Segmenter => (),
            }
        }
        kind => {
            let path = special_folder().join(SPECIAL_FILES[kind - 1]);
            assert!(!read(reader, &path), "{} is accepted", path.display());
        }
    }
}

/// Returns whether the content of a file is 32 bytes or 64 hex digits with white space around them.
fn is_key(content: &[u8]) -> bool {
    let hex = std::str::from_utf8(content).map(str::trim).unwrap_or_default().as_bytes();
    content.len() == 32
        || (content.len() <= MAX_KEY_FILE
            && hex.len() == 64
            && hex.iter().all(u8::is_ascii_hexdigit))
}

/// Returns whether all bytes of a key are zero.
fn is_zero(content: &[u8]) -> bool {
    let is_hex = content.len() != 32;
    content.iter().all(|byte| *byte == 0)
        || (is_hex && content.trim_ascii().iter().all(|byte| *byte == b'0'))
}

/// Reads a file and returns whether it is accepted.
fn read(reader: Reader, path: &Path) -> bool {
    match reader {
        Reader::Key => Key::from_file(path).is_ok(),
        Reader::Model => Model::from_file(path).is_ok(),
        Reader::Embedder => starts("watermarkembed payload=0123456789abcdef", "key-file", path),
        Reader::Detector => starts("watermarkdetect", "key-file", path),
        Reader::Denoiser => starts("cnndenoise threads=1", "model-file", path),
        Reader::Segmenter => starts("cnnsegment threads=1", "model-file", path),
    }
}

/// Returns whether an element starts with a file.
///
/// # Panics
/// If it fails without an error message that names the file, or starts with an error message.
fn starts(description: &str, property: &str, path: &Path) -> bool {
    let element = gst::parse::launch(description).expect("the description is right");
    let bus = MessageBus::of(&element);
    element.set_property(property, path);
    let started = element.set_state(gst::State::Paused).is_ok();
    let error = bus.first_error();
    element.set_state(gst::State::Null).expect("an element stops");
    let names_file = error.as_deref().map(|text| text.contains(&*path.to_string_lossy()));
    assert_eq!(names_file, if started { None } else { Some(true) }, "{description}: {error:?}");
    started
}

/// Returns the folder with the own files of [`SPECIAL_FILES`].
fn special_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch::folder().join("special");
        create_files(&folder).expect("the folder for temporary files is writable");
        folder
    })
}

/// Creates files of all kinds that a user can create.
fn create_files(folder: &Path) -> std::io::Result<()> {
    let path = |name: &str| folder.join(name);
    fs::create_dir_all(path("directory"))?;
    Command::new("mkfifo").arg(path("fifo")).status()?;
    // The file stays when the listener is closed.
    UnixListener::bind(path("socket"))?;
    fs::File::create(path("huge"))?.set_len(HUGE)?;
    fs::write(path("unreadable"), b"no key")?;
    fs::set_permissions(path("unreadable"), fs::Permissions::from_mode(0o000))?;
    symlink(path("fifo"), path("link-to-fifo"))?;
    symlink("/dev/zero", path("link-to-device"))?;
    symlink(path("link-to-itself"), path("link-to-itself"))
}
