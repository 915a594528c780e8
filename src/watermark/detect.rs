use std::{collections::VecDeque, sync::Arc};

use ndarray::Array2;

use super::{plane::scale_of, residual::Residual};
use crate::frame::{Picture, Sample, luma::luma_row, reduce::Reduce};

/// Frames whose residuals are added up.
const GROUP: u32 = 6;

/// Residuals of successive pictures, added up.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub sum: Array2<f32>,
    pub frames: u32,
}

/// What was seen of the last pictures, to be searched for a mark by a [`Decoder`](super::Decoder). Cheap to copy.
#[derive(Debug, Clone, Default)]
pub struct Window {
    pub(super) groups: Vec<Arc<Group>>,
    /// Width and height of the pictures.
    pub(super) size: (usize, usize),
}

impl Window {
    pub fn frames(&self) -> u32 {
        self.groups.iter().map(|group| group.frames).sum()
    }
}

/// Collects what the pictures of one stream show of a mark, whatever its key.
#[derive(Debug)]
pub struct Collector {
    /// Frames to look back on.
    window: u32,
    size: (usize, usize),
    reduce: Reduce,
    residual: Residual,
    canonical: Array2<f32>,
    luma: Vec<f32>,
    groups: VecDeque<Arc<Group>>,
    open: Option<Group>,
}

impl Collector {
    /// Looks back on `window` pictures.
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

    /// Forgets all pictures.
    pub fn reset(&mut self) {
        self.groups.clear();
        self.open = None;
    }

    /// Adds a picture. One of another size than the last starts anew.
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

    /// What the last pictures have shown.
    pub fn window(&self) -> Window {
        let mut groups: Vec<_> = self.groups.iter().cloned().collect();
        groups.extend(self.open.clone().map(Arc::new));
        Window { groups, size: self.size }
    }
}
