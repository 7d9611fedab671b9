//! Triangular filters that turn a spectrum of `dft_length / 2 + 1` bins into `num_mel_bins` bands on the mel scale,
//! `mel(f) = 2595 log10(1 + f / 700)`.
//!
//! - **C1** the first three operands are integer scalars, the last two float scalars
//! - **C2** sizes are not negative, the sample rate is positive
//! - **C3** `output_datatype` is a type of numbers
//!
//! ONNX `MelWeightMatrix`: opset 17; band edges are rounded down to bins as ONNX's reference does.

use super::common::*;
use super::signal_common::{scalar, scalar_int};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `MelWeightMatrix`.
    pub struct MelWeightMatrix {
        /// Element type of the result.
        output_datatype: DType = DType::F32,
    }
}

impl Op for MelWeightMatrix {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let sizes = (0..3).map(|i| scalar_int(cx, "C1", i)).collect::<RuleResult<Vec<_>>>()?;
        for i in 3..5 {
            cx.require_dtype("C1", i, sets::FLOATS)?;
            let shape = cx.shape(i)?;
            cx.require("C1", shape.len() <= 1, || format!("operand {i} has rank {}", shape.len()))?;
            if let Some(n) = shape.first() {
                cx.require_eq("C1", n, &Dim::ONE)?;
            }
        }
        let dtype = self.output_datatype;
        cx.require("C3", sets::NUMBERS.contains(&dtype), || format!("`output_datatype` is {dtype}"))?;
        let bands = sizes[0].clone().unwrap_or_else(|| cx.fresh());
        let length = sizes[1].clone().unwrap_or_else(|| cx.fresh());
        cx.require_that("C2", Cond::le(&Dim::ZERO, &bands))?;
        cx.require_that("C2", Cond::le(&Dim::ZERO, &length))?;
        if let Some(rate) = &sizes[2] {
            cx.require_that("C2", Cond::le(&Dim::ONE, rate))?;
        }
        cx.output(dtype, vec![length.floor_div(&Dim::int(2)) + 1, bands])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let (bins, bands) = (shape[0], shape[1]);
        let (length, rate) = (scalar(cx.tensor(1)?)? as f64, scalar(cx.tensor(2)?)? as f64);
        let edge = |i: usize| -> Result<f64> {
            cx.tensor(i)?.floats()?.first().copied().ok_or_else(|| Error::invalid(format!("operand {i} is empty")))
        };
        let mel = |f: f64| 2595.0 * (f / 700.0).ln_1p() / 10f64.ln();
        let (low, high) = (mel(edge(3)?), mel(edge(4)?));
        let step = (high - low) / (bands + 2) as f64;
        let points = (0..bands + 2)
            .map(|i| {
                let hertz = 700.0 * ((low + i as f64 * step) / 2595.0 * 10f64.ln()).exp_m1();
                let bin = ((length + 1.0) * hertz / rate).floor();
                match bin >= 0.0 && bin < bins as f64 {
                    true => Ok(bin as usize),
                    false => Err(Error::invalid(format!("{hertz} hertz is outside the spectrum of {bins} bins"))),
                }
            })
            .collect::<Result<Vec<usize>>>()?;
        let mut y = vec![0.0; bins * bands];
        for i in 0..bands {
            let (left, centre, right) = (points[i], points[i + 1], points[i + 2]);
            if left == centre {
                y[centre * bands + i] = 1.0;
            }
            for j in left..=centre {
                if centre > left {
                    y[j * bands + i] = (j - left) as f64 / (centre - left) as f64;
                }
            }
            for j in centre..right {
                y[j * bands + i] = (right - j) as f64 / (right - centre) as f64;
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }
}

op! {
    MelWeightMatrix in "ai.onnx" since [17];
    "num_mel_bins, dft_length, sample_rate, lower_edge_hertz, upper_edge_hertz" => "output";
    summary: "triangular filters on the mel scale";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mel_weight_matrix(2, 4, 8, 0.0, 4.0) == f32[3, 2] [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
graph @mel_weight_matrix(%a: i64[], %b: i64[], %c: i64[], %d: f32[], %e: f32[]) -> f32[floor(u2 / 2) + 1, u1] {
  %y = mel_weight_matrix %a, %b, %c, %d, %e : f32[floor(u2 / 2) + 1, u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn mel(bands: i64, rate: i64, upper: f32) -> Result<Tensor> {
        let i = |v: i64| Tensor::scalar(v);
        run1("MelWeightMatrix", attrs! {}, &[i(bands), i(16), i(rate), Tensor::scalar(0f32), Tensor::scalar(upper)])
    }

    #[test]
    fn mel_weights_peak_at_one_and_errors_are_named() {
        let y = mel(8, 8192, 8192.0 / 2.0).unwrap();
        assert_eq!(y.shape(), [9, 8]);
        assert_eq!(y.floats().unwrap()[0], 1.0);
        assert_eq!(mel(-1, 8192, 100.0).unwrap_err().label(), Some("MelWeightMatrix.C2"));
        assert!(mel(4, 1, 1e6).is_err());
        let t = |d| Type::tensor(d, &[]);
        let types = [t(DType::I64), t(DType::I64), t(DType::I64), t(DType::F32), t(DType::I64)];
        assert_eq!(violated("MelWeightMatrix", attrs! {}, &types).as_deref(), Some("MelWeightMatrix.C1"));
        let types = [t(DType::I64), t(DType::I64), t(DType::I64), t(DType::F32), t(DType::F32)];
        let a = attrs! { output_datatype: DType::String };
        assert_eq!(violated("MelWeightMatrix", a, &types).as_deref(), Some("MelWeightMatrix.C3"));
    }
}
