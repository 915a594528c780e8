// SPDX-License-Identifier: MIT OR Apache-2.0

//! A video in chunks, for several processes or machines, and for work that can be resumed.
//!
//! A plan divides the frames of a video into chunks, preferably at cuts ([`planner`]). Each chunk
//! is processed by a process of its own ([`encode`]): it reads the original file from the keyframe
//! before on, and the filter gets some frames before and behind the chunk too, so that its frames
//! come out as those of an undivided run. At the end, the encoded chunks become one file
//! ([`join`]).

mod analyse;
mod borders;
mod cuts;
mod elements;
mod encode;
mod identity;
mod join;
mod order;
mod packets;
mod plan;
mod planner;
mod reader;
mod record;
mod resume;

pub(crate) use resume::resume;

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::{
    args::{ChunkArguments, JoinArguments, PlanArguments, ProgressMode},
    error::{Result, failed},
    filter::Filter,
    output::{check_output, is_standard, note, print_line, write_whole},
    stop::Stop,
};
use join::Join;
use plan::ChunkPlan;
use planner::Order;
use record::Record;

/// Frames of a chunk unless the user chooses: 20 seconds of film.
pub(crate) const CHUNK_FRAMES: u64 = 500;
/// Frames of the warm-up unless the user chooses. See docs/measurements.md.
pub(crate) const WARM_UP: u64 = 96;

/// `cnnvideo plan`: writes a plan.
///
/// # Errors
/// The plan cannot be made or written.
pub(crate) fn plan(arguments: &PlanArguments, filter: Filter, stop: &Stop) -> Result<()> {
    let (input, file) = (&arguments.input, &arguments.out);
    let read: &[&Path] = if is_standard(input) { &[] } else { &[input] };
    check_output(file, read, arguments.overwrite)?;
    let container = arguments.container;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}-trial.{}", container.extension());
    let order = Order {
        input,
        container,
        ignore_damage: arguments.ignore_damage,
        filter,
        quality: &arguments.quality,
        chunk_frames: arguments.chunk_frames,
        warm_up: arguments.warm_up,
        trial_file: &file.with_file_name(name),
    };
    let plan = order.plan(arguments.progress.progress, stop)?;
    plan.write(file)?;
    let warm_up: u64 = plan.chunks.iter().map(|chunk| chunk.warm_up + chunk.future).sum();
    if arguments.progress.report.json {
        return print_line(json!({
            "event": "done",
            "command": "plan",
            "plan": file.to_string_lossy(),
            "hash": plan.hash(),
            "frames": plan.frames,
            "shots": plan.shots.len(),
            "chunks": plan.chunks.len(),
            "extra_frames": warm_up,
        }));
    }
    note(format_args!(
        "{}: {} frames, {} shots, chunks 0 to {} ({:.1} % of the frames are processed twice)",
        file.display(),
        plan.frames,
        plan.shots.len(),
        plan.chunks.len() - 1,
        100.0 * warm_up as f64 / plan.frames as f64
    ));
    Ok(())
}

/// `cnnvideo chunk`: makes the file of a chunk, unless it is there.
///
/// # Errors
/// The plan cannot be read, or the chunk cannot be made.
pub(crate) fn chunk(arguments: &ChunkArguments, stop: &Stop) -> Result<()> {
    let ChunkArguments { plan: plan_file, number, out_dir, threads, progress } = arguments;
    let plan = ChunkPlan::read(plan_file)?;
    let folder = folder(out_dir.as_deref(), plan_file);
    if !folder.is_dir() {
        return Err(failed!("{} is not a folder: create it first", folder.display()));
    }
    let mode = progress.progress;
    let done = finish_chunk(&plan, plan_file, &folder, *number, *threads, mode, stop)?;
    let chunk = plan.chunk(*number)?;
    if progress.report.json {
        return print_line(json!({
            "event": "done",
            "command": "chunk",
            "chunk": number,
            "output": done.file.to_string_lossy(),
            "was_finished": done.was_finished,
            "frames": chunk.frames,
            "first_pts": chunk.first_pts,
            "last_pts": chunk.last_pts,
            "fps": done.rate,
        }));
    }
    let how = match done.rate {
        Some(rate) => format!("{rate:.1} fps"),
        None => "was finished".to_owned(),
    };
    note(format_args!("{}: {} frames, {how}", done.file.display(), chunk.frames));
    Ok(())
}

/// `cnnvideo join`: puts the chunks together.
///
/// # Errors
/// A chunk is missing or damaged, or the output cannot be written.
pub(crate) fn join(arguments: &JoinArguments, stop: &Stop) -> Result<()> {
    let plan = ChunkPlan::read(&arguments.plan)?;
    let join = Join {
        plan: &plan,
        plan_file: &arguments.plan,
        folder: &folder(arguments.chunk_dir.as_deref(), &arguments.plan),
        output: &arguments.output,
        overwrite: arguments.overwrite,
        drop_unsupported: arguments.drop_unsupported,
    };
    let joined = join.run(arguments.progress.progress, stop)?;
    if arguments.progress.report.json {
        return print_line(json!({
            "event": "done",
            "command": "join",
            "input": plan.input.location,
            "output": arguments.output.to_string_lossy(),
            "frames": joined.frames,
            "chunks": plan.chunks.len(),
            "streams": joined.streams,
        }));
    }
    note(format_args!(
        "{}: {} frames of {} chunks",
        arguments.output.display(),
        joined.frames,
        plan.chunks.len()
    ));
    Ok(())
}

/// Returns the folder of the chunks: the given one, or that of the plan.
fn folder(given: Option<&Path>, plan: &Path) -> PathBuf {
    let own = plan.parent().filter(|folder| !folder.as_os_str().is_empty());
    given.or(own).unwrap_or(Path::new(".")).to_owned()
}

/// The file of a chunk.
struct Done {
    file: PathBuf,
    /// Whether an earlier run had made it.
    was_finished: bool,
    /// Frames per second of this run.
    rate: Option<f64>,
}

/// Makes the file of a chunk, unless it is there and complete.
fn finish_chunk(
    plan: &ChunkPlan,
    plan_file: &Path,
    folder: &Path,
    number: usize,
    threads: Option<u32>,
    progress: ProgressMode,
    stop: &Stop,
) -> Result<Done> {
    plan.chunk(number)?;
    let file = plan.chunk_file(plan_file, folder, number)?;
    if Record::verify(plan, number, &file).is_ok() {
        return Ok(Done { file, was_finished: true, rate: None });
    }
    plan.input.check(stop)?;
    let mut result = None;
    write_whole(&file, |temporary| {
        let encoded = encode::encode(plan, number, temporary, threads, progress, stop)?;
        let record = Record::of(plan, number, temporary, encoded.caps, encoded.order)?;
        result = Some((record, encoded.rate));
        Ok(())
    })?;
    let (record, rate) = result.ok_or_else(|| failed!("the chunk has no result"))?;
    record.write(&file)?;
    Ok(Done { file, was_finished: false, rate: Some(rate) })
}
