//! `Y = Upsample(X, scales)`: the forerunner of [`Resize`](super::resize), which it becomes on import.
//!
//! - **C1** `scales` is `f32` of rank 1 with one element an axis
//! - **C2** `mode` is `nearest` or `linear` (`bilinear` in opset 1)
//!
//! ONNX `Upsample`: opset 1 (`height_scale`, `width_scale`), 7 (`scales` an attribute), 9 (an operand), 10 (withdrawn).

use super::common::*;
use super::resize::scaled;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Upsample`.
    pub struct Upsample {
        /// `nearest` or `linear`.
        mode: String = "nearest",
    }
}

impl Op for Upsample {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C2", matches!(self.mode.as_str(), "nearest" | "linear"), || format!("`mode` is {}", self.mode))?;
        cx.require_dtype("C1", 1, &[DType::F32])?;
        let (x, s) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C1", s.len() == 1, || format!("`scales` has rank {}", s.len()))?;
        cx.require_eq("C1", &s[0], &Dim::from(x.len()))?;
        let shape = match cx.constant(1) {
            Some(t) => x.iter().zip(t.slice::<f32>()?.iter()).map(|(d, &s)| scaled(d, s)).collect(),
            None => x.iter().map(|_| cx.fresh()).collect(),
        };
        cx.output(cx.dtype(0)?, shape)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let attrs = attrs! {
            mode: self.mode.as_str(), coordinate_transformation_mode: "asymmetric", nearest_mode: "floor"
        };
        Ok(Some(b.node("ai.onnx", "Resize", attrs, &[x[0], None, x[1]], 1)?))
    }
}

fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    let x = cx.inputs.first().copied().flatten();
    let mut scales = cx.inputs.get(1).copied().flatten();
    if cx.version < 7 {
        let mut factor = |name: &str| match cx.take(name) {
            Some(Attr::Float(v)) => Ok(v),
            _ => Err(Error::invalid(format!("attribute `{name}` (a float) is missing"))),
        };
        let (h, w) = (factor("height_scale")?, factor("width_scale")?);
        scales = Some(cx.constant(Tensor::from_slice(&[4], &[1.0, 1.0, h, w])));
    } else if cx.version < 9 {
        let Some(Attr::Floats(s)) = cx.take("scales") else {
            return Err(Error::invalid("attribute `scales` (floats) is missing"));
        };
        scales = Some(cx.constant(Tensor::from_slice(&[s.len()], &s)));
    }
    if cx.attrs.get("mode") == Some(&Attr::from("bilinear")) {
        cx.attrs.insert("mode".into(), Attr::from("linear"));
    }
    cx.op_type = "Resize".into();
    cx.inputs = vec![x, None, scales];
    cx.attrs.insert("coordinate_transformation_mode".into(), Attr::from("asymmetric"));
    cx.attrs.insert("nearest_mode".into(), Attr::from("floor"));
    Ok(())
}

op! {
    Upsample in "ai.onnx" since [1, 7, 9, 10]; "X, scales" => "Y";
    summary: "resampling by scales (withdrawn; becomes Resize)";
    deprecated: 10;
    upgrade: upgrade;
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn upsample_repeats_cells() {
        let x = Tensor::from_slice(&[1, 2], &[1i32, 2]);
        let s = Tensor::from_slice(&[2], &[1.0f32, 2.0]);
        assert_eq!(run1("Upsample", attrs! {}, &[x, s]).unwrap(), Tensor::from_slice(&[1, 4], &[1i32, 1, 2, 2]));
    }

    #[test]
    fn upsample_constraints_are_named() {
        let (x, s) = (Type::tensor(DType::F32, &[1, 2]), Type::tensor(DType::F32, &[1]));
        assert_eq!(violated("Upsample", attrs! {}, &[x.clone(), s.clone()]).as_deref(), Some("Upsample.C1"));
        assert_eq!(violated("Upsample", attrs! { mode: "x" }, &[x, s]).as_deref(), Some("Upsample.C2"));
    }
}
