// SPDX-License-Identifier: MIT OR Apache-2.0

//! The colour planes that denoising networks work on.

use cnnvideo_nn::{IoSpec, Signature};

use crate::frame::Colour;

/// Signature of a network for RGB.
///
/// The picture is R, G and B, pixel-unshuffled to half the frame size in four channels each, as
/// `(code value - 128) / 255`. One control map follows. The network predicts the noise of the same
/// planes.
pub const RGB: Signature =
    Signature::new("denoise-rgb", IoSpec { picture: 12, control: 1, output: 12 });

/// Signature of a network for YUV 4:2:0.
///
/// The picture is Y, pixel-unshuffled to half the frame size in four channels, then U and V, as
/// `(code value - 128) / 255`. Two control maps follow, for luma and for chroma. The network
/// predicts the noise of the same planes.
pub const YUV420: Signature =
    Signature::new("denoise-yuv420", IoSpec { picture: 6, control: 2, output: 6 });

/// The planes that a denoising network works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourDomain {
    /// See [`RGB`].
    Rgb,
    /// See [`YUV420`].
    Yuv420,
}

impl ColourDomain {
    /// All domains.
    pub const ALL: [Self; 2] = [Self::Yuv420, Self::Rgb];
    /// The signatures of [`Self::ALL`].
    pub const SIGNATURES: [Signature; 2] = [YUV420, RGB];

    /// Returns the domain in which pictures of a colour model are denoised.
    pub fn of(colour: Colour) -> Self {
        match colour {
            Colour::Gray | Colour::Yuv { .. } => Self::Yuv420,
            Colour::Rgb => Self::Rgb,
        }
    }

    /// Returns the signature of networks for this domain.
    pub const fn signature(self) -> Signature {
        match self {
            Self::Rgb => RGB,
            Self::Yuv420 => YUV420,
        }
    }
}
