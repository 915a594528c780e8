//! Views of the components of a picture, read-only ([`Picture`]) and mutable ([`PictureMut`]).

use ndarray::{ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis, ShapeBuilder, s};

use super::{Colour, Error, Format, Place, Sample};

/// Memory of one plane: samples, and the stride from one row to the next in samples.
pub type Plane<'a, T> = (&'a [T], usize);
/// Mutable memory of one plane: samples, and the stride from one row to the next in samples.
pub type PlaneMut<'a, T> = (&'a mut [T], usize);

/// Read-only views of the components of a picture.
#[derive(Debug, Clone)]
pub struct Picture<'a, T> {
    /// Colour model and chroma subsampling.
    pub colour: Colour,
    /// Y, U, V or R, G, B or Y alone, indexed `[[y, x]]`.
    pub components: Vec<ArrayView2<'a, T>>,
}

/// Mutable views of the components of a picture.
#[derive(Debug)]
pub struct PictureMut<'a, T> {
    /// Colour model and chroma subsampling.
    pub colour: Colour,
    /// Y, U, V or R, G, B or Y alone, indexed `[[y, x]]`.
    pub components: Vec<ArrayViewMut2<'a, T>>,
}

impl<'a, T: Sample> Picture<'a, T> {
    /// Creates views of the components of a picture of `width` by `height` pixels stored in
    /// `planes`.
    ///
    /// # Errors
    /// If a plane is missing or too small, or the picture has no pixels.
    pub fn new(
        format: Format,
        width: usize,
        height: usize,
        planes: &[Plane<'a, T>],
    ) -> Result<Self, Error> {
        let component = |(i, place): (usize, &Place)| {
            let (width, height) = check_size(format, i, width, height)?;
            let (data, stride) =
                *planes.get(place.plane).ok_or(Error::MissingPlane { plane: place.plane })?;
            let too_small = Error::TooSmall { plane: place.plane, stride, width, height };
            if stride < place.offset + (width - 1) * place.step + 1 {
                return Err(too_small);
            }
            let data = data.get(place.offset..).ok_or_else(|| too_small.clone())?;
            ArrayView2::from_shape((height, width).strides((stride, place.step)), data)
                .map_err(|_| too_small)
        };
        let components =
            format.places().iter().enumerate().map(component).collect::<Result<_, _>>()?;
        Ok(Self { colour: format.colour(), components })
    }

    /// Returns the width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        let (height, width) = self.components[0].dim();
        (width, height)
    }

    /// Returns a field of an interlaced picture: every other row of each component, from row
    /// `parity` (0 or 1) on.
    pub fn field(&self, parity: usize) -> Picture<'_, T> {
        let rows = |c: &'_ ArrayView2<'a, T>| c.slice_move(s![parity..;2, ..]);
        Picture { colour: self.colour, components: self.components.iter().map(rows).collect() }
    }
}

impl<'a, T: Sample> PictureMut<'a, T> {
    /// Creates mutable views of the components of a picture of `width` by `height` pixels stored in
    /// `planes`.
    ///
    /// # Errors
    /// If a plane is missing or too small, or the picture has no pixels.
    pub fn new(
        format: Format,
        width: usize,
        height: usize,
        planes: impl IntoIterator<Item = PlaneMut<'a, T>>,
    ) -> Result<Self, Error> {
        let places = format.places();
        let mut components: Vec<Option<ArrayViewMut2<'a, T>>> =
            places.iter().map(|_| None).collect();
        for (number, (data, stride)) in planes.into_iter().enumerate() {
            let Some(first) = places.iter().position(|p| p.plane == number) else { continue };
            let (width, height) = check_size(format, first, width, height)?;
            let too_small = || Error::TooSmall { plane: number, stride, width, height };
            // A plane of interleaved components is viewed as rows, pixels and samples of a pixel,
            // then split along the last axis.
            let step = places[first].step;
            let reach = places
                .iter()
                .filter(|p| p.plane == number)
                .map(|p| p.offset + 1)
                .max()
                .unwrap_or(1);
            if stride < (width - 1) * step + reach {
                return Err(too_small());
            }
            let pixels =
                ArrayViewMut3::from_shape((height, width, reach).strides((stride, step, 1)), data)
                    .map_err(|_| too_small())?;
            for (offset, component) in split_last_axis(pixels).into_iter().enumerate() {
                if let Some(i) = places.iter().position(|p| p.plane == number && p.offset == offset)
                {
                    components[i] = Some(component);
                }
            }
        }
        let whole = components.into_iter().zip(places);
        let components = whole
            .map(|(c, place)| c.ok_or(Error::MissingPlane { plane: place.plane }))
            .collect::<Result<_, _>>()?;
        Ok(Self { colour: format.colour(), components })
    }

    /// Returns a field of an interlaced picture: every other row of each component, from row
    /// `parity` (0 or 1) on.
    pub fn field(&mut self, parity: usize) -> PictureMut<'_, T> {
        let components =
            self.components.iter_mut().map(|c| c.slice_mut(s![parity..;2, ..])).collect();
        PictureMut { colour: self.colour, components }
    }

    /// Returns a read-only view of the same picture.
    pub fn view(&self) -> Picture<'_, T> {
        Picture {
            colour: self.colour,
            components: self.components.iter().map(|c| c.view()).collect(),
        }
    }

    /// Reborrows the same picture for a shorter lifetime.
    pub fn reborrow(&mut self) -> PictureMut<'_, T> {
        PictureMut {
            colour: self.colour,
            components: self.components.iter_mut().map(|c| c.view_mut()).collect(),
        }
    }
}

