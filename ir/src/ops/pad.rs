//! The operand with entries put in (or, for negative counts, cut) before and after each axis.
//!
//! - **C1** `pads` is `i64` of rank 1 with two counts an axis: all begins, then all ends
//! - **C2** `axes` (`i32` or `i64`) are in `-r..r`, none twice; left out all axes in order
//! - **C3** `constant_value` is one element of the operand's type; left out 0
//! - **C4** `mode` is `constant`, `reflect` (about the edge entry), `edge` or `wrap`
//!
//! Entries that other modes than `constant` ask of an empty axis are an error. ONNX `Pad`: opset 1 (`paddings`),
//! 2 (`pads` and `value` attributes), 11 (operands), 13, 18 (`axes`), 19 (`wrap`), 21, 23, 24, 25 (types).

use super::common::*;
use super::lowering::{ComputeBuilder, ExprId, Loops};
use super::move_common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use crate::tensor::strides;

attributes! {
    /// Attributes of `Pad`.
    pub struct Pad {
        /// What the new entries hold: `constant`, `reflect`, `edge` or `wrap`.
        mode: String = "constant",
    }
}

/// Where index `i` of a padded axis reads in `0..n`; `None` for the constant.
pub fn source(mode: &str, i: i64, n: i64) -> Option<i64> {
    if (0..n).contains(&i) {
        return Some(i);
    }
    match mode {
        "edge" => Some(i.clamp(0, n - 1)),
        "wrap" => Some(i.rem_euclid(n)),
        "reflect" if n == 1 => Some(0),
        "reflect" => {
            let at = i.rem_euclid(2 * (n - 1));
            Some(if at < n { at } else { 2 * (n - 1) - at })
        }
        _ => None,
    }
}

impl Pad {
    /// [`source`] as an expression, for an axis of `n` cells.
    fn folded(&self, c: &mut ComputeBuilder, i: ExprId, n: usize) -> ExprId {
        let (zero, cells) = (c.idx(0), n as i64);
        match self.mode.as_str() {
            "edge" => {
                let (low, last) = (c.max(i, zero), c.idx(cells - 1));
                c.min(low, last)
            }
            "reflect" if n == 1 => zero,
            "reflect" => {
                let (period, far) = (c.idx(2 * (cells - 1)), c.idx(2 * (cells - 1)));
                let at = c.floor_mod(i, period);
                let back = c.sub(far, at);
                c.min(at, back)
            }
            "wrap" => {
                let n = c.idx(cells);
                c.floor_mod(i, n)
            }
            _ => i,
        }
    }
}

