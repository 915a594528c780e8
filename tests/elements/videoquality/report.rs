// SPDX-License-Identifier: MIT OR Apache-2.0

//! Statistics, additional measures, the log file and the alignment check.

use std::{fs, path::Path};

use cnnvideo::quality::Pooled;
use gst::prelude::*;

use super::{CAPS, Meter, run, source};
use crate::common::{Temporary, init, tool, video::buffer};

/// Returns a frame of texture that moves with `number`, lifted by `error`.
fn moving(number: u64, error: u8) -> Vec<u8> {
    let (step, base) = (3 * number as usize, 60 + usize::from(error));
    let pixel = |i: usize| (base + (i % 64 + step) * 5 % 97 + (i / 64 * 3) % 20) as u8;
    (0..64 * 48).map(pixel).collect()
}

/// Pushes frames whose error `errors` lists.
fn push(meter: &mut Meter, errors: &[u8]) {
    for (number, error) in (0..).zip(errors) {
        meter.reference.push(buffer(moving(number, 0), number)).unwrap();
        meter.test.push(buffer(moving(number, *error), number)).unwrap();
    }
}

fn pooled<'a>(statistics: &'a [Pooled], name: &str) -> &'a Pooled {
    statistics.iter().find(|pooled| pooled.name == name).unwrap()
}

#[test]
fn the_summary_has_percentiles_and_the_worst_frames() {
    let mut meter = Meter::new("test", &Meter::caps());
    let mut errors = [2; 40];
    (errors[7], errors[30]) = (20, 40);
    push(&mut meter, &errors);
    let (messages, _) = meter.end();
    let [first, summary] = &messages[..] else { panic!("{messages:?}") };
    assert!(first.statistics.is_empty() && first.frame_offset.is_none());
    assert_eq!(summary.frame_offset, Some(0));
    let psnr = pooled(&summary.statistics, "psnr");
    let worst: Vec<_> = psnr.worst.iter().map(|frame| (frame.number, frame.running_time)).collect();
    let expected = [30, 7, 0, 1, 2].map(|number| (number, Some(40_000_000 * number)));
    assert_eq!(worst, expected);
    let of_error = |error: f64| 20.0 * (255.0 / error).log10();
    let [p1, p5, p10, p50] = psnr.percentiles;
    for (found, error) in [(p1, 40.0), (p5, 20.0), (p10, 2.0), (p50, 2.0)] {
        assert!((found - of_error(error)).abs() < 1e-4, "{found}, error {error}");
    }
    let inverse: f64 = errors.iter().map(|error| 1.0 / (1.0 + of_error(f64::from(*error)))).sum();
    let expected = errors.len() as f64 / inverse - 1.0;
    assert!((psnr.harmonic_mean.unwrap() - expected).abs() < 1e-6);
    assert_eq!(pooled(&summary.statistics, "ssim").worst[0].number, 30);
}

#[test]
fn additional_measures_are_opt_in_and_leave_out_tiny_frames() {
    let run = |caps: &str, measures: &str| {
        let (a, b) = (source(3, caps), source(3, caps));
        let messages = run(&format!(
            "{a} ! q.reference {b} ! videoconvert ! videobalance brightness=0.05 ! videoconvert ! \
             video/x-raw,{caps} ! q.sink \
             videoquality name=q {measures} ! fakesink"
        ));
        messages.unwrap().pop().unwrap()
    };
    let mean = run(CAPS, "").mean;
    assert_eq!((mean.xpsnr, mean.ssimulacra2), ([None; 3], None));
    for format in ["I420", "NV12", "Y444", "GRAY8", "RGB"] {
        let caps = format!("format={format},width=322,height=242");
        let summary = run(&caps, "measures=xpsnr+ssimulacra2");
        let mean = summary.mean;
        assert!((10.0..40.0).contains(&mean.xpsnr[0].unwrap()), "{format}: {mean:?}");
        assert_eq!(mean.xpsnr[1].is_some(), !["GRAY8", "RGB"].contains(&format), "{format}");
        assert!((10.0..100.0).contains(&mean.ssimulacra2.unwrap()), "{format}: {mean:?}");
        assert_eq!(pooled(&summary.statistics, "ssimulacra2").worst.len(), 3);
    }
    for size in ["width=1,height=1", "width=7,height=224", "width=224,height=400"] {
        let mean = run(&format!("format=I420,{size}"), "measures=xpsnr+ssimulacra2").mean;
        assert!(mean.xpsnr[0].is_some() && mean.ssimulacra2.is_none(), "{size}: {mean:?}");
    }
}

