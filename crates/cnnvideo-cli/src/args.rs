// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use cnnvideo::watermark::Payload;

use crate::{
    chunks::{CHUNK_FRAMES, WARM_UP},
    codec::Codec,
    container::Container,
};

const EXAMPLES: &str = "\
Examples:
  cnnvideo info in.mp4                      what is in the file, its noise, a suggestion
  cnnvideo denoise in.mp4 out.mkv           remove noise, keep sound and subtitles
  cnnvideo denoise in.mkv out.mkv --codec ffv1 --set strength=0.8
  cnnvideo deband in.mp4 out.mkv --depth 10
  cnnvideo watermark key new my.key
  cnnvideo watermark embed in.mp4 out.mp4 --key-file my.key --payload 00000000c0ffee42
  cnnvideo watermark detect out.mp4 --key-file my.key
  cnnvideo compare original.mp4 out.mp4 --report report
  cnnvideo studio in.mp4                    try settings in the browser
  cnnvideo denoise in.mkv out.mkv --resume  goes on after an interruption
  cnnvideo plan in.mkv --out plan.json && cnnvideo chunk plan.json 0   (1, 2, ... elsewhere)
  cnnvideo join plan.json out.mkv
  ffmpeg -i in.mov -f yuv4mpegpipe - | cnnvideo denoise - - | x265 --y4m - -o out.hevc

Exit status: 0 done, 1 failed, 2 wrong usage, 3 no watermark found (watermark detect).";

/// Arguments of the program.
#[derive(Debug, Parser)]
#[command(name = "cnnvideo", version, after_help = EXAMPLES)]
#[command(about = "Denoises, smooths, debands, watermarks and compares video files")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Remove noise from a video
    Denoise(Transform),
    /// Remove texture up to a chosen size from a video, and keep edges
    Smooth(Transform),
    /// Remove false contours (banding) from the gradients of a video; --depth 10 avoids dither
    Deband(Transform),
    /// Divide a video into chunks, for several processes or machines
    Plan(PlanArguments),
    /// Process a chunk of a plan; done at once if that was finished before
    Chunk(ChunkArguments),
    /// Put the chunks of a plan together, with the sound and all other streams of the video
    Join(JoinArguments),
    /// Embed or detect an invisible watermark, or create a key for it
    #[command(subcommand)]
    Watermark(Watermark),
    /// Measure how much a video differs from a reference: PSNR, SSIM and more
    Compare(CompareArguments),
    /// Compare a video before and after the elements in the browser, and export the command
    Studio(StudioArguments),
    /// Print a script that completes the arguments in a shell
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Manual {
        /// Folder
        folder: PathBuf,
    },
    /// Show the streams of a file and its noise, and suggest a command
    Info {
        /// Video file
        file: PathBuf,
        #[command(flatten)]
        report: ReportArguments,
    },
}

/// The subcommands of `watermark`.
#[derive(Debug, Subcommand)]
pub(crate) enum Watermark {
    /// Embed a payload of 64 bits in a video, or one in each of its segments
    Embed(EmbedArguments),
    /// Find payloads; exit status 0 if every file has one, 3 if one has none
    Detect {
        /// Video files, or - for y4m from the standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// File with the secret key
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// Name of the video that was given to `watermark embed`
        #[arg(long, value_name = "TEXT")]
        nonce: Option<String>,
        /// Read each file to its end, for all its payloads, instead of up to the first one
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        progress: ProgressArguments,
    },
    /// Write two variants of a video as HLS streams, whose segments carry different payloads
    Variants(VariantsArguments),
    /// Write the playlist of a receiver, which mixes both variants of `watermark variants`
    Playlist(PlaylistArguments),
    /// Find the receivers that a copy of `watermark variants` comes from; exit status 0 if there is
    /// one, 3 if there is none
    Trace(TraceArguments),
    /// Content credentials (C2PA) that are found again by the watermark
    #[cfg(feature = "c2pa")]
    #[command(subcommand)]
    Credential(crate::credential::CredentialCommand),
    /// Keys
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Arguments of `watermark variants`.
#[derive(Debug, Args)]
pub(crate) struct VariantsArguments {
    /// Video file
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Folder to create
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// File with the secret key (cnnvideo watermark key new FILE creates one)
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// Number of the video, to tell it from others of the same key
    #[arg(long, value_name = "N")]
    pub(crate) asset: u32,
    /// Length of a segment in seconds; it is rounded to multiples of 24 frames
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0, value_parser = segment_length)]
    pub(crate) segment: f64,
    /// Number of receivers who may mix their copies; more need more segments
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) colluders: u32,
    /// Lowest PSNR of marked frames in dB; lower is more robust and more visible
    #[arg(long, value_name = "DB")]
    pub(crate) target_psnr: Option<f32>,
    /// Quality of H.264, 0 to 50; a lower number is better and larger
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=50))]
    pub(crate) crf: u32,
    /// Threads of the element and of the encoder; by default one for each core
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: Option<u32>,
    #[command(flatten)]
    pub(crate) progress: ProgressArguments,
}

