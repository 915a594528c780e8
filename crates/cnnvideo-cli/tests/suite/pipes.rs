// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the program with y4m on its standard streams.

use std::{
    fs::{self, File},
    io::{Read, Write},
    process::Stdio,
};

use crate::common::{Folder, Run, packets};

const CHROMA: [(&str, usize); 9] = [
    ("420jpeg", 12),
    ("420", 12),
    ("422", 16),
    ("444", 24),
    ("mono", 8),
    ("420p10", 24),
    ("422p10", 32),
    ("444p10", 48),
    ("mono10", 16),
];

/// Returns a stream of `frames` frames of 32x16 pixels.
fn stream(chroma: &str, bits_per_pixel: usize, frames: usize, fields: &str) -> Vec<u8> {
    let mut stream = format!("YUV4MPEG2 W32 H16 F30000:1001 {fields} C{chroma}\n").into_bytes();
    for frame in 0..frames {
        stream.extend_from_slice(b"FRAME\n");
        let deep = chroma.ends_with("10");
        let sample = |i: usize| match i % 2 {
            // The upper byte of a sample of 10 bits.
            1 if deep => (i / 64 % 4) as u8,
            _ => (i * 7 + frame * 3) as u8,
        };
        stream.extend((0..32 * 16 * bits_per_pixel / 8).map(sample));
    }
    stream
}

/// Returns the bytes behind the header.
fn frames(stream: &[u8]) -> &[u8] {
    let end = stream.iter().position(|byte| *byte == b'\n').unwrap();
    &stream[end + 1..]
}

/// Runs the program with a stream on its standard input.
fn pipe(folder: &Folder, arguments: &[&str], stream: &[u8]) -> Run {
    fs::write(folder.file("stdin"), stream).unwrap();
    let input = File::open(folder.file("stdin")).unwrap();
    Run(folder.command(arguments).stdin(input).output().unwrap())
}

#[test]
fn streams_pass_with_all_properties() {
    let folder = Folder::new("pass");
    for (chroma, bits) in CHROMA {
        for fields in ["Ip A1:1", "It A8:9", "Ib A0:0 XCOLORRANGE=FULL"] {
            let input = stream(chroma, bits, 3, fields);
            let run = pipe(&folder, &["denoise", "-", "-", "--set", "strength=0"], &input);
            run.success();
            let output = &run.0.stdout;
            assert!(frames(output) == frames(&input), "{chroma} {fields}");
            let header = String::from_utf8_lossy(&output[..output.len() - frames(output).len()]);
            let start = format!(
                "YUV4MPEG2 W32 H16 F30000:1001 {} C{chroma}",
                fields.split(" X").next().unwrap()
            );
            assert!(header.starts_with(&start), "{header}");
            assert_eq!(header.contains("XCOLORRANGE=FULL"), fields.contains("FULL"), "{header}");
            let run = pipe(&folder, &["denoise", "-", "-"], &input);
            run.success();
            assert_eq!(run.0.stdout.len(), output.len(), "{chroma} {fields}");
        }
    }
}

#[test]
fn grey_stays_grey_at_any_depth() {
    let folder = Folder::new("grey");
    let input = stream("mono", 8, 3, "Ip A1:1");
    let deep =
        pipe(&folder, &["denoise", "-", "-", "--set", "strength=0", "--depth", "10"], &input);
    deep.success();
    let header = String::from_utf8_lossy(&deep.0.stdout[..60]);
    assert!(header.starts_with("YUV4MPEG2 W32 H16 F30000:1001 Ip A1:1 Cmono10 "), "{header}");
    for (from, to) in frames(&input).chunks(6 + 512).zip(frames(&deep.0.stdout).chunks(6 + 1024)) {
        for (from, to) in from[6..].iter().zip(to[6..].as_chunks::<2>().0) {
            assert_eq!(u16::from(*from) * 4, u16::from_le_bytes(*to));
        }
    }
    let arguments = ["smooth", "-", "-", "--set", "strength=0", "--depth", "8"];
    let back = pipe(&folder, &arguments, &deep.0.stdout);
    back.success();
    assert!(frames(&back.0.stdout) == frames(&input));
    let header = String::from_utf8_lossy(&back.0.stdout[..60]);
    assert!(header.contains(" Cmono\n"), "{header}");
}

#[test]
fn files_and_pipes_mix() {
    let folder = Folder::new("mix");
    let input = stream("422p10", 32, 5, "Ip A1:1");
    fs::write(folder.file("in.y4m"), &input).unwrap();
    let arguments = ["smooth", "in.y4m", "out.mkv", "--codec", "ffv1", "--set", "strength=0"];
    folder.run(&arguments).success();
    assert_eq!(packets(&folder.file("out.mkv"))["video_0"].len(), 5);
    folder.run(&["smooth", "out.mkv", "out.y4m", "--set", "strength=0"]).success();
    assert!(frames(&fs::read(folder.file("out.y4m")).unwrap()) == frames(&input));
    let run = pipe(&folder, &["denoise", "-", "piped.mp4"], &input);
    run.success();
    assert_eq!(packets(&folder.file("piped.mp4"))["video_0"].len(), 5);
}

