//! `y[n, c, t] = activation(bias[c] + sum_i weight[c, 0, i] * padded[n, c, t + i])`
//!
//! A depthwise convolution that looks only back, and the tail that the next call needs: `padded` is `past_state` (zeros
//! where left out) followed by `input`.
//!
//! | value | type |
//! |---|---|
//! | `input`, `output` | `T[n, c, len]` |
//! | `weight` | `T[c, 1, k]` |
//! | `bias` | `T[c]` |
//! | `past_state`, `present_state` | `T[n, c, k - 1]`: what comes before, the last of `padded` |
//!
//! - **C1** one type, `f32`, `f16` or `bf16`
//! - **C2** `input` has rank 3, `weight` is `[c, 1, k]` with `k >= 1`
//! - **C3** `bias` and `past_state` have the extents above
//! - **C4** `activation` is `none`, `silu` or `swish` (both `x / (1 + e^-x)`)
//!
//! ONNX `CausalConvWithState`: opset 27.

use super::attention_common::*;
use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `CausalConvWithState`.
    pub struct CausalConvWithState {
        /// Applied to each result: `none`, `silu` or `swish`.
        activation: String = "none",
    }
}

impl Op for CausalConvWithState {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, UP_TO_SINGLE)?;
        let t = cx.same_dtype("C1", 0..4)?;
        let (x, w) = (cx.shape(0)?, cx.shape(1)?);
        let ([n, c, _], [_, _, k]) = (&x[..], &w[..]) else {
            return cx.require("C2", false, || format!("ranks are {} and {}, not 3", x.len(), w.len()));
        };
        require_shape(cx, "C2", 1, &[c.clone(), Dim::int(1), k.clone()])?;
        cx.require_that("C2", Cond::le(&Dim::int(1), k))?;
        let state = vec![n.clone(), c.clone(), k - &Dim::int(1)];
        if cx.has(2) {
            require_shape(cx, "C3", 2, std::slice::from_ref(c))?;
        }
        if cx.has(3) {
            require_shape(cx, "C3", 3, &state)?;
        }
        let known = ["none", "silu", "swish"].contains(&self.activation.as_str());
        cx.require("C4", known, || format!("activation is `{}`", self.activation))?;
        cx.output(t, x.clone())?;
        cx.output(t, state)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(x), Some(w)) = (at(0), at(1)) else { return Ok(None) };
        let (Some((t, shape)), Some((_, w_shape))) = (concrete(b, x), concrete(b, w)) else { return Ok(None) };
        let (&[n, c, len], k) = (&shape[..], w_shape[2]) else { return Ok(None) };
        let past = match at(3) {
            Some(past) => past,
            None => filled(b, Tensor::zeros(t, &[])?, &[n, c, k - 1])?,
        };
        let padded = b.op("Concat", attrs! { axis: 2i64 }, &[past, x])?;
        let state = slice(b, padded, 2, len, len + k - 1)?;
        let wide = DType::F32;
        // Without a past the convolution pads by itself, and the longer tensor is not made.
        let (source, pad) = if at(3).is_some() { (padded, 0) } else { (x, k as i64 - 1) };
        let mut operands = vec![Some(cast(b, source, wide)?), Some(cast(b, w, wide)?)];
        if let Some(bias) = at(2) {
            operands.push(Some(cast(b, bias, wide)?));
        }
        let a = attrs! { group: c as i64, pads: vec![pad, 0] };
        let y = b.node("ai.onnx", "Conv", a, &operands, 1)?[0];
        let mut y = cast(b, y, t)?;
        if self.activation != "none" {
            y = cast(b, y, wide)?;
            y = b.op("Swish", attrs! {}, &[y])?;
            y = cast(b, y, t)?;
        }
        Ok(Some(vec![y, state]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    CausalConvWithState in "ai.onnx" since [27]; "input, weight, bias?, past_state?" => "output, present_state";
    summary: "depthwise convolution over the past, and the tail that the next call needs";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @step([[[3.0]]], [[[10.0, 1.0]]], [[[2.0]]]) == [[[23.0]]], [[[3.0]]]
graph @step(%x: f32[1, 1, 1], %w: f32[1, 1, 2], %p: f32[1, 1, 1]) -> (f32[1, 1, 1], f32[1, 1, 1]) {
  %0, %1 = causal_conv_with_state %x, %w, _, %p : f32[1, 1, 1], f32[1, 1, 1]
  return %0, %1
}
// infer: f32[n, 8, len], f32[n, 8, 3]
graph @symbolic(%x: f32[n, 8, len], %w: f32[8, 1, 4]) -> (f32[n, 8, len], f32[n, 8, 3]) {
  %0, %1 = causal_conv_with_state %x, %w : f32[n, 8, len], f32[n, 8, 3]
  return %0, %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn causal_conv_with_state_in_two_calls_is_that_in_one() {
        let w = Tensor::from_slice(&[1, 1, 3], &[1.0f32, -2.0, 0.5]);
        let call = |x: &[f32], past: Option<Value>| {
            let x = Tensor::from_slice(&[1, 1, x.len()], x);
            let operands = [Some(x.into()), Some(w.clone().into()), None, past];
            run("ai.onnx", "CausalConvWithState", attrs! { activation: "silu" }, &operands, 2).unwrap()
        };
        let whole = call(&[1.0, 2.0, 3.0, 4.0], None);
        let first = call(&[1.0], None);
        let second = call(&[2.0, 3.0, 4.0], Some(first[1].clone()));
        let floats = |v: &Value| v.tensor().unwrap().floats().unwrap();
        assert_eq!([floats(&first[0]), floats(&second[0])].concat(), floats(&whole[0]));
        assert_eq!(second[1], whole[1]);
        assert_eq!(floats(&first[1]), [0.0, 1.0]);
    }

    #[test]
    fn causal_conv_with_state_c1_c2_c3_c4_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |a: crate::Attrs, t: &[Type]| violated("CausalConvWithState", a, t);
        let name = |n| Some(format!("CausalConvWithState.C{n}"));
        let (x, w) = (f(&[1, 2, 3]), f(&[2, 1, 4]));
        let d = Type::tensor(DType::F64, &[1, 2, 3]);
        assert_eq!(bad(attrs! {}, &[d, w.clone()]), name(1));
        assert_eq!(bad(attrs! {}, &[f(&[2, 3]), w.clone()]), name(2));
        assert_eq!(bad(attrs! {}, &[x.clone(), f(&[2, 2, 4])]), name(2));
        assert_eq!(bad(attrs! {}, &[x.clone(), f(&[2, 1, 0])]), name(2));
        assert_eq!(bad(attrs! {}, &[x.clone(), w.clone(), f(&[3])]), name(3));
        assert_eq!(bad(attrs! {}, &[x.clone(), w.clone(), f(&[2]), f(&[1, 2, 4])]), name(3));
        assert_eq!(bad(attrs! { activation: "relu" }, &[x, w]), name(4));
    }
}
