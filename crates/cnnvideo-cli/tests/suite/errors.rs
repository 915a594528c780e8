// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever goes wrong, the program says what to do, and leaves nothing under the final name.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::common::{Folder, Run, launch, packets, usual_clip};

#[test]
fn wrong_inputs_are_refused() {
    let folder = Folder::new("inputs");
    let clip = folder.file("clip.mkv");
    usual_clip(&clip);
    let content = fs::read(&clip).unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.file(name), content).unwrap();
    write("cut.mkv", &content[..content.len() / 2]);
    write("empty.mkv", b"");
    write("text.mkv", &[b't'; 4000]);
    write("noise.mkv", &[&content[..200], &[7; 4000][..]].concat());
    let at = |name: &str| folder.file(name).display().to_string();
    launch(&format!(
        "audiotestsrc num-buffers=9 ! opusenc ! matroskamux ! filesink location={}",
        at("sound.mkv")
    ));
    launch(&format!(
        "videotestsrc num-buffers=9 ! video/x-raw,width=64,height=48,format=I420 ! x264enc ! \
         mp4mux ! filesink location={}",
        at("whole.mp4")
    ));
    let whole = fs::read(folder.file("whole.mp4")).unwrap();
    write("cut.mp4", &whole[..whole.len() - 9]);
    write("header.y4m", b"YUV4MPEG2 W64 H48 F25:1 Ip C420\n");
    write("frame.y4m", b"YUV4MPEG2 W64 H48 F25:1 Ip C420\nFRAME\n1234");
    write("huge.y4m", b"YUV4MPEG2 W99999999 H99999999 F25:1 Ip C420\n");
    let names = folder.names();
    for (input, expected) in [
        ("none.mkv", "cannot read none.mkv"),
        (".", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("empty.mkv", "has 0 bytes"),
        ("text.mkv", "text.mkv"),
        ("noise.mkv", "noise.mkv"),
        ("cut.mkv", "truncated"),
        ("cut.mp4", "truncated"),
        ("sound.mkv", "has no video stream"),
        ("header.y4m", "has no video frame"),
        ("frame.y4m", "truncated"),
        ("huge.y4m", "\"W99999999\""),
    ] {
        folder.run(&["denoise", input, "out.mkv"]).fails(1, expected);
        assert_eq!(folder.names(), names, "{input}");
    }
}

#[test]
fn filters_of_8_bits_tell_what_to_do_with_10_bits() {
    let folder = Folder::new("ten");
    let clip = folder.file("in.mkv");
    launch(&format!(
        "videotestsrc num-buffers=9 ! video/x-raw,format=I420_10LE,width=64,height=48 ! \
         avenc_ffv1 ! matroskamux ! filesink location={}",
        clip.display()
    ));
    let filter = ["--filter", "cnndenoise ! edgetv"];
    let advice = "edgetv does not take raw video of 10 bits: add --depth 8";
    for start in [
        &["denoise", "in.mkv", "out.mkv"][..],
        &["denoise", "in.mkv", "out.y4m"],
        &["denoise", "in.mkv", "out.mkv", "--resume"],
        &["plan", "in.mkv", "--out", "plan.json"],
    ] {
        folder.run(&[start, &filter].concat()).fails(1, advice);
        assert_eq!(folder.names(), ["in.mkv"]);
    }
    let converted = ["denoise", "in.mkv", "out.mkv", "--codec", "h264", "--depth", "8"];
    folder.run(&[&converted[..], &filter].concat()).success();
    assert_eq!(packets(&folder.file("out.mkv"))["video_0"].len(), 9);
}

#[test]
fn outputs_are_protected() {
    let folder = Folder::new("outputs");
    usual_clip(&folder.file("in.mkv"));
    let before = fs::read(folder.file("in.mkv")).unwrap();
    fs::hard_link(folder.file("in.mkv"), folder.file("hard.mkv")).unwrap();
    fs::write(folder.file("old.mkv"), "old").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("in.mkv", folder.file("link.mkv")).unwrap();
    let names = folder.names();
    for (output, status, expected) in [
        ("in.mkv", 1, "is the file that is read"),
        ("./in.mkv", 1, "is the file that is read"),
        ("hard.mkv", 1, "is the file that is read"),
        ("link.mkv", 1, "is the file that is read"),
        ("none/out.mkv", 1, "create it first"),
        ("out.avi", 2, "must end in .mkv"),
        ("out", 2, "must end in .mkv"),
    ] {
        let run = folder.run(&["denoise", "in.mkv", output, "--overwrite"]);
        run.fails(status, expected);
    }
    folder.run(&["denoise", "in.mkv", "old.mkv"]).fails(1, "add --overwrite");
    // An output that fails leaves the old one.
    let model = ["denoise", "in.mkv", "old.mkv", "--overwrite", "--set", "model-file=none"];
    folder.run(&model).fails(1, "model file none");
    assert_eq!(fs::read(folder.file("old.mkv")).unwrap(), b"old");
    assert_eq!(folder.names(), names);
    folder.run(&["denoise", "in.mkv", "old.mkv", "--overwrite"]).success();
    assert_eq!(fs::read(folder.file("in.mkv")).unwrap(), before);
    assert_eq!(folder.names(), names);
}

