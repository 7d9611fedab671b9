//! What operators that move elements share: walks over indices, affine maps of positions, joins of types.

use super::common::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Visits every index of `shape` in row-major order with its linear position.
///
/// # Errors
/// The first that `visit` gives.
pub fn each_index(shape: &[usize], mut visit: impl FnMut(usize, &[usize]) -> Result<()>) -> Result<()> {
    if shape.contains(&0) {
        return Ok(());
    }
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    loop {
        visit(at, &index)?;
        at += 1;
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return Ok(());
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// `start + Σ index[k] * steps[k]` for every index of `shape`, row-major. The caller's map stays inside its tensor.
pub fn affine_positions(shape: &[usize], steps: &[isize], start: isize) -> Vec<usize> {
    let mut out = vec![start];
    for (&n, &step) in shape.iter().zip(steps) {
        out = out.iter().flat_map(|&p| (0..n as isize).map(move |i| p + i * step)).collect();
    }
    out.into_iter().map(|p| p as usize).collect()
}

/// Gives result 0: operand 0's elements at `positions`.
///
/// # Errors
/// When the result passes a limit or a position is out of range.
pub fn take_result(cx: &mut EvalCx<'_>, positions: impl IntoIterator<Item = usize>) -> Result<()> {
    let (_, shape) = cx.out(0)?;
    let y = cx.tensor(0)?.take(&shape, positions)?;
    cx.push(y);
    Ok(())
}

/// Checks that a value of `len` elements of `dtype` stays within the limit; for results whose extents depend on data.
///
/// # Errors
/// When it does not.
pub fn check_size(cx: &EvalCx<'_>, dtype: crate::dtype::DType, shape: &[usize]) -> Result<()> {
    let bytes = len_elems(shape)?.saturating_mul(dtype.size_bytes().max(1));
    if bytes > cx.env.limits.value_bytes {
        return Err(Error::limit(format!(
            "result {dtype}{shape:?} of {bytes} bytes (limit {} bytes a value)",
            cx.env.limits.value_bytes
        )));
    }
    Ok(())
}

/// One integer of an operand with one element.
///
/// # Errors
/// When it has another number of elements, or another kind.
pub fn one_int(t: &Tensor) -> Result<i64> {
    match t.to_i64s()?.as_slice() {
        [v] => Ok(*v),
        _ => Err(Error::invalid(format!("one element is wanted, the shape is {:?}", t.shape()))),
    }
}

/// Requires an operand of one element: rank 0, or rank 1 and extent 1.
pub fn require_one(cx: &mut RuleCx<'_>, label: &'static str, input: usize) -> RuleResult {
    let shape = cx.shape(input)?;
    cx.require(label, shape.len() <= 1, || {
        format!("operand {input} must have one element, its rank is {}", shape.len())
    })?;
    match shape.first() {
        Some(n) => cx.require_eq(label, n, &Dim::int(1)),
        None => Ok(()),
    }
}

/// Rows, extent and inner length around an axis: the tensor as `[outer, n, inner]`.
pub fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// The smallest type that covers both: extents that differ become fresh symbols, ranks that differ no rank.
/// `None` where element types or kinds differ.
pub fn join(a: &Type, b: &Type, fresh: &mut dyn FnMut() -> Dim) -> Option<Type> {
    Some(match (a, b) {
        (Type::Unknown, _) | (_, Type::Unknown) => Type::Unknown,
        (Type::Tensor(x), Type::Tensor(y)) if x.dtype == y.dtype => match (x.shape.dims(), y.shape.dims()) {
            (Some(p), Some(q)) if p.len() == q.len() => {
                let dims = p.iter().zip(q).map(|(p, q)| if p == q { p.clone() } else { fresh() }).collect();
                Type::ranked(x.dtype, dims)
            }
            _ => Type::Tensor(TensorType { dtype: x.dtype, shape: Shape::Unranked }),
        },
        (Type::Sequence(x), Type::Sequence(y)) => Type::Sequence(Box::new(join(x, y, fresh)?)),
        (Type::Optional(x), Type::Optional(y)) => Type::Optional(Box::new(join(x, y, fresh)?)),
        (Type::Map(k, x), Type::Map(l, y)) if k == l => Type::Map(*k, Box::new(join(x, y, fresh)?)),
        _ => return None,
    })
}

/// The type with every extent that is no number made a symbol of its own: for an element of a sequence, whose extents
/// may differ from the next one's.
pub fn freshen(ty: &Type, fresh: &mut dyn FnMut() -> Dim) -> Type {
    match ty {
        Type::Tensor(TensorType { dtype, shape: Shape::Ranked(dims) }) => {
            Type::ranked(*dtype, dims.iter().map(|d| if d.is_int() { d.clone() } else { fresh() }).collect())
        }
        other => other.clone(),
    }
}

/// The order of a tensor's elements by linear position: numbers by value with NaN last, `false` before `true`, strings by
/// their bytes.
///
/// # Errors
/// For complex numbers.
pub fn order_of(x: &Tensor) -> Result<Box<dyn Fn(usize, usize) -> std::cmp::Ordering + '_>> {
    Ok(match x.dtype().class() {
        Class::Float => {
            let v = x.floats()?;
            Box::new(move |a, b| v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())))
        }
        Class::String => {
            let v = x.strings()?;
            Box::new(move |a, b| v[a].cmp(&v[b]))
        }
        Class::Complex => return Err(Error::invalid("complex numbers have no order")),
        _ => {
            let v = x.ints()?;
            Box::new(move |a, b| v[a].cmp(&v[b]))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn affine_positions_walk_backwards_too() {
        assert_eq!(affine_positions(&[2, 3], &[3, -1], 2), [2, 1, 0, 5, 4, 3]);
        assert_eq!(affine_positions(&[], &[], 4), [4]);
        assert!(affine_positions(&[0, 3], &[3, 1], 0).is_empty());
    }

    #[test]
    fn join_keeps_what_agrees() {
        let (a, b) = (Type::tensor(DType::F32, &[2, 3]), Type::tensor(DType::F32, &[2, 4]));
        let mut fresh = || Dim::sym("z");
        let j = join(&a, &b, &mut fresh).unwrap();
        assert_eq!(j, Type::ranked(DType::F32, vec![Dim::int(2), Dim::sym("z")]));
        assert_eq!(join(&a, &Type::tensor(DType::I64, &[2]), &mut fresh), None);
        assert_eq!(join(&a, &Type::tensor(DType::F32, &[]), &mut fresh).unwrap().to_string(), "f32[...]");
    }
}
