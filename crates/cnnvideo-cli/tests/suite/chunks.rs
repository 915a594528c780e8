// SPDX-License-Identifier: MIT OR Apache-2.0

//! A video in chunks becomes the same as in one piece.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

use crate::common::{self, Folder, decoded, packets, times, vfr_clip};

/// Writes a clip of variable frame rate with sound and B frames.
fn clip(folder: &Folder, frames: u64) {
    let location = folder.file("in.mkv");
    let tail = format!(
        "x264enc bframes=2 key-int-max=20 ! matroskamux name=m ! filesink location=\"{}\"",
        location.display()
    );
    vfr_clip("video/x-raw,format=I420,width=96,height=64,framerate=0/1", frames, &tail);
}

/// Makes a plan with options and returns its content.
fn plan(folder: &Folder, options: &[&str]) -> Value {
    let arguments = [&["plan", "in.mkv", "--out", "plan.json", "--codec", "ffv1"], options];
    folder.run(&arguments.concat()).success();
    let text = fs::read_to_string(folder.file("plan.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["plan"].take()
}

/// Makes all chunks of a plan, the last one first.
fn make_chunks(folder: &Folder, plan: &Value) {
    for number in (0..plan["chunks"].as_array().unwrap().len()).rev() {
        folder.run(&["chunk", "plan.json", &number.to_string(), "--threads", "1"]).success();
    }
}

#[test]
fn times_sound_and_pictures_are_kept() {
    let folder = Folder::new("chunks-kept");
    clip(&folder, 75);
    let plan = plan(&folder, &["--chunk-frames", "20", "--filter", "identity"]);
    let chunks = plan["chunks"].as_array().unwrap();
    assert_eq!(chunks.len(), 4, "{plan}");
    assert_eq!(plan["frames"], 75);
    make_chunks(&folder, &plan);
    let (before, pictures) = (packets(&folder.file("in.mkv")), decoded(&folder.file("in.mkv")));
    for output in ["out.mkv", "again.mkv"] {
        folder.run(&["join", "plan.json", output]).success();
        let after = packets(&folder.file(output));
        assert_eq!(times(&after["video_0"]), times(&before["video_0"]));
        assert_eq!(after["audio_0"], before["audio_0"]);
        assert_eq!(decoded(&folder.file(output)), pictures);
    }
    folder.run(&["join", "plan.json", "out.mkv"]).fails(1, "add --overwrite");
    folder.run(&["join", "plan.json", "out.mp4"]).fails(2, "cannot hold ffv1");
    folder.run(&["join", "plan.json", "-"]).fails(2, "writes a file");
}

#[test]
fn codecs_with_reordered_frames_are_joined() {
    let folder = Folder::new("chunks-codecs");
    clip(&folder, 60);
    let before = packets(&folder.file("in.mkv"));
    let presented = |packets: &[common::Packet]| -> Vec<_> {
        times(packets).into_iter().map(|(pts, _)| pts).collect()
    };
    for (codec, output) in [("h264", "a.mp4"), ("h265", "b.mkv"), ("vp9", "c.webm")] {
        let container = output.split('.').next_back().unwrap();
        let options = ["--chunk-frames", "20", "--filter", "identity", "--codec", codec];
        let arguments =
            ["plan", "in.mkv", "--out", "plan.json", "--overwrite", "--container", container];
        folder.run(&[&arguments[..], &options].concat()).success();
        for number in ["0", "1", "2"] {
            folder.run(&["chunk", "plan.json", number]).success();
        }
        folder.run(&["join", "plan.json", output]).success();
        let after = packets(&folder.file(output));
        assert_eq!(presented(&after["video_0"]), presented(&before["video_0"]), "{codec}");
        assert_eq!(decoded(&folder.file(output)).len(), 60, "{codec}");
    }
}

#[test]
fn chunks_that_begin_at_cuts_are_those_of_an_undivided_run() {
    let folder = Folder::new("chunks-cuts");
    let location = folder.file("in.mkv");
    // Scenes with noise of their own.
    common::noisy_scenes(&location, 24, 3);
    let undivided = plan(&folder, &["--chunk-frames", "1000"]);
    assert_eq!(undivided["chunks"].as_array().unwrap().len(), 1);
    let shots: Vec<_> = undivided["shots"].as_array().unwrap().iter().collect();
    assert_eq!(shots.len(), 3, "{undivided}");
    make_chunks(&folder, &undivided);
    folder.run(&["join", "plan.json", "whole.mkv"]).success();
    let divided = plan(&folder, &["--chunk-frames", "20", "--overwrite"]);
    let firsts: Vec<_> = divided["chunks"].as_array().unwrap().iter().collect();
    assert_eq!(firsts.iter().map(|c| &c["first_frame"]).collect::<Vec<_>>(), [0, 24, 48]);
    assert!(firsts.iter().all(|chunk| chunk["warm_up"] == 0));
    make_chunks(&folder, &divided);
    folder.run(&["join", "plan.json", "parts.mkv"]).success();
    assert_eq!(decoded(&folder.file("parts.mkv")), decoded(&folder.file("whole.mkv")));
}

#[test]
fn chunks_at_forced_borders_are_close_to_an_undivided_run() {
    let folder = Folder::new("chunks-forced");
    common::noisy_scenes(&folder.file("in.mkv"), 96, 2);
    let divided = plan(&folder, &["--chunk-frames", "48", "--warm-up", "30"]);
    assert_eq!(divided["shots"], serde_json::json!([0, 96]), "{divided}");
    let extra: Vec<_> = divided["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chunk| ["first_frame", "warm_up", "future"].map(|name| chunk[name].as_u64().unwrap()))
        .collect();
    // A warm-up begins a multiple of 12 frames behind the cut. Nothing passes a cut.
    assert_eq!(extra, [[0, 0, 8], [48, 36, 0], [96, 0, 8], [144, 36, 0]]);
    make_chunks(&folder, &divided);
    folder.run(&["join", "plan.json", "parts.mkv"]).success();
    let undivided = plan(&folder, &["--chunk-frames", "1000", "--overwrite"]);
    make_chunks(&folder, &undivided);
    folder.run(&["join", "plan.json", "whole.mkv"]).success();
    let run = ["compare", "whole.mkv", "parts.mkv", "--json", "--report", "report"];
    folder.run(&run).success();
    let report = fs::read_to_string(folder.file("report/frames.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let frames = report["frames"].as_array().unwrap();
    let psnr: Vec<_> = frames.iter().map(|frame| frame["psnr-y"].as_f64()).collect();
    assert_eq!(psnr.len(), 192);
    for (number, psnr) in psnr.into_iter().enumerate() {
        // Frames up to a forced border are equal, and the PSNR of equal frames is null.
        let least = if number % 96 < 48 { f64::INFINITY } else { 42.0 };
        assert!(psnr.is_none_or(|psnr| psnr >= least), "frame {number}: {psnr:?}");
    }
}

#[test]
fn watermarks_do_not_depend_on_the_division() {
    let folder = Folder::new("chunks-watermark");
    clip(&folder, 70);
    folder.run(&["watermark", "key", "new", "key"]).success();
    let key = folder.file("key");
    let filter = format!("watermarkembed key-file=\"{}\" payload=00000000c0ffee42", key.display());
    let plan = plan(&folder, &["--chunk-frames", "20", "--filter", &filter]);
    assert!(plan["chunks"].as_array().unwrap().iter().all(|chunk| chunk["warm_up"] == 0));
    make_chunks(&folder, &plan);
    folder.run(&["join", "plan.json", "parts.mkv"]).success();
    folder
        .run(&["denoise", "in.mkv", "whole.mkv", "--codec", "ffv1", "--filter", &filter])
        .success();
    assert_eq!(decoded(&folder.file("parts.mkv")), decoded(&folder.file("whole.mkv")));
    assert_ne!(decoded(&folder.file("parts.mkv")), decoded(&folder.file("in.mkv")));
}

#[test]
fn finished_chunks_are_kept_and_faulty_ones_named() {
    let folder = Folder::new("chunks-faults");
    clip(&folder, 40);
    let options = ["--chunk-frames", "16", "--filter", "identity"];
    plan(&folder, &options);
    folder
        .run(&["join", "plan.json", "out.mkv"])
        .fails(1, "chunk 0 is missing: run cnnvideo chunk");
    let json = |number: &str| -> Value {
        let arguments = ["chunk", "plan.json", number, "--json", "--progress", "json"];
        let text = folder.run(&arguments).success();
        serde_json::from_str(text.lines().next_back().unwrap()).unwrap()
    };
    let first = json("0");
    assert_eq!((&first["was_finished"], &first["chunk"]), (&false.into(), &0.into()));
    assert_eq!(json("0")["was_finished"], true);
    folder.run(&["join", "plan.json", "out.mkv"]).fails(1, "chunk 1 is missing");
    json("1");
    // Damage.
    let file = folder.file("plan-chunk-00000.mkv");
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&file, content).unwrap();
    folder.run(&["join", "plan.json", "out.mkv"]).fails(1, "chunk 0 is damaged: run");
    assert_eq!(json("0")["was_finished"], false);
    // Another plan.
    let plan_text = fs::read(folder.file("plan.json")).unwrap();
    plan(&folder, &["--chunk-frames", "16", "--filter", "identity silent=false", "--overwrite"]);
    folder.run(&["join", "plan.json", "out.mkv"]).fails(1, "chunk 0 is of another plan");
    fs::write(folder.file("plan.json"), plan_text).unwrap();
    folder.run(&["chunk", "plan.json", "2"]).fails(1, "has the chunks 0 to 1");
    folder.run(&["chunk", "in.mkv", "0"]).fails(1, "is not a plan");
    folder.run(&["chunk", "none.json", "0"]).fails(1, "cannot read none.json");
    folder.run(&["chunk", "plan.json", "1", "--out-dir", "none"]).fails(1, "create it first");
    folder.run(&["plan", "in.mkv", "--out", "plan.json"]).fails(1, "add --overwrite");
    folder.run(&["plan", "in.mkv", "--out", "in.mkv", "--overwrite"]).fails(1, "file that is read");
    // Another input.
    clip(&folder, 41);
    folder.run(&["join", "plan.json", "out.mkv"]).fails(1, "is not the file that the plan");
    assert!(!folder.file("out.mkv").exists());
    assert!(!folder.names().iter().any(|name| name.starts_with('.')), "{:?}", folder.names());
}

#[test]
fn inputs_come_from_servers() {
    let folder = Folder::new("chunks-url");
    clip(&folder, 40);
    let url = common::server::serve(&folder.file("in.mkv"));
    let options = ["--chunk-frames", "16", "--filter", "identity", "--codec", "ffv1"];
    folder.run(&[&["plan", &url, "--out", "plan.json"], &options[..]].concat()).success();
    for number in ["1", "0"] {
        folder.run(&["chunk", "plan.json", number]).success();
    }
    folder.run(&["join", "plan.json", "out.mkv"]).success();
    assert_eq!(decoded(&folder.file("out.mkv")), decoded(&folder.file("in.mkv")));
    let (before, after) = (packets(&folder.file("in.mkv")), packets(&folder.file("out.mkv")));
    assert_eq!(after["audio_0"], before["audio_0"]);
    let run = folder.run(&["plan", "http://127.0.0.1:1/x.mkv", "--out", "p.json"]);
    run.fails(1, "http://127.0.0.1:1/x.mkv");
}

#[test]
fn y4m_files_are_divided() {
    let folder = Folder::new("chunks-y4m");
    let mut content = b"YUV4MPEG2 W64 H48 F30000:1001 Ip A1:1 C420\n".to_vec();
    for frame in 0..45 {
        // Lines of several lengths.
        let line = if frame % 3 == 0 { &b"FRAME XQ=7\n"[..] } else { b"FRAME\n" };
        content.extend_from_slice(line);
        content.extend((0..64 * 48 * 3 / 2).map(|i| (frame * 5 + i % 89) as u8));
    }
    fs::write(folder.file("in.y4m"), &content).unwrap();
    let options = ["--codec", "ffv1", "--filter", "identity"];
    let arguments = ["plan", "in.y4m", "--out", "plan.json", "--chunk-frames", "16"];
    folder.run(&[&arguments[..], &options].concat()).success();
    for number in ["2", "0", "1"] {
        folder.run(&["chunk", "plan.json", number]).success();
    }
    folder.run(&["join", "plan.json", "parts.mkv"]).success();
    folder.run(&[&["denoise", "in.y4m", "whole.mkv"], &options[..]].concat()).success();
    let (parts, whole) = (decoded(&folder.file("parts.mkv")), decoded(&folder.file("whole.mkv")));
    assert_eq!((parts.len(), &parts), (45, &whole));
    let resumed = ["denoise", "in.y4m", "resumed.mkv", "--resume"];
    folder.run(&[&resumed[..], &options].concat()).success();
    assert_eq!(decoded(&folder.file("resumed.mkv")), whole);
    folder.run(&["plan", "-", "--out", "p.json"]).fails(1, "write it to a .y4m file first");
    fs::write(folder.file("cut.y4m"), &content[..content.len() - 1]).unwrap();
    folder.run(&["plan", "cut.y4m", "--out", "p.json"]).fails(1, "ends within frame 44");
}

#[test]
fn damage_is_left_out_of_all_chunks() {
    let folder = Folder::new("chunks-damage");
    let location = folder.file("in.webm");
    common::launch(&format!(
        "videotestsrc num-buffers=60 ! video/x-raw,width=96,height=64,framerate=25/1,format=I420 ! \
         vp9enc keyframe-max-dist=15 ! webmmux ! filesink location={}",
        location.display()
    ));
    let mut content = fs::read(&location).unwrap();
    let middle = content.len() / 2;
    content[middle..][..400].fill(0x55);
    fs::write(&location, content).unwrap();
    let plan = ["plan", "in.webm", "--out", "plan.json", "--chunk-frames", "16"];
    let options = ["--codec", "ffv1", "--filter", "identity"];
    let arguments = [&plan[..], &options].concat();
    folder.run(&arguments).fails(1, "--ignore-damage");
    assert_eq!(folder.names(), ["in.webm"]);
    let run = folder.run(&[&arguments[..], &["--ignore-damage", "--json"]].concat());
    let report: Value = serde_json::from_str(&run.success()).unwrap();
    assert!(run.errors().contains("are damaged"), "{}", run.errors());
    for number in 0..report["chunks"].as_u64().unwrap() {
        folder.run(&["chunk", "plan.json", &number.to_string()]).success();
    }
    folder.run(&["join", "plan.json", "parts.mkv"]).success();
    let whole = ["denoise", "in.webm", "whole.mkv", "--ignore-damage"];
    folder.run(&[&whole[..], &options].concat()).success();
    let (parts, whole) = (decoded(&folder.file("parts.mkv")), decoded(&folder.file("whole.mkv")));
    assert_eq!(report["frames"], parts.len());
    assert!(parts.len() > 30 && parts.len() < 60, "{}", parts.len());
    assert_eq!(parts, whole);
}

#[cfg(unix)]
#[test]
fn killed_runs_are_resumed() {
    let folder = Folder::new("chunks-resume");
    // More than one chunk.
    clip(&folder, 900);
    let arguments = ["denoise", "in.mkv", "out.mkv", "--codec", "ffv1", "--resume", "--json"];
    let work = folder.file(".out.mkv.cnnvideo-resume");
    let mut child =
        folder.command(&arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let first = work.join("plan-chunk-00000.json");
    for _ in 0..2400 {
        if first.exists() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    assert!(first.exists(), "no chunk is finished");
    let kill = Command::new("kill").args(["-s", "KILL", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    child.wait().unwrap();
    assert!(!folder.file("out.mkv").exists());
    let time = fs::metadata(&first).unwrap().modified().unwrap();
    let other = ["denoise", "in.mkv", "out.mkv", "--codec", "h264", "--resume"];
    folder.run(&other).fails(1, "belong to another input or other options");
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), time);

    let report: Value = serde_json::from_str(&folder.run(&arguments).success()).unwrap();
    assert_eq!(report["frames"], 900);
    assert_eq!(folder.names(), ["in.mkv", "out.mkv"]);
    let (before, after) = (packets(&folder.file("in.mkv")), packets(&folder.file("out.mkv")));
    assert_eq!(times(&after["video_0"]), times(&before["video_0"]));
    assert_eq!(after["audio_0"], before["audio_0"]);
    folder.run(&["denoise", "out.mkv.none", "b.mkv", "--resume"]).fails(1, "cannot read");
    assert_eq!(folder.names(), ["in.mkv", "out.mkv"]);
    folder.run(&["denoise", "in.mkv", "-", "--resume"]).fails(2, "--resume needs files");
    folder.run(&["denoise", "in.mkv", "o.y4m", "--resume"]).fails(2, "needs a container");
}
