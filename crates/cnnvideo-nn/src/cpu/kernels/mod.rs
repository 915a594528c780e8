//! Compute kernels of the CPU backend: one module per arithmetic, each with a safe interface over
//! implementations for several instruction sets.

mod filtering;
pub mod float;
pub mod int8;

/// Rows per row block: the number of rows of a 3x3 convolution that a kernel computes in one call.
pub const TOGETHER: usize = 4;

/// Returns the first of `available` kernel sets whose name begins with the value of the environment
/// variable `CNNVIDEO_KERNELS`. Without the variable or a match, returns the first one, which is
/// the fastest.
fn choose<K: Copy>(available: &[K], name: fn(K) -> &'static str) -> Option<K> {
    let wanted = std::env::var("CNNVIDEO_KERNELS").ok();
    let named = |k: &&K| wanted.as_deref().is_some_and(|wanted| name(**k).starts_with(wanted));
    available.iter().find(named).or(available.first()).copied()
}
