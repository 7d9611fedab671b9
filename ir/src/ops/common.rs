//! What many operators share: pointwise rules and evaluation, and helpers for their tests.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

pub use crate::attr::Attr;
pub use crate::builder::GraphBuilder;
pub use crate::dim::{Cond, Dim};
pub use crate::dtype::Class;
pub use crate::error::ErrorKind;
pub use crate::graph::{Graph, ValueId};
pub use crate::lower::{LowerCx, Lowering};
pub use crate::op::{Accuracy, Facts, Op, Upgrade};
pub use crate::rule::{Fact, Stop, sets};
pub use crate::tensor::{TensorWriter, indices, len_elems, position};
pub use crate::types::{Shape, TensorType, Type};
pub use crate::value::{Key, Value};
pub use crate::{attributes, attrs, op, op_basics};
pub use std::sync::Arc;

/// Rule of `y = f(x)`, element by element, one element type.
pub fn unary_rule(cx: &mut RuleCx<'_>, allowed: &[DType]) -> RuleResult {
    let dtype = cx.require_dtype("C1", 0, allowed)?;
    cx.output(dtype, cx.shape(0)?)
}

/// Rule of `y = f(a, b)` with broadcasting; C1 the operands' types agree and are allowed, C2 the shapes broadcast.
pub fn binary_rule(cx: &mut RuleCx<'_>, allowed: &[DType], result: Option<DType>) -> RuleResult {
    cx.require_dtype("C1", 0, allowed)?;
    let dtype = cx.same_dtype("C1", [0, 1])?;
    let shape = cx.broadcast_inputs("C2", &[0, 1])?;
    cx.output(result.unwrap_or(dtype), shape)
}

/// Evaluates `y = f(x)`: floats in `f64` and rounded once, integers wrapped.
pub fn eval_unary(cx: &mut EvalCx<'_>, float: impl Fn(f64) -> f64, int: impl Fn(i128) -> i128) -> Result<()> {
    let x = cx.tensor(0)?;
    let y = if x.dtype().is_float() {
        Tensor::from_floats(x.dtype(), x.shape(), x.floats()?.into_iter().map(float))
    } else {
        Tensor::from_ints(x.dtype(), x.shape(), x.ints()?.into_iter().map(int))
    };
    cx.push(y);
    Ok(())
}

/// For each element of `to`, the linear position in `from`, which broadcasts to it.
pub fn broadcast_positions(from: &[usize], to: &[usize]) -> Vec<usize> {
    let n = to.iter().product();
    if from == to {
        return (0..n).collect();
    }
    let mut out = Vec::with_capacity(n);
    if n == 0 {
        return out;
    }
    out.push(0);
    // Axis by axis from the innermost: the positions of the axes inside, once for each step of this one.
    let mut stride = 1;
    for (axis, &len) in to.iter().rev().enumerate() {
        let from_len = from.len().checked_sub(axis + 1).map_or(1, |i| from[i]);
        let step = if from_len == 1 { 0 } else { stride };
        let inner = out.len();
        for k in 1..len {
            let at = out.len();
            out.extend_from_within(..inner);
            if step != 0 {
                out[at..].iter_mut().for_each(|p| *p += k * step);
            }
        }
        stride *= from_len;
    }
    out
}

/// Evaluates `y = f(a, b)` with broadcasting: floats in `f64` and rounded once, integers wrapped.
pub fn eval_binary(
    cx: &mut EvalCx<'_>,
    float: impl Fn(f64, f64) -> f64,
    int: impl Fn(i128, i128) -> Result<i128>,
) -> Result<()> {
    let (a, b) = (cx.tensor(0)?, cx.tensor(1)?);
    let (dtype, shape) = cx.out(0)?;
    let (pa, pb) = (broadcast_positions(a.shape(), &shape), broadcast_positions(b.shape(), &shape));
    let y = if dtype.is_float() {
        let (x, z) = (a.floats()?, b.floats()?);
        Tensor::from_floats(dtype, &shape, pa.iter().zip(&pb).map(|(&i, &j)| float(x[i], z[j])))
    } else {
        let (x, z) = (a.ints()?, b.ints()?);
        let v: Vec<i128> = pa.iter().zip(&pb).map(|(&i, &j)| int(x[i], z[j])).collect::<Result<_>>()?;
        Tensor::from_ints(dtype, &shape, v)
    };
    cx.push(y);
    Ok(())
}

