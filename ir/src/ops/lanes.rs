//! Lanes: the elements of a tensor along some axes, the others fixed. Reductions, softmax, normalisations and scans
//! walk a tensor lane by lane.

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::tensor::{Tensor, strides};

/// Linear positions of all indices of `axes`, the other axes at 0; row-major in the order of `axes`.
pub fn offsets(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    if axes.iter().any(|&a| shape[a] == 0) {
        return Vec::new();
    }
    let steps = strides(shape);
    let mut out = vec![0usize];
    for &a in axes {
        let mut next = Vec::with_capacity(out.len() * shape[a]);
        for base in out {
            next.extend((0..shape[a]).map(|i| base + i * steps[a]));
        }
        out = next;
    }
    out
}

/// The axes of `0..rank` that are not in `axes`.
pub fn other_axes(rank: usize, axes: &[usize]) -> Vec<usize> {
    (0..rank).filter(|a| !axes.contains(a)).collect()
}

/// First position of each lane along `axes`, and the positions within a lane relative to it. Lanes may be without elements: their
/// number is then bounded only by that of the results which a caller makes of them, see [`filled_lanes`].
pub fn lanes(shape: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let bases = offsets(shape, &other_axes(shape.len(), axes));
    let inner = if bases.is_empty() { Vec::new() } else { offsets(shape, axes) };
    (bases, inner)
}

/// The [`lanes`] that have elements: for results of the operand's own shape.
pub fn filled_lanes(shape: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    if shape.contains(&0) { (Vec::new(), Vec::new()) } else { lanes(shape, axes) }
}

/// Replaces each lane of `x` along `axes` by what `f` makes of it, in `f64`.
///
/// # Errors
/// When the elements are no real numbers.
pub fn map_lanes(x: &Tensor, axes: &[usize], f: impl Fn(&mut [f64])) -> Result<Tensor> {
    let mut v = x.floats()?;
    let (bases, inner) = filled_lanes(x.shape(), axes);
    let mut lane = vec![0.0; inner.len()];
    for base in bases {
        for (l, o) in lane.iter_mut().zip(&inner) {
            *l = v[base + o];
        }
        f(&mut lane);
        for (l, o) in lane.iter().zip(&inner) {
            v[base + o] = *l;
        }
    }
    Ok(Tensor::from_floats(x.dtype(), x.shape(), v))
}

/// Evaluates `y = f(x)`, lane by lane along one axis of operand 0.
///
/// # Errors
/// When the elements are no real numbers.
pub fn eval_lane(cx: &mut EvalCx<'_>, axis: i64, f: impl Fn(&mut [f64])) -> Result<()> {
    let x = cx.tensor(0)?;
    let y = map_lanes(x, &[normal_axis(axis, x.rank())], f)?;
    cx.push(y);
    Ok(())
}

/// The sum; of nothing it is 0, where `Iterator::sum` gives -0.
pub fn sum(v: impl Iterator<Item = f64>) -> f64 {
    v.fold(0.0, |a, b| a + b)
}

/// Mean and variance (population) of elements of `dtype`.
pub fn moments(dtype: DType, v: &[f64]) -> (f64, f64) {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    (mean, mean_square(dtype, v.iter().map(|x| x - mean)))
}

/// Mean of the squares of elements of `dtype`: squares and mean are numbers of the type that ONNX gives these statistics, `f64`
/// for `f64` and `f32` for all others. Smaller ones vanish and larger ones are infinite.
pub fn mean_square(dtype: DType, v: impl ExactSizeIterator<Item = f64>) -> f64 {
    let held = |x: f64| if dtype == DType::F64 { x } else { f64::from(x as f32) };
    let n = v.len() as f64;
    held(v.map(|x| held(x * x)).sum::<f64>() / n)
}

/// Softmax in place; a lane of nothing but `-inf` becomes NaN, as the formula says.
pub fn softmax(v: &mut [f64]) {
    let max = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    v.iter_mut().for_each(|x| *x = (*x - max).exp());
    let sum: f64 = v.iter().sum();
    v.iter_mut().for_each(|x| *x /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_a_matrix() {
        assert_eq!(lanes(&[2, 3], &[0]), (vec![0, 1, 2], vec![0, 3]));
        assert_eq!(lanes(&[2, 3], &[1]), (vec![0, 3], vec![0, 1, 2]));
        assert_eq!(lanes(&[2, 0], &[1]), (vec![0, 0], vec![]));
        assert_eq!(lanes(&[1 << 40, 1 << 40, 0], &[0, 1]), (vec![], vec![]));
        assert_eq!(filled_lanes(&[1 << 40, 0], &[1]), (vec![], vec![]));
    }
}
