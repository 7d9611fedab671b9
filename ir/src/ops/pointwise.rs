//! What the pointwise operators share beyond [`common`](super::common): rules and evaluation of one float operand or
//! of any number of operands, the error function, scalars for expansions.
//!
//! `erf` and `erfc` are written out because Rust's standard library has none: a series of positive terms near zero
//! (Abramowitz and Stegun 7.1.6), a continued fraction further out (7.1.14); both within a few units of `f64`.

use super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Floats of 8 bits that stand for numbers (`f8e8m0`, a scale, is not among them).
pub const FLOATS8: &[DType] = &[DType::F8E4M3FN, DType::F8E4M3FNUZ, DType::F8E5M2, DType::F8E5M2FNUZ];

/// [`sets::FLOATS`] and [`FLOATS8`].
pub const FLOATS_AND_8: &[DType] = &[
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::F8E4M3FN,
    DType::F8E4M3FNUZ,
    DType::F8E5M2,
    DType::F8E5M2FNUZ,
];

/// Every element type.
pub const ALL: &[DType] = DType::ALL;

/// Evaluates `y = f(x)` where the rule allows only floats.
pub fn eval_float(cx: &mut EvalCx<'_>, f: impl Fn(f64) -> f64) -> Result<()> {
    let x = cx.tensor(0)?;
    let y = Tensor::from_floats(x.dtype(), x.shape(), x.floats()?.into_iter().map(f));
    cx.push(y);
    Ok(())
}

/// Takes away `consumed_inputs`, a hint of the first opset without meaning.
pub fn drop_hints(cx: &mut Upgrade<'_>) -> Result<()> {
    cx.take("consumed_inputs");
    Ok(())
}

/// Before opset 7: hints, and broadcasting at an axis.
pub fn upgrade_binary(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version < 7 { super::add::upgrade_broadcast(cx) } else { Ok(()) }
}

/// Rule of `y = f(x_0, …, x_n)` with broadcasting; C1 one allowed type, C2 the shapes broadcast.
pub fn variadic_rule(cx: &mut RuleCx<'_>, allowed: &[DType]) -> RuleResult {
    let n = cx.n_inputs();
    cx.require("C1", n >= 1, || "no operand is given".into())?;
    cx.require_dtype("C1", 0, allowed)?;
    let dtype = cx.same_dtype("C1", 0..n)?;
    let shape = cx.broadcast_inputs("C2", &(0..n).collect::<Vec<_>>())?;
    cx.output(dtype, shape)
}

/// Known contents of one or two `i32` or `i64` operands of rank 0 or 1 folded from left to right.
pub fn fold_values(cx: &mut RuleCx<'_>, f: impl Fn(&Dim, &Dim) -> Dim) -> RuleResult {
    match cx.n_inputs() {
        1 if may_count(cx, 0)? => {
            let values = cx.values(0)?;
            cx.output_values(values);
        }
        2 => binary_values(cx, f)?,
        _ => {}
    }
    Ok(())
}

/// Whether an operand's elements may enter shape arithmetic: `i32` or `i64` of rank 0 or 1.
pub fn may_count(cx: &RuleCx<'_>, input: usize) -> RuleResult<bool> {
    Ok(sets::INDEX.contains(&cx.dtype(input)?) && cx.rank(input)? <= 1)
}

/// Says the elements of the result `f(x)` where those of the integer operand are known.
pub fn unary_values(cx: &mut RuleCx<'_>, f: impl Fn(&Dim) -> Dim) -> RuleResult {
    if may_count(cx, 0)? {
        let values = cx.values(0)?.map(|v| v.iter().map(f).collect());
        cx.output_values(values);
    }
    Ok(())
}

