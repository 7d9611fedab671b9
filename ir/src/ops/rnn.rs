//! `h' = f(W x + R h + Wb + Rb)`.
//!
//! Shapes and constraints C1 to C5: see [`recurrent`](super::recurrent). ONNX `RNN`: opset 1, 7, 14, 22.

use super::common::*;
use super::recurrent::{Common, upgrade};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::lower::CellTensor;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `RNN`.
    pub struct Rnn {
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
        /// 1 where the batch comes first.
        layout: i64 = 0i64,
    }
}

impl Rnn {
    fn common(&self) -> Common<'_> {
        Common {
            activations: self.activations.as_deref(),
            alpha: self.activation_alpha.as_deref(),
            beta: self.activation_beta.as_deref(),
            clip: self.clip,
            direction: &self.direction,
            hidden_size: self.hidden_size.as_ref(),
            batch_first: self.layout,
            gates: 1,
            defaults: &["Tanh"],
            cell_state: false,
        }
    }
}

impl Op for Rnn {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        self.common().rule(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        self.common().eval(cx, |w, x, state, _| {
            let old = state.to_vec();
            for (j, s) in state.iter_mut().enumerate() {
                *s = w.activate(0, w.of_input(0, j, x) + w.of_state(0, j, &old));
            }
        })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        self.common().lower(cx, 1, |cell| {
            cell.part(CellTensor::State, 0..1, |l| {
                let (sums, projection) = (l.x(CellTensor::Sums), l.x(CellTensor::Projection));
                let next = l.compute(|c, i| {
                    let (sum, projected) = (c.sum(sums, 0, i), c.projected(projection, 0, i));
                    let sum = c.e.add(sum, projected);
                    c.activate(0, sum)
                });
                vec![(next, CellTensor::NextState)]
            })
        })
    }
}

op! {
    Rnn as "RNN" in "ai.onnx" since [1, 7, 14 brings "layout", 22 brings "bf16"];
    "X, W, R, B?, sequence_lens?, initial_h?" => "Y?, Y_h?";
    summary: "plain recurrent network over a sequence";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @rnn([[[1.0]], [[-1.0]]], [[[1.0]]], [[[0.5]]]) ~= [[[[0.76159406]]], [[[-0.5505729]]]], [[[-0.5505729]]]
graph @rnn(%a: f32[2, 1, 1], %b: f32[1, 1, 1], %c: f32[1, 1, 1]) -> (f32[2, 1, 1, 1], f32[1, 1, 1]) {
  %y, %z = rnn %a, %b, %c {hidden_size = 1} : f32[2, 1, 1, 1], f32[1, 1, 1]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn rnn_walks_both_ways() {
        let x = Tensor::from_slice(&[2, 1, 1], &[1.0f32, 2.0]);
        let w = Tensor::from_slice(&[2, 1, 1], &[1.0f32, 1.0]);
        let r = Tensor::from_slice(&[2, 1, 1], &[10.0f32, 10.0]);
        let a = crate::attr::Attrs::from([
            ("direction".to_owned(), Attr::from("bidirectional")),
            ("activations".to_owned(), Attr::Strings(vec!["Relu".into(), "Relu".into()])),
        ]);
        let y = run1("RNN", a, &[x, w, r]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 2, 1, 1], &[1.0f32, 21.0, 12.0, 2.0]));
    }

    #[test]
    fn rnn_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let good = [f(&[1, 1, 2]), f(&[1, 3, 2]), f(&[1, 3, 3])];
        let bad = |a: crate::Attrs, i: usize, t: Type| {
            let mut types = good.clone();
            types[i] = t;
            violated("RNN", a, &types)
        };
        assert_eq!(bad(attrs! {}, 0, good[0].clone()), None);
        assert_eq!(bad(attrs! {}, 1, Type::tensor(DType::F64, &[1, 3, 2])).as_deref(), Some("RNN.C1"));
        assert_eq!(bad(attrs! {}, 0, f(&[1, 2])).as_deref(), Some("RNN.C2"));
        assert_eq!(bad(attrs! { direction: "up" }, 0, good[0].clone()).as_deref(), Some("RNN.C3"));
        assert_eq!(bad(attrs! {}, 0, f(&[1, 1, 3])).as_deref(), Some("RNN.C4"));
        let one = crate::attr::Attrs::from([("activations".to_owned(), Attr::Strings(vec!["No".into()]))]);
        assert_eq!(bad(one, 0, good[0].clone()).as_deref(), Some("RNN.C5"));
    }
}
