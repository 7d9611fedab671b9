//! Lowerings that many operators share, written in tensor expressions.

use super::window::Fixed;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::loops::LoopError;
use crate::lower::{Computation, IndexCheck, IndexRange, LowerCx, Lowering, Operand};
use crate::tensor::Tensor;

pub use crate::loops::{BinOp, ComputeBuilder, ExprId, ReduceOp, TensorId};

/// A computation in the making, its inputs tied to operands.
pub struct Loops<'a, 'b> {
    /// The expressions.
    pub c: ComputeBuilder,
    cx: &'a LowerCx<'b>,
    operands: Vec<Operand>,
    checks: Vec<IndexCheck>,
    tensors: Vec<TensorId>,
}

impl<'a, 'b> Loops<'a, 'b> {
    /// Starts a computation for a call.
    pub fn new(cx: &'a LowerCx<'b>) -> Self {
        Loops { c: ComputeBuilder::new(), cx, operands: Vec::new(), checks: Vec::new(), tensors: Vec::new() }
    }

    /// Operand `i` as a tensor.
    pub fn x(&mut self, i: usize) -> TensorId {
        if let Some(at) = self.operands.iter().position(|o| matches!(o, Operand::Input(k) if *k == i)) {
            return self.tensors[at];
        }
        let t = self.c.input(self.cx.dtype(i), self.cx.shape(i));
        self.operands.push(Operand::Input(i));
        self.tensors.push(t);
        t
    }

    /// Numbers that are known now, as a tensor.
    pub fn table(&mut self, numbers: Tensor) -> TensorId {
        let t = self.c.input(numbers.dtype(), numbers.shape());
        self.operands.push(Operand::Table(numbers));
        self.tensors.push(t);
        t
    }

    /// Elements of operand `i` must lie in `range`; others are an error of the run.
    pub fn check_index(&mut self, i: usize, range: IndexRange) {
        self.checks.push(IndexCheck { operand: i, range });
    }

    /// Result 0 element by element.
    pub fn result(mut self, f: impl FnOnce(&mut ComputeBuilder, &[ExprId]) -> ExprId) -> Result<Lowering> {
        let (dtype, shape) = self.cx.outputs[0].clone();
        let y = self.c.compute(dtype, &shape, f);
        self.done(&[y])
    }

    /// Ends with these tensors as results; what loops do not support runs on the host.
    pub fn done(mut self, results: &[TensorId]) -> Result<Lowering> {
        for &r in results {
            self.c.output(r);
        }
        match self.c.finish() {
            Ok(compute) => Ok(Lowering::Compute(Computation { compute, operands: self.operands, checks: self.checks })),
            Err(LoopError::Unsupported(_)) => Ok(Lowering::Host),
            Err(e) => Err(Error::bug(e.to_string())),
        }
    }
}

/// `y = f(x)`. Of floats narrower than `f32`, `f` computes in [`wide`], and the result is rounded once.
pub fn unary(cx: &LowerCx<'_>, f: impl Fn(&mut ComputeBuilder, ExprId) -> ExprId) -> Result<Lowering> {
    let mut l = Loops::new(cx);
    let x = l.x(0);
    l.result(|c, i| {
        let v = c.load(x, i);
        let v = widened(c, v);
        let y = f(c, v);
        rounded(cx, c, y)
    })
}

/// `y = f(a, b)` with broadcasting, in [`wide`] as [`unary`] is.
pub fn binary(cx: &LowerCx<'_>, f: impl Fn(&mut ComputeBuilder, ExprId, ExprId) -> ExprId) -> Result<Lowering> {
    let mut l = Loops::new(cx);
    let (a, b) = (l.x(0), l.x(1));
    l.result(|c, i| {
        let (a, b) = (c.load_broadcast(a, i), c.load_broadcast(b, i));
        let (a, b) = (widened(c, a), widened(c, b));
        let y = f(c, a, b);
        rounded(cx, c, y)
    })
}

/// `y = post(f(f(x_0, x_1), x_2)…)` with broadcasting, in [`wide`] as [`unary`] is.
pub fn variadic(
    cx: &LowerCx<'_>,
    f: impl Fn(&mut ComputeBuilder, ExprId, ExprId) -> ExprId,
    post: impl Fn(&mut ComputeBuilder, ExprId) -> ExprId,
) -> Result<Lowering> {
    let mut l = Loops::new(cx);
    let xs: Vec<TensorId> = (0..cx.inputs.len()).map(|i| l.x(i)).collect();
    l.result(|c, i| {
        let term = |c: &mut ComputeBuilder, x| {
            let v = c.load_broadcast(x, i);
            widened(c, v)
        };
        let mut acc = term(c, xs[0]);
        for &x in &xs[1..] {
            let v = term(c, x);
            acc = f(c, acc, v);
        }
        let y = post(c, acc);
        rounded(cx, c, y)
    })
}