/// Returns the mean square error against `truth` of the samples at the start of a frame of 8 or 10
/// bits, in code values of 8 bits.
fn mean_square_error(frame: &[u8], deep: bool, truth: &[f32]) -> f32 {
    let samples: Vec<f32> = match deep {
        true => {
            let pairs = frame.as_chunks::<2>().0;
            pairs.iter().map(|pair| f32::from(u16::from_le_bytes(*pair)) / 4.0).collect()
        }
        false => frame.iter().map(|sample| f32::from(*sample)).collect(),
    };
    assert!(samples.len() >= truth.len());
    let errors = samples.iter().zip(truth).map(|(sample, truth)| (sample - truth).powi(2));
    errors.sum::<f32>() / truth.len() as f32
}

#[test]
fn false_contours_disappear() {
    const SIZE: [usize; 2] = [192, 160];
    let folder = Folder::new("deband");
    // A slope in steps of 2 code values: bands of about 16 samples.
    let slope = |i: usize| 60.0 + 0.11 * (i % SIZE[0]) as f32 + 0.06 * (i / SIZE[0]) as f32;
    let truth: Vec<f32> = (0..SIZE[0] * SIZE[1]).map(slope).collect();
    let banded: Vec<u8> = truth.iter().map(|value| (value / 2.0).round() as u8 * 2).collect();
    let mut input =
        format!("YUV4MPEG2 W{} H{} F25:1 Ip C420\nFRAME\n", SIZE[0], SIZE[1]).into_bytes();
    input.extend(&banded);
    input.resize(input.len() + banded.len() / 2, 128);
    let before = mean_square_error(&banded, false, &truth);
    let set = ["deband", "-", "-", "--set", "range=64"];
    for (depth, deep) in [(&[][..], false), (&["--depth", "10"][..], true)] {
        let run = pipe(&folder, &[&set[..], depth].concat(), &input);
        run.success();
        let output = frames(&run.0.stdout);
        let after = mean_square_error(&output["FRAME\n".len()..], deep, &truth);
        // Rounding and dither of 8 bits leave more.
        let share = if deep { 0.1 } else { 0.6 };
        assert_eq!(output.len(), 6 + banded.len() * 3 / 2 * if deep { 2 } else { 1 });
        assert!(after < share * before, "{deep}: {before} to {after}");
    }
    let run = pipe(&folder, &["deband", "-", "-", "--set", "threshold=9"], &input);
    run.fails(2, "from 0 to 4");
}

#[test]
fn damaged_streams_are_errors() {
    let folder = Folder::new("damaged");
    let whole = stream("420", 12, 3, "Ip A1:1");
    for (input, expected) in [
        (&b""[..], "is empty"),
        (b"RIFF....", "not y4m"),
        (b"YUV4MPEG2 W32 H16 F25:1 C420p12\n", "C420p12 is not supported"),
        (&whole[..whole.len() - 1], "ends within frame 2"),
        (&[&whole[..], b"FRAMES\n"].concat(), "frame 3 does not begin with FRAME"),
        (b"YUV4MPEG2 W32 H16 F25:1 C420\n", "has no video frame"),
    ] {
        for output in ["-", "out.mkv"] {
            pipe(&folder, &["denoise", "-", output], input).fails(1, expected);
            assert_eq!(folder.names(), ["stdin"]);
        }
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    use std::os::unix::process::ExitStatusExt;
    let folder = Folder::new("leaves");
    fs::write(folder.file("in.y4m"), stream("420", 12, 2000, "Ip A1:1")).unwrap();
    let mut child = folder
        .command(&["denoise", "in.y4m", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 100];
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut start).unwrap();
    drop(output);
    let result = child.wait_with_output().unwrap();
    assert_eq!(result.status.signal(), Some(13), "{result:?}");
    assert!(result.stderr.is_empty(), "{result:?}");
}

#[test]
fn a_writer_that_is_slow_is_waited_for() {
    let folder = Folder::new("slow");
    let input = stream("420", 12, 2, "Ip A1:1");
    let mut child = folder
        .command(&["denoise", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut writer = child.stdin.take().unwrap();
    for part in input.chunks(input.len() / 5) {
        writer.write_all(part).unwrap();
        writer.flush().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
    drop(writer);
    let result = child.wait_with_output().unwrap();
    assert!(result.status.success());
    assert_eq!(frames(&result.stdout).len(), frames(&input).len());
}
