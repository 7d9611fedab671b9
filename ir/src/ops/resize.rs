//! `Y = Resize(X; roi, scales | sizes)`: resampling by nearest neighbour, linear or cubic interpolation along any axes.
//!
//! An output coordinate is mapped to an input coordinate by `coordinate_transformation_mode`, then read between the
//! neighbours, which are clamped to the input. With `antialias` the filter is widened when sampling down.
//!
//! - **C1** `scales` is `f32` and `sizes` is `i64`, rank 1; just one of them has elements
//! - **C2** `axes` are in `-r..r`, none twice; the list has one element an axis (`roi` two)
//! - **C3** scales are positive, sizes not negative
//! - **C4** modes and policies are known
//! - **C5** interpolation wants numbers (nearest takes any type)
//!
//! Output extents are `floor(extent * scale)`, taken in `f32` for numbers as ONNX Runtime and ONNX's shape inference do.
//! Integers are interpolated as reals and truncated. ONNX `Resize`: opset 10 (scales only; asymmetric; the nearest is rounded
//! up along axes that shrink, down along others, as in ONNX's cases of that opset), 11 (`tf_half_pixel_for_nn`, gone later),
//! 13, 18 (`antialias`, `axes`, aspect ratio), 19 (`half_pixel_symmetric`).

use super::common::*;
use super::lowering::{self, ComputeBuilder, ExprId, Loops, ReduceOp, TensorId};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, strides};

attributes! {
    /// Attributes of `Resize`.
    pub struct Resize {
        /// Whether the filter widens when sampling down.
        antialias: bool = false,
        /// Axes that are resized; all by default.
        axes: Option<Vec<i64>>,
        /// How an output coordinate becomes an input coordinate: `half_pixel`, `half_pixel_symmetric`, `pytorch_half_pixel`,
        /// `align_corners`, `asymmetric` or `tf_crop_and_resize`.
        coordinate_transformation_mode: String = "half_pixel",
        /// Coefficient of the cubic kernel.
        cubic_coeff_a: f32 = -0.75f32,
        /// Whether neighbours outside weigh nothing.
        exclude_outside: bool = false,
        /// Value outside the region (`tf_crop_and_resize`).
        extrapolation_value: f32 = 0.0f32,
        /// `stretch`, `not_larger` or `not_smaller`, with `sizes`.
        keep_aspect_ratio_policy: String = "stretch",
        /// `nearest`, `linear` or `cubic`.
        mode: String = "nearest",
        /// `round_prefer_floor`, `round_prefer_ceil`, `floor` or `ceil`.
        nearest_mode: String = "round_prefer_floor",
    }
}

const COORDINATES: &[&str] = &[
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
];

/// `floor(extent * scale)`: in `f32` for a number, exactly for a term.
pub fn scaled(extent: &Dim, scale: f32) -> Dim {
    match extent.as_int() {
        Some(n) => Dim::int((n as f32 * scale).floor() as i64),
        None => extent.scale_floor(scale.into()),
    }
}

/// Whether operand `i` is given and not empty.
fn given(cx: &RuleCx<'_>, i: usize) -> RuleResult<bool> {
    if !cx.has(i) {
        return Ok(false);
    }
    let s = cx.shape(i)?;
    cx.require("C1", s.len() == 1, || format!("operand {i} has rank {}", s.len()))?;
    Ok(s[0] != 0)
}

/// Taps of each output coordinate of an axis, and whether it lies outside the region.
type Sampled = Vec<(Vec<(usize, f64)>, bool)>;

/// The operands that say how extents change.
struct Lists<'a> {
    roi: Option<&'a Tensor>,
    scales: Option<&'a Tensor>,
    sizes: Option<&'a Tensor>,
}

/// One axis: extent, output extent, scale, region.
struct Line {
    n: usize,
    out: usize,
    scale: f64,
    roi: (f64, f64),
}

impl Resize {
    fn ratio(&self, extents: &[usize], sizes: &[i64]) -> Option<f64> {
        let ratios = sizes.iter().zip(extents).map(|(&s, &n)| s as f64 / n as f64);
        match self.keep_aspect_ratio_policy.as_str() {
            "not_larger" => ratios.reduce(f64::min),
            "not_smaller" => ratios.reduce(f64::max),
            _ => None,
        }
    }