/// `x` in [`wide`] where it is a float.
fn widened(c: &mut ComputeBuilder, x: ExprId) -> ExprId {
    let dtype = c.dtype(x);
    if dtype.is_float() { c.cast(x, wide(dtype)) } else { x }
}

/// A number of the computation as the result's type has it.
fn rounded(cx: &LowerCx<'_>, c: &mut ComputeBuilder, y: ExprId) -> ExprId {
    c.cast(y, cx.outputs[0].0)
}

/// `y = x`, broadcast to the result's shape.
pub fn expand(cx: &LowerCx<'_>) -> Result<Lowering> {
    let mut l = Loops::new(cx);
    let x = l.x(0);
    l.result(|c, i| c.load_broadcast(x, i))
}

/// `y = post(reduce(pre(x)))` over `axes`, sums and products of narrow floats in [`wide`]; the result with or without axes
/// of extent 1 in their place.
pub fn reduce(
    cx: &LowerCx<'_>,
    axes: &[usize],
    op: ReduceOp,
    pre: impl Fn(&mut ComputeBuilder, ExprId) -> ExprId,
    post: impl Fn(&mut ComputeBuilder, ExprId) -> ExprId,
) -> Result<Lowering> {
    let shape = cx.shape(0).to_vec();
    let (within, out) = (joined_in(op, cx.dtype(0)), cx.outputs[0].0);
    let keepdims = cx.outputs[0].1.len() == shape.len();
    let sizes: Vec<usize> = axes.iter().map(|&a| shape[a]).collect();
    let mut l = Loops::new(cx);
    let x = l.x(0);
    l.result(|c, i| {
        let mut kept = i.iter();
        let mut at: Vec<Option<ExprId>> = Vec::with_capacity(shape.len());
        for axis in 0..shape.len() {
            let reduced = axes.contains(&axis);
            let index = if reduced && !keepdims { None } else { kept.next().copied() };
            at.push(if reduced { None } else { index });
        }
        let sum = c.reduce(op, &sizes, |c, r| {
            let index: Vec<ExprId> = at
                .iter()
                .enumerate()
                .map(|(axis, e)| e.unwrap_or_else(|| r[axes.iter().position(|&a| a == axis).expect("a reduced axis")]))
                .collect();
            let v = c.load(x, &index);
            let v = c.cast(v, within);
            pre(c, v)
        });
        let y = post(c, sum);
        c.cast(y, out)
    })
}

/// The type in which `op` joins values of `dtype`: sums and products of narrow floats round once, at the end.
pub fn joined_in(op: ReduceOp, dtype: DType) -> DType {
    let rounds = matches!(op, ReduceOp::Sum | ReduceOp::Prod) && dtype.is_float();
    if rounds { wide(dtype) } else { dtype }
}

/// Reduces windows of `x[n, c, spatial…]`; elements outside count as `outside`. `finish` gets what was reduced, sums
/// in [`wide`], and the index of the window.
pub fn pool(
    cx: &LowerCx<'_>,
    axes: &[Fixed],
    op: ReduceOp,
    outside: f64,
    finish: impl Fn(&mut ComputeBuilder, ExprId, &[ExprId]) -> ExprId,
) -> Result<Lowering> {
    let dtype = cx.dtype(0);
    let within = joined_in(op, dtype);
    let kernel: Vec<usize> = axes.iter().map(|a| a.kernel).collect();
    let mut l = Loops::new(cx);
    let x = l.x(0);
    l.result(|c, i| {
        let sum = c.reduce(op, &kernel, |c, r| {
            let mut index = vec![i[0], i[1]];
            for (a, axis) in axes.iter().enumerate() {
                let start = c.affine(i[2 + a], axis.stride as i64, -(axis.begin as i64));
                let tap = c.affine(r[a], axis.dilation as i64, 0);
                index.push(c.add(start, tap));
            }
            let pad = c.float(dtype, outside);
            let v = c.load_padded(x, &index, pad);
            c.cast(v, within)
        });
        let y = finish(c, sum, i);
        c.cast(y, dtype)
    })
}

