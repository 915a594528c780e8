// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pixel formats: colour model, chroma subsampling and the layout of each component in memory.

/// Colour model and chroma subsampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Luma only.
    Gray,
    /// Luma and two chroma components. Chroma is `1 << shift` times smaller than luma, rounded up.
    Yuv {
        /// Horizontal chroma subsampling as a power of two.
        shift_x: u32,
        /// Vertical chroma subsampling as a power of two.
        shift_y: u32,
    },
    /// Red, green and blue.
    Rgb,
}

impl Colour {
    /// Returns the subsampling of a component as powers of two, horizontal and vertical.
    pub fn subsampling(self, component: usize) -> [u32; 2] {
        match self {
            Self::Yuv { shift_x, shift_y } if component > 0 => [shift_x, shift_y],
            _ => [0, 0],
        }
    }
}

/// Layout of a component in memory. Offset and stride are in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ComponentLayout {
    /// Index of the plane.
    pub plane: usize,
    /// Offset of the first sample in a row of the plane.
    pub offset: usize,
    /// Distance from one sample of the component to the next in a row.
    pub pixel_stride: usize,
}

impl ComponentLayout {
    const fn new(plane: usize, offset: usize, pixel_stride: usize) -> Self {
        Self { plane, offset, pixel_stride }
    }
}

/// Pixel format: colour model and the layout of each component, in the order Y, U, V or R, G, B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    colour: Colour,
    components: [ComponentLayout; 3],
    alpha: Option<ComponentLayout>,
}

/// 4:2:0.
const YUV420: Colour = Colour::Yuv { shift_x: 1, shift_y: 1 };
/// 4:2:2.
const YUV422: Colour = Colour::Yuv { shift_x: 1, shift_y: 0 };
/// 4:4:4.
const YUV444: Colour = Colour::Yuv { shift_x: 0, shift_y: 0 };

/// Layout of luma in formats with a plane of its own for it.
const LUMA: ComponentLayout = ComponentLayout::new(0, 0, 1);

impl Format {
    /// Luma in one plane.
    pub const GRAY8: Self = Self { colour: Colour::Gray, components: [LUMA; 3], alpha: None };
    /// 4:2:0 in three planes: Y, U, V.
    pub const I420: Self = Self::planar(YUV420, [1, 2]);
    /// 4:2:0 in three planes: Y, V, U.
    pub const YV12: Self = Self::planar(YUV420, [2, 1]);
    /// 4:2:0 in two planes: Y, interleaved U and V.
    pub const NV12: Self = Self::semi_planar(YUV420, [0, 1]);
    /// 4:2:0 in two planes: Y, interleaved V and U.
    pub const NV21: Self = Self::semi_planar(YUV420, [1, 0]);
    /// 4:2:2 in three planes: Y, U, V.
    pub const Y42B: Self = Self::planar(YUV422, [1, 2]);
    /// 4:4:4 in three planes: Y, U, V.
    pub const Y444: Self = Self::planar(YUV444, [1, 2]);

    /// 4:2:0 in four planes: Y, U, V, alpha.
    pub const A420: Self = Self { alpha: Some(ComponentLayout::new(3, 0, 1)), ..Self::I420 };
    /// 4:4:4 in one plane: interleaved alpha, Y, U and V.
    pub const AYUV: Self = Self::packed(YUV444, [1, 2, 3], Some(0), 4);