impl Op for Pad {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C4", ["constant", "reflect", "edge", "wrap"].contains(&self.mode.as_str()), || {
            format!("mode `{}` is not known", self.mode)
        })?;
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let (dtype, mut shape, r) = (cx.dtype(0)?, cx.shape(0)?, cx.rank(1)?);
        cx.require("C1", r == 1, || format!("`pads` has rank {r}"))?;
        if cx.has(2) {
            cx.same_dtype("C3", [0, 2])?;
            require_one(cx, "C3", 2)?;
        }
        let axes = if cx.has(3) {
            cx.require_dtype("C2", 3, sets::INDEX)?;
            match cx.int_values(3)? {
                Some(v) => Some(cx.axes("C2", &v, shape.len())?),
                None => None,
            }
        } else {
            Some((0..shape.len()).collect())
        };
        let Some(axes) = axes else {
            let dims = shape.iter().map(|_| cx.fresh()).collect();
            return cx.output(dtype, dims);
        };
        let len = cx.dim(1, 0)?;
        cx.require_eq("C1", &len, &Dim::from(2 * axes.len()))?;
        let pads = cx.values(1)?;
        for (k, &a) in axes.iter().enumerate() {
            shape[a] = match &pads {
                Some(p) => &shape[a] + &p[k] + &p[axes.len() + k],
                None => cx.fresh(),
            };
        }
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        let pads = cx.tensor(1)?.to_i64s()?;
        if shape.contains(&0) {
            // Other extents may be beyond any table.
            cx.push(Tensor::zeros(dtype, &shape)?);
            return Ok(());
        }
        let mut begins = vec![0i64; x.rank()];
        match cx.tensor_opt(3)? {
            Some(axes) => axes.to_i64s()?.iter().zip(&pads).for_each(|(&a, &p)| begins[normal_axis(a, x.rank())] = p),
            None => begins.copy_from_slice(&pads[..x.rank()]),
        }
        let zero = Tensor::zeros(dtype, &[1])?;
        let fill = cx.tensor_opt(2)?.unwrap_or(&zero);
        // For each axis where each of its indices reads; found once.
        let mut maps = Vec::with_capacity(x.rank());
        for (a, &begin) in begins.iter().enumerate() {
            let n = x.shape()[a] as i64;
            if n == 0 && shape[a] > 0 && self.mode != "constant" {
                return Err(Error::invalid(format!("axis {a} is empty: there is nothing to {}", self.mode)));
            }
            let map: Vec<Option<usize>> = (0..shape[a] as i64)
                .map(|i| source(&self.mode, i.saturating_sub(begin), n).map(|i| i as usize))
                .collect();
            maps.push(map);
        }
        let from = strides(x.shape());
        let mut y = Tensor::zeros(dtype, &shape)?;
        let mut write = TensorWriter::new(&mut y);
        each_index(&shape, |at, index| {
            let place = index.iter().enumerate().try_fold(0, |p, (a, &i)| maps[a][i].map(|i| p + i * from[a]));
            match place {
                Some(p) => write.copy(at, x, p),
                None => write.copy(at, fill, 0),
            }
        })?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (x_shape, rank) = (cx.shape(0).to_vec(), cx.shape(0).len());
        let Some(pads) = cx.constant(1).map(Tensor::to_i64s).transpose()? else { return Ok(Lowering::Host) };
        let mut begins = vec![0i64; rank];
        match (cx.has(3), cx.constant(3)) {
            (true, None) => return Ok(Lowering::Host),
            (true, Some(axes)) => {
                axes.to_i64s()?.iter().zip(&pads).for_each(|(&a, &p)| begins[normal_axis(a, rank)] = p)
            }
            (false, _) => begins.copy_from_slice(&pads[..rank]),
        }
        // Nothing can be read of an empty operand: evaluation fills the result, or refuses.
        if x_shape.contains(&0) {
            return Ok(Lowering::Host);
        }
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let fill = cx.has(2).then(|| l.x(2));
        let at_zero = cx.shape(2).len();
        l.result(|c, i| {
            let moved: Vec<ExprId> = i.iter().zip(&begins).map(|(&i, &b)| c.affine(i, 1, -b)).collect();
            if self.mode == "constant" {
                let outside = match fill {
                    Some(t) => {
                        let index = vec![c.idx(0); at_zero];
                        c.load(t, &index)
                    }
                    None => c.zero(cx.dtype(0)),
                };
                return c.load_padded(x, &moved, outside);
            }
            let index: Vec<ExprId> = moved.iter().enumerate().map(|(a, &m)| self.folded(c, m, x_shape[a])).collect();
            c.load(x, &index)
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

/// Opset 1 and 2: counts and value are attributes (1 calls the counts `paddings`).
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version >= 11 {
        return Ok(());
    }
    if let Some(pads) = cx.take("paddings") {
        cx.attrs.insert("pads".into(), pads);
    }
    cx.ints_to_input("pads", 1)?;
    if let Some(Attr::Float(v)) = cx.take("value")
        && v != 0.0
    {
        let Type::Tensor(t) = cx.ty(0) else {
            return Err(Error::unsupported("Pad of opset 2 on an operand of unknown type"));
        };
        let value = cx.constant(Tensor::from_floats(t.dtype, &[], [f64::from(v)]));
        cx.set_input(2, value);
    }
    Ok(())
}

op! {
    Pad in "ai.onnx" since [1, 2, 11, 13, 18 brings "axes", 19 brings "mode=wrap", 21 brings "f8 i4 u4",
        23 brings "f4e2m1", 24 brings "f8e8m0", 25 brings "i2 u2"];
    "data, pads, constant_value?, axes?" => "output";
    summary: "entries put in before and after each axis";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @pad([[1.0, 2.0]], [0, 1, 1, 0], 9.0) == f32[2, 3] [[9.0, 1.0, 2.0], [9.0, 9.0, 9.0]]
graph @pad(%a: f32[1, 2], %b: i64[4], %c: f32[]) -> f32[u1, u2] {
  %y = pad %a, %b, %c : f32[u1, u2]
  return %y
}
// run: @pad_reflect([1.0, 2.0, 3.0], [2, 1]) == f32[6] [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
graph @pad_reflect(%a: f32[3], %b: i64[2]) -> f32[u1] {
  %y = pad %a, %b {mode = "reflect"} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn padded(mode: &str, pads: &[i64]) -> Result<Vec<i64>> {
        let x = Tensor::from_slice(&[3], &[1i64, 2, 3]);
        let pads = Tensor::from_slice(&[pads.len()], pads);
        run1("Pad", attrs! { mode: mode }, &[x, pads])?.to_i64s()
    }

    #[test]
    fn pad_modes_differ_at_the_edges() {
        assert_eq!(padded("constant", &[1, -1]).unwrap(), [0, 1, 2]);
        assert_eq!(padded("edge", &[2, 0]).unwrap(), [1, 1, 1, 2, 3]);
        assert_eq!(padded("reflect", &[5, 1]).unwrap(), [2, 1, 2, 3, 2, 1, 2, 3, 2]);
        assert_eq!(padded("wrap", &[1, 4]).unwrap(), [3, 1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(padded("constant", &[-i64::MAX, i64::MAX]).unwrap(), [0, 0, 0]);
    }

    #[test]
    fn pad_constraints_are_named() {
        let label = |mode, pads: &[i64]| padded(mode, pads).unwrap_err().label().unwrap().to_owned();
        assert_eq!(label("constant", &[1]), "Pad.C1");
        assert_eq!(label("mirror", &[1, 1]), "Pad.C4");
        let (f, i) = (|s: &[usize]| Type::tensor(DType::F32, s), |s: &[usize]| Type::tensor(DType::I64, s));
        let types = [f(&[3]), i(&[2]), i(&[])];
        assert_eq!(violated("Pad", attrs! {}, &types).as_deref(), Some("Pad.C3"));
        let types = [f(&[3]), i(&[2]), f(&[]), f(&[1])];
        assert_eq!(violated("Pad", attrs! {}, &types).as_deref(), Some("Pad.C2"));
    }
}