/// The axes of a `Reduce…` call with `axes` as operand 1; `None` where they are not constant or nothing is reduced.
pub fn reduce_axes(cx: &LowerCx<'_>, noop: bool) -> Result<Option<Vec<usize>>> {
    let rank = cx.shape(0).len();
    let axes = match cx.has(1) {
        false => Vec::new(),
        true => match cx.constant(1) {
            Some(t) => t.to_i64s()?.into_iter().map(|a| super::common::normal_axis(a, rank)).collect(),
            None => return Ok(None),
        },
    };
    Ok(match (axes.is_empty(), noop) {
        (false, _) => Some(axes),
        (true, true) => None,
        (true, false) => Some((0..rank).collect()),
    })
}

/// The type in which values of `dtype` are summed and divided.
pub fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// `list` without the entry at `axis`.
pub fn without<T: Copy>(list: &[T], axis: usize) -> Vec<T> {
    list.iter().enumerate().filter(|&(a, _)| a != axis).map(|(_, &v)| v).collect()
}

/// `list` with `entry` put in at `axis`.
pub fn with<T: Copy>(list: &[T], axis: usize, entry: T) -> Vec<T> {
    let mut out = list.to_vec();
    out.insert(axis, entry);
    out
}

/// `y = (x - mean) * factor(var)`, with `affine` times operand 1 plus operand 2 of axis 1. Mean and variance are taken
/// over groups: `extents` are those of the groups and of the cells of one, `cell(group, cell)` is a cell's index in `x`
/// and `group(index)` the group of an index.
pub fn normalisation(
    cx: &LowerCx<'_>,
    extents: (&[usize], &[usize]),
    cell: impl Fn(&mut ComputeBuilder, &[ExprId], &[ExprId]) -> Vec<ExprId>,
    group: impl Fn(&mut ComputeBuilder, &[ExprId]) -> Vec<ExprId>,
    factor: impl Fn(&mut ComputeBuilder, ExprId) -> ExprId,
    affine: bool,
) -> Result<Lowering> {
    let dtype = cx.outputs[0].0;
    let wide = wide(dtype);
    let (groups, cells) = extents;
    let n: usize = cells.iter().product();
    let mut l = Loops::new(cx);
    let x = l.x(0);
    let terms = affine.then(|| (l.x(1), l.x(2)));
    let mean = l.c.compute(wide, groups, |c, g| {
        let sum = c.reduce(ReduceOp::Sum, cells, |c, r| {
            let index = cell(c, g, r);
            let v = c.load(x, &index);
            c.cast(v, wide)
        });
        c.bin_const(BinOp::Mul, sum, 1.0 / n as f64)
    });
    let factor = l.c.compute(wide, groups, |c, g| {
        let sum = c.reduce(ReduceOp::Sum, cells, |c, r| {
            let index = cell(c, g, r);
            let (v, m) = (c.load(x, &index), c.load(mean, g));
            let v = c.cast(v, wide);
            let d = c.sub(v, m);
            c.mul(d, d)
        });
        let var = c.bin_const(BinOp::Mul, sum, 1.0 / n as f64);
        factor(c, var)
    });
    l.result(|c, i| {
        let g = group(c, i);
        let (v, m, f) = (c.load(x, i), c.load(mean, &g), c.load(factor, &g));
        let v = c.cast(v, wide);
        let d = c.sub(v, m);
        let mut y = c.mul(d, f);
        if let Some((scale, bias)) = terms {
            let (s, b) = (c.load(scale, &i[1..2]), c.load(bias, &i[1..2]));
            let (s, b) = (c.cast(s, wide), c.cast(b, wide));
            y = c.mul(y, s);
            y = c.add(y, b);
        }
        c.cast(y, dtype)
    })
}

