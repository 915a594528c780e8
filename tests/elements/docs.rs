// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs every pipeline in the documentation.

use crate::common::{Temporary, tool};

#[test]
fn documented_pipelines_run() {
    let registry = Temporary::new("docs.registry");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```pipeline\n").skip(1) {
            let pipeline = block.split("```").next().unwrap().trim();
            let output = tool("gst-launch-1.0", &registry)
                .args(pipeline.split_whitespace())
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{pipeline}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
            count += 1;
        }
    }
    assert!(count >= 4);
}
