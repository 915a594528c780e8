// SPDX-License-Identifier: MIT OR Apache-2.0

//! Simulated user who corrects a mask click by click, for training and evaluation.

use ndarray::{ArrayView2, Zip};

use super::distance::{connected_components, interior_point};

/// Click of the simulated user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Click {
    /// Column of the pixel.
    pub x: usize,
    /// Row of the pixel.
    pub y: usize,
    /// Whether the click adds to the region: true if a part of the region is missing, false if a
    /// part is superfluous.
    pub inside: bool,
}

/// Returns the next click, or `None` if the mask has no error.
///
/// The click goes to the centre of the largest connected error, as in the usual evaluation protocol
/// of interactive segmentation (Xu et al., "Deep Interactive Object Selection", 2016). `truth` is
/// `None` for pixels that do not count.
///
/// # Panics
/// Panics if `mask` and `truth` differ in size.
pub fn next_click(
    mask: &ArrayView2<'_, bool>,
    truth: &ArrayView2<'_, Option<bool>>,
) -> Option<Click> {
    let candidates = [true, false].map(|inside| {
        let error = Zip::from(mask)
            .and(truth)
            .map_collect(|mask, truth| *truth == Some(inside) && *mask != inside);
        let (labels, sizes) = connected_components(&error.view());
        let largest = (0..sizes.len()).max_by_key(|i| sizes[*i])?;
        let part = labels.mapv(|label| label as usize == largest + 1);
        let ((y, x), squared_distance) =
            interior_point(&part.view()).expect("a component has at least one pixel");
        Some((squared_distance, Click { x, y, inside }))
    });
    // Of the largest missing and the largest superfluous part, clicks the one whose centre is
    // farther from its border, as a user would notice that one first.
    candidates.into_iter().flatten().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, click)| click)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn clicks_centre_of_largest_error() {
        let truth = Array2::from_shape_fn((20, 30), |(y, x)| {
            if x == 29 { None } else { Some((5..12).contains(&x) && (4..11).contains(&y)) }
        });
        let none = Array2::from_elem((20, 30), false);
        assert_eq!(
            next_click(&none.view(), &truth.view()),
            Some(Click { x: 8, y: 7, inside: true })
        );
        let all = Array2::from_elem((20, 30), true);
        let Click { x, inside, .. } = next_click(&all.view(), &truth.view()).unwrap();
        assert!(!inside && x > 12 && x < 29);
        let right = truth.mapv(|t| t.unwrap_or(false));
        assert_eq!(next_click(&right.view(), &truth.view()), None);
    }
}
