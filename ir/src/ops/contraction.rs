//! Products of matrices, shared by `MatMul`, `Gemm` and the fused forms: shapes, strides and the plain loop.

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::Env;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, strides};

/// Element types of ONNX's products.
pub const NUMBERS: &[DType] =
    &[DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32, DType::I64, DType::U32, DType::U64];

/// What products and sums are taken in: `f64`, or integers that wrap.
pub trait Ring: Copy {
    /// Zero.
    const ZERO: Self;
    /// `self + a`.
    fn plus(self, a: Self) -> Self;
    /// `self + a * b`.
    fn plus_product(self, a: Self, b: Self) -> Self;
}

impl Ring for f64 {
    const ZERO: f64 = 0.0;
    fn plus(self, a: f64) -> f64 {
        self + a
    }
    fn plus_product(self, a: f64, b: f64) -> f64 {
        self + a * b
    }
}

impl Ring for i128 {
    const ZERO: i128 = 0;
    fn plus(self, a: i128) -> i128 {
        self.wrapping_add(a)
    }
    fn plus_product(self, a: i128, b: i128) -> i128 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

/// Shape of numpy's matrix product; `inner` and `batch` label the constraints.
pub fn product_shape(
    cx: &mut RuleCx<'_>,
    rank_label: &'static str,
    inner: &'static str,
    batch: &'static str,
    a: &[Dim],
    b: &[Dim],
) -> RuleResult<Vec<Dim>> {
    cx.require(rank_label, !a.is_empty() && !b.is_empty(), || "operands must have rank 1 or more".into())?;
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    let (drop_m, drop_n) = (a.len() == 1, b.len() == 1);
    if drop_m {
        a.insert(0, Dim::ONE);
    }
    if drop_n {
        b.push(Dim::ONE);
    }
    let (ra, rb) = (a.len(), b.len());
    cx.require_eq(inner, &a[ra - 1], &b[rb - 2])?;
    let mut shape = cx.broadcast(batch, &[a[..ra - 2].to_vec(), b[..rb - 2].to_vec()])?;
    if !drop_m {
        shape.push(a[ra - 2].clone());
    }
    if !drop_n {
        shape.push(b[rb - 1].clone());
    }
    Ok(shape)
}

/// A matrix product with all extents known: batch positions, extents and strides in elements.
#[derive(Clone, Debug)]
pub struct Product {
    /// Extents of the batch.
    pub batch: Vec<usize>,
    /// Strides of the first operand along the batch, 0 where it broadcasts.
    pub a_batch: Vec<usize>,
    /// Strides of the second operand along the batch.
    pub b_batch: Vec<usize>,
    /// Rows, columns, summed extent.
    pub mnk: (usize, usize, usize),
    /// Strides of the first operand along `m` and `k`.
    pub a: (usize, usize),
    /// Strides of the second operand along `k` and `n`.
    pub b: (usize, usize),
}

impl Product {
    /// The product of operands of these shapes, which a rule has accepted; `trans` transposes the last two axes.
    pub fn of(a: &[usize], b: &[usize], trans_a: bool, trans_b: bool) -> Product {
        let (mut a, mut b) = (a.to_vec(), b.to_vec());
        let (vec_a, vec_b) = (a.len() == 1, b.len() == 1);
        if vec_a {
            a.insert(0, 1);
        }
        if vec_b {
            b.push(1);
        }
        let (sa, sb) = (strides(&a), strides(&b));
        let (ra, rb) = (a.len(), b.len());
        let (mut m, mut k, mut a_steps) = (a[ra - 2], a[ra - 1], (sa[ra - 2], sa[ra - 1]));
        if trans_a && !vec_a {
            (m, k, a_steps) = (k, m, (a_steps.1, a_steps.0));
        }
        let (mut n, mut b_steps) = (b[rb - 1], (sb[rb - 2], sb[rb - 1]));
        if trans_b && !vec_b {
            (n, b_steps) = (b[rb - 2], (b_steps.1, b_steps.0));
        }
        let rank = ra.max(rb) - 2;
        let step = |shape: &[usize], steps: &[usize], i: usize| {
            let shift = rank - (shape.len() - 2);
            if i < shift || shape[i - shift] == 1 { 0 } else { steps[i - shift] }
        };
        let extent = |shape: &[usize], i: usize| {
            let shift = rank - (shape.len() - 2);
            if i < shift { 1 } else { shape[i - shift] }
        };
        Product {
            batch: (0..rank).map(|i| if extent(&a, i) == 1 { extent(&b, i) } else { extent(&a, i) }).collect(),
            a_batch: (0..rank).map(|i| step(&a, &sa, i)).collect(),
            b_batch: (0..rank).map(|i| step(&b, &sb, i)).collect(),
            mnk: (m, n, k),
            a: a_steps,
            b: b_steps,
        }
    }

    /// `c[batch, m, n]`, row-major.
    ///
    /// # Errors
    /// When the run's deadline passes.
    pub fn eval<T: Ring>(&self, env: &Env, a: &[T], b: &[T]) -> Result<Vec<T>> {
        let (m, n, k) = self.mnk;
        let mut out = Vec::with_capacity(self.batch.iter().product::<usize>() * m * n);
        let mut row = vec![T::ZERO; n];
        for index in indices(&self.batch) {
            let dot = |s: &[usize]| index.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
            let (a0, b0) = (dot(&self.a_batch), dot(&self.b_batch));
            for i in 0..m {
                env.check()?;
                row.fill(T::ZERO);
                for l in 0..k {
                    let x = a[a0 + i * self.a.0 + l * self.a.1];
                    let at = b0 + l * self.b.0;
                    for (j, r) in row.iter_mut().enumerate() {
                        *r = r.plus_product(x, b[at + j * self.b.1]);
                    }
                }
                out.extend_from_slice(&row);
            }
        }
        Ok(out)
    }

    /// The description for code generation.
    pub fn lowering(&self) -> crate::lower::MatMul {
        let (m, n, k) = self.mnk;
        crate::lower::MatMul {
            batch: (0..self.batch.len()).map(|i| (self.batch[i], self.a_batch[i], self.b_batch[i])).collect(),
            m,
            n,
            k,
            a_strides: self.a,
            b_strides: self.b,
            bias: None,
            alpha: 1.0,
            beta: 1.0,
        }
    }
}

/// The product of two tensors of one type into `shape`; floats are summed in `f64` and rounded once.
///
/// # Errors
/// When the elements are no real numbers, or the run's deadline passes.
pub fn eval_product(
    p: &Product,
    env: &Env,
    a: &Tensor,
    b: &Tensor,
    dtype: DType,
    shape: &[usize],
    alpha: f64,
) -> Result<Tensor> {
    if dtype.is_float() {
        let y = p.eval(env, &a.floats()?, &b.floats()?)?;
        return Ok(Tensor::from_floats(dtype, shape, y.into_iter().map(|v| v * alpha)));
    }
    Ok(Tensor::from_ints(dtype, shape, p.eval(env, &a.ints()?, &b.ints()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_product_reads_columns() {
        let p = Product::of(&[2, 3], &[2, 2], true, false);
        assert_eq!(p.mnk, (3, 2, 2));
        assert_eq!(
            p.eval(&Env::default(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 0.0, 0.0, 1.0]).unwrap(),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
    }

    #[test]
    fn a_batch_of_one_is_reused() {
        let p = Product::of(&[1, 1, 2], &[3, 2, 1], false, false);
        assert_eq!(p.batch, [3]);
        assert_eq!((p.a_batch[0], p.b_batch[0]), (0, 2));
    }
}
