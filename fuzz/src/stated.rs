//! Calls whose results the specification leaves open, so that two right systems may disagree on them.
//!
//! Egret defines every call, and its own stages are compared on all of them. Against another system only calls count whose
//! results ONNX states (<https://onnx.ai/onnx/operators/>): not conversions out of range, not the order of elements that need
//! no order, not infinities and NaN but where elements are computed one by one or moved, not overflow of integer sums, not means
//! of nothing.

use crate::values::is_finite;
use egret_ir::op::Accuracy;
use egret_ir::{Attr, DType, Dim, Op, OpDef, Tensor, Value};

/// Operators that compare elements without a word on NaN.
const ORDERED: &[&str] =
    &["ArgMax", "ArgMin", "GlobalMaxPool", "Hardmax", "MaxPool", "MaxRoiPool", "NonMaxSuppression", "TopK", "Unique"];

/// Operators that read where numbers say.
const SAMPLES: &[&str] = &["GridSample", "Resize", "RoiAlign", "Upsample"];

/// Whether the specification states the results of a call.
pub fn is_stated(op: &dyn Op, operands: &[Option<&Value>], results: &[Value]) -> bool {
    let tensor = |i: usize| operands.get(i).copied().flatten().and_then(|v| v.tensor().ok());
    let attrs = op.attrs();
    let int = |name: &str| match attrs.get(name) {
        Some(Attr::Int(d)) => d.as_int(),
        _ => None,
    };
    let negative = |name: &str| matches!(attrs.get(name), Some(Attr::Float(v)) if *v < 0.0);
    // A seed says nothing of the numbers that follow from it.
    let mut unseeded = attrs.clone();
    if unseeded.remove("seed").is_some() && !(op.def().parse)(&unseeded).is_ok_and(|op| op.facts().pure) {
        return false;
    }
    let name = op.def().name;
    let empty = tensor(0).is_some_and(Tensor::is_empty);
    let facts = op.facts();
    let finite = operands.iter().copied().flatten().chain(results).all(|v| v.tensor().is_ok_and(is_finite));
    // What a window, a sum or a sample makes of infinities and NaN depends on the order and on which terms it leaves out.
    if !finite && !facts.pointwise && facts.accuracy != Accuracy::Exact || !finite && SAMPLES.contains(&name) {
        return false;
    }
    // The variance of numbers whose squares overflow, quotients of pivots and sums before products that do.
    let large = |v: &Value| v.tensor().is_ok_and(|t| t.floats().is_ok_and(|x| x.iter().any(|x| x.abs() > 1e18)));
    if (name.contains("Normaliz") || matches!(name, "Inverse" | "Einsum"))
        && operands.iter().flatten().any(|v| large(v))
    {
        return false;
    }
    // Quotients and products of scales that overflow or vanish.
    if quantises(op.def())
        && OpDef::names(op.def().inputs).zip(operands).any(|(n, v)| n.contains("scale") && v.is_some_and(is_extreme))
    {
        return false;
    }
    // Runtimes compute 16-bit floats in 32 bits and do not always round between two steps.
    let narrow = |v: &Value| v.tensor().is_ok_and(|t| t.dtype().is_float() && t.dtype().bits() == 16 && !is_finite(t));
    if results.iter().any(narrow) && operands.iter().flatten().all(|v| v.tensor().is_ok_and(is_finite)) {
        return false;
    }
    match name {
        "NonMaxSuppression" => tensor(1).and_then(|t| t.floats().ok()).is_none_or(|mut v| {
            v.sort_by(f64::total_cmp);
            // Which of two boxes of one score comes first is not said.
            v.windows(2).all(|w| w[0] != w[1])
        }),
        // "Otherwise the order of the elements is undefined."
        "TopK" if int("sorted") == Some(0) => false,
        // What is the greatest element of a window within the padding.
        "MaxPool" if results.first().is_some_and(|y| has(y, f64::NEG_INFINITY)) => {
            operands.iter().flatten().any(|x| has(x, f64::NEG_INFINITY))
        }
        _ if ORDERED.contains(&name) => !operands.iter().flatten().any(|v| v.tensor().is_ok_and(has_nan)),
        // A quotient by 0, also where there is nothing to divide.
        "Div" | "Mod" if tensor(1).is_some_and(|t| t.ints().is_ok_and(|v| v.contains(&0))) => false,
        // "In more detail, the conversion from floating-point to integer out of range is undefined."
        "Cast" | "CastLike" | "Mod" => {
            let whole = results.first().and_then(|r| r.tensor().ok()).is_some_and(|t| t.dtype().is_int());
            !whole || operands.iter().flatten().all(|v| v.tensor().is_ok_and(|t| fits_result(name, t, results)))
        }
        // Constants of the function's body are `f32`, cast to the operand's type.
        "FastGelu" => tensor(0).is_none_or(|t| t.dtype() != DType::F64),
        "Gelu" => attrs.is_empty() || tensor(0).is_none_or(|t| t.dtype() != DType::F64),
        // Powers of integers that stay within every type; those of 0 to a negative power are none.
        "Pow" => {
            let whole = tensor(0).is_some_and(|t| t.dtype().is_int());
            let within = |i: usize, lo: f64| {
                let inside = |x: &f64| (lo..=8.0).contains(x) && x.fract() == 0.0;
                tensor(i).and_then(|t| t.floats().ok()).is_none_or(|v| v.iter().all(inside))
            };
            !whole || within(0, -8.0) && within(1, 0.0)
        }
        // Sums of products that stay within every type.
        "Einsum" | "MatMul" | "Gemm" if tensor(0).is_some_and(|t| t.dtype().is_int()) => operands
            .iter()
            .flatten()
            .all(|v| v.tensor().is_ok_and(|t| t.ints().is_ok_and(|x| x.iter().all(|x| x.abs() <= largest_factor(t))))),
        // What a logarithm gives is cast to an integer.
        "ReduceLogSum" | "ReduceLogSumExp" if tensor(0).is_some_and(|t| t.dtype().is_int()) => false,
        // Differences below 0 of numbers without a sign.
        "Shrink" => tensor(0).is_none_or(|t| !t.dtype().is_int()),
        // "Reduction over an empty set of values yields undefined."
        "ReduceMean" | "ReduceLogSum" | "ReduceLogSumExp" | "Mean" if empty => false,
        // Which of the sums of large numbers of both signs overflow depends on the order: its logarithm is anything.
        "ReduceLogSum" if tensor(0).is_some_and(sums_overflow_by_order) => false,
        _ if name.starts_with("Reduce") => tensor(0).is_none_or(sum_is_in_range),
        // A symmetric one of size 1 divides 0 by 0; the function's body computes in `f32` whatever the result's type.
        "BlackmanWindow" | "HannWindow" | "HammingWindow"
            if matches!(attrs.get("output_datatype"), Some(Attr::DType(DType::F64))) =>
        {
            false
        }
        "BlackmanWindow" | "HannWindow" | "HammingWindow" => {
            int("periodic") != Some(0)
                || tensor(0).and_then(|t| t.to_i64s().ok()).is_some_and(|v| v.iter().all(|&n| n != 1))
        }
        // What several n-grams make of one column.
        "TfIdfVectorizer" => match attrs.get("ngram_indexes") {
            Some(Attr::Ints(columns)) => {
                !repeats(columns) || matches!(attrs.get("mode"), Some(Attr::String(m)) if m == "TF")
            }
            _ => true,
        },
        // Corners that overflow when they are scaled, and a number of samples of a region that has a negative extent.
        "RoiAlign" => {
            let corners = tensor(1).and_then(|t| t.floats().ok()).unwrap_or_default();
            let is_region = |r: &[f64]| r.len() == 4 && r[0] <= r[2] && r[1] <= r[3];
            corners.iter().all(|x| x.abs() <= 1e18)
                && (int("sampling_ratio").is_some_and(|n| n > 0) || corners.chunks(4).all(is_region))
        }
        "Attention" | "GroupQueryAttention" => !negative("softcap"),
        // Which parameters functions have that are no operators of ONNX, is said nowhere.
        "RNN" | "GRU" | "LSTM" => {
            let named = |n: &str| ["affine", "scaledtanh"].contains(&&*n.to_lowercase());
            let foreign =
                matches!(attrs.get("activations"), Some(Attr::Strings(list)) if list.iter().any(|n| named(n)));
            !negative("clip") && !foreign
        }
        "OneHotEncoder" => match attrs.get("cats_int64s") {
            Some(Attr::Ints(list)) => !repeats(list),
            _ => true,
        },
        _ => true,
    }
}

