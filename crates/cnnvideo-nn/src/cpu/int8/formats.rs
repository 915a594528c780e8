// SPDX-License-Identifier: MIT OR Apache-2.0

//! Number formats and scales of the convolutions of a quantised model.

use crate::{
    Error,
    arch::{ConvId, Graph, Layer, MapId},
    cpu::{
        arithmetic::Signedness,
        kernels::int8::{OutputScales, RESIDUAL_BITS, StorageForm},
    },
};

/// Units of an i16 residual per unit of a u8 activation.
pub(super) const RESIDUAL_UNITS: f32 = (1 << RESIDUAL_BITS) as f32;

/// Number formats and scales of one convolution.
pub(super) struct ConvFormat {
    /// The convolution.
    pub conv: ConvId,
    /// Storage form of its input.
    pub input_form: StorageForm,
    /// Signedness of its input.
    pub input_sign: Signedness,
    /// Scales of its output.
    pub scales: OutputScales,
}

/// Returns the formats and scales of all convolutions for a set of activation scales.
///
/// # Errors
/// [`Error::Invalid`] for layers that cannot run in int8, [`Error::Backend`] for a map that no
/// convolution reads.
pub(super) fn conv_formats(
    graph: &Graph,
    activation_scales: &[f32],
) -> Result<Vec<ConvFormat>, Error> {
    let maps = MapScales { graph, activation_scales };
    let mut formats = Vec::with_capacity(graph.convs.len());
    let mut push = |conv, input_form, input_sign, output, residual| {
        let scales = OutputScales { output, residual };
        formats.push(ConvFormat { conv, input_form, input_sign, scales });
    };
    for layer in &graph.layers {
        match *layer {
            // u8 activations are too coarse for the convolution that computes the output.
            Layer::Conv { conv, output, .. } if output == graph.output() => {
                push(conv, StorageForm::I16, Signedness::Signed, 1.0, 1.0);
            }
            Layer::Conv { conv, output, skip, .. } => {
                let residual = skip.map_or(Ok(1.0), |skip| maps.ratio(skip, output))?;
                let scale = maps.scale(output)? / RESIDUAL_UNITS;
                push(conv, StorageForm::U8, Signedness::Signed, scale, residual);
            }
            Layer::Inverted { .. } => {
                return Err(Error::invalid(
                    "quantisation",
                    "inverted residual blocks cannot run in int8",
                ));
            }
            Layer::Residual { first, second, input, output } => {
                let hidden = activation_scales[second];
                push(first, StorageForm::U8, Signedness::Signed, hidden, 1.0);
                let residual = maps.ratio(input, output)?;
                let scale = maps.scale(output)? / RESIDUAL_UNITS;
                push(second, StorageForm::U8, Signedness::NonNegative, scale, residual);
            }
        }
    }
    Ok(formats)
}

/// Scales of feature maps.
struct MapScales<'a> {
    graph: &'a Graph,
    activation_scales: &'a [f32],
}

impl MapScales<'_> {
    /// Returns the u8 scale of a map, which is that of the convolution that reads it.
    fn scale(&self, map: MapId) -> Result<f32, Error> {
        let mut layers = self.graph.layers.iter();
        let reader = layers.find(|layer| layer.input() == map && map != Graph::INPUT);
        match reader {
            Some(layer) => Ok(self.activation_scales[layer.input_conv()]),
            None => Err(Error::Backend {
                backend: "cpu",
                reason: "no convolution reads one of the feature maps".to_owned(),
            }),
        }
    }

    /// Returns the scale of map `a` divided by the scale of map `b`.
    fn ratio(&self, a: MapId, b: MapId) -> Result<f32, Error> {
        Ok(self.scale(a)? / self.scale(b)?)
    }
}
