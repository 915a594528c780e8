// SPDX-License-Identifier: MIT OR Apache-2.0

//! Test of clicks into a window: ximagesink under Xvfb, with mouse events from xdotool. It is the
//! only test of its process, because it waits for the window with fixed delays.
//!
//! Without these programs, the test is skipped, except where the environment variable `CI` is set.

mod common;

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use common::{init, pipeline};
use gst::prelude::*;
use gstcnnvideo::shared::RegionMask;

/// Programs that the test runs.
const PROGRAMS: [&str; 2] = ["Xvfb", "xdotool"];

/// Returns the programs and elements that the test needs and that are not installed.
fn missing() -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed =
        |program: &&str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let mut missing: Vec<_> = PROGRAMS.into_iter().filter(|p| !is_installed(p)).collect();
    if gst::ElementFactory::find("ximagesink").is_none() {
        missing.push("ximagesink");
    }
    missing
}

/// An X server with a virtual screen.
struct Screen {
    server: Child,
    /// Display name.
    name: String,
}

impl Screen {
    /// Starts the server and waits until it accepts connections.
    fn start() -> Self {
        let number = 200 + std::process::id() % 2000;
        let name = format!(":{number}");
        let server = Command::new("Xvfb")
            .args([&name, "-screen", "0", "1000x700x24", "-nolisten", "tcp", "-noreset"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb starts");
        let screen = Self { server, name };
        let start = Instant::now();
        let ready = || {
            let mut ask = Command::new("xdotool");
            ask.env("DISPLAY", &screen.name)
                .arg("getmouselocation")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            ask.status().expect("xdotool starts").success()
        };
        while !ready() {
            assert!(start.elapsed() < Duration::from_secs(20), "Xvfb does not start");
            sleep(Duration::from_millis(50));
        }
        screen
    }

    /// Runs xdotool on this display.
    fn mouse(&self, arguments: &[&str]) {
        let status = Command::new("xdotool").env("DISPLAY", &self.name).args(arguments).status();
        assert!(status.expect("xdotool starts").success());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Plays a frame with two squares on black and clicks at `place` in the window. Returns the labels
/// at pixel `[x, y]` of the frame and in its corner. `then` is inserted before the video sink.
fn click(screen: &Screen, then: &str, place: [u32; 2], [x, y]: [usize; 2]) -> [u8; 2] {
    let pixel = [y, x];
    let pipeline = pipeline(&format!(
        "compositor name=c sink_0::xpos=80 sink_0::ypos=180 sink_1::xpos=400 sink_1::ypos=160 \
         background=black \
         ! video/x-raw,format=I420,width=640,height=480,framerate=15/1 ! cnnsegment name=s ! tee \
         name=t \
         t. ! queue ! appsink name=o max-buffers=1 drop=true t. ! queue ! videoconvert {then} ! \
         ximagesink name=w display={} \
         videotestsrc pattern=blue is-live=true ! video/x-raw,width=120,height=120 ! c.sink_0 \
         videotestsrc pattern=red is-live=true ! video/x-raw,width=160,height=160 ! c.sink_1",
        screen.name
    ));
    let output = pipeline.by_name("o").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (result, _, _) = pipeline.state(gst::ClockTime::from_seconds(20));
    result.unwrap();
    // The window accepts events only after a moment.
    sleep(Duration::from_millis(700));
    let [x, y] = place.map(|v| v.to_string());
    screen.mouse(&["mousemove", &x, &y]);
    sleep(Duration::from_millis(100));
    screen.mouse(&["click", "1"]);
    let start = Instant::now();
    let found = loop {
        assert!(start.elapsed() < Duration::from_secs(20), "no region after the click");
        let Some(sample) = output.try_pull_sample(gst::ClockTime::from_seconds(5)) else {
            continue;
        };
        if let Some(mask) = sample.buffer().and_then(|buffer| RegionMask::of(buffer, (640, 480))) {
            break mask.labels((640, 480)).unwrap();
        }
    };
    pipeline.set_state(gst::State::Null).unwrap();
    [found[pixel], found[[20, 20]]]
}

#[test]
fn a_click_in_a_window_segments_the_object() {
    init();
    let missing = missing();
    if !missing.is_empty() {
        let reason = format!("not installed: {}", missing.join(", "));
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        // Unlike `println!`, this is shown for a test that passes.
        writeln!(std::io::stderr(), "skipped: {reason}").unwrap();
        return;
    }
    let screen = Screen::start();
    assert_eq!(click(&screen, "", [480, 240], [480, 240]), [1, 0]);
    // With a scaler, the window is smaller or larger than the frames that cnnsegment processes.
    let scaled =
        |size: [u32; 2]| format!("! videoscale ! video/x-raw,width={},height={}", size[0], size[1]);
    assert_eq!(click(&screen, &scaled([320, 240]), [240, 120], [480, 240]), [1, 0]);
    assert_eq!(click(&screen, &scaled([320, 240]), [70, 120], [140, 240]), [1, 0]);
    assert_eq!(click(&screen, &scaled([960, 690]), [720, 345], [480, 240]), [1, 0]);
}
