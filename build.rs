// SPDX-License-Identifier: MIT OR Apache-2.0

//! Records version and commit for GStreamer, and lets the plugin find the libtorch that it was
//! linked with.

fn main() {
    gst_plugin_version_helper::info();
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    // tch finds libtorch at link time; the loader needs a search path for it.
    if std::env::var_os("CARGO_FEATURE_TORCH").is_some()
        && let Some(libtorch) = std::env::var_os("LIBTORCH")
    {
        let lib = std::path::Path::new(&libtorch).join("lib");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
