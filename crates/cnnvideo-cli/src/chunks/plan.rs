// SPDX-License-Identifier: MIT OR Apache-2.0

//! The plan file: how a video is divided, and everything that must be the same for all its chunks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::identity::Identity;
use crate::{
    codec::Encoder,
    container::Container,
    error::{Result, failed},
    filter::Filter,
    output::write_whole,
    transcode::path::{VideoPath, encoder_threads},
};

/// Version of the format of plan files.
const VERSION: u32 = 2;

/// Time of a frame: its timestamp and, if it is known, its duration, in nanoseconds.
pub(crate) type Time = (u64, Option<u64>);

/// How a video is divided and processed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChunkPlan {
    version: u32,
    /// The video.
    pub(crate) input: Identity,
    /// Whether frames that cannot be decoded are left out.
    pub(crate) ignore_damage: bool,
    /// Number of frames of the video.
    pub(crate) frames: u64,
    /// Caps of its decoded frames.
    caps: String,
    /// Time of a frame in the file minus its time in the plan, in nanoseconds.
    pub(crate) offset: i64,
    /// Elements that process the video.
    pub(crate) filter: Filter,
    /// How the chunks are encoded.
    pub(crate) encoding: ChunkEncoding,
    /// Numbers of the first frames of the shots.
    pub(crate) shots: Vec<u64>,
    /// The chunks.
    pub(crate) chunks: Vec<Chunk>,
}

/// How the chunks are encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChunkEncoding {
    /// Name of the encoder's element. Another encoder for the same codec would not fit.
    pub(crate) encoder: String,
    /// Quality.
    pub(crate) crf: u32,
    /// Bits of the samples that the filter gets.
    pub(crate) input_depth: u32,
    /// Bits of the samples that the output keeps.
    pub(crate) output_depth: u32,
}

/// A range of frames that one process works on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chunk {
    /// Number of its first frame.
    pub(crate) first_frame: u64,
    /// Number of its frames.
    pub(crate) frames: u64,
    /// Timestamp of its first frame in nanoseconds.
    pub(crate) first_pts: u64,
    /// Timestamp of its last frame in nanoseconds.
    pub(crate) last_pts: u64,
    /// Frames before it that the filter gets and whose output is discarded; 0 at a cut.
    pub(crate) warm_up: u64,
    /// Frames behind it that the filter gets, for its lookahead; 0 before a cut.
    pub(crate) future: u64,
    /// Times of its frames.
    pub(crate) times: Vec<Time>,
}

/// The file: a plan with its hash.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    hash: String,
    plan: ChunkPlan,
}

/// The video of a plan.
pub(crate) struct SourceOfChunks {
    /// What it is recognised by.
    pub(crate) identity: Identity,
    /// Time of a frame in the file minus its time in the plan, in nanoseconds.
    pub(crate) offset: i64,
    /// Whether frames that cannot be decoded are left out.
    pub(crate) ignore_damage: bool,
}

impl ChunkPlan {
    /// Creates a plan of the current version.
    pub(crate) fn new(
        source: SourceOfChunks,
        path: &VideoPath,
        encoder: (Encoder, u32),
        shots: Vec<u64>,
        chunks: Vec<Chunk>,
    ) -> Self {
        Self {
            version: VERSION,
            input: source.identity,
            ignore_damage: source.ignore_damage,
            frames: chunks.iter().map(|chunk| chunk.frames).sum(),
            caps: path.caps.to_string(),
            offset: source.offset,
            filter: path.filter.clone(),
            encoding: ChunkEncoding {
                encoder: encoder.0.factory.to_owned(),
                crf: encoder.1,
                input_depth: path.input_depth,
                output_depth: path.output_depth,
            },
            shots,
            chunks,
        }
    }

