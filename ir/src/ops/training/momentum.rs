//! One step of gradient descent with momentum: `g' = g + norm_coefficient x`, `v' = alpha v + beta' g'`, and
//! `x' = x - R v'` (`standard`) or `x' = x - R (g' + alpha v')` (`nesterov`).
//!
//! `beta' = beta` where `T > 0`, else 1. Operands behind the rate `R` and the count `T`: all values `x`, all gradients
//! `g`, all momenta `v`; results: all `x'`, all `v'`.
//!
//! - **C1** `R` is one `f32` or `f64`
//! - **C2** `T` is one `i64`
//! - **C3** there are as many values as gradients as momenta, at least one
//! - **C4** they are `f32` or `f64`, and those of one value agree in type and shape
//! - **C5** `mode` is `standard` or `nesterov`
//!
//! ONNX `Momentum` (ai.onnx.preview.training): opset 1.

use super::common::{expand_step, step_rule};
use crate::error::Result;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Momentum`.
    pub struct Momentum {
        /// Share of the old momentum.
        alpha: f32,
        /// Share of the gradient after the first step.
        beta: f32,
        /// `standard` or `nesterov`.
        mode: String,
        /// Pull of the values to zero.
        norm_coefficient: f32,
    }
}

impl Op for Momentum {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let known = matches!(self.mode.as_str(), "standard" | "nesterov");
        cx.require("C5", known, || format!("`mode` is \"{}\"", self.mode))?;
        step_rule(cx, 3)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        expand_step(b, x, 3, |s, member| {
            let [x, g, v] = *member else { return Ok(vec![]) };
            let dtype = s.dtype(x)?;
            let rate = s.cast(s.rate, dtype)?;
            let zero = s.b.constant(crate::Tensor::scalar(0i64));
            let later = s.op("Greater", s.count, zero)?;
            let (beta, one) = (s.number(dtype, self.beta.into()), s.number(dtype, 1.0));
            let beta = s.b.op("Where", attrs! {}, &[later, beta, one])?;
            let g = s.regularised(self.norm_coefficient, x, g)?;
            let (old, new) = (s.scale(self.alpha.into(), v)?, s.op("Mul", beta, g)?);
            let v = s.op("Add", old, new)?;
            let mut step = v;
            if self.mode == "nesterov" {
                let ahead = s.scale(self.alpha.into(), v)?;
                step = s.op("Add", g, ahead)?;
            }
            let step = s.op("Mul", rate, step)?;
            Ok(vec![s.op("Sub", x, step)?, v])
        })
    }
}

op! {
    Momentum in "ai.onnx.preview.training" since [1]; "R, T, inputs*" => "outputs*";
    summary: "one step of gradient descent with momentum";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn attributes(mode: &str) -> crate::Attrs {
        attrs! { alpha: 0.5f32, beta: 0.25f32, norm_coefficient: 1.0f32, mode: mode }
    }

    #[test]
    fn momentum_starts_with_the_whole_gradient_and_may_look_ahead() {
        // g' = 3 + 1 = 4; two members at once.
        let x = [1.0, 1.0, 3.0, 3.0, 2.0, 0.0];
        let y = step("Momentum", attributes("standard"), 0.5, 0, &x).unwrap();
        assert_eq!(y, [1.0 - 0.5 * 5.0, 1.0 - 0.5 * 4.0, 5.0, 4.0]);
        let y = step("Momentum", attributes("nesterov"), 0.5, 1, &x).unwrap();
        assert_eq!(y, [1.0 - 0.5 * (4.0 + 0.5 * 2.0), 1.0 - 0.5 * (4.0 + 0.5), 2.0, 1.0]);
    }

    #[test]
    fn momentum_constraints_are_named() {
        constraints_are_named("Momentum", &attributes("standard"));
        let e = step("Momentum", attributes("fast"), 0.5, 0, &[1.0, 1.0, 1.0]).unwrap_err();
        assert_eq!(e.label(), Some("Momentum.C5"));
    }
}
