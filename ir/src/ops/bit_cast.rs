//! `y`: the bits of `x`, read as another type of the same width.
//!
//! - **C1** neither type is `string`
//! - **C2** both types have the same number of bits
//!
//! A byte read as bool is `false` for 0 and `true` otherwise (a bool is 0 or 1 in memory). ONNX `BitCast`: opset 26.

use super::common::*;
use super::lowering;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{AlignedBytes, Tensor};

attributes! {
    /// Attributes of `BitCast`.
    pub struct BitCast {
        /// Element type of the result.
        to: DType,
    }
}

impl Op for BitCast {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let from = cx.dtype(0)?;
        let string = DType::String;
        cx.require("C1", from != string && self.to != string, || "strings have no width".into())?;
        cx.require("C2", from.bits() == self.to.bits(), || format!("{from} and {} differ in width", self.to))?;
        cx.output(self.to, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let mut bytes = AlignedBytes::copy_of(x.bytes());
        let bits = self.to.bits();
        for b in bytes.as_mut_slice() {
            if self.to == DType::Bool {
                *b = u8::from(*b != 0);
            } else if bits < 8 {
                let code = *b & ((1 << bits) - 1);
                let negative = self.to.class() == Class::Signed && code >> (bits - 1) != 0;
                *b = if negative { code | (0xffu8 << bits) } else { code };
            }
        }
        cx.push(Tensor::from_aligned(self.to, x.shape(), bytes)?);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if self.to == DType::Bool || self.to.bits() < 8 {
            return Ok(Lowering::Host);
        }
        let mut l = lowering::Loops::new(cx);
        let x = l.x(0);
        l.result(|c, i| {
            let x = c.load(x, i);
            c.bitcast(x, self.to)
        })
    }

    fn facts(&self) -> Facts {
        Facts::POINTWISE
    }
}

op! {
    BitCast in "ai.onnx" since [26]; "input" => "output";
    summary: "the same bits read as another type";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @bit_cast([1.0, -2.0]) == [1065353216, -1073741824]
graph @bit_cast(%a: f32[2]) -> i32[2] {
  %y = bit_cast %a {to = i32} : i32[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn bit_cast_keeps_bits_and_sign_extends_nibbles() {
        let y = run1("BitCast", attrs! { to: DType::U32 }, &[Tensor::scalar(1.0f32)]).unwrap();
        assert_eq!(y, Tensor::scalar(0x3f80_0000u32));
        let y = run1("BitCast", attrs! { to: DType::I4 }, &[Tensor::from_ints(DType::U4, &[2], [15, 7])]).unwrap();
        assert_eq!(y.ints().unwrap(), [-1, 7]);
    }

    #[test]
    fn bit_cast_constraints_are_named() {
        let label = |d| violated("BitCast", attrs! { to: DType::F32 }, &[Type::tensor(d, &[1])]);
        assert_eq!(label(DType::String).as_deref(), Some("BitCast.C1"));
        assert_eq!(label(DType::F64).as_deref(), Some("BitCast.C2"));
    }
}
