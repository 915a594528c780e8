//! Int8 arithmetic: quantised weights, quantisation of the input and calls of the int8 kernels.
//! [`kernels::int8`](super::kernels::int8) describes the number formats.

use std::ops::Range;

use super::{
    arithmetic::{Arithmetic, Inputs, MAX_SEGMENTS, Rows, Sign, TOGETHER, Uses},
    float::{Matrix, matrices, repeat_bias, weight},
    kernels::int8::{
        FINE_BITS, Finish, Input, Kernels, Packed, Quantised, RowJob, RowsJob, Segments, ZERO,
    },
};
use crate::simd::{nearest, vectorise};
use crate::{
    Error, Model, Source,
    arch::{Activation, ConvId, ConvKind, Graph, Layer, MapId},
    model::Quantisation,
};

/// Pixels of the input that the code quantises per iteration.
const GROUP: usize = 16;
/// Upper limit of the input channels.
const MAX_INPUTS: usize = 16;

/// Values of a feature map as u8 activations, which convolutions read, and as i16 residuals, which
/// residual and skip connections add. A form that is never read stays empty.
#[derive(Debug)]
pub struct Levels {
    coarse: Vec<u8>,
    fine: Vec<i16>,
}

/// Shared view of [`Levels`].
#[derive(Clone, Copy)]
pub struct LevelsRef<'a> {
    coarse: &'a [u8],
    fine: &'a [i16],
}

/// Mutable view of [`Levels`].
pub struct LevelsMut<'a> {
    coarse: &'a mut [u8],
    fine: &'a mut [i16],
}

/// Returns the zero point of u8 activations.
fn zero(sign: Sign) -> u8 {
    match sign {
        Sign::Signed => ZERO,
        Sign::Positive => 0,
    }
}

impl Rows for Levels {
    type Ref<'a> = LevelsRef<'a>;
    type Mut<'a> = LevelsMut<'a>;

    fn zeros(count: usize, sign: Sign, uses: Uses) -> Self {
        let length = |used: bool| if used { count } else { 0 };
        Self { coarse: vec![zero(sign); length(uses.convolved)], fine: vec![0; length(uses.added)] }
    }

    fn clear(&mut self, range: Range<usize>, sign: Sign) {
        self.coarse[range.clone()].fill(zero(sign));
        self.fine[range].fill(0);
    }

    fn view(&self, range: Range<usize>) -> LevelsRef<'_> {
        LevelsRef { coarse: part(&self.coarse, &range), fine: part(&self.fine, &range) }
    }

    fn view_mut(&mut self, range: Range<usize>) -> LevelsMut<'_> {
        LevelsMut {
            coarse: part_mut(&mut self.coarse, &range),
            fine: part_mut(&mut self.fine, &range),
        }
    }

    fn part(rows: Self::Ref<'_>, range: Range<usize>) -> Self::Ref<'_> {
        LevelsRef { coarse: part(rows.coarse, &range), fine: part(rows.fine, &range) }
    }

    fn part_mut<'a>(rows: &'a mut LevelsMut<'_>, range: Range<usize>) -> LevelsMut<'a> {
        LevelsMut { coarse: part_mut(rows.coarse, &range), fine: part_mut(rows.fine, &range) }
    }

    fn split(rows: Self::Mut<'_>, at: usize) -> (Self::Mut<'_>, Self::Mut<'_>) {
        let (coarse, coarse_after) = rows.coarse.split_at_mut(at.min(rows.coarse.len()));
        let (fine, fine_after) = rows.fine.split_at_mut(at.min(rows.fine.len()));
        (LevelsMut { coarse, fine }, LevelsMut { coarse: coarse_after, fine: fine_after })
    }

    fn length(rows: &LevelsMut<'_>) -> usize {
        rows.coarse.len().max(rows.fine.len())
    }

    fn placed<'a>(ring: Self::Mut<'a>, map: Self::Mut<'a>, uses: Uses) -> Self::Mut<'a> {
        LevelsMut {
            coarse: if uses.convolved || map.coarse.is_empty() { ring.coarse } else { map.coarse },
            fine: if uses.added || map.fine.is_empty() { ring.fine } else { map.fine },
        }
    }

    fn copy(ring: LevelsRef<'_>, map: LevelsMut<'_>, uses: Uses) {
        if uses.convolved && !map.coarse.is_empty() {
            map.coarse.copy_from_slice(ring.coarse);
        }
        if uses.added && !map.fine.is_empty() {
            map.fine.copy_from_slice(ring.fine);
        }
    }
}

