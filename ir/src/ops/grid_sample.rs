//! `y[n, c, o] = x[n, c]` read at the normalised coordinates `grid[n, o]`.
//!
//! `x: T[n, c, spatial…]`, `grid: U[n, out…, d]` with `d` coordinates in -1..1, innermost axis first, `y: T[n, c, out…]`.
//!
//! - **C1** `grid` holds floats
//! - **C2** `x` and `grid` have one rank of 3 or more, the batches agree, `grid`'s last extent is the spatial rank
//! - **C3** the modes are known; interpolation wants numbers
//!
//! Coordinates are rounded to `f32` (unless `grid` is `f64`) and half-way cases of `nearest` to even, as ONNX's
//! reference does. ONNX `GridSample`: opset 16 (`bilinear`, `bicubic`; two spatial axes), 20, 22.

use super::common::*;
use super::lowering::{BinOp, ComputeBuilder, ExprId, Loops, TensorId};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, strides};

attributes! {
    /// Attributes of `GridSample`.
    pub struct GridSample {
        /// Whether -1 and 1 are centres of the outer cells instead of their edges.
        align_corners: bool = false,
        /// `nearest`, `linear` or `cubic`.
        mode: String = "linear",
        /// `zeros`, `border` or `reflection`.
        padding_mode: String = "zeros",
    }
}

impl GridSample {
    fn borders(&self, n: usize) -> (f64, f64) {
        if self.align_corners { (0.0, n as f64 - 1.0) } else { (-0.5, n as f64 - 0.5) }
    }

    /// Where a normalised coordinate lies on an axis of `n` cells.
    fn place(&self, t: f64, n: usize, exact: bool) -> f64 {
        let m = n as f64;
        let x = if self.align_corners { (t + 1.0) / 2.0 * (m - 1.0) } else { ((t + 1.0) * m - 1.0) / 2.0 };
        let mut x = if exact { x } else { f64::from(x as f32) };
        if self.mode == "nearest" {
            x = x.round_ties_even();
        }
        let (lo, hi) = self.borders(n);
        if x < lo || x > hi {
            x = match self.padding_mode.as_str() {
                "border" => x.clamp(0.0, m - 1.0),
                "reflection" => reflect(x, lo, hi),
                _ => x,
            };
        }
        x
    }

    /// The cell that stands at `i`, if any.
    fn cell(&self, i: i64, n: usize) -> Option<usize> {
        let last = n as i64 - 1;
        match self.padding_mode.as_str() {
            "zeros" => (0..=last).contains(&i).then_some(i as usize),
            "border" => Some(i.clamp(0, last) as usize),
            _ => {
                let (lo, hi) = self.borders(n);
                Some((reflect(i as f64, lo, hi) as i64).clamp(0, last) as usize)
            }
        }
    }

    /// Cells and weights along one axis.
    fn taps(&self, x: f64, n: usize) -> Vec<(usize, f64)> {
        let left = x.floor();
        let (i, r) = (left as i64, x - left);
        let taps = match self.mode.as_str() {
            "nearest" => vec![(x as i64, 1.0)],
            "linear" => vec![(i, 1.0 - r), (i.saturating_add(1), r)],
            _ => {
                let outer = |t: f64| ((-0.75 * t + 3.75) * t - 6.0) * t + 3.0;
                let inner = |t: f64| (1.25 * t - 2.25) * t * t + 1.0;
                let w = [outer(r + 1.0), inner(r), inner(1.0 - r), outer(2.0 - r)];
                (0..4).map(|k| (i.saturating_add(k - 1), w[k as usize])).collect()
            }
        };
        taps.into_iter().filter_map(|(i, w)| Some((self.cell(i, n)?, w))).collect()
    }
}

impl GridSample {
    /// [`GridSample::place`] as an expression of type `wide`.
    fn place_expr(&self, c: &mut ComputeBuilder, t: ExprId, n: usize, (exact, wide): (bool, DType)) -> ExprId {
        let m = n as f64;
        let t = c.cast(t, DType::F64);
        let t = c.bin_const(BinOp::Add, t, 1.0);
        let x = if self.align_corners {
            let half = c.bin_const(BinOp::Mul, t, 0.5);
            c.bin_const(BinOp::Mul, half, m - 1.0)
        } else {
            let cells = c.bin_const(BinOp::Mul, t, m);
            let cells = c.bin_const(BinOp::Sub, cells, 1.0);
            c.bin_const(BinOp::Mul, cells, 0.5)
        };
        let x = if exact { x } else { c.cast(x, DType::F32) };
        let x = c.cast(x, wide);
        let x = if self.mode == "nearest" { c.round(x) } else { x };
        let (lo, hi) = self.borders(n);
        match self.padding_mode.as_str() {
            "border" => {
                let (low, high) = (c.float(wide, lo), c.float(wide, hi));
                let (below, above) = (c.lt(x, low), c.gt(x, high));
                let outside = c.or(below, above);
                let edge = c.clamp(x, 0.0, m - 1.0);
                c.select(outside, edge, x)
            }
            "reflection" => reflect_expr(c, x, lo, hi, wide),
            _ => x,
        }
    }

