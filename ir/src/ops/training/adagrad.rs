//! One step of Adagrad: `g' = g + norm_coefficient x`, `h' = h + g'²`,
//! `x' = x - R / (1 + T decay_factor) · g' / (sqrt(h') + epsilon)`.
//!
//! Operands behind the rate `R` and the count `T`: all values `x`, all gradients `g`, all sums of squares `h`; results:
//! all `x'`, all `h'`.
//!
//! - **C1** `R` is one `f32` or `f64`
//! - **C2** `T` is one `i64`
//! - **C3** there are as many values as gradients as sums, at least one
//! - **C4** they are `f32` or `f64`, and those of one value agree in type and shape
//!
//! Source: Duchi, Hazan, Singer, JMLR 12 (2011). ONNX `Adagrad` (ai.onnx.preview.training): opset 1.

use super::common::{expand_step, step_rule};
use crate::error::Result;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Adagrad`.
    pub struct Adagrad {
        /// How fast the rate falls with the count.
        decay_factor: f32 = 0.0f32,
        /// Added to the root.
        epsilon: f32 = 1e-6f32,
        /// Pull of the values to zero.
        norm_coefficient: f32 = 0.0f32,
    }
}

impl Op for Adagrad {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        step_rule(cx, 3)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        expand_step(b, x, 3, |s, member| {
            let [x, g, h] = *member else { return Ok(vec![]) };
            let dtype = s.dtype(x)?;
            let (rate, count) = (s.cast(s.rate, dtype)?, s.cast(s.count, dtype)?);
            let one = s.number(dtype, 1.0);
            let decay = s.scale(self.decay_factor.into(), count)?;
            let decay = s.op("Add", one, decay)?;
            let rate = s.op("Div", rate, decay)?;
            let g = s.regularised(self.norm_coefficient, x, g)?;
            let square = s.op("Mul", g, g)?;
            let h = s.op("Add", h, square)?;
            let root = s.b.op("Sqrt", attrs! {}, &[h])?;
            let epsilon = s.number(dtype, self.epsilon.into());
            let root = s.op("Add", root, epsilon)?;
            let step = s.op("Mul", rate, g)?;
            let step = s.op("Div", step, root)?;
            Ok(vec![s.op("Sub", x, step)?, h])
        })
    }
}

op! {
    Adagrad in "ai.onnx.preview.training" since [1]; "R, T, inputs*" => "outputs*";
    summary: "one step of Adagrad";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn adagrad_steps_against_the_gradient() {
        let a = attrs! { decay_factor: 1.0f32, epsilon: 0.0f32, norm_coefficient: 1.0f32 };
        // g' = 1 + 2 = 3, h' = 16 + 9 = 25, rate 0.5 / 2.
        let y = step("Adagrad", a, 0.5, 1, &[2.0, 1.0, 16.0]).unwrap();
        assert!((y[0] - (2.0 - 0.25 * 3.0 / 5.0)).abs() < 1e-6 && y[1] == 25.0, "{y:?}");
    }

    #[test]
    fn adagrad_constraints_are_named() {
        constraints_are_named("Adagrad", &attrs! {});
    }
}
