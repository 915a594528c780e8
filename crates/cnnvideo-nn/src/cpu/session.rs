// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Session`] of the CPU backend: runs the chains of a plan, the bands of each in parallel.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use rayon::prelude::*;

use super::{
    arithmetic::{Arithmetic, Reads, Signedness, Storage},
    map::{FeatureMap, RingSize},
    network::PackedModel,
    plan::{Chain, Op, Plan},
    stream::{BandOutput, BandRows, ChainRunner, Scratch},
    threads::Threads,
};
use crate::{Error, Output, Session, Size, Source, io::split_bands};

/// Minimum rows per band when a thread gets several bands. Smaller bands lose more to recomputed
/// rows at their edges than they gain in load balance.
const MIN_BAND_ROWS: usize = 32;
/// Maximum bands per thread. With several, a delayed thread leaves bands to the others.
const MAX_BANDS_PER_THREAD: usize = 3;

/// A network at one input size with all memory that it needs.
pub(super) struct CpuSession<A: Arithmetic> {
    packed: Arc<PackedModel<A>>,
    size: Size,
    threads: Threads,
    chains: Vec<BandedChain>,
    /// Whole feature maps.
    buffers: Vec<FeatureMap<A::Storage>>,
    /// Working memory of bands in progress.
    scratch: ScratchPool<A>,
}

/// A chain, and the bands into which the rows of its last step are divided.
struct BandedChain {
    chain: Chain,
    bands: Vec<Range<usize>>,
}

impl BandedChain {
    /// Divides a chain for a number of threads.
    fn new(chain: Chain, threads: usize) -> Self {
        let rows = chain.last_step().shape.height;
        let per_thread = (rows / (threads * MIN_BAND_ROWS)).clamp(1, MAX_BANDS_PER_THREAD);
        Self { chain, bands: split_bands(rows, threads * per_thread, 1) }
    }
}

/// Pool of the working memory of bands: one [`Scratch`] per thread, reused from band to band.
struct ScratchPool<A: Arithmetic> {
    /// Size of the ring buffer of each step.
    rings: Vec<RingSize>,
    /// Values in the widest row.
    stride: usize,
    /// Unused entries.
    unused: Mutex<Vec<Scratch<A>>>,
}

impl<A: Arithmetic> ScratchPool<A> {
    /// Allocates `count` entries.
    fn new(count: usize, rings: Vec<RingSize>, stride: usize) -> Self {
        let unused = (0..count).map(|_| Scratch::new(&rings, stride)).collect();
        Self { rings, stride, unused: Mutex::new(unused) }
    }

    /// Runs `work` with an unused entry, or with a new one if all are in use.
    fn with(&self, work: impl FnOnce(&mut Scratch<A>)) {
        let unused = || self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = unused().pop();
        let mut scratch = taken.unwrap_or_else(|| Scratch::new(&self.rings, self.stride));
        work(&mut scratch);
        unused().push(scratch);
    }
}

impl<A: Arithmetic> CpuSession<A> {
    /// Plans the network for inputs of `size` and allocates its memory.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that the planner does not support.
    pub(super) fn new(
        packed: Arc<PackedModel<A>>,
        size: Size,
        threads: Threads,
    ) -> Result<Self, Error> {
        let plan = Plan::new(packed.model.graph(), size, A::INPUT_ALIGNMENT)?;
        // All chains share the ring buffers, so each has the largest number of slots and the
        // largest stride of that step in any chain.
        let mut rings: Vec<RingSize> = Vec::new();
        for chain in &plan.chains {
            rings.resize(rings.len().max(chain.steps.len()), RingSize::default());
            for (i, ring) in rings[..chain.steps.len()].iter_mut().enumerate() {
                *ring = ring.max(chain.ring_size(i, packed.general()));
            }
        }
        let strides = plan.buffers.iter().map(|buffer| buffer.shape.stride());
        let strides = strides.chain(rings.iter().map(|ring| ring.stride));
        let stride = strides.max().expect("a plan has steps");
        Ok(Self {
            buffers: plan.buffers.iter().map(FeatureMap::new).collect(),
            scratch: ScratchPool::new(threads.count(), rings, stride),
            packed,
            size,
            chains: plan
                .chains
                .into_iter()
                .map(|chain| BandedChain::new(chain, threads.count()))
                .collect(),
            threads,
        })
    }
}

impl<A: Arithmetic> Session for CpuSession<A> {
    fn size(&self) -> Size {
        self.size
    }

    fn run(&mut self, source: &dyn Source, output: &mut dyn Output) -> Result<(), Error> {
        let Self { packed, threads, chains, buffers, scratch, .. } = self;
        let arithmetic = packed.for_control(source.max_control());
        threads.enter(|| {
            for chain in chains.iter() {
                run_chain(arithmetic, chain, buffers, scratch, source, output);
            }
        });
        Ok(())
    }
}

/// Runs a chain with its bands in parallel.
fn run_chain<A: Arithmetic>(
    arithmetic: &A,
    BandedChain { chain, bands }: &BandedChain,
    buffers: &mut [FeatureMap<A::Storage>],
    scratch: &ScratchPool<A>,
    source: &dyn Source,
    output: &mut dyn Output,
) {
    // The buffers that the chain writes are taken out of `buffers`, so that the bands can read the
    // others meanwhile.
    let stores: Vec<_> =
        chain.steps.iter().enumerate().filter_map(|(i, s)| Some((i, s.store?))).collect();
    let empty = || A::Storage::zeros(0, Signedness::Signed, Reads::default());
    let mut written: Vec<_> = stores
        .iter()
        .map(|(_, buffer)| std::mem::replace(&mut buffers[*buffer].rows, empty()))
        .collect();

    let halved = matches!(chain.last_step().op, Op::Strided2x2 { .. });
    let mut outputs: Vec<_> =
        bands.iter().map(|_| BandOutput { maps: Vec::new(), sink: None }).collect();
    for ((step, buffer), rows) in stores.iter().zip(&mut written) {
        let shape = buffers[*buffer].shape;
        let stride = shape.stride();
        // Bands count rows of the last step. In a chain that ends with `Strided2x2`, the other
        // steps have twice as many rows.
        let scale = if halved && step + 1 < chain.steps.len() { 2 } else { 1 };
        let mut rest = rows.view_mut(0..stride * shape.height);
        for (band, output) in bands.iter().zip(&mut outputs) {
            let (rows, after) = A::Storage::split_at(rest, scale * band.len() * stride);
            output.maps.push(BandRows { step: *step, first: scale * band.start, rows });
            rest = after;
        }
    }
    if chain.computes_output() {
        let sinks = output.split(bands);
        outputs.iter_mut().zip(sinks).for_each(|(output, sink)| output.sink = Some(sink));
    }

    let runner = ChainRunner { arithmetic, chain, buffers, source };
    let work = outputs.into_par_iter().zip(bands);
    work.with_max_len(1).for_each(|(mut output, band)| {
        scratch.with(|scratch| runner.run(band.clone(), &mut output, scratch));
    });

    for ((_, buffer), rows) in stores.into_iter().zip(written) {
        buffers[buffer].rows = rows;
    }
}