    /// Interleaved red, green and blue.
    pub const RGB: Self = Self::packed(Colour::Rgb, [0, 1, 2], None, 3);
    /// Interleaved blue, green and red.
    pub const BGR: Self = Self::packed(Colour::Rgb, [2, 1, 0], None, 3);
    /// Interleaved red, green, blue and alpha.
    pub const RGBA: Self = Self::packed(Colour::Rgb, [0, 1, 2], Some(3), 4);
    /// Interleaved blue, green, red and alpha.
    pub const BGRA: Self = Self::packed(Colour::Rgb, [2, 1, 0], Some(3), 4);
    /// Interleaved alpha, red, green and blue.
    pub const ARGB: Self = Self::packed(Colour::Rgb, [1, 2, 3], Some(0), 4);
    /// Interleaved alpha, blue, green and red.
    pub const ABGR: Self = Self::packed(Colour::Rgb, [3, 2, 1], Some(0), 4);
    /// Interleaved red, green, blue and an unused sample.
    pub const RGBX: Self = Self::packed(Colour::Rgb, [0, 1, 2], None, 4);
    /// Interleaved blue, green, red and an unused sample.
    pub const BGRX: Self = Self::packed(Colour::Rgb, [2, 1, 0], None, 4);
    /// Interleaved unused sample, red, green and blue.
    pub const XRGB: Self = Self::packed(Colour::Rgb, [1, 2, 3], None, 4);
    /// Interleaved unused sample, blue, green and red.
    pub const XBGR: Self = Self::packed(Colour::Rgb, [3, 2, 1], None, 4);

    /// Returns a format with a plane per component: luma in plane 0, chroma in planes `u` and `v`.
    const fn planar(colour: Colour, [u, v]: [usize; 2]) -> Self {
        let [u, v] = [ComponentLayout::new(u, 0, 1), ComponentLayout::new(v, 0, 1)];
        Self { colour, components: [LUMA, u, v], alpha: None }
    }

    /// Returns a format with luma in plane 0 and interleaved chroma in plane 1; `u` and `v` are
    /// their offsets in a pair of chroma samples.
    const fn semi_planar(colour: Colour, [u, v]: [usize; 2]) -> Self {
        let [u, v] = [ComponentLayout::new(1, u, 2), ComponentLayout::new(1, v, 2)];
        Self { colour, components: [LUMA, u, v], alpha: None }
    }

    /// Returns a format with all components in one plane. The array and `alpha` are the offsets of
    /// the components in a pixel of `pixel_stride` samples.
    const fn packed(
        colour: Colour,
        [a, b, c]: [usize; 3],
        alpha: Option<usize>,
        pixel_stride: usize,
    ) -> Self {
        let alpha = match alpha {
            Some(offset) => Some(ComponentLayout::new(0, offset, pixel_stride)),
            None => None,
        };
        let components = [
            ComponentLayout::new(0, a, pixel_stride),
            ComponentLayout::new(0, b, pixel_stride),
            ComponentLayout::new(0, c, pixel_stride),
        ];
        Self { colour, components, alpha }
    }

    /// Returns the colour model.
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// Returns the layouts of the colour components, without alpha.
    pub fn component_layouts(&self) -> &[ComponentLayout] {
        match self.colour {
            Colour::Gray => &self.components[..1],
            Colour::Yuv { .. } | Colour::Rgb => &self.components,
        }
    }

    /// Returns the layout of alpha, if the format has it.
    pub fn alpha(&self) -> Option<ComponentLayout> {
        self.alpha
    }

    /// Returns the width and height of a component of a picture of `width` by `height`.
    pub fn component_size(&self, component: usize, width: usize, height: usize) -> (usize, usize) {
        let [shift_x, shift_y] = self.colour.subsampling(component);
        (width.div_ceil(1 << shift_x), height.div_ceil(1 << shift_y))
    }

    /// Returns the width and height of a component of an interlaced picture of `width` by `height`
    /// that has all rows of both fields.
    ///
    /// With vertically subsampled chroma this can be a row more than [`Self::component_size`]: the
    /// second field of 486 rows has 243 rows of luma and 122 of chroma, the last of which is row
    /// 243 of the 244 rows of the picture.
    pub fn interlaced_component_size(
        &self,
        component: usize,
        width: usize,
        height: usize,
    ) -> (usize, usize) {
        let (first_width, first_rows) = self.component_size(component, width, height.div_ceil(2));
        let (_, second_rows) = self.component_size(component, width, height / 2);
        (first_width, (2 * first_rows).saturating_sub(1).max(2 * second_rows))
    }
}
