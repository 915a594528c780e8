//! [`Session`] of the CPU backend: runs the chains of a plan, the bands of each in parallel.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use rayon::prelude::*;

use super::{
    arithmetic::{Arithmetic, Rows, Sign, Uses},
    map::Map,
    network::Shared,
    plan::{Chain, Op, Plan},
    stream::{BandOutput, BandRows, Scratch, Stream},
    threads::Threads,
};
use crate::{Error, Output, Session, Size, Source, io::bands};

/// Minimum rows per band when a thread gets several bands. Smaller bands lose more to recomputed
/// rows at their edges than they gain in load balance.
const MIN_BAND_ROWS: usize = 32;
/// Maximum bands per thread. With several, a delayed thread leaves bands to the others.
const BANDS_PER_THREAD: usize = 3;

/// A network at one input size with all memory that it needs.
pub(super) struct CpuSession<A: Arithmetic> {
    network: Arc<Shared<A>>,
    size: Size,
    threads: Threads,
    /// Chains, each with the bands of its last step's rows.
    chains: Vec<(Chain, Vec<Range<usize>>)>,
    /// Whole feature maps.
    buffers: Vec<Map<A::Rows>>,
    /// Working memory of bands in progress.
    scratch: Spares<A>,
}

/// Pool of the working memory of bands: one [`Scratch`] per thread, reused from band to band.
struct Spares<A: Arithmetic> {
    /// `[slots, stride]` of the ring buffer of each step.
    rings: Vec<[usize; 2]>,
    /// Values in the widest row.
    stride: usize,
    /// Unused entries.
    spare: Mutex<Vec<Scratch<A>>>,
}

impl<A: Arithmetic> Spares<A> {
    /// Allocates `count` entries.
    fn new(count: usize, rings: Vec<[usize; 2]>, stride: usize) -> Self {
        let spare = (0..count).map(|_| Scratch::new(&rings, stride)).collect();
        Self { rings, stride, spare: Mutex::new(spare) }
    }

    /// Runs `work` with an unused entry, or with a new one if all are in use.
    fn with(&self, work: impl FnOnce(&mut Scratch<A>)) {
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = spare().pop();
        let mut scratch = taken.unwrap_or_else(|| Scratch::new(&self.rings, self.stride));
        work(&mut scratch);
        spare().push(scratch);
    }
}

impl<A: Arithmetic> CpuSession<A> {
    /// Plans the network for inputs of `size` and allocates its memory.
    ///
    /// # Errors
    /// [`Error::Backend`] for a graph that the planner does not support.
    pub fn new(network: Arc<Shared<A>>, size: Size, threads: Threads) -> Result<Self, Error> {
        let plan = Plan::new(network.model.graph(), size, A::INPUT_ALIGNMENT)?;
        // All chains share the ring buffers, so each has the largest number of slots and the
        // largest stride of that step in any chain.
        let mut rings: Vec<[usize; 2]> = Vec::new();
        for chain in &plan.chains {
            rings.resize(rings.len().max(chain.steps.len()), [0, 0]);
            for (i, ([rows, stride], step)) in rings.iter_mut().zip(&chain.steps).enumerate() {
                *rows = chain.rows(i, network.arithmetic(f32::INFINITY)).max(*rows);
                *stride = step.shape.stride().max(*stride);
            }
        }
        let strides = plan.buffers.iter().map(|(shape, _)| shape.stride());
        let stride = strides.chain(rings.iter().map(|[_, stride]| *stride)).max().unwrap_or(0);
        let chains: Vec<_> = plan
            .chains
            .into_iter()
            .map(|chain| {
                let rows = chain.steps.last().map_or(0, |s| s.shape.height);
                let per_thread =
                    (rows / (threads.count() * MIN_BAND_ROWS)).clamp(1, BANDS_PER_THREAD);
                let bands = bands(rows, threads.count() * per_thread, 1);
                (chain, bands)
            })
            .collect();
        Ok(Self {
            buffers: plan.buffers.into_iter().map(|(shape, uses)| Map::new(shape, uses)).collect(),
            scratch: Spares::new(threads.count(), rings, stride),
            network,
            size,
            threads,
            chains,
        })
    }
}

impl<A: Arithmetic> Session for CpuSession<A> {
    fn size(&self) -> Size {
        self.size
    }

    fn run(&mut self, source: &dyn Source, output: &mut dyn Output) -> Result<(), Error> {
        let Self { network, threads, chains, buffers, scratch, .. } = self;
        let arithmetic = network.arithmetic(source.most());
        threads.enter(|| {
            for (chain, bands) in chains.iter() {
                run_chain(arithmetic, chain, bands, buffers, scratch, source, output);
            }
        });
        Ok(())
    }
}

/// Runs a chain with its bands in parallel.
fn run_chain<A: Arithmetic>(
    arithmetic: &A,
    chain: &Chain,
    bands: &[Range<usize>],
    buffers: &mut [Map<A::Rows>],
    scratch: &Spares<A>,
    source: &dyn Source,
    output: &mut dyn Output,
) {
    // The buffers that the chain writes are taken out of `buffers`, so that the bands can read the
    // others meanwhile.
    let stores: Vec<_> =
        chain.steps.iter().enumerate().filter_map(|(i, s)| Some((i, s.store?))).collect();
    let empty = || A::Rows::zeros(0, Sign::Signed, Uses::default());
    let mut written: Vec<_> = stores
        .iter()
        .map(|(_, buffer)| std::mem::replace(&mut buffers[*buffer].rows, empty()))
        .collect();

    let halved = matches!(chain.steps.last(), Some(step) if matches!(step.op, Op::Down { .. }));
    let mut outputs: Vec<_> =
        bands.iter().map(|_| BandOutput { maps: Vec::new(), sink: None }).collect();
    for ((step, buffer), rows) in stores.iter().zip(&mut written) {
        let shape = buffers[*buffer].shape;
        let stride = shape.stride();
        // Bands count rows of the last step. In a chain that ends with `Down2x2`, the other steps
        // have twice as many rows.
        let scale = if halved && step + 1 < chain.steps.len() { 2 } else { 1 };
        let mut rest = rows.view_mut(0..stride * shape.height);
        for (band, output) in bands.iter().zip(&mut outputs) {
            let (rows, after) = A::Rows::split(rest, scale * band.len() * stride);
            output.maps.push(BandRows { step: *step, first: scale * band.start, rows });
            rest = after;
        }
    }
    if chain.steps.last().is_some_and(|step| step.store.is_none()) {
        let sinks = output.split(bands);
        outputs.iter_mut().zip(sinks).for_each(|(output, sink)| output.sink = Some(sink));
    }

    let stream = Stream { arithmetic, chain, buffers, source };
    let work = outputs.into_par_iter().zip(bands);
    work.with_max_len(1).for_each(|(mut output, band)| {
        scratch.with(|scratch| stream.run(band.clone(), &mut output, scratch));
    });

    for ((_, buffer), rows) in stores.into_iter().zip(written) {
        buffers[buffer].rows = rows;
    }
}