/// As [`binary_values`], where `f` may not know an element; then none is said.
pub fn partial_values(cx: &mut RuleCx<'_>, f: impl Fn(&Dim, &Dim) -> Option<Dim>) -> RuleResult {
    if !may_count(cx, 0)? || !may_count(cx, 1)? {
        return Ok(());
    }
    if let (Some(a), Some(b)) = (cx.values(0)?, cx.values(1)?) {
        let n = if a.len() == 1 { b.len() } else { a.len() };
        if (a.len() == n || a.len() == 1) && (b.len() == n || b.len() == 1) {
            let at = |v: &[Dim], i: usize| v[if v.len() == 1 { 0 } else { i }].clone();
            cx.output_values((0..n).map(|i| f(&at(&a, i), &at(&b, i))).collect());
        }
    }
    Ok(())
}

/// Whether a term is never negative.
pub fn natural(d: &Dim) -> bool {
    d.bounds().0.is_some_and(|lo| lo >= 0)
}

/// Folds all operands, broadcast, from left to right: floats in `f64`, integers in `i128`; `finish` is applied to
/// each float before it is rounded once.
pub fn eval_variadic(
    cx: &mut EvalCx<'_>,
    float: impl Fn(f64, f64) -> f64,
    int: impl Fn(i128, i128) -> i128,
    finish: impl Fn(f64) -> f64,
) -> Result<()> {
    let (dtype, shape) = cx.out(0)?;
    let operands = (0..cx.n_inputs()).map(|i| cx.tensor(i)).collect::<Result<Vec<_>>>()?;
    let y = if dtype.is_float() {
        let y = fold(&operands, &shape, Tensor::floats, float)?;
        Tensor::from_floats(dtype, &shape, y.into_iter().map(finish))
    } else {
        Tensor::from_ints(dtype, &shape, fold(&operands, &shape, Tensor::ints, int)?)
    };
    cx.push(y);
    Ok(())
}

fn fold<T: Copy>(
    operands: &[&Tensor],
    shape: &[usize],
    read: impl Fn(&Tensor) -> Result<Vec<T>>,
    f: impl Fn(T, T) -> T,
) -> Result<Vec<T>> {
    let mut all = operands.iter().map(|t| {
        let elements = read(t)?;
        Ok(broadcast_positions(t.shape(), shape).into_iter().map(move |i| elements[i]))
    });
    let first: Result<_> = all.next().ok_or_else(|| Error::invalid("no operand is given"))?;
    let mut y: Vec<T> = first?.collect();
    for other in all {
        for (a, b) in y.iter_mut().zip(other?) {
            *a = f(*a, b);
        }
    }
    Ok(y)
}

/// The greater; NaN where either is.
pub fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The lesser; NaN where either is.
pub fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

/// `1 / (1 + e^-x)`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + e^x)`, without overflow.
pub fn softplus(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
}

/// The error function `2/√π ∫_0^x e^(-t²) dt`.
pub fn erf(x: f64) -> f64 {
    if x.abs() < 2.0 { erf_series(x) } else { 1f64.copysign(x) * (1.0 - erfc(x.abs())) }
}

/// `1 - erf(x)`, with full relative precision for large `x`.
pub fn erfc(x: f64) -> f64 {
    if x < 2.0 {
        if x < -2.0 { 2.0 - erfc(-x) } else { 1.0 - erf_series(x) }
    } else if x > 28.0 {
        // Below the least subnormal double.
        0.0
    } else if x.is_nan() {
        x
    } else {
        // Sixty terms of the fraction, evaluated from its end, are enough from x = 2 on.
        let tail = (1..=60).rev().fold(x, |f, k| x + f64::from(k) / 2.0 / f);
        (-x * x).exp() / (std::f64::consts::PI.sqrt() * tail)
    }
}

