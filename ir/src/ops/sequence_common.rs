//! What the sequence operators share.

use super::common::*;
use super::move_common::freshen;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

/// The element type of the sequence operand `input`; `label` is the constraint that it is one.
pub fn element_type(cx: &RuleCx<'_>, label: &'static str, input: usize) -> RuleResult<Type> {
    match cx.ty(input)? {
        Type::Sequence(t) => Ok((**t).clone()),
        other => {
            cx.require(label, false, || format!("operand {input} must be a sequence, it is {other}"))?;
            Ok(Type::Unknown)
        }
    }
}

/// The type of one element taken out of a sequence of `element`.
pub fn taken(cx: &mut RuleCx<'_>, element: &Type) -> Type {
    freshen(element, &mut || cx.fresh())
}

/// The elements of a sequence operand.
///
/// # Errors
/// When it is no sequence.
pub fn items<'a>(cx: &EvalCx<'a>, i: usize) -> Result<&'a [Value]> {
    match cx.value(i)? {
        Value::Sequence(_, items) => Ok(items),
        other => Err(Error::invalid(format!("operand {i} must be a sequence, it is {}", other.ty()))),
    }
}

/// Gives the next result, number `k`: a sequence of the element type that the rule says.
pub fn push_sequence(cx: &mut EvalCx<'_>, k: usize, items: Vec<Value>) {
    let element = match cx.out_type(k) {
        Type::Sequence(t) => (**t).clone(),
        _ => items.first().map_or(Type::Unknown, Value::ty),
    };
    cx.push(Value::Sequence(element, items));
}

/// Requires the position operand to be one `i32` or `i64`.
pub fn require_position(cx: &mut RuleCx<'_>, label: &'static str, input: usize) -> RuleResult {
    cx.require_dtype(label, input, sets::INDEX)?;
    super::move_common::require_one(cx, label, input)
}