#[cfg(target_os = "linux")]
#[test]
fn full_disks_are_reported() {
    let folder = Folder::new("full");
    usual_clip(&folder.file("in.mkv"));
    std::os::unix::fs::symlink("/dev/full", folder.file("full.mkv")).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.file("full.y4m")).unwrap();
    let location = folder.file("cfr.mkv");
    launch(&format!(
        "videotestsrc num-buffers=30 ! video/x-raw,width=64,height=48,framerate=25/1,format=I420 ! \
         x264enc ! matroskamux ! filesink location={}",
        location.display()
    ));
    let names = folder.names();
    folder.run(&["denoise", "in.mkv", "full.mkv"]).fails(1, "disk is full");
    folder.run(&["denoise", "cfr.mkv", "full.y4m"]).fails(1, "disk is full");
    // A limit of the process, which other errors stand for.
    let program = env!("CARGO_BIN_EXE_cnnvideo");
    let limit = "trap '' XFSZ; ulimit -f 2; exec \"$@\"";
    for output in ["out.mkv", "out.mp4", "out.y4m"] {
        let mut command = Command::new("sh");
        command.args(["-c", limit, "sh", program, "denoise", "cfr.mkv", output]);
        let run = Run(command.current_dir(location.parent().unwrap()).output().unwrap());
        run.fails(1, "");
        assert_eq!(folder.names(), names, "{output}");
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let run = folder.command(&["denoise", "cfr.mkv", "-"]).stdout(full).output().unwrap();
    Run(run).fails(1, "cannot write the standard output");
}

/// Writes a stream that takes long.
#[cfg(unix)]
fn write_long_stream(folder: &Folder) {
    let frame = [&b"FRAME\n"[..], &[90; 640 * 360 * 3 / 2]].concat();
    let header = &b"YUV4MPEG2 W640 H360 F25:1 Ip C420\n"[..];
    fs::write(folder.file("long.y4m"), [header, &frame.repeat(200)].concat()).unwrap();
}

