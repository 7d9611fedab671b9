//! `Y = A @ Wᵀ + bias`, `W[n, k] = (B[n, k] - zero) * scale` with 2-, 4- or 8-bit weights that share scale and zero point
//! by blocks of `block_size` along `k`.
//!
//! `A: T[…, K]`, `B: u8[N, blocks, block_size * bits / 8]`, packed low bits first, `scales: T[N, blocks]`,
//! `zero_points: u8[N, ceil(blocks * bits / 8)]` packed alike, or `T[N, blocks]`, default `2^(bits - 1)`, `bias: T[N]`;
//! `Y: T[…, N]`. Scales and zero points may be vectors of as many elements, as older files have them.
//!
//! - **C1** `A`, `scales` and `bias` have one float type, `B` is `u8`; `zero_points` are `u8` or of that float type
//! - **C2** `bits` is 2, 4 or 8, `block_size` a power of two from 16 on, `N` and `K` are positive
//! - **C3** operands have the shapes that are said above
//! - **C4** the deprecated `g_idx` is not given, and the weights are not laid out for a device
//!
//! Computed with whole weights whatever `accuracy_level` allows. ONNX Runtime `com.microsoft::MatMulNBits`, version 1.

use super::packed::unpack;
use crate::DType;
use crate::error::Result;
use crate::ops::attention_common::require_shape;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `MatMulNBits`.
    #[expect(non_snake_case, reason = "ONNX's names")]
    pub struct MatMulNBits {
        /// Extent that is summed over.
        K: i64,
        /// Columns of the result.
        N: i64,
        /// What ONNX Runtime may reduce `A` to; not used.
        accuracy_level: i64 = 0i64,
        /// Bits of a weight.
        bits: i64 = 4i64,
        /// Weights that share a scale.
        block_size: i64,
        /// A device's layout of the weights; 0 is none.
        weight_prepacked: i64 = 0i64,
    }
}

impl MatMulNBits {
    fn blocks(&self) -> i64 {
        self.K.div_euclid(self.block_size) + i64::from(self.K.rem_euclid(self.block_size) != 0)
    }

    /// Bytes of the packed zero points of a row.
    fn zero_bytes(&self) -> i64 {
        (self.blocks().saturating_mul(self.bits) + 7) / 8
    }
}

/// Requires that operand `i` is a matrix of these extents, or a vector of as many elements.
fn require_rows(cx: &mut RuleCx<'_>, label: &'static str, i: usize, rows: i64, columns: i64) -> RuleResult {
    let (rows, columns) = (Dim::int(rows), Dim::int(columns));
    let want = if cx.rank(i)? == 1 { vec![rows * columns] } else { vec![rows, columns] };
    require_shape(cx, label, i, &want)
}

impl Op for MatMulNBits {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::F32, DType::F16, DType::BF16])?;
        let dtype = cx.same_dtype("C1", [0, 2, 5])?;
        cx.require_dtype("C1", 1, &[DType::U8])?;
        let block = self.block_size;
        let sane = matches!(self.bits, 2 | 4 | 8)
            && (16..=1 << 30).contains(&block)
            && block.count_ones() == 1
            && (1..=1 << 40).contains(&self.K)
            && (1..=1 << 40).contains(&self.N);
        cx.require("C2", sane, || format!("bits {}, block_size {block}, N {}, K {}", self.bits, self.N, self.K))?;
        let a = cx.shape(0)?;
        cx.require("C3", !a.is_empty(), || "A has rank 0".into())?;
        cx.require_eq("C3", &a[a.len() - 1], &Dim::int(self.K))?;
        require_shape(cx, "C3", 1, &[self.N, self.blocks(), block * self.bits / 8].map(Dim::int))?;
        require_rows(cx, "C3", 2, self.N, self.blocks())?;
        if cx.has(3) {
            let zero = cx.require_dtype("C1", 3, &[DType::U8, dtype])?;
            let row = if zero == DType::U8 { self.zero_bytes() } else { self.blocks() };
            require_rows(cx, "C3", 3, self.N, row)?;
        }
        if cx.has(5) {
            require_shape(cx, "C3", 5, &[Dim::int(self.N)])?;
        }
        cx.require("C4", !cx.has(4) && self.weight_prepacked == 0, || {
            format!("g_idx is given, or weight_prepacked is {}", self.weight_prepacked)
        })?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(a), Some(w), Some(scales)) = (at(0), at(1), at(2)) else { return Ok(None) };
        let Some(dtype) = b.ty(a).as_tensor().map(|t| t.dtype) else { return Ok(None) };
        let (n, blocks) = (self.N, self.blocks());
        let reshape = |b: &mut GraphBuilder, v: ValueId, shape: &[i64]| {
            let shape = b.ints(shape);
            b.op("Reshape", attrs! {}, &[v, shape])
        };
        let Some(w) = unpack(b, w, self.bits)? else { return Ok(None) };
        let w = b.op("Cast", attrs! { to: dtype }, &[w])?;
        let zero = match at(3) {
            None => b.constant(crate::Tensor::from_floats(dtype, &[], [f64::from(1 << (self.bits - 1))])),
            Some(z) if b.ty(z).as_tensor().is_some_and(|t| t.dtype == DType::U8) => {
                let z = reshape(b, z, &[n, self.zero_bytes()])?;
                let Some(z) = unpack(b, z, self.bits)? else { return Ok(None) };
                let z = first(b, z, blocks)?;
                let z = reshape(b, z, &[n, blocks, 1])?;
                b.op("Cast", attrs! { to: dtype }, &[z])?
            }
            Some(z) => reshape(b, z, &[n, blocks, 1])?,
        };
        let scales = reshape(b, scales, &[n, blocks, 1])?;
        let w = b.op("Sub", attrs! {}, &[w, zero])?;
        let w = b.op("Mul", attrs! {}, &[w, scales])?;
        let w = reshape(b, w, &[n, -1])?;
        let w = first(b, w, self.K)?;
        let w = b.op("Transpose", attrs! { perm: vec![1i64, 0] }, &[w])?;
        let mut y = b.op("MatMul", attrs! {}, &[a, w])?;
        if let Some(bias) = at(5) {
            y = b.op("Add", attrs! {}, &[y, bias])?;
        }
        Ok(Some(vec![y]))
    }
}

