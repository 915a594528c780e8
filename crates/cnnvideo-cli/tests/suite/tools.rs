// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs `info`, `watermark` and `compare`.

use std::fs;

use serde_json::Value;

use crate::common::{Folder, decoded, launch, textured_clip, usual_clip, usual_clip_of};

/// Parses the standard output of a run.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|err| panic!("{err}: {text}"))
}

#[test]
fn info_describes_a_file() {
    let folder = Folder::new("info");
    usual_clip(&folder.file("my clip.mkv"));
    let report = json(&folder.run(&["info", "my clip.mkv", "--json"]).success());
    assert_eq!((&report["width"], &report["height"]), (&96.into(), &64.into()));
    assert_eq!(report["frame_rate"], Value::Null, "the rate varies");
    assert_eq!(report["streams"][1]["type"], "audio/x-opus");
    assert!(report["noise_sigma"]["luma"].as_f64().unwrap() >= 0.0);
    let text = folder.run(&["info", "my clip.mkv"]).success();
    assert!(text.contains("96x64, variable frame rate"), "{text}");

    // White noise of a known sigma on grey.
    let mut seed = 1u64;
    let mut sample = || {
        // The sum of four uniform numbers of 0 to 16.
        let mut uniform = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % 17
        };
        (96 + (0..4).map(|_| uniform()).sum::<u64>()) as u8
    };
    let mut stream = b"YUV4MPEG2 W320 H240 F25:1 Ip Cmono\n".to_vec();
    for _ in 0..20 {
        stream.extend_from_slice(b"FRAME\n");
        stream.extend((0..320 * 240).map(|_| sample()));
    }
    fs::write(folder.file("noise.y4m"), stream).unwrap();
    let report = json(&folder.run(&["info", "noise.y4m", "--json"]).success());
    let sigma = report["noise_sigma"]["luma"].as_f64().unwrap();
    let expected = (4.0 * (17.0 * 17.0 - 1.0) / 12.0f64).sqrt();
    assert!((sigma - expected).abs() < 1.5, "{sigma} instead of {expected}");
    let suggestion = report["suggestion"].as_str().unwrap();
    assert!(suggestion.starts_with("cnnvideo denoise noise.y4m noise-denoised.mkv"));
    // The suggestion works as it is.
    let words: Vec<_> = suggestion.split(' ').skip(1).collect();
    folder.run(&words).success();
    folder.run(&["info", "-"]).fails(2, "reads a file");
    folder.run(&["info", "none.mkv"]).fails(1, "cannot read none.mkv");
}

#[test]
fn watermarks_are_embedded_and_detected() {
    let folder = Folder::new("watermark");
    textured_clip(&folder.file("in.mkv"));
    folder.run(&["watermark", "key", "new", "key"]).success();
    let key = fs::read(folder.file("key")).unwrap();
    assert_eq!(key.len(), 32);
    let embed = ["watermark", "embed", "in.mkv", "out.mkv", "--key-file", "key"];
    let embed = [&embed[..], &["--payload", "0123456789abcdef", "--codec", "h264"]].concat();
    let run = folder.run(&embed);
    run.success();
    assert!(!run.errors().contains("warning"), "{}", run.errors());
    let found = folder.run(&["watermark", "detect", "out.mkv", "--key-file", "key", "--json"]);
    let report = json(&found.success());
    assert_eq!(report["payloads"][0]["payload"], "0123456789abcdef");
    let text = folder.run(&["watermark", "detect", "out.mkv", "--key-file", "key"]).success();
    assert!(text.contains("out.mkv: payload 0123456789abcdef"), "{text}");

    let named = [&embed[..], &["--nonce", "show 7", "--overwrite"]].concat();
    folder.run(&named).success();
    let run = folder.run(&["watermark", "detect", "out.mkv", "--key-file", "key"]);
    assert_eq!(run.0.status.code(), Some(3), "{}", run.errors());
    let detect = ["watermark", "detect", "out.mkv", "--key-file", "key", "--nonce", "show 7"];
    folder.run(&detect).success();
    folder.run(&[&embed[..], &["--overwrite"]].concat()).success();

    let both = ["watermark", "detect", "out.mkv", "in.mkv", "--key-file", "key", "--all", "--json"];
    let run = folder.run(&both);
    assert_eq!(run.0.status.code(), Some(3), "{}", run.errors());
    let text = String::from_utf8(run.0.stdout).unwrap();
    let reports: Vec<_> = text.lines().map(json).collect();
    assert_eq!((&reports[0]["found"], &reports[1]["found"]), (&true.into(), &false.into()));
    assert_eq!(reports[0]["frames"], 30);
}

