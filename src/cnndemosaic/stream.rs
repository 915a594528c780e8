// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streaming state of `cnndemosaic` ([`Stream`]): demosaicks buffers of the negotiated caps.

use gst_video::{VideoInfo, VideoMeta};

use super::caps::{RawInfo, encoding};
use crate::shared::{
    SampleDepth, components_cover_planes, layout_of, map_frame_mut, view_frame_mut, with_samples,
};
use cnnvideo::{
    demosaic::{Demosaicer, Parameters, RawFrame},
    denoise::NoiseModel,
    frame::Format,
};

/// Value of alpha and of unused samples.
const OPAQUE: u8 = 255;

/// State that depends on the negotiated caps.
pub(super) struct Stream {
    demosaicer: Demosaicer,
    input: RawInfo,
    output: VideoInfo,
    /// Layout and depth of the output.
    format: (Format, SampleDepth),
}

impl Stream {
    /// Creates the state for raw frames and pictures of the given caps.
    ///
    /// # Errors
    /// A format or size that the network cannot process.
    pub(super) fn new(
        mut demosaicer: Demosaicer,
        input: RawInfo,
        output: VideoInfo,
    ) -> Result<Self, String> {
        let format = layout_of(output.format())
            .ok_or_else(|| format!("the format {} is not supported", output.format()))?;
        demosaicer.prepare(input.size, input.format.pattern).map_err(|err| err.to_string())?;
        Ok(Self { demosaicer, input, output, format })
    }

    /// Returns the backend and device that the network runs on.
    pub(super) fn backend(&self) -> String {
        self.demosaicer.backend()
    }

    /// Discards the noise estimate.
    pub(super) fn reset(&mut self) {
        self.demosaicer.reset();
    }

    /// Demosaicks a buffer and returns the noise of its samples.
    ///
    /// # Errors
    /// A buffer that does not fit the caps, or a failing backend.
    pub(super) fn process(
        &mut self,
        inbuf: &gst::BufferRef,
        outbuf: &mut gst::BufferRef,
        parameters: &Parameters,
    ) -> Result<NoiseModel, String> {
        let Self { demosaicer, input, output, format: (format, depth) } = self;
        let parameters = Parameters { encoding: encoding(output), ..*parameters };
        let memory =
            inbuf.map_readable().map_err(|err| format!("its buffer has no data: {err}"))?;
        let (offset, stride) = layout(inbuf, input);
        let memory = memory.get(offset..).unwrap_or_default();
        let raw = RawFrame::new(memory, stride, input.size, input.format)
            .map_err(|err| err.to_string())?;
        let mut frame = map_frame_mut(outbuf, output)?;
        // The demosaicker does not write alpha and unused samples.
        if !components_cover_planes(*format) {
            frame.plane_data_mut(0).map_err(|err| err.to_string())?.fill(OPAQUE);
        }
        with_samples!(*depth, T => {
            let mut picture =
                view_frame_mut::<T>(&mut frame, *format).map_err(|err| err.to_string())?;
            demosaicer.process(&raw, &mut picture, &parameters).map_err(|err| err.to_string())
        })
    }
}

/// Returns the bytes before the first row of a raw frame and those from one row to the next.
fn layout(buffer: &gst::BufferRef, info: &RawInfo) -> (usize, usize) {
    if let Some(meta) = buffer.meta::<VideoMeta>()
        && let (Some(&offset), Some(&stride)) = (meta.offset().first(), meta.stride().first())
        && let Ok(stride) = usize::try_from(stride)
        && stride > 0
    {
        return (offset, stride);
    }
    // Some sources do not pad rows to multiples of 4 bytes.
    let is_tight = buffer.size() == info.row() * info.size[1];
    (0, if is_tight { info.row() } else { info.stride() })
}