/// Returns a range of one storage form, or an empty slice if that form is not stored.
fn part<'a, T>(values: &'a [T], range: &Range<usize>) -> &'a [T] {
    if values.is_empty() { values } else { &values[range.clone()] }
}

/// Mutable version of [`part`].
fn part_mut<'a, T>(values: &'a mut [T], range: &Range<usize>) -> &'a mut [T] {
    if values.is_empty() { values } else { &mut values[range.clone()] }
}

/// The quantised weights of a model, packed for one kernel set and one set of activation scales.
#[derive(Debug)]
pub struct Int8 {
    kernels: Kernels,
    /// Weight matrices of each convolution, in the order of the graph's convolutions; see
    /// [`matrices`].
    weights: Vec<Vec<Weights>>,
    /// Channels of the network's input, without padding.
    channels: usize,
    /// Reciprocals of the input scales, by channel, repeated for [`GROUP`] pixels.
    per_step: Vec<f32>,
    /// Zero points of the input with the dither of the control maps, for [`GROUP`] pixels; one
    /// entry for each row of the dither pattern.
    zeros: [Vec<f32>; DITHER],
}

/// Side of the ordered dither pattern, in pixels. The scale of control maps is coarse compared with
/// differences that matter to the network; dithering preserves their mean over neighbouring pixels,
/// which convolutions average. Image channels are not dithered, because their scale is one code
/// value.
const DITHER: usize = 4;