/// Whether an operator quantises, or multiplies what is quantised.
pub(crate) fn quantises(def: &OpDef) -> bool {
    def.name.starts_with('Q') || ["Quantize", "quantize", "Integer"].iter().any(|w| def.name.contains(w))
}

/// Whether a scale is 0, or further from 1 than 2^32.
fn is_extreme(v: &Value) -> bool {
    const MOST: f64 = (1u64 << 32) as f64;
    let within = |x: &f64| (MOST.recip()..=MOST).contains(&x.abs());
    v.tensor().is_ok_and(|t| t.dtype().is_float() && !t.floats().is_ok_and(|x| x.iter().all(within)))
}

/// Whether an element is this number.
fn has(v: &Value, x: f64) -> bool {
    v.tensor().is_ok_and(|t| t.dtype().is_float() && t.floats().is_ok_and(|v| v.contains(&x)))
}

fn has_nan(t: &Tensor) -> bool {
    t.dtype().is_float() && t.floats().is_ok_and(|v| v.iter().any(|x| x.is_nan()))
}

/// Whether numbers that become integers by the operator lie within the result's type; remainders are far within.
fn fits_result(name: &str, t: &Tensor, results: &[Value]) -> bool {
    let Some(result) = results.first().and_then(|r| r.tensor().ok()) else { return true };
    let Some((lo, hi)) = result.dtype().int_range() else { return true };
    let Ok(numbers) = t.floats() else { return true };
    let within = |lo: f64, hi: f64| numbers.iter().all(|x| *x >= lo && *x <= hi);
    match name {
        "Mod" => within(-64.0, 64.0),
        // Integers wrap, which is stated.
        _ => !t.dtype().is_float() || within(lo as f64, hi as f64),
    }
}

