//! Trains the networks of the plugin.
//!
//! `cargo run --release --features torch --example train -- denoise --data DIR --out FILE --minutes
//! 120`

#[cfg(not(feature = "torch"))]
fn main() {
    eprintln!(
        "Training needs libtorch: run `make torch`, or set LIBTORCH and use --features torch."
    );
    std::process::exit(2);
}

#[cfg(feature = "torch")]
fn main() {
    use clap::Parser;
    if let Err(err) = torch::run(torch::Arguments::parse()) {
        eprintln!("train: {err}");
        std::process::exit(1);
    }
}

#[cfg(feature = "torch")]
mod torch {
    use std::path::PathBuf;

    use clap::{Parser, Subcommand, ValueEnum};
    use cnnvideo::{
        denoise::{self, RGB, YUV420},
        nn::{
            Device, IoSpec, Signature,
            arch::{Architecture, InvertedUnet, ResidualUnet, Stage},
        },
        segment, smooth, watermark,
    };
    use cnnvideo_train as train;

    #[derive(Parser)]
    #[command(about = "Trains the networks of the cnnvideo plugin")]
    pub struct Arguments {
        #[command(subcommand)]
        task: Task,
    }

    #[derive(Subcommand)]
    enum Task {
        /// Train a denoising network of cnndenoise
        Denoise(Denoise),
        /// Train the noise estimator of cnndenoise
        Level(Level),
        /// Train the network of cnnsmooth
        Smooth(Smooth),
        /// Train the segmentation network of cnnsegment
        Segment(Segment),
        /// Train the masking network of watermarkembed
        Texture(Texture),
        /// Write test images for cnnsmooth: texture over structure, and the structure alone
        SmoothSet(SmoothSet),
    }

    #[derive(Clone, Copy, ValueEnum)]
    enum Domain {
        /// R, G and B
        Rgb,
        /// Y at full resolution, U and V at half resolution
        Yuv420,
    }

