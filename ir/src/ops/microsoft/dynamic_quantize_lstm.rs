//! `LSTM` with 8-bit weights: `W' = (W - W_zero_point) * W_scale`, `R'` likewise.
//!
//! `W: T[d, input, 4 h]`, `R: T[d, h, 4 h]` (transposed against [`lstm`](crate::ops::lstm)), scales and zero points `[d]` or
//! `[d, 4 h]`; everything else as there.
//!
//! - **C1** `W` and `R` are `i8` or `u8`, zero points of their types; everything else is `f32`
//! - **C2** scales and zero points have the extents above
//! - constraints of `LSTM` on the rest
//!
//! ONNX Runtime also quantises `X` and the state by their ranges before each product; here they stay as they are, which is
//! nearer to what the quantised network stands for. ONNX Runtime `com.microsoft::DynamicQuantizeLSTM`, version 1.

use super::q_linear::require_bytes;
use crate::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `DynamicQuantizeLSTM`.
    pub struct DynamicQuantizeLstm {
        /// First parameters of the activation functions, in order.
        activation_alpha: Option<Vec<f32>>,
        /// Second parameters.
        activation_beta: Option<Vec<f32>>,
        /// Activation functions, by direction: `Relu`, `Tanh`, `Sigmoid`, `Affine`, `LeakyRelu`, `ThresholdedRelu`, `ScaledTanh`,
        /// `HardSigmoid`, `Elu`, `Softsign` or `Softplus`.
        activations: Option<Vec<String>>,
        /// Bound on the activations' arguments.
        clip: Option<f32>,
        /// `forward`, `reverse` or `bidirectional`.
        direction: String = "forward",
        /// Extent of the hidden state; `R`'s.
        hidden_size: Option<Dim>,
        /// Whether the forget gate is one minus the input gate.
        input_forget: bool = false,
    }
}

impl Op for DynamicQuantizeLstm {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        require_bytes(cx, &[1, 2])?;
        for (weights, scale, zero) in [(1, 8, 9), (2, 10, 11)] {
            cx.require_dtype("C1", scale, &[DType::F32])?;
            cx.same_dtype("C1", [weights, zero])?;
            let w = cx.shape(weights)?;
            cx.require("C2", w.len() == 3, || format!("operand {weights} has rank {}", w.len()))?;
            for i in [scale, zero] {
                let p = cx.shape(i)?;
                cx.require("C2", p.len() == 1 || p.len() == 2, || format!("operand {i} has rank {}", p.len()))?;
                cx.require_eq("C2", &p[0], &w[0])?;
                if let Some(columns) = p.get(1) {
                    cx.require_eq("C2", columns, &w[2])?;
                }
            }
        }
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(w), Some(r)) = (weights(b, [at(1), at(8), at(9)])?, weights(b, [at(2), at(10), at(11)])?) else {
            return Ok(None);
        };
        let operands = [at(0), Some(w), Some(r), at(3), at(4), at(5), at(6), at(7)];
        b.node("ai.onnx", "LSTM", self.attrs(), &operands, 3).map(Some)
    }
}

/// `(w - zero) * scale` with its last two axes exchanged.
fn weights(b: &mut GraphBuilder, [w, scale, zero]: [Option<ValueId>; 3]) -> Result<Option<ValueId>> {
    let (Some(w), Some(scale), Some(zero)) = (w, scale, zero) else { return Ok(None) };
    let parameter = |b: &mut GraphBuilder, p: ValueId| -> Result<Option<ValueId>> {
        let Some(rank) = b.rank(p) else { return Ok(None) };
        let axes = b.ints(if rank == 1 { &[1, 2] } else { &[1] });
        let p = b.op("Unsqueeze", attrs! {}, &[p, axes])?;
        b.op("Cast", attrs! { to: DType::F32 }, &[p]).map(Some)
    };
    let (Some(scale), Some(zero)) = (parameter(b, scale)?, parameter(b, zero)?) else { return Ok(None) };
    let w = b.op("Cast", attrs! { to: DType::F32 }, &[w])?;
    let w = b.op("Sub", attrs! {}, &[w, zero])?;
    let w = b.op("Mul", attrs! {}, &[w, scale])?;
    b.op("Transpose", attrs! { perm: vec![0i64, 2, 1] }, &[w]).map(Some)
}

op! {
    DynamicQuantizeLstm as "DynamicQuantizeLSTM" in "com.microsoft" since [1]; "X, W, R, B?, sequence_lens?, initial_h?, initial_c?, P?, W_scale, W_zero_point, R_scale, R_zero_point" => "Y?, Y_h?, Y_c?";
    summary: "long short-term memory with 8-bit weights";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @quantised_lstm([[[1.0]]], [[[0, 0, 0, 0]]], [[[0, 0, 0, 0]]], [[[2.0]]], [1.0], [0], [1.0], [0]) ~= [[[[0.3807971]]]]
graph @quantised_lstm(%x: f32[1, 1, 1], %w: i8[1, 1, 4], %r: i8[1, 1, 4], %c: f32[1, 1, 1], %ws: f32[1], %wz: i8[1], %rs: f32[1], %rz: i8[1]) -> f32[1, 1, 1, 1] {
  %y = microsoft.dynamic_quantize_lstm %x, %w, %r, _, _, _, %c, _, %ws, %wz, %rs, %rz {hidden_size = 1} : f32[1, 1, 1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{call, label};
    use super::*;
    use crate::Tensor;

    fn operands() -> Vec<Option<Tensor>> {
        let scale = || Some(Tensor::from_slice(&[1], &[0.5f32]));
        let zero = || Some(Tensor::from_slice(&[1], &[2u8]));
        let mut x = vec![
            Some(Tensor::from_slice(&[1, 1, 1], &[1.0f32])),
            Some(Tensor::from_slice(&[1, 1, 4], &[2u8, 2, 2, 4])),
            Some(Tensor::from_slice(&[1, 1, 4], &[2u8; 4])),
        ];
        x.resize(8, None);
        x.extend([scale(), zero(), scale(), zero()]);
        x
    }

    #[test]
    fn dynamic_quantize_lstm_takes_weights_apart() {
        // Gates at 1/2, the cell's input at 1: c = tanh(1) / 2, h = tanh(c) / 2.
        let y = call("DynamicQuantizeLSTM", attrs! {}, &operands()).unwrap().floats().unwrap();
        let want = (1f64.tanh() / 2.0).tanh() / 2.0;
        assert!(y.len() == 1 && (y[0] - want).abs() < 1e-6, "{y:?}");
    }

    #[test]
    fn dynamic_quantize_lstm_constraints_are_named() {
        let bad = |i: usize, t: Tensor| {
            let mut x = operands();
            x[i] = Some(t);
            label("DynamicQuantizeLSTM", attrs! {}, &x)
        };
        assert_eq!(bad(9, Tensor::from_slice(&[1], &[2i8])).as_deref(), Some("DynamicQuantizeLSTM.C1"));
        assert_eq!(bad(8, Tensor::from_slice(&[2], &[1.0f32; 2])).as_deref(), Some("DynamicQuantizeLSTM.C2"));
    }
}
