// SPDX-License-Identifier: MIT OR Apache-2.0

//! Arguments that all trainings share.

use std::path::PathBuf;

use cnnvideo::nn::{Device, Signature, arch::Architecture};
use cnnvideo_train::{Length, RunOptions};

// Options of every training run. (clap would take a documentation comment for the description of
// the program.)
#[derive(clap::Args)]
pub(super) struct RunArguments {
    /// Model file to write; checkpoint and training curve are written beside it
    #[arg(long)]
    out: PathBuf,
    /// Device that trains: cpu, or cuda:N with a CUDA build of libtorch
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Number of threads that prefetch training batches. With prefetching, the noise of fused
    /// clips is not reproducible
    #[arg(long, default_value_t = 0)]
    loaders: usize,
    /// Resume from the checkpoint beside the model file
    #[arg(long)]
    resume: bool,
    /// Model file with initial weights. Wider layers extend its weights; hidden channels beyond
    /// the new number are pruned
    #[arg(long)]
    init: Option<PathBuf>,
    /// Re-initialise hidden channels whose weights have diverged
    #[arg(long, requires = "init")]
    renew: bool,
    /// Safetensors file with pretrained weights, as written by scripts/efficientnet-lite;
    /// --init takes precedence
    #[arg(long)]
    pretrained: Option<PathBuf>,
    /// Length of the whole run in minutes, including the time before it was resumed
    #[arg(long, default_value_t = 120.0)]
    minutes: f64,
    /// Length of the whole run in steps instead of minutes; such a run is reproducible. With 0,
    /// nothing is trained, and `--quantise` only quantises
    #[arg(long, conflicts_with = "minutes")]
    steps: Option<u64>,
    /// Number of libtorch threads. One is most efficient; run several trainings in parallel
    /// instead
    #[arg(long, default_value_t = 1)]
    threads: i32,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of patches in a batch
    #[arg(long, default_value_t = 9)]
    batch: usize,
    /// Side of the patches in pixels, a multiple of 32
    #[arg(long, default_value_t = 128)]
    side: usize,
    /// Learning rate of the first step; it decays along a half cosine
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
    /// Share of the run, from its start, that computes in bfloat16 instead of float32
    #[arg(long, default_value_t = 0.0)]
    bf16_share: f64,
    /// Train the model given by --init for 8-bit integers
    #[arg(long, requires = "init")]
    quantise: bool,
}

impl RunArguments {
    /// Returns the options of the run, and sets the number of libtorch threads.
    pub(super) fn into_options(
        self,
        signature: Signature,
        architecture: Architecture,
    ) -> RunOptions {
        tch::set_num_threads(self.threads.max(1));
        RunOptions {
            out: self.out,
            signature,
            architecture,
            init: self.init,
            reinitialise_diverged: self.renew,
            pretrained: self.pretrained,
            resume: self.resume,
            length: self.steps.map_or(Length::Minutes(self.minutes), Length::Steps),
            seed: self.seed,
            batch_size: self.batch.max(1),
            patch_side: self.side.next_multiple_of(32).max(32),
            learning_rate: self.rate,
            bf16_share: self.bf16_share,
            quantise: self.quantise,
            device: self.device,
            prefetch_threads: self.loaders,
        }
    }
}
