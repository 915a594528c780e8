// SPDX-License-Identifier: MIT OR Apache-2.0

//! Device and precision that the user selects for a network.

use std::{fmt, str::FromStr};

use super::Error;

/// Device that a network runs on. Parses from and prints as `auto`, `cpu` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// CUDA where this build and machine support it, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this index.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .filter(|n| *n < 64)
                .map(Self::Cuda)
                .ok_or_else(|| Error::Device {
                    device: text.to_owned(),
                    reason: "must be auto, cpu or cuda:N with N below 64".to_owned(),
                }),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// Arithmetic that a network runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// The fastest arithmetic that keeps the quality of the model: int8 on the CPU for models
    /// trained for it, otherwise float32.
    #[default]
    Auto,
    /// 8-bit integers, on the CPU only. The input is quantised to 8 bits; values outside the code
    /// value range 0 to 255 are clamped.
    Int8,
    /// 32-bit floating point.
    Fp32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_and_print() {
        for text in ["auto", "cpu", "cuda:0", "cuda:7"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999999999999999999", "CPU"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
