// SPDX-License-Identifier: MIT OR Apache-2.0

//! AMX int8 kernel. The tile registers of AMX are matrices: one instruction multiplies up to 64
//! bytes of 16 pixels with the weights of 16 outputs. The accumulators then pass through memory to
//! the epilogues of the AVX-512 kernel, which also computes rows that are too short for AMX.
//!
//! The rows of the left matrix are loaded from the feature map at a distance of one pixel's pitch.
//! They overlap where neighbouring pixels share inputs. The rows of the right matrix are lines of
//! packed weights.

use std::{
    arch::{asm, x86_64::*},
    sync::OnceLock,
};

use super::{
    Epilogue, Int8RowJob, Segments, avx512,
    epilogue512::{StoreFloat, StoreRelu, StoreSigned, StoreSignedSum},
    pack::LINE,
};
use crate::cpu::kernels::{requested, selects_first};

mod config;
mod pack;
mod products;
mod row;

use config::{AccumulatorLayout, TileConfig, chunk_bytes};
pub(super) use pack::pack;
use row::RowInputs;

/// Names of the int8 kernel sets of a processor with AMX, the fastest first.
const NAMES: [&str; 5] = ["amx", "avx512vnni", "vnni256", "avx2", "portable"];

/// Returns whether the processor has AMX with 8-bit integers, and the operating system lets this
/// process use it. Returns false without a request to the operating system if `CNNVIDEO_KERNELS`
/// selects another kernel set, because the permission holds for the whole process.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILE: u32 = 1 << 24;
        const INT8: u32 = 1 << 25;
        let extended = __cpuid(0).eax >= 7 && __cpuid(1).ecx & 1 << 27 != 0;
        extended
            && __cpuid_count(7, 0).edx & (TILE | INT8) == TILE | INT8
            && selects_first(requested().as_deref(), &NAMES)
            && permitted()
    })
}

/// Requests permission for the tile register state, which Linux grants only to processes that ask
/// for it ("Using XSTATE features in user space applications", Linux documentation).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the system call takes integers only; its single effect is the permission of this
    // process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Computes one row.
///
/// # Safety
/// [`available`] returns true, and the processor supports AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run(mut job: Int8RowJob<'_>) {
    let pixels = job.check();
    let (layout, value_bytes) = match job.segments {
        Segments::I16(_) => (AccumulatorLayout::Split, 2),
        Segments::U8(_) if job.weights.block() == LINE => (AccumulatorLayout::Single, 1),
        Segments::U8(_) => (AccumulatorLayout::Double, 1),
    };
    let lacks_weights = layout == AccumulatorLayout::Split && !job.weights.has_alternative();
    if pixels < layout.pixels() || lacks_weights {
        return avx512::run(job);
    }
    let depth = value_bytes * job.weights.depth();
    let chunk = chunk_bytes(depth);
    let inputs = RowInputs {
        segments: job.segments,
        chunks: depth / chunk,
        pitch: value_bytes * job.pitch,
        pixels,
        chunk,
    };
    let config = TileConfig::new(if layout == AccumulatorLayout::Single { 3 } else { 2 }, chunk);
    let weights = job.weights;
    // SAFETY: the configuration is valid, since a chunk is a whole number of words and fits a row.
    // `check` has verified that all pixels exist in every slice. No code between `ldtilecfg` and
    // `tilerelease` returns early.
    unsafe {
        asm!(
            "ldtilecfg [{}]",
            in(reg) &raw const config,
            options(nostack, readonly, preserves_flags)
        );
        match &mut job.epilogue {
            Epilogue::Relu { activations_u8 } => {
                inputs.blocks(layout, weights, &mut StoreRelu { activations_u8 });
            }
            Epilogue::Signed { residual_in, residuals_i16, activations_u8 } => {
                let mut store = StoreSigned { residuals_i16, activations_u8 };
                match residual_in {
                    Some(residual_in) => {
                        inputs.blocks(layout, weights, &mut StoreSignedSum { residual_in, store });
                    }
                    None => inputs.blocks(layout, weights, &mut store),
                }
            }
            Epilogue::Float { out } => inputs.blocks(layout, weights, &mut StoreFloat { out }),
        }
        asm!("tilerelease", options(nostack, nomem, preserves_flags));
    }
}
