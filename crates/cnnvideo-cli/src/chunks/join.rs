// SPDX-License-Identifier: MIT OR Apache-2.0

//! Puts the files of the chunks together: one video with its original times, and the other streams
//! of the input.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use gst::prelude::*;
use serde_json::Value;

use super::{
    order::decoding_times,
    packets::Packets,
    plan::ChunkPlan,
    record::{Fault, Record},
};
use crate::{
    args::ProgressMode,
    codec,
    container::Container,
    error::{Result, failed, usage},
    media::{Input, decode::add_sink, probe::Media},
    output::{check_output, is_standard, write_whole},
    progress::{Count, Progress},
    run::{Running, run},
    stop::Stop,
    transcode::{add_muxer, plan::Plan, streams, trial},
};

/// Packets that wait for the muxer.
const QUEUED_PACKETS: u64 = 32;
/// Time of the beginning in the buffers, so that no decoding time is negative there. An offset of
/// the pad takes it back.
const BEGIN: gst::ClockTime = gst::ClockTime::from_seconds(3600);
/// Longest time between two looks at the end of the work.
const TICK: Duration = Duration::from_millis(100);
/// Tags that describe the encoded video of the input, which is not in the output.
const TAGS_OF_THE_CODEC: [&str; 9] = [
    "codec",
    "video-codec",
    "bitrate",
    "nominal-bitrate",
    "minimum-bitrate",
    "maximum-bitrate",
    "encoder",
    "encoder-version",
    "container-format",
];

/// A joined file.
pub(crate) struct Joined {
    /// Number of frames.
    pub(crate) frames: u64,
    /// What happened with each stream of the input.
    pub(crate) streams: Value,
}

/// What to join.
pub(crate) struct Join<'a> {
    /// The plan.
    pub(crate) plan: &'a ChunkPlan,
    /// The file of the plan.
    pub(crate) plan_file: &'a Path,
    /// Folder of the chunks.
    pub(crate) folder: &'a Path,
    /// The file to write.
    pub(crate) output: &'a Path,
    /// Whether an existing file is replaced.
    pub(crate) overwrite: bool,
    /// Whether streams that the container cannot hold are left out.
    pub(crate) drop_unsupported: bool,
}

/// What the output is made of.
struct Parts {
    input: Input,
    chunks: Vec<Finished>,
    media: Media,
    container: Container,
    streams: Plan,
}

/// A chunk that is complete.
type Finished = (PathBuf, Record);

