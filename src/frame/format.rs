/// How the components of a picture relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Luma alone.
    Gray,
    /// Luma and two chroma components, these `1 << shift` times smaller along each axis, rounded up.
    Yuv { shift_x: u32, shift_y: u32 },
    /// Red, green and blue.
    Rgb,
}

impl Colour {
    /// Powers of two by which a component is smaller than the picture, across and down.
    pub fn shifts(self, component: usize) -> [u32; 2] {
        match self {
            Self::Yuv { shift_x, shift_y } if component > 0 => [shift_x, shift_y],
            _ => [0, 0],
        }
    }
}

/// Where a component lies: its plane, the first sample in a row of it, and the distance to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub plane: usize,
    pub offset: usize,
    pub step: usize,
}

/// A pixel format: where each component lies. Components are in the order Y, U, V or R, G, B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    colour: Colour,
    places: [Place; 3],
    alpha: Option<Place>,
}

const fn at(plane: usize, offset: usize, step: usize) -> Place {
    Place { plane, offset, step }
}

const YUV420: Colour = Colour::Yuv { shift_x: 1, shift_y: 1 };

impl Format {
    pub const GRAY8: Self = Self { colour: Colour::Gray, places: [at(0, 0, 1); 3], alpha: None };
    pub const I420: Self = Self::planar(YUV420, 1, 2);
    pub const YV12: Self = Self::planar(YUV420, 2, 1);
    pub const NV12: Self =
        Self { colour: YUV420, places: [at(0, 0, 1), at(1, 0, 2), at(1, 1, 2)], alpha: None };
    pub const NV21: Self =
        Self { colour: YUV420, places: [at(0, 0, 1), at(1, 1, 2), at(1, 0, 2)], alpha: None };
    pub const Y42B: Self = Self::planar(Colour::Yuv { shift_x: 1, shift_y: 0 }, 1, 2);
    pub const Y444: Self = Self::planar(Colour::Yuv { shift_x: 0, shift_y: 0 }, 1, 2);

    /// 4:2:0 with a plane of alpha.
    pub const A420: Self = Self { alpha: Some(at(3, 0, 1)), ..Self::I420 };
    /// 4:4:4 in one plane: alpha, Y, U, V.
    pub const AYUV: Self = Self {
        colour: Colour::Yuv { shift_x: 0, shift_y: 0 },
        places: [at(0, 1, 4), at(0, 2, 4), at(0, 3, 4)],
        alpha: Some(at(0, 0, 4)),
    };

    const fn planar(colour: Colour, u: usize, v: usize) -> Self {
        Self { colour, places: [at(0, 0, 1), at(u, 0, 1), at(v, 0, 1)], alpha: None }
    }

    /// RGB in one plane: positions of red, green, blue and perhaps alpha within a pixel of `step` samples.
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

    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// The components, alpha not among them.
    pub fn places(&self) -> &[Place] {
        match self.colour {
            Colour::Gray => &self.places[..1],
            Colour::Yuv { .. } | Colour::Rgb => &self.places,
        }
    }

    pub fn alpha(&self) -> Option<Place> {
        self.alpha
    }

    /// Width and height of a component of a picture of `width` by `height`.
    pub fn component_size(&self, component: usize, width: usize, height: usize) -> (usize, usize) {
        let [shift_x, shift_y] = self.colour.shifts(component);
        (width.div_ceil(1 << shift_x), height.div_ceil(1 << shift_y))
    }
}