/// The first `n` columns of a matrix.
fn first(b: &mut GraphBuilder, x: ValueId, n: i64) -> Result<ValueId> {
    let (start, end, axis) = (b.ints(&[0]), b.ints(&[n]), b.ints(&[1]));
    b.op("Slice", attrs! {}, &[x, start, end, axis])
}

op! {
    MatMulNBits in "com.microsoft" since [1]; "A, B, scales, zero_points?, g_idx?, bias?" => "Y";
    summary: "matrix product with weights of few bits, scaled by blocks";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @weights([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], [[[153, 153, 153, 153, 153, 153, 153, 153]]], [[0.5]]) == [[8.0]]
graph @weights(%a: f32[1, 16], %b: u8[1, 1, 8], %s: f32[1, 1]) -> f32[1, 1] {
  %y = microsoft.mat_mul_n_bits %a, %b, %s {K = 16, N = 1, block_size = 16} : f32[1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use super::*;
    use crate::Tensor;

    /// One row of weights of two blocks, 17 of the 32 in use: 1 in the first block, 2 at its start, 3 in the second.
    fn operands() -> Vec<Tensor> {
        let mut w = [0x11u8; 16];
        w[0] = 0x12;
        w[8] = 0xf3;
        vec![
            Tensor::from_slice(&[1, 17], &[1.0f32; 17]),
            Tensor::from_slice(&[1, 2, 8], &w),
            Tensor::from_slice(&[2], &[1.0f32, 10.0]),
        ]
    }

    fn attributes() -> crate::Attrs {
        attrs! { K: 17i64, N: 1i64, block_size: 16i64 }
    }

    #[test]
    fn mat_mul_n_bits_unpacks_blocks() {
        // Without zero points 8 is subtracted: 15 * -7 - 6 and 10 * -5.
        check("MatMulNBits", attributes(), &operands(), &[-161.0]);
        let mut x = operands();
        x.push(Tensor::from_slice(&[1], &[0x21u8]));
        check("MatMulNBits", attributes(), &x, &[11.0]);
        x[3] = Tensor::from_slice(&[1, 2], &[0.0f32, 3.0]);
        check("MatMulNBits", attributes(), &x, &[17.0]);
    }

    #[test]
    fn mat_mul_n_bits_constraints_are_named() {
        let bad = |a, i: usize, t: Tensor| {
            let mut x: Vec<_> = operands().into_iter().map(Some).collect();
            x.resize(6, None);
            x[i] = Some(t);
            label("MatMulNBits", a, &x)
        };
        let a = || operands()[0].clone();
        assert_eq!(bad(attributes(), 0, Tensor::from_slice(&[17], &[1i8; 17])).as_deref(), Some("MatMulNBits.C1"));
        let odd = attrs! { K: 17i64, N: 1i64, block_size: 24i64 };
        assert_eq!(bad(odd, 0, a()).as_deref(), Some("MatMulNBits.C2"));
        // As many elements in another shape are not what ONNX Runtime takes either.
        for (i, t) in [
            (0, Tensor::from_slice(&[16], &[1.0f32; 16])),
            (1, Tensor::from_slice(&[1, 16], &[0x11u8; 16])),
            (1, Tensor::from_slice(&[2, 1, 8], &[0x11u8; 16])),
            (2, Tensor::from_slice(&[2, 1], &[1.0f32; 2])),
            (2, Tensor::from_slice(&[1, 2, 1], &[1.0f32; 2])),
            (3, Tensor::from_slice(&[1, 1, 1], &[0x88u8; 1])),
            (3, Tensor::from_slice(&[2], &[0x88u8; 2])),
            (5, Tensor::from_slice(&[1, 1], &[1.0f32; 1])),
        ] {
            assert_eq!(bad(attributes(), i, t.clone()).as_deref(), Some("MatMulNBits.C3"), "operand {i}: {t:?}");
        }
        assert_eq!(bad(attributes(), 4, Tensor::from_slice(&[17], &[0i32; 17])).as_deref(), Some("MatMulNBits.C4"));
    }
}
