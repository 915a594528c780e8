// SPDX-License-Identifier: MIT OR Apache-2.0

//! A studio on a free port, and plain clients for it.

#![allow(unreachable_pub)]

pub mod http;
pub mod socket;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use cnnvideo_studio::{Options, Studio};
use gst::prelude::*;

/// A running studio whose folder `files` is removed at the end.
pub struct Running {
    pub address: SocketAddr,
    pub token: String,
    pub url_for_browser: String,
    pub folder: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        init();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("studio-test-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("files")).unwrap();
        let mut options = Options::new("127.0.0.1:0".parse().unwrap());
        options.folders = vec![folder.join("files")];
        options.presets = Some(folder.join("presets"));
        change(&mut options);
        let studio = Studio::bind(options).unwrap();
        let (url, url_for_browser) = (studio.url(), studio.url_for_browser());
        let (host, token) = url.strip_prefix("http://").unwrap().split_once("/#").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || studio.serve(|| stopped.load(Ordering::Relaxed)).unwrap();
        Self {
            address: host.parse().unwrap(),
            token: token.to_owned(),
            url_for_browser,
            folder,
            stop,
            thread: Mutex::new(Some(std::thread::spawn(serve))),
        }
    }

    /// Returns the path of a file in the allowed folder.
    pub fn file(&self, name: &str) -> String {
        self.folder.join("files").join(name).to_str().unwrap().to_owned()
    }
}

impl Running {
    /// Ends the server and keeps its folder.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap().take();
        if let Some(thread) = thread {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstcnnvideo::plugin_register_static().unwrap();
    });
}

/// Time after which a test gives up: only a bound against hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Writes a lossless clip of noise over a moving ball.
pub fn make_clip(path: &Path, frames: u32) {
    let text = format!(
        "videotestsrc num-buffers={frames} pattern=ball ! \
         video/x-raw,format=I420,width=192,height=128,framerate=25/1 ! \
         jpegenc quality=60 ! matroskamux ! filesink name=sink"
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("sink").unwrap().set_property("location", path.to_str().unwrap());
    run(&pipeline);
}

/// Runs a pipeline to its end.
pub fn run(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let timeout = gst::ClockTime::from_seconds(PATIENCE.as_secs());
    let message = pipeline.bus().unwrap().timed_pop_filtered(timeout, &kinds).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}
