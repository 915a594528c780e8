//! Pixel formats: colour model, chroma subsampling and the place of each component in memory.

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
    pub fn shifts(self, component: usize) -> [u32; 2] {
        match self {
            Self::Yuv { shift_x, shift_y } if component > 0 => [shift_x, shift_y],
            _ => [0, 0],
        }
    }
}

/// Place of a component in memory. Offset and step are in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Index of the plane.
    pub plane: usize,
    /// Offset of the first sample in a row of the plane.
    pub offset: usize,
    /// Distance from one sample of the component to the next in a row.
    pub step: usize,
}

/// Pixel format: colour model and the place of each component, in the order Y, U, V or R, G, B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    colour: Colour,
    places: [Place; 3],
    alpha: Option<Place>,
}

const fn at(plane: usize, offset: usize, step: usize) -> Place {
    Place { plane, offset, step }
}

/// 4:2:0.
const YUV420: Colour = Colour::Yuv { shift_x: 1, shift_y: 1 };

impl Format {
    /// Luma in one plane.
    pub const GRAY8: Self = Self { colour: Colour::Gray, places: [at(0, 0, 1); 3], alpha: None };
    /// 4:2:0 in three planes: Y, U, V.
    pub const I420: Self = Self::planar(YUV420, 1, 2);
    /// 4:2:0 in three planes: Y, V, U.
    pub const YV12: Self = Self::planar(YUV420, 2, 1);
    /// 4:2:0 in two planes: Y, interleaved U and V.
    pub const NV12: Self =
        Self { colour: YUV420, places: [at(0, 0, 1), at(1, 0, 2), at(1, 1, 2)], alpha: None };
    /// 4:2:0 in two planes: Y, interleaved V and U.
    pub const NV21: Self =
        Self { colour: YUV420, places: [at(0, 0, 1), at(1, 1, 2), at(1, 0, 2)], alpha: None };
    /// 4:2:2 in three planes: Y, U, V.
    pub const Y42B: Self = Self::planar(Colour::Yuv { shift_x: 1, shift_y: 0 }, 1, 2);
    /// 4:4:4 in three planes: Y, U, V.
    pub const Y444: Self = Self::planar(Colour::Yuv { shift_x: 0, shift_y: 0 }, 1, 2);

    /// 4:2:0 in four planes: Y, U, V, alpha.
    pub const A420: Self = Self { alpha: Some(at(3, 0, 1)), ..Self::I420 };
    /// 4:4:4 in one plane: interleaved alpha, Y, U and V.
    pub const AYUV: Self = Self {
        colour: Colour::Yuv { shift_x: 0, shift_y: 0 },
        places: [at(0, 1, 4), at(0, 2, 4), at(0, 3, 4)],
        alpha: Some(at(0, 0, 4)),
    };

    const fn planar(colour: Colour, u: usize, v: usize) -> Self {
        Self { colour, places: [at(0, 0, 1), at(u, 0, 1), at(v, 0, 1)], alpha: None }
    }

    /// Returns a format with RGB in one plane. `rgb` and `alpha` are the positions of red, green,
    /// blue and alpha in a pixel of `step` samples.
    pub const fn packed_rgb(rgb: [usize; 3], alpha: Option<usize>, step: usize) -> Self {
        let [r, g, b] = rgb;
        let alpha = match alpha {
            Some(a) => Some(at(0, a, step)),
            None => None,
        };
        Self {
            colour: Colour::Rgb,
            places: [at(0, r, step), at(0, g, step), at(0, b, step)],
            alpha,
        }
    }

    /// Returns the colour model.
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// Returns the places of the colour components, without alpha.
    pub fn places(&self) -> &[Place] {
        match self.colour {
            Colour::Gray => &self.places[..1],
            Colour::Yuv { .. } | Colour::Rgb => &self.places,
        }
    }

    /// Returns the place of alpha, if the format has it.
    pub fn alpha(&self) -> Option<Place> {
        self.alpha
    }

    /// Returns the width and height of a component of a picture of `width` by `height`.
    pub fn component_size(&self, component: usize, width: usize, height: usize) -> (usize, usize) {
        let [shift_x, shift_y] = self.colour.shifts(component);
        (width.div_ceil(1 << shift_x), height.div_ceil(1 << shift_y))
    }
}