/// `y = x - max`, exponentials and their sum along `axes`, shared by softmax and its logarithm.
pub fn softmax(cx: &LowerCx<'_>, axis: usize, log: bool) -> Result<Lowering> {
    let (dtype, shape) = cx.outputs[0].clone();
    // Sums of halves are kept in f32.
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let rows: Vec<usize> = shape.iter().enumerate().filter(|&(a, _)| a != axis).map(|(_, &n)| n).collect();
    let cols = shape[axis];
    let row_of =
        |i: &[ExprId]| -> Vec<ExprId> { i.iter().enumerate().filter(|&(a, _)| a != axis).map(|(_, &e)| e).collect() };
    let full = |row: &[ExprId], r: ExprId| -> Vec<ExprId> {
        let mut index = row.to_vec();
        index.insert(axis, r);
        index
    };
    let mut l = Loops::new(cx);
    let x = l.x(0);
    let max = l.c.compute(wide, &rows, |c, i| {
        c.reduce(ReduceOp::Max, &[cols], |c, r| {
            let v = c.load(x, &full(i, r[0]));
            c.cast(v, wide)
        })
    });
    let shifted = |c: &mut ComputeBuilder, i: &[ExprId]| {
        let v = c.load(x, i);
        let v = c.cast(v, wide);
        let m = c.load(max, &row_of(i));
        c.sub(v, m)
    };
    if log {
        let sum = l.c.compute(wide, &rows, |c, i| {
            let s = c.reduce(ReduceOp::Sum, &[cols], |c, r| {
                let d = shifted(c, &full(i, r[0]));
                c.exp(d)
            });
            c.log(s)
        });
        return l.result(|c, i| {
            let d = shifted(c, i);
            let s = c.load(sum, &row_of(i));
            let y = c.sub(d, s);
            c.cast(y, dtype)
        });
    }
    let exp = l.c.compute(wide, &shape, |c, i| {
        let d = shifted(c, i);
        c.exp(d)
    });
    let sum = l.c.compute(wide, &rows, |c, i| {
        let s = c.reduce(ReduceOp::Sum, &[cols], |c, r| c.load(exp, &full(i, r[0])));
        c.recip(s)
    });
    l.result(|c, i| {
        let (e, s) = (c.load(exp, i), c.load(sum, &row_of(i)));
        let y = c.mul(e, s);
        c.cast(y, dtype)
    })
}

/// `(x - mean) / sqrt(var + epsilon) * scale + bias` over the axes from `axis` on; `scale` is operand 1 and `bias`,
/// if given, operand 2, broadcast to the normalised axes. One result. Computed in `f64` where operands or `stash` are that,
/// in `f32` otherwise.
pub fn layer_norm(cx: &LowerCx<'_>, axis: usize, epsilon: f32, centred: bool, stash: DType) -> Result<Lowering> {
    let (dtype, shape) = cx.outputs[0].clone();
    let wide = if [dtype, stash].contains(&DType::F64) { DType::F64 } else { DType::F32 };
    let (rows, cols) = (shape[..axis].to_vec(), shape[axis..].to_vec());
    let n: usize = cols.iter().product();
    let full = |row: &[ExprId], r: &[ExprId]| -> Vec<ExprId> { row.iter().chain(r).copied().collect() };
    let mut l = Loops::new(cx);
    let (x, scale) = (l.x(0), l.x(1));
    let bias = cx.has(2).then(|| l.x(2));
    let mean = centred.then(|| {
        l.c.compute(wide, &rows, |c, i| {
            let s = c.reduce(ReduceOp::Sum, &cols, |c, r| {
                let v = c.load(x, &full(i, r));
                c.cast(v, wide)
            });
            let f = c.float(wide, 1.0 / n as f64);
            c.mul(s, f)
        })
    });
    let centre = |c: &mut ComputeBuilder, i: &[ExprId]| {
        let v = c.load(x, i);
        let v = c.cast(v, wide);
        match mean {
            None => v,
            Some(mean) => {
                let m = c.load(mean, &i[..axis]);
                c.sub(v, m)
            }
        }
    };
    let inverse = l.c.compute(wide, &rows, |c, i| {
        let s = c.reduce(ReduceOp::Sum, &cols, |c, r| {
            let d = centre(c, &full(i, r));
            c.mul(d, d)
        });
        let f = c.float(wide, 1.0 / n as f64);
        let v = c.mul(s, f);
        let e = c.float(wide, f64::from(epsilon));
        let v = c.add(v, e);
        let r = c.sqrt(v);
        c.recip(r)
    });
    l.result(|c, i| {
        let d = centre(c, i);
        let r = c.load(inverse, &i[..axis]);
        let y = c.mul(d, r);
        let s = c.load_broadcast(scale, i);
        let s = c.cast(s, wide);
        let mut y = c.mul(y, s);
        if let Some(bias) = bias {
            let b = c.load_broadcast(bias, i);
            let b = c.cast(b, wide);
            y = c.add(y, b);
        }
        c.cast(y, dtype)
    })
}

/// The result's element at `i` is operand 0's element at `map(i)`.
pub fn moved(cx: &LowerCx<'_>, map: impl Fn(&mut ComputeBuilder, &[ExprId]) -> Vec<ExprId>) -> Result<Lowering> {
    let mut l = Loops::new(cx);
    let x = l.x(0);
    l.result(|c, i| {
        let index = map(c, i);
        c.load(x, &index)
    })
}