#[test]
fn streams_with_another_first_frame_have_a_frame_offset() {
    for (late, expected) in [(2i64, 2), (-3, -3), (0, 0)] {
        let mut meter = Meter::new("test", &Meter::caps());
        for number in 0..20 {
            let shown = |shift: i64| moving((5 + number as i64 - shift) as u64, 0);
            meter.reference.push(buffer(shown(0), number)).unwrap();
            meter.test.push(buffer(shown(late), number)).unwrap();
        }
        let bus = meter.bus.clone();
        meter.reference.push_event(gst::event::Eos::new());
        meter.test.push_event(gst::event::Eos::new());
        let timeout = gst::ClockTime::from_seconds(20);
        let summary = bus.timed_pop_filtered(timeout, &[gst::MessageType::Element]).unwrap();
        let structure = summary.structure().unwrap();
        assert_eq!(structure.get::<i64>("frame-offset"), Ok(expected));
        let info = bus.timed_pop_filtered(
            if expected == 0 { gst::ClockTime::ZERO } else { timeout },
            &[gst::MessageType::Info],
        );
        match info.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Info(info)) => {
                let direction = if late > 0 { "late" } else { "early" };
                let expected = format!("counts as {} frames {direction}", late.abs());
                assert!(info.error().to_string().contains(&expected), "{info:?}");
            }
            _ => assert_eq!(expected, 0),
        }
    }
}

/// Returns a pipeline that compares `count` frames and writes a log.
fn logging(count: u32, log: &Path) -> String {
    let (a, b) = (source(count, CAPS), source(count, CAPS));
    format!(
        "{a} ! q.reference {b} ! videobalance contrast=0.9 ! q.sink \
         videoquality name=q log-file={} ! fakesink",
        log.display()
    )
}

/// Returns a new folder for logs.
fn folder(name: &str) -> Temporary {
    let folder = Temporary::new(name);
    fs::create_dir_all(&folder.0).unwrap();
    folder
}

fn names(folder: &Temporary) -> Vec<String> {
    let entries = fs::read_dir(&folder.0).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_log_file_has_a_row_for_each_pair() {
    let folder = folder("quality-log");
    let csv = folder.0.join("log.csv");
    let messages = run(&logging(7, &csv)).unwrap();
    assert_eq!(names(&folder), ["log.csv"]);
    let text = fs::read_to_string(&csv).unwrap();
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 8);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    let column = |name: &str| rows[0].iter().position(|other| *other == name).unwrap();
    let values =
        |name: &str| rows[1..].iter().map(|row| row[column(name)].to_owned()).collect::<Vec<_>>();
    assert!(values("running-time").into_iter().eq((0..7).map(|i| (40_000_000 * i).to_string())));
    let mean = values("mse").iter().map(|value| value.parse::<f64>().unwrap()).sum::<f64>() / 7.0;
    assert!((mean - messages.last().unwrap().mean.mse_total).abs() < 1e-9);
    assert_eq!(rows[1][column("flicker")], "");

    let json = folder.0.join("log.jsonl");
    run(&logging(3, &json)).unwrap();
    let text = fs::read_to_string(&json).unwrap();
    let rows: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[2]["frame"], &rows[2]["running-time"]), (&2.into(), &80_000_000.into()));
    assert!(rows[2]["ssim"].as_f64().unwrap() < 1.0 && rows[0].get("flicker").is_none());
}

#[test]
fn a_log_that_is_cut_short_has_another_name() {
    let folder = folder("quality-partial");
    let log = folder.0.join("log.csv");
    let mut meter = Meter::with_properties(&[("log-file", log.to_str().unwrap())]);
    push(&mut meter, &[1; 3]);
    for _ in 0..3 {
        meter.test.pull().unwrap();
    }
    let element = meter.test.element().unwrap();
    drop(meter);
    element.set_state(gst::State::Null).unwrap();
    assert_eq!(names(&folder), ["log.csv.partial"]);
    let text = fs::read_to_string(folder.0.join("log.csv.partial")).unwrap();
    assert_eq!((text.lines().count(), text.ends_with('\n')), (4, true));
}

#[test]
fn a_log_file_that_cannot_be_written_is_an_error_before_the_stream() {
    init();
    let folder = folder("quality-bad-log");
    for (path, reason) in [
        (folder.0.join("none/log.csv"), "No such file or directory"),
        (folder.0.clone(), "it is not a file"),
        ("/dev/null".into(), "it is not a file"),
    ] {
        let error = run(&logging(2, &path)).unwrap_err();
        assert!(error.contains("Cannot write log-file") && error.contains(reason), "{error}");
    }
    assert!(names(&folder).is_empty());
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_ends_the_log_but_not_the_stream() {
    let (folder, registry) = (folder("quality-full"), Temporary::new("quality-full.registry"));
    // GStreamer writes its registry before the limit holds.
    assert!(
        tool("gst-inspect-1.0", &registry).arg("videoquality").output().unwrap().status.success()
    );
    let log = folder.0.join("log.csv");
    let pipeline = logging(60, &log).replace("! fakesink", "! identity silent=false ! fakesink");
    let script = format!("trap '' XFSZ; ulimit -f 8; exec gst-launch-1.0 -v {pipeline}");
    let output = tool("sh", &registry).args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("Cannot write log-file"), "{text}");
    assert_eq!(text.matches("last-message = chain").count(), 60, "{text}");
    assert_eq!(names(&folder), ["log.csv.partial"]);
    let rows = fs::read_to_string(folder.0.join("log.csv.partial")).unwrap();
    assert!(rows.len() <= 8 * 1024 && rows.ends_with('\n'), "{}", rows.len());
    let columns = rows.lines().next().unwrap().split(',').count();
    assert!(rows.lines().all(|row| row.split(',').count() == columns));
}
