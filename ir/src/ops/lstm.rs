//! gates `i, o, f, c` in this order: `i = f(W x + R h + P c + b)`, forget gate likewise, `n = g(W x + R h + b)`,
//! `c' = f c + i n`, `o = f(W x + R h + P c' + b)`, `h' = o h(c')`; peepholes `P` in the order `i, o, f`.
//!
//! Shapes and constraints C1 to C5: see [`recurrent`](super::recurrent). ONNX `LSTM`: opset 1, 7, 14, 22.

use super::common::*;
use super::lowering::ExprId;
use super::recurrent::{CellExprs, Common, upgrade};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::lower::CellTensor;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `LSTM`.
    pub struct Lstm {
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
        /// 1 where the batch comes first.
        layout: i64 = 0i64,
    }
}

impl Lstm {
    fn common(&self) -> Common<'_> {
        Common {
            activations: self.activations.as_deref(),
            alpha: self.activation_alpha.as_deref(),
            beta: self.activation_beta.as_deref(),
            clip: self.clip,
            direction: &self.direction,
            hidden_size: self.hidden_size.as_ref(),
            batch_first: self.layout,
            gates: 4,
            defaults: &["Sigmoid", "Tanh", "Tanh"],
            cell_state: true,
        }
    }
}

impl Op for Lstm {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        self.common().rule(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        self.common().eval(cx, |w, x, state, cell| {
            let old = state.to_vec();
            for j in 0..w.h {
                let sum = |g: usize| w.of_input(g, j, x) + w.of_state(g, j, &old);
                let i = w.activate(0, sum(0) + w.peephole(0, j) * cell[j]);
                let f = match self.input_forget {
                    true => 1.0 - i,
                    false => w.activate(0, sum(2) + w.peephole(2, j) * cell[j]),
                };
                cell[j] = f * cell[j] + i * w.activate(1, sum(3));
                let o = w.activate(0, sum(1) + w.peephole(1, j) * cell[j]);
                state[j] = o * w.f[2].of(cell[j]);
            }
        })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        use CellTensor::{Cell, NextCell, NextState, Peepholes, Projection, State, Sums};
        self.common().lower(cx, 4, |cell| {
            let has_peepholes = cell.has_peepholes;
            cell.part(State, 0..4, |l| {
                let (sums, projection, old) = (l.x(Sums), l.x(Projection), l.x(Cell));
                let peepholes = has_peepholes.then(|| l.x(Peepholes));
                // The argument of gate `g`, which looks at `cell` through its peephole.
                let argument = |c: &mut CellExprs<'_>, g: usize, cell: Option<ExprId>, i: &[ExprId]| {
                    let (sum, projected) = (c.sum(sums, g, i), c.projected(projection, g, i));
                    let sum = c.e.add(sum, projected);
                    match peepholes.zip(cell) {
                        None => sum,
                        Some((p, cell)) => {
                            let weight = c.entry(p, g, i);
                            let seen = c.e.mul(weight, cell);
                            c.e.add(sum, seen)
                        }
                    }
                };
                let next_cell = l.compute(|c, i| {
                    let old = c.e.load(old, i);
                    let input = argument(c, 0, Some(old), i);
                    let input = c.activate(0, input);
                    let forget = if self.input_forget {
                        let one = c.e.one(DType::F32);
                        c.e.sub(one, input)
                    } else {
                        let forget = argument(c, 2, Some(old), i);
                        c.activate(0, forget)
                    };
                    let new = argument(c, 3, None, i);
                    let new = c.activate(1, new);
                    let (kept, added) = (c.e.mul(forget, old), c.e.mul(input, new));
                    c.e.add(kept, added)
                });
                let next = l.compute(|c, i| {
                    let cell = c.e.load(next_cell, i);
                    let output = argument(c, 1, Some(cell), i);
                    let (output, seen) = (c.activate(0, output), c.activate_unclipped(2, cell));
                    c.e.mul(output, seen)
                });
                vec![(next_cell, NextCell), (next, NextState)]
            })
        })
    }
}

op! {
    Lstm as "LSTM" in "ai.onnx" since [1, 7, 14 brings "layout", 22 brings "bf16"];
    "X, W, R, B?, sequence_lens?, initial_h?, initial_c?, P?" => "Y?, Y_h?, Y_c?";
    summary: "long short-term memory over a sequence";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @lstm([[[1.0]], [[-1.0]]], [[[1.0], [0.5], [-1.0], [0.25]]], [[[0.5], [0.25], [1.0], [-0.5]]]) ~= [[[[0.11027535]]], [[[0.019883102]]]], [[[0.019883102]]], [[[0.051819727]]]
graph @lstm(%a: f32[2, 1, 1], %b: f32[1, 4, 1], %c: f32[1, 4, 1]) -> (f32[2, 1, 1, 1], f32[1, 1, 1], f32[1, 1, 1]) {
  %y, %z, %u = lstm %a, %b, %c {hidden_size = 1} : f32[2, 1, 1, 1], f32[1, 1, 1], f32[1, 1, 1]
  return %y, %z, %u
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn lstm_stops_at_the_sequence_length() {
        let x: Value = Tensor::from_slice(&[2, 1, 1], &[1.0f32, 1.0]).into();
        let w: Value = Tensor::from_slice(&[1, 4, 1], &[0.0f32; 4]).into();
        let lens: Value = Tensor::from_slice(&[1], &[1i32]).into();
        let state: Value = Tensor::from_slice(&[1, 1, 1], &[4.0f32]).into();
        let args = [Some(x), Some(w.clone()), Some(w), None, Some(lens), Some(state.clone()), Some(state)];
        let y = run("ai.onnx", "LSTM", attrs! {}, &args, 3).unwrap();
        assert_eq!(y[2].tensor().unwrap().floats().unwrap(), [2.0]);
        let h = f64::from((0.5 * 2f64.tanh()) as f32);
        assert_eq!(y[0].tensor().unwrap().floats().unwrap(), [h, 0.0]);
    }

    #[test]
    fn lstm_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let good = [f(&[1, 1, 2]), f(&[1, 12, 2]), f(&[1, 12, 3])];
        let bad = |a: crate::Attrs, i: usize, t: Type| {
            let mut types = good.clone();
            types[i] = t;
            violated("LSTM", a, &types)
        };
        assert_eq!(bad(attrs! {}, 0, good[0].clone()), None);
        assert_eq!(bad(attrs! {}, 1, Type::tensor(DType::F64, &[1, 12, 2])).as_deref(), Some("LSTM.C1"));
        assert_eq!(bad(attrs! {}, 0, f(&[1, 2])).as_deref(), Some("LSTM.C2"));
        assert_eq!(bad(attrs! { direction: "up" }, 0, good[0].clone()).as_deref(), Some("LSTM.C3"));
        assert_eq!(bad(attrs! {}, 0, f(&[1, 1, 3])).as_deref(), Some("LSTM.C4"));
        for names in [vec!["No".into()], vec!["Tanh".into(); 4]] {
            let a = crate::attr::Attrs::from([("activations".to_owned(), Attr::Strings(names))]);
            assert_eq!(bad(a, 0, good[0].clone()).as_deref(), Some("LSTM.C5"));
        }
    }
}
