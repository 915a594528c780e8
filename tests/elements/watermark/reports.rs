// SPDX-License-Identifier: MIT OR Apache-2.0

//! Content of the reports of `watermarkdetect`.

use cnnvideo::watermark::Version;

use super::{KEY, PAYLOAD, SOURCE, messages, payloads};
use crate::common::{Temporary, start_error};

#[test]
fn the_end_of_a_short_stream_reports_that_there_is_no_watermark() {
    for (frames, window, interval) in [(24, 48, 12), (12, 48, 12), (20, 48, 12), (48, 48, 12)] {
        let found = messages(&format!(
            "videotestsrc num-buffers={frames} ! video/x-raw,format=GRAY8,width=160,height=120 ! \
             watermarkdetect key={KEY} window={window} interval={interval} epochs=1 ! fakesink"
        ));
        assert_eq!(payloads(&found), [None], "{frames} frames");
        assert!(found[0].report.frames >= frames.min(window));
    }
}

#[test]
fn messages_have_the_version_and_the_described_share() {
    let source = "videotestsrc num-buffers=12 pattern=smpte75 ! \
                  video/x-raw,format=I420,width=960,height=540,framerate=25/1";
    for (security, version) in [("robust", Version::One), ("copy-resistant", Version::Two)] {
        let found = messages(&format!(
            "{source} ! watermarkembed key={KEY} payload={PAYLOAD} security={security} ! \
             watermarkdetect key={KEY} search=none ! fakesink"
        ));
        assert_eq!(payloads(&found), [Some(PAYLOAD.to_owned())], "{security}");
        assert_eq!(found[0].report.version, version);
        assert!(version == Version::Two || found[0].report.described == 0.0);
    }
}

#[test]
fn the_candidates_file_names_issued_payloads() {
    let list = Temporary::new("issued.txt");
    std::fs::write(&list.0, format!("# issued\n{PAYLOAD}\n0000000000000001\n")).unwrap();
    let name = list.0.to_str().unwrap();
    let found = messages(&format!(
        "{SOURCE} ! watermarkembed key={KEY} payload={PAYLOAD} ! \
         watermarkdetect key={KEY} search=none candidates-file={name} ! fakesink"
    ));
    let named: Vec<_> = found[0].report.named.iter().map(ToString::to_string).collect();
    assert_eq!(named, [PAYLOAD]);
    std::fs::write(&list.0, "no payload\n").unwrap();
    for (file, reason) in [
        (name, "line 1: not a payload"),
        ("/nowhere/issued.txt", "/nowhere/issued.txt"),
        ("/tmp", "directory"),
    ] {
        let error = start_error(&format!(
            "videotestsrc ! watermarkdetect key={KEY} candidates-file={file} ! fakesink"
        ));
        assert!(error.to_string().contains(reason), "{file}: {error}");
    }
}
