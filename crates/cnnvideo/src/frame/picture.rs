// SPDX-License-Identifier: MIT OR Apache-2.0

//! Views of the components of a picture, read-only ([`Picture`]) and mutable ([`PictureMut`]).

use ndarray::{ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis, ShapeBuilder, s};

use super::{Colour, ComponentLayout, Error, Field, Format, Sample};

/// Memory of one plane.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a, T> {
    /// Samples of all rows, with padding between the rows if `stride` is larger than a row.
    pub samples: &'a [T],
    /// Distance from one row to the next in samples.
    pub stride: usize,
}

/// Mutable memory of one plane.
#[derive(Debug)]
pub struct PlaneMut<'a, T> {
    /// Samples of all rows, with padding between the rows if `stride` is larger than a row.
    pub samples: &'a mut [T],
    /// Distance from one row to the next in samples.
    pub stride: usize,
}

impl<'a, T> Plane<'a, T> {
    /// Returns a plane of `samples` with a row every `stride` samples.
    pub fn new(samples: &'a [T], stride: usize) -> Self {
        Self { samples, stride }
    }
}

impl<'a, T> PlaneMut<'a, T> {
    /// Returns a plane of `samples` with a row every `stride` samples.
    pub fn new(samples: &'a mut [T], stride: usize) -> Self {
        Self { samples, stride }
    }
}

/// Converts samples and stride.
impl<'a, T> From<(&'a [T], usize)> for Plane<'a, T> {
    fn from((samples, stride): (&'a [T], usize)) -> Self {
        Self { samples, stride }
    }
}

/// Converts samples and stride.
impl<'a, T> From<(&'a mut [T], usize)> for PlaneMut<'a, T> {
    fn from((samples, stride): (&'a mut [T], usize)) -> Self {
        Self { samples, stride }
    }
}

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
        check_size(width, height)?;
        Self::with_sizes(format, planes, |i| format.component_size(i, width, height))
    }

    /// Creates views of the components of an interlaced picture with all rows of both fields, for
    /// [`Self::field`]. See [`Format::interlaced_component_size`].
    ///
    /// # Errors
    /// If a plane is missing or too small, or the picture has no pixels.
    pub fn interlaced(
        format: Format,
        width: usize,
        height: usize,
        planes: &[Plane<'a, T>],
    ) -> Result<Self, Error> {
        check_size(width, height)?;
        Self::with_sizes(format, planes, |i| format.interlaced_component_size(i, width, height))
    }

    /// Creates views of components whose width and height `size` returns.
    fn with_sizes(
        format: Format,
        planes: &[Plane<'a, T>],
        size: impl Fn(usize) -> (usize, usize),
    ) -> Result<Self, Error> {
        let component = |(i, layout): (usize, &ComponentLayout)| {
            let (width, height) = size(i);
            let ComponentLayout { plane, offset, pixel_stride } = *layout;
            let Plane { samples, stride } =
                *planes.get(plane).ok_or(Error::MissingPlane { plane })?;
            let too_small = Error::TooSmall { plane, stride, width, height };
            if stride < offset + (width - 1) * pixel_stride + 1 {
                return Err(too_small);
            }
            let samples = samples.get(offset..).ok_or_else(|| too_small.clone())?;
            ArrayView2::from_shape((height, width).strides((stride, pixel_stride)), samples)
                .map_err(|_| too_small)
        };
        let layouts = format.component_layouts();
        let components = layouts.iter().enumerate().map(component).collect::<Result<_, _>>()?;
        Ok(Self { colour: format.colour(), components })
    }

    /// Returns the width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        let (height, width) = self.components[0].dim();
        (width, height)
    }

    /// Returns a field of an interlaced picture: every other row of each component.
    pub fn field(&self, field: Field) -> Picture<'_, T> {
        let rows = |c: &'_ ArrayView2<'a, T>| c.slice_move(s![field.index()..;2, ..]);
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
        check_size(width, height)?;
        Self::with_sizes(format, planes, |i| format.component_size(i, width, height))
    }

    /// Creates mutable views of the components of an interlaced picture with all rows of both
    /// fields, for [`Self::field`]. See [`Format::interlaced_component_size`].
    ///
    /// # Errors
    /// If a plane is missing or too small, or the picture has no pixels.
    pub fn interlaced(
        format: Format,
        width: usize,
        height: usize,
        planes: impl IntoIterator<Item = PlaneMut<'a, T>>,
    ) -> Result<Self, Error> {
        check_size(width, height)?;
        Self::with_sizes(format, planes, |i| format.interlaced_component_size(i, width, height))
    }

    /// Creates mutable views of components whose width and height `size` returns.
    fn with_sizes(
        format: Format,
        planes: impl IntoIterator<Item = PlaneMut<'a, T>>,
        size: impl Fn(usize) -> (usize, usize),
    ) -> Result<Self, Error> {
        let layouts = format.component_layouts();
        let mut components: Vec<Option<ArrayViewMut2<'a, T>>> =
            layouts.iter().map(|_| None).collect();
        for (plane, PlaneMut { samples, stride }) in planes.into_iter().enumerate() {
            let of_plane = layouts.iter().enumerate().filter(|(_, layout)| layout.plane == plane);
            // A format may use only some of the planes, without that of alpha for example.
            let Some((first, layout)) = of_plane.clone().next() else { continue };
            let (width, height) = size(first);
            let too_small = || Error::TooSmall { plane, stride, width, height };
            // A plane of interleaved components is viewed as rows, pixels and samples of a pixel,
            // then split along the last axis.
            let pixel_stride = layout.pixel_stride;
            let pixel_samples = of_plane
                .clone()
                .map(|(_, layout)| layout.offset + 1)
                .max()
                .expect("the plane has a component");
            if stride < (width - 1) * pixel_stride + pixel_samples {
                return Err(too_small());
            }
            let shape = (height, width, pixel_samples).strides((stride, pixel_stride, 1));
            let pixels = ArrayViewMut3::from_shape(shape, samples).map_err(|_| too_small())?;
            for (offset, component) in split_last_axis(pixels).into_iter().enumerate() {
                if let Some((i, _)) = of_plane.clone().find(|(_, layout)| layout.offset == offset) {
                    components[i] = Some(component);
                }
            }
        }
        let components = components
            .into_iter()
            .zip(layouts)
            .map(|(c, layout)| c.ok_or(Error::MissingPlane { plane: layout.plane }))
            .collect::<Result<_, _>>()?;
        Ok(Self { colour: format.colour(), components })
    }

    /// Returns a field of an interlaced picture: every other row of each component.
    pub fn field(&mut self, field: Field) -> PictureMut<'_, T> {
        let first_row = field.index();
        let components =
            self.components.iter_mut().map(|c| c.slice_mut(s![first_row..;2, ..])).collect();
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

