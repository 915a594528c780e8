// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measurement of a pair of frames.

use gst_video::VideoInfo;

use super::{
    frame::Frame,
    imp::VideoQuality,
    settings::{OutputKind, Settings},
    state::State,
};
use crate::shared::{RegionMask, format_of, map_frame, view_frame};
use cnnvideo::quality::iou;

impl VideoQuality {
    /// Measures a pair of frames. Returns the panel to push, if one is drawn.
    pub(super) fn compare(
        &self,
        state: &mut State,
        settings: Settings,
        (reference, test): (&Frame, &Frame),
    ) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let (Some(reference_info), Some(test_info)) = (&reference.info, &test.info) else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let running_time = test.running_time();
        let (reference, test) = (&reference.buffer, &test.buffer);
        let reference_frame = map_frame(reference, reference_info)
            .map_err(|err| self.post_error(&format_args!("a reference frame: {err}")))?;
        let test_frame = map_frame(test, test_info)
            .map_err(|err| self.post_error(&format_args!("a tested frame: {err}")))?;
        let format =
            |info: &VideoInfo| format_of(info.format()).ok_or(gst::FlowError::NotNegotiated);
        let a = view_frame::<u8>(&reference_frame, format(reference_info)?)
            .map_err(|err| self.post_error(&err))?;
        let b = view_frame(&test_frame, format(test_info)?).map_err(|err| self.post_error(&err))?;
        let State { comparison: Some(comparison), panel, running_mean, .. } = state else {
            return Err(gst::FlowError::Flushing);
        };
        let mut measures = comparison.measure(&a, &b).map_err(|err| self.post_error(&err))?;
        let labels = [(reference, reference_info), (test, test_info)].map(|(buffer, info)| {
            let size = (info.width(), info.height());
            RegionMask::of(buffer, size)?.labels(size)
        });
        if let [Some(a), Some(b)] = &labels {
            measures.iou = iou(&a.view(), &b.view());
        }
        running_mean.add(&measures);
        let mean = running_mean.mean().expect("there is at least this pair");
        let drawn = (settings.output == OutputKind::Panel).then(|| {
            let rows = panel.draw(&a, &b, comparison, &measures, &mean);
            let mut buffer = gst::Buffer::from_mut_slice(rows.to_vec());
            let flags = gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::FLAGS;
            let panel = buffer.get_mut().expect("a new buffer is not shared");
            test.copy_into(panel, flags, ..).expect("timestamps and flags can be copied");
            buffer
        });
        drop((a, b));
        drop((reference_frame, test_frame));
        state.last = Some((measures, running_time));
        if state.running_mean.frames().is_multiple_of(u64::from(settings.interval)) {
            self.post_measures(state, false);
        }
        Ok(drawn)
    }
}