    /// Returns the hash of the plan, in hex digits.
    pub(crate) fn hash(&self) -> String {
        // Serialising these types to memory cannot fail.
        hex(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Writes the plan to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let sealed = Sealed { hash: self.hash(), plan: self.clone() };
        let text = serde_json::to_string(&sealed).map_err(|err| failed!("{err}"))?;
        write_whole(file, |temporary| {
            fs::write(temporary, text + "\n")
                .map_err(|err| failed!("cannot write {}: {err}", file.display()))
        })
    }

    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// The file cannot be read, or is not a plan of this version.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let text = fs::read(file).map_err(|err| failed!("cannot read {shown}: {err}"))?;
        let again = "make it again with cnnvideo plan";
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|err| failed!("{shown} is not a plan ({err}): {again}"))?;
        match value["plan"]["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => (),
            Some(version) => {
                return Err(failed!(
                    "{shown} is a plan of version {version}, this program reads version {VERSION}: \
                     use the same version of cnnvideo everywhere"
                ));
            }
            None => return Err(failed!("{shown} is not a plan: {again}")),
        }
        let Sealed { hash, plan } = serde_json::from_value(value)
            .map_err(|err| failed!("{shown} is not a plan ({err}): {again}"))?;
        if hash != plan.hash() || !plan.is_consistent() {
            return Err(failed!("{shown} was changed after it was made: {again}"));
        }
        Ok(plan)
    }

    /// Returns whether the numbers agree with each other.
    fn is_consistent(&self) -> bool {
        let mut next = 0;
        for chunk in &self.chunks {
            let ends = chunk.times.first().zip(chunk.times.last());
            let is_right = chunk.first_frame == next
                && chunk.frames == chunk.times.len() as u64
                && ends.is_some_and(|((first, _), (last, _))| {
                    (*first, *last) == (chunk.first_pts, chunk.last_pts)
                })
                && chunk.warm_up <= chunk.first_frame;
            if !is_right {
                return false;
            }
            next += chunk.frames;
        }
        let times = self.chunks.iter().flat_map(|chunk| &chunk.times).map(|(pts, _)| pts);
        next == self.frames
            && next > 0
            && times.is_sorted_by(|a, b| a < b)
            && self.shots.is_sorted_by(|a, b| a < b)
            && self.shots.iter().all(|first| *first < next)
    }

    /// Returns a chunk.
    ///
    /// # Errors
    /// There is none of this number.
    pub(crate) fn chunk(&self, number: usize) -> Result<&Chunk> {
        let count = self.chunks.len();
        self.chunks.get(number).ok_or_else(|| {
            failed!("there is no chunk {number}: the plan has the chunks 0 to {}", count - 1)
        })
    }

    /// Returns the timestamps of all frames.
    pub(crate) fn timestamps(&self) -> Vec<u64> {
        self.chunks.iter().flat_map(|chunk| chunk.times.iter().map(|(pts, _)| *pts)).collect()
    }

    /// Returns the encoder.
    ///
    /// # Errors
    /// It is not installed.
    pub(crate) fn encoder(&self) -> Result<Encoder> {
        Encoder::named(&self.encoding.encoder)
    }

    /// Returns the container of the chunks' files.
    ///
    /// # Errors
    /// The encoder is not installed.
    pub(crate) fn container(&self) -> Result<Container> {
        Ok(container_of_chunks(self.encoder()?))
    }

    /// Returns the elements through which the video passes.
    ///
    /// # Errors
    /// The encoder is not installed.
    pub(crate) fn path(&self, threads: Option<u32>) -> Result<VideoPath> {
        let caps = self.caps.parse().map_err(|_| failed!("the plan has wrong caps"))?;
        Ok(VideoPath {
            filter: self.filter.clone(),
            encoder: Some((self.encoder()?, self.encoding.crf)),
            input_depth: self.encoding.input_depth,
            output_depth: self.encoding.output_depth,
            threads: encoder_threads(threads),
            caps,
            fixed_headers: true,
            key_frame_interval: None,
        })
    }

    /// Returns the path of the file of a chunk in a folder. `plan` is the path of the plan.
    ///
    /// # Errors
    /// The encoder is not installed.
    pub(crate) fn chunk_file(&self, plan: &Path, folder: &Path, number: usize) -> Result<PathBuf> {
        let stem = plan.file_stem().unwrap_or_default().to_string_lossy();
        let extension = self.container()?.extension();
        Ok(folder.join(format!("{stem}-chunk-{number:05}.{extension}")))
    }
}

/// Returns the container of the chunks' files for an encoder: GStreamer 1.22 reads ProRes from
/// Matroska without times.
pub(crate) fn container_of_chunks(encoder: Encoder) -> Container {
    match encoder.codec {
        crate::codec::Codec::Prores => Container::Mov,
        _ => Container::Matroska,
    }
}

/// Returns the SHA-256 of bytes in hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    digits(&Sha256::digest(bytes))
}

/// Returns bytes as hex digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> ChunkPlan {
        let chunk = |first_frame: u64, frames: u64| Chunk {
            first_frame,
            frames,
            first_pts: first_frame * 40,
            last_pts: (first_frame + frames - 1) * 40,
            warm_up: first_frame.min(2),
            future: 0,
            times: (first_frame..first_frame + frames).map(|i| (i * 40, Some(40))).collect(),
        };
        ChunkPlan {
            version: VERSION,
            input: Identity { location: "in.mkv".into(), size: 7, sha256: hex(b"") },
            ignore_damage: false,
            frames: 9,
            caps: "video/x-raw".into(),
            offset: 0,
            filter: Filter::Description("identity".into()),
            encoding: ChunkEncoding {
                encoder: "avenc_ffv1".into(),
                crf: 0,
                input_depth: 8,
                output_depth: 8,
            },
            shots: vec![0],
            chunks: vec![chunk(0, 5), chunk(5, 4)],
        }
    }

    #[test]
    fn plans_are_read_as_they_were_written() {
        let folder = std::env::temp_dir().join(format!("cnnvideo-plan-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("plan.json");
        plan().write(&file).unwrap();
        assert_eq!(ChunkPlan::read(&file).unwrap(), plan());
        let text = fs::read_to_string(&file).unwrap();
        for (from, to, expected) in [
            ("\"crf\":0", "\"crf\":1", "was changed"),
            ("\"version\":2", "\"version\":1", "version 1"),
            ("\"frames\":9", "\"frames\":\"9\"", "is not a plan"),
            ("{\"hash\"", "{\"hush\"", "is not a plan"),
            ("{", "", "is not a plan"),
        ] {
            fs::write(&file, text.replacen(from, to, 1)).unwrap();
            let error = ChunkPlan::read(&file).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        fs::remove_dir_all(&folder).unwrap();
        assert!(ChunkPlan::read(&file).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn contradictions_are_found() {
        assert!(plan().is_consistent());
        let changes: [fn(&mut ChunkPlan); 7] = [
            |plan| plan.frames = 10,
            |plan| plan.chunks[1].first_frame = 4,
            |plan| plan.chunks[1].times[1].0 = 0,
            |plan| plan.chunks[0].last_pts = 1,
            |plan| plan.chunks[0].warm_up = 1,
            |plan| plan.shots[0] = 9,
            |plan| plan.chunks.clear(),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let mut plan = plan();
            change(&mut plan);
            assert!(!plan.is_consistent(), "change {i}");
        }
    }
}
