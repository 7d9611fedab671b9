//! `y = (x - mean) / sqrt(var + epsilon) * scale + bias`, by channel.
//!
//! `x: T[n, c, …]`; `scale`, `bias`, `mean`, `var`: `[c]`. With `training_mode` mean and variance (population) are taken
//! over all axes but the channel's, and the running ones are given as `running = running * momentum + now * (1 -
//! momentum)`.
//!
//! - **C1** all operands are floats; scale and bias have one type, mean and variance have one
//! - **C2** `x` has rank 1 or more (rank 1: one channel), the others rank 1
//! - **C3** the others have one element a channel
//!
//! ONNX `BatchNormalization`: opset 1, 6 (`is_test`, `consumed_inputs`), 7 (`spatial`), 9, 14 (`training_mode`), 15.
//! `spatial = 0` is rewritten over flattened activations. Up to opset 13 more than one result meant training.

use super::common::*;
use super::lanes::{lanes, moments};
use super::lowering::{BinOp, ComputeBuilder, ExprId, Loops, TensorId};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `BatchNormalization`.
    pub struct BatchNormalization {
        /// Added to the variance.
        epsilon: f32 = 1e-5f32,
        /// Weight of the old running values.
        momentum: f32 = 0.9f32,
        /// Whether mean and variance are taken from `x`.
        training_mode: bool = false,
    }
}

impl Op for BatchNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        for i in 0..5 {
            cx.require_dtype("C1", i, sets::FLOATS)?;
        }
        cx.same_dtype("C1", [1, 2])?;
        let stats = cx.same_dtype("C1", [3, 4])?;
        let dtype = cx.dtype(0)?;
        let x = cx.shape(0)?;
        cx.require("C2", !x.is_empty(), || "x is a scalar".into())?;
        let c = x.get(1).cloned().unwrap_or(Dim::ONE);
        for i in 1..5 {
            let s = cx.shape(i)?;
            cx.require("C2", s.len() == 1, || format!("operand {i} has rank {}", s.len()))?;
            cx.require_eq("C3", &s[0], &c)?;
        }
        cx.output(dtype, x)?;
        if self.training_mode {
            cx.output(stats, vec![c.clone()])?;
            cx.output(stats, vec![c])?;
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let param = |i: usize| cx.tensor(i)?.floats();
        let (scale, bias, mut mean, mut var) = (param(1)?, param(2)?, param(3)?, param(4)?);
        let axes: Vec<usize> = (0..x.rank()).filter(|&a| a != 1).collect();
        let (channels, cells) = lanes(x.shape(), &axes);
        let mut v = x.floats()?;
        let (mut running_mean, mut running_var) = (mean.clone(), var.clone());
        if self.training_mode {
            let old = f64::from(self.momentum);
            for (c, base) in channels.iter().enumerate() {
                (mean[c], var[c]) = moments(x.dtype(), &cells.iter().map(|o| v[base + o]).collect::<Vec<_>>());
                running_mean[c] = running_mean[c] * old + mean[c] * (1.0 - old);
                running_var[c] = running_var[c] * old + var[c] * (1.0 - old);
            }
        }
        for (c, base) in channels.iter().enumerate() {
            let factor = scale[c] / (var[c] + f64::from(self.epsilon)).sqrt();
            for o in &cells {
                v[base + o] = (v[base + o] - mean[c]) * factor + bias[c];
            }
        }
        let stats = cx.tensor(3)?;
        cx.push(Tensor::from_floats(x.dtype(), x.shape(), v));
        if self.training_mode {
            cx.push(Tensor::from_floats(stats.dtype(), stats.shape(), running_mean));
            cx.push(Tensor::from_floats(stats.dtype(), stats.shape(), running_var));
        }
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if self.training_mode || cx.outputs.len() != 1 || cx.shape(0).len() < 2 {
            return Ok(Lowering::Host);
        }
        let dtype = cx.outputs[0].0;
        let epsilon = f64::from(self.epsilon);
        let mut l = Loops::new(cx);
        let (x, scale, bias, mean, var) = (l.x(0), l.x(1), l.x(2), l.x(3), l.x(4));
        let channels = cx.shape(1).to_vec();
        let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let factor = l.c.compute(wide, &channels, |c, i| {
            let v = c.load(var, i);
            let v = c.cast(v, wide);
            let v = c.bin_const(BinOp::Add, v, epsilon);
            let v = c.sqrt(v);
            let s = c.load(scale, i);
            let s = c.cast(s, wide);
            c.div(s, v)
        });
        l.result(|c, i| {
            let channel = [i[1]];
            let load = |c: &mut ComputeBuilder, t: TensorId, i: &[ExprId]| {
                let v = c.load(t, i);
                c.cast(v, wide)
            };
            let (v, m) = (load(c, x, i), load(c, mean, &channel));
            let d = c.sub(v, m);
            let (f, b) = (load(c, factor, &channel), load(c, bias, &channel));
            let y = c.mul(d, f);
            let y = c.add(y, b);
            c.cast(y, dtype)
        })
    }
}

fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version >= 14 {
        return Ok(());
    }
    cx.take("is_test");
    cx.take("consumed_inputs");
    let spatial = cx.take("spatial").is_none_or(|a| a == Attr::from(1i64));
    if cx.outputs.iter().skip(1).any(Option::is_some) {
        if cx.outputs.iter().skip(3).any(Option::is_some) {
            return Err(Error::unsupported("saved mean and variance of BatchNormalization before opset 14"));
        }
        cx.attrs.insert("training_mode".into(), Attr::from(true));
    }
    cx.outputs.truncate(3);
    if !spatial {
        if cx.outputs.len() > 1 {
            return Err(Error::unsupported("training of BatchNormalization with `spatial` = 0"));
        }
        let x = cx.inputs.first().copied().flatten();
        let flat = cx.add("Flatten", attrs! { axis: 1i64 }, &[x], 1)?[0];
        let all = cx.constant(Tensor::from_slice(&[1], &[-1i64]));
        let mut inputs = vec![Some(flat)];
        for v in cx.inputs.clone().into_iter().skip(1) {
            inputs.push(Some(cx.add("Reshape", attrs! {}, &[v, Some(all)], 1)?[0]));
        }
        let attrs = cx.attrs.clone();
        let y = cx.add("BatchNormalization", attrs, &inputs, 1)?[0];
        let shape = cx.add("Shape", attrs! {}, &[x], 1)?[0];
        cx.op_type = "Reshape".into();
        cx.attrs = attrs! { allowzero: true };
        cx.inputs = vec![Some(y), Some(shape)];
    }
    Ok(())
}

op! {
    BatchNormalization in "ai.onnx" since [1, 6, 7, 9, 14, 15];
    "X, scale, B, input_mean, input_var" => "Y, running_mean?, running_var?";
    summary: "normalisation by channel with running or batch statistics";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @batch_normalization([[1.0, 2.0], [3.0, 4.0]], [2.0, 1.0], [0.0, 1.0], [1.0, 2.0], [1.0, 4.0]) == [[0.0, 1.0], [4.0, 2.0]]
graph @batch_normalization(%a: f32[2, 2], %b: f32[2], %c: f32[2], %d: f32[2], %e: f32[2]) -> f32[2, 2] {
  %y = batch_normalization %a, %b, %c, %d, %e {epsilon = 0.0} : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn batch_normalization_trains_and_infers() {
        let x = Tensor::from_slice(&[2, 1], &[1.0f32, 3.0]);
        let p = |v: f32| Some(Value::from(Tensor::from_slice(&[1], &[v])));
        let args = [Some(x.into()), p(2.0), p(1.0), p(0.0), p(4.0)];
        let y = run("ai.onnx", "BatchNormalization", attrs! { epsilon: 0.0f32 }, &args, 1).unwrap();
        assert_eq!(y[0].tensor().unwrap().floats().unwrap(), [2.0, 4.0]);
        let a = attrs! { epsilon: 0.0f32, training_mode: true, momentum: 0.5f32 };
        let y = run("ai.onnx", "BatchNormalization", a, &args, 3).unwrap();
        assert_eq!(y[0].tensor().unwrap().floats().unwrap(), [-1.0, 3.0]);
        assert_eq!(y[1].tensor().unwrap().floats().unwrap(), [1.0]);
        assert_eq!(y[2].tensor().unwrap().floats().unwrap(), [2.5]);
    }

    #[test]
    fn batch_normalization_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad =
            |x: Type, p: Type| violated("BatchNormalization", attrs! {}, &[x, p.clone(), p.clone(), p.clone(), p]);
        let name = |n| format!("BatchNormalization.C{n}");
        assert_eq!(bad(Type::tensor(DType::I32, &[1, 2]), f(&[2])), Some(name(1)));
        assert_eq!(bad(f(&[1, 2]), f(&[2, 1])), Some(name(2)));
        assert_eq!(bad(f(&[1, 2]), f(&[3])), Some(name(3)));
    }
}
