//! What a lowering means: tensor expressions through the loop interpreter, products and convolutions by their formulas.
//!
//! It stands between an operator's `eval` and machine code: where it differs from `eval` the lowering is wrong, where
//! machine code differs from it the kernel or the emitter is.

use super::{Conv, LowerCx, Lowering, MatMul, Operand, PairForm, PairProduct, Pairs};
use crate::channels_last::{order, order_back, reordered};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::loops::interp;
use crate::tensor::{AlignedBytes, Tensor, indices};

impl Lowering {
    /// Multiply-adds or element evaluations, roughly: what [`Lowering::evaluate`] takes time for.
    pub fn work(&self) -> u64 {
        let product = |v: &[usize]| v.iter().fold(1u64, |a, &n| a.saturating_mul(n as u64));
        match self {
            Lowering::Compute(c) => c.compute.work(),
            Lowering::MatMul(m) => m.batch.iter().fold(product(&[m.m, m.n, m.k]), |a, b| a.saturating_mul(b.0 as u64)),
            Lowering::Conv(c) | Lowering::ConvLast { conv: c, .. } => {
                let at = if c.transposed { &c.input } else { &c.output };
                [product(&c.kernel), product(at)]
                    .into_iter()
                    .fold(product(&[c.n, c.groups, c.c, c.m]), u64::saturating_mul)
            }
            Lowering::Pairs(p) => {
                let product = match &p.form {
                    PairForm::MatMul(m) => Lowering::MatMul(m.clone()),
                    PairForm::Conv(c) => Lowering::Conv(c.clone()),
                };
                product.work().saturating_mul(2)
            }
            _ => 0,
        }
    }

    /// The results of the call on these operands (as in `cx`, which the lowering was made for). `None` where the
    /// lowering leaves the meaning to `eval`, or is of a kind that has no interpreter.
    ///
    /// # Errors
    /// When the computation is ill formed or reads outside of an operand.
    pub fn evaluate(&self, cx: &LowerCx<'_>, operands: &[Option<&Tensor>]) -> Result<Option<Vec<Tensor>>> {
        let operand = |i: usize| {
            operands
                .get(i)
                .copied()
                .flatten()
                .ok_or_else(|| Error::bug(format!("the lowering reads operand {i}, which is left out")))
        };
        let (dtype, shape) = cx.outputs.first().ok_or_else(|| Error::bug("a lowering without results"))?;
        match self {
            Lowering::View => Ok(Some(vec![operand(0)?.reshaped(shape)?])),
            Lowering::Compute(c) => {
                c.compute.check().map_err(|e| Error::bug(e.to_string()))?;
                let bytes = |o| match o {
                    &Operand::Input(i) => Ok(operand(i)?.bytes()),
                    Operand::Table(numbers) => Ok(numbers.bytes()),
                };
                let inputs = c.operands.iter().map(bytes).collect::<Result<Vec<_>>>()?;
                let results = interp::eval(&c.compute, &inputs).map_err(|e| Error::bug(e.to_string()))?;
                let descs = c.compute.output_descs().zip(&cx.outputs).zip(results);
                let made = descs.map(|((desc, (dtype, shape)), bytes)| {
                    if desc.dtype != *dtype || desc.shape != *shape {
                        let text = format!(
                            "the lowering makes {}{:?}, the rule says {dtype}{shape:?}",
                            desc.dtype, desc.shape
                        );
                        return Err(Error::bug(text));
                    }
                    Tensor::from_aligned(*dtype, shape, AlignedBytes::copy_of(&bytes))
                });
                made.collect::<Result<Vec<_>>>().map(Some)
            }
            Lowering::MatMul(m) if dtype.is_float() => {
                let c = m.bias.map(|_| operand(2)).transpose()?;
                Ok(Some(vec![m.evaluate(operand(0)?, operand(1)?, c, *dtype, shape)?]))
            }
            Lowering::Conv(c) if dtype.is_float() => {
                let bias = c.bias.then(|| operand(2)).transpose()?;
                Ok(Some(vec![c.evaluate(operand(0)?, operand(1)?, bias, *dtype, shape)?]))
            }
            Lowering::ConvLast { conv, image_last } if dtype.is_float() => {
                let bias = conv.bias.then(|| operand(2)).transpose()?;
                let image = operand(0)?;
                let plain = image_last.then(|| reordered(image, &order_back(image.rank()))).transpose()?;
                let plain_shape: Vec<usize> = order_back(shape.len()).iter().map(|&axis| shape[axis]).collect();
                let y = conv.evaluate(plain.as_ref().unwrap_or(image), operand(1)?, bias, *dtype, &plain_shape)?;
                Ok(Some(vec![reordered(&y, &order(shape.len()))?]))
            }
            Lowering::Pairs(p) => Ok(Some(vec![p.evaluate(&operand, shape)?])),
            _ => Ok(None),
        }
    }
}

