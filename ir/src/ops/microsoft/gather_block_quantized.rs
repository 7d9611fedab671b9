//! `Gather` of block-wise quantised data, dequantised: `(data - zero) * scale` of the entries along `gather_axis`.
//!
//! `data: T[…]` is `i4`, `u4` or `u8`; `u8` holds numbers of `bits` bits, packed along the last axis, low bits first.
//! `scales` has the extents of the unpacked data, divided (rounded up) by `block_size` along `quantize_axis`; zero points
//! likewise, packed like the data. Without zero points `u8` data is centred at `2^(bits - 1)`, others at 0.
//!
//! - **C1** `data` is `i4`, `u4` or `u8`, scales are `f32`, `f16` or `bf16`, zero points have the type of `data`
//! - **C2** `bits` is 4 or 8 for `u8` (2, too), 4 otherwise; `block_size` is a power of two from 16 on
//! - **C3** the axes lie in `-r..r` and differ
//! - **C4** `data`, scales and zero points have one rank, and along `gather_axis` one extent, packed elements counted one by one;
//!   so scales and zero points along `quantize_axis`
//! - everything else as for [`gather`](crate::ops::gather) and [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Float8 and float4 data, and scales that broadcast along other axes, are not supported. An index out of range is an
//! error (ONNX Runtime gives zeros). ONNX Runtime `com.microsoft::GatherBlockQuantized`, version 1.

use super::packed::unpack;
use crate::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `GatherBlockQuantized`.
    pub struct GatherBlockQuantized {
        /// Bits of a number.
        bits: i64 = 4i64,
        /// Numbers that share a scale.
        block_size: i64 = 128i64,
        /// Axis of the indices.
        gather_axis: i64 = 0i64,
        /// Axis of the blocks.
        quantize_axis: i64 = 1i64,
    }
}

impl Op for GatherBlockQuantized {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let data = cx.require_dtype("C1", 0, &[DType::I4, DType::U4, DType::U8])?;
        cx.require_dtype("C1", 2, &[DType::F32, DType::F16, DType::BF16])?;
        cx.same_dtype("C1", [0, 3])?;
        let bits = if data == DType::U8 { matches!(self.bits, 2 | 4 | 8) } else { self.bits == 4 };
        let block = (16..=1 << 30).contains(&self.block_size) && self.block_size.count_ones() == 1;
        cx.require("C2", bits && block, || format!("bits {}, block_size {}", self.bits, self.block_size))?;
        let rank = cx.rank(0)?;
        let axes = cx.axes("C3", &[self.gather_axis, self.quantize_axis], rank)?;
        let (gather_axis, quantize_axis) = (axes[0], axes[1]);
        let packed = |axis: usize| if data == DType::U8 && axis + 1 == rank { 8 / self.bits } else { 1 };
        let of_byte = packed(gather_axis);
        let entries = cx.dim(0, gather_axis)? * of_byte;
        for i in [2, 3].into_iter().filter(|&i| cx.has(i)).collect::<Vec<_>>() {
            let same = cx.rank(i)?;
            cx.require("C4", same == rank, || format!("an operand of rank {same} beside data of rank {rank}"))?;
            let (of_byte, extent) = (if i == 3 { of_byte } else { 1 }, cx.dim(i, gather_axis)?);
            cx.require_eq("C4", &entries.clone().ceil_div(&of_byte.into()), &extent)?;
        }
        if cx.has(3) {
            let (blocks, zeros) = (cx.dim(2, quantize_axis)?, cx.dim(3, quantize_axis)?);
            cx.require_eq("C4", &blocks.ceil_div(&packed(quantize_axis).into()), &zeros)?;
        }
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(data), Some(indices), Some(scales)) = (at(0), at(1), at(2)) else { return Ok(None) };
        let (Some(r), Some(q)) = (b.rank(data), b.rank(indices)) else { return Ok(None) };
        let Some(dtype) = b.ty(data).as_tensor().map(|t| t.dtype) else { return Ok(None) };
        let (gather_axis, quantize_axis) = (normal_axis(self.gather_axis, r), normal_axis(self.quantize_axis, r));
        // Indices of rank q stand in the place of one axis.
        let axis = if quantize_axis > gather_axis { quantize_axis + q } else { quantize_axis + 1 } as i64 - 1;
        let packed = dtype == DType::U8;
        let take = |b: &mut GraphBuilder, v: ValueId, packed: bool| -> Result<Option<ValueId>> {
            // Packed along the last axis: unpacked before it is gathered along that, else after, which is less.
            let first = packed && gather_axis + 1 == r;
            let v = if first { unpack(b, v, self.bits)? } else { Some(v) };
            let Some(v) = v else { return Ok(None) };
            let v = b.op("Gather", attrs! { axis: gather_axis as i64 }, &[v, indices])?;
            if packed && !first { unpack(b, v, self.bits) } else { Ok(Some(v)) }
        };
        let Some(v) = take(b, data, packed)? else { return Ok(None) };
        let Some(scales) = take(b, scales, false)? else { return Ok(None) };
        let zero = match at(3) {
            Some(zero) => match take(b, zero, packed)? {
                // What is left of the last byte belongs to no block.
                Some(zero) => {
                    let blocks = b.op("Shape", attrs! { start: axis, end: axis + 1 }, &[scales])?;
                    let (start, along) = (b.ints(&[0]), b.ints(&[axis]));
                    Some(b.op("Slice", attrs! {}, &[zero, start, blocks, along])?)
                }
                None => return Ok(None),
            },
            None if packed => {
                let shape = b.op("Shape", attrs! {}, &[scales])?;
                let centre = Tensor::from_slice(&[1], &[1u8 << (self.bits - 1)]);
                Some(b.op("ConstantOfShape", attrs! { value: centre }, &[shape])?)
            }
            None => None,
        };
        let attrs = attrs! { axis: axis, block_size: self.block_size };
        b.node("ai.onnx", "DequantizeLinear", attrs, &[Some(v), Some(scales), zero], 1).map(Some)
    }
}

