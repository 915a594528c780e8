// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the built `libgstcnnvideo.so` with GStreamer's own tools and a separate registry.

use crate::common::{Temporary, tool};

/// Runs a command. Returns whether it succeeded, and its output.
fn run(command: &mut std::process::Command) -> (bool, String) {
    let output = command.output().expect("GStreamer's tools are not installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn gst_inspect_shows_plugin_and_elements() {
    let registry = Temporary::new("inspect.registry");
    let (ok, text) = run(tool("gst-inspect-1.0", &registry).arg("cnnvideo"));
    assert!(ok && text.contains("cnndenoise"), "{text}");
    let model = ["quality", "model-file", "device", "precision", "threads", "stats"];
    let both = ["strength", "temporal", "foreground-strength", "background-strength"];
    let own: [(&str, &[&str]); 2] = [
        ("cnndenoise", &["noise-level", "estimated-noise-level"]),
        ("cnnsmooth", &["scale", "structure"]),
    ];
    for (element, own) in own {
        let (ok, text) = run(tool("gst-inspect-1.0", &registry).arg(element));
        assert!(ok && text.contains("Filter/Effect/Video"), "{text}");
        for property in model.iter().chain(&both).chain(own) {
            assert!(
                text.lines().any(|l| l.trim_start().starts_with(property)),
                "property {property} is missing:\n{text}"
            );
        }
    }
    let (_, blacklist) = run(tool("gst-inspect-1.0", &registry).arg("-b"));
    assert!(!blacklist.contains("cnnvideo"), "{blacklist}");
}

#[test]
fn gst_launch_runs_without_leaks() {
    let registry = Temporary::new("launch.registry");
    for format in ["I420", "RGB", "NV12", "GRAY8", "Y42B", "BGRA"] {
        let pipeline = format!(
            "videotestsrc num-buffers=10 ! video/x-raw,format={format},width=65,height=47 ! \
             cnndenoise ! cnnsmooth ! videoconvert ! fakesink"
        );
        let mut command = tool("gst-launch-1.0", &registry);
        command
            .env("GST_TRACERS", "leaks")
            .env("GST_DEBUG", "leaks:7,GST_TRACER:7")
            .args(pipeline.split(' '));
        let (ok, text) = run(&mut command);
        assert!(ok, "{format}: {text}");
        assert!(text.contains("No objects alive currently"), "{format}: {text}");
    }
}

#[test]
fn kernel_sets_can_be_forced() {
    let registry = Temporary::new("kernels.registry");
    let description = "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48 ! \
             cnndenoise ! fakesink";
    let mut command = tool("gst-launch-1.0", &registry);
    command
        .env("CNNVIDEO_KERNELS", "portable")
        .env("GST_DEBUG", "cnndenoise:4")
        .args(description.split(' '));
    let (ok, text) = run(&mut command);
    assert!(ok && text.contains("/portable"), "{text}");
}
