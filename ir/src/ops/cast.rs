//! `y = Cast(x; to)`: elements converted to another type.
//!
//! - **C1** `x` is no complex tensor
//! - **C2** `to` is no complex type
//! - **C3** `round_mode` is `up`, `down` or `nearest`
//!
//! | from \ to | float | integer | bool | string |
//! |---|---|---|---|---|
//! | float | nearest, ties to even; infinity out of range | towards 0, held in range, NaN is 0 | `x ≠ 0` | shortest digits |
//! | integer, bool | nearest | wraps | `x ≠ 0` | digits; `True`, `False` |
//! | string | parsed | parsed, towards 0 | parsed, `≠ 0` | as is |
//!
//! 8-bit floats hold out-of-range numbers at their greatest value, without `saturate` they become infinity or NaN;
//! `f8e8m0` rounds by `round_mode`. The specification leaves floats out of an integer's range and texts that are no
//! numbers open: here the former are held (integers of 2 and 4 bits wrap, as in ONNX's test cases), the latter an
//! error. Known integers enter shape arithmetic.
//!
//! ONNX `Cast`: opset 1 (`to` is a word), 6, 9 (strings), 13 (bfloat16), 19 (8-bit floats), 21, 23, 24 (`round_mode`),
//! 25, 28 (types).

use super::common::*;
use super::lowering;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::num::{self, RoundMode};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{AlignedBytes, Tensor};

attributes! {
    /// Attributes of `Cast`.
    pub struct Cast {
        /// Element type of the result.
        to: DType,
        /// Whether 8-bit floats hold numbers out of their range.
        saturate: bool = true,
        /// Rounding to powers of two: `up`, `down` or `nearest`.
        round_mode: String = "up",
    }
}

impl Op for Cast {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cast_rule(cx, self.to, self.saturate, &self.round_mode)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let y = cast_tensor(cx.tensor(0)?, self.to, self.saturate, round_mode(&self.round_mode)?)?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lower_cast(cx, self.to, self.saturate)
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], ..Facts::POINTWISE }
    }
}

/// The rule of `Cast` and `CastLike`.
pub fn cast_rule(cx: &mut RuleCx<'_>, to: DType, saturate: bool, mode: &str) -> RuleResult {
    let from = cx.dtype(0)?;
    let complex = |d: DType| d.class() == Class::Complex;
    cx.require("C1", !complex(from), || format!("{from} cannot be cast"))?;
    cx.require("C2", !complex(to), || format!("nothing is cast to {to}"))?;
    cx.require("C3", RoundMode::from_name(mode).is_some(), || format!("round_mode is `{mode}`"))?;
    let shape = cx.shape(0)?;
    let short = shape.len() <= 1;
    cx.output(to, shape)?;
    if short && sets::INDEX.contains(&to) {
        let values = match cx.constant(0) {
            Some(t) if t.len() <= 64 => {
                let y = cast_tensor(t, to, saturate, RoundMode::Up)?;
                Some(y.to_i64s()?.into_iter().map(Dim::int).collect())
            }
            // A term of 64 bits is taken to fit 32, as extents of tensors do.
            _ if sets::INDEX.contains(&from) || from == DType::Bool => cx.values(0)?,
            _ => None,
        };
        cx.output_values(values);
    }
    Ok(())
}

/// How `Cast` and `CastLike` become machine code: natively where loops round as [`cast_tensor`] does.
///
/// # Errors
/// When the description is refused.
pub fn lower_cast(cx: &LowerCx<'_>, to: DType, saturate: bool) -> Result<Lowering> {
    let from = cx.dtype(0);
    if from == to {
        return Ok(Lowering::View);
    }
    let narrow_int = from.is_float() && to.is_int() && to.bits() < 8;
    let rounded_twice =
        to.is_float() && to.bits() <= 16 && (from == DType::F64 || (from.bits() > 16 && to != DType::F16));
    if narrow_int || to == DType::F8E8M0 || (rounded_twice && from != DType::F32) {
        return Ok(Lowering::Host);
    }
    lowering::unary(cx, |c, x| c.cast_with(x, to, saturate))
}

/// The rounding mode of that name.
///
/// # Errors
/// When there is none.
pub fn round_mode(name: &str) -> Result<RoundMode> {
    RoundMode::from_name(name).ok_or_else(|| Error::invalid(format!("round_mode is `{name}`")))
}

