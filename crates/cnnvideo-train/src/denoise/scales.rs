// SPDX-License-Identifier: MIT OR Apache-2.0

//! Choice of the quantisation scales of a denoising network.

use rand::{SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

use super::{DenoisingTask, log_rmse};
use crate::{
    Error,
    noise::{NoisyBatch, SampleDepth, SyntheticNoise},
    quantise::Quantiser,
};
use cnnvideo::{
    denoise::{CONTROL_PER_SIGMA, MAX_SIGMA},
    nn::{Model, torch},
};

/// Quantisation scale of the picture channels of the network's input: one code value of 8-bit
/// video.
const PICTURE_SCALE: f32 = 1.0 / 255.0;
/// Quantisation scale of the control maps: their maximum, at the highest noise sigma that the
/// element requests, maps to 127.
const CONTROL_SCALE: f32 = MAX_SIGMA * CONTROL_PER_SIGMA / 127.0;
/// Noise sigmas (8-bit units) of the example patches for calibration and weight rounding, with
/// [`EXAMPLES`] patches each.
const EXAMPLE_SIGMAS: [f64; 5] = [5.0, 10.0, 20.0, 35.0, 55.0];
/// Limits of noise sigma (8-bit units) for which the model has smaller quantisation scales, the
/// highest first.
const LOW_NOISE_LIMITS: [f64; 4] = [32.0, 16.0, 8.0, 4.0];
/// Noise sigmas of the patches on which these scales are tuned, as shares of the limit.
const LOW_NOISE_SHARES: [f64; 2] = [0.95, 0.65];
/// Number of patches for each of these noise sigmas.
const LOW_NOISE_EXAMPLES: usize = 12;
/// Number of example patches for each of the [`EXAMPLE_SIGMAS`].
const EXAMPLES: usize = 6;

impl DenoisingTask<'_> {
    /// Chooses the quantisation scales of a run. A new run chooses them for its initial weights; a
    /// resumed run keeps those of the model in its checkpoint.
    pub(super) fn choose_scales(
        &self,
        weights: &mut [Tensor],
        resumed: Option<&Model>,
    ) -> Result<Quantiser, Error> {
        let options = &self.options.run;
        let mut rng = StdRng::seed_from_u64(options.seed);
        tch::manual_seed(options.seed as i64);
        let device = weights[0].device();
        let mut white = |sigma, count| -> Result<NoisyBatch, Error> {
            let clean =
                self.photos.train.patches(&mut rng, count, options.patch_side).to_device(device);
            SyntheticNoise::white(options.colour_domain(), count, sigma, SampleDepth::EightBit)
                .add(&clean)
        };
        let batches = EXAMPLE_SIGMAS
            .into_iter()
            .map(|sigma| white(sigma, EXAMPLES))
            .collect::<Result<Vec<_>, _>>()?;
        let examples = batches.iter().map(NoisyBatch::input).collect::<Result<_, _>>()?;
        let mut scales = vec![PICTURE_SCALE; options.signature.io.picture];
        scales.resize(options.signature.io.input_channels(), CONTROL_SCALE);
        let mut quantiser =
            Quantiser::new_or_resumed(options, resumed, self.graph, weights, examples, scales)?;
        if resumed.is_some() {
            return Ok(quantiser);
        }
        quantiser.quantisation.low_noise.clear();
        // `log_rmse` is logarithmic, so weak and strong noise count alike, as they do in PSNR.
        quantiser.tune(|quantiser| {
            batches.iter().try_fold(0.0, |sum, batch| {
                let input = torch::channels_last(&batch.input()?)?;
                let clean = batch.cleaned(&quantiser.forward(self.graph, weights, &input)?);
                Ok(sum + log_rmse(&clean, &batch.clean)?.double_value(&[]))
            })
        })?;
        for sigma in LOW_NOISE_LIMITS {
            let batches = LOW_NOISE_SHARES
                .map(|share| white(share * sigma, LOW_NOISE_EXAMPLES))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?;
            self.add_low_noise_class(
                weights,
                &mut quantiser,
                (sigma * f64::from(CONTROL_PER_SIGMA)) as f32,
                &batches,
            )?;
        }
        Ok(quantiser)
    }

    /// Tunes quantisation scales for control maps of up to `max_control`.
    ///
    /// At low noise sigma, the loss due to large scales is small beside the error of the network
    /// itself. So the measure is the squared difference to the unquantised output, relative to the
    /// squared error of that output, averaged over images.
    fn add_low_noise_class(
        &self,
        weights: &[Tensor],
        quantiser: &mut Quantiser,
        max_control: f32,
        batches: &[NoisyBatch],
    ) -> Result<(), Error> {
        let _no_grad = tch::no_grad_guard();
        let squares =
            |error: Tensor| error.f_square()?.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float);
        let examples = batches.iter().map(|batch| {
            let input = torch::channels_last(&batch.input()?)?;
            let exact = torch::forward(self.graph, weights, &input)?;
            let network_error = squares(batch.cleaned(&exact) - &batch.clean)?;
            Ok((input, exact, network_error))
        });
        let examples = examples.collect::<Result<Vec<_>, Error>>()?;
        quantiser.add_low_noise_class(max_control, |quantiser| {
            examples.iter().try_fold(0.0, |sum, (input, exact, network_error)| {
                let rounding_error =
                    squares(quantiser.forward(self.graph, weights, input)? - exact)?;
                Ok(sum
                    + (rounding_error / (network_error + 1e-8))
                        .f_mean(Kind::Double)?
                        .double_value(&[]))
            })
        })
    }
}