#[test]
fn segments_are_marked_in_one_piece_and_in_chunks() {
    let folder = Folder::new("segments");
    usual_clip_of(&folder.file("in.mkv"), 900);
    folder.run(&["watermark", "key", "new", "key"]).success();
    fs::write(folder.file("list"), "0 0000000000000001\n480 0000000000000002\n").unwrap();
    let embed = |output: &str, options: &[&str]| {
        let files = ["watermark", "embed", "in.mkv", output, "--key-file", "key"];
        folder.run(&[&files[..], &["--codec", "ffv1"], options].concat())
    };
    let file = ["--payload-file", "list"];
    embed("whole.mkv", &file).success();
    embed("parts.mkv", &[&file[..], &["--resume"]].concat()).success();
    let whole = decoded(&folder.file("whole.mkv"));
    assert_eq!(whole.len(), 900);
    assert!(decoded(&folder.file("parts.mkv")) == whole);
    embed("one.mkv", &["--payload", "0000000000000001"]).success();
    let one = decoded(&folder.file("one.mkv"));
    assert!(one[..480] == whole[..480] && one[480..] != whole[480..]);
    // Wrong files.
    let names = folder.names();
    embed("out.mkv", &[]).fails_to_parse();
    embed("out.mkv", &[&file[..], &["--payload", "0000000000000001"]].concat()).fails_to_parse();
    embed("list", &file).fails(2, "must end in .mkv");
    fs::write(folder.file("list"), "0 0000000000000001\n480 2\n").unwrap();
    embed("out.mkv", &file).fails(1, "line 2: payload '2'");
    embed("out.mkv", &[&file[..], &["--resume"]].concat()).fails(1, "line 2: payload '2'");
    assert_eq!(folder.names(), names);
}

#[test]
fn keys_are_protected() {
    let folder = Folder::new("keys");
    usual_clip(&folder.file("in.mkv"));
    folder.run(&["watermark", "key", "new", "key"]).success();
    let key = fs::read(folder.file("key")).unwrap();
    folder.run(&["watermark", "key", "new", "key"]).fails(1, "key exists");
    folder.run(&["watermark", "key", "new", "none/key"]).fails(1, "cannot create");
    assert_eq!(fs::read(folder.file("key")).unwrap(), key);
    folder.run(&["watermark", "key", "new", "other"]).success();
    assert_ne!(fs::read(folder.file("other")).unwrap(), key);
    let embed = |output: &str, key: &str| {
        let files = ["watermark", "embed", "in.mkv", output, "--overwrite"];
        folder.run(&[&files[..], &["--payload", "0123456789abcdef", "--key-file", key]].concat())
    };
    fs::write(folder.file("zero"), [0; 32]).unwrap();
    fs::write(folder.file("short"), [1; 31]).unwrap();
    fs::File::create(folder.file("huge")).unwrap().set_len(1 << 40).unwrap();
    for (key, expected) in [
        ("none", "cannot read key file none"),
        ("zero", "are zero"),
        ("short", "not a key"),
        ("huge", "expected 32 bytes or 64 hex digits"),
        ("/dev/zero", "it is a device, not a regular file"),
        (".", "it is a directory, not a regular file"),
    ] {
        embed("out.mkv", key).fails(1, expected);
        let detect = ["watermark", "detect", "in.mkv", "--key-file", key];
        folder.run(&detect).fails(1, expected);
    }
    let run = folder.run(&[
        "watermark",
        "embed",
        "in.mkv",
        "out.mkv",
        "--key-file",
        "key",
        "--payload",
        "123",
    ]);
    assert_eq!(run.0.status.code(), Some(2));
    assert!(!folder.file("out.mkv").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let mode = |mode| {
            fs::set_permissions(folder.file("key"), fs::Permissions::from_mode(mode)).unwrap();
        };
        let created = fs::metadata(folder.file("key")).unwrap().permissions().mode();
        assert_eq!(created & 0o777, 0o600);
        mode(0o644);
        let run = embed("out.mkv", "key");
        run.success();
        assert_eq!(run.errors().matches("chmod 600").count(), 1, "{}", run.errors());
        symlink("key", folder.file("link.mkv")).unwrap();
        embed("link.mkv", "key").fails(1, "is the file that is read");
        assert_eq!(fs::read(folder.file("key")).unwrap(), key);
    }
}

