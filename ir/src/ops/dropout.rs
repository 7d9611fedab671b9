//! `y = x mask / (1 - ratio)` in training, `mask` true with probability `1 - ratio`; else `y = x`, `mask` all true.
//!
//! - **C1** `x` is a float; `ratio` a float, by default 1/2; `training_mode` bool, by default false
//! - **C2** `ratio` and `training_mode` have one element
//!
//! `ratio` must lie in `[0, 1)` in training. ONNX `Dropout`: opset 1 and 6 (`is_test`, training unless set), 7
//! (inference only), 10 (`mask` is bool), 12 (operands), 13, 22 (types).

use super::common::*;
use super::pointwise::{FLOATS_AND_8, drop_hints};
use super::random::Rng;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::graph::Node;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Dropout`.
    pub struct Dropout {
        /// Seed; without it each run differs.
        seed: Option<i64>,
    }
}

impl Op for Dropout {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, FLOATS_AND_8)?;
        if cx.has(1) {
            cx.require_dtype("C1", 1, FLOATS_AND_8)?;
        }
        if cx.has(2) {
            cx.require_dtype("C1", 2, &[DType::Bool])?;
        }
        for i in (1..3).filter(|&i| cx.has(i)).collect::<Vec<_>>() {
            for d in cx.shape(i)? {
                cx.require_eq("C2", &d, &Dim::int(1))?;
            }
        }
        cx.output(dtype, cx.shape(0)?)?;
        cx.output(DType::Bool, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let training = cx.tensor_opt(2)?.map(Tensor::ints).transpose()?.is_some_and(|v| v[0] != 0);
        let ratio = cx.tensor_opt(1)?.map(Tensor::floats).transpose()?.map_or(0.5, |v| v[0]);
        let (y, mask) = if training {
            if !(0.0..1.0).contains(&ratio) {
                return Err(Error::invalid(format!("a dropout ratio of {ratio} is outside [0, 1)")));
            }
            let mut rng = Rng::seeded(cx.env, self.seed);
            let mask: Vec<bool> = (0..x.len()).map(|_| rng.uniform() >= ratio).collect();
            let y = x.floats()?.into_iter().zip(&mask).map(|(x, &keep)| if keep { x / (1.0 - ratio) } else { 0.0 });
            (Tensor::from_floats(x.dtype(), x.shape(), y), mask)
        } else {
            (x.clone(), vec![true; x.len()])
        };
        cx.push(y);
        cx.push(Tensor::from_bools(x.shape(), mask));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let training = match cx.constant(2) {
            None => cx.has(2),
            Some(t) => t.ints()?.iter().any(|&v| v != 0),
        };
        Ok(if training || cx.outputs.len() > 1 { Lowering::Host } else { Lowering::View })
    }

    fn facts(&self) -> Facts {
        Facts { pure: self.seed.is_some(), ..Facts::default() }
    }
}

/// Before opset 12 the ratio was an attribute and the mode fixed; before opset 10 the mask had the type of `x`.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    drop_hints(cx)?;
    if cx.version >= 12 {
        return Ok(());
    }
    let ratio = match cx.take("ratio") {
        None => 0.5,
        Some(Attr::Float(v)) => v,
        Some(other) => {
            return Err(Error::invalid(format!("attribute `ratio` must be a float, it is {}", other.kind())));
        }
    };
    let is_test = cx.take("is_test").is_some_and(|v| v != Attr::from(0i64));
    if cx.version < 7 && !is_test {
        let (ratio, training) = (cx.constant(Tensor::scalar(ratio)), cx.constant(Tensor::from_bools(&[], [true])));
        cx.set_input(1, ratio);
        cx.set_input(2, training);
    }
    let (Some(&Some(mask)), true) = (cx.outputs.get(1), cx.version < 10) else { return Ok(()) };
    let Some(dtype) = cx.ty(0).as_tensor().map(|t| t.dtype) else {
        return Err(Error::unsupported("a mask of an operand of unknown type"));
    };
    let (attrs, inputs) = (std::mem::take(&mut cx.attrs), cx.inputs.clone());
    let made = cx.add("Dropout", attrs, &inputs, 2)?;
    let cast = (super::cast::DEF.parse)(&attrs! { to: dtype })?;
    cx.graph.nodes.push(Node {
        op: cast,
        name: String::new(),
        inputs: vec![Some(made[1])],
        captures: Vec::new(),
        outputs: vec![Some(mask)],
    });
    cx.op_type = "Identity".into();
    cx.inputs = vec![Some(made[0])];
    cx.outputs.truncate(1);
    Ok(())
}

op! {
    Dropout in "ai.onnx" since [1, 6, 7, 10, 12, 13, 22 brings "bf16 f8"];
    "data, ratio?, training_mode?" => "output, mask?";
    summary: "elements set to 0 at random in training";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @dropout([1.0, 2.0]) == [1.0, 2.0], [true, true]
graph @dropout(%a: f32[2]) -> (f32[2], bool[2]) {
  %y, %z = dropout %a : f32[2], bool[2]
  return %y, %z
}
// run: @inference([1.0, 2.0]) == [1.0, 2.0]
graph @inference(%a: f32[2]) -> f32[2] {
  %y = dropout %a : f32[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn dropout_scales_what_it_keeps_in_training_only() {
        let x = Tensor::from_slice(&[100], &[1.0f32; 100]);
        assert_eq!(run1("Dropout", attrs! {}, std::slice::from_ref(&x)).unwrap(), x);
        let operands = [x, Tensor::scalar(0.75f32), Tensor::from_bools(&[], [true])].map(|t| Some(Value::from(t)));
        let y = run("ai.onnx", "Dropout", attrs! { seed: 1i64 }, &operands, 2).unwrap();
        let (y, mask) = (y[0].tensor().unwrap().floats().unwrap(), y[1].tensor().unwrap().ints().unwrap());
        assert!(y.iter().zip(&mask).all(|(y, m)| *y == 4.0 * *m as f64));
        assert!((10..45).contains(&mask.iter().sum::<i128>()));
    }

    #[test]
    fn dropout_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let f = DType::F32;
        assert_eq!(violated("Dropout", attrs! {}, &[t(DType::I32, &[1])]).as_deref(), Some("Dropout.C1"));
        assert_eq!(violated("Dropout", attrs! {}, &[t(f, &[1]), t(f, &[2])]).as_deref(), Some("Dropout.C2"));
    }
}
