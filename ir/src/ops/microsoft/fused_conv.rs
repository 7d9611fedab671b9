//! `Y = activation(Conv(X, W, B) + Z)`.
//!
//! - **C1** `activation` is known (or absent), with as many `activation_params` as it takes at most
//! - **C2** `Z` has the shape of the convolution's result
//! - everything else as for [`conv`](crate::ops::conv)
//!
//! ONNX Runtime `com.microsoft::FusedConv`, version 1.

use super::activation::activate;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `FusedConv`.
    pub struct FusedConv {
        /// `Relu`, `Tanh`, `Sigmoid`, `LeakyRelu`, `Clip`, `HardSigmoid` and others.
        activation: Option<String>,
        /// Its parameters in order.
        activation_params: Vec<f32> = Vec::new(),
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Groups of channels.
        group: Dim = Dim::ONE,
        /// Extents of the kernel; `W`'s.
        kernel_shape: Option<Vec<Dim>>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl FusedConv {
    /// The convolution alone.
    fn convolve(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<ValueId> {
        let mut attrs = self.attrs();
        attrs.remove("activation");
        attrs.remove("activation_params");
        Ok(b.node("ai.onnx", "Conv", attrs, &x[..x.len().min(3)], 1)?[0])
    }
}

impl Op for FusedConv {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        if cx.has(3) {
            let mut b = GraphBuilder::new(self.def().name);
            let mut of_conv = Vec::new();
            for i in 0..3 {
                of_conv.push(if cx.has(i) { Some(b.input_with_content("", cx.fact(i)?.clone())) } else { None });
            }
            let y = self.convolve(&mut b, &of_conv)?;
            if let Some(y) = b.ty(y).as_tensor().and_then(|t| t.shape.dims()) {
                let z = cx.shape(3)?;
                cx.require("C2", z.len() == y.len(), || format!("Z has extents {z:?}, the convolution {y:?}"))?;
                for (z, y) in z.iter().zip(y) {
                    cx.require_eq("C2", z, y)?;
                }
            }
        }
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let mut y = self.convolve(b, x)?;
        if let Some(z) = x.get(3).copied().flatten() {
            y = b.op("Add", attrs! {}, &[y, z])?;
        }
        if let Some(name) = self.activation.as_deref().filter(|n| !n.is_empty()) {
            y = activate(b, "C1", y, name, &self.activation_params)?;
        }
        Ok(Some(vec![y]))
    }
}

op! {
    FusedConv in "com.microsoft" since [1]; "X, W, B?, Z?" => "Y";
    summary: "convolution, sum and activation";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{call, check, label};
    use super::*;
    use crate::Tensor;

    #[test]
    fn fused_conv_adds_and_activates() {
        let x = Tensor::from_slice(&[1, 1, 2], &[1.0f32, -4.0]);
        let w = Tensor::from_slice(&[1, 1, 1], &[2.0f32]);
        let b = Tensor::from_slice(&[1], &[1.0f32]);
        check("FusedConv", attrs! { activation: "Relu" }, &[x.clone(), w.clone(), b.clone()], &[3.0, 0.0]);
        let clip = attrs! { activation: "Clip", activation_params: Attr::Floats(vec![-1.0, 2.5]) };
        check("FusedConv", clip, &[x.clone(), w.clone(), b, x.clone()], &[2.5, -1.0]);
        let y = call("FusedConv", attrs! {}, &[Some(x.clone()), Some(w), None, Some(x)]).unwrap();
        assert_eq!(y.floats().unwrap(), [3.0, -12.0]);
    }

    #[test]
    fn fused_conv_constraints_are_named() {
        let x = Some(Tensor::from_slice(&[1, 1, 2], &[1.0f32, -4.0]));
        let w = Some(Tensor::from_slice(&[1, 1, 1], &[2.0f32]));
        let bad = |a, z| label("FusedConv", a, &[x.clone(), w.clone(), None, z]);
        assert_eq!(bad(attrs! { activation: "No" }, None).as_deref(), Some("FusedConv.C1"));
        assert_eq!(bad(attrs! { activation: "Clip" }, None).as_deref(), Some("FusedConv.C1"));
        assert_eq!(bad(attrs! {}, w.clone()).as_deref(), Some("FusedConv.C2"));
    }
}