/// Evaluates a comparison or logic operator with broadcasting.
pub fn eval_compare(
    cx: &mut EvalCx<'_>,
    float: impl Fn(f64, f64) -> bool,
    int: impl Fn(i128, i128) -> bool,
    string: impl Fn(&str, &str) -> bool,
) -> Result<()> {
    let (a, b) = (cx.tensor(0)?, cx.tensor(1)?);
    let (_, shape) = cx.out(0)?;
    let (pa, pb) = (broadcast_positions(a.shape(), &shape), broadcast_positions(b.shape(), &shape));
    let pairs = pa.into_iter().zip(pb);
    let y = match a.dtype().class() {
        Class::Float => {
            let (x, z) = (a.floats()?, b.floats()?);
            Tensor::from_bools(&shape, pairs.map(|(i, j)| float(x[i], z[j])))
        }
        Class::String => {
            let (x, z) = (a.strings()?, b.strings()?);
            Tensor::from_bools(&shape, pairs.map(|(i, j)| string(&x[i], &z[j])))
        }
        _ => {
            let (x, z) = (a.ints()?, b.ints()?);
            Tensor::from_bools(&shape, pairs.map(|(i, j)| int(x[i], z[j])))
        }
    };
    cx.push(y);
    Ok(())
}

/// Combines known contents of two integer operands of rank 0 or 1 element by element, for shape arithmetic.
pub fn binary_values(cx: &mut RuleCx<'_>, f: impl Fn(&Dim, &Dim) -> Dim) -> RuleResult {
    // Narrower integers wrap, and no shape is made of them.
    if !sets::INDEX.contains(&cx.dtype(0)?) || cx.rank(0)? > 1 || cx.rank(1)? > 1 {
        return Ok(());
    }
    if let (Some(a), Some(b)) = (cx.values(0)?, cx.values(1)?) {
        let n = if a.len() == 1 { b.len() } else { a.len() };
        if (a.len() == n || a.len() == 1) && (b.len() == n || b.len() == 1) {
            let at = |v: &[Dim], i: usize| v[if v.len() == 1 { 0 } else { i }].clone();
            cx.output_values(Some((0..n).map(|i| f(&at(&a, i), &at(&b, i))).collect()));
        }
    }
    Ok(())
}

/// An axis in `-rank..rank` as an index; the rule has checked it.
pub fn normal_axis(axis: i64, rank: usize) -> usize {
    (if axis < 0 { axis + rank as i64 } else { axis }) as usize
}

/// An index along an axis of `extent`, negative ones counted from the end.
///
/// # Errors
/// When it is outside `-extent..extent`.
pub fn normal_index(index: i64, extent: usize) -> Result<usize> {
    let n = extent as i64;
    if (-n..n).contains(&index) {
        Ok(if index < 0 { index + n } else { index } as usize)
    } else {
        Err(Error::invalid(format!("index {index} is outside -{n}..{n}")))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! For operators' own tests.

    use super::*;
    use crate::attr::Attrs;
    use crate::eval::{Env, Reference, eval_call};
    use crate::infer::infer_call;

    /// Runs one call by reference evaluation.
    pub(crate) fn run(
        domain: &str,
        op: &str,
        attrs: Attrs,
        inputs: &[Option<Value>],
        n_outputs: usize,
    ) -> Result<Vec<Value>> {
        let def = crate::ops::find(domain, op).expect("a registered operator");
        let op = (def.parse)(&attrs)?;
        let inputs: Vec<Option<&Value>> = inputs.iter().map(Option::as_ref).collect();
        eval_call(&*op, &inputs, &[], n_outputs, &Env::default(), &Reference)
    }

    /// Runs one call of `ai.onnx` on tensors, one result.
    pub(crate) fn run1(op: &str, attrs: Attrs, inputs: &[Tensor]) -> Result<Tensor> {
        let inputs: Vec<Option<Value>> = inputs.iter().map(|t| Some(t.clone().into())).collect();
        run("ai.onnx", op, attrs, &inputs, 1)?.remove(0).tensor().cloned()
    }

    /// The type text of the first result for operands of these type texts' types.
    pub(crate) fn infer1(op: &str, attrs: Attrs, inputs: &[Fact]) -> Result<Fact> {
        let def = crate::ops::find("ai.onnx", op).expect("a registered operator");
        let op = (def.parse)(&attrs)?;
        let inputs: Vec<Option<Fact>> = inputs.iter().cloned().map(Some).collect();
        Ok(infer_call(&*op, &inputs, &[], 1, &mut 0)?.outputs.remove(0))
    }

    /// The label that a call with operands of these types violates.
    pub(crate) fn violated(op: &str, attrs: Attrs, inputs: &[Type]) -> Option<String> {
        let facts: Vec<Fact> = inputs.iter().cloned().map(Fact::of).collect();
        infer1(op, attrs, &facts).err()?.label().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_a_broadcast_row_and_column() {
        assert_eq!(broadcast_positions(&[3], &[2, 3]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(broadcast_positions(&[2, 1], &[2, 3]), [0, 0, 0, 1, 1, 1]);
        assert_eq!(broadcast_positions(&[], &[2]), [0, 0]);
    }
}