    /// For each tap at the place `x` of an axis of `n` cells: the cell, whether there is one, its weight.
    fn tap_exprs(&self, c: &mut ComputeBuilder, x: ExprId, n: usize, wide: DType) -> Vec<(ExprId, ExprId, ExprId)> {
        let left = if self.mode == "nearest" { x } else { c.floor(x) };
        // Far outside all cells, so that numbers next to it do not wrap.
        let bounded = c.clamp(left, -(2f64.powi(30)), 2f64.powi(30));
        let i = c.cast(bounded, DType::I64);
        let r = c.sub(x, left);
        let one = c.one(wide);
        let weights: Vec<(i64, ExprId)> = match self.mode.as_str() {
            "nearest" => vec![(0, one)],
            "linear" => {
                let rest = c.sub(one, r);
                vec![(0, rest), (1, r)]
            }
            _ => {
                let outer = |c: &mut ComputeBuilder, t: ExprId| {
                    let v = c.bin_const(BinOp::Mul, t, -0.75);
                    let v = c.bin_const(BinOp::Add, v, 3.75);
                    let v = c.mul(v, t);
                    let v = c.bin_const(BinOp::Sub, v, 6.0);
                    let v = c.mul(v, t);
                    c.bin_const(BinOp::Add, v, 3.0)
                };
                let inner = |c: &mut ComputeBuilder, t: ExprId| {
                    let v = c.bin_const(BinOp::Mul, t, 1.25);
                    let v = c.bin_const(BinOp::Sub, v, 2.25);
                    let v = c.mul(v, t);
                    let v = c.mul(v, t);
                    c.bin_const(BinOp::Add, v, 1.0)
                };
                let (near, rest) = (c.bin_const(BinOp::Add, r, 1.0), c.sub(one, r));
                let far = c.bin_const(BinOp::Add, rest, 1.0);
                vec![(-1, outer(c, near)), (0, inner(c, r)), (1, inner(c, rest)), (2, outer(c, far))]
            }
        };
        let (lo, hi) = self.borders(n);
        let mut taps = Vec::new();
        for (k, w) in weights {
            let at = c.affine(i, 1, k);
            let inside = c.in_range(at, 0, n as i64);
            let at = if self.padding_mode == "reflection" {
                let place = c.cast(at, wide);
                let place = reflect_expr(c, place, lo, hi, wide);
                c.cast(place, DType::I64)
            } else {
                at
            };
            let (zero, last) = (c.idx(0), c.idx(n as i64 - 1));
            let cell = c.max(at, zero);
            taps.push((c.min(cell, last), inside, w));
        }
        taps
    }
}

/// [`reflect`] as an expression.
fn reflect_expr(c: &mut ComputeBuilder, x: ExprId, lo: f64, hi: f64, wide: DType) -> ExprId {
    let range = hi - lo;
    let (low, high) = (c.float(wide, lo), c.float(wide, hi));
    let (below, above) = (c.lt(x, low), c.gt(x, high));
    if range <= 0.0 {
        // A place that is no number stays none.
        let outside = c.or(below, above);
        return c.select(outside, low, x);
    }
    let (under, over) = (c.sub(low, x), c.sub(x, high));
    let over = c.select(below, under, over);
    let turns = c.bin_const(BinOp::Div, over, range);
    let turns = c.floor(turns);
    let whole = c.bin_const(BinOp::Mul, turns, range);
    let rest = c.sub(over, whole);
    let pairs = c.bin_const(BinOp::Mul, turns, 0.5);
    let pairs = c.floor(pairs);
    let pairs = c.bin_const(BinOp::Mul, pairs, 2.0);
    let even = c.eq(turns, pairs);
    // An even number of turns from below, or an odd one from above, is counted from the lower border.
    let from_high = c.xor(even, below);
    let (up, down) = (c.add(low, rest), c.sub(high, rest));
    let folded = c.select(from_high, down, up);
    let outside = c.or(below, above);
    c.select(outside, folded, x)
}