    /// Where output coordinate `x` lies in the input.
    fn source(&self, line: &Line, x: usize) -> f64 {
        let (n, x) = (line.n as f64, x as f64);
        let width = line.scale * n;
        match self.coordinate_transformation_mode.as_str() {
            "align_corners" if width == 1.0 => 0.0,
            "align_corners" => x * (n - 1.0) / (width - 1.0),
            "asymmetric" => x / line.scale,
            "tf_crop_and_resize" => {
                let (start, end) = line.roi;
                let inside = match line.out {
                    1 => (end - start) * (n - 1.0) / 2.0,
                    _ => x * (end - start) * (n - 1.0) / (width - 1.0),
                };
                inside + start * (n - 1.0)
            }
            "pytorch_half_pixel" if line.out == 1 => 0.0,
            "half_pixel_symmetric" => {
                let offset = n / 2.0 * (1.0 - line.out as f64 / width);
                offset + (x + 0.5) / line.scale - 0.5
            }
            "tf_half_pixel_for_nn" => (x + 0.5) / line.scale,
            _ => (x + 0.5) / line.scale - 0.5,
        }
    }

    /// Neighbours and their weights for the input coordinate `x`.
    fn taps(&self, line: &Line, x: f64) -> Vec<(usize, f64)> {
        let clamp = |i: i64| i.clamp(0, line.n as i64 - 1) as usize;
        if self.mode == "nearest" {
            let i = match self.nearest_mode.as_str() {
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                "round_prefer_ceil" => (x + 0.5).floor(),
                _ => (x - 0.5).ceil(),
            };
            return vec![(clamp(i as i64), 1.0)];
        }
        // The neighbour on the left is strictly left, so that the remainder is in (0, 1].
        let left = x.ceil() as i64 - 1;
        let ratio = x - left as f64;
        let cubic = self.mode == "cubic";
        let scale = if self.antialias { line.scale.min(1.0) } else { 1.0 };
        let first = ((if cubic { -2.0 } else { -1.0 }) / scale).floor() as i64 + 1;
        let a = f64::from(self.cubic_coeff_a);
        let weight = |t: f64| {
            let t = t.abs();
            match cubic {
                false => (1.0 - t).clamp(0.0, 1.0),
                true if t <= 1.0 => (a + 2.0) * t.powi(3) - (a + 3.0) * t * t + 1.0,
                true if t < 2.0 => a * t.powi(3) - 5.0 * a * t * t + 8.0 * a * t - 4.0 * a,
                true => 0.0,
            }
        };
        let mut taps: Vec<(i64, f64)> =
            (first..2 - first).map(|i| (left.saturating_add(i), weight(scale * (i as f64 - ratio)))).collect();
        if self.exclude_outside {
            taps.iter_mut().filter(|t| t.0 < 0 || t.0 >= line.n as i64).for_each(|t| t.1 = 0.0);
        }
        if self.exclude_outside || self.antialias {
            let sum: f64 = taps.iter().map(|t| t.1).sum();
            taps.iter_mut().for_each(|t| t.1 /= sum);
        }
        taps.into_iter().map(|(i, w)| (clamp(i), w)).collect()
    }
}

impl Resize {
    /// For each axis the taps of its output coordinates; `None` where it stays as it is.
    fn lines(
        &self,
        from: &[usize],
        to: &[usize],
        lists: &Lists<'_>,
        limit_bytes: usize,
    ) -> Result<Vec<Option<Sampled>>> {
        let axes: Vec<usize> = match &self.axes {
            Some(axes) => axes.iter().map(|&a| normal_axis(a, from.len())).collect(),
            None => (0..from.len()).collect(),
        };
        let crop = self.coordinate_transformation_mode == "tf_crop_and_resize";
        let scales = lists.scales.filter(|s| !s.is_empty()).map(Tensor::floats).transpose()?;
        let sizes = lists.sizes.filter(|s| !s.is_empty()).map(Tensor::to_i64s).transpose()?;
        let extents: Vec<usize> = axes.iter().map(|&a| from[a]).collect();
        let ratio = sizes.as_ref().and_then(|s| self.ratio(&extents, s));
        let roi = match lists.roi {
            Some(roi) if crop => roi.floats()?,
            _ => vec![],
        };
        let mut lines = vec![None; from.len()];
        for (k, &a) in axes.iter().enumerate() {
            let (n, out) = (from[a], to[a]);
            let scale = match (&scales, ratio) {
                (Some(s), _) => s[k],
                (None, Some(r)) => r,
                (None, None) => out as f64 / n as f64,
            };
            if scale == 1.0 && n == out && !crop {
                continue;
            }
            let roi = if crop { (roi[k], roi[axes.len() + k]) } else { (0.0, 1.0) };
            let line = Line { n, out, scale, roi };
            let reach = if self.antialias { (4.0 / scale.min(1.0)) * out as f64 * 16.0 } else { 0.0 };
            if reach > limit_bytes as f64 {
                return Err(Error::limit(format!("a filter of scale {scale}")));
            }
            let sampled = (0..out).map(|i| {
                let at = self.source(&line, i);
                (self.taps(&line, at), crop && !(0.0..=n as f64 - 1.0).contains(&at))
            });
            lines[a] = Some(sampled.collect());
        }
        Ok(lines)
    }
}

