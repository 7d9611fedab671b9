//! What the optimisers share: a rate, a count of updates, and groups of tensors (values, gradients, states) of one step.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::microsoft::int_product::require_one;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use crate::{DType, error};

/// Types of rates and tensors.
pub const RATES: &[DType] = &[DType::F32, DType::F64];

/// Checks rate, count and `groups` equal groups of tensors behind them, and says the types of the results: the tensors
/// of the first group, then those of the groups from 2 on.
///
/// Labels: C1 the rate, C2 the count, C3 the number of tensors, C4 their types and shapes.
pub fn step_rule(cx: &mut RuleCx<'_>, groups: usize) -> RuleResult {
    cx.require_dtype("C1", 0, RATES)?;
    cx.require_dtype("C2", 1, &[DType::I64])?;
    for i in 0..2 {
        require_one(cx, if i == 0 { "C1" } else { "C2" }, i)?;
    }
    let n = (cx.n_inputs() - 2) / groups;
    cx.require("C3", n >= 1 && cx.n_inputs() == 2 + n * groups, || {
        format!("{} tensors are no {groups} groups", cx.n_inputs() - 2)
    })?;
    let mut types = Vec::with_capacity(n);
    for k in 0..n {
        let dtype = cx.require_dtype("C4", 2 + k, RATES)?;
        let shape = cx.shape(2 + k)?;
        for i in (0..groups).map(|g| 2 + g * n + k) {
            let (d, s) = (cx.dtype(i)?, cx.shape(i)?);
            cx.require("C4", d == dtype && s.len() == shape.len(), || {
                format!("operand {i} has type {d} and rank {}, its value {dtype} and {}", s.len(), shape.len())
            })?;
            for (a, b) in s.iter().zip(&shape) {
                cx.require_eq("C4", a, b)?;
            }
        }
        types.push(Type::ranked(dtype, shape));
    }
    for _ in 1..groups {
        types.iter().try_for_each(|t| cx.output_type(t.clone()))?;
    }
    Ok(())
}

/// A step in the making.
pub struct Step<'a> {
    /// Where nodes go.
    pub b: &'a mut GraphBuilder,
    /// The rate, rank 0.
    pub rate: ValueId,
    /// The count of updates, `i64`, rank 0.
    pub count: ValueId,
}

impl Step<'_> {
    /// A rank-0 constant.
    pub fn number(&mut self, dtype: DType, v: f64) -> ValueId {
        self.b.constant(Tensor::from_floats(dtype, &[], [v]))
    }

    /// `x op y`.
    ///
    /// # Errors
    /// When the rule refuses the operands.
    pub fn op(&mut self, op: &str, x: ValueId, y: ValueId) -> Result<ValueId> {
        self.b.op(op, attrs! {}, &[x, y])
    }

    /// `factor * x`, the factor in the type of `x`.
    ///
    /// # Errors
    /// When the rule refuses the operand.
    pub fn scale(&mut self, factor: f64, x: ValueId) -> Result<ValueId> {
        let dtype = self.dtype(x)?;
        let factor = self.number(dtype, factor);
        self.op("Mul", factor, x)
    }

    /// `x` as another type.
    ///
    /// # Errors
    /// When the rule refuses the operand.
    pub fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId> {
        self.b.op("Cast", attrs! { to: to }, &[x])
    }

    /// Gradient with that of `coefficient / 2 * |x|²` added.
    ///
    /// # Errors
    /// When the rule refuses the operands.
    pub fn regularised(&mut self, coefficient: f32, x: ValueId, gradient: ValueId) -> Result<ValueId> {
        if coefficient == 0.0 {
            return Ok(gradient);
        }
        let pull = self.scale(coefficient.into(), x)?;
        self.op("Add", pull, gradient)
    }

    /// Element type of a tensor.
    ///
    /// # Errors
    /// When it is not known.
    pub fn dtype(&self, x: ValueId) -> Result<DType> {
        self.b.ty(x).as_tensor().map(|t| t.dtype).ok_or_else(|| error::Error::invalid("a tensor is wanted"))
    }
}

/// Builds a step: `update` gets the tensors of one group member in order and gives the new value and states; results are
/// sorted by group. None where an operand is left out.
///
/// # Errors
/// What `update` reports.
pub fn expand_step(
    b: &mut GraphBuilder,
    x: &[Option<ValueId>],
    groups: usize,
    mut update: impl FnMut(&mut Step<'_>, &[ValueId]) -> Result<Vec<ValueId>>,
) -> Result<Option<Vec<ValueId>>> {
    let Some(x) = x.iter().copied().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let [rate, count, tensors @ ..] = x.as_slice() else { return Ok(None) };
    let scalar = b.ints(&[]);
    let rate = b.op("Reshape", attrs! {}, &[*rate, scalar])?;
    let count = b.op("Reshape", attrs! {}, &[*count, scalar])?;
    let mut step = Step { b, rate, count };
    let n = tensors.len() / groups;
    let mut results = vec![Vec::with_capacity(n); groups - 1];
    for k in 0..n {
        let member: Vec<ValueId> = (0..groups).map(|g| tensors[g * n + k]).collect();
        for (group, v) in results.iter_mut().zip(update(&mut step, &member)?) {
            group.push(v);
        }
    }
    Ok(Some(results.concat()))
}

#[cfg(test)]
pub(super) mod testing {
    //! For the optimisers' tests.

    use super::*;
    use crate::Attrs;
    use crate::ops::common::testing::run;

    /// Runs one step on `f32` vectors of one element.
    pub(in super::super) fn step(op: &str, attrs: Attrs, rate: f32, count: i64, tensors: &[f32]) -> Result<Vec<f64>> {
        let groups = if op == "Adam" { 4 } else { 3 };
        let mut operands = vec![Some(Tensor::scalar(rate).into()), Some(Tensor::scalar(count).into())];
        operands.extend(tensors.iter().map(|&v| Some(Tensor::from_slice(&[1], &[v]).into())));
        let n = tensors.len() / groups * (groups - 1);
        let y = run("ai.onnx.preview.training", op, attrs, &operands, n)?;
        Ok(y.iter().map(|v| v.tensor().unwrap().floats().unwrap()[0]).collect())
    }

    /// Checks that C1 to C4 of the shared rule are named.
    pub(in super::super) fn constraints_are_named(op: &str, attrs: &Attrs) {
        let scalar = |v: f32| Value::from(Tensor::scalar(v));
        let (rate, count) = (scalar(0.1), Value::from(Tensor::scalar(1i64)));
        let x = || scalar(1.0);
        let label = |operands: Vec<Value>| {
            let operands: Vec<_> = operands.into_iter().map(Some).collect();
            let e = run("ai.onnx.preview.training", op, attrs.clone(), &operands, 1).unwrap_err();
            e.label().map(str::to_owned)
        };
        let name = |n| Some(format!("{op}.C{n}"));
        let groups = if op == "Adam" { 4 } else { 3 };
        let all = |first: Value| [vec![first], vec![x(); groups - 1]].concat();
        assert_eq!(label([vec![count.clone(), count.clone()], all(x())].concat()), name(1));
        assert_eq!(label([vec![rate.clone(), rate.clone()], all(x())].concat()), name(2));
        assert_eq!(label(vec![rate.clone(), count.clone(), x(), x()]), name(3));
        let wide = Value::from(Tensor::from_slice(&[2], &[1.0f32, 2.0]));
        assert_eq!(label([vec![rate, count], all(wide)].concat()), name(4));
    }
}
