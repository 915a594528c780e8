// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program `cnnvideo`.

fn main() -> std::process::ExitCode {
    cnnvideo_cli::main()
}
