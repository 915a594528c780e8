// SPDX-License-Identifier: MIT OR Apache-2.0

//! Implementation of the `cnnsmooth` element: its algorithm and model for [`FrameFilter`].

use std::sync::{Arc, LazyLock};

use glib::subclass::prelude::*;

use super::settings::Settings;
use crate::shared::{
    FilterClass, FilterElement, FrameFilter, FrameProcessor, ModelSettings, QualityPreset,
    SampleDepth,
};
use cnnvideo::{
    frame::{Field, Format, Picture, PictureMut, Regions, Sample},
    nn::{self, Network},
    smooth::{self, Error, Parameters, Smoother},
};

/// Report on the textures of a stream.
#[derive(Default)]
pub struct TextureReport {
    /// Dominant period in pixels.
    period: Option<f32>,
}

impl FrameProcessor for Smoother {
    type Model = Arc<dyn Network>;
    type Parameters = Parameters;
    type Report = TextureReport;
    type Error = Error;

    const VERB: &'static str = "smooth";

    /// Ignores `format` and `depth`: the network only predicts where to smooth, from 8-bit code
    /// values of any format.
    fn new(
        network: &Arc<dyn Network>,
        _format: Format,
        _depth: SampleDepth,
        threads: usize,
    ) -> Result<Self, Error> {
        Self::new(network.clone(), threads)
    }

    fn backend(&self) -> String {
        self.backend()
    }

    fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.prepare(width, height)
    }

    fn reset(&mut self) {
        self.reset();
    }

    fn process<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
        regions: Option<Regions<'_>>,
        field: Field,
    ) -> Result<TextureReport, Error> {
        self.process(input, output, parameters, regions, field)?;
        Ok(TextureReport { period: self.texture_period() })
    }
}

/// The element `cnnsmooth` as a [`FilterElement`].
pub struct Smooth;

impl FilterElement for Smooth {
    type Object = super::CnnSmooth;
    type Settings = Settings;
    type Processor = Smoother;

    const QUALITY_PRESETS: &'static [QualityPreset] = &[QualityPreset::Fast, QualityPreset::Auto];

    fn class() -> &'static FilterClass {
        static CLASS: LazyLock<FilterClass> = LazyLock::new(|| {
            FilterClass::new::<Settings>(
                "cnnsmooth",
                "CNN texture smoother",
                "Removes texture up to a chosen scale and keeps edges and other structure",
            )
        });
        &CLASS
    }

    fn load_model(settings: &ModelSettings) -> Result<Arc<dyn Network>, nn::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        match &settings.model_file {
            Some(path) => smooth::from_file(path.clone(), device, precision),
            None => smooth::built_in(device, precision),
        }
    }

    fn backend(network: &Arc<dyn Network>) -> String {
        network.backend()
    }

    fn add_report(
        stats: gst::structure::Builder,
        report: &TextureReport,
    ) -> gst::structure::Builder {
        stats.field("texture-period", report.period.map_or(0.0, f64::from))
    }
}

/// Private implementation struct of [`super::CnnSmooth`].
pub(super) type CnnSmooth = FrameFilter<Smooth>;

#[glib::object_subclass]
impl ObjectSubclass for CnnSmooth {
    const NAME: &'static str = "GstCnnSmooth";
    type Type = super::CnnSmooth;
    type ParentType = gst_video::VideoFilter;
}

#[cfg(test)]
mod tests {
    use cnnvideo::{
        frame::{Plane, PlaneMut},
        nn::{Device, Precision},
    };

    use super::*;

    #[test]
    fn every_sample_of_the_output_is_written() {
        let network = smooth::built_in(Device::Cpu, Precision::Auto).unwrap();
        let (width, height) = (37, 21);
        for (format, plane_sizes) in [
            (Format::GRAY8, vec![(37, 21)]),
            (Format::I420, vec![(37, 21), (19, 11), (19, 11)]),
            (Format::NV12, vec![(37, 21), (38, 11)]),
            (Format::Y42B, vec![(37, 21), (19, 21), (19, 21)]),
            (Format::Y444, vec![(37, 21); 3]),
            (Format::RGB, vec![(111, 21)]),
        ] {
            let samples = |width: usize, height: usize| -> Vec<u8> {
                (0..width * height).map(|i| (i * i % 251) as u8).collect()
            };
            let planes: Vec<_> = plane_sizes.iter().map(|(w, h)| (samples(*w, *h), *w)).collect();
            let views: Vec<_> =
                planes.iter().map(|(samples, stride)| Plane::new(samples, *stride)).collect();
            let input = Picture::new(format, width, height, &views).unwrap();
            let results = [0, 255].map(|value| {
                let mut smoother = Smoother::new(network.clone(), 2).unwrap();
                let mut planes = planes.clone();
                planes.iter_mut().for_each(|(samples, _)| samples.fill(value));
                let views =
                    planes.iter_mut().map(|(samples, stride)| PlaneMut::new(samples, *stride));
                let mut output = PictureMut::new(format, width, height, views).unwrap();
                let parameters = Parameters { scale: 4.0, ..Parameters::default() };
                smoother.process(&input, &mut output, &parameters, None, Field::First).unwrap();
                planes
            });
            assert_eq!(results[0], results[1], "{format:?}");
        }
    }
}
