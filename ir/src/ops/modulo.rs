//! `c = a - ⌊a/b⌋ b`, with `fmod` `a - trunc(a/b) b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers of one type
//! - **C2** their shapes broadcast
//!
//! The result has the sign of `b`, with `fmod` that of `a`. An integer divided by zero is an error; floats follow the
//! table of the specification (opset 28). Enters shape arithmetic. ONNX `Mod`: opset 10, 13 (bfloat16), 28 (floats
//! without `fmod`).

use super::common::*;
use super::lowering::{self, BinOp};
use super::pointwise::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Mod`.
    pub struct Mod {
        /// Whether the quotient is truncated instead of rounded down.
        fmod: bool = false,
    }
}

impl Op for Mod {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::NUMBERS, None)?;
        partial_values(cx, |a, b| match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => {
                int_mod(a.into(), b.into(), self.fmod).ok().and_then(|v| i64::try_from(v).ok()).map(Dim::int)
            }
            _ if natural(a) && b.bounds().0.is_some_and(|lo| lo > 0) => Some(a.modulo(b)),
            _ => None,
        })
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_binary(cx, |a, b| float_mod(a, b, self.fmod), |a, b| int_mod(a, b, self.fmod))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        // An integer divided by zero is an error that only the reference reports; the table of zeros and infinities
        // of floats is kept there too.
        let divides = cx.constant(1).and_then(|t| t.ints().ok()).is_some_and(|v| !v.contains(&0));
        match (cx.dtype(0).is_float(), self.fmod) {
            (true, true) => lowering::binary(cx, |c, a, b| c.bin(BinOp::Rem, a, b)),
            (false, true) if divides => lowering::binary(cx, |c, a, b| c.bin(BinOp::Rem, a, b)),
            (false, false) if divides => lowering::binary(cx, |c, a, b| c.bin(BinOp::FloorMod, a, b)),
            _ => Ok(Lowering::Host),
        }
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0), (1, 0)], accuracy: Accuracy::Exact, jumps: true, ..Facts::POINTWISE }
    }
}

fn int_mod(a: i128, b: i128, truncated: bool) -> Result<i128> {
    let r = a.checked_rem(b).ok_or_else(|| Error::invalid("an integer is divided by zero"))?;
    Ok(if !truncated && r != 0 && (r < 0) != (b < 0) { r + b } else { r })
}

fn float_mod(a: f64, b: f64, truncated: bool) -> f64 {
    let r = a % b;
    if truncated || r.is_nan() {
        r
    } else if r == 0.0 {
        0f64.copysign(b)
    } else if (r < 0.0) != (b < 0.0) {
        r + b
    } else {
        r
    }
}

op! {
    Mod in "ai.onnx" since [10, 13, 28 brings "f16&fmod=0 bf16&fmod=0 f32&fmod=0 f64&fmod=0"]; "A, B" => "C";
    summary: "remainder of a / b, with broadcasting";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mod([7, -7, 7], [3, 3, -3]) == [1, 2, -2]
graph @mod(%a: i64[3], %b: i64[3]) -> i64[3] {
  %y = modulo %a, %b : i64[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn mod_has_the_sign_of_the_divisor() {
        assert_eq!(ints2("Mod", attrs! {}, &[-7, 7, -7, 7], &[3, -3, -3, 3]).unwrap(), [2, -2, -1, 1]);
    }
    #[test]
    fn fmod_has_the_sign_of_the_dividend() {
        assert_eq!(ints2("Mod", attrs! { fmod: 1i64 }, &[-7, 7], &[3, -3]).unwrap(), [-1, 1]);
    }

    #[test]
    fn mod_of_floats_follows_the_table() {
        let inf = f64::INFINITY;
        assert_eq!(float_mod(-1.0, inf, false), inf);
        assert_eq!(float_mod(-1.0, inf, true), -1.0);
        assert!(float_mod(-0.0, 3.0, false).is_sign_positive());
        assert!(float_mod(inf, 3.0, false).is_nan() && float_mod(1.0, 0.0, false).is_nan());
        assert_eq!(float_mod(-4.3, 2.1, false), -4.3 % 2.1 + 2.1);
    }

    #[test]
    fn modulo_c1_names_the_types_and_c2_the_shapes() {
        refuses("Mod", &[DType::Bool, DType::Bool]);
        refuses_shapes("Mod", DType::F32);
    }
}
