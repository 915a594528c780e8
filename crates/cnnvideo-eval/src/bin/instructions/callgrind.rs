// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs a case in callgrind and reads its count.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use cnnvideo_eval::Result;

use crate::cases::Case;

/// Kernel set that counts are of. Valgrind has no AVX-512, and hides it from programs.
pub(super) const KERNELS: &str = "avx2";

/// Returns the instructions of the measured frames of a case.
///
/// # Errors
/// Valgrind is not installed, the processor has no AVX2, or the case fails.
pub(super) fn count(case: Case) -> Result<u64> {
    if !supports_kernels() {
        return Err(format!("this processor has no {KERNELS}, for which the budget is").into());
    }
    let folder = std::env::temp_dir().join(format!("cnnvideo-instructions-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let count = count_in(&folder, case);
    fs::remove_dir_all(&folder)?;
    count
}

#[cfg(target_arch = "x86_64")]
fn supports_kernels() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn supports_kernels() -> bool {
    false
}

/// As [`count`], with a folder for callgrind's files.
fn count_in(folder: &Path, case: Case) -> Result<u64> {
    let file = folder.join("callgrind.out");
    // One processor, because parts of the library start a thread for each.
    let output = Command::new("taskset")
        .args(["--cpu-list", &first_processor()?, "valgrind", "--tool=callgrind"])
        .args(["--zero-before=*begin_measurement*", "--dump-before=*end_measurement*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["run", case.name()])
        .env("CNNVIDEO_KERNELS", KERNELS)
        .stdin(Stdio::null())
        .output()
        .map_err(|err| format!("cannot run taskset and valgrind: {err}; install valgrind"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", case.name(), String::from_utf8_lossy(&output.stderr)).into());
    }
    // The first dump is that before the end of the measurement.
    let text = fs::read_to_string(folder.join("callgrind.out.1"))?;
    total(&text).ok_or_else(|| "callgrind has not counted; its output has changed".into())
}

/// Returns the total in the text of a dump.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

/// Returns the number of the first processor that this process may use.
fn first_processor() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let digits = list.unwrap_or("0").trim().chars().take_while(char::is_ascii_digit);
    Ok(digits.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_dump_is_read() {
        let text = "# callgrind format\nevents: Ir\nfn=(1) main\n16 3\n\ntotals: 1234567890\n";
        assert_eq!(total(text), Some(1_234_567_890));
        assert_eq!(total("events: Ir\n"), None);
    }
}
