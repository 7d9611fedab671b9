//! Calls on tensors that have their channels innermost: `[n, spatial…, c]` in memory where ONNX has `[n, c, spatial…]`.
//!
//! A layout is not an attribute of values here: a tensor in another layout is a tensor with its axes in another order, and
//! [`ChannelsLast`] is an operator like any other, which calls an ONNX operator between two changes of the order. So the
//! graph stays typed, can be evaluated by reference and compared with its plain form value by value. It has no ONNX form and
//! no text that is read back: the pass `layout` makes it when a graph is specialised.

use crate::attr::Attrs;
use crate::error::Result;
use crate::eval::{EvalCx, eval_nested};
use crate::infer::infer_call;
use crate::loops::reorder::AxisOrder;
use crate::lower::{Computation, LowerCx, Lowering, Operand};
use crate::op::{Facts, Op, OpDef};
use crate::rule::{Fact, RuleCx, RuleResult, Stop};
use crate::tensor::{Tensor, strides};
use crate::types::Type;
use crate::value::Value;
use std::sync::Arc;

/// `[n, c, spatial…]` to `[n, spatial…, c]`.
pub fn order(rank: usize) -> AxisOrder {
    match rank {
        0..=2 => (0..rank).collect(),
        _ => std::iter::once(0).chain(2..rank).chain([1]).collect(),
    }
}

/// `[n, spatial…, c]` to `[n, c, spatial…]`.
pub fn order_back(rank: usize) -> AxisOrder {
    match rank {
        0..=2 => (0..rank).collect(),
        _ => [0, rank - 1].into_iter().chain(1..rank - 1).collect(),
    }
}

fn pick<T: Clone>(of: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&axis| of[axis].clone()).collect()
}

/// The tensor with its axes in another order.
///
/// # Errors
/// When memory for it is not to be had.
pub fn reordered(t: &Tensor, order: &[usize]) -> Result<Tensor> {
    let shape = pick(t.shape(), order);
    let steps: Vec<isize> = pick(&strides(t.shape()), order).into_iter().map(|s| s as isize).collect();
    t.take(&shape, crate::ops::move_common::affine_positions(&shape, &steps, 0))
}

/// The type of the tensor with its axes in another order; unknown where the rank is.
pub fn reordered_type(ty: &Type, order: impl Fn(usize) -> AxisOrder) -> Option<Type> {
    let t = ty.as_tensor()?;
    let dims = t.shape.dims()?;
    Some(Type::ranked(t.dtype, pick(dims, &order(dims.len()))))
}

/// A call of `op` with some operands and results in `[n, spatial…, c]`.
#[derive(Clone, Debug)]
pub struct ChannelsLast {
    /// The operator, which knows plain tensors.
    pub op: Arc<dyn Op>,
    /// Which operands have their channels innermost.
    pub operands: Vec<bool>,
    /// Which results.
    pub results: Vec<bool>,
}

impl ChannelsLast {
    fn operand(&self, i: usize) -> bool {
        self.operands.get(i).copied().unwrap_or(false)
    }

    fn result(&self, k: usize) -> bool {
        self.results.get(k).copied().unwrap_or(false)
    }

    /// The call that `op` sees.
    fn plain<'a>(&self, cx: &LowerCx<'a>) -> LowerCx<'a> {
        let back = |shape: &[usize]| pick(shape, &order_back(shape.len()));
        let mut plain = cx.clone();
        for (i, operand) in plain.inputs.iter_mut().enumerate().filter(|(i, _)| self.operand(*i)) {
            if let Some((_, shape)) = operand {
                *shape = back(shape);
            }
            // Its elements lie otherwise.
            plain.constants[i] = None;
        }
        for (_, (_, shape)) in plain.outputs.iter_mut().enumerate().filter(|(k, _)| self.result(*k)) {
            *shape = back(shape);
        }
        plain
    }
}

