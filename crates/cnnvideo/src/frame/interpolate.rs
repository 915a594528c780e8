// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interpolation between samples.

/// Returns the weights of four neighbouring samples for cubic interpolation at `t` (0 to 1) between
/// the second and the third.
///
/// This is the Catmull-Rom spline, the same as Keys's cubic ("Cubic convolution interpolation for
/// digital image processing", IEEE Transactions on Acoustics, Speech, and Signal Processing 29(6),
/// 1981).
pub fn catmull_rom_weights(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1.0,
        -1.5 * t3 + 2.0 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
    ]
}
