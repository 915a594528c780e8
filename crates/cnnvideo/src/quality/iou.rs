// SPDX-License-Identifier: MIT OR Apache-2.0

//! Overlap of region masks.

use ndarray::{ArrayView2, Zip};

/// Returns the intersection over union of the regions (labels above 0) of two label masks, 0 to 1.
/// It is 1 if both have no region, and `None` if the masks differ in size.
pub fn iou(a: &ArrayView2<'_, u8>, b: &ArrayView2<'_, u8>) -> Option<f64> {
    if a.dim() != b.dim() {
        return None;
    }
    let (both, either) = Zip::from(a).and(b).fold((0u64, 0u64), |(both, either), a, b| {
        (both + u64::from(*a > 0 && *b > 0), either + u64::from(*a > 0 || *b > 0))
    });
    Some(if either == 0 { 1.0 } else { both as f64 / either as f64 })
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn labels_above_0_are_regions() {
        let a = arr2(&[[0, 1, 2], [0, 0, 3]]);
        let b = arr2(&[[0, 0, 1], [1, 0, 1]]);
        assert_eq!(iou(&a.view(), &b.view()), Some(0.5));
        let none = arr2(&[[0, 0, 0], [0, 0, 0]]);
        assert_eq!(iou(&none.view(), &none.view()), Some(1.0));
        assert_eq!(iou(&none.view(), &a.view()), Some(0.0));
        assert_eq!(iou(&a.view(), &arr2(&[[0]]).view()), None);
    }
}
