// SPDX-License-Identifier: MIT OR Apache-2.0

//! Regions of a picture that a filter processes with a different strength.

use ndarray::{ArrayView2, s};

use super::Field;

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
        let labels = (y < labels.nrows()).then(|| labels.slice_move(s![y, ..;1 << shift]));
        let factor = move |label: &u8| if *label > 0 { foreground } else { background };
        labels.into_iter().flatten().map(factor).chain(std::iter::repeat(background))
    }

    /// Returns the larger of the two factors.
    pub(crate) fn max_factor(&self) -> f32 {
        self.foreground.max(self.background)
    }

    /// Reborrows the same regions for a shorter lifetime.
    pub fn reborrow(&self) -> Regions<'_> {
        Regions { labels: self.labels.reborrow(), ..*self }
    }

    /// Returns the regions of a field of an interlaced picture.
    pub fn field(&self, field: Field) -> Self {
        let first_row = field.index().min(self.labels.nrows());
        Self { labels: self.labels.slice_move(s![first_row..;2, ..]), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_give_the_factor_of_each_pixel() {
        let labels = ndarray::arr2(&[[0, 1, 2, 0], [1, 0, 0, 0], [0, 0, 0, 3]]);
        let regions = Regions { labels: labels.view(), foreground: 0.5, background: 2.0 };
        let row =
            |regions: &Regions<'_>, y, shift| regions.row(y, shift).take(5).collect::<Vec<_>>();
        assert_eq!(row(&regions, 0, 0), [2.0, 0.5, 0.5, 2.0, 2.0]);
        assert_eq!(row(&regions, 0, 1), [2.0, 0.5, 2.0, 2.0, 2.0]);
        assert_eq!(row(&regions, 7, 0), [2.0; 5]);
        assert_eq!(row(&regions.field(Field::Second), 0, 0), [0.5, 2.0, 2.0, 2.0, 2.0]);
        assert_eq!(row(&regions.field(Field::First), 1, 0), [2.0, 2.0, 2.0, 0.5, 2.0]);
    }
}
