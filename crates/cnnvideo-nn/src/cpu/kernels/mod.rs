// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compute kernels of the CPU backend: one module per arithmetic, each with a safe interface over
//! implementations for several instruction sets.

pub(super) mod float;
pub(super) mod int8;
mod winograd;

/// Rows per row block: the number of rows of a 3x3 convolution that a kernel computes in one call.
pub(super) const ROW_BLOCK: usize = 4;

/// Environment variable with the beginning of the name of the kernel set to use.
const SELECTION_VARIABLE: &str = "CNNVIDEO_KERNELS";

/// Returns the value of [`SELECTION_VARIABLE`]. An empty value counts as unset.
fn requested() -> Option<String> {
    std::env::var_os(SELECTION_VARIABLE)
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| !value.is_empty())
}

/// Returns the first of `available` kernel sets whose name begins with the value of the environment
/// variable `CNNVIDEO_KERNELS`. Without the variable or a match, returns the first one, which is
/// the fastest. Warns about a value that matches no kernel set of any arithmetic.
///
/// # Panics
/// If `available` is empty.
fn select_kernels<K: Copy>(available: &[K], name: fn(K) -> &'static str) -> K {
    let Some(requested) = requested() else { return available[0] };
    let selected = available.iter().find(|set| name(**set).starts_with(&requested));
    if selected.is_none() {
        warn_if_unknown(&requested);
    }
    *selected.unwrap_or(&available[0])
}

/// Returns whether [`select_kernels`] would choose the fastest kernel set of an arithmetic, which
/// is the first in `names`, from all of them.
#[cfg(target_arch = "x86_64")]
fn selects_first(requested: Option<&str>, names: &[&str]) -> bool {
    let Some(requested) = requested else { return true };
    names.iter().position(|name| name.starts_with(requested)).is_none_or(|index| index == 0)
}

/// Prints a warning, once in a process, if the requested name begins that of no available kernel
/// set.
fn warn_if_unknown(requested: &str) {
    static WARNING: std::sync::Once = std::sync::Once::new();
    let int8 = int8::Int8Kernels::available().into_iter().map(int8::Int8Kernels::name);
    let float = float::FloatKernels::available().into_iter().map(float::FloatKernels::name);
    let mut names: Vec<_> = int8.chain(float).collect();
    if names.iter().any(|name| name.starts_with(requested)) {
        return;
    }
    names.sort_unstable();
    names.dedup();
    WARNING.call_once(|| {
        eprintln!(
            "cnnvideo: {SELECTION_VARIABLE}={requested:?} selects no kernel set of this machine, \
             so the fastest one runs; available: {}",
            names.join(", ")
        );
    });
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_set_is_selected_unless_another_one_is_requested() {
        let names = ["amx", "avx512vnni", "avx2", "portable"];
        for requested in [None, Some("amx"), Some("a"), Some("unknown")] {
            assert!(selects_first(requested, &names), "{requested:?}");
        }
        for requested in ["avx512", "avx2", "portable", "p"] {
            assert!(!selects_first(Some(requested), &names), "{requested}");
        }
    }
}