/// Parses the length of a segment.
fn segment_length(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (1.0..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("it must be 1 to 60 seconds".into()),
    }
}

/// Arguments of `watermark playlist`.
#[derive(Debug, Args)]
pub(crate) struct PlaylistArguments {
    /// Folder of `watermark variants`
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// File with the secret key
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// Number of the receiver
    #[arg(long, value_name = "N")]
    pub(crate) receiver: u32,
    /// File to write; by default receiver-N.m3u8 in DIR
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// URL of DIR, for a playlist that is stored elsewhere
    #[arg(long, value_name = "URL")]
    pub(crate) base: Option<String>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// Arguments of `watermark trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArguments {
    /// Folder of `watermark variants`; variants.json is enough
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The copy: one or more video files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// File with the secret key
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// Number of receivers, which have the numbers from 0 on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) receivers: u32,
    /// Probability of accusing any innocent receiver
    #[arg(long, value_name = "P", default_value_t = 1e-3, value_parser = probability)]
    pub(crate) false_accusations: f64,
    #[command(flatten)]
    pub(crate) progress: ProgressArguments,
}

/// Parses a probability.
fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(probability) if probability > 0.0 && probability <= 0.5 => Ok(probability),
        _ => Err("it must be above 0 and at most 0.5".into()),
    }
}

/// Arguments of `watermark embed`.
#[derive(Debug, Args)]
pub(crate) struct EmbedArguments {
    #[command(flatten)]
    pub(crate) files: Files,
    /// File with the secret key (cnnvideo watermark key new FILE creates one)
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// Name of the video, which gives it a key of its own; `watermark detect` needs it, too
    #[arg(long, value_name = "TEXT")]
    pub(crate) nonce: Option<String>,
    /// Payload, 16 hex digits
    #[arg(long, value_name = "HEX", required_unless_present = "payload_file")]
    pub(crate) payload: Option<Payload>,
    /// File with the payload of each segment: lines FIRST-FRAME PAYLOAD
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub(crate) payload_file: Option<PathBuf>,
    /// Lowest PSNR of marked frames in dB; lower is more robust and more visible
    #[arg(long, value_name = "DB")]
    pub(crate) target_psnr: Option<f32>,
    /// Work in chunks that survive an end by a signal or a crash, as of denoise
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) encoding: Encoding,
    #[command(flatten)]
    pub(crate) progress: ProgressArguments,
}

/// The subcommands of `watermark key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a file with a random key that only you can read
    New {
        /// File to create
        file: PathBuf,
        #[command(flatten)]
        report: ReportArguments,
    },
}

/// What processes the video.
#[derive(Debug, Args)]
pub(crate) struct FilterArguments {
    /// Property of the element, for example strength=0.8; may be repeated
    #[arg(long = "set", value_name = "PROPERTY=VALUE", conflicts_with = "filter")]
    pub(crate) set: Vec<String>,
    /// GStreamer elements to run instead, for example "cnndenoise ! cnnsmooth scale=4"
    #[arg(long, value_name = "ELEMENTS")]
    pub(crate) filter: Option<String>,
}

/// Arguments of `studio`.
#[derive(Debug, Args)]
pub(crate) struct StudioArguments {
    /// Video to open, or folder with videos; by default the current folder
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) path: Option<PathBuf>,
    /// Address and port of the server; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Print the address only
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Folder whose files may be opened and written too; may be repeated
    #[arg(long, value_name = "FOLDER")]
    pub(crate) allow: Vec<PathBuf>,
}

/// Arguments of the commands that run one element over a video.
#[derive(Debug, Args)]
pub(crate) struct Transform {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// Work in chunks that survive an end by a signal or a crash; with this option again, the next
    /// run goes on behind the last finished one
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) encoding: Encoding,
    #[command(flatten)]
    pub(crate) progress: ProgressArguments,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Video file, y4m or its http(s) URL
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Plan to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Replace the plan if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    #[command(flatten)]
    pub(crate) quality: Quality,
    /// Container of the final file
    #[arg(long, default_value = "mkv", value_parser = Container::of_extension)]
    pub(crate) container: Container,
    /// About how many frames a chunk has: half to one and a half of this
    #[arg(long, value_name = "N", default_value_t = CHUNK_FRAMES)]
    #[arg(value_parser = clap::value_parser!(u64).range(8..=1_000_000))]
    pub(crate) chunk_frames: u64,
    /// Frames that are processed and discarded before a chunk that does not begin at a cut
    #[arg(long, value_name = "N", default_value_t = WARM_UP)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub(crate) warm_up: u64,
    /// Leave out frames of IN that are damaged; without it, the first one is an error
    #[arg(long)]
    pub(crate) ignore_damage: bool,
    #[command(flatten)]
    pub(crate) progress: ProgressArguments,
}

