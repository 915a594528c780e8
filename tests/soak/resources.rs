// SPDX-License-Identifier: MIT OR Apache-2.0

//! Resources of this process.

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    fn malloc_trim(pad: usize) -> i32;
    fn mallopt(parameter: i32, value: i32) -> i32;
}

/// Makes all threads share one malloc arena. With an arena for each thread, the retained memory
/// would depend on the scheduling.
pub(crate) fn share_an_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no other thread allocates yet; -8 is `M_ARENA_MAX`.
    unsafe {
        mallopt(-8, 1);
    }
}

/// Returns the resident memory of this process in KiB, after glibc's allocator has returned free
/// memory.
pub(crate) fn resident_kib() -> u64 {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called at any time from any thread.
    unsafe {
        malloc_trim(0);
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

/// Returns the number of open files and the number of threads of this process.
pub(crate) fn files_and_threads() -> [usize; 2] {
    ["/proc/self/fd", "/proc/self/task"].map(|folder| std::fs::read_dir(folder).unwrap().count())
}