impl Join<'_> {
    /// Joins the chunks.
    ///
    /// # Errors
    /// A chunk is missing or damaged, the output cannot be written or would lose something, or a
    /// signal arrives. Then nothing is left under the name of the output.
    pub(crate) fn run(&self, progress: ProgressMode, stop: &Stop) -> Result<Joined> {
        let container = self.check_names()?;
        self.plan.input.check(stop)?;
        let chunks = self.chunks(stop)?;
        let input = Input::of(self.plan.input.path())?;
        let media = Media::of(&input, stop)?;
        let streams = Plan::new(&media, container, self.drop_unsupported)?;
        streams.note_dropped();
        let parts = Parts { input, chunks, media, container, streams };
        write_whole(self.output, |temporary| self.write(&parts, temporary, progress, stop))?;
        Ok(Joined { frames: self.plan.frames, streams: parts.streams.to_json() })
    }

    /// Checks the name of the output and returns its container.
    pub(crate) fn check_names(&self) -> Result<Container> {
        if is_standard(self.output) {
            return Err(usage!("join writes a file, not the standard output"));
        }
        let container = Container::of(self.output)?;
        if container == Container::Y4m {
            return Err(usage!("y4m is raw video, the chunks are encoded: write a .mkv file"));
        }
        codec::check(Some(self.plan.encoder()?.codec), None, container)?;
        let read = [self.plan.input.path(), self.plan_file];
        check_output(self.output, &read, self.overwrite)?;
        Ok(container)
    }

    /// Checks all chunks.
    fn chunks(&self, stop: &Stop) -> Result<Vec<Finished>> {
        let mut chunks = Vec::<Finished>::new();
        let mut faults = Vec::new();
        for number in 0..self.plan.chunks.len() {
            stop.check()?;
            let file = self.plan.chunk_file(self.plan_file, self.folder, number)?;
            match Record::verify(self.plan, number, &file) {
                Ok(record) => chunks.push((file, record)),
                Err(fault) => faults.push((number, fault)),
            }
        }
        if let Some(failure) = self.failure(&faults) {
            return Err(failed!("{failure}"));
        }
        let differs = chunks.iter().position(|(_, record)| record.caps != chunks[0].1.caps);
        if let Some(number) = differs {
            return Err(failed!(
                "chunk {number} was encoded with other parameters than chunk 0, perhaps by another \
                 version of the encoder: remove {} and run {} where chunk 0 was made",
                chunks[number].0.display(),
                self.command(number)
            ));
        }
        Ok(chunks)
    }

    /// Returns a sentence about the chunks that cannot be used, if there are any.
    fn failure(&self, faults: &[(usize, Fault)]) -> Option<String> {
        let (first, fault) = faults.first()?;
        let others: Vec<_> = faults[1..].iter().map(|(number, _)| number.to_string()).collect();
        let others = match others.is_empty() {
            true => String::new(),
            false => format!("; the same for the chunks {}", others.join(", ")),
        };
        Some(format!("chunk {first} is {}: run {}{others}", fault.words(), self.command(*first)))
    }

    /// Returns the command that makes a chunk.
    fn command(&self, number: usize) -> String {
        let plan = self.plan_file.display();
        format!("cnnvideo chunk {plan} {number} --out-dir {}", self.folder.display())
    }

    /// Writes the output to a file.
    fn write(&self, parts: &Parts, file: &Path, progress: ProgressMode, stop: &Stop) -> Result<()> {
        let Parts { input, chunks, media, container, streams } = parts;
        let pipeline = Running(gst::Pipeline::new());
        let has_rate = media.info.fps().numer() > 0;
        let (muxer, pad) = add_muxer(&pipeline.0, *container, file, has_rate)?;
        let caps: gst::Caps = chunks[0]
            .1
            .caps
            .parse()
            .map_err(|_| failed!("the caps of chunk 0 cannot be read: make it again"))?;
        let source = gst_app::AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            .block(true)
            .max_buffers(QUEUED_PACKETS)
            .max_bytes(0)
            .build();
        pipeline.0.add(&source)?;
        let last = source.static_pad("src").ok_or_else(|| failed!("the source has no pad"))?;
        last.set_offset(-(BEGIN.nseconds() as i64));
        last.link(&pad).map_err(|err| failed!("cannot link the muxer: {err}"))?;
        let (sender, ready) = channel();
        if let Input::File(_) = input {
            let process = |original: &gst::Pad| {
                pass_tags(original, &source, sender.clone());
                add_sink(&pipeline.0, original)
            };
            streams::add_to(&pipeline.0, input, streams, Some(&muxer), |_| (), process)?;
        } else {
            // y4m has no tags and no other streams. The receiver lives in the same function.
            let _ = sender.send(());
        }
        let count = Count::at(&last);
        let mut progress =
            Progress::new(progress, count.clone(), None, Some(self.plan.frames)).of_step("join");
        let feeder = thread::spawn({
            let feeder = Feeder {
                plan: self.plan.clone(),
                chunks: chunks.clone(),
                source,
                stop: stop.clone(),
            };
            let pipeline = pipeline.0.clone();
            move || feeder.run(&ready, &pipeline)
        });
        let about = self.plan.input.location.as_str();
        let result = run(&pipeline, gst::State::Playing, stop, about, &mut progress);
        drop((progress, pipeline, sender));
        let fed = feeder.join().unwrap_or_else(|_| Err(failed!("the reading thread has failed")));
        fed?;
        result?;
        if count.frames() != self.plan.frames {
            return Err(failed!(
                "{} of {} frames were written; please report this",
                count.frames(),
                self.plan.frames
            ));
        }
        let kept = trial::Kept { caps: media.caps.clone(), orientation: media.orientation.clone() };
        let codec = self.plan.encoder()?.codec.name();
        trial::finish(&kept, *container, codec, file, stop)
    }
}

