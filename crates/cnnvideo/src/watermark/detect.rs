//! Accumulates the residuals of received pictures for detection: [`Collector`] and [`Window`].

use std::{collections::VecDeque, sync::Arc};

use ndarray::Array2;

use super::{plane::scale_of, residual::Residual};
use crate::frame::{Picture, Sample, luma::luma_row, reduce::Reduce};

/// Frames of a group, whose residuals are summed: a quarter of [`HOP_FRAMES`](super::HOP_FRAMES),
/// so that most groups belong to a single hop.
const GROUP: u32 = 6;

/// Sum of the residuals of successive pictures.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Sum of the residuals on the canonical raster, rows by columns.
    pub sum: Array2<f32>,
    /// Number of pictures in the sum.
    pub frames: u32,
}

/// Residuals of the most recent pictures, input of a [`Decoder`](super::Decoder). Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Groups in the order of the stream.
    pub(super) groups: Vec<Arc<Group>>,
    /// Width and height of the pictures in pixels.
    pub(super) size: (usize, usize),
}

impl Window {
    /// Returns the number of pictures in the window.
    pub fn frames(&self) -> u32 {
        self.groups.iter().map(|group| group.frames).sum()
    }
}

/// Accumulates residuals of the pictures of one stream. It does not depend on a key.
#[derive(Debug)]
pub struct Collector {
    /// Number of most recent pictures to keep.
    window: u32,
    size: (usize, usize),
    reduce: Reduce,
    residual: Residual,
    canonical: Array2<f32>,
    luma: Vec<f32>,
    groups: VecDeque<Arc<Group>>,
    /// Group that is still being filled.
    open: Option<Group>,
}

impl Collector {
    /// Creates a collector that keeps the residuals of the last `window` pictures.
    pub fn new(window: u32) -> Self {
        Self {
            window: window.max(1),
            size: (0, 0),
            reduce: Reduce::default(),
            residual: Residual::default(),
            canonical: Array2::zeros((0, 0)),
            luma: Vec::new(),
            groups: VecDeque::new(),
            open: None,
        }
    }

    /// Discards the residuals of all pictures.
    pub fn reset(&mut self) {
        self.groups.clear();
        self.open = None;
    }

    /// Adds a picture. A picture of a different size discards all previous ones.
    pub fn push<T: Sample>(&mut self, picture: &Picture<'_, T>) {
        let size = picture.size();
        if self.size != size {
            self.reset();
            self.size = size;
            self.luma = vec![0.0; size.0];
        }
        let luma = &mut self.luma;
        let mut last = None;
        self.reduce.run(
            size,
            [scale_of(size.0, size.1); 2],
            &mut self.canonical,
            |y, row, weight| {
                if last != Some(y) {
                    luma_row(picture, y, luma);
                    last = Some(y);
                }
                row.iter_mut().zip(&*luma).for_each(|(to, v)| *to += weight * v);
            },
        );
        self.residual.run(&mut self.canonical);
        match &mut self.open {
            Some(group) => {
                group.sum += &self.canonical;
                group.frames += 1;
            }
            None => self.open = Some(Group { sum: self.canonical.clone(), frames: 1 }),
        }
        if self.open.as_ref().is_some_and(|group| group.frames >= GROUP.min(self.window)) {
            self.groups.extend(self.open.take().map(Arc::new));
        }
        let frames =
            |groups: &VecDeque<Arc<Group>>| groups.iter().map(|group| group.frames).sum::<u32>();
        while self.groups.len() > 1 && frames(&self.groups) > self.window {
            self.groups.pop_front();
        }
    }

    /// Returns the residuals of the most recent pictures.
    pub fn window(&self) -> Window {
        let mut groups: Vec<_> = self.groups.iter().cloned().collect();
        groups.extend(self.open.clone().map(Arc::new));
        Window { groups, size: self.size }
    }
}
