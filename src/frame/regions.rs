use ndarray::{ArrayView2, s};

/// Regions of a picture that a filter treats differently: factors on its strength.
#[derive(Debug, Clone, Copy)]
pub struct Regions<'a> {
    /// 0 outside of all regions; of the picture's size, or any other: what lies beyond is outside.
    pub labels: ArrayView2<'a, u8>,
    /// Factor inside of regions.
    pub foreground: f32,
    /// Factor outside.
    pub background: f32,
}

impl<'a> Regions<'a> {
    /// Factors for every `1 << shift`th pixel of a row.
    pub(crate) fn row(&self, y: usize, shift: u32) -> impl Iterator<Item = f32> + use<'a> {
        let Self { labels, foreground, background } = *self;
        let known = (y < labels.nrows()).then(|| labels.slice_move(s![y, ..;1 << shift]));
        let factor = move |label: &u8| if *label > 0 { foreground } else { background };
        known.into_iter().flatten().map(factor).chain(std::iter::repeat(background))
    }

    /// The largest factor that there may be.
    pub(crate) fn most(&self) -> f32 {
        self.foreground.max(self.background)
    }

    /// The same regions, borrowed for a shorter time.
    pub fn reborrow(&self) -> Regions<'_> {
        Regions { labels: self.labels.reborrow(), ..*self }
    }

    /// Those of one of the two fields of an interlaced picture.
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