    #[derive(clap::Args)]
    struct Denoise {
        /// Folder with photographs (.jpg, .png); subfolders are included, except those named `eval`
        /// or `video`
        #[arg(long)]
        data: PathBuf,
        /// Planes that the network processes
        #[arg(long, value_enum, default_value = "yuv420")]
        domain: Domain,
        /// Share of the patches whose noise is not white: correlated between R, G and B, or
        /// low-frequency in chroma
        #[arg(long, default_value_t = 0.05)]
        coloured: f64,
        /// Share of the patches whose noisy pixels are clipped and rounded to 8 bits, as in video
        #[arg(long, default_value_t = 0.5)]
        clipped: f64,
        /// Share of the steps with camera noise (sensor noise after demosaicking)
        #[arg(long, default_value_t = 0.0)]
        camera: f64,
        /// Share of the steps that train on temporally fused frames of synthetic clips
        #[arg(long, default_value_t = 0.0)]
        fused: f64,
        /// Channels of each U-Net stage, the full-resolution stage first
        #[arg(long, value_delimiter = ',', default_value = "16,32,64")]
        widths: Vec<usize>,
        /// Hidden channels of the residual blocks in each stage
        #[arg(long, value_delimiter = ',', default_value = "16,32,48")]
        hidden: Vec<usize>,
        /// Number of residual blocks in each stage of the encoder
        #[arg(long, value_delimiter = ',', default_value = "1,1,2")]
        down_blocks: Vec<usize>,
        /// Number of residual blocks in each stage of the decoder (all stages but the lowest
        /// resolution)
        #[arg(long, value_delimiter = ',', default_value = "1,1")]
        up_blocks: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct Smooth {
        /// Folder with drawings on transparent background (.png), such as Debian's openclipart-png
        #[arg(long)]
        drawings: PathBuf,
        /// Folder with photographs of textures
        #[arg(long)]
        textures: PathBuf,
        /// Folder with the photographs of BSDS500
        #[arg(long)]
        photos: PathBuf,
        /// Folder with their annotated boundaries as images, as written by scripts/bsds500
        #[arg(long)]
        boundaries: PathBuf,
        /// Share of the loss, 0 to 1, that judges the solver's output rather than the predicted
        /// guidance map
        #[arg(long, default_value_t = 0.0)]
        solved: f64,
        /// Channels of each U-Net stage, the full-resolution stage first
        #[arg(long, value_delimiter = ',', default_value = "8,32,40,48,64")]
        widths: Vec<usize>,
        /// Hidden channels of the residual blocks in each stage
        #[arg(long, value_delimiter = ',', default_value = "8,16,32,48,64")]
        hidden: Vec<usize>,
        /// Number of residual blocks in each stage of the encoder
        #[arg(long, value_delimiter = ',', default_value = "0,0,1,1,1")]
        down_blocks: Vec<usize>,
        /// Number of residual blocks in each stage of the decoder (all stages but the lowest
        /// resolution)
        #[arg(long, value_delimiter = ',', default_value = "0,1,0,0")]
        up_blocks: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct Segment {
        /// Folder with the photographs of BSDS500
        #[arg(long)]
        photos: PathBuf,
        /// Folder with the regions annotated in them, as written by scripts/bsds500
        #[arg(long)]
        regions: PathBuf,
        /// Folder with drawings on transparent background (.png), such as Debian's openclipart-png
        #[arg(long)]
        drawings: PathBuf,
        /// Hidden channels of the residual blocks in the decoder, the full-resolution stage first
        #[arg(long, value_delimiter = ',', default_value = "12,24,32,32")]
        hidden: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct Texture {
        /// Folder with photographs (.jpg, .png); subfolders are included, except those named `eval`
        /// or `video`
        #[arg(long)]
        data: PathBuf,
        /// Channels of each U-Net stage, the full-resolution stage first
        #[arg(long, value_delimiter = ',', default_value = "8,16")]
        widths: Vec<usize>,
        /// Hidden channels of the residual blocks in each stage
        #[arg(long, value_delimiter = ',', default_value = "8,16")]
        hidden: Vec<usize>,
        /// Number of residual blocks in each stage of the encoder
        #[arg(long, value_delimiter = ',', default_value = "0,1")]
        down_blocks: Vec<usize>,
        /// Number of residual blocks in each stage of the decoder (all stages but the lowest
        /// resolution)
        #[arg(long, value_delimiter = ',', default_value = "1")]
        up_blocks: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct Level {
        /// Folder with photographs (.jpg, .png); subfolders are included, except those named `eval`
        /// or `video`
        #[arg(long)]
        data: PathBuf,
        /// Channels of each U-Net stage, the full-resolution stage first
        #[arg(long, value_delimiter = ',', default_value = "16,24,32")]
        widths: Vec<usize>,
        /// Hidden channels of the residual blocks in each stage
        #[arg(long, value_delimiter = ',', default_value = "16,24,32")]
        hidden: Vec<usize>,
        /// Number of residual blocks in each stage of the encoder
        #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
        down_blocks: Vec<usize>,
        /// Number of residual blocks in each stage of the decoder (all stages but the lowest
        /// resolution)
        #[arg(long, value_delimiter = ',', default_value = "0,0")]
        up_blocks: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct SmoothSet {
        /// Folder with drawings on transparent background (.png)
        #[arg(long)]
        drawings: PathBuf,
        /// Folder with photographs of textures
        #[arg(long)]
        textures: PathBuf,
        /// Folder to write to
        #[arg(long)]
        out: PathBuf,
        /// Use the half of the data that networks are trained on, for tuning; the default is the
        /// evaluation half
        #[arg(long)]
        training: bool,
        /// Number of image pairs to write
        #[arg(long, default_value_t = 48)]
        count: usize,
    }

    // Options of every training run.
    #[derive(clap::Args)]
    struct Run {
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

    pub fn run(arguments: Arguments) -> Result<(), train::Error> {
        match arguments.task {
            Task::Denoise(task) => {
                let signature = match task.domain {
                    Domain::Rgb => RGB,
                    Domain::Yuv420 => YUV420,
                };
                let (widths, hidden) = (task.widths, task.hidden);
                let unet = unet(signature.io, widths, hidden, task.down_blocks, task.up_blocks);
                train::denoise::denoise(&train::denoise::Options {
                    run: task.run.options(signature, unet),
                    data: task.data,
                    coloured: task.coloured.clamp(0.0, 1.0),
                    clipped: task.clipped.clamp(0.0, 1.0),
                    fused: task.fused.clamp(0.0, 1.0),
                    camera: task.camera.clamp(0.0, 1.0),
                })
            }
            Task::Texture(task) => {
                let signature = watermark::training::SIGNATURE;
                let unet =
                    unet(signature.io, task.widths, task.hidden, task.down_blocks, task.up_blocks);
                train::texture::texture(&train::texture::Options {
                    run: task.run.options(signature, unet),
                    data: task.data,
                })
            }
            Task::Level(task) => {
                let signature = denoise::estimate::SIGNATURE;
                let unet =
                    unet(signature.io, task.widths, task.hidden, task.down_blocks, task.up_blocks);
                train::level::level(&train::level::Options {
                    run: task.run.options(signature, unet),
                    data: task.data,
                })
            }
            Task::SmoothSet(task) => smooth_set(&task),
            Task::Segment(task) => {
                let signature = segment::SIGNATURE;
                let unet = Architecture::InvertedUnet(efficientnet_lite(signature.io, task.hidden));
                train::segment::segment(&train::segment::Options {
                    run: task.run.options(signature, unet),
                    photos: task.photos,
                    regions: task.regions,
                    drawings: task.drawings,
                })
            }
            Task::Smooth(task) => {
                let signature = smooth::SIGNATURE;
                let (widths, hidden) = (task.widths, task.hidden);
                let unet = unet(signature.io, widths, hidden, task.down_blocks, task.up_blocks);
                train::smooth::smooth(&train::smooth::Options {
                    run: task.run.options(signature, unet),
                    drawings: task.drawings,
                    textures: task.textures,
                    photos: task.photos,
                    boundaries: task.boundaries,
                    solved: task.solved,
                })
            }
        }
    }

    /// Writes test images for cnnsmooth.
    fn smooth_set(task: &SmoothSet) -> Result<(), train::Error> {
        let half = if task.training {
            train::smooth::Half::Training
        } else {
            train::smooth::Half::Evaluation
        };
        train::smooth::write_set(&task.drawings, &task.textures, &task.out, half, task.count)
    }

    /// Returns a residual U-Net with these channels.
    fn unet(
        io: IoSpec,
        widths: Vec<usize>,
        hidden: Vec<usize>,
        down_blocks: Vec<usize>,
        up_blocks: Vec<usize>,
    ) -> Architecture {
        let (inputs, outputs) = (io.inputs(), io.output);
        Architecture::ResidualUnet(ResidualUnet {
            inputs,
            outputs,
            widths,
            hidden,
            down_blocks,
            up_blocks,
        })
    }

    /// Returns an encoder like EfficientNet-Lite0 down to 1/8 of its input size (the input is half
    /// the size of the frame), with 16 additional channels in the head for the user's input.
    fn efficientnet_lite(io: IoSpec, up_hidden: Vec<usize>) -> InvertedUnet {
        let stage = |side, stride, blocks, expansion, channels| Stage {
            side,
            stride,
            blocks,
            expansion,
            channels,
        };
        InvertedUnet {
            inputs: io.inputs(),
            outputs: io.output,
            head: 32 + 16,
            stages: vec![
                stage(3, 1, 1, 1, 16 + 8),
                stage(3, 2, 1, 4, 24),
                stage(3, 1, 1, 6, 24),
                stage(5, 2, 2, 6, 40),
                stage(3, 2, 3, 6, 80),
                stage(5, 1, 3, 6, 112),
            ],
            side: vec![16, 32],
            up_hidden,
            up_blocks: vec![1, 1, 1, 3],
        }
    }

    impl Run {
        fn options(self, signature: Signature, architecture: Architecture) -> train::Options {
            tch::set_num_threads(self.threads.max(1));
            train::Options {
                out: self.out,
                signature,
                architecture,
                init: self.init,
                renew: self.renew,
                pretrained: self.pretrained,
                resume: self.resume,
                length: self
                    .steps
                    .map_or(train::Length::Minutes(self.minutes), train::Length::Steps),
                seed: self.seed,
                batch: self.batch.max(1),
                side: self.side.next_multiple_of(32).max(32),
                rate: self.rate,
                bf16_share: self.bf16_share,
                quantise: self.quantise,
                device: self.device,
                loaders: self.loaders,
            }
        }
    }
}
