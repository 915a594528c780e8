//! Trains the networks of the plugin.
//!
//! `cargo run --release --features torch --example train -- denoise --data DIR --out FILE --minutes 120`

#[cfg(not(feature = "torch"))]
fn main() {
    eprintln!(
        "Training needs libtorch: run `make torch`, or build with --features torch and LIBTORCH set."
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
    use gstcnnvideo::{
        nn::{
            Device,
            arch::{Architecture, InvertedUnet, ResidualUnet, Stage},
            model,
        },
        train,
    };

    #[derive(Parser)]
    #[command(about = "Trains the networks of the cnnvideo plugin")]
    pub struct Arguments {
        #[command(subcommand)]
        task: Task,
    }

    #[derive(Subcommand)]
    enum Task {
        /// The networks of cnndenoise.
        Denoise(Denoise),
        /// The network that tells cnndenoise how strong noise is.
        Level(Level),
        /// The network of cnnsmooth.
        Smooth(Smooth),
        /// The network of cnnsegment.
        Segment(Segment),
        /// The network of watermarkembed's mask.
        Texture(Texture),
        /// Writes pictures with texture over structure to measure cnnsmooth on.
        SmoothSet(SmoothSet),
    }

    #[derive(Clone, Copy, ValueEnum)]
    enum Domain {
        Rgb,
        Yuv420,
    }

    #[derive(clap::Args)]
    struct Denoise {
        /// Folder with photographs (.jpg, .png), searched with its subfolders.
        #[arg(long)]
        data: PathBuf,
        /// Planes that the network works on.
        #[arg(long, value_enum, default_value = "yuv420")]
        domain: Domain,
        /// Share of the patches whose noise is not white: shared by R, G and B, or in blotches of chroma.
        #[arg(long, default_value_t = 0.05)]
        coloured: f64,
        /// Share of the patches whose noise is clipped and rounded to 8 bits, as in video.
        #[arg(long, default_value_t = 0.5)]
        clipped: f64,
        /// Share of the steps whose noise is that of cameras: of a sensor, demosaicked.
        #[arg(long, default_value_t = 0.0)]
        camera: f64,
        /// Share of the steps that learn from moving scenes fused along time.
        #[arg(long, default_value_t = 0.0)]
        fused: f64,
        /// Channels of each level, the finest first.
        #[arg(long, value_delimiter = ',', default_value = "16,32,64")]
        widths: Vec<usize>,
        /// Channels inside the residual blocks of each level.
        #[arg(long, value_delimiter = ',', default_value = "16,32,48")]
        hidden: Vec<usize>,
        /// Blocks of each level on the way down.
        #[arg(long, value_delimiter = ',', default_value = "1,1,2")]
        down_blocks: Vec<usize>,
        /// Blocks of each level but the coarsest on the way up.
        #[arg(long, value_delimiter = ',', default_value = "1,1")]
        up_blocks: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct Smooth {
        /// Folder with drawings on transparent ground (.png), such as Debian's openclipart-png.
        #[arg(long)]
        drawings: PathBuf,
        /// Folder with photographs of textures.
        #[arg(long)]
        textures: PathBuf,
        /// Folder with photographs of BSDS500.
        #[arg(long)]
        photos: PathBuf,
        /// Folder with their boundaries as pictures, from scripts/bsds500.
        #[arg(long)]
        boundaries: PathBuf,
        /// Share of the loss that judges what the solver makes with the guide, rather than the guide.
        #[arg(long, default_value_t = 0.0)]
        solved: f64,
        /// Channels of each level, the finest first.
        #[arg(long, value_delimiter = ',', default_value = "8,32,40,48,64")]
        widths: Vec<usize>,
        /// Channels inside the residual blocks of each level.
        #[arg(long, value_delimiter = ',', default_value = "8,16,32,48,64")]
        hidden: Vec<usize>,
        /// Blocks of each level on the way down.
        #[arg(long, value_delimiter = ',', default_value = "0,0,1,1,1")]
        down_blocks: Vec<usize>,
        /// Blocks of each level but the coarsest on the way up.
        #[arg(long, value_delimiter = ',', default_value = "0,1,0,0")]
        up_blocks: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct Segment {
        /// Folder with photographs of BSDS500.
        #[arg(long)]
        photos: PathBuf,
        /// Folder with the regions that people drew in them, from scripts/bsds500.
        #[arg(long)]
        regions: PathBuf,
        /// Folder with drawings on transparent ground (.png), such as Debian's openclipart-png.
        #[arg(long)]
        drawings: PathBuf,
        /// Channels inside the residual blocks on the way up, the finest level first.
        #[arg(long, value_delimiter = ',', default_value = "12,24,32,32")]
        hidden: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct Texture {
        /// Folder with photographs (.jpg, .png), searched with its subfolders.
        #[arg(long)]
        data: PathBuf,
        /// Channels of each level, the finest first.
        #[arg(long, value_delimiter = ',', default_value = "8,16")]
        widths: Vec<usize>,
        /// Channels inside the residual blocks of each level.
        #[arg(long, value_delimiter = ',', default_value = "8,16")]
        hidden: Vec<usize>,
        /// Blocks of each level on the way down.
        #[arg(long, value_delimiter = ',', default_value = "0,1")]
        down_blocks: Vec<usize>,
        /// Blocks of each level but the coarsest on the way up.
        #[arg(long, value_delimiter = ',', default_value = "1")]
        up_blocks: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct Level {
        /// Folder with photographs (.jpg, .png), searched with its subfolders.
        #[arg(long)]
        data: PathBuf,
        /// Channels of each level, the finest first.
        #[arg(long, value_delimiter = ',', default_value = "16,24,32")]
        widths: Vec<usize>,
        /// Channels inside the residual blocks of each level.
        #[arg(long, value_delimiter = ',', default_value = "16,24,32")]
        hidden: Vec<usize>,
        /// Blocks of each level on the way down.
        #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
        down_blocks: Vec<usize>,
        /// Blocks of each level but the coarsest on the way up.
        #[arg(long, value_delimiter = ',', default_value = "0,0")]
        up_blocks: Vec<usize>,
        #[command(flatten)]
        run: Run,
    }

    #[derive(clap::Args)]
    struct SmoothSet {
        /// Folder with drawings on transparent ground (.png).
        #[arg(long)]
        drawings: PathBuf,
        /// Folder with photographs of textures.
        #[arg(long)]
        textures: PathBuf,
        /// Folder to write to.
        #[arg(long)]
        out: PathBuf,
        /// Takes the half of the data that networks are trained on, to tune on.
        #[arg(long)]
        training: bool,
        #[arg(long, default_value_t = 48)]
        count: usize,
    }

    /// What every run has.
    #[derive(clap::Args)]
    struct Run {
        /// Model file to write; checkpoint and curve go beside it.
        #[arg(long)]
        out: PathBuf,
        /// Where to train: cpu, or cuda:N with a libtorch that has CUDA.
        #[arg(long, default_value = "cpu")]
        device: Device,
        /// Threads that draw what the next steps learn from. With any, the noise of fused clips does not follow from the seed.
        #[arg(long, default_value_t = 0)]
        loaders: usize,
        /// Goes on from the checkpoint beside the model file.
        #[arg(long)]
        resume: bool,
        /// Model file to take weights from; wider layers grow from its narrower ones, hidden channels that are too many go.
        #[arg(long)]
        init: Option<PathBuf>,
        /// Lets hidden channels begin anew whose weights ran away.
        #[arg(long, requires = "init")]
        renew: bool,
        /// File of weights to begin with, from scripts/efficientnet-lite.
        #[arg(long)]
        pretrained: Option<PathBuf>,
        /// Length of the whole run in minutes, counted over resumes.
        #[arg(long, default_value_t = 120.0)]
        minutes: f64,
        /// Length of the whole run in steps, instead of in minutes; such a run can be repeated exactly. With 0, `--quantise` only rounds.
        #[arg(long, conflicts_with = "minutes")]
        steps: Option<u64>,
        /// Threads of libtorch. One is best; run several trainings beside each other instead.
        #[arg(long, default_value_t = 1)]
        threads: i32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[arg(long, default_value_t = 9)]
        batch: usize,
        /// Side of the patches, a multiple of 32.
        #[arg(long, default_value_t = 128)]
        side: usize,
        #[arg(long, default_value_t = 1e-3)]
        rate: f64,
        /// Share of the run that computes in bfloat16 before it changes to float32.
        #[arg(long, default_value_t = 0.0)]
        bf16_share: f64,
        /// Trains a finished model, given by --init, for 8-bit integers.
        #[arg(long, requires = "init")]
        quantise: bool,
    }

    pub fn run(arguments: Arguments) -> Result<(), train::Error> {
        match arguments.task {
            Task::Denoise(task) => {
                let domain = match task.domain {
                    Domain::Rgb => model::Domain::Rgb,
                    Domain::Yuv420 => model::Domain::Yuv420,
                };
                let (widths, hidden) = (task.widths, task.hidden);
                let unet = unet(domain, widths, hidden, task.down_blocks, task.up_blocks);
                train::denoise::denoise(&train::denoise::Options {
                    run: task.run.options(domain, unet),
                    data: task.data,
                    coloured: task.coloured.clamp(0.0, 1.0),
                    clipped: task.clipped.clamp(0.0, 1.0),
                    fused: task.fused.clamp(0.0, 1.0),
                    camera: task.camera.clamp(0.0, 1.0),
                })
            }
            Task::Texture(task) => {
                let domain = model::Domain::Texture;
                let unet = unet(domain, task.widths, task.hidden, task.down_blocks, task.up_blocks);
                train::texture::texture(&train::texture::Options {
                    run: task.run.options(domain, unet),
                    data: task.data,
                })
            }
            Task::Level(task) => {
                let domain = model::Domain::Plane;
                let unet = unet(domain, task.widths, task.hidden, task.down_blocks, task.up_blocks);
                train::level::level(&train::level::Options {
                    run: task.run.options(domain, unet),
                    data: task.data,
                })
            }
            Task::SmoothSet(task) => smooth_set(&task),
            Task::Segment(task) => {
                let domain = model::Domain::Region;
                let unet = Architecture::InvertedUnet(efficientnet_lite(domain, task.hidden));
                train::segment::segment(&train::segment::Options {
                    run: task.run.options(domain, unet),
                    photos: task.photos,
                    regions: task.regions,
                    drawings: task.drawings,
                })
            }
            Task::Smooth(task) => {
                let domain = model::Domain::Guide;
                let (widths, hidden) = (task.widths, task.hidden);
                let unet = unet(domain, widths, hidden, task.down_blocks, task.up_blocks);
                train::smooth::smooth(&train::smooth::Options {
                    run: task.run.options(domain, unet),
                    drawings: task.drawings,
                    textures: task.textures,
                    photos: task.photos,
                    boundaries: task.boundaries,
                    solved: task.solved,
                })
            }
        }
    }

    fn smooth_set(task: &SmoothSet) -> Result<(), train::Error> {
        let half = if task.training {
            train::smooth::Half::Training
        } else {
            train::smooth::Half::Evaluation
        };
        train::smooth::write_set(&task.drawings, &task.textures, &task.out, half, task.count)
    }

    fn unet(
        domain: model::Domain,
        widths: Vec<usize>,
        hidden: Vec<usize>,
        down_blocks: Vec<usize>,
        up_blocks: Vec<usize>,
    ) -> Architecture {
        let (inputs, outputs) = (domain.inputs(), domain.outputs());
        Architecture::ResidualUnet(ResidualUnet {
            inputs,
            outputs,
            widths,
            hidden,
            down_blocks,
            up_blocks,
        })
    }

    /// EfficientNet-Lite0 down to an eighth of its input, itself half of the picture, with sixteen channels more in front for what the person says.
    fn efficientnet_lite(domain: model::Domain, up_hidden: Vec<usize>) -> InvertedUnet {
        let stage = |side, stride, blocks, expansion, channels| Stage {
            side,
            stride,
            blocks,
            expansion,
            channels,
        };
        InvertedUnet {
            inputs: domain.inputs(),
            outputs: domain.outputs(),
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
        fn options(self, domain: model::Domain, architecture: Architecture) -> train::Options {
            tch::set_num_threads(self.threads.max(1));
            train::Options {
                out: self.out,
                domain,
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
