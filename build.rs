fn main() {
    gst_plugin_version_helper::info();
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    // tch finds libtorch at link time; the loader needs to be told where it lies.
    if std::env::var_os("CARGO_FEATURE_TORCH").is_some()
        && let Some(libtorch) = std::env::var_os("LIBTORCH")
    {
        let lib = std::path::Path::new(&libtorch).join("lib");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