/// Converts every element.
///
/// # Errors
/// For complex numbers, and for texts that are no numbers.
pub fn cast_tensor(x: &Tensor, to: DType, saturate: bool, mode: RoundMode) -> Result<Tensor> {
    let shape = x.shape();
    if x.dtype() == to {
        return Ok(x.clone());
    }
    match (x.dtype().class(), to.class()) {
        (Class::Complex, _) | (_, Class::Complex) => {
            Err(Error::unsupported(format!("a cast from {} to {to}", x.dtype())))
        }
        (Class::String, Class::Float | Class::Bool) => {
            let v = x.strings()?.iter().map(|s| parse_float(s)).collect::<Result<Vec<_>>>()?;
            floats_to(to, shape, &v, saturate, mode)
        }
        (Class::String, _) => {
            let v = x.strings()?.iter().map(|s| parse_int(s)).collect::<Result<Vec<_>>>()?;
            Ok(Tensor::from_ints(to, shape, v))
        }
        (Class::Float, Class::String) => {
            let single = x.dtype() != DType::F64;
            let v = x.floats()?.into_iter().map(|v| Arc::from(text(v, single))).collect();
            Ok(Tensor::from_strings(shape, v))
        }
        (Class::Bool, Class::String) => {
            let word = |v: i128| Arc::from(if v != 0 { "True" } else { "False" });
            Ok(Tensor::from_strings(shape, x.ints()?.into_iter().map(word).collect()))
        }
        (_, Class::String) => {
            Ok(Tensor::from_strings(shape, x.ints()?.into_iter().map(|v| Arc::from(v.to_string())).collect()))
        }
        (Class::Float, _) => truncated(to, shape, &x.floats()?, saturate, mode),
        (_, Class::Float) if to.bits() <= 8 => floats_to(to, shape, &x.floats()?, saturate, mode),
        // Rounded once: a detour through `f64` would round 64-bit integers twice.
        (_, Class::Float) if to == DType::F32 => {
            Ok(Tensor::from_floats(to, shape, x.ints()?.into_iter().map(|v| f64::from(v as f32))))
        }
        _ => Ok(Tensor::from_ints(to, shape, x.ints()?)),
    }
}

/// Rounds numbers to a type of numbers or bool.
///
/// # Errors
/// When the elements do not fill the shape.
pub fn floats_to(to: DType, shape: &[usize], values: &[f64], saturate: bool, mode: RoundMode) -> Result<Tensor> {
    let code = |&v: &f64| match to {
        DType::F8E8M0 => num::e8m0_from_f64(v, saturate, mode),
        _ => num::encode(to, v, saturate),
    };
    if to.is_float() && to.bits() <= 8 {
        let codes: Vec<u8> = values.iter().map(code).collect();
        return Tensor::from_aligned(to, shape, AlignedBytes::copy_of(&codes));
    }
    Ok(Tensor::from_floats(to, shape, values.iter().copied()))
}

/// Drops fractions; integers of 2 and 4 bits wrap, wider ones are held within their range.
fn truncated(to: DType, shape: &[usize], values: &[f64], saturate: bool, mode: RoundMode) -> Result<Tensor> {
    if to.is_int() && to.bits() < 8 {
        return Ok(Tensor::from_ints(to, shape, values.iter().map(|&v| v as i128)));
    }
    floats_to(to, shape, values, saturate, mode)
}

fn parse_float(s: &str) -> Result<f64> {
    // Rust reads "inf", "+inf", "-inf" and "nan" in any case, as the specification asks.
    s.trim().parse().map_err(|_| Error::invalid(format!("\"{s}\" is no number")))
}

fn parse_int(s: &str) -> Result<i128> {
    match s.trim().parse::<i128>() {
        Ok(v) => Ok(v),
        Err(_) => Ok(parse_float(s)? as i128),
    }
}

/// The shortest plain digits that read back as the number; a fraction `.0` is written out.
fn text(v: f64, single: bool) -> String {
    if v.is_nan() {
        return "nan".into();
    }
    let digits = if single { (v as f32).to_string() } else { v.to_string() };
    if v.is_finite() && !digits.contains('.') { digits + ".0" } else { digits }
}

/// Opset 1 to 5: `to` is the name in `TensorProto.DataType`.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if let Some(Attr::String(word)) = cx.attrs.get("to") {
        let dtype = match word.as_str() {
            "FLOAT" => DType::F32,
            "DOUBLE" => DType::F64,
            "FLOAT16" => DType::F16,
            "UINT8" => DType::U8,
            "UINT16" => DType::U16,
            "UINT32" => DType::U32,
            "UINT64" => DType::U64,
            "INT8" => DType::I8,
            "INT16" => DType::I16,
            "INT32" => DType::I32,
            "INT64" => DType::I64,
            "BOOL" => DType::Bool,
            "STRING" => DType::String,
            other => return Err(Error::invalid(format!("`{other}` is no element type"))),
        };
        cx.attrs.insert("to".into(), Attr::DType(dtype));
    }
    Ok(())
}

