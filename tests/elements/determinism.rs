// SPDX-License-Identifier: MIT OR Apache-2.0

//! Checks that the output of every element is the same for any number of threads and any kernel
//! set.
//!
//! `print_digests` prints a digest of each element's output. The other test runs it in child
//! processes, because the kernel set and the number of threads of the shared pool are properties of
//! a process.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    process::Command,
};

use gst_video::VideoFormat;
use image::RgbImage;

use crate::common::{
    random::normal,
    video::{buffer, harness, info, to_bytes},
};
use rand::{SeedableRng, rngs::StdRng};

/// Size of the frames. The height is no multiple of a row block, nor of 7 threads.
const SIZE: (u32, u32) = (328, 250);
/// Frames for each element.
const FRAMES: u32 = 5;
/// Elements, and the formats in which they run.
const CASES: [(&str, &[VideoFormat]); 10] = [
    ("cnndenoise", &[VideoFormat::I420, VideoFormat::Y444, VideoFormat::Rgb]),
    ("cnndenoise temporal=false quality=balanced", &[VideoFormat::Nv12]),
    ("cnndenoise precision=fp32", &[VideoFormat::I420, VideoFormat::Bgrx]),
    ("cnndenoise noise-level=14 strength=1.5", &[VideoFormat::I42010le, VideoFormat::Gray8]),
    ("cnnsmooth scale=6", &[VideoFormat::I420, VideoFormat::Rgb]),
    ("cnnsmooth precision=fp32 scale=12", &[VideoFormat::I420]),
    ("cnndeband", &[VideoFormat::I420, VideoFormat::Rgb, VideoFormat::I42010le]),
    ("cnnsegment output=mask seeds=fg:120,90", &[VideoFormat::I420]),
    ("cnnsegment output=alpha seeds=fg:120,90;bg:10,10", &[VideoFormat::Rgb]),
    (WATERMARK, &[VideoFormat::I420]),
];
/// Description of a watermark embedder.
const WATERMARK: &str = "watermarkembed payload=0123456789abcdef \
     key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Numbers of threads to compare.
const THREADS: [&str; 4] = ["1", "2", "3", "7"];
/// Kernel sets to compare. Those that the processor lacks run as the fastest set.
const KERNELS: [&str; 5] = ["portable", "avx2", "vnni256", "avx512", "neon"];
/// Environment variable with the value of the property `threads`.
const THREADS_VARIABLE: &str = "CNNVIDEO_TEST_THREADS";

/// Returns a frame of a panning photograph with noise, in a format without row padding.
fn frame(info: &gst_video::VideoInfo, photo: &RgbImage, number: u32) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(u64::from(number));
    let (width, height) = SIZE;
    let bytes_per_sample = info.format_info().depth()[0].div_ceil(8) as usize;
    let samples = info.size() / bytes_per_sample;
    let from_photo = |i: usize| {
        let (x, y) = (i as u32 % width, i as u32 / width % height);
        f32::from(photo.get_pixel(x + 3 * number, y + number)[i / (width * height) as usize % 3])
    };
    let mut bytes = Vec::with_capacity(info.size());
    for i in 0..samples {
        let value = (from_photo(i) + 9.0 * normal(&mut rng)).clamp(0.0, 255.0);
        match bytes_per_sample {
            1 => bytes.push(value as u8),
            _ => bytes.extend(((value * 4.0) as u16).to_le_bytes()),
        }
    }
    bytes
}

#[test]
#[ignore = "run by output_depends_neither_on_threads_nor_on_kernels"]
fn print_digests() {
    let threads = std::env::var(THREADS_VARIABLE).unwrap();
    let photo = image::open("tests/data/astronaut.jpg").unwrap().into_rgb8();
    for (description, formats) in CASES {
        for format in formats {
            let info = info(*format, SIZE.0, SIZE.1);
            let has_threads = description.starts_with("cnn");
            let threads = if has_threads { format!(" threads={threads}") } else { String::new() };
            let mut h = harness(&format!("{description}{threads}"), &info);
            let mut hasher = DefaultHasher::new();
            for number in 0..FRAMES {
                let frame = buffer(frame(&info, &photo, number), u64::from(number));
                to_bytes(&h.push_and_pull(frame).unwrap()).hash(&mut hasher);
            }
            println!("digest of {description} in {format:?}: {:016x}", hasher.finish());
        }
    }
}

/// Runs `print_digests` in a child process. Returns the lines with digests.
fn digests(threads: &str, kernels: Option<&str>) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "determinism::print_digests", "--ignored", "--nocapture"])
        .env(THREADS_VARIABLE, threads)
        .env("RAYON_NUM_THREADS", threads);
    if let Some(kernels) = kernels {
        command.env("CNNVIDEO_KERNELS", kernels);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    let digest = |line: &str| line.find("digest of").map(|at| line[at..].to_owned());
    output.lines().filter_map(digest).collect()
}

#[test]
fn output_depends_neither_on_threads_nor_on_kernels() {
    let expected = digests("2", None);
    assert_eq!(expected.len(), CASES.iter().map(|(_, formats)| formats.len()).sum::<usize>());
    for threads in THREADS {
        assert_eq!(digests(threads, None), expected, "{threads} threads");
    }
    for kernels in KERNELS {
        assert_eq!(digests("2", Some(kernels)), expected, "kernel set {kernels}");
    }
}
