// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs `watermark credential sign` and `find`: manifests of C2PA that are found by the payload.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::common::{Folder, Run, launch, textured_clip};

const PAYLOAD: &str = "0123456789abcdef";

/// Makes an issuer (`ca`), a certificate by it (`signer`) and one that has expired (`expired`).
const CERTIFICATES: &str = "
set -e
request() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -subj \"$2\" $3
}
issue() {
    openssl x509 -req -in signer.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile use \\
        -days $2 -out $1.pem
}
request ca '/O=Issuer/CN=Root' '-x509 -days 2 -out ca.pem -addext keyUsage=critical,keyCertSign'
request signer '/O=Example Film/CN=Archive' '-out signer.csr'
cat >use <<END
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = emailProtection
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
issue signer 2
issue expired -1
openssl ec -in signer.key -out other-format.key
";

/// Returns a folder with certificates, a key, an empty store and a clip.
fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    let mut openssl = Command::new("sh");
    openssl.args(["-c", CERTIFICATES]).current_dir(folder.file("")).stdin(Stdio::null());
    let made = openssl.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder.run(&["watermark", "key", "new", "key"]).success();
    // Always the same one, as the strength of the evidence depends on the key.
    fs::write(folder.file("key"), [0x5a; 32]).unwrap();
    fs::create_dir(folder.file("store")).unwrap();
    textured_clip(&folder.file("in.mkv"));
    folder
}

/// Signs `in.mkv`. The options replace the usual ones.
fn sign(folder: &Folder, output: &str, options: &[&str]) -> Run {
    sign_file(folder, "in.mkv", output, options)
}

fn sign_file(folder: &Folder, input: &str, output: &str, options: &[&str]) -> Run {
    let mut all = vec!["watermark", "credential", "sign", input, output];
    for (name, value) in [
        ("--key-file", "key"),
        ("--payload", PAYLOAD),
        ("--certificate", "signer.pem"),
        ("--private-key", "signer.key"),
        ("--store", "store"),
    ] {
        if !options.contains(&name) {
            all.extend([name, value]);
        }
    }
    folder.run(&[&all[..], options].concat())
}

fn find(folder: &Folder, file: &str, options: &[&str]) -> Run {
    let start = ["watermark", "credential", "find", file, "--key-file", "key"];
    folder.run(&[&start[..], options].concat())
}

/// Returns the manifests that are found for the only payload of a file.
fn found(folder: &Folder, file: &str, store: &str) -> Vec<Value> {
    let options = ["--store", store, "--json", "--trust-anchors", "ca.pem"];
    let report: Value = serde_json::from_str(&find(folder, file, &options).success()).unwrap();
    assert_eq!(report["payloads"].as_array().unwrap().len(), 1);
    assert_eq!(report["payloads"][0]["payload"], PAYLOAD);
    report["payloads"][0]["manifests"].as_array().unwrap().clone()
}

