//! Layouts of the operators of ONNX Runtime that take channels last.

use crate::error::Result;
use crate::ops::common::*;

/// `[n, spatial…, c]` as `[n, c, spatial…]`; none where the rank is not known or below 3.
///
/// # Errors
/// When a rule refuses.
pub fn channels_first(b: &mut GraphBuilder, x: ValueId) -> Result<Option<ValueId>> {
    transpose(b, x, |r| [0, r - 1].into_iter().chain(1..r - 1).collect())
}

/// `[n, c, spatial…]` as `[n, spatial…, c]`; none where the rank is not known or below 3.
///
/// # Errors
/// When a rule refuses.
pub fn channels_last(b: &mut GraphBuilder, x: ValueId) -> Result<Option<ValueId>> {
    transpose(b, x, |r| [0].into_iter().chain(2..r).chain([1]).collect())
}

fn transpose(b: &mut GraphBuilder, x: ValueId, order: impl Fn(i64) -> Vec<i64>) -> Result<Option<ValueId>> {
    match b.rank(x) {
        Some(rank) if rank >= 3 => Ok(Some(b.op("Transpose", attrs! { perm: order(rank as i64) }, &[x])?)),
        _ => Ok(None),
    }
}
