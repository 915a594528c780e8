//! Trains the networks of the plugin.
//!
//! `cargo run --release --features torch --example train -- denoise --data DIR --out FILE --minutes 120`

#[cfg(not(feature = "torch"))]
fn main() {
    eprintln!("Training needs libtorch: run `make torch`, or build with --features torch and LIBTORCH set.");
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
        nn::{arch::ResidualUnet, model},
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
        /// Model file to write; checkpoint and curve go beside it.
        #[arg(long)]
        out: PathBuf,
        /// Planes that the network works on.
        #[arg(long, value_enum, default_value = "yuv420")]
        domain: Domain,
        /// Goes on from the checkpoint beside the model file.
        #[arg(long)]
        resume: bool,
        /// Model file to take weights of matching layers from.
        #[arg(long)]
        init: Option<PathBuf>,
        /// Length of the whole run in minutes, counted over resumes.
        #[arg(long, default_value_t = 120.0)]
        minutes: f64,
        /// Length of the whole run in steps, instead of in minutes; such a run can be repeated exactly.
        #[arg(long, conflicts_with = "minutes")]
        steps: Option<u64>,
        /// Threads of libtorch. One is best; run several trainings beside each other instead.
        #[arg(long, default_value_t = 1)]
        threads: i32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[arg(long, default_value_t = 16)]
        batch: usize,
        /// Side of the patches, a multiple of 8.
        #[arg(long, default_value_t = 96)]
        side: usize,
        #[arg(long, default_value_t = 1e-3)]
        rate: f64,
        /// Share of the run that computes in bfloat16 before it changes to float32.
        #[arg(long, default_value_t = 0.7)]
        bf16_share: f64,
        /// Share of the patches whose noise is not white: shared by R, G and B, or in blotches of chroma.
        #[arg(long, default_value_t = 0.05)]
        coloured: f64,
        /// Trains a finished model, given by --init, for 8-bit integers.
        #[arg(long, requires = "init")]
        quantise: bool,
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
    }

    pub fn run(arguments: Arguments) -> Result<(), train::Error> {
        let Task::Denoise(task) = arguments.task;
        tch::set_num_threads(task.threads.max(1));
        let domain = match task.domain {
            Domain::Rgb => model::Domain::Rgb,
            Domain::Yuv420 => model::Domain::Yuv420,
        };
        train::run(&train::Options {
            data: task.data,
            out: task.out,
            domain,
            architecture: ResidualUnet {
                inputs: domain.inputs(),
                outputs: domain.channels(),
                widths: task.widths,
                hidden: task.hidden,
                down_blocks: task.down_blocks,
                up_blocks: task.up_blocks,
            },
            init: task.init,
            resume: task.resume,
            length: task.steps.map_or(train::Length::Minutes(task.minutes), train::Length::Steps),
            seed: task.seed,
            batch: task.batch.max(1),
            side: task.side.next_multiple_of(8).max(32),
            rate: task.rate,
            bf16_share: task.bf16_share,
            coloured: task.coloured.clamp(0.0, 1.0),
            quantise: task.quantise,
        })
    }
}