/// Mirrors `x` at the borders until it lies between them.
fn reflect(x: f64, lo: f64, hi: f64) -> f64 {
    let range = hi - lo;
    if range <= 0.0 || (lo..=hi).contains(&x) {
        return if range <= 0.0 { lo } else { x };
    }
    let over = if x < lo { lo - x } else { x - hi };
    let turns = (over / range).floor();
    let rest = over - turns * range;
    if (turns % 2.0 == 0.0) == (x < lo) { lo + rest } else { hi - rest }
}

impl Op for GridSample {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.dtype(0)?;
        cx.require_dtype("C1", 1, sets::FLOATS)?;
        let (x, grid) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C2", x.len() >= 3 && x.len() == grid.len(), || {
            format!("ranks are {} and {}", x.len(), grid.len())
        })?;
        cx.require_eq("C2", &x[0], &grid[0])?;
        cx.require_eq("C2", &grid[grid.len() - 1], &Dim::from(x.len() - 2))?;
        let mode = matches!(self.mode.as_str(), "nearest" | "linear" | "cubic")
            && matches!(self.padding_mode.as_str(), "zeros" | "border" | "reflection");
        cx.require("C3", mode, || format!("mode \"{}\", padding \"{}\"", self.mode, self.padding_mode))?;
        let number = dtype.is_number() && dtype.class() != Class::Complex;
        cx.require("C3", self.mode == "nearest" || number, || format!("{} of {dtype}", self.mode))?;
        let mut shape = x[..2].to_vec();
        shape.extend_from_slice(&grid[1..grid.len() - 1]);
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, grid) = (cx.tensor(0)?, cx.tensor(1)?);
        let (dtype, shape) = cx.out(0)?;
        let dims = &x.shape()[2..];
        let (d, channels) = (dims.len(), x.shape()[1]);
        let (plane, out) = (dims.iter().product::<usize>(), shape[2..].iter().product::<usize>());
        let steps = strides(dims);
        let exact = grid.dtype() == DType::F64;
        let g = grid.floats()?;
        let places = |n: usize, o: usize| -> Vec<(usize, f64)> {
            let mut taps = vec![(0, 1.0)];
            for a in 0..d {
                let t = g[(n * out + o) * d + d - 1 - a];
                let step = steps[a];
                let along = if dims[a] == 0 { vec![] } else { self.taps(self.place(t, dims[a], exact), dims[a]) };
                taps = taps.iter().flat_map(|&(i, w)| along.iter().map(move |&(j, v)| (i + j * step, w * v))).collect();
            }
            taps
        };
        if self.mode == "nearest" {
            let mut y = Tensor::zeros(dtype, &shape)?;
            let mut write = TensorWriter::new(&mut y);
            for n in 0..shape[0] {
                for o in 0..out {
                    if let Some(&(i, _)) = places(n, o).first() {
                        for c in 0..channels {
                            write.copy((n * channels + c) * out + o, x, (n * channels + c) * plane + i)?;
                        }
                    }
                }
            }
            cx.push(y);
            return Ok(());
        }
        let v = x.floats()?;
        let mut y = vec![0.0; shape.iter().product()];
        for n in 0..shape[0] {
            for o in 0..out {
                let taps = places(n, o);
                for p in n * channels..(n + 1) * channels {
                    y[p * out + o] = taps.iter().map(|&(i, w)| v[p * plane + i] * w).sum();
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let dims = cx.shape(0)[2..].to_vec();
        let (d, nearest, zeros) = (dims.len(), self.mode == "nearest", self.padding_mode == "zeros");
        let n_taps = match self.mode.as_str() {
            "nearest" => 1,
            "linear" => 2usize,
            _ => 4,
        };
        // Interpolated integers are truncated, and many taps in many axes make long code: evaluation does both.
        let real = crate::library::is_real(dtype);
        if cx.shape(0).contains(&0) || !(nearest || real) || n_taps.pow(d as u32) > 16 {
            return Ok(Lowering::Host);
        }
        let wide = if cx.dtype(1) == DType::F64 || dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let points: Vec<usize> = [&shape[..1], &shape[2..]].concat();
        let mut l = Loops::new(cx);
        let (x, grid) = (l.x(0), l.x(1));
        // By axis: where a point lies, cells.
        let places: Vec<TensorId> = (0..d)
            .map(|a| {
                l.c.compute(wide, &points, |c, i| {
                    let mut at = i.to_vec();
                    at.push(c.idx((d - 1 - a) as i64));
                    let t = c.load(grid, &at);
                    self.place_expr(c, t, dims[a], (cx.dtype(1) == DType::F64, wide))
                })
            })
            .collect();
        l.result(|c, i| {
            let point: Vec<ExprId> = [&i[..1], &i[2..]].concat();
            // By axis and tap: the cell, whether it is there, its weight.
            let taps: Vec<Vec<(ExprId, ExprId, ExprId)>> = (0..d)
                .map(|a| {
                    let p = c.load(places[a], &point);
                    self.tap_exprs(c, p, dims[a], wide)
                })
                .collect();
            let mut sum: Option<ExprId> = None;
            for t in 0..n_taps.pow(d as u32) {
                let mut at = i[..2].to_vec();
                let (mut there, mut weight) = (c.bool(true), None);
                let mut rest = t;
                for axis in &taps {
                    let (cell, inside, w) = axis[rest % n_taps];
                    rest /= n_taps;
                    at.push(cell);
                    there = c.and(there, inside);
                    weight = Some(weight.map_or(w, |v| c.mul(v, w)));
                }
                let v = c.load(x, &at);
                let v = match (nearest, weight) {
                    (false, Some(w)) => {
                        let v = c.cast(v, wide);
                        c.mul(v, w)
                    }
                    _ => v,
                };
                let nothing = c.zero(if nearest { dtype } else { wide });
                let v = if zeros { c.select(there, v, nothing) } else { v };
                sum = Some(sum.map_or(v, |s| c.add(s, v)));
            }
            match sum {
                Some(y) => c.cast(y, dtype),
                None => c.zero(dtype),
            }
        })
    }

    fn facts(&self) -> Facts {
        Facts { jumps: self.mode == "nearest", ..Facts::default() }
    }
}

/// Opset 16 called the modes `bilinear` and `bicubic`.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if let Some(Attr::String(mode)) = cx.attrs.get("mode") {
        let mode = match mode.as_str() {
            "bilinear" => "linear",
            "bicubic" => "cubic",
            other => other,
        };
        let mode = Attr::from(mode);
        cx.attrs.insert("mode".into(), mode);
    }
    Ok(())
}