fn erf_series(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    let mut n = 0.0;
    while term.abs() > sum.abs() * 1e-18 && n < 200.0 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// A rank-0 constant of the element type that `x` has; none where that is not known.
pub fn scalar_like(b: &mut GraphBuilder, x: ValueId, value: f64) -> Option<ValueId> {
    let dtype = b.ty(x).as_tensor()?.dtype;
    dtype.is_number().then(|| b.constant(Tensor::from_floats(dtype, &[], [value])))
}

/// Rule of a composite whose constraints are those of its parts: the types and assumptions of its expansion.
pub fn rule_of_expansion(op: &dyn Op, cx: &mut RuleCx<'_>) -> RuleResult {
    let mut b = GraphBuilder::new(op.def().name);
    let mut ids = Vec::new();
    for i in 0..cx.n_inputs() {
        let id = if cx.has(i) {
            cx.ty(i)?;
            Some(b.input_with_content("", cx.fact(i)?.clone()))
        } else {
            None
        };
        ids.push(id);
    }
    let Some(outputs) = op.expand(&mut b, &ids)? else { return Err(Stop::Deferred("the types of all operands")) };
    // What the parts leave for run time is the composite's too, as far as it speaks of the operands.
    let mut known = std::collections::BTreeSet::new();
    for i in (0..cx.n_inputs()).filter(|&i| cx.has(i)) {
        known.extend(cx.shape(i).iter().flatten().flat_map(Dim::symbols));
        known.extend(cx.values(i).iter().flatten().flatten().flat_map(Dim::symbols));
    }
    let attrs = op.attrs();
    known.extend(attrs.values().flat_map(|a| match a {
        Attr::Int(d) => d.symbols(),
        Attr::Ints(list) => list.iter().flat_map(Dim::symbols).collect(),
        _ => Default::default(),
    }));
    for a in b.assumptions() {
        if a.cond.symbols().is_subset(&known) {
            cx.require_that(a.label, a.cond.clone())?;
        }
    }
    for v in outputs {
        let fact = b.fact(v);
        if fact.ty == Type::Unknown {
            return Err(Stop::Deferred("the rank of an operand"));
        }
        cx.output_fact(fact)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod testing {
    //! Tables of values for pointwise operators' tests.

    pub(crate) use super::super::common::testing::*;
    use super::*;
    use crate::attr::Attrs;

    /// Whether two numbers are the same, or both NaN, or within 1e-12 relatively.
    pub(crate) fn close(a: f64, b: f64) -> bool {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * b.abs()
    }

    /// Checks `y = f(x)` on pairs, in `f64`.
    pub(crate) fn table(op: &str, attrs: Attrs, pairs: &[(f64, f64)]) {
        let xs: Vec<f64> = pairs.iter().map(|p| p.0).collect();
        let y = run1(op, attrs, &[Tensor::from_slice(&[xs.len()], &xs)]).unwrap();
        for ((x, want), have) in pairs.iter().zip(y.floats().unwrap()) {
            assert!(close(have, *want), "{op}({x}) = {have}, not {want}");
        }
    }

    /// Checks that operands of this type are refused as C1.
    pub(crate) fn refuses(op: &str, dtypes: &[DType]) {
        let types: Vec<Type> = dtypes.iter().map(|&d| Type::tensor(d, &[1])).collect();
        let attrs = attrs! {};
        assert_eq!(violated(op, attrs, &types), Some(format!("{op}.C1")));
    }

    /// Checks that shapes `[2]` and `[3]` are refused as C2.
    pub(crate) fn refuses_shapes(op: &str, dtype: DType) {
        let types = [Type::tensor(dtype, &[2]), Type::tensor(dtype, &[3])];
        assert_eq!(violated(op, attrs! {}, &types), Some(format!("{op}.C2")));
    }

    /// Two integer operands, `i32`, one result.
    pub(crate) fn ints2(op: &str, attrs: Attrs, a: &[i32], b: &[i32]) -> crate::error::Result<Vec<i128>> {
        run1(op, attrs, &[Tensor::from_slice(&[a.len()], a), Tensor::from_slice(&[b.len()], b)])?.ints()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_function_matches_tabulated_values() {
        // Abramowitz and Stegun, table 7.1, and values of higher precision from mpmath.
        for (x, want) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.5, 0.999_593_047_982_555),
            (-1.0, -0.842_700_792_949_714_9),
        ] {
            assert!(testing::close(erf(x), want), "erf({x}) = {}", erf(x));
        }
        assert!(testing::close(erfc(2.0), 4.677_734_981_047_266e-3));
        assert!(testing::close(erfc(5.0), 1.537_459_794_428_035e-12));
        assert_eq!(erf(f64::INFINITY), 1.0);
        assert!(erf(f64::NAN).is_nan());
    }
}
