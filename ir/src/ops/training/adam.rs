//! One step of Adam: `g' = g + norm_coefficient x`, `v' = alpha v + (1 - alpha) g'`, `h' = beta h + (1 - beta) g'²`,
//! `x' = (1 - norm_coefficient_post) (x - R' v' / (sqrt(h') + epsilon))`.
//!
//! `R' = R sqrt(1 - beta^T) / (1 - alpha^T)` where `T > 0`, else `R`. Operands behind the rate `R` and the count `T`: all
//! values `x`, all gradients `g`, all momenta `v`, all second momenta `h`; results: all `x'`, all `v'`, all `h'`.
//!
//! - **C1** `R` is one `f32` or `f64`
//! - **C2** `T` is one `i64`
//! - **C3** there are as many values as gradients as momenta of each kind, at least one
//! - **C4** they are `f32` or `f64`, and those of one value agree in type and shape
//!
//! The rate is corrected in `f64`, where `1 - beta^T` keeps its digits.
//! Source: Kingma, Ba, arXiv:1412.6980. ONNX `Adam` (ai.onnx.preview.training): opset 1.

use super::common::{Step, expand_step, step_rule};
use crate::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Adam`.
    pub struct Adam {
        /// Share of the old momentum.
        alpha: f32 = 0.9f32,
        /// Share of the old second momentum.
        beta: f32 = 0.999f32,
        /// Added to the root.
        epsilon: f32 = 1e-6f32,
        /// Pull of the values to zero, before the step.
        norm_coefficient: f32 = 0.0f32,
        /// Pull of the values to zero, after the step.
        norm_coefficient_post: f32 = 0.0f32,
    }
}

impl Adam {
    /// The rate with the bias of young momenta taken out, `f64`.
    fn rate(&self, s: &mut Step<'_>) -> Result<ValueId> {
        let rate = s.cast(s.rate, DType::F64)?;
        let count = s.cast(s.count, DType::F64)?;
        let (zero, one) = (s.number(DType::F64, 0.0), s.number(DType::F64, 1.0));
        let rest = |s: &mut Step<'_>, factor: f32| {
            let factor = s.number(DType::F64, factor.into());
            let power = s.op("Pow", factor, count)?;
            s.op("Sub", one, power)
        };
        let (first, second) = (rest(s, self.alpha)?, rest(s, self.beta)?);
        let root = s.b.op("Sqrt", attrs! {}, &[second])?;
        let adjusted = s.op("Mul", rate, root)?;
        let adjusted = s.op("Div", adjusted, first)?;
        let later = s.op("Greater", count, zero)?;
        s.b.op("Where", attrs! {}, &[later, adjusted, rate])
    }
}

impl Op for Adam {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        step_rule(cx, 4)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        expand_step(b, x, 4, |s, member| {
            let [x, g, v, h] = *member else { return Ok(vec![]) };
            let dtype = s.dtype(x)?;
            let rate = self.rate(s)?;
            let rate = s.cast(rate, dtype)?;
            let g = s.regularised(self.norm_coefficient, x, g)?;
            let square = s.op("Mul", g, g)?;
            let mean = |s: &mut Step<'_>, share: f32, old: ValueId, new: ValueId| {
                let old = s.scale(share.into(), old)?;
                let new = s.scale(1.0 - f64::from(share), new)?;
                s.op("Add", old, new)
            };
            let v = mean(s, self.alpha, v, g)?;
            let h = mean(s, self.beta, h, square)?;
            let root = s.b.op("Sqrt", attrs! {}, &[h])?;
            let epsilon = s.number(dtype, self.epsilon.into());
            let root = s.op("Add", root, epsilon)?;
            let step = s.op("Div", v, root)?;
            let step = s.op("Mul", rate, step)?;
            let mut x = s.op("Sub", x, step)?;
            if self.norm_coefficient_post != 0.0 {
                x = s.scale(1.0 - f64::from(self.norm_coefficient_post), x)?;
            }
            Ok(vec![x, v, h])
        })
    }
}

op! {
    Adam in "ai.onnx.preview.training" since [1]; "R, T, inputs*" => "outputs*";
    summary: "one step of Adam";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @adam(0.5, 0, [1.0], [2.0], [0.0], [0.0]) ~= [0.6464471], [1.0], [2.0]
graph @adam(%r: f32[], %t: i64[], %x: f32[1], %g: f32[1], %v: f32[1], %h: f32[1]) -> (f32[1], f32[1], f32[1]) {
  %0, %1, %2 = training.adam %r, %t, %x, %g, %v, %h {alpha = 0.5, beta = 0.5} : f32[1], f32[1], f32[1]
  return %0, %1, %2
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn adam_corrects_young_momenta_only() {
        let a = || attrs! { alpha: 0.5f32, beta: 0.75f32, epsilon: 0.0f32, norm_coefficient_post: 0.5f32 };
        // v' = 0.5 * 2 + 0.5 * 4 = 3, h' = 0.75 * 16 + 0.25 * 16 = 16.
        let y = step("Adam", a(), 0.5, 0, &[1.0, 4.0, 2.0, 16.0]).unwrap();
        assert_eq!(y, [0.5 * (1.0 - 0.5 * 3.0 / 4.0), 3.0, 16.0]);
        let y = step("Adam", a(), 0.5, 1, &[1.0, 4.0, 2.0, 16.0]).unwrap();
        assert_eq!(y, [0.5 * (1.0 - 0.5 * 3.0 / 4.0), 3.0, 16.0]);
        let y = step("Adam", a(), 0.5, 2, &[1.0, 4.0, 2.0, 16.0]).unwrap();
        let rate = 0.5 * (1.0f64 - 0.5625).sqrt() / 0.75;
        assert!((y[0] - 0.5 * (1.0 - rate * 0.75)).abs() < 1e-7, "{y:?}");
    }

    #[test]
    fn adam_constraints_are_named() {
        constraints_are_named("Adam", &attrs! {});
    }
}
