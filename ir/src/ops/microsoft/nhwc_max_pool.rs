//! `MaxPool` of `x: T[n, spatial…, c]`, channels last.
//!
//! - **C1** `x` is `i8` or `u8`
//! - windows as for [`max_pool`](crate::ops::max_pool)
//!
//! ONNX Runtime `com.microsoft::NhwcMaxPool`, version 1.

use super::layout::{channels_first, channels_last};
use super::q_linear;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `NhwcMaxPool`.
    pub struct NhwcMaxPool {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Whether the number of windows is rounded up.
        ceil_mode: bool = false,
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Extents of the window.
        kernel_shape: Vec<Dim>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl Op for NhwcMaxPool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        q_linear::require_bytes(cx, &[0])?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let [Some(x)] = *x else { return Ok(None) };
        let Some(x) = channels_first(b, x)? else { return Ok(None) };
        let y = b.op("MaxPool", self.attrs(), &[x])?;
        Ok(channels_last(b, y)?.map(|y| vec![y]))
    }
}

op! {
    NhwcMaxPool in "com.microsoft" since [1]; "x" => "y";
    summary: "greatest elements of windows, channels last";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use crate::{Tensor, attrs};

    #[test]
    fn nhwc_max_pool_keeps_channels_apart() {
        let x = Tensor::from_slice(&[1, 2, 2], &[1u8, 9, 3, 4]);
        check("NhwcMaxPool", attrs! { kernel_shape: vec![2i64] }, &[x], &[3.0, 9.0]);
        let f = Tensor::from_slice(&[1, 1, 1], &[1.0f32]);
        let bad = label("NhwcMaxPool", attrs! { kernel_shape: vec![1i64] }, &[Some(f)]);
        assert_eq!(bad.as_deref(), Some("NhwcMaxPool.C1"));
    }
}