op! {
    GatherBlockQuantized in "com.microsoft" since [1]; "data, indices, scales, zero_points?" => "output";
    summary: "entries of block-wise quantised data, dequantised";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use super::*;

    fn operands() -> Vec<Tensor> {
        let mut data = [0x88u8; 16];
        (data[0], data[8]) = (0x9a, 0x79);
        vec![
            Tensor::from_slice(&[2, 8], &data),
            Tensor::from_slice(&[1], &[1i64]),
            Tensor::from_slice(&[2, 1], &[10.0f32, 0.5]),
        ]
    }

    #[test]
    fn gather_block_quantized_unpacks_rows() {
        let mut want = [0.0; 16];
        (want[0], want[1]) = (0.5, -0.5);
        check("GatherBlockQuantized", attrs! { block_size: 16i64 }, &operands(), &want);
        // A row has one block, so that half of its byte of zero points is not used.
        let mut x = operands();
        x.push(Tensor::from_slice(&[2, 1], &[0x00u8, 0x09]));
        want = [-0.5; 16];
        (want[0], want[1]) = (0.0, -1.0);
        check("GatherBlockQuantized", attrs! { block_size: 16i64 }, &x, &want);
    }

    #[test]
    fn gather_block_quantized_constraints_are_named() {
        let bad = |a, i: usize, t: Tensor| {
            let mut x: Vec<_> = operands().into_iter().map(Some).collect();
            x[i] = Some(t);
            label("GatherBlockQuantized", a, &x)
        };
        let op = |n| Some(format!("GatherBlockQuantized.C{n}"));
        let scales = operands()[2].clone();
        assert_eq!(bad(attrs! {}, 0, scales.clone()), op(1));
        assert_eq!(bad(attrs! { block_size: 24i64 }, 2, scales.clone()), op(2));
        assert_eq!(bad(attrs! { block_size: 16i64, quantize_axis: 0i64 }, 2, scales), op(3));
        // Another extent than the data's along the axis: "C4".
        let three = Tensor::from_slice(&[3, 1], &[1.0f32; 3]);
        assert_eq!(bad(attrs! { block_size: 16i64 }, 2, three), op(4));
        let mut x: Vec<_> = operands().into_iter().map(Some).collect();
        x.push(Some(Tensor::from_slice(&[3, 1], &[0u8; 3])));
        assert_eq!(label("GatherBlockQuantized", attrs! { block_size: 16i64 }, &x), op(4));
        // One block a row, and zero points of up to four.
        x[3] = Some(Tensor::from_slice(&[2, 2], &[0u8; 4]));
        assert_eq!(label("GatherBlockQuantized", attrs! { block_size: 16i64 }, &x), op(4));
    }
}