impl PairProduct {
    fn evaluate<'a>(&self, operand: &dyn Fn(usize) -> Result<&'a Tensor>, shape: &[usize]) -> Result<Tensor> {
        // The lower and the upper numbers of the pairs, whose products are summed exactly in `f64`.
        let halves = |p: &Pairs| -> Result<[Tensor; 2]> {
            let c = p.computation()?;
            c.compute.check().map_err(|e| Error::bug(e.to_string()))?;
            let inputs = std::iter::once(p.operand).chain(p.zero.operand());
            let inputs = inputs.map(|i| Ok(operand(i)?.bytes())).collect::<Result<Vec<_>>>()?;
            let bytes = interp::eval(&c.compute, &inputs).map_err(|e| Error::bug(e.to_string()))?;
            let pairs = bytes.first().map(|b| b.as_chunks::<4>().0).unwrap_or_default();
            let half = |shift: u32| {
                let numbers = pairs.iter().map(|&b| f64::from((i32::from_ne_bytes(b) >> shift) as i16));
                Tensor::from_floats(DType::F64, &[pairs.len()], numbers)
            };
            Ok([half(0), half(16)])
        };
        let (lhs, rhs) = (halves(&self.lhs)?, halves(&self.rhs)?);
        let mut sums = vec![0i128; crate::tensor::len_elems(shape)?];
        for (x, w) in lhs.iter().zip(&rhs) {
            let y = match &self.form {
                PairForm::MatMul(m) => m.evaluate(x, w, None, DType::F64, shape)?,
                PairForm::Conv(c) => c.evaluate(x, w, None, DType::F64, shape)?,
            };
            sums.iter_mut().zip(y.floats()?).for_each(|(sum, v)| *sum += v as i128);
        }
        Ok(Tensor::from_ints(DType::I32, shape, sums))
    }
}

/// Element `at` of `v`, checked.
fn read(v: &[f64], at: usize) -> Result<f64> {
    v.get(at).copied().ok_or_else(|| Error::bug(format!("the lowering reads element {at} of {}", v.len())))
}

impl MatMul {
    fn evaluate(&self, a: &Tensor, b: &Tensor, c: Option<&Tensor>, dtype: DType, shape: &[usize]) -> Result<Tensor> {
        let (a, b, c) = (a.floats()?, b.floats()?, c.map(Tensor::floats).transpose()?);
        let lens: Vec<usize> = self.batch.iter().map(|b| b.0).collect();
        let mut out = Vec::new();
        for at in indices(&lens) {
            let base = |stride: fn(&(usize, usize, usize)) -> usize| -> usize {
                at.iter().zip(&self.batch).map(|(i, b)| i * stride(b)).sum()
            };
            let (a0, b0) = (base(|b| b.1), base(|b| b.2));
            for i in 0..self.m {
                for j in 0..self.n {
                    let mut sum = 0.0;
                    for k in 0..self.k {
                        let x = read(&a, a0 + i * self.a_strides.0 + k * self.a_strides.1)?;
                        sum += x * read(&b, b0 + k * self.b_strides.0 + j * self.b_strides.1)?;
                    }
                    sum *= f64::from(self.alpha);
                    if let (Some(c), Some((row, column))) = (&c, self.bias) {
                        sum += f64::from(self.beta) * read(c, i * row + j * column)?;
                    }
                    out.push(sum);
                }
            }
        }
        sized(dtype, shape, out)
    }
}

impl Conv {
    fn evaluate(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, dtype: DType, shape: &[usize]) -> Result<Tensor> {
        let (x, w, bias) = (x.floats()?, w.floats()?, bias.map(Tensor::floats).transpose()?);
        let place = |lens: &[usize], at: &[usize]| lens.iter().zip(at).fold(0, |p, (n, i)| p * n + i);
        let (n_in, n_out) = (self.input.iter().product::<usize>(), self.output.iter().product::<usize>());
        let n_kernel = self.kernel.iter().product::<usize>();
        let mut out = vec![0.0; self.n * self.groups * self.m * n_out];
        // Every pair of an input and an output position that a kernel position ties together.
        let spread: &[usize] = if self.transposed { &self.input } else { &self.output };
        let mut ties = Vec::new();
        for (t, at) in indices(&self.kernel).enumerate() {
            for from in indices(spread) {
                let other: Option<Vec<usize>> = (0..at.len())
                    .map(|d| (from[d] * self.strides[d] + at[d] * self.dilations[d]).checked_sub(self.pads[d]))
                    .collect();
                let other_lens = if self.transposed { &self.output } else { &self.input };
                if let Some(other) = other.filter(|o| o.iter().zip(other_lens).all(|(i, n)| i < n)) {
                    let (i, o) = if self.transposed { (&from, &other) } else { (&other, &from) };
                    ties.push((t, place(&self.input, i), place(&self.output, o)));
                }
            }
        }
        for image in 0..self.n {
            for g in 0..self.groups {
                for (m, c) in (0..self.m).flat_map(|m| (0..self.c).map(move |c| (m, c))) {
                    let (channel, filter) = (g * self.c + c, g * self.m + m);
                    let kernel = if self.transposed { channel * self.m + m } else { filter * self.c + c } * n_kernel;
                    let from = (image * self.groups * self.c + channel) * n_in;
                    let to = (image * self.groups * self.m + filter) * n_out;
                    for &(t, i, o) in &ties {
                        out[to + o] += read(&x, from + i)? * read(&w, kernel + t)?;
                    }
                }
            }
        }
        if let Some(bias) = &bias {
            for (k, v) in out.iter_mut().enumerate() {
                *v += read(bias, k / n_out % (self.groups * self.m))?;
            }
        }
        sized(dtype, shape, out)
    }
}