/// Returns the ordered dither threshold at a pixel, between -1/2 and 1/2 (Bayer, "An optimum method
/// for two-level rendition of continuous-tone pictures", 1973).
fn threshold(x: usize, y: usize) -> f32 {
    const BAYER: [[u8; DITHER]; DITHER] =
        [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    (f32::from(BAYER[y % DITHER][x % DITHER]) + 0.5) / (DITHER * DITHER) as f32 - 0.5
}

/// Upper limit of the outputs of a 3x3 convolution that is computed for two neighbouring pixels at
/// a time. The outputs of both pixels fit one block of 16 accumulators.
const MAX_PAIRED: usize = 8;

/// One packed weight matrix.
#[derive(Debug)]
struct Weights {
    /// The matrix for one output pixel.
    single: Packed,
    /// The matrix for two neighbouring output pixels, over the union of their inputs. Without it,
    /// convolutions with few outputs would leave most lanes of a vector unused.
    pairs: Option<Packed>,
}

impl Int8 {
    /// Packs the weights once for each set of activation scales of the model. Returns each with the
    /// largest control value that it is valid for, in ascending order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a model without activation scales, or with an input channel count
    /// that is not a multiple of 4.
    pub(super) fn classes(model: &Model, kernels: Kernels) -> Result<Vec<(f32, Self)>, Error> {
        let quantisation = model.quantisation().ok_or_else(|| {
            Error::invalid(
                "quantisation",
                "the model has no activation scales for int8; run it in float32",
            )
        })?;
        let general = Self::new(model, quantisation, kernels)?;
        quantisation
            .classes()
            .map(|(most, steps)| Ok((most, general.with_steps(model, quantisation, steps)?)))
            .collect()
    }

    /// Quantises and packs the weights for the activation scales that are valid for all inputs.
    fn new(model: &Model, quantisation: &Quantisation, kernels: Kernels) -> Result<Self, Error> {
        let graph = model.graph();
        let mut weights: Vec<Vec<Weights>> = graph.convs.iter().map(|_| Vec::new()).collect();
        for Role { conv, form, sign, step, ratio } in roles(graph, &quantisation.convs)? {
            let spec = &graph.convs[conv];
            let channels = if conv == 0 {
                spec.inputs.next_multiple_of(Self::INPUT_ALIGNMENT)
            } else {
                spec.inputs
            };
            if !channels.is_multiple_of(4) {
                let reason = format!(
                    "{channels} channels are not a multiple of 4, so the model cannot run in int8"
                );
                return Err(Error::invalid(format!("{} inputs", spec.name), reason));
            }
            let fine = if form == Input::Fine { 1.0 / FINE } else { 1.0 };
            let input_step = |channel: usize| match conv {
                0 => quantisation.input.get(channel).copied().unwrap_or(1.0),
                _ => quantisation.convs[conv] * fine,
            };
            let given = &model.weights()[conv];
            for matrix in 0..matrices(spec) {
                let Matrix { segments, depth, outputs } = Matrix::of(spec, channels);
                let weight = |s, d, o| {
                    weight(spec, given, channels, matrix, [s, d, o]) * input_step(d % channels)
                };
                let bias = repeat_bias(spec, given);
                let single = Quantised {
                    input: form,
                    zero: if form == Input::Coarse { zero(sign) } else { 0 },
                    segments,
                    depth,
                    outputs,
                    taps: segments * depth,
                    weight: &weight,
                    bias: &bias,
                    step,
                    ratio,
                };
                // The inputs of the second pixel begin one pixel later.
                let shifted = |s, d: usize, o: usize| match d.checked_sub(o / outputs * channels) {
                    Some(d) if d < depth => weight(s, d, o % outputs),
                    _ => 0.0,
                };
                let paired = spec.kind == ConvKind::Same3x3 && outputs <= MAX_PAIRED;
                let pairs = paired.then(|| {
                    let pairs = Quantised {
                        depth: depth + channels,
                        outputs: 2 * outputs,
                        weight: &shifted,
                        bias: &bias.repeat(2),
                        ..single
                    };
                    Packed::new(kernels, pairs)
                });
                weights[conv].push(Weights { single: Packed::new(kernels, single), pairs });
            }
        }
        let channels = quantisation.input.len();
        if channels > MAX_INPUTS {
            let reason = format!("int8 supports at most {MAX_INPUTS} input channels");
            return Err(Error::invalid("quantisation", reason));
        }
        let per_step =
            quantisation.input.iter().map(|step| 1.0 / step).collect::<Vec<_>>().repeat(GROUP);
        let pictures = model.io.picture;
        let zeros = std::array::from_fn(|y| {
            let zero = |x, channel| {
                f32::from(ZERO) + if channel < pictures { 0.0 } else { threshold(x, y) }
            };
            (0..GROUP).flat_map(|x| (0..channels).map(move |channel| zero(x, channel))).collect()
        });
        Ok(Self { kernels, weights, channels, per_step, zeros })
    }

    /// Returns the same quantised weights with the activation scales `steps`.
    fn with_steps(
        &self,
        model: &Model,
        quantisation: &Quantisation,
        steps: &[f32],
    ) -> Result<Self, Error> {
        let graph = model.graph();
        let mut weights: Vec<Vec<Weights>> = graph.convs.iter().map(|_| Vec::new()).collect();
        for Role { conv, step, ratio, .. } in roles(graph, steps)? {
            // The first convolution reads the input, whose scales are the same in all sets.
            let finer = if conv == 0 { 1.0 } else { steps[conv] / quantisation.convs[conv] };
            let bias = repeat_bias(&graph.convs[conv], &model.weights()[conv]);
            let rescaled = |Weights { single, pairs }: &Weights| Weights {
                single: single.rescaled(finer, &bias, step, ratio),
                pairs: pairs
                    .as_ref()
                    .map(|pairs| pairs.rescaled(finer, &bias.repeat(2), step, ratio)),
            };
            weights[conv] = self.weights[conv].iter().map(rescaled).collect();
        }
        Ok(Self {
            kernels: self.kernels,
            weights,
            channels: self.channels,
            per_step: self.per_step.clone(),
            zeros: self.zeros.clone(),
        })
    }

    /// Computes one row, in pairs of pixels where the convolution has a matrix for that.
    fn run(&self, inputs: &Inputs<'_, Self>, finish: Finish<'_>) {
        let Weights { single, pairs } = &self.weights[inputs.conv][inputs.matrix];
        let Some(pairs) = pairs else {
            return self.run_matrix(single, inputs, 0, inputs.pitch, finish);
        };
        let pixels = finish.values() / single.outputs() / 2 * 2;
        let (even, last) = finish.split_at(pixels * single.outputs());
        self.run_matrix(pairs, inputs, 0, 2 * inputs.pitch, even);
        self.run_matrix(single, inputs, pixels * inputs.pitch, inputs.pitch, last);
    }

    /// Multiplies a matrix with the inputs from value `first` of each segment on.
    fn run_matrix(
        &self,
        weights: &Packed,
        inputs: &Inputs<'_, Self>,
        first: usize,
        pitch: usize,
        finish: Finish<'_>,
    ) {
        let coarse: [&[u8]; MAX_SEGMENTS] =
            inputs.segments.map(|s| s.coarse.get(first..).unwrap_or_default());
        let fine: [&[i16]; MAX_SEGMENTS] =
            inputs.segments.map(|s| s.fine.get(first..).unwrap_or_default());
        let segments = match weights.input() {
            Input::Coarse => Segments::Coarse(&coarse[..inputs.count]),
            Input::Fine => Segments::Fine(&fine[..inputs.count]),
        };
        self.kernels.run(RowJob { segments, pitch, weights, finish });
    }
}

/// Units of an i16 residual per unit of a u8 activation.
const FINE: f32 = (1 << FINE_BITS) as f32;

/// Number formats and scales of one convolution.
struct Role {
    /// The convolution.
    conv: ConvId,
    /// Storage form of its input.
    form: Input,
    /// Sign of its input.
    sign: Sign,
    /// Scale of its output.
    step: f32,
    /// Scale of the residual that it adds, divided by the scale of its output.
    ratio: f32,
}

/// Returns the formats and scales of all convolutions for the activation scales `convs`.
///
/// # Errors
/// [`Error::Invalid`] for layers that cannot run in int8, [`Error::Backend`] for a map that no
/// convolution reads.
fn roles(graph: &Graph, convs: &[f32]) -> Result<Vec<Role>, Error> {
    let steps = Steps { graph, convs };
    let role = |conv, form, sign, step, ratio| Role { conv, form, sign, step, ratio };
    let mut roles = Vec::with_capacity(graph.convs.len());
    for layer in &graph.layers {
        match *layer {
            Layer::Conv { conv, to, .. } if to == graph.output() => {
                roles.push(role(conv, Input::Fine, Sign::Signed, 1.0, 1.0));
            }
            Layer::Conv { conv, to, add, .. } => {
                let ratio = add.map_or(Ok(1.0), |add| steps.ratio(add, to))?;
                roles.push(role(conv, Input::Coarse, Sign::Signed, steps.of(to)? / FINE, ratio));
            }
            Layer::Inverted { .. } => {
                return Err(Error::invalid(
                    "quantisation",
                    "inverted residual blocks cannot run in int8",
                ));
            }
            Layer::Block { first, second, from, to } => {
                roles.push(role(first, Input::Coarse, Sign::Signed, convs[second], 1.0));
                let ratio = steps.ratio(from, to)?;
                roles.push(role(
                    second,
                    Input::Coarse,
                    Sign::Positive,
                    steps.of(to)? / FINE,
                    ratio,
                ));
            }
        }
    }
    Ok(roles)
}

/// Scales of feature maps.
struct Steps<'a> {
    graph: &'a Graph,
    convs: &'a [f32],
}

