//! Regions of a picture that a filter processes with a different strength.

use ndarray::{ArrayView2, s};

/// Label mask of the regions of a picture, and the factors on a filter's strength in and outside
/// them.
#[derive(Debug, Clone, Copy)]
pub struct Regions<'a> {
    /// Labels `[row, column]`, 0 outside all regions. Pixels beyond the mask are outside.
    pub labels: ArrayView2<'a, u8>,
    /// Factor inside regions.
    pub foreground: f32,
    /// Factor outside regions.
    pub background: f32,
}

impl<'a> Regions<'a> {
    /// Returns the factors of every `1 << shift`th pixel of row `y`, without end.
    pub(crate) fn row(&self, y: usize, shift: u32) -> impl Iterator<Item = f32> + use<'a> {
        let Self { labels, foreground, background } = *self;
        let known = (y < labels.nrows()).then(|| labels.slice_move(s![y, ..;1 << shift]));
        let factor = move |label: &u8| if *label > 0 { foreground } else { background };
        known.into_iter().flatten().map(factor).chain(std::iter::repeat(background))
    }

    /// Returns the larger of the two factors.
    pub(crate) fn most(&self) -> f32 {
        self.foreground.max(self.background)
    }

    /// Reborrows the same regions for a shorter lifetime.
    pub fn reborrow(&self) -> Regions<'_> {
        Regions { labels: self.labels.reborrow(), ..*self }
    }

    /// Returns the regions of a field of an interlaced picture: every other row from `parity` (0 or
    /// 1) on.
    pub fn field(&self, parity: usize) -> Self {
        let parity = parity.min(self.labels.nrows());
        Self { labels: self.labels.slice_move(s![parity..;2, ..]), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_factors() {
        let labels = ndarray::arr2(&[[0, 1, 2, 0], [1, 0, 0, 0], [0, 0, 0, 3]]);
        let regions = Regions { labels: labels.view(), foreground: 0.5, background: 2.0 };
        let row =
            |regions: &Regions<'_>, y, shift| regions.row(y, shift).take(5).collect::<Vec<_>>();
        assert_eq!(row(&regions, 0, 0), [2.0, 0.5, 0.5, 2.0, 2.0]);
        assert_eq!(row(&regions, 0, 1), [2.0, 0.5, 2.0, 2.0, 2.0]);
        assert_eq!(row(&regions, 7, 0), [2.0; 5]);
        assert_eq!(row(&regions.field(1), 0, 0), [0.5, 2.0, 2.0, 2.0, 2.0]);
        assert_eq!(row(&regions.field(0), 1, 0), [2.0, 2.0, 2.0, 0.5, 2.0]);
    }
}
