// SPDX-License-Identifier: MIT OR Apache-2.0

//! Trains the networks of the plugin.
//!
//! `cargo run --release --package cnnvideo-train --features torch -- denoise --data DIR --out FILE
//! --minutes 120`

#[cfg(feature = "torch")]
mod cli;

#[cfg(feature = "torch")]
fn main() {
    use clap::Parser;
    if let Err(err) = cli::Arguments::parse().run() {
        eprintln!("train: {err}");
        std::process::exit(1);
    }
}

#[cfg(not(feature = "torch"))]
fn main() {
    eprintln!(
        "Training needs libtorch: run `make torch`, or set LIBTORCH and use --features torch."
    );
    std::process::exit(2);
}