op! {
    GridSample in "ai.onnx" since [16, 20, 22 brings "bf16"]; "X, grid" => "Y";
    summary: "reading at a grid of normalised coordinates";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @grid_sample([[[[1.0, 2.0], [3.0, 4.0]]]], [[[[0.0, 0.0], [-0.5, -0.5]]]]) == [[[[2.5, 1.0]]]]
graph @grid_sample(%a: f32[1, 1, 2, 2], %b: f32[1, 1, 2, 2]) -> f32[1, 1, 1, 2] {
  %y = grid_sample %a, %b : f32[1, 1, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn grid_sample_interpolates_and_pads() {
        let x = Tensor::from_slice(&[1, 1, 2], &[1.0f32, 3.0]);
        let grid = Tensor::from_slice(&[1, 3, 1], &[0.0f32, -1.0, 9.0]);
        let y = |a| run1("GridSample", a, &[x.clone(), grid.clone()]).unwrap().floats().unwrap();
        assert_eq!(y(attrs! {}), [2.0, 0.5, 0.0]);
        assert_eq!(y(attrs! { padding_mode: "border" }), [2.0, 1.0, 3.0]);
        assert_eq!(y(attrs! { align_corners: true }), [2.0, 1.0, 0.0]);
    }

    #[test]
    fn reflection_folds_back() {
        assert_eq!(reflect(-1.0, -0.5, 1.5), 0.0);
        assert_eq!(reflect(2.0, -0.5, 1.5), 1.0);
        assert_eq!(reflect(4.0, -0.5, 1.5), 0.0);
        assert_eq!(reflect(7.0, 0.0, 0.0), 0.0);
    }

    #[test]
    fn grid_sample_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |a, x: Type, g: Type| violated("GridSample", a, &[x, g]);
        assert_eq!(
            bad(attrs! {}, f(&[1, 1, 2]), Type::tensor(DType::I32, &[1, 1, 1])).as_deref(),
            Some("GridSample.C1")
        );
        assert_eq!(bad(attrs! {}, f(&[1, 1, 2]), f(&[1, 1, 2])).as_deref(), Some("GridSample.C2"));
        assert_eq!(bad(attrs! { mode: "x" }, f(&[1, 1, 2]), f(&[1, 1, 1])).as_deref(), Some("GridSample.C3"));
    }
}