/// Passes the tags and chapters of the original video on, and tells when all of them have passed.
fn pass_tags(original: &gst::Pad, source: &gst_app::AppSrc, ready: Sender<()>) {
    let source = source.downgrade();
    let types = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
    original.add_probe(types, move |_, info| {
        let Some(source) = source.upgrade() else { return gst::PadProbeReturn::Ok };
        let event = info.event().map(|event| event.to_owned());
        match event.as_ref().map(|event| event.view()) {
            Some(gst::EventView::Toc(toc)) => {
                source.send_event(toc.to_owned());
            }
            Some(gst::EventView::Tag(tag)) => {
                let mut tags = tag.tag_owned();
                for name in TAGS_OF_THE_CODEC {
                    tags.make_mut().remove_generic(name);
                }
                if tags.n_tags() > 0 {
                    source.send_event(gst::event::Tag::new(tags));
                }
            }
            // The first frame, or the end.
            None | Some(gst::EventView::Eos(_)) => {
                let _ = ready.send(());
                return gst::PadProbeReturn::Remove;
            }
            Some(_) => (),
        }
        gst::PadProbeReturn::Ok
    });
}

/// Passes the packets of all chunks to the muxer.
struct Feeder {
    plan: ChunkPlan,
    chunks: Vec<Finished>,
    source: gst_app::AppSrc,
    stop: Stop,
}

impl Feeder {
    /// Waits until the tags have passed, then passes the packets. A failure ends the pipeline.
    fn run(&self, ready: &Receiver<()>, pipeline: &gst::Pipeline) -> Result<()> {
        loop {
            match ready.recv_timeout(TICK) {
                Ok(()) => break,
                // The pipeline has ended early, and tells why.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => (),
            }
        }
        let result = self.feed();
        if let Err(failure) = &result {
            gst::element_error!(pipeline, gst::ResourceError::Read, ("{failure}"));
        }
        result
    }

    fn feed(&self) -> Result<()> {
        let order: Vec<u32> = self
            .chunks
            .iter()
            .zip(&self.plan.chunks)
            .flat_map(|((_, record), chunk)| {
                record.order.iter().map(|frame| frame + chunk.first_frame as u32)
            })
            .collect();
        let times: Vec<_> = self.plan.chunks.iter().flat_map(|chunk| chunk.times.clone()).collect();
        let decoding = decoding_times(&order, &times);
        let container = self.plan.container()?;
        let mut decoding = decoding.into_iter();
        for (number, ((file, record), chunk)) in
            self.chunks.iter().zip(&self.plan.chunks).enumerate()
        {
            let packets = Packets::open(file, container, &self.stop)?;
            for frame in &record.order {
                let packet = packets.next()?.zip(decoding.next());
                let (mut packet, decoding) = packet.ok_or_else(|| {
                    failed!("{} has fewer packets than frames: make it again", file.display())
                })?;
                let (pts, duration) = chunk.times[*frame as usize];
                let buffer = packet.make_mut();
                buffer.set_pts(BEGIN + gst::ClockTime::from_nseconds(pts));
                let dts = BEGIN.nseconds().saturating_add_signed(decoding);
                buffer.set_dts(gst::ClockTime::from_nseconds(dts));
                buffer.set_duration(duration.map(gst::ClockTime::from_nseconds));
                // The pipeline has ended early, and tells why.
                if self.source.push_buffer(packet).is_err() {
                    return Ok(());
                }
            }
            if packets.next()?.is_some() {
                return Err(failed!("chunk {number} has more packets than frames: make it again"));
            }
        }
        let _ = self.source.end_of_stream();
        Ok(())
    }
}
