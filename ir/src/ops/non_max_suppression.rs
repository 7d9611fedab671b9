//! `selected_indices: i64[n, 3]` (batch, class, box): boxes in order of score, each taken unless it overlaps a taken one.
//!
//! `boxes: f32[batch, boxes, 4]` (two corners y, x, or with `center_point_box` centre x, y, width, height),
//! `scores: f32[batch, classes, boxes]`.
//!
//! - **C1** boxes, scores and thresholds are `f32`, `max_output_boxes_per_class` is `i64`
//! - **C2** ranks and extents are those above; the last three operands have one element
//! - **C3** `0 <= iou_threshold <= 1`
//!
//! At most `max_output_boxes_per_class` (default 0) boxes a class; scores must be above `score_threshold` where it is
//! given; of equal scores the lower index is first. ONNX `NonMaxSuppression`: opset 10, 11.

use super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::library::Library;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `NonMaxSuppression`.
    pub struct NonMaxSuppression {
        /// Whether boxes are given by centre and extents.
        center_point_box: bool = false,
    }
}

/// A box as (least, greatest) along two axes.
type Spans = [(f32, f32); 2];

fn overlap(a: &Spans, b: &Spans) -> f32 {
    let side = |k: usize| a[k].1.min(b[k].1) - a[k].0.max(b[k].0);
    let (h, w) = (side(0), side(1));
    if h <= 0.0 || w <= 0.0 {
        return 0.0;
    }
    let area = |s: &Spans| (s[0].1 - s[0].0) * (s[1].1 - s[1].0);
    let (x, y) = (area(a), area(b));
    let union = x + y - h * w;
    if x <= 0.0 || y <= 0.0 || union <= 0.0 { 0.0 } else { h * w / union }
}

