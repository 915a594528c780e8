// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cnnvideo watermark variants`: embeds the payloads of both variants and divides the streams.

use std::{fs, path::Path};

use cnnvideo::watermark::{HOP_FRAMES, SegmentMark, Variant};

use super::{
    manifest::{MANIFEST, MAX_SEGMENTS, Manifest},
    package::{Playlist, package},
};
use crate::{
    args::{BitDepth, Encoding, Files, Quality, VariantsArguments},
    codec::Codec,
    error::{Result, failed, usage},
    filter::Filter,
    media::{Input, probe::Media},
    output::{NewFolder, check_new_folder, note, print_line},
    stop::Stop,
    transcode::{Job, transcode_silently},
    watermark::{check_key, text},
};

/// Frame rate that the length of segments is computed for if the video has none.
const USUAL_RATE: f64 = 25.0;

/// Executes the command.
///
/// # Errors
/// The video cannot be read, the folder cannot be written, an element is missing or fails, or a
/// signal arrives. Then nothing is left under the name of the folder.
pub(crate) fn make(arguments: &VariantsArguments, stop: &Stop) -> Result<()> {
    let VariantsArguments { input, folder, key_file, asset, segment, colluders, .. } = arguments;
    check_key(key_file)?;
    check_new_folder(folder)?;
    let frames = frames_per_segment(input, *segment, stop)?;
    let new = NewFolder::create(folder)?;
    let mut playlists = Vec::new();
    for variant in Variant::ALL {
        let marked = new.path().join(format!("{}.mp4", variant.name()));
        embed(arguments, variant, frames, &marked, new.path(), stop)?;
        // A whole segment is longer than this, a key frame before it would be earlier.
        let seconds = (*segment as u32).saturating_sub(1).max(1);
        playlists.push(package(&marked, &new.path().join(variant.name()), seconds, stop)?);
        let _ = fs::remove_file(&marked);
    }
    let [a, b] = &playlists[..] else { return Err(failed!("there are two variants")) };
    let segments = checked(a, b)?;
    let manifest = Manifest::new(*asset, segments, frames, *colluders);
    new.write(MANIFEST, manifest.to_json().as_bytes())?;
    new.finish()?;
    if arguments.progress.report.json {
        return print_line(manifest.to_json().trim_end());
    }
    note(format_args!(
        "{}: {segments} segments of {frames} frames in two variants; cnnvideo watermark playlist \
         {} --receiver N writes the playlist of a receiver",
        folder.display(),
        folder.display()
    ));
    Ok(())
}

/// Returns the number of frames of a segment: about `seconds`, and whole hops, as the payload
/// changes between hops only.
fn frames_per_segment(input: &Path, seconds: f64, stop: &Stop) -> Result<u32> {
    let kind = Input::of(input)?;
    let Some(path) = kind.path().filter(|_| matches!(kind, Input::File(_))) else {
        return Err(usage!("variants need a file in a container, such as .mp4 or .mkv"));
    };
    let fps = Media::probe(path, stop)?.info.fps();
    let rate = match fps.numer() {
        0 => USUAL_RATE,
        numer => f64::from(numer) / f64::from(fps.denom()),
    };
    let hops = (seconds * rate / HOP_FRAMES as f64).round().max(1.0);
    Ok(hops as u32 * HOP_FRAMES as u32)
}

/// Embeds the payloads of a variant and encodes the video with a key frame at each segment.
fn embed(
    arguments: &VariantsArguments,
    variant: Variant,
    frames: u32,
    output: &Path,
    folder: &Path,
    stop: &Stop,
) -> Result<()> {
    let list = folder.join("payloads");
    let lines = (0..MAX_SEGMENTS as u32).map(|segment| {
        let payload = SegmentMark { asset: arguments.asset, segment, variant }.payload();
        format!("{} {payload}\n", u64::from(segment) * u64::from(frames))
    });
    fs::write(&list, lines.collect::<String>())
        .map_err(|err| failed!("cannot write {}: {err}", list.display()))?;
    let mut settings = vec![
        format!("key-file={}", text(&arguments.key_file)?),
        format!("payload-file={}", text(&list)?),
    ];
    settings.extend(arguments.target_psnr.map(|psnr| format!("target-psnr={psnr}")));
    let files =
        Files { input: arguments.input.clone(), output: output.to_owned(), overwrite: false };
    let quality = Quality {
        codec: Some(Codec::H264),
        crf: Some(arguments.crf),
        depth: Some(BitDepth::Eight),
    };
    let encoding = Encoding {
        quality,
        threads: arguments.threads,
        drop_unsupported: true,
        ignore_damage: false,
    };
    let job = Job {
        command: "watermark variants",
        files: &files,
        filter: Filter::element("watermarkembed", &settings)?,
        encoding: &encoding,
        progress: arguments.progress,
        read: vec![arguments.key_file.clone()],
        key_frame_interval: Some(frames),
    };
    transcode_silently(&job, stop)?;
    let _ = fs::remove_file(&list);
    Ok(())
}

/// Checks that the segments of both variants have the same names and durations. Returns their
/// number.
fn checked(a: &Playlist, b: &Playlist) -> Result<usize> {
    if !a.segments().eq(b.segments()) || !a.tags().eq(b.tags()) {
        return Err(failed!("the variants have different segments; please report this"));
    }
    match a.segments().count() {
        count if count > MAX_SEGMENTS => {
            Err(failed!("{count} segments are too many: set a larger --segment"))
        }
        count => Ok(count),
    }
}
