// SPDX-License-Identifier: MIT OR Apache-2.0

//! Values of the property `noise-model`: the assumed noise as a `GstStructure`.

use cnnvideo::denoise::{AssumedNoise, MAX_SIGMA, NoiseModel};

/// Name of the structure that the element returns; it accepts any name.
const NAME: &str = "cnn-noise-model";
/// Fields that must be there: the noise sigmas of luma (or of R, G and B) and of chroma.
const SIGMAS: [&str; 2] = ["sigma", "chroma-sigma"];
/// Fields with the variance at brightness 0 and its increase per unit of brightness. Without them,
/// the sigma is the same at every brightness.
const VARIANCES: [[&str; 2]; 2] = [["constant", "slope"], ["chroma-constant", "chroma-slope"]];
/// Fields with the noise sigma of the detail of both components of 4:2:2 and 4:4:4 chroma, 0
/// without them.
const DETAILS: [&str; 2] = ["chroma-detail-u", "chroma-detail-v"];

/// Returns the structure of the assumed noise.
pub(super) fn to_structure(noise: &AssumedNoise) -> gst::Structure {
    let mut structure = gst::Structure::builder(NAME);
    for ((model, sigma), [constant, slope]) in
        [noise.main, noise.chroma].iter().zip(SIGMAS).zip(VARIANCES)
    {
        structure = structure
            .field(sigma, f64::from(model.sigma))
            .field(constant, f64::from(model.constant))
            .field(slope, f64::from(model.slope));
    }
    for (name, sigma) in DETAILS.into_iter().zip(noise.chroma_detail) {
        structure = structure.field(name, f64::from(sigma));
    }
    structure.build()
}

/// Returns the noise that a structure describes; `None` for a structure without fields, with which
/// the element estimates the noise.
///
/// # Errors
/// A field that is unknown, missing, not a number or out of range.
pub(super) fn from_structure(
    structure: &gst::StructureRef,
) -> Result<Option<AssumedNoise>, String> {
    if structure.n_fields() == 0 {
        return Ok(None);
    }
    let known = || SIGMAS.iter().chain(VARIANCES.as_flattened()).chain(&DETAILS);
    if let Some(name) = structure.fields().find(|name| known().all(|known| name.as_str() != *known))
    {
        return Err(format!("unknown field {name} in a noise model"));
    }
    let sigma = |name| {
        let value = number(structure, name)?;
        let is_valid = value.is_none_or(|value| (0.0..=MAX_SIGMA).contains(&value));
        is_valid.then_some(value).ok_or_else(|| format!("{name} must be from 0 to {MAX_SIGMA}"))
    };
    let model = |i: usize| {
        let sigma = sigma(SIGMAS[i])?
            .ok_or_else(|| format!("the field {} is missing in a noise model", SIGMAS[i]))?;
        let [constant, slope] = VARIANCES[i].map(|name| number(structure, name));
        let uniform = NoiseModel::uniform(sigma);
        Ok::<_, String>(match (constant?, slope?) {
            (None, None) => uniform,
            (constant, slope) => NoiseModel {
                constant: constant.unwrap_or(uniform.constant),
                slope: slope.unwrap_or(0.0),
                sigma,
            },
        })
    };
    let [u, v] = DETAILS.map(|name| Ok::<_, String>(sigma(name)?.unwrap_or(0.0)));
    Ok(Some(AssumedNoise { main: model(0)?, chroma: model(1)?, chroma_detail: [u?, v?] }))
}

/// Returns the number in a field, `None` without the field.
///
/// # Errors
/// A field that does not hold a finite number.
fn number(structure: &gst::StructureRef, name: &str) -> Result<Option<f32>, String> {
    let Ok(value) = structure.value(name) else { return Ok(None) };
    let number = value
        .transform::<f64>()
        .ok()
        .and_then(|value| value.get::<f64>().ok())
        .filter(|number| number.is_finite() && *number <= f64::from(f32::MAX));
    let number = number.ok_or_else(|| format!("the field {name} must hold a number"))?;
    Ok(Some(number as f32))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn parse(text: &str) -> Result<Option<AssumedNoise>, String> {
        gst::init().unwrap();
        from_structure(&gst::Structure::from_str(text).unwrap())
    }

    #[test]
    fn structures_keep_the_noise() {
        let noise = AssumedNoise {
            main: NoiseModel { sigma: 7.25, constant: 20.1, slope: 0.3 },
            chroma: NoiseModel { sigma: 3.1, constant: 9.0, slope: -0.01 },
            chroma_detail: [1.5, 2.5],
        };
        gst::init().unwrap();
        let text = to_structure(&noise).to_string();
        assert_eq!(parse(&text), Ok(Some(noise)), "{text}");
        assert_eq!(parse("any"), Ok(None));
        let uniform = parse("noise, sigma=5, chroma-sigma=(float)2.5").unwrap().unwrap();
        assert_eq!(uniform.main, NoiseModel::uniform(5.0));
        assert_eq!(uniform.chroma, NoiseModel::uniform(2.5));
    }

    #[test]
    fn invalid_structures_are_errors() {
        for text in [
            "n, sigma=5",
            "n, chroma-sigma=5",
            "n, sigma=-1, chroma-sigma=1",
            "n, sigma=80, chroma-sigma=1",
            "n, sigma=(string)much, chroma-sigma=1",
            "n, sigma=1, chroma-sigma=1, slop=2",
            "n, sigma=1, chroma-sigma=1, constant=(double)inf",
            "n, sigma=1, chroma-sigma=1, chroma-detail-u=-3",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }
}
