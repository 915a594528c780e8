// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measurement of a pair of frames.

use gst_video::VideoInfo;

use super::{
    frame::Frame,
    imp::VideoQuality,
    settings::{ExtraMeasures, OutputKind, Settings},
    state::State,
};
use crate::shared::{RegionMask, format_of, map_frame, view_frame};
use cnnvideo::quality::{Extra, YuvMatrix, iou};

/// Frame rate that XPSNR assumes where the caps have none.
const DEFAULT_FRAME_RATE: f64 = 25.0;

impl VideoQuality {
    /// Measures a pair of frames. Returns the panel to push, if one is drawn.
    pub(super) fn compare(
        &self,
        state: &mut State,
        settings: &Settings,
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
        let extra = extra_measures(settings.measures, [reference_info, test_info]);
        let mut measures =
            comparison.measure_with(&a, &b, extra).map_err(|err| self.post_error(&err))?;
        if let Some(alignment) = &mut state.alignment {
            let [reference, test] = comparison.luma();
            alignment.add(&reference, &test);
        }
        let labels = [(reference, reference_info), (test, test_info)]
            .map(|(buffer, info)| RegionMask::labels_of(buffer, (info.width(), info.height())));
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
        let nanoseconds = running_time.map(gst::ClockTime::nseconds);
        self.log(state, nanoseconds, &measures);
        state.pooling.add(&measures, nanoseconds);
        state.last = Some((measures, running_time));
        if state.running_mean.frames().is_multiple_of(u64::from(settings.interval)) {
            self.post_measures(state, false);
        }
        Ok(drawn)
    }
}

/// Returns the additional measures for frames of the reference and of the tested stream.
fn extra_measures(measures: ExtraMeasures, infos: [&VideoInfo; 2]) -> Extra {
    let fps = infos[0].fps();
    let frame_rate = match fps.numer() > 0 && fps.denom() > 0 {
        true => f64::from(fps.numer()) / f64::from(fps.denom()),
        false => DEFAULT_FRAME_RATE,
    };
    Extra {
        xpsnr: measures.contains(ExtraMeasures::XPSNR).then_some(frame_rate),
        ssimulacra2: measures.contains(ExtraMeasures::SSIMULACRA2).then(|| infos.map(yuv_matrix)),
    }
}

/// Returns the conversion to RGB that the caps declare; that of BT.601 where they declare none.
fn yuv_matrix(info: &VideoInfo) -> YuvMatrix {
    let colorimetry = info.colorimetry();
    let (red, blue) =
        colorimetry.matrix().kr_kb().unwrap_or((YuvMatrix::BT601.red, YuvMatrix::BT601.blue));
    let full_range = colorimetry.range() == gst_video::VideoColorRange::Range0_255;
    YuvMatrix { red, blue, full_range }
}