/// Checks that a picture has pixels.
fn check_size(width: usize, height: usize) -> Result<(), Error> {
    if width == 0 || height == 0 { Err(Error::Empty { width, height }) } else { Ok(()) }
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
        (Format::RGB, 1),
        (Format::BGRA, 1),
        (Format::ARGB, 1),
    ];

    /// Returns zeroed planes of minimum length, with padding between rows.
    fn planes(format: Format, count: usize, width: usize, height: usize) -> Vec<(Vec<u8>, usize)> {
        (0..count)
            .map(|number| {
                let layouts = format.component_layouts();
                let first = layouts.iter().position(|layout| layout.plane == number).unwrap();
                let (w, h) = format.component_size(first, width, height);
                let row = w * layouts[first].pixel_stride;
                let stride = row + 5;
                (vec![0; stride * (h - 1) + row], stride)
            })
            .collect()
    }

    #[test]
    fn samples_round_trip_and_padding_stays() {
        for (format, count) in FORMATS {
            for (width, height) in [(1, 1), (2, 2), (5, 3), (7, 9), (16, 4)] {
                let mut memory = planes(format, count, width, height);
                let views = memory.iter_mut().map(|(data, stride)| PlaneMut::new(data, *stride));
                let mut picture = PictureMut::new(format, width, height, views).unwrap();
                let mut written = 0;
                for (i, component) in picture.components.iter_mut().enumerate() {
                    component
                        .indexed_iter_mut()
                        .for_each(|((y, x), v)| *v = (1 + i * 71 + y * 13 + x) as u8);
                    written += component.len();
                }
                let views: Vec<_> =
                    memory.iter().map(|(data, stride)| Plane::new(data, *stride)).collect();
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
    fn fields_are_alternate_rows() {
        let data: Vec<u8> = (0..15).collect();
        let picture = Picture::new(Format::GRAY8, 3, 5, &[Plane::new(&data, 3)]).unwrap();
        assert_eq!(picture.field(Field::First).components[0].column(0).to_vec(), [0, 6, 12]);
        assert_eq!(picture.field(Field::Second).components[0].column(0).to_vec(), [3, 9]);
    }

    #[test]
    fn fields_of_interlaced_pictures_have_the_chroma_of_their_luma() {
        for height in 8..20 {
            let (data, width) = (vec![0u8; 20 * 6], 6);
            let planes = [Plane::new(data.as_slice(), width); 3];
            let picture = Picture::interlaced(Format::I420, width, height, &planes).unwrap();
            for (field, rows) in [(Field::First, height.div_ceil(2)), (Field::Second, height / 2)] {
                let dims: Vec<_> =
                    picture.field(field).components.iter().map(|c| c.dim()).collect();
                let chroma = (rows.div_ceil(2), 3);
                assert_eq!(dims, [(rows, 6), chroma, chroma], "{height}");
            }
        }
    }

    #[test]
    fn invalid_memory_is_rejected() {
        let data = [0u8; 11];
        let small = Picture::new(Format::GRAY8, 4, 3, &[Plane::new(&data, 4)]);
        assert!(matches!(small, Err(Error::TooSmall { plane: 0, .. })));
        assert!(matches!(
            Picture::new(Format::GRAY8, 4, 2, &[Plane::new(&data, 3)]),
            Err(Error::TooSmall { .. })
        ));
        assert!(matches!(
            Picture::new(Format::I420, 2, 2, &[Plane::new(&data, 4)]),
            Err(Error::MissingPlane { plane: 1 })
        ));
        assert!(matches!(
            Picture::new(Format::GRAY8, 0, 2, &[Plane::new(&data, 4)]),
            Err(Error::Empty { .. })
        ));
        let mut data = [0u8; 8];
        assert!(matches!(
            PictureMut::new(Format::RGB, 3, 1, [PlaneMut::new(&mut data, 9)]),
            Err(Error::TooSmall { .. })
        ));
        assert!(matches!(
            PictureMut::<u8>::new(Format::RGB, 3, 1, []),
            Err(Error::MissingPlane { plane: 0 })
        ));
    }
}