impl Op for NonMaxSuppression {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        for i in [0, 1, 3, 4] {
            if i < 2 || cx.has(i) {
                cx.require_dtype("C1", i, &[DType::F32])?;
            }
        }
        if cx.has(2) {
            cx.require_dtype("C1", 2, &[DType::I64])?;
        }
        let (boxes, scores) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C2", boxes.len() == 3 && scores.len() == 3, || "boxes and scores must have rank 3".into())?;
        for (a, b) in [(&boxes[0], &scores[0]), (&boxes[1], &scores[2]), (&boxes[2], &Dim::int(4))] {
            cx.require_eq("C2", a, b)?;
        }
        for i in (2..5).filter(|&i| cx.has(i)).collect::<Vec<_>>() {
            let n: Dim = cx.shape(i)?.iter().product();
            cx.require_eq("C2", &n, &Dim::ONE)?;
        }
        if let Some(t) = cx.constant(3).filter(|t| t.dtype() == DType::F32 && t.len() == 1) {
            let v = t.floats()?[0];
            cx.require("C3", (0.0..=1.0).contains(&v), || format!("`iou_threshold` is {v}"))?;
        }
        let n = cx.fresh();
        cx.output(DType::I64, vec![n, Dim::int(3)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (boxes, scores) = (cx.tensor(0)?, cx.tensor(1)?);
        let (b, s) = (boxes.slice::<f32>()?, scores.slice::<f32>()?);
        let scalar = |i: usize| -> Result<Option<f32>> {
            Ok(cx.tensor_opt(i)?.map(|t| t.slice::<f32>().map(|v| v.first().copied())).transpose()?.flatten())
        };
        let most = cx.tensor_opt(2)?.map(Tensor::to_i64s).transpose()?.and_then(|v| v.first().copied()).unwrap_or(0);
        let (iou, least) = (scalar(3)?.unwrap_or(0.0), scalar(4)?);
        let (batches, classes, n) = (scores.shape()[0], scores.shape()[1], scores.shape()[2]);
        let order = |x: f32, y: f32| if x <= y { (x, y) } else { (y, x) };
        let spans = |i: usize| -> Spans {
            let v = &b[i * 4..i * 4 + 4];
            match self.center_point_box {
                true => [(v[0] - v[2] / 2.0, v[0] + v[2] / 2.0), (v[1] - v[3] / 2.0, v[1] + v[3] / 2.0)],
                false => [order(v[0], v[2]), order(v[1], v[3])],
            }
        };
        let mut y: Vec<i64> = Vec::new();
        for (batch, class) in (0..batches).flat_map(|b| (0..classes).map(move |c| (b, c))) {
            let score = |i: usize| s[(batch * classes + class) * n + i];
            let mut left: Vec<usize> = (0..n).filter(|&i| least.is_none_or(|l| score(i) > l)).collect();
            left.sort_by(|&i, &j| score(j).total_cmp(&score(i)).then(i.cmp(&j)));
            let mut taken: Vec<Spans> = Vec::new();
            for i in left {
                if taken.len() as i64 >= most {
                    break;
                }
                cx.env.check()?;
                let candidate = spans(batch * n + i);
                if taken.iter().all(|t| overlap(&candidate, t) <= iou) {
                    taken.push(candidate);
                    y.extend([batch as i64, class as i64, i as i64]);
                    if y.len() * 8 > cx.env.limits.value_bytes {
                        return Err(Error::limit(format!("{} boxes are selected", y.len() / 3)));
                    }
                }
            }
        }
        cx.push(Tensor::from_slice(&[y.len() / 3, 3], &y));
        Ok(())
    }

    fn lower_found(&self, cx: &LowerCx<'_>) -> Result<Option<Library>> {
        let scores = cx.shape(1);
        let fits = scores[2] <= u32::MAX as usize;
        Ok(fits.then_some(Library::NonMaxSuppression {
            batches: scores[0],
            classes: scores[1],
            boxes: scores[2],
            centered: self.center_point_box,
        }))
    }
}

op! {
    NonMaxSuppression in "ai.onnx" since [10, 11];
    "boxes, scores, max_output_boxes_per_class?, iou_threshold?, score_threshold?" => "selected_indices";
    summary: "boxes in order of score that do not overlap a better one";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @non_max_suppression([[[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9], [2.0, 2.0, 3.0, 3.0]]], [[[0.9, 0.8, 0.7]]], [2], [0.5]) == i64[2, 3] [[0, 0, 0], [0, 0, 2]]
graph @non_max_suppression(%a: f32[1, 3, 4], %b: f32[1, 1, 3], %c: i64[1], %d: f32[1]) -> i64[u1, 3] {
  %y = non_max_suppression %a, %b, %c, %d : i64[u1, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn suppression_drops_overlaps_and_checks_the_threshold() {
        let boxes = Tensor::from_slice(&[1, 3, 4], &[0.0f32, 0.0, 1.0, 1.0, 1.0, 1.1, 0.0, 0.1, 5.0, 5.0, 6.0, 6.0]);
        let scores = Tensor::from_slice(&[1, 1, 3], &[0.5f32, 0.9, 0.1]);
        let run = |iou: f32| {
            let args = [boxes.clone(), scores.clone(), Tensor::scalar(3i64), Tensor::scalar(iou)];
            run1("NonMaxSuppression", attrs! {}, &args)
        };
        assert_eq!(run(0.5).unwrap(), Tensor::from_slice(&[2, 3], &[0i64, 0, 1, 0, 0, 2]));
        assert_eq!(run(2.0).unwrap_err().label(), Some("NonMaxSuppression.C3"));
    }

    #[test]
    fn suppression_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let bad = |a: Type, b: Type| violated("NonMaxSuppression", attrs! {}, &[a, b]);
        let f = DType::F32;
        assert_eq!(bad(t(DType::F64, &[1, 2, 4]), t(f, &[1, 1, 2])).as_deref(), Some("NonMaxSuppression.C1"));
        assert_eq!(bad(t(f, &[1, 2, 4]), t(f, &[1, 1, 3])).as_deref(), Some("NonMaxSuppression.C2"));
    }
}
