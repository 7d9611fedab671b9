//! `output = LayerNormalization(input + skip + bias) * gamma + beta`, over the last axis.
//!
//! | value | type |
//! |---|---|
//! | `input`, `output`, `input_skip_bias_sum` | `T[…, hidden]` |
//! | `skip` | `T`, broadcasts to `input` |
//! | `gamma`, `beta`, `bias` | `T[hidden]` |
//! | `mean`, `inv_std_var` | `f32[…, 1]` |
//!
//! - **C1** one float type
//! - **C2** `input` has rank 2 or 3, `skip` broadcasts to it
//! - **C3** `gamma`, `beta` and `bias` are `[hidden]`
//!
//! ONNX Runtime `com.microsoft::SkipLayerNormalization`, version 1.

use crate::dtype::DType;
use crate::error::Result;
use crate::ops::attention_common::{cast, require_shape, scalar};
use crate::ops::common::*;
use crate::ops::layer_normalization::require_broadcasts_to;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `SkipLayerNormalization`.
    pub struct SkipLayerNormalization {
        /// Added to the variance.
        epsilon: f32 = 1e-12f32,
    }
}

/// Rule of both kinds of this normalisation: `weights` are the operands `[hidden]`.
pub(super) fn rule_of_skip(cx: &mut RuleCx<'_>, weights: &[usize]) -> RuleResult {
    cx.require_dtype("C1", 0, sets::FLOATS)?;
    let t = cx.same_dtype("C1", 0..5)?;
    let x = cx.shape(0)?;
    cx.require("C2", (2..=3).contains(&x.len()), || format!("the rank is {}", x.len()))?;
    require_broadcasts_to(cx, "C2", 1, &x)?;
    let (hidden, lead) = x.split_last().expect("a rank of 2 or 3");
    for &i in weights.iter().filter(|&&i| i == 2 || cx.has(i)).collect::<Vec<_>>() {
        require_shape(cx, "C3", i, std::slice::from_ref(hidden))?;
    }
    let stats = [lead, &[Dim::ONE]].concat();
    cx.output(t, x.clone())?;
    cx.output(DType::F32, stats.clone())?;
    cx.output(DType::F32, stats)?;
    cx.output(t, x)
}

/// `input + skip (+ bias)`.
pub(super) fn skip_sum(b: &mut GraphBuilder, x: ValueId, skip: ValueId, bias: Option<ValueId>) -> Result<ValueId> {
    let sum = b.op("Add", attrs! {}, &[x, skip])?;
    match bias {
        Some(bias) => b.op("Add", attrs! {}, &[sum, bias]),
        None => Ok(sum),
    }
}

/// Mean of the last axis, and `1 / sqrt(mean((x - mean)^2) + epsilon)`, or of `x^2` where not `centred`. In `f32`.
pub(super) fn statistics(b: &mut GraphBuilder, x: ValueId, epsilon: f32, centred: bool) -> Result<[ValueId; 2]> {
    let x = cast(b, x, DType::F32)?;
    let axis = b.ints(&[-1]);
    let mean = b.op("ReduceMean", attrs! { keepdims: true }, &[x, axis])?;
    let apart = if centred { b.op("Sub", attrs! {}, &[x, mean])? } else { x };
    let squares = b.op("Mul", attrs! {}, &[apart, apart])?;
    let var = b.op("ReduceMean", attrs! { keepdims: true }, &[squares, axis])?;
    let epsilon = scalar(b, DType::F32, epsilon.into());
    let var = b.op("Add", attrs! {}, &[var, epsilon])?;
    let root = b.op("Sqrt", attrs! {}, &[var])?;
    Ok([mean, b.op("Reciprocal", attrs! {}, &[root])?])
}

impl Op for SkipLayerNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        rule_of_skip(cx, &[2, 3, 4])
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(x), Some(skip), Some(gamma)) = (at(0), at(1), at(2)) else { return Ok(None) };
        let sum = skip_sum(b, x, skip, at(4))?;
        let operands = [Some(sum), Some(gamma), at(3)];
        let y = b.node("ai.onnx", "LayerNormalization", attrs! { epsilon: self.epsilon }, &operands, 1)?[0];
        let [mean, inverse] = statistics(b, sum, self.epsilon, true)?;
        Ok(Some(vec![y, mean, inverse, sum]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    SkipLayerNormalization in "com.microsoft" since [1];
    "input, skip, gamma, beta?, bias?" => "output, mean?, inv_std_var?, input_skip_bias_sum?";
    summary: "layer normalisation of a sum";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @pair([[1.0, 1.0]], [[0.0, 2.0]], [2.0, 1.0], [0.0, 1.0]) ~= [[-2.0, 2.0]]
graph @pair(%x: f32[1, 2], %s: f32[1, 2], %g: f32[2], %b: f32[2]) -> f32[1, 2] {
  %0 = microsoft.skip_layer_normalization %x, %s, %g, %b : f32[1, 2]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn skip_layer_normalization_gives_sum_and_statistics() {
        let x = Tensor::from_slice(&[1, 2], &[1.0f32, 2.0]);
        let skip = Tensor::from_slice(&[1, 2], &[0.0f32, 1.0]);
        let g = Tensor::from_slice(&[2], &[1.0f32, 1.0]);
        let operands = [x, skip, g].map(|t| Some(Value::from(t)));
        let a = attrs! { epsilon: 0.0f32 };
        let y = run("com.microsoft", "SkipLayerNormalization", a, &operands, 4).unwrap();
        let floats: Vec<_> = y.iter().map(|v| v.tensor().unwrap().floats().unwrap()).collect();
        assert_eq!(floats, [vec![-1.0, 1.0], vec![2.0], vec![1.0], vec![1.0, 3.0]]);
    }

    #[test]
    fn skip_layer_normalization_c1_c2_c3_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |t: [Type; 3]| {
            let op = (DEF.parse)(&attrs! {}).unwrap();
            let x = t.map(|t| Some(Fact::of(t)));
            crate::infer::infer_call(&*op, &x, &[], 1, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let name = |n| format!("SkipLayerNormalization.C{n}");
        assert_eq!(bad([f(&[1, 2]), Type::tensor(DType::F64, &[1, 2]), f(&[2])]), name(1));
        assert_eq!(bad([f(&[1, 2]), f(&[3, 2]), f(&[2])]), name(2));
        assert_eq!(bad([f(&[2]), f(&[2]), f(&[2])]), name(2));
        assert_eq!(bad([f(&[1, 2]), f(&[1, 2]), f(&[3])]), name(3));
    }
}
