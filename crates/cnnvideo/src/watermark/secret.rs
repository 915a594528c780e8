// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory for secret bytes.

use std::hint::black_box;

use zeroize::Zeroize;

/// Largest size of a page of memory of the systems that are supported.
const PAGE: usize = if cfg!(target_arch = "x86_64") { 4 << 10 } else { 64 << 10 };

/// Pages of memory of their own.
#[cfg_attr(target_arch = "x86_64", repr(C, align(4096)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C, align(65536)))]
struct Pages([u8; PAGE]);

/// Secret bytes that never move, are cleared when they are dropped, and are left out of core dumps
/// on Linux.
pub(super) struct Secret<const N: usize>(Box<Pages>);

impl<const N: usize> Secret<N> {
    /// Creates zeros.
    pub(super) fn zeros() -> Self {
        const { assert!(N <= PAGE, "the bytes fit into the pages") };
        let pages = Box::new(Pages([0; PAGE]));
        advise(&pages, Dump::LeaveOut);
        Self(pages)
    }

    /// Returns the bytes.
    pub(super) fn bytes(&self) -> &[u8; N] {
        self.0.0.first_chunk().expect("the bytes fit into the pages")
    }

    /// Returns the bytes.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8; N] {
        self.0.0.first_chunk_mut().expect("the bytes fit into the pages")
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // The memory is used again for something else.
        advise(&self.0, Dump::Include);
    }
}

/// Compares in a time that does not depend on the bytes.
impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.bytes().iter().zip(other.bytes());
        black_box(pairs.fold(0, |sum, (a, b)| black_box(sum | (a ^ b)))) == 0
    }
}

impl<const N: usize> Eq for Secret<N> {}

/// Whether memory is a part of core dumps.
#[derive(Clone, Copy)]
enum Dump {
    LeaveOut,
    Include,
}

/// Asks the system to leave pages out of core dumps, or to include them. Not all systems can.
#[cfg(target_os = "linux")]
fn advise(pages: &Pages, dump: Dump) {
    use rustix::mm::{Advice, madvise};
    let advice = match dump {
        Dump::LeaveOut => Advice::LinuxDontDump,
        Dump::Include => Advice::LinuxDoDump,
    };
    let start = std::ptr::from_ref(pages).cast_mut().cast();
    // SAFETY: the range is whole pages that `pages` owns, and both kinds of advice leave the
    // content and the mapping of memory as they are.
    let advised = unsafe { madvise(start, size_of::<Pages>(), advice) };
    // The key works without it; an old kernel, for example, does not know it.
    let _ = advised;
}

/// Does nothing: other systems have no such advice.
#[cfg(not(target_os = "linux"))]
fn advise(_: &Pages, _: Dump) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_as_a_whole() {
        let of = |bytes: [u8; 4]| {
            let mut secret = Secret::<4>::zeros();
            *secret.bytes_mut() = bytes;
            secret
        };
        assert!(of([1, 2, 3, 4]) == of([1, 2, 3, 4]));
        for other in [[0, 2, 3, 4], [1, 2, 3, 5], [2, 1, 3, 4]] {
            assert!(of([1, 2, 3, 4]) != of(other));
        }
    }

    /// Returns the flags of the memory at an address, from /proc/self/smaps.
    #[cfg(target_os = "linux")]
    fn flags(address: usize) -> Option<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let mut is_inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let ends = range.and_then(|(start, end)| {
                let number = |text| usize::from_str_radix(text, 16).ok();
                Some(number(start)?..number(end)?)
            });
            is_inside = ends.map_or(is_inside, |ends| ends.contains(&address));
            if is_inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return Some(flags.to_owned());
            }
        }
        None
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn secrets_are_left_out_of_core_dumps() {
        let is_left_out = |address| flags(address).map(|flags| flags.contains(" dd"));
        let secret = Secret::<32>::zeros();
        let address = secret.bytes().as_ptr().addr();
        // Some sandboxes do not show flags.
        if let Some(is_left_out_before) = is_left_out(address) {
            assert!(is_left_out_before);
            drop(secret);
            assert_ne!(is_left_out(address), Some(true));
        }
    }
}
