//! A body run again and again with values carried from one iteration to the next.
//!
//! `Loop(M?, cond?, v_1, …, v_N)`, body `(i: i64, cond: bool, v_1, …, v_N) -> (cond, v_1, …, v_N, s_1, …, s_K)`. Runs while
//! `i < M` (no `M`: without end) and `cond` holds (no `cond`: always, and the body's is ignored). Results: the last
//! `v`, then each `s` of all iterations stacked along a new first axis.
//!
//! - **C1** `M` is one `i64`, `cond` one `bool`
//! - **C2** the body takes `2 + N` arguments and gives `1 + N + K` results, the node `N + K`
//! - **C3** a carried value keeps its kind and element type; its extents may change
//! - **C4** the body's condition is `bool`
//! - **C5** each `s` is a tensor (of one shape in all iterations)
//!
//! ONNX `Loop`: opset 1, 11, 13 (sequences), 16 (optionals), 19, 21, 23, 24, 25 (types).

use super::common::*;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Loop`.
    pub struct Loop {
        /// What one iteration computes.
        body: Arc<Graph>,
    }
}

/// Types that `n` carried values keep through any number of iterations: the least that cover the first values and
/// what the body makes of them. `args` gives the body's arguments for carried types; `skip` results stand before the
/// carried ones. Returns the carried types and the facts of all the body's results for them.
pub(super) fn carried_types(
    cx: &mut RuleCx<'_>,
    label: &'static str,
    body: &Graph,
    mut types: Vec<Type>,
    skip: usize,
    args: &dyn Fn(&[Type]) -> Vec<Fact>,
) -> RuleResult<(Vec<Type>, Vec<Fact>)> {
    let mut varying: Vec<Dim> = Vec::new();
    loop {
        let facts = cx.infer_body(body, &args(&types))?;
        let mut changed = false;
        for (k, ty) in types.iter_mut().enumerate() {
            let made = &facts[skip + k].ty;
            if made == ty {
                continue;
            }
            let wider = cover(ty, made, &mut varying, &mut || cx.fresh());
            cx.require(label, wider.is_some(), || format!("carried value {k} is {ty} and becomes {made}"))?;
            let wider = wider.unwrap_or_default();
            changed |= wider != *ty;
            *ty = wider;
        }
        // Each round gives up an extent or a rank of some value for good, so there is a last one.
        if !changed {
            return Ok((types, facts));
        }
    }
}

/// As [`join`], except that a symbol among `varying` (found to vary in an earlier round; new ones are added) stands for
/// any extent, and what the body leaves unknown keeps what is sure: the element type.
fn cover(old: &Type, new: &Type, varying: &mut Vec<Dim>, fresh: &mut dyn FnMut() -> Dim) -> Option<Type> {
    Some(match (old, new) {
        (Type::Tensor(x), Type::Unknown) => Type::Tensor(TensorType { dtype: x.dtype, shape: Shape::Unranked }),
        (Type::Tensor(x), Type::Tensor(y)) if x.dtype == y.dtype => match (x.shape.dims(), y.shape.dims()) {
            (Some(p), Some(q)) if p.len() == q.len() => {
                let one = |(p, q): (&Dim, &Dim)| {
                    if p == q || varying.contains(p) {
                        return p.clone();
                    }
                    varying.push(fresh());
                    varying[varying.len() - 1].clone()
                };
                Type::ranked(x.dtype, p.iter().zip(q).map(one).collect())
            }
            _ => Type::Tensor(TensorType { dtype: x.dtype, shape: Shape::Unranked }),
        },
        (Type::Sequence(_), Type::Unknown) | (Type::Optional(_), Type::Unknown) => old.clone(),
        (Type::Sequence(x), Type::Sequence(y)) if **x != Type::Unknown => {
            Type::Sequence(Box::new(cover(x, y, varying, fresh)?))
        }
        (Type::Optional(x), Type::Optional(y)) if **x != Type::Unknown => {
            Type::Optional(Box::new(cover(x, y, varying, fresh)?))
        }
        // An optional may become the value that it held; what it is is then known only at run time.
        (Type::Optional(x), y) if !matches!(y, Type::Optional(_)) => join(x, y, fresh).map(|_| Type::Unknown)?,
        (old, new) => join(old, new, fresh)?,
    })
}

/// Values of all iterations along a new axis.
///
/// # Errors
/// When they differ in element type or shape, or the result passes the limit.
pub(super) fn stack(cx: &EvalCx<'_>, items: &[Value], axis: i64, k: usize, body: &Graph, at: usize) -> Result<Tensor> {
    let ty = match cx.out_type(k) {
        Type::Unknown => body.ty(body.outputs[at]),
        ty => ty,
    };
    let Some(first) = items.first() else {
        // No iteration: what the rule knows of the shape, extents that nobody chose being 0.
        let Type::Tensor(t) = ty else { return Err(Error::invalid("the type of a result of no iteration is unknown")) };
        let dims = t.shape.dims().unwrap_or(&[]);
        let mut shape: Vec<usize> = dims.iter().map(|d| d.as_int().unwrap_or(0).max(0) as usize).collect();
        if shape.is_empty() {
            shape.push(0);
        }
        return Tensor::zeros(t.dtype, &shape);
    };
    let first = first.tensor()?;
    let rank = first.rank() + 1;
    let axis = normal_axis(axis, rank);
    if axis >= rank {
        return Err(Error::invalid(format!("axis {axis} for a result of rank {rank}")));
    }
    let mut shape = first.shape().to_vec();
    shape.insert(axis, items.len());
    check_size(cx, first.dtype(), &shape)?;
    let (outer, _, inner) = around(&shape, axis);
    let mut y = Tensor::zeros(first.dtype(), &shape)?;
    let mut write = TensorWriter::new(&mut y);
    for (i, item) in items.iter().enumerate() {
        let item = item.tensor()?;
        if item.shape() != first.shape() || item.dtype() != first.dtype() {
            return Err(Error::invalid(format!("iteration {i} gives {item:?}, the first one {:?}", first.shape())));
        }
        for o in 0..outer {
            write.copy_run((o * items.len() + i) * inner, item, o * inner, inner)?;
        }
    }
    Ok(y)
}

/// What a value takes besides its elements, about.
const VALUE_BYTES: usize = 256;

impl Loop {
    fn n_carried(&self, n_inputs: usize) -> usize {
        n_inputs.saturating_sub(2)
    }
}

impl Op for Loop {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        for (i, dtype) in [(0, DType::I64), (1, DType::Bool)] {
            if cx.has(i) {
                cx.require_dtype("C1", i, &[dtype])?;
                require_one(cx, "C1", i)?;
            }
        }
        let n = self.n_carried(cx.n_inputs());
        let (takes, gives) = (self.body.inputs.len(), self.body.outputs.len());
        cx.require("C2", takes == n + 2 && gives > n && cx.n_outputs() < gives, || {
            format!("{n} values are carried, the body takes {takes} arguments and gives {gives} results")
        })?;
        let first = (2..2 + n).map(|i| Ok(cx.ty(i)?.clone())).collect::<RuleResult<Vec<_>>>()?;
        let args = |types: &[Type]| -> Vec<Fact> {
            // While the body runs its condition holds, whether it was given or not.
            let holds = Fact::constant(Tensor::from_bools(&[], [true]));
            let i = Fact::of(Type::tensor(DType::I64, &[]));
            [i, holds].into_iter().chain(types.iter().cloned().map(Fact::of)).collect()
        };
        let (types, facts) = carried_types(cx, "C3", &self.body, first, 1, &args)?;
        if let Type::Tensor(t) = &facts[0].ty {
            cx.require("C4", t.dtype == DType::Bool, || format!("the body's condition is {}", t.dtype))?;
        }
        let is_true = |f: &crate::rule::Content| match f {
            crate::rule::Content::Tensor(t) => t.bools().is_ok_and(|b| b == [true]),
            crate::rule::Content::Dims(_) => false,
        };
        let starts = !cx.has(1) || cx.fact(1)?.content.as_ref().is_some_and(is_true);
        let goes_on = !cx.has(1) || facts[0].content.as_ref().is_some_and(is_true);
        let trips = if starts && goes_on && cx.has(0) { cx.values(0)? } else { None };
        let trips = match trips {
            Some(m) => Dim::max(&m[0], &Dim::int(0)),
            None => cx.fresh(),
        };
        for ty in types {
            cx.output_type(ty)?;
        }
        for fact in &facts[1 + n..] {
            match &fact.ty {
                Type::Tensor(TensorType { dtype, shape: Shape::Ranked(dims) }) => {
                    let mut dims = dims.clone();
                    dims.insert(0, trips.clone());
                    cx.output(*dtype, dims)?;
                }
                Type::Tensor(t) => cx.output_type(Type::Tensor(t.clone()))?,
                Type::Unknown => cx.output_type(Type::Unknown)?,
                other => cx.require("C5", false, || format!("a stacked result is {other}"))?,
            }
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let trips = cx.tensor_opt(0)?.map(one_int).transpose()?;
        let one_bool = |t: &Tensor| t.bools()?.first().copied().ok_or_else(|| Error::invalid("an empty condition"));
        let given = cx.has(1);
        let mut goes_on = cx.tensor_opt(1)?.map(one_bool).transpose()?.unwrap_or(true);
        let n = self.n_carried(cx.n_inputs());
        let mut carried = (2..2 + n).map(|i| cx.value(i).cloned()).collect::<Result<Vec<_>>>()?;
        let mut stacked: Vec<Vec<Value>> = vec![Vec::new(); self.body.outputs.len().saturating_sub(1 + n)];
        let mut i = 0i64;
        let (mut bytes, mut taken) = (0usize, 0usize);
        while goes_on && trips.is_none_or(|m| i < m) {
            cx.env.step()?;
            let mut args = vec![Tensor::scalar(i).into(), Tensor::from_bools(&[], [true]).into()];
            args.append(&mut carried);
            let mut results = cx.run(&self.body, args)?.into_iter();
            let cond = results.next().ok_or_else(|| Error::bug("a loop body without results"))?;
            goes_on = !given || one_bool(cond.tensor()?)?;
            carried = results.by_ref().take(n).collect();
            for (all, v) in stacked.iter_mut().zip(results) {
                bytes = bytes.saturating_add(v.size_bytes());
                taken = taken.saturating_add(v.size_bytes() + VALUE_BYTES);
                all.push(v);
            }
            if bytes > cx.env.limits.value_bytes {
                return Err(Error::limit(format!("stacked results of {bytes} bytes")));
            }
            cx.env.check_memory(taken)?;
            i += 1;
        }
        for v in carried {
            cx.push(v);
        }
        for (k, items) in stacked.iter().enumerate() {
            if n + k < cx.n_outputs() {
                let y = stack(cx, items, 0, n + k, &self.body, 1 + n + k)?;
                cx.push(y);
            }
        }
        Ok(())
    }

    fn bodies(&self) -> Vec<&Arc<Graph>> {
        vec![&self.body]
    }
}

op! {
    Loop in "ai.onnx" since [1, 11, 13, 16 brings "optional bf16", 19 brings "f8", 21 brings "i4 u4",
        23 brings "f4e2m1", 24 brings "f8e8m0", 25 brings "i2 u2"];
    "M?, cond?, v_initial*" => "v_final_and_scan_outputs*";
    summary: "a body run again and again, with carried values";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @doubled(3, [1.0]) == [8.0], f32[3, 1] [[1.0], [2.0], [4.0]]
graph @doubled(%n: i64[], %x: f32[1]) -> (f32[1], f32[m, 1]) {
  %0, %1 = loop %n, _, %x {
    body = graph @body(%i: i64[], %go: bool[], %x: f32[1]) -> (bool[], f32[1], f32[1]) {
      %0 = add %x, %x : f32[1]
      %1 = identity %x : f32[1]
      return %go, %0, %1
    }
  }
  return %0, %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    /// Adds the iteration's number to the carried value, and gives the value before.
    fn sums(carried: Type, grows: bool) -> crate::Attrs {
        let mut b = GraphBuilder::new("body");
        let i = b.input("i", Type::tensor(DType::I64, &[]));
        let cond = b.input("cond", Type::tensor(DType::Bool, &[]));
        let v = b.input("v", carried);
        let cond = b.op("Identity", attrs! {}, &[cond]).unwrap();
        let next = if grows {
            b.op("Concat", attrs! { axis: 0i64 }, &[v, v]).unwrap()
        } else {
            b.op("Add", attrs! {}, &[v, i]).unwrap()
        };
        [("body".to_owned(), Attr::Graph(Arc::new(b.finish(&[cond, next, v]))))].into()
    }

    #[test]
    fn loop_carries_and_stacks() {
        let inputs = [Some(Tensor::scalar(3i64).into()), None, Some(Tensor::scalar(5i64).into())];
        let y = run("ai.onnx", "Loop", sums(Type::tensor(DType::I64, &[]), false), &inputs, 2).unwrap();
        assert_eq!(y[0], Tensor::scalar(8i64).into());
        assert_eq!(y[1], Tensor::from_slice(&[3], &[5i64, 5, 6]).into());
    }

    #[test]
    fn loop_of_no_iteration_gives_empty_stacks() {
        let inputs = [Some(Tensor::scalar(0i64).into()), None, Some(Tensor::scalar(5i64).into())];
        let y = run("ai.onnx", "Loop", sums(Type::tensor(DType::I64, &[]), false), &inputs, 2).unwrap();
        assert_eq!(y[1].tensor().unwrap().shape(), [0]);
    }

    #[test]
    fn loop_types_cover_growth() {
        let m = Fact::of(Type::tensor(DType::I64, &[]));
        let cond = Fact::of(Type::tensor(DType::Bool, &[]));
        let v = Fact::of(Type::tensor(DType::F32, &[2]));
        let y = infer1("Loop", sums(Type::tensor(DType::F32, &[2]), true), &[m, cond, v]).unwrap();
        assert!(y.ty.as_tensor().unwrap().shape.dims().unwrap()[0].as_sym().is_some(), "{}", y.ty);
    }

    #[test]
    fn loop_without_end_meets_the_limit_of_steps() {
        use crate::eval::{Env, Limits, Reference, eval_call};
        let op = (DEF.parse)(&sums(Type::tensor(DType::I64, &[]), false)).unwrap();
        let env = Env::new(Limits { loop_steps: 10, ..Limits::default() }, 0);
        let v = Value::from(Tensor::scalar(0i64));
        let e = eval_call(&*op, &[None, None, Some(&v)], &[], 1, &env, &Reference).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Limit);
    }

    #[test]
    fn loop_constraints_are_named() {
        let body = || sums(Type::tensor(DType::I64, &[]), false);
        let t = |d| Type::tensor(d, &[]);
        let label = |types: &[Type]| violated("Loop", body(), types);
        assert_eq!(label(&[t(DType::I32), t(DType::Bool), t(DType::I64)]).as_deref(), Some("Loop.C1"));
        assert_eq!(label(&[t(DType::I64), t(DType::Bool)]).as_deref(), Some("Loop.C2"));
    }
}