/// Returns the names of the files in the store, sorted.
fn stored(folder: &Folder, store: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.file(store)).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns whether a file contains some bytes.
fn contains(folder: &Folder, file: &str, bytes: &[u8]) -> bool {
    let content = fs::read(folder.file(file)).unwrap();
    content.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn a_stripped_manifest_is_found_by_the_pixels() {
    let folder = folder("credentials");
    let report = sign(&folder, "out.mp4", &["--title", "A \u{1b}[31mfilm", "--json"]).success();
    let report: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    let names = stored(&folder, "store");
    assert_eq!(names.len(), 1);
    assert!(names[0].starts_with(PAYLOAD), "{names:?}");
    assert_eq!(report["manifest"], format!("store/{}", names[0]));
    let manifest = fs::read(folder.file("store").join(&names[0])).unwrap();
    assert!(contains(&folder, "out.mp4", &manifest), "the manifest is in the file as well");
    assert!(!contains(&folder, "out.mp4", b"in.mkv"), "the name of the input is private");

    let location = |name: &str| folder.file(name).display().to_string();
    launch(&format!(
        "filesrc location={} ! qtdemux ! h264parse ! mp4mux ! filesink location={}",
        location("out.mp4"),
        location("stripped.mp4")
    ));
    launch(&format!(
        "filesrc location={} ! qtdemux ! h264parse ! avdec_h264 ! videoscale ! \
         video/x-raw,width=480,height=270 ! x264enc quantizer=26 pass=quant ! matroskamux ! \
         filesink location={}",
        location("out.mp4"),
        location("encoded.mkv")
    ));
    for (file, is_same) in [("out.mp4", true), ("stripped.mp4", false), ("encoded.mkv", false)] {
        let manifests = found(&folder, file, "store");
        assert_eq!(manifests.len(), 1, "{file}");
        let manifest = &manifests[0];
        assert_eq!(manifest["title"], "A \u{fffd}[31mfilm");
        assert_eq!(manifest["signer"], "Example Film, Archive");
        assert!(manifest["claim_generator"].as_str().unwrap().starts_with("cnnvideo "));
        assert!(manifest["time"].as_str().unwrap().ends_with('Z'), "{manifest}");
        assert_eq!(manifest["signature_valid"], true, "{manifest}");
        assert_eq!(manifest["trusted"], true, "{manifest}");
        assert_eq!(manifest["hard_binding_valid"], is_same, "{file}: {manifest}");
        assert_eq!(contains(&folder, file, b"c2pa.soft-binding"), is_same, "{file}");
    }

    // For people: what is proved and what is not.
    let run = find(&folder, "encoded.mkv", &["--store", "store"]);
    let text = run.success();
    for expected in [PAYLOAD, "not verified", "stated by the signer", "hard binding     not valid"]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert!(run.errors().contains("does not prove"), "{}", run.errors());
    let run = find(&folder, "out.mp4", &["--store", "store"]);
    assert!(run.success().contains("hard binding     valid"));
    assert!(!run.errors().contains("does not prove"), "{}", run.errors());
    // A trust anchor that did not issue the certificate of the signer.
    let anchors = ["--store", "store", "--trust-anchors", "expired.pem"];
    let run = find(&folder, "out.mp4", &anchors);
    assert!(String::from_utf8_lossy(&run.0.stdout).contains("NOT trusted"));
    run.fails(1, "no manifest for this payload is valid");
}

#[test]
fn all_manifests_of_a_payload_are_listed_and_wrong_ones_explained() {
    let folder = folder("credentials-many");
    sign(&folder, "a.mp4", &["--title", "first"]).success();
    let run = sign(&folder, "b.mp4", &["--title", "second"]);
    run.success();
    assert!(run.errors().contains("already in the store"), "{}", run.errors());
    let mut titles: Vec<_> =
        found(&folder, "b.mp4", "store").iter().map(|found| found["title"].clone()).collect();
    titles.sort_by_key(Value::to_string);
    assert_eq!(titles, ["first", "second"]);
    let whole = folder.file("store").join(&stored(&folder, "store")[0]);

    let content = fs::read(&whole).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        let at = content.windows(from.len()).position(|window| window == from).unwrap();
        [&content[..at], to, &content[at + from.len()..]].concat()
    };
    fs::create_dir(folder.file("wrong")).unwrap();
    let put = |name: &str, content: &[u8]| {
        let name = format!("{PAYLOAD}-{name}.c2pa");
        fs::write(folder.file("wrong").join(name), content).unwrap();
    };
    put("cut", &content[..content.len() / 2]);
    put("empty", b"");
    put("other", &replaced(PAYLOAD.as_bytes(), b"fedcba9876543210"));
    put("changed", &replaced(b"c2pa.transcoded", b"c2pa.published."));
    fs::write(folder.file("wrong").join("fedcba9876543210-other.c2pa"), &content).unwrap();
    let run = find(&folder, "a.mp4", &["--store", "wrong", "--json"]);
    let report: Value = serde_json::from_slice(&run.0.stdout).unwrap();
    run.fails(1, "no manifest for this payload is valid");
    let manifests = report["payloads"][0]["manifests"].as_array().unwrap();
    let of = |name: &str| {
        let is = |found: &&Value| found["path"].as_str().unwrap().contains(name);
        manifests.iter().find(is).unwrap()
    };
    assert_eq!(manifests.len(), 4, "{report}");
    assert!(of("-cut")["error"].as_str().unwrap().contains("damaged"));
    assert!(of("-empty")["error"].as_str().unwrap().contains("damaged"));
    assert!(of("-other")["error"].as_str().unwrap().contains("does not name payload"));
    assert_eq!(of("-changed")["signature_valid"], false, "{report}");
    assert_eq!(of("-changed")["hard_binding_valid"], false, "{report}");
    // They do not hide a valid one.
    fs::copy(&whole, folder.file("wrong").join(whole.file_name().unwrap())).unwrap();
    assert_eq!(found(&folder, "a.mp4", "wrong").len(), 5);

    // A video that is marked already would lead to its first manifest, or to none.
    let run = sign_file(&folder, "a.mp4", "c.mp4", &["--payload", "0000000000000001"]);
    run.fails(1, "payload of this key");
    assert!(!folder.file("c.mp4").exists());
    // Its manifest is part of a new one with the same payload.
    sign_file(&folder, "a.mp4", "c.mp4", &["--title", "third"]).success();
    assert!(contains(&folder, "c.mp4", b"third") && contains(&folder, "c.mp4", b"first"));
    let manifests = found(&folder, "c.mp4", "store");
    assert_eq!(manifests.len(), 3, "{manifests:?}");
}