impl Op for ChannelsLast {
    fn def(&self) -> &'static OpDef {
        &DEF
    }

    fn attrs(&self) -> Attrs {
        let mut attrs = self.op.attrs();
        let flags = |v: &[bool]| v.iter().map(|&f| i64::from(f)).collect::<Vec<i64>>();
        attrs.insert("op".into(), self.op.def().name.into());
        attrs.insert("operands_last".into(), flags(&self.operands).into());
        attrs.insert("results_last".into(), flags(&self.results).into());
        attrs
    }

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let mut facts = Vec::new();
        for i in 0..cx.n_inputs() {
            facts.push(match cx.has(i) {
                false => None,
                true if self.operand(i) => {
                    let plain = reordered_type(cx.ty(i)?, order_back);
                    Some(Fact::of(plain.ok_or(Stop::Deferred("the rank of an operand"))?))
                }
                true => Some(cx.fact(i)?.clone()),
            });
        }
        let inferred = infer_call(&*self.op, &facts, cx.captures(), cx.n_outputs(), &mut 0)?;
        if let Some(what) = inferred.deferred {
            return Err(Stop::Deferred(what));
        }
        for (k, fact) in inferred.outputs.into_iter().enumerate() {
            match self.result(k) {
                true => {
                    let ty = reordered_type(&fact.ty, order);
                    cx.output_type(ty.ok_or(Stop::Deferred("the rank of a result"))?)?;
                }
                false => cx.output_fact(fact)?,
            }
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let mut operands: Vec<Option<Value>> = Vec::new();
        for i in 0..cx.n_inputs() {
            operands.push(match cx.has(i) {
                false => None,
                true if self.operand(i) => {
                    let t = cx.tensor(i)?;
                    Some(reordered(t, &order_back(t.rank()))?.into())
                }
                true => Some(cx.value(i)?.clone()),
            });
        }
        let refs: Vec<Option<&Value>> = operands.iter().map(Option::as_ref).collect();
        for (k, value) in eval_nested(cx, &*self.op, &refs)?.into_iter().enumerate() {
            match self.result(k) {
                true => {
                    let t = value.tensor()?;
                    cx.push(reordered(t, &order(t.rank()))?);
                }
                false => cx.push(value),
            }
        }
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let plain = self.plain(cx);
        Ok(match self.op.lower(&plain)? {
            Lowering::View if self.operand(0) == self.result(0) && plain.shape(0) == plain.outputs[0].1 => {
                Lowering::View
            }
            Lowering::Compute(c) => {
                let of = |o: &Operand| match *o {
                    Operand::Input(i) if self.operand(i) => Some(order(plain.shape(i).len())),
                    _ => None,
                };
                let inputs: Vec<Option<AxisOrder>> = c.operands.iter().map(of).collect();
                let of = |(k, (_, shape)): (usize, &(_, Vec<usize>))| self.result(k).then(|| order(shape.len()));
                let outputs: Vec<Option<AxisOrder>> = plain.outputs.iter().enumerate().map(of).collect();
                match c.compute.reordered(&inputs, &outputs) {
                    Some(compute) => Lowering::Compute(Computation { compute, ..c }),
                    None => Lowering::Host,
                }
            }
            Lowering::Conv(c) if !c.transposed && self.result(0) && !self.operand(1) => {
                Lowering::ConvLast { image_last: self.operand(0), conv: c }
            }
            _ => Lowering::Host,
        })
    }

    fn facts(&self) -> Facts {
        Facts { pointwise: false, view: false, composite: false, in_place: &[], ..self.op.facts() }
    }
}

static DEF: OpDef = OpDef {
    name: "ChannelsLast",
    domain: "egret",
    since: &[1],
    brings: &[],
    deprecated: None,
    inputs: "operands?*",
    outputs: "results*",
    summary: "an operator on tensors that have their channels innermost",
    module: module_path!(),
    attrs: &[],
    parse: |_| Err(crate::error::Error::unsupported("egret::ChannelsLast is made by the compiler, not read")),
    upgrade: None,
    examples: "",
};