/// Whether no partial sum of an integer tensor (nor of its squares) leaves its type.
fn sum_is_in_range(t: &Tensor) -> bool {
    let Some((_, hi)) = t.dtype().int_range() else { return true };
    let Ok(v) = t.ints() else { return true };
    let squares = v.iter().try_fold(0i128, |sum, x| sum.checked_add(x.checked_mul(*x)?));
    let product = v.iter().filter(|x| **x != 0).try_fold(1i128, |all, x| all.checked_mul(x.abs()));
    squares.is_some_and(|s| s <= hi) && product.is_some_and(|p| p <= hi)
}

/// Whether partial sums of floats overflow in one order and not in another.
fn sums_overflow_by_order(t: &Tensor) -> bool {
    let most = match t.dtype() {
        DType::F16 => 65504.0,
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    };
    let x = t.floats().unwrap_or_default();
    let (above, below) = x.iter().fold((0.0, 0.0), |(a, b), x| (a + x.max(0.0), b - x.min(0.0)));
    above > 0.0 && below > 0.0 && above.max(below) > most
}

/// Whether an element occurs twice.
pub(crate) fn repeats(list: &[Dim]) -> bool {
    list.iter().enumerate().any(|(i, d)| list[..i].contains(d))
}

/// The largest integers of which a few products sum up to one of the type.
fn largest_factor(t: &Tensor) -> i128 {
    if t.dtype().bits() <= 8 {
        2
    } else if t.dtype().bits() <= 16 {
        50
    } else {
        1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::{Attrs, attrs, ops};

    fn stated(name: &str, attrs: &Attrs, operand: Tensor, result: Tensor) -> bool {
        let op = (ops::find("ai.onnx", name).unwrap().parse)(attrs).unwrap();
        is_stated(&*op, &[Some(&operand.into())], &[result.into()])
    }

    #[test]
    fn what_onnx_leaves_open_is_not_stated() {
        let f = |v: &[f32]| Tensor::from_slice(&[v.len()], v);
        let bytes = |n: usize| Tensor::zeros(DType::U8, &[n]).unwrap();
        let to_u8 = attrs! { to: DType::U8 };
        assert!(stated("Cast", &to_u8, f(&[0.0, 255.0]), bytes(2)));
        assert!(!stated("Cast", &to_u8, f(&[0.0, 256.0]), bytes(2)));
        assert!(!stated("Cast", &to_u8, f(&[f32::NAN]), bytes(1)));
        assert!(stated("Cast", &to_u8, Tensor::from_slice(&[1], &[-1i64]), bytes(1)));
        assert!(!stated("ArgMax", &attrs! {}, f(&[f32::NAN]), Tensor::from_slice(&[1], &[0i64])));
        assert!(!stated("Softmax", &attrs! {}, f(&[f32::INFINITY, 0.0]), f(&[f32::NAN, 0.0])));
        assert!(stated("Relu", &attrs! {}, f(&[f32::INFINITY]), f(&[f32::INFINITY])));
        assert!(!stated("ReduceMean", &attrs! {}, f(&[]), f(&[0.0])));
        assert!(stated("ReduceSum", &attrs! {}, f(&[]), f(&[0.0])));
        assert!(!stated("ReduceLogSum", &attrs! {}, f(&[3e38, 3e38, -3e38]), f(&[88.0])));
        assert!(stated("ReduceLogSum", &attrs! {}, f(&[1e38, 1e38, -1e38]), f(&[87.0])));
        let large = Tensor::from_slice(&[2], &[i64::MAX, 1]);
        assert!(!stated("ReduceSum", &attrs! {}, large.clone(), large));
        assert!(!stated("HannWindow", &attrs! { periodic: 0i64 }, Tensor::scalar(1i64), f(&[1.0])));
        let random = |attrs: &Attrs| stated("Multinomial", attrs, f(&[1.0]), Tensor::from_slice(&[1], &[0i32]));
        assert!(!random(&attrs! { seed: 1.0f32 }));
        let scaled = |scale: f32| {
            let op = (ops::find("ai.onnx", "DequantizeLinear").unwrap().parse)(&attrs! {}).unwrap();
            let (x, scale) = (Tensor::scalar(1i8).into(), Tensor::scalar(scale).into());
            is_stated(&*op, &[Some(&x), Some(&scale)], &[Tensor::scalar(1.0f32).into()])
        };
        assert!(scaled(-0.5) && !scaled(0.0) && !scaled(1e30));
        assert!(stated("HannWindow", &attrs! { periodic: 0i64 }, Tensor::scalar(2i64), f(&[1.0, 1.0])));
    }
}
