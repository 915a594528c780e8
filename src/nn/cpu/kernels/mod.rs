//! The inner loops, one folder for each arithmetic, in it one file per way of writing them behind one safe interface.

mod filtering;
pub mod float;
pub mod int8;

/// Rows of a 3x3 convolution that some kernels compute together.
pub const TOGETHER: usize = 4;

/// The first of `available` kernel sets whose name begins with what the environment variable `CNNVIDEO_KERNELS` says,
/// or else simply the first: the fastest.
fn choose<K: Copy>(available: &[K], name: fn(K) -> &'static str) -> Option<K> {
    let wanted = std::env::var("CNNVIDEO_KERNELS").ok();
    let named = |k: &&K| wanted.as_deref().is_some_and(|wanted| name(**k).starts_with(wanted));
    available.iter().find(named).or(available.first()).copied()
}
