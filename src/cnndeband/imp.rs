// SPDX-License-Identifier: MIT OR Apache-2.0

//! Implementation of the `cnndeband` element: its algorithm and model for [`FrameFilter`].

use std::sync::{Arc, LazyLock};

use glib::subclass::prelude::*;

use super::settings::Settings;
use crate::shared::{
    FilterClass, FilterElement, FrameFilter, FrameProcessor, ModelSettings, QualityPreset,
    SampleDepth,
};
use cnnvideo::{
    deband::{self, Debander, Error, Parameters},
    frame::{Field, Format, Picture, PictureMut, Regions, Sample},
    nn::{self, Network},
};

impl FrameProcessor for Debander {
    type Model = Arc<dyn Network>;
    type Parameters = Parameters;
    type Report = ();
    type Error = Error;

    const VERB: &'static str = "deband";

    /// Ignores `depth`: the network reads differences of code values of any depth.
    fn new(
        network: &Arc<dyn Network>,
        format: Format,
        _depth: SampleDepth,
        threads: usize,
    ) -> Result<Self, Error> {
        Self::new(network.clone(), format.colour(), threads)
    }

    fn backend(&self) -> String {
        self.backend()
    }

    fn prepare(&mut self, width: usize, height: usize) -> Result<(), Error> {
        self.prepare(width, height)
    }

    /// Without effect: pictures do not depend on each other.
    fn reset(&mut self) {}

    /// Ignores `regions`: the element has no strength that they could scale.
    fn process<T: Sample, U: Sample>(
        &mut self,
        input: &Picture<'_, T>,
        output: &mut PictureMut<'_, U>,
        parameters: &Parameters,
        _regions: Option<Regions<'_>>,
        _field: Field,
    ) -> Result<(), Error> {
        self.process(input, output, parameters)
    }
}

/// The element `cnndeband` as a [`FilterElement`].
pub struct Deband;

impl FilterElement for Deband {
    type Object = super::CnnDeband;
    type Settings = Settings;
    type Processor = Debander;

    const QUALITY_PRESETS: &'static [QualityPreset] = &[QualityPreset::Fast];

    fn class() -> &'static FilterClass {
        static CLASS: LazyLock<FilterClass> = LazyLock::new(|| {
            FilterClass::new::<Settings>(
                "cnndeband",
                "CNN debander",
                "Removes false contours from quantised or compressed gradients, and keeps edges \
                 and texture",
            )
        });
        &CLASS
    }

    fn load_model(settings: &ModelSettings) -> Result<Arc<dyn Network>, nn::Error> {
        let device = settings.device.parse()?;
        let precision = settings.precision.into();
        match &settings.model_file {
            Some(path) => deband::from_file(path.clone(), device, precision),
            None => deband::built_in(device, precision),
        }
    }

    fn backend(network: &Arc<dyn Network>) -> String {
        network.backend()
    }
}

/// Private implementation struct of [`super::CnnDeband`].
pub(super) type CnnDeband = FrameFilter<Deband>;

#[glib::object_subclass]
impl ObjectSubclass for CnnDeband {
    const NAME: &'static str = "GstCnnDeband";
    type Type = super::CnnDeband;
    type ParentType = gst_video::VideoFilter;
}
