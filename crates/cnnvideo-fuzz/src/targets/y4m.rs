// SPDX-License-Identifier: MIT OR Apache-2.0

//! YUV4MPEG2 streams, as programs pass them to the command `cnnvideo` through pipes.

use cnnvideo_cli::y4m::{Error, Header, MAX_SIDE, Reader, Writer};

use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "y4m",
    about: "YUV4MPEG2 streams: headers, frames, ends",
    corpus,
    dictionary: &[
        "YUV4MPEG2 ",
        "FRAME\n",
        "FRAME Ip\n",
        "\n",
        " ",
        "W",
        "W8192",
        "W8193",
        "H1",
        "F0:1",
        "F30000:1001",
        "F1:0",
        "It",
        "Im",
        "I?",
        "A0:0",
        "A1:1",
        "C420jpeg",
        "C420paldv",
        "C422p10",
        "C444p10",
        "Cmono",
        "Cmono10",
        "C420p12",
        "XCOLORRANGE=FULL",
        "2147483648",
        "é",
        "\0",
    ],
    mutate: None,
    repair: None,
    run,
};

/// Largest frame in bytes that is read.
const MAX_FRAME: usize = 1 << 16;

fn corpus() -> Vec<Vec<u8>> {
    let headers = [
        "YUV4MPEG2 W4 H2 F25:1 Ip A1:1 C420jpeg XYSCSS=420JPEG",
        "YUV4MPEG2 W3 H5 F30000:1001 It A8:9 C422p10",
        "YUV4MPEG2 W1 H1 F24:1 Ib A0:0 C444 XCOLORRANGE=LIMITED",
        "YUV4MPEG2 W7 H3 F1:1 I? Cmono10",
        "YUV4MPEG2 W2 H2",
    ];
    let stream = |text: &str| {
        let header = Header::parse(text.as_bytes()).expect("the header is valid");
        let frame = [b"FRAME\n", &vec![b'F'; header.frame_len()][..]].concat();
        [text.as_bytes(), b"\n", &frame, &frame].concat()
    };
    headers.iter().map(|text| stream(text)).collect()
}

/// A header that is accepted has sizes within the limits and is written as the same header. Frames
/// are written as they were read, and damage is reported for the first damaged frame.
fn run(data: &[u8]) {
    let Ok(mut reader) = Reader::new(data) else { return };
    let header = reader.header().clone();
    assert!((1..=MAX_SIDE).contains(&header.width) && (1..=MAX_SIDE).contains(&header.height));
    assert!(!header.rate.contains(&0));
    let len = header.frame_len();
    let planes: usize = header.planes().iter().map(|[width, height]| width * height).sum();
    assert_eq!(len, planes * header.sample_len());
    assert_eq!(Header::parse(header.to_string().as_bytes()).ok().as_ref(), Some(&header));
    if len > MAX_FRAME {
        return;
    }
    let mut written = Vec::new();
    let mut writer = Writer::new(&mut written, &header).expect("memory can be written");
    let mut frames = Vec::new();
    let mut frame = vec![0; len];
    loop {
        match reader.read(&mut frame) {
            Ok(true) => {
                writer.begin_frame().expect("memory can be written");
                writer.write_row(&frame).expect("memory can be written");
                frames.push(frame.clone());
            }
            Ok(false) => break,
            Err(Error::Frame { frame } | Error::Truncated { frame }) => {
                assert_eq!(frame, frames.len() as u64);
                break;
            }
            Err(err) => panic!("memory cannot be read: {err}"),
        }
    }
    writer.flush().expect("memory can be written");
    drop(writer);
    let mut reader = Reader::new(&written[..]).expect("what is written can be read");
    for expected in frames {
        assert!(reader.read(&mut frame).expect("what is written can be read"));
        assert_eq!(frame, expected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_valid() {
        for stream in corpus() {
            let mut reader = Reader::new(&stream[..]).unwrap();
            let mut frame = vec![0; reader.header().frame_len()];
            assert!(reader.read(&mut frame).unwrap() && reader.read(&mut frame).unwrap());
            assert!(!reader.read(&mut frame).unwrap());
        }
    }
}
