// SPDX-License-Identifier: MIT OR Apache-2.0

//! `--resume`: plan, chunks and join in one process. What is finished stays in a hidden folder
//! beside the output until the output is complete.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{CHUNK_FRAMES, WARM_UP, finish_chunk, join::Join, plan::ChunkPlan, planner::Order};
use crate::{
    container::Container,
    error::{Result, failed, usage},
    media::location::is_url,
    output::{check_output, is_standard, note},
    stop::Stop,
    transcode::{Job, Report, path::VideoPath},
};

/// Processes a video in chunks, and goes on where an earlier run has stopped.
///
/// # Errors
/// As `transcode`. Finished chunks stay in the folder.
pub(crate) fn resume(job: &Job<'_>, stop: &Stop) -> Result<()> {
    let files = job.files;
    if is_standard(&files.input) || is_standard(&files.output) {
        return Err(usage!("--resume needs files: what went through a pipe is gone"));
    }
    let container = Container::of(&files.output)?;
    if container == Container::Y4m {
        return Err(usage!("--resume needs a container: write a .mkv file instead of y4m"));
    }
    check_output(&files.output, &job.read_files(), files.overwrite)?;
    let folder = work_folder(&files.output)?;
    fs::create_dir_all(&folder)
        .map_err(|err| failed!("cannot create {}: {err}", folder.display()))?;
    let result = work(job, container, &folder, stop);
    if result.is_err() {
        // Only a folder without anything to go on from can be removed so.
        let _ = fs::remove_dir(&folder);
    }
    result
}

/// Does what is not finished yet, in a folder, and removes the folder.
fn work(job: &Job<'_>, container: Container, folder: &Path, stop: &Stop) -> Result<()> {
    let files = job.files;
    let start = Instant::now();
    let plan_file = folder.join("plan.json");
    let order = Order {
        input: &files.input,
        container,
        ignore_damage: job.encoding.ignore_damage,
        filter: job.filter.clone(),
        quality: &job.encoding.quality,
        chunk_frames: CHUNK_FRAMES,
        warm_up: WARM_UP,
        trial_file: &folder.join(format!("trial.{}", container.extension())),
    };
    let plan = match plan_file.exists() {
        true => {
            let plan = ChunkPlan::read(&plan_file)?;
            check_settings(&plan, &order, folder, stop)?;
            plan
        }
        false => {
            let plan = order.plan(job.progress.progress, stop)?;
            plan.write(&plan_file)?;
            plan
        }
    };
    let mut frames = 0;
    for number in 0..plan.chunks.len() {
        let threads = job.encoding.threads;
        let progress = job.progress.progress;
        let done = finish_chunk(&plan, &plan_file, folder, number, threads, progress, stop)?;
        frames += if done.was_finished { 0 } else { plan.chunk(number)?.frames };
    }
    let join = Join {
        plan: &plan,
        plan_file: &plan_file,
        folder,
        output: &files.output,
        overwrite: files.overwrite,
        drop_unsupported: job.encoding.drop_unsupported,
    };
    let joined = join.run(job.progress.progress, stop)?;
    fs::remove_dir_all(folder)
        .unwrap_or_else(|err| note(format_args!("cannot remove {}: {err}", folder.display())));
    let elapsed = start.elapsed();
    let (encoder, path) = (plan.encoder()?, plan.path(None)?);
    let end = plan.chunks.iter().map(|chunk| chunk.last_pts).max().unwrap_or(0);
    Report {
        frames: joined.frames,
        time: gst::ClockTime::from_nseconds(end),
        elapsed,
        rate: frames as f64 / elapsed.as_secs_f64().max(1e-3),
        encoder: Some(encoder),
        depth: path.encoded_depth(),
        streams: Some(joined.streams),
        stats: serde_json::Value::Null,
    }
    .print(job)
}

/// Returns the folder for the chunks of an output.
fn work_folder(output: &Path) -> Result<PathBuf> {
    let name = output.file_name().ok_or_else(|| usage!("OUT needs a name"))?;
    let mut folder = std::ffi::OsString::from(".");
    folder.push(name);
    folder.push(".cnnvideo-resume");
    Ok(output.with_file_name(folder))
}

/// Checks that a plan of an earlier run was made for the same work.
fn check_settings(plan: &ChunkPlan, order: &Order<'_>, folder: &Path, stop: &Stop) -> Result<()> {
    plan.input.check(stop)?;
    let input = match is_url(order.input) {
        true => order.input.to_owned(),
        false => std::path::absolute(order.input)?,
    };
    let caps = plan.path(None)?.caps;
    let filter = order.filter.clone();
    let path = VideoPath::choose(filter, caps, order.container, order.quality, None)?;
    let encoder = path.encoder.map(|(encoder, crf)| (encoder.factory.to_owned(), crf));
    let encoding = &plan.encoding;
    let is_same = plan.input.path() == input
        && plan.filter == order.filter
        && plan.ignore_damage == order.ignore_damage
        && encoder == Some((encoding.encoder.clone(), encoding.crf))
        && path.output_depth == encoding.output_depth;
    match is_same {
        true => Ok(()),
        false => Err(failed!(
            "the finished chunks in {} belong to another input or other options: use those again, \
             or remove the folder to begin anew",
            folder.display()
        )),
    }
}