fn sized(dtype: DType, shape: &[usize], out: Vec<f64>) -> Result<Tensor> {
    if out.len() != crate::tensor::len_elems(shape)? {
        return Err(Error::bug(format!("the lowering makes {} elements, the rule says {shape:?}", out.len())));
    }
    Ok(Tensor::from_floats(dtype, shape, out))
}

#[cfg(test)]
mod tests {
    use crate::eval::{Env, Reference, eval_call};
    use crate::lower::LowerCx;
    use crate::{Attrs, DType, Tensor, Value, attrs, ops};

    /// The lowering of a call, interpreted, and the call's `eval`.
    fn both(op: &str, attrs: Attrs, operands: &[Tensor]) -> (Tensor, Tensor) {
        let op = (ops::find("", op).unwrap().parse)(&attrs).unwrap();
        let values: Vec<Value> = operands.iter().cloned().map(Value::from).collect();
        let given: Vec<Option<&Value>> = values.iter().map(Some).collect();
        let want =
            eval_call(&*op, &given, &[], 1, &Env::default(), &Reference).unwrap().remove(0).tensor().unwrap().clone();
        let cx = LowerCx {
            inputs: operands.iter().map(|t| Some((t.dtype(), t.shape().to_vec()))).collect(),
            constants: vec![None; operands.len()],
            outputs: vec![(want.dtype(), want.shape().to_vec())],
        };
        let lowering = op.lower(&cx).unwrap();
        assert!(lowering.work() > 0);
        let tensors: Vec<Option<&Tensor>> = operands.iter().map(Some).collect();
        (lowering.evaluate(&cx, &tensors).unwrap().unwrap().remove(0), want)
    }

    fn ramp(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        Tensor::from_floats(DType::F32, shape, (0..n).map(|i| (i * 7 % 11) as f64 - 5.0))
    }

    #[test]
    fn lowerings_mean_what_eval_says() {
        let (got, want) = both("Add", attrs! {}, &[ramp(&[2, 3]), ramp(&[3])]);
        assert_eq!(got, want);
        let (got, want) = both("MatMul", attrs! {}, &[ramp(&[2, 2, 3]), ramp(&[3, 4])]);
        assert_eq!(got, want);
        let gemm = attrs! { alpha: 0.5f32, beta: 2.0f32, transB: 1i64 };
        let (got, want) = both("Gemm", gemm, &[ramp(&[2, 3]), ramp(&[4, 3]), ramp(&[4])]);
        assert_eq!(got, want);
    }

    #[test]
    fn products_of_bytes_are_products_of_pairs() {
        let bytes = |dtype, shape: &[usize]| {
            let n: usize = shape.iter().product();
            Tensor::from_ints(
                dtype,
                shape,
                (0..n).map(|i| (i * 53 % 256) as i128 - if dtype == DType::I8 { 128 } else { 0 }),
            )
        };
        let (u, i) = (DType::U8, DType::I8);
        let zero = |dtype, n: usize| bytes(dtype, &[n]);
        for (a, b) in [(&[2, 3][..], &[3, 4][..]), (&[2, 1, 3, 6], &[5, 6, 2]), (&[5], &[5, 2]), (&[3, 5], &[5])] {
            let mut operands = vec![bytes(u, a), bytes(i, b)];
            let (got, want) = both("MatMulInteger", attrs! {}, &operands);
            assert_eq!(got, want);
            let single = a.len() == 1 || b.len() == 1;
            let (rows, cols) = if single { (1, 1) } else { (a[a.len() - 2], b[b.len() - 1]) };
            operands.extend([zero(u, rows), zero(i, cols)]);
            let (got, want) = both("MatMulInteger", attrs! {}, &operands);
            assert_eq!(got, want);
        }
    }

    #[test]
    fn convolutions_with_groups_strides_and_pads() {
        let attrs = attrs! { group: 2i64, strides: vec![2i64, 1], pads: vec![1i64, 0, 1, 2], dilations: vec![1i64, 2] };
        let operands = [ramp(&[2, 4, 5, 6]), ramp(&[6, 2, 3, 2]), ramp(&[6])];
        let (got, want) = both("Conv", attrs.clone(), &operands);
        assert_eq!(got, want);
        let operands = [ramp(&[2, 4, 3, 4]), ramp(&[4, 3, 3, 2]), ramp(&[6])];
        let (got, want) = both("ConvTranspose", attrs, &operands);
        assert_eq!(got, want);
    }
}
