//! Numbers of 2 or 4 bits packed into bytes along the last axis, low bits first.

use crate::error::{Error, Result};
use crate::ops::common::*;
use crate::tensor::Tensor;

/// `x: u8[…, n]` as `u8[…, n * 8 / bits]`, every number a byte. None where the rank is not known.
///
/// # Errors
/// When a rule refuses, or `x` is a scalar.
pub fn unpack(b: &mut GraphBuilder, x: ValueId, bits: i64) -> Result<Option<ValueId>> {
    if bits == 8 {
        return Ok(Some(x));
    }
    let Some(rank) = b.rank(x) else { return Ok(None) };
    if rank == 0 {
        return Err(Error::invalid("a scalar has no axis along which numbers are packed"));
    }
    let mask = b.constant(Tensor::scalar((1u8 << bits) - 1));
    let last = b.ints(&[rank as i64]);
    let parts = (0..8 / bits)
        .map(|part| {
            let shift = b.constant(Tensor::scalar((part * bits) as u8));
            let v = b.op("BitShift", attrs! { direction: "RIGHT" }, &[x, shift])?;
            let v = b.op("BitwiseAnd", attrs! {}, &[v, mask])?;
            b.op("Unsqueeze", attrs! {}, &[v, last])
        })
        .collect::<Result<Vec<_>>>()?;
    let parts = b.op("Concat", attrs! { axis: rank as i64 }, &parts)?;
    // 0 keeps an extent, -1 joins the last two.
    let mut shape = vec![0i64; rank];
    shape[rank - 1] = -1;
    let shape = b.ints(&shape);
    b.op("Reshape", attrs! {}, &[parts, shape]).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn a_scalar_holds_no_packed_numbers() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::U8, &[]));
        assert!(unpack(&mut b, x, 4).unwrap_err().to_string().contains("no axis"));
    }
}