op! {
    Cast in "ai.onnx" since [1, 6, 9, 13, 19 brings "f8 saturate", 21 brings "i4 u4", 23 brings "f4e2m1",
        24 brings "f8e8m0 round_mode", 25 brings "i2 u2", 28 brings ""];
    "input" => "output";
    summary: "elements converted to another type";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @cast([1.7, -1.2, 300.0]) == [1, -1, 300]
graph @cast(%a: f32[3]) -> i64[3] {
  %y = cast %a {to = i64} : i64[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn cast(x: Tensor, to: DType) -> Tensor {
        run1("Cast", attrs! { to: to }, &[x]).unwrap()
    }

    fn strings(texts: &[&str]) -> Tensor {
        Tensor::from_strings(&[texts.len()], texts.iter().map(|&s| Arc::from(s)).collect())
    }

    #[test]
    fn integers_wrap_and_floats_are_held() {
        let y = cast(Tensor::from_slice(&[2], &[200i16, -1]), DType::I8);
        assert_eq!(y, Tensor::from_slice(&[2], &[-56i8, -1]));
        let y = cast(Tensor::from_slice(&[4], &[-1.7f32, 300.0, f32::NAN, f32::INFINITY]), DType::U8);
        assert_eq!(y, Tensor::from_slice(&[4], &[0u8, 255, 0, 255]));
        assert_eq!(cast(Tensor::scalar((1i64 << 53) + (1 << 29) + 1), DType::F32), {
            Tensor::scalar(((1i64 << 53) + (1 << 29) + 1) as f32)
        });
    }

    #[test]
    fn truth_is_not_zero() {
        let y = cast(Tensor::from_slice(&[3], &[0.1f32, -0.0, f32::NAN]), DType::Bool);
        assert_eq!(y, Tensor::from_bools(&[3], [true, false, true]));
    }

    #[test]
    fn strings_are_parsed_and_written() {
        let y = cast(strings(&["1e-2", "-INF", "NaN", "+inf"]), DType::F32).floats().unwrap();
        assert!(y[0] == f64::from(0.01f32) && y[1] == f64::NEG_INFINITY && y[2].is_nan() && y[3] == f64::INFINITY);
        assert_eq!(cast(strings(&["9223372036854775807"]), DType::I64), Tensor::from_slice(&[1], &[i64::MAX]));
        let y = cast(Tensor::from_slice(&[3], &[0.478_925_47f32, 1.0, f32::NAN]), DType::String);
        assert_eq!(y, strings(&["0.47892547", "1.0", "nan"]));
        assert!(run1("Cast", attrs! { to: DType::F32 }, &[strings(&["Hello"])]).is_err());
    }

    #[test]
    fn eight_bit_floats_overflow_as_asked() {
        let x = Tensor::from_slice(&[2], &[1e6f32, -1e6]);
        assert_eq!(cast(x.clone(), DType::F8E4M3FN).floats().unwrap(), [448.0, -448.0]);
        let y = run1("Cast", attrs! { to: DType::F8E5M2, saturate: false }, &[x]).unwrap();
        assert_eq!(y.floats().unwrap(), [f64::INFINITY, f64::NEG_INFINITY]);
        let x = Tensor::scalar(3.0f32);
        let y = run1("Cast", attrs! { to: DType::F8E8M0, round_mode: "down" }, &[x]).unwrap();
        assert_eq!(y.floats().unwrap(), [2.0]);
    }

    #[test]
    fn known_integers_stay_known() {
        let y = infer1("Cast", attrs! { to: DType::I64 }, &[Fact::constant(Tensor::from_slice(&[2], &[2.5f32, 3.0]))]);
        let want = crate::rule::Content::Dims(vec![Dim::int(2), Dim::int(3)]);
        assert_eq!(y.unwrap().content, Some(want));
    }

    #[test]
    fn cast_constraints_are_named() {
        let t = |d| [Type::tensor(d, &[1])];
        let label = |a, d| violated("Cast", a, &t(d));
        assert_eq!(label(attrs! { to: DType::F32 }, DType::C64).as_deref(), Some("Cast.C1"));
        assert_eq!(label(attrs! { to: DType::C64 }, DType::F32).as_deref(), Some("Cast.C2"));
        assert_eq!(label(attrs! { to: DType::F32, round_mode: "odd" }, DType::F32).as_deref(), Some("Cast.C3"));
    }
}