/// Writes reports about `in.mkv` and `out.mkv`.
fn write_reports(folder: &Folder) {
    let compare = |test: &str, to: &str| {
        folder.run(&["compare", "in.mkv", test, "--report", to, "--progress", "none"])
    };
    fs::create_dir(folder.file("report")).unwrap();
    compare("out.mkv", "report").success();
    let read = |name: &str| fs::read(folder.file("report").join(name)).unwrap();
    let data = json(&String::from_utf8(read("frames.json")).unwrap());
    let frames = data["frames"].as_array().unwrap();
    assert_eq!((frames.len(), &data["frames"][1]["seconds"]), (24, &0.033.into()));
    assert!(frames.iter().all(|frame| frame["psnr-y"].is_f64() && frame["ssim"].is_f64()));
    // The mean square error of the report is that of its frames.
    let mean: f64 = frames.iter().map(|frame| frame["mse"].as_f64().unwrap()).sum::<f64>() / 24.0;
    assert!((mean - data["mean"]["mse"].as_f64().unwrap()).abs() < 1e-9);
    let page = String::from_utf8(read("index.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(!page.contains("http") && !page.contains("NaN"), "{page}");
    let names: Vec<_> = fs::read_dir(folder.file("report")).unwrap().collect();
    assert_eq!(names.len(), 11);
    for number in data["worst"].as_array().unwrap() {
        let number = number.as_u64().unwrap();
        for kind in ["reference", "test", "difference"] {
            let name = format!("frame-{number:06}-{kind}.png");
            assert_eq!(page.matches(&name).count(), 2, "{name}");
            let picture = image_of(&read(&name));
            assert_eq!(picture, (96, 64), "{name}");
        }
    }
    compare("out.mkv", "report").fails(1, "report is not empty");
    compare("out.mkv", "in.mkv").fails(1, "in.mkv cannot be a folder");
    compare("out.mkv", "none/report").fails(1, "none is not a folder");
    compare("out.mkv", "..").fails(1, "no name for a new folder");
    compare("none.mkv", "failed").fails(1, "cannot read none.mkv");
    folder.run(&["compare", "-", "in.mkv", "--report", "failed"]).fails(2, "give files");
    compare("in.mkv", "equal").success();
    let page = fs::read_to_string(folder.file("equal").join("index.html")).unwrap();
    assert!(page.contains("all are equal") && !page.contains("<img"), "{page}");
    assert!(!folder.names().iter().any(|name| name.starts_with('.') || name == "failed"));
}

/// Returns the width and height of a PNG file.
fn image_of(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG") && png.ends_with(b"IEND\xae\x42\x60\x82"));
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn videos_are_compared() {
    let folder = Folder::new("compare");
    usual_clip(&folder.file("in.mkv"));
    folder.run(&["denoise", "in.mkv", "out.mkv", "--crf", "40", "--codec", "h264"]).success();
    let report = json(&folder.run(&["compare", "in.mkv", "in.mkv", "--json"]).success());
    assert_eq!((&report["equal"], &report["frames"]), (&true.into(), &24.into()));
    assert_eq!((&report["mean"]["psnr"], &report["mean"]["ssim"]), (&Value::Null, &1.0.into()));
    let report = json(&folder.run(&["compare", "in.mkv", "out.mkv", "--json"]).success());
    assert_eq!((&report["equal"], &report["frames"]), (&false.into(), &24.into()));
    assert!(report["mean"]["psnr"].as_f64().unwrap() < 60.0);
    let text = folder.run(&["compare", "in.mkv", "out.mkv", "--measures", "xpsnr"]).success();
    assert!(text.contains("\nXPSNR of Y ") && text.contains(" dB, in 5% of the frames"), "{text}");
    assert!(report["mean"]["xpsnr-y"].is_null() && report["frame_offset"] == 0, "{report}");
    let low = ["p1", "p5", "p10", "p50"].map(|name| report["percentiles"][name]["ssim"].as_f64());
    assert!(low.is_sorted() && low[0].is_some() && low[3] <= Some(1.0), "{low:?}");

    write_reports(&folder);

    let other = "YUV4MPEG2 W32 H32 F25:1 Ip Cmono\nFRAME\n".to_owned() + &"x".repeat(32 * 32);
    fs::write(folder.file("other.y4m"), other).unwrap();
    folder.run(&["compare", "in.mkv", "other.y4m"]).fails(1, "sizes must be the same");
    folder.run(&["compare", "in.mkv", "none.mkv"]).fails(1, "cannot read none.mkv");
    folder.run(&["compare", "-", "-"]).fails(2, "only one of the videos");
    launch(&format!(
        "audiotestsrc num-buffers=9 ! opusenc ! matroskamux ! filesink location={}",
        folder.file("sound.mkv").display()
    ));
    folder.run(&["compare", "in.mkv", "sound.mkv"]).fails(1, "has no video stream");
}