/// Starts the program on a long stream, and waits until it writes.
#[cfg(unix)]
fn started(folder: &Folder) -> Child {
    let child = folder
        .command(&["denoise", "long.y4m", "out.mkv", "--set", "quality=best"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The temporary file shows that the work has begun.
    let temporary = folder.file(&format!(".cnnvideo-{}-out.mkv", child.id()));
    for _ in 0..600 {
        if temporary.exists() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    assert!(temporary.exists(), "the work does not begin");
    child
}

/// Sends a signal to the program, and returns how it has ended.
#[cfg(unix)]
fn stop(mut child: Child, signal: &str) -> std::process::ExitStatus {
    let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    child.wait().unwrap()
}

#[cfg(unix)]
#[test]
fn signals_leave_no_output() {
    use std::os::unix::process::ExitStatusExt;
    let folder = Folder::new("signals");
    write_long_stream(&folder);
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        assert_eq!(stop(started(&folder), signal).signal(), Some(number));
        assert_eq!(folder.names(), ["long.y4m"], "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn what_a_killed_process_leaves_is_removed_by_the_next_one() {
    let folder = Folder::new("killed");
    write_long_stream(&folder);
    stop(started(&folder), "KILL");
    let names = folder.names();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with(".cnnvideo-") && names[0].ends_with("-out.mkv"), "{names:?}");
    usual_clip(&folder.file("in.mkv"));
    // Another name has nothing to do with it.
    folder.run(&["denoise", "in.mkv", "b.mkv"]).success();
    assert!(folder.names().contains(&names[0]));
    let living = started(&folder);
    let expected = format!(".cnnvideo-{}-out.mkv", living.id());
    assert_eq!(folder.names()[0], expected);
    assert!(!folder.names().contains(&names[0]));
    // A process that lives keeps its file.
    folder.run(&["denoise", "in.mkv", "out.mkv"]).success();
    assert!(folder.names().contains(&expected));
    stop(living, "TERM");
    assert_eq!(folder.names(), ["b.mkv", "in.mkv", "long.y4m", "out.mkv"]);
}

#[test]
fn damage_is_an_error_unless_it_is_ignored() {
    let folder = Folder::new("damage");
    let location = folder.file("in.webm");
    launch(&format!(
        "videotestsrc num-buffers=20 ! video/x-raw,width=96,height=64,framerate=25/1,format=I420 ! \
         vp9enc ! webmmux ! filesink location={}",
        location.display()
    ));
    let mut content = fs::read(&location).unwrap();
    let middle = content.len() / 4;
    content[middle..][..400].fill(0x55);
    fs::write(&location, content).unwrap();
    folder.run(&["denoise", "in.webm", "out.mkv"]).fails(1, "--ignore-damage");
    assert_eq!(folder.names(), ["in.webm"]);
    let run = folder.run(&["denoise", "in.webm", "out.mkv", "--ignore-damage"]);
    run.success();
    assert!(run.errors().contains("frames are damaged"), "{}", run.errors());
}

#[cfg(unix)]
#[test]
fn missing_codecs_are_named_with_their_packages() {
    let folder = Folder::new("codecs");
    usual_clip(&folder.file("in.mkv"));
    let frame = [&b"FRAME\n"[..], &[90; 96 * 64 * 3 / 2]].concat();
    let header = &b"YUV4MPEG2 W96 H64 F25:1 Ip C420\n"[..];
    fs::write(folder.file("in.y4m"), [header, &frame, &frame].concat()).unwrap();
    // All installed plugins but some.
    let plugins = folder.file("plugins");
    fs::create_dir(&plugins).unwrap();
    for plugin in gst::Registry::get().plugins() {
        let Some(path) = plugin.filename() else { continue };
        let name = path.file_name().unwrap().to_str().unwrap();
        let codecs = ["libav", "x264", "openh264", "va", "v4l2", "nvcodec", "omx"];
        if !codecs.iter().any(|codec| name.contains(codec)) {
            std::os::unix::fs::symlink(&path, plugins.join(name)).unwrap();
        }
    }
    let run = |arguments: &[&str]| {
        let mut command = folder.command(arguments);
        command
            .env("GST_PLUGIN_SYSTEM_PATH_1_0", &plugins)
            .env("GST_REGISTRY", folder.file("registry"))
            .env_remove("GST_PLUGIN_PATH");
        Run(command.output().unwrap())
    };
    run(&["denoise", "in.mkv", "out.mkv"]).fails(1, "gstreamer1.0-libav");
    let h264 = ["denoise", "in.y4m", "out.mkv", "--codec", "h264"];
    run(&h264).fails(1, "no encoder for h264 is installed: install the package");
    assert!(!folder.file("out.mkv").exists());
    // Without a wish, the next codec is taken.
    let report = run(&["denoise", "in.y4m", "out.mkv", "--json"]).success();
    assert!(!report.contains("h264") && report.contains("\"frames\":2"), "{report}");
}

#[test]
fn manual_pages_and_completions_name_the_commands() {
    let folder = Folder::new("manual");
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.run(&["completions", shell]).success();
        assert!(script.contains("denoise") && script.contains("resume"), "{shell}");
    }
    folder.run(&["manual", "man"]).success();
    let page = fs::read_to_string(folder.file("man/cnnvideo-denoise.1")).unwrap();
    assert!(page.contains("resume"), "{page}");
    assert!(folder.file("man/cnnvideo.1").exists());
}

#[test]
fn usage_errors_have_their_status() {
    let folder = Folder::new("usage");
    for arguments in [
        &["denoise"][..],
        &["denoise", "a.mkv"],
        &["denoise", "a.mkv", "b.mkv", "--depth", "9"],
        &["denoise", "a.mkv", "b.mkv", "--codec", "mjpeg"],
        &["denoise", "a.mkv", "b.mkv", "--set", "strength=1", "--filter", "identity"],
        &["denoise", "a.mkv", "b.mkv", "--threads", "0"],
        &["denoise", "a.mkv", "b.mkv", "--crf", "60", "--codec", "h264"],
        &["denoise", "a.mkv", "b.y4m", "--crf", "6"],
        &["denoise", "a.mkv", "-", "--json"],
        &["sharpen", "a.mkv", "b.mkv"],
        &["completions", "csh"],
        &["plan", "a.mkv"],
        &["plan", "a.mkv", "--out", "p.json", "--chunk-frames", "7"],
        &["plan", "a.mkv", "--out", "p.json", "--container", "y4m"],
        &["chunk", "p.json", "-1"],
    ] {
        let run = folder.run(arguments);
        assert_eq!(run.0.status.code(), Some(2), "{arguments:?}: {}", run.errors());
    }
    assert!(folder.run(&["--help"]).success().contains("denoise"));
    assert!(Path::new(env!("CARGO_BIN_EXE_cnnvideo")).exists());
}