/// Arguments of `chunk`.
#[derive(Debug, Args)]
pub(crate) struct ChunkArguments {
    /// Plan
    pub(crate) plan: PathBuf,
    /// Number of the chunk, from 0 on
    #[arg(value_name = "N")]
    pub(crate) number: usize,
    /// Folder for the file of the chunk; by default that of the plan
    #[arg(long, value_name = "DIR")]
    pub(crate) out_dir: Option<PathBuf>,
    /// Threads of the element and of the encoder; by default one for each core
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: Option<u32>,
    #[command(flatten)]
    pub(crate) progress: ProgressArguments,
}

/// Arguments of `join`.
#[derive(Debug, Args)]
pub(crate) struct JoinArguments {
    /// Plan
    pub(crate) plan: PathBuf,
    /// File to write: .mkv, .mp4, .mov or .webm
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Folder of the chunks; by default that of the plan
    #[arg(long, value_name = "DIR")]
    pub(crate) chunk_dir: Option<PathBuf>,
    /// Replace OUT if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Leave out the streams that the container of OUT cannot hold, instead of failing
    #[arg(long)]
    pub(crate) drop_unsupported: bool,
    #[command(flatten)]
    pub(crate) progress: ProgressArguments,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// Reference: the original video
    #[arg(value_name = "A")]
    pub(crate) reference: PathBuf,
    /// Video to measure, of the same size and times
    #[arg(value_name = "B")]
    pub(crate) test: PathBuf,
    /// Additional measures, which take more time, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) measures: Vec<ExtraMeasure>,
    /// Write a page with curves over the frames and pictures of the worst ones into this folder,
    /// which must be new or empty
    #[arg(long = "report", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) progress: ProgressArguments,
}

/// Additional measures of `compare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExtraMeasure {
    /// PSNR weighted by the activity of the reference.
    Xpsnr,
    /// Perceptual score, 100 for equal frames.
    Ssimulacra2,
}

/// Input and output.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Video file or its http(s) URL, or - for YUV4MPEG2 (y4m) from the standard input
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// File to write: .mkv, .mp4, .mov, .webm or .y4m; or - for y4m to the standard output
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Replace OUT if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// Codec, quality and bit depth of the video in OUT.
#[derive(Debug, Args)]
pub(crate) struct Quality {
    /// Codec of the video in OUT; by default one that suits the container
    #[arg(long)]
    pub(crate) codec: Option<Codec>,
    /// Quality for h264 and h265 (0 to 50, default 18), vp9 and av1 (0 to 63, default 24); a lower
    /// number is better and larger
    #[arg(long, value_name = "N")]
    pub(crate) crf: Option<u32>,
    /// Bits of a sample in OUT; by default those of IN
    #[arg(long, value_name = "BITS")]
    pub(crate) depth: Option<BitDepth>,
}

/// How the video is encoded.
#[derive(Debug, Args)]
pub(crate) struct Encoding {
    #[command(flatten)]
    pub(crate) quality: Quality,
    /// Threads of the element and of the encoder; by default one for each core
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: Option<u32>,
    /// Leave out the streams that the container of OUT cannot hold, instead of failing
    #[arg(long)]
    pub(crate) drop_unsupported: bool,
    /// Go on where frames of IN are damaged; without it, the first one is an error
    #[arg(long)]
    pub(crate) ignore_damage: bool,
}

/// Bits of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BitDepth {
    /// 8 bits.
    #[value(name = "8")]
    Eight,
    /// 10 bits.
    #[value(name = "10")]
    Ten,
}

/// What is printed during the work and at its end.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ProgressArguments {
    /// Progress: a bar on the standard error if it is a terminal; one JSON object a second on the
    /// standard output; or nothing
    #[arg(long, value_name = "HOW", default_value = "bar")]
    pub(crate) progress: ProgressMode,
    #[command(flatten)]
    pub(crate) report: ReportArguments,
}

/// The form of the report.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ReportArguments {
    /// Print the result as JSON on the standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// The form of the progress report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar on a terminal.
    Bar,
    /// One JSON object a second.
    Json,
    /// Nothing.
    None,
}
