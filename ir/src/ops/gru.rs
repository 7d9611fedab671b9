//! gates `z, r, h` in this order: `z = f(W x + R h + b)`, `r` likewise, `n = g(W x + Wb + R (r h) + Rb)` or with
//! `linear_before_reset` `g(W x + Wb + r (R h + Rb))`, `h' = (1 - z) n + z h`.
//!
//! Shapes and constraints C1 to C5: see [`recurrent`](super::recurrent). ONNX `GRU`: opset 1, 3, 7, 14, 22.

use super::common::*;
use super::lowering::ExprId;
use super::recurrent::{CellExprs, Common, upgrade};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::lower::CellTensor;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `GRU`.
    pub struct Gru {
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
        /// Whether the state is multiplied by `R` before the reset gate is applied.
        linear_before_reset: bool = false,
        /// 1 where the batch comes first.
        layout: i64 = 0i64,
    }
}

impl Gru {
    fn common(&self) -> Common<'_> {
        Common {
            activations: self.activations.as_deref(),
            alpha: self.activation_alpha.as_deref(),
            beta: self.activation_beta.as_deref(),
            clip: self.clip,
            direction: &self.direction,
            hidden_size: self.hidden_size.as_ref(),
            batch_first: self.layout,
            gates: 3,
            defaults: &["Sigmoid", "Tanh"],
            cell_state: false,
        }
    }
}

impl Op for Gru {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        self.common().rule(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        self.common().eval(cx, |w, x, state, _| {
            let old = state.to_vec();
            let gate = |g: usize, j: usize| w.activate(0, w.of_input(g, j, x) + w.of_state(g, j, &old));
            let reset: Vec<f64> = (0..w.h).map(|j| gate(1, j)).collect();
            let masked: Vec<f64> = old.iter().zip(&reset).map(|(h, r)| h * r).collect();
            for (j, s) in state.iter_mut().enumerate() {
                let z = gate(0, j);
                let carried = match self.linear_before_reset {
                    true => reset[j] * w.of_state(2, j, &old),
                    false => w.of_state(2, j, &masked),
                };
                let new = w.activate(1, w.of_input(2, j, x) + carried);
                *s = (1.0 - z) * new + z * old[j];
            }
        })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        use CellTensor::{Bias, Carried, NextState, Projection, State, Sums};
        let gate = |c: &mut CellExprs<'_>, sums, projection, g, i: &[ExprId]| {
            let (sum, projected) = (c.sum(sums, g, i), c.projected(projection, g, i));
            let sum = c.e.add(sum, projected);
            c.activate(0, sum)
        };
        let join = |c: &mut CellExprs<'_>, z, new, old| {
            // `(1 - z) new + z old`
            let change = c.e.sub(old, new);
            let change = c.e.mul(z, change);
            c.e.add(new, change)
        };
        if self.linear_before_reset {
            return self.common().lower(cx, 2, |cell| {
                let has_bias = cell.has_bias;
                cell.part(State, 0..3, |l| {
                    let (sums, projection, state) = (l.x(Sums), l.x(Projection), l.x(State));
                    let bias = has_bias.then(|| l.x(Bias));
                    let next = l.compute(|c, i| {
                        let (z, r) = (gate(c, sums, projection, 0, i), gate(c, sums, projection, 1, i));
                        let mut sum = c.sum(sums, 2, i);
                        if let Some(bias) = bias {
                            let b = c.entry(bias, 5, i);
                            sum = c.e.add(sum, b);
                        }
                        let (kept, projected) = (c.e.mul(r, sum), c.projected(projection, 2, i));
                        let sum = c.e.add(projected, kept);
                        let (new, old) = (c.activate(1, sum), c.e.load(state, i));
                        join(c, z, new, old)
                    });
                    vec![(next, NextState)]
                })
            });
        }
        self.common().lower(cx, 3, |cell| {
            cell.part(State, 0..2, |l| {
                let (sums, projection, state) = (l.x(Sums), l.x(Projection), l.x(State));
                let z = l.compute(|c, i| gate(c, sums, projection, 0, i));
                let kept = l.compute(|c, i| {
                    let (r, old) = (gate(c, sums, projection, 1, i), c.e.load(state, i));
                    c.e.mul(r, old)
                });
                vec![(z, Carried(0)), (kept, Carried(1))]
            })?;
            cell.part(Carried(1), 2..3, |l| {
                let (sums, projection) = (l.x(Sums), l.x(Projection));
                let (state, z) = (l.x(State), l.x(Carried(0)));
                let next = l.compute(|c, i| {
                    let (sum, projected) = (c.sum(sums, 2, i), c.projected(projection, 2, i));
                    let sum = c.e.add(sum, projected);
                    let (new, z, old) = (c.activate(1, sum), c.e.load(z, i), c.e.load(state, i));
                    join(c, z, new, old)
                });
                vec![(next, NextState)]
            })
        })
    }
}

op! {
    Gru as "GRU" in "ai.onnx" since [1, 3, 7, 14 brings "layout", 22 brings "bf16"];
    "X, W, R, B?, sequence_lens?, initial_h?" => "Y?, Y_h?";
    summary: "gated recurrent units over a sequence";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @gru([[[1.0]], [[-1.0]]], [[[1.0], [0.5], [-1.0]]], [[[0.5], [0.25], [1.0]]]) ~= [[[[-0.20482421]]], [[[0.49569088]]]], [[[0.49569088]]]
graph @gru(%a: f32[2, 1, 1], %b: f32[1, 3, 1], %c: f32[1, 3, 1]) -> (f32[2, 1, 1, 1], f32[1, 1, 1]) {
  %y, %z = gru %a, %b, %c {hidden_size = 1} : f32[2, 1, 1, 1], f32[1, 1, 1]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn gru_of_zero_weights_halves_its_state() {
        let x = Tensor::from_slice(&[1, 1, 1], &[1.0f32]);
        let w = Tensor::from_slice(&[1, 3, 1], &[0.0f32; 3]);
        let h: Value = Tensor::from_slice(&[1, 1, 1], &[8.0f32]).into();
        let args = [Some(x.into()), Some(w.clone().into()), Some(w.into()), None, None, Some(h)];
        let y = run("ai.onnx", "GRU", attrs! {}, &args, 2).unwrap();
        assert_eq!(y[1].tensor().unwrap().floats().unwrap(), [4.0]);
    }

    #[test]
    fn gru_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let good = [f(&[1, 1, 2]), f(&[1, 9, 2]), f(&[1, 9, 3])];
        let bad = |a: crate::Attrs, i: usize, t: Type| {
            let mut types = good.clone();
            types[i] = t;
            violated("GRU", a, &types)
        };
        assert_eq!(bad(attrs! {}, 0, good[0].clone()), None);
        assert_eq!(bad(attrs! {}, 1, Type::tensor(DType::F64, &[1, 9, 2])).as_deref(), Some("GRU.C1"));
        assert_eq!(bad(attrs! {}, 0, f(&[1, 2])).as_deref(), Some("GRU.C2"));
        assert_eq!(bad(attrs! { direction: "up" }, 0, good[0].clone()).as_deref(), Some("GRU.C3"));
        assert_eq!(bad(attrs! {}, 0, f(&[1, 1, 3])).as_deref(), Some("GRU.C4"));
        for names in [vec!["No".into()], vec!["Tanh".into(); 3]] {
            let a = crate::attr::Attrs::from([("activations".to_owned(), Attr::Strings(names))]);
            assert_eq!(bad(a, 0, good[0].clone()).as_deref(), Some("GRU.C5"));
        }
    }
}