impl Steps<'_> {
    /// Returns the u8 scale of a map, which is that of the convolution that reads it.
    fn of(&self, map: MapId) -> Result<f32, Error> {
        let reader =
            self.graph.layers.iter().find(|layer| layer.from() == map && map != Graph::INPUT);
        match reader {
            Some(layer) => Ok(self.convs[layer.reader()]),
            None => Err(Error::Backend {
                backend: "cpu",
                reason: "no convolution reads one of the feature maps".to_owned(),
            }),
        }
    }

    /// Returns the scale of `from` divided by the scale of `to`.
    fn ratio(&self, from: MapId, to: MapId) -> Result<f32, Error> {
        Ok(self.of(from)? / self.of(to)?)
    }
}

impl Arithmetic for Int8 {
    type Rows = Levels;

    const INPUT_ALIGNMENT: usize = 4;

    const NAME: &'static str = "int8";

    fn kernels(&self) -> &'static str {
        self.kernels.name()
    }

    fn read(&self, source: &dyn Source, y: usize, scratch: &mut [f32], row: LevelsMut<'_>) {
        let channels = self.channels;
        let aligned = channels.next_multiple_of(Self::INPUT_ALIGNMENT);
        let values = &mut scratch[..row.coarse.len() / aligned * channels];
        source.read_row(y, values);
        vectorise(
            #[inline(always)]
            || {
                let groups =
                    row.coarse.chunks_mut(GROUP * aligned).zip(values.chunks(GROUP * channels));
                for (levels, values) in groups {
                    let mut bytes = [0; GROUP * MAX_INPUTS];
                    let steps = self.per_step.iter().zip(&self.zeros[y % DITHER]);
                    for ((byte, value), (per_step, zero)) in bytes.iter_mut().zip(values).zip(steps)
                    {
                        *byte = nearest(value * per_step + zero, 255.0) as u8;
                    }
                    for (level, bytes) in
                        levels.chunks_exact_mut(aligned).zip(bytes.chunks_exact(channels))
                    {
                        level.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
                    }
                }
            },
        );
    }

    fn convolve(
        &self,
        inputs: &Inputs<'_, Self>,
        add: Option<LevelsRef<'_>>,
        activation: Activation,
        out: LevelsMut<'_>,
    ) {
        self.run(inputs, finish(add, activation, out));
    }

    fn joins(&self, conv: ConvId, width: usize) -> bool {
        self.weights[conv].first().is_some_and(|weights| self.kernels.joins(&weights.single, width))
    }

    fn convolve_rows(
        &self,
        inputs: &Inputs<'_, Self>,
        add: [Option<LevelsRef<'_>>; TOGETHER],
        activation: Activation,
        out: [LevelsMut<'_>; TOGETHER],
    ) {
        let weights = &self.weights[inputs.conv][inputs.matrix].single;
        let mut add = add.into_iter();
        let finish = out.map(|out| finish(add.next().flatten(), activation, out));
        let segments = inputs.segments.map(|s| s.coarse);
        self.kernels.run_rows(RowsJob { segments, pitch: inputs.pitch, weights, finish });
    }

    fn finish(&self, inputs: &Inputs<'_, Self>, out: &mut [f32]) {
        self.run(inputs, Finish::Float { out });
    }
}

/// Returns the epilogue that writes a row of a feature map. Activations are ReLUs here.
fn finish<'a>(
    add: Option<LevelsRef<'a>>,
    activation: Activation,
    out: LevelsMut<'a>,
) -> Finish<'a> {
    if activation != Activation::None {
        Finish::Relu { coarse: out.coarse }
    } else {
        Finish::Signed { add: add.map(|add| add.fine), fine: out.fine, coarse: out.coarse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        IoSpec, Signature,
        arch::{Architecture, ResidualUnet},
        model::{ConvWeights, Quantisation},
    };

    const RGB: Signature =
        Signature::new("denoise-rgb", IoSpec { picture: 12, control: 1, output: 12 });

    /// A frame of constant brightness with a constant control map.
    struct Even(f32);

    impl Source for Even {
        fn read_row(&self, _y: usize, row: &mut [f32]) {
            for pixel in row.chunks_exact_mut(RGB.io.inputs()) {
                pixel.fill(64.0 / 255.0);
                pixel[RGB.io.picture] = self.0;
            }
        }
    }

    #[test]
    fn controls_are_told_more_finely_than_their_steps() {
        let unet = Architecture::ResidualUnet(ResidualUnet {
            inputs: RGB.io.inputs(),
            outputs: RGB.io.output,
            widths: vec![4],
            hidden: vec![4],
            down_blocks: vec![0],
            up_blocks: vec![],
        });
        let graph = unet.graph().unwrap();
        let zeros = |spec: &crate::arch::ConvSpec| ConvWeights {
            weight: vec![0.0; spec.weight_shape().iter().product()],
            bias: vec![0.0; spec.outputs],
        };
        let step = 0.01;
        let mut input = vec![1.0 / 255.0; RGB.io.picture];
        input.push(step);
        let convs = vec![0.1; graph.convs.len()];
        let model = Model::new(RGB, unet, graph.convs.iter().map(zeros).collect()).unwrap();
        let model = model.with_quantisation(Quantisation::new(input, convs)).unwrap();
        let int8 = Int8::classes(&model, Kernels::available()[0]).unwrap().remove(0).1;

        let (width, channels) = (2 * GROUP, RGB.io.inputs());
        let aligned = channels.next_multiple_of(Int8::INPUT_ALIGNMENT);
        let mut told = 0.0;
        for y in 0..DITHER {
            let mut coarse = vec![ZERO; width * aligned];
            let mut scratch = vec![0.0; width * channels];
            int8.read(
                &Even(8.3 * step),
                y,
                &mut scratch,
                LevelsMut { coarse: &mut coarse, fine: &mut [] },
            );
            for pixel in coarse.chunks_exact(aligned) {
                assert!(pixel[..RGB.io.picture].iter().all(|byte| *byte == ZERO + 64), "{pixel:?}");
                told += f32::from(pixel[RGB.io.picture] - ZERO) / (width * DITHER) as f32;
            }
        }
        assert!((told - 8.3).abs() < 1.0 / (DITHER * DITHER) as f32, "{told}");
    }
}
