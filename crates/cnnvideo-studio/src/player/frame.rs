// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames between the parts of the player.

use gst_video::VideoInfo;

/// A decoded frame, or data made from it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Data, metas and times.
    pub(crate) buffer: gst::Buffer,
    /// Format.
    pub(crate) caps: gst::Caps,
}

impl Frame {
    /// Returns the time of the frame in the video.
    pub(crate) fn time(&self) -> gst::ClockTime {
        self.buffer.pts().unwrap_or_default()
    }

    /// Returns the size in pixels, if the frame is raw video.
    pub(crate) fn size(&self) -> Option<(u32, u32)> {
        let info = VideoInfo::from_caps(&self.caps).ok()?;
        Some((info.width(), info.height()))
    }
}

/// A frame before and after the chain.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// As decoded.
    pub(crate) before: Frame,
    /// Behind the last card.
    pub(crate) after: Frame,
}