/// Returns the width and height of a component; an error if the picture has no pixels.
fn check_size(
    format: Format,
    component: usize,
    width: usize,
    height: usize,
) -> Result<(usize, usize), Error> {
    if width == 0 || height == 0 {
        return Err(Error::Empty { width, height });
    }
    Ok(format.component_size(component, width, height))
}

/// Splits a view into one per index of its last axis.
fn split_last_axis<T>(view: ArrayViewMut3<'_, T>) -> Vec<ArrayViewMut2<'_, T>> {
    let mut rest = view;
    let mut parts = Vec::new();
    while rest.len_of(Axis(2)) > 0 {
        let (first, after) = rest.split_at(Axis(2), 1);
        parts.push(first.index_axis_move(Axis(2), 0));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [(Format, usize); 10] = [
        (Format::GRAY8, 1),
        (Format::I420, 3),
        (Format::YV12, 3),
        (Format::NV12, 2),
        (Format::NV21, 2),
        (Format::Y42B, 3),
        (Format::Y444, 3),
        (Format::packed_rgb([0, 1, 2], None, 3), 1),
        (Format::packed_rgb([2, 1, 0], Some(3), 4), 1),
        (Format::packed_rgb([1, 2, 3], Some(0), 4), 1),
    ];

    /// Returns zeroed planes of minimum length, with padding between rows.
    fn planes(format: Format, count: usize, width: usize, height: usize) -> Vec<(Vec<u8>, usize)> {
        (0..count)
            .map(|number| {
                let first = format.places().iter().position(|p| p.plane == number).unwrap();
                let (w, h) = format.component_size(first, width, height);
                let row = w * format.places()[first].step;
                let stride = row + 5;
                (vec![0; stride * (h - 1) + row], stride)
            })
            .collect()
    }

    #[test]
    fn what_is_written_is_read_and_padding_stays() {
        for (format, count) in FORMATS {
            for (width, height) in [(1, 1), (2, 2), (5, 3), (7, 9), (16, 4)] {
                let mut memory = planes(format, count, width, height);
                let views = memory.iter_mut().map(|(data, stride)| (data.as_mut_slice(), *stride));
                let mut picture = PictureMut::new(format, width, height, views).unwrap();
                let mut written = 0;
                for (i, component) in picture.components.iter_mut().enumerate() {
                    component
                        .indexed_iter_mut()
                        .for_each(|((y, x), v)| *v = (1 + i * 71 + y * 13 + x) as u8);
                    written += component.len();
                }
                let views: Vec<_> =
                    memory.iter().map(|(data, stride)| (data.as_slice(), *stride)).collect();
                let picture = Picture::new(format, width, height, &views).unwrap();
                assert_eq!(picture.size(), (width, height));
                for (i, component) in picture.components.iter().enumerate() {
                    let (w, h) = format.component_size(i, width, height);
                    assert_eq!(component.dim(), (h, w));
                    assert!(
                        component
                            .indexed_iter()
                            .all(|((y, x), v)| *v == (1 + i * 71 + y * 13 + x) as u8)
                    );
                }
                let touched = memory.iter().flat_map(|(data, _)| data).filter(|v| **v != 0).count();
                assert_eq!(touched, written, "{format:?} {width}x{height}");
            }
        }
    }

    #[test]
    fn fields_take_turns() {
        let data: Vec<u8> = (0..15).collect();
        let picture = Picture::new(Format::GRAY8, 3, 5, &[(&data, 3)]).unwrap();
        assert_eq!(picture.field(0).components[0].column(0).to_vec(), [0, 6, 12]);
        assert_eq!(picture.field(1).components[0].column(0).to_vec(), [3, 9]);
    }

    #[test]
    fn wrong_memory_is_an_error() {
        let data = [0u8; 11];
        let small = Picture::new(Format::GRAY8, 4, 3, &[(&data, 4)]);
        assert!(matches!(small, Err(Error::TooSmall { plane: 0, .. })));
        assert!(matches!(
            Picture::new(Format::GRAY8, 4, 2, &[(&data, 3)]),
            Err(Error::TooSmall { .. })
        ));
        assert!(matches!(
            Picture::new(Format::I420, 2, 2, &[(&data, 4)]),
            Err(Error::MissingPlane { plane: 1 })
        ));
        assert!(matches!(
            Picture::new(Format::GRAY8, 0, 2, &[(&data, 4)]),
            Err(Error::Empty { .. })
        ));
        let mut data = [0u8; 8];
        let packed = Format::packed_rgb([0, 1, 2], None, 3);
        assert!(matches!(
            PictureMut::new(packed, 3, 1, [(&mut data[..], 9)]),
            Err(Error::TooSmall { .. })
        ));
        assert!(matches!(
            PictureMut::<u8>::new(packed, 3, 1, []),
            Err(Error::MissingPlane { plane: 0 })
        ));
    }
}