/// Table of taps that the compiler makes at most, in bytes.
const MAX_TABLE_BYTES: usize = 1 << 26;

impl Op for Resize {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let known = |what: &str, list: &[&str]| list.contains(&what);
        let modes = known(&self.mode, &["nearest", "linear", "cubic"])
            && known(&self.coordinate_transformation_mode, COORDINATES)
            && known(&self.nearest_mode, &["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
            && known(&self.keep_aspect_ratio_policy, &["stretch", "not_larger", "not_smaller"]);
        cx.require("C4", modes, || format!("a mode is not known: {self:?}"))?;
        let dtype = cx.dtype(0)?;
        let numeric = dtype.is_number() && !matches!(dtype.class(), Class::Complex);
        cx.require("C5", self.mode == "nearest" || numeric, || format!("{} of {dtype}", self.mode))?;
        let mut shape = cx.shape(0)?;
        let rank = shape.len();
        let (by_scales, by_sizes) = (given(cx, 2)?, given(cx, 3)?);
        cx.require("C1", by_scales != by_sizes, || "either scales or sizes must be given".into())?;
        let axes = match &self.axes {
            Some(axes) => cx.axes("C2", axes, rank)?,
            None => (0..rank).collect(),
        };
        let list = if by_scales { 2 } else { 3 };
        cx.require_dtype("C1", list, if by_scales { &[DType::F32] } else { &[DType::I64] })?;
        cx.require_eq("C2", &cx.dim(list, 0)?, &Dim::from(axes.len()))?;
        if self.coordinate_transformation_mode == "tf_crop_and_resize" {
            cx.require("C2", cx.has(1), || "`roi` is missing".into())?;
            let roi = cx.shape(1)?;
            cx.require("C2", roi.len() == 1, || format!("`roi` has rank {}", roi.len()))?;
            cx.require_eq("C2", &roi[0], &Dim::from(2 * axes.len()))?;
        }
        if by_scales {
            match cx.constant(2) {
                Some(scales) => {
                    for (&a, &s) in axes.iter().zip(scales.slice::<f32>()?.iter()) {
                        cx.require("C3", s > 0.0 && s.is_finite(), || format!("scale {s}"))?;
                        shape[a] = scaled(&shape[a], s);
                    }
                }
                None => axes.iter().for_each(|&a| shape[a] = cx.fresh()),
            }
            return cx.output(dtype, shape);
        }
        let Some(sizes) = cx.values(3)? else {
            axes.iter().for_each(|&a| shape[a] = cx.fresh());
            return cx.output(dtype, shape);
        };
        for s in &sizes {
            cx.require_that("C3", Cond::le(&Dim::ZERO, s))?;
        }
        if self.keep_aspect_ratio_policy == "stretch" {
            for (&a, s) in axes.iter().zip(&sizes) {
                shape[a] = s.clone();
            }
            return cx.output(dtype, shape);
        }
        let extents: Option<Vec<usize>> =
            axes.iter().map(|&a| shape[a].as_int().and_then(|n| usize::try_from(n).ok())).collect();
        let sizes: Option<Vec<i64>> = sizes.iter().map(Dim::as_int).collect();
        let ratio = extents.as_ref().zip(sizes).and_then(|(n, s)| self.ratio(n, &s));
        for (k, &a) in axes.iter().enumerate() {
            shape[a] = match (&extents, ratio) {
                (Some(n), Some(ratio)) => Dim::int((ratio * n[k] as f64 + 0.5) as i64),
                _ => cx.fresh(),
            };
        }
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let lists = Lists { roi: cx.tensor_opt(1)?, scales: cx.tensor_opt(2)?, sizes: cx.tensor_opt(3)? };
        if shape.contains(&0) {
            // Other extents may be beyond any table.
            cx.push(Tensor::zeros(dtype, &shape)?);
            return Ok(());
        }
        if x.is_empty() && !shape.contains(&0) {
            return Err(Error::invalid("an empty tensor has nothing to resample"));
        }
        let lines = self.lines(x.shape(), &shape, &lists, cx.env.limits.value_bytes)?;
        let lines: Vec<Vec<(Vec<(usize, f64)>, bool)>> = lines
            .into_iter()
            .zip(&shape)
            .map(|(l, &n)| l.unwrap_or_else(|| (0..n).map(|i| (vec![(i, 1.0)], false)).collect()))
            .collect();
        let outside = lines.iter().flatten().any(|l| l.1);
        if self.mode == "nearest" && !(outside && dtype.is_number()) {
            let steps = strides(x.shape());
            let from = indices(&shape)
                .map(|i| i.iter().zip(&lines).zip(&steps).map(|((&i, l), s)| l[i].0[0].0 * s).sum::<usize>());
            let y = x.take(&shape, from)?;
            cx.push(y);
            return Ok(());
        }
        let (mut v, mut now) = (x.floats()?, x.shape().to_vec());
        for (a, line) in lines.iter().enumerate() {
            v = resample(&v, &now, a, line);
            now[a] = shape[a];
        }
        if outside {
            for (v, i) in v.iter_mut().zip(indices(&shape)) {
                if i.iter().zip(&lines).any(|(&i, l)| l[i].1) {
                    *v = self.extrapolation_value.into();
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, v));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let from = cx.shape(0).to_vec();
        let crop = self.coordinate_transformation_mode == "tf_crop_and_resize";
        let unknown = |i: usize| cx.has(i) && cx.constant(i).is_none();
        // Sizes that are not constant are the result's extents, unless an aspect ratio is kept.
        let by_sizes = self.keep_aspect_ratio_policy == "stretch";
        let nearest = self.mode == "nearest";
        // Interpolated integers are truncated: their sums must be evaluation's own.
        if (crop && unknown(1))
            || unknown(2)
            || (unknown(3) && !by_sizes)
            || from.contains(&0)
            || (shape.contains(&0) && shape.iter().any(|&n| n > MAX_TABLE_BYTES / 64))
            || !(nearest || crate::library::is_real(dtype))
        {
            return Ok(Lowering::Host);
        }
        let lists = Lists { roi: cx.constant(1), scales: cx.constant(2), sizes: cx.constant(3) };
        let lines = self.lines(&from, &shape, &lists, MAX_TABLE_BYTES)?;
        if lines.iter().flatten().flatten().any(|l| l.1) {
            return Ok(Lowering::Host);
        }
        let wide = if nearest { dtype } else { lowering::wide(dtype) };
        let mut l = Loops::new(cx);
        let mut x = l.x(0);
        let mut now = from.clone();
        let mut changed: Vec<(usize, Sampled)> =
            lines.into_iter().enumerate().filter_map(|(a, l)| Some((a, l?))).collect();
        if changed.is_empty() {
            return l.result(|c, i| c.load(x, i));
        }
        // Axes that shrink first, so that the others have less to do.
        changed.sort_by_key(|(a, _)| shape[*a] > from[*a]);
        let last = changed.len() - 1;
        for (k, (a, line)) in changed.into_iter().enumerate() {
            now[a] = shape[a];
            let of = if k == last { dtype } else { wide };
            x = if nearest {
                picked(&mut l, x, &now, a, &line)
            } else {
                weighted(&mut l, x, &now, a, &line, (wide, of))
            };
        }
        l.done(&[x])
    }
}

/// `y[…, i, …] = x[…, p_i, …]` along an axis.
fn picked(l: &mut Loops<'_, '_>, x: TensorId, shape: &[usize], axis: usize, line: &Sampled) -> TensorId {
    let places: Vec<i64> = line.iter().map(|t| t.0[0].0 as i64).collect();
    // A whole factor is a division, which the indices of views know how to simplify.
    let repeat = places.iter().take_while(|&&p| p == 0).count().max(1);
    let whole = places.iter().enumerate().all(|(i, &p)| p == (i / repeat) as i64);
    let table = (!whole).then(|| l.table(Tensor::from_slice(&[places.len()], &places)));
    let dtype = l.c.desc(x).dtype;
    l.c.compute(dtype, shape, |c, i| {
        let mut at = i.to_vec();
        at[axis] = match table {
            Some(table) => c.load(table, &[i[axis]]),
            None => {
                let by = c.idx(repeat as i64);
                c.floor_div(i[axis], by)
            }
        };
        c.load(x, &at)
    })
}

/// `y[…, i, …] = sum_t w_it x[…, p_it, …]` along an axis.
fn weighted(
    l: &mut Loops<'_, '_>,
    x: TensorId,
    shape: &[usize],
    axis: usize,
    line: &Sampled,
    (wide, dtype): (DType, DType),
) -> TensorId {
    let n_taps = line.iter().map(|t| t.0.len()).max().unwrap_or(0);
    let tap = |t: usize| line.iter().map(move |l| l.0.get(t).copied().unwrap_or((0, 0.0)));
    let places: Vec<i64> = (0..n_taps).flat_map(|t| tap(t).map(|p| p.0 as i64)).collect();
    let weights: Vec<f64> = (0..n_taps).flat_map(|t| tap(t).map(|p| p.1)).collect();
    let places = l.table(Tensor::from_slice(&[n_taps, line.len()], &places));
    let weights = l.table(Tensor::from_floats(wide, &[n_taps, line.len()], weights));
    l.c.compute(dtype, shape, |c, i| {
        let term = |c: &mut ComputeBuilder, t: ExprId| {
            let mut at = i.to_vec();
            at[axis] = c.load(places, &[t, i[axis]]);
            let (v, w) = (c.load(x, &at), c.load(weights, &[t, i[axis]]));
            let v = c.cast(v, wide);
            c.mul(v, w)
        };
        let sum = if n_taps <= 4 {
            let mut sum: Option<ExprId> = None;
            for t in 0..n_taps {
                let t = c.idx(t as i64);
                let v = term(c, t);
                sum = Some(sum.map_or(v, |s| c.add(s, v)));
            }
            sum.unwrap_or_else(|| c.zero(wide))
        } else {
            c.reduce(ReduceOp::Sum, &[n_taps], |c, r| term(c, r[0]))
        };
        c.cast(sum, dtype)
    })
}

/// Applies the taps along one axis.
fn resample(v: &[f64], shape: &[usize], axis: usize, line: &[(Vec<(usize, f64)>, bool)]) -> Vec<f64> {
    let (n, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer: usize = shape[..axis].iter().product();
    let mut y = Vec::with_capacity(outer * line.len() * inner);
    for o in 0..outer {
        for (taps, _) in line {
            for i in 0..inner {
                y.push(taps.iter().map(|&(t, w)| v[(o * n + t) * inner + i] * w).sum());
            }
        }
    }
    y
}

/// Opset 10 had scales as operand 1; the nearest of `x / scale` was rounded up where an axis shrinks, else down.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version >= 11 {
        return Ok(());
    }
    let scales = cx.inputs.get(1).copied().flatten();
    cx.inputs = vec![cx.inputs.first().copied().flatten(), None, scales];
    cx.attrs.insert("coordinate_transformation_mode".into(), Attr::from("asymmetric"));
    let nearest = cx.attrs.get("mode").is_none_or(|mode| *mode == Attr::from("nearest"));
    let (Some(scales), true) = (scales, nearest) else { return Ok(()) };
    let known = cx.graph.constant(scales).and_then(|t| t.floats().ok());
    let all = |test: fn(&f64) -> bool| known.as_ref().is_some_and(|s| s.iter().all(test));
    let rounding = |mode: &str| ("nearest_mode".to_owned(), Attr::from(mode));
    if all(|s| *s >= 1.0) {
        cx.attrs.extend([rounding("floor")]);
        return Ok(());
    }
    // The axes that grow first: those that shrink stay, and the other way round behind it.
    if !all(|s| *s <= 1.0) {
        let one = cx.constant(Tensor::from_slice(&[1], &[1.0f32]));
        let growing = cx.add("Max", attrs! {}, &[Some(scales), Some(one)], 1)?[0];
        let shrinking = cx.add("Min", attrs! {}, &[Some(scales), Some(one)], 1)?[0];
        let attrs = cx.attrs.clone().into_iter().chain([rounding("floor")]).collect();
        let grown = cx.add("Resize", attrs, &[cx.inputs[0], None, Some(growing)], 1)?[0];
        cx.inputs = vec![Some(grown), None, Some(shrinking)];
    }
    cx.attrs.extend([rounding("ceil")]);
    Ok(())
}

op! {
    Resize in "ai.onnx" since [10, 11, 13, 18, 19]; "X, roi?, scales?, sizes?" => "Y";
    summary: "resampling by nearest neighbour, linear or cubic interpolation";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @resize([[[1.0, 3.0]]], [1.0, 1.0, 2.0]) == f32[1, 1, 4] [[[1.0, 1.5, 2.5, 3.0]]]
graph @resize(%a: f32[1, 1, 2], %c: f32[3]) -> f32[u1, u2, u3] {
  %y = resize %a, _, %c {mode = "linear"} : f32[u1, u2, u3]
  return %y
}
// run: @upsample([[[[1.0, 2.0]]]], [1.0, 1.0, 2.0, 2.0]) == f32[1, 1, 2, 4] [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]
graph @upsample(%a: f32[1, 1, 1, 2], %b: f32[4]) -> f32[u1, u2, u3, u4] {
  %y = resize %a, _, %b {coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"} : f32[u1, u2, u3, u4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn resize(attrs: crate::Attrs, x: &[f32], scale: f32) -> Vec<f64> {
        let x: Value = Tensor::from_slice(&[x.len()], x).into();
        let s: Value = Tensor::from_slice(&[1], &[scale]).into();
        let y = run("ai.onnx", "Resize", attrs, &[Some(x), None, Some(s)], 1).unwrap();
        y[0].tensor().unwrap().floats().unwrap()
    }

    #[test]
    fn resize_interpolates_and_rounds() {
        assert_eq!(resize(attrs! {}, &[1.0, 2.0], 2.0), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(resize(attrs! { mode: "linear" }, &[1.0, 3.0], 2.0), [1.0, 1.5, 2.5, 3.0]);
        let a = attrs! { mode: "linear", coordinate_transformation_mode: "align_corners" };
        assert_eq!(resize(a, &[0.0, 3.0], 2.0), [0.0, 1.0, 2.0, 3.0]);
        // One entry lies at 0 whatever the factor: `length_resized > 1 ? … : 0`.
        let a = attrs! { coordinate_transformation_mode: "pytorch_half_pixel" };
        assert_eq!(resize(a, &[1.0, 2.0, 3.0, 4.0], 0.3), [1.0]);
    }

    #[test]
    fn resize_constraints_are_named() {
        let x = Fact::of(Type::tensor(DType::F32, &[2, 2]));
        let roi = Fact::of(Type::tensor(DType::F32, &[0]));
        let scales = |v: &[f32]| Fact::constant(Tensor::from_slice(&[v.len()], v));
        let label = |a: crate::Attrs, f: &[Fact]| infer1("Resize", a, f).unwrap_err().label().map(str::to_owned);
        let name = |n| Some(format!("Resize.C{n}"));
        assert_eq!(label(attrs! {}, &[x.clone(), roi.clone()]), name(1));
        assert_eq!(label(attrs! {}, &[x.clone(), roi.clone(), scales(&[1.0])]), name(2));
        assert_eq!(label(attrs! {}, &[x.clone(), roi.clone(), scales(&[1.0, -1.0])]), name(3));
        assert_eq!(label(attrs! { mode: "none" }, &[x, roi.clone(), scales(&[1.0, 1.0])]), name(4));
        let s = Fact::of(Type::tensor(DType::String, &[2]));
        assert_eq!(label(attrs! { mode: "linear" }, &[s, roi, scales(&[1.0])]), name(5));
    }
}