#[test]
fn wrong_arguments_leave_no_file() {
    let folder = folder("credentials-errors");
    fs::write(folder.file("text"), "text").unwrap();
    let names = folder.names();
    let file = |name: &'static str, option: &'static str, expected: &'static str| {
        sign(&folder, "out.mp4", &[option, name]).fails(1, expected);
        assert_eq!(folder.names(), names, "{option} {name}");
        assert!(stored(&folder, "store").is_empty(), "{option} {name}");
    };
    file("expired.pem", "--certificate", "not valid at time of signing");
    file("ca.pem", "--certificate", "self-signed");
    file("none", "--certificate", "cannot read none");
    file("text", "--certificate", "no certificate in PEM");
    file("/dev/zero", "--certificate", "not a regular file");
    file("ca.key", "--private-key", "signature does not match");
    file("other-format.key", "--private-key", "openssl pkcs8");
    file("text", "--private-key", "no private key");
    file("none", "--store", "create it first");
    file("text", "--store", "create it first");
    file("none", "--key-file", "cannot read key file none");
    #[cfg(target_os = "linux")]
    file("/proc/self", "--store", "cannot write to the store");
    sign(&folder, "none/out.mp4", &[]).fails(1, "create it first");
    sign(&folder, "out.mkv", &[]).fails(2, "must end in .mp4");
    sign(&folder, "-", &[]).fails(2, "must end in .mp4");
    let run = sign(&folder, "out.mp4", &["--payload", "12"]);
    assert_eq!(run.0.status.code(), Some(2), "{}", run.errors());

    let run = find(&folder, "in.mkv", &["--store", "store"]);
    assert_eq!(run.0.status.code(), Some(3), "{}", run.errors());
    find(&folder, "in.mkv", &["--store", "none"]).fails(1, "create it first");
    find(&folder, "none.mkv", &["--store", "store"]).fails(1, "cannot read none.mkv");
    let anchors = ["--store", "store", "--trust-anchors", "text"];
    find(&folder, "in.mkv", &anchors).fails(1, "no certificate in PEM");
    assert_eq!(folder.names(), names);

    // A video that cannot carry the mark is not signed.
    launch(&format!(
        "videotestsrc pattern=black num-buffers=2 ! video/x-raw,width=320,height=180,format=I420 ! \
         avenc_ffv1 ! matroskamux ! filesink location={}",
        folder.file("in.mkv").display()
    ));
    sign(&folder, "out.mp4", &["--crf", "50"]).fails(1, "cannot be read back");
    assert_eq!(folder.names(), names);
    assert!(stored(&folder, "store").is_empty());
}

#[test]
fn payloads_without_a_manifest_and_other_keys_find_nothing() {
    let folder = folder("credentials-nothing");
    sign(&folder, "out.mov", &[]).success();
    fs::create_dir(folder.file("empty")).unwrap();
    let run = find(&folder, "out.mov", &["--store", "empty"]);
    assert_eq!(run.0.status.code(), Some(3), "{}", run.errors());
    assert!(String::from_utf8_lossy(&run.0.stdout).contains("no manifest"));
    assert_eq!(found(&folder, "out.mov", "store")[0]["hard_binding_valid"], true);
    fs::write(folder.file("key"), [0x5b; 32]).unwrap();
    let run = find(&folder, "out.mov", &["--store", "store"]);
    assert_eq!(run.0.status.code(), Some(3), "{}", run.errors());
    assert!(String::from_utf8_lossy(&run.0.stdout).contains("no watermark of this key"));
}
