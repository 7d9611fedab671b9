//! How close two values are, in units of a tolerance.
//!
//! The rule of ONNX's backend tests: an element `a` is right when `|a - b| <= atol + rtol |b|`; NaN equals NaN, an
//! infinity itself, strings are equal or not. Networks use a variant: `atol` is scaled by the largest magnitude of the
//! expected value where that is above 1, and a share of integers and truth values may differ (ties of arg-max).

use egret_ir::{Class, DType, Tensor, Value};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What counts as equal. Field names are those of a test case's `data.json`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Tolerance {
    /// Relative to the expected element.
    pub rtol: f64,
    /// Absolute.
    pub atol: f64,
    /// Whether `atol` is multiplied by `max(1, max |expected|)`.
    pub atol_scaled_by_max: bool,
    /// Share of integers and truth values that may differ; without it they follow `rtol` and `atol`.
    pub differing_integers: Option<f64>,
    /// Unit roundoff of the narrowest type that a network's values went through; their own counts in any case.
    #[serde(skip)]
    pub unit: f64,
}

impl Default for Tolerance {
    /// That of ONNX's backend tests: 1e-3 relative, 1e-7 absolute.
    fn default() -> Tolerance {
        Tolerance { rtol: 1e-3, atol: 1e-7, atol_scaled_by_max: false, differing_integers: None, unit: 0.0 }
    }
}

/// Roundings to its own type that a value of a network carries, in units of that type: so many of its own size, and half as
/// many of the size of the tensor's largest element. It matters for 16-bit floats alone.
const ROUNDINGS: f64 = 8.0;

/// How two values differ by more than is allowed.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// In words.
    pub text: String,
    /// Largest error in units of the tolerance; infinite where there is no number for it (shapes, types, strings, NaN).
    pub error: f64,
}

impl Difference {
    fn kind(text: impl Into<String>) -> Difference {
        Difference { text: text.into(), error: f64::INFINITY }
    }
}

impl Tolerance {
    /// For networks, as the zoo's reference outputs are judged: 1e-3 relative, 1e-4 of the largest element absolute,
    /// 1 % of integers may differ.
    pub const NETWORK: Tolerance =
        Tolerance { rtol: 1e-3, atol: 1e-4, atol_scaled_by_max: true, differing_integers: Some(0.01), unit: 0.0 };

    /// The tolerance that a test case's folder states in `data.json`, else `default`.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn of_case(folder: &Path, default: Tolerance) -> Result<Tolerance, String> {
        let path = folder.join("data.json");
        if !path.is_file() {
            return Ok(default);
        }
        let wrong = |e: String| format!("{}: {e}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
        // Fields that the file leaves out keep the default's value.
        let given: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let mut merged = match serde_json::to_value(default) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => return Err(wrong("no object".into())),
        };
        merged.extend(given);
        serde_json::from_value(merged.into()).map_err(|e| wrong(e.to_string()))
    }

    /// Compares a result with what is expected; gives the largest error in units of the tolerance (at most 1).
    ///
    /// # Errors
    /// When they differ by more.
    pub fn compare(&self, got: &Value, want: &Value) -> Result<f64, Difference> {
        match (got, want) {
            (Value::Tensor(g), Value::Tensor(w)) => self.tensors(g, w),
            (Value::Sequence(_, g), Value::Sequence(_, w)) => {
                if g.len() != w.len() {
                    return Err(Difference::kind(format!("{} elements instead of {}", g.len(), w.len())));
                }
                let each = g.iter().zip(w).enumerate().map(|(i, (g, w))| {
                    self.compare(g, w).map_err(|d| Difference { text: format!("element {i}: {}", d.text), ..d })
                });
                worst(each)
            }
            (Value::Optional(_, None), Value::Optional(_, None)) => Ok(0.0),
            (Value::Optional(_, Some(g)), Value::Optional(_, Some(w))) => self.compare(g, w),
            // A present optional may be written as the plain value.
            (Value::Optional(_, Some(g)), w) => self.compare(g, w),
            (g, Value::Optional(_, Some(w))) => self.compare(g, w),
            (Value::Map(_, _, g), Value::Map(_, _, w)) => {
                if g.len() != w.len() || g.iter().zip(w).any(|((j, _), (k, _))| j != k) {
                    return Err(Difference::kind("the keys differ"));
                }
                worst(g.iter().zip(w).map(|((_, g), (_, w))| self.compare(g, w)))
            }
            (g, w) => Err(Difference::kind(format!("{} instead of {}", g.ty(), w.ty()))),
        }
    }

    fn tensors(&self, got: &Tensor, want: &Tensor) -> Result<f64, Difference> {
        if got.dtype() != want.dtype() || got.shape() != want.shape() {
            let (g, w) = (Value::Tensor(got.clone()).ty(), Value::Tensor(want.clone()).ty());
            return Err(Difference::kind(format!("{g} instead of {w}")));
        }
        if want.dtype() == DType::String {
            let n = got.strings().ok().zip(want.strings().ok()).map_or(0, |(g, w)| count(g, w));
            return if n == 0 {
                Ok(0.0)
            } else {
                Err(Difference::kind(format!("{n} of {} strings differ", want.len())))
            };
        }
        if got.bytes() == want.bytes() {
            return Ok(0.0);
        }
        let whole = want.dtype().is_int() || want.dtype() == DType::Bool;
        if let (true, Some(share)) = (whole, self.differing_integers) {
            return integers(got, want, share);
        }
        let numbers = |t: &Tensor| -> Result<Vec<f64>, Difference> {
            let parts = match t.dtype().class() {
                Class::Complex => t.complexes().map(|c| c.into_iter().flat_map(|(re, im)| [re, im]).collect()),
                _ => t.floats(),
            };
            parts.map_err(|e| Difference::kind(e.to_string()))
        };
        self.elements(&numbers(got)?, &numbers(want)?, want.dtype())
    }

    fn elements(&self, got: &[f64], want: &[f64], dtype: DType) -> Result<f64, Difference> {
        // bfloat16 keeps 8 bits: 2^-6 is what ONNX's own comparison allows.
        let mut rtol = if dtype == DType::BF16 { self.rtol.max(1.0 / 64.0) } else { self.rtol };
        let mut atol = self.atol;
        if self.atol_scaled_by_max {
            let largest = want.iter().filter(|w| w.is_finite()).fold(0.0f64, |m, w| m.max(w.abs()));
            let unit = dtype.unit_roundoff().unwrap_or(0.0).max(self.unit);
            rtol = rtol.max(ROUNDINGS * unit);
            atol = (atol * largest.max(1.0)).max(ROUNDINGS / 2.0 * unit * largest);
        }
        let (mut worst, mut at, mut n_wrong) = (0.0f64, 0, 0usize);
        for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
            let error = if g == w || (g.is_nan() && w.is_nan()) {
                continue;
            } else if !g.is_finite() || !w.is_finite() {
                f64::INFINITY
            } else {
                // 0 / 0 cannot be: g differs from w.
                (g - w).abs() / (atol + rtol * w.abs())
            };
            n_wrong += usize::from(error > 1.0);
            if error > worst {
                (worst, at) = (error, i);
            }
        }
        if n_wrong == 0 {
            return Ok(worst);
        }
        let (g, w, n) = (got[at], want[at], want.len());
        Err(Difference {
            text: format!(
                "{n_wrong} of {n} elements differ, worst at {at}: {g:e} instead of {w:e} ({worst:.3} tolerances)"
            ),
            error: worst,
        })
    }
}

fn integers(got: &Tensor, want: &Tensor, share: f64) -> Result<f64, Difference> {
    let ints = |t: &Tensor| t.ints().map_err(|e| Difference::kind(e.to_string()));
    let n_wrong = count(&ints(got)?, &ints(want)?);
    let allowed = share * want.len() as f64;
    let error = if n_wrong == 0 { 0.0 } else { n_wrong as f64 / allowed };
    if error <= 1.0 {
        return Ok(error);
    }
    Err(Difference { text: format!("{n_wrong} of {} integers differ", want.len()), error })
}

fn count<T: PartialEq>(got: &[T], want: &[T]) -> usize {
    got.iter().zip(want).filter(|(g, w)| g != w).count()
}

/// The worst difference if there is one, else the largest error.
fn worst(each: impl Iterator<Item = Result<f64, Difference>>) -> Result<f64, Difference> {
    let (mut largest, mut found) = (0.0f64, None::<Difference>);
    for one in each {
        match one {
            Ok(error) => largest = largest.max(error),
            Err(d) if found.as_ref().is_none_or(|f| d.error > f.error) => found = Some(d),
            Err(_) => {}
        }
    }
    found.map_or(Ok(largest), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(v: &[f32]) -> Value {
        Tensor::from_slice(&[v.len()], v).into()
    }

    #[test]
    fn plain_tolerances_follow_numpy() {
        let t = Tolerance::default();
        assert!(t.compare(&floats(&[1.0009]), &floats(&[1.0])).is_ok());
        assert!(t.compare(&floats(&[1.0011]), &floats(&[1.0])).is_err());
        assert!(t.compare(&floats(&[f32::NAN, f32::INFINITY]), &floats(&[f32::NAN, f32::INFINITY])).is_ok());
        let d = t.compare(&floats(&[1.0, f32::NAN]), &floats(&[1.0, 2.0])).unwrap_err();
        assert_eq!(d.error, f64::INFINITY);
        assert!(d.text.starts_with("1 of 2 elements differ, worst at 1"), "{}", d.text);
    }

    #[test]
    fn networks_scale_by_the_largest_element() {
        let (got, want) = (floats(&[1000.0, 0.05]), floats(&[1000.0, 0.0]));
        assert!(Tolerance::NETWORK.compare(&got, &want).is_ok());
        assert!(Tolerance { atol: 1e-4, ..Tolerance::default() }.compare(&got, &want).is_err());
    }

    #[test]
    fn networks_of_narrow_floats_carry_their_roundings() {
        let of = |dtype, v: [f64; 2]| Value::from(Tensor::from_floats(dtype, &[2], v));
        let agree = |dtype| Tolerance::NETWORK.compare(&of(dtype, [1.0, 0.502]), &of(dtype, [1.0, 0.5])).is_ok();
        assert!(agree(DType::F16) && !agree(DType::F32));
        assert!(Tolerance::NETWORK.compare(&of(DType::F16, [1.0, 0.51]), &of(DType::F16, [1.0, 0.5])).is_err());
    }

    #[test]
    fn a_share_of_integers_may_differ() {
        let want: Vec<i64> = (0..200).collect();
        let mut got = want.clone();
        (got[0], got[1]) = (7, 7);
        let value = |v: &[i64]| Value::from(Tensor::from_slice(&[v.len()], v));
        assert_eq!(Tolerance::NETWORK.compare(&value(&got), &value(&want)), Ok(1.0));
        got[2] = 7;
        assert!(Tolerance::NETWORK.compare(&value(&got), &value(&want)).is_err());
        assert!(Tolerance::default().compare(&value(&[1]), &value(&[2])).is_err());
    }

    #[test]
    fn shapes_and_types_must_agree() {
        let want = Value::from(Tensor::from_slice(&[2], &[1i32, 2]));
        let d = Tolerance::default().compare(&floats(&[1.0, 2.0]), &want).unwrap_err();
        assert_eq!(d.text, "f32[2] instead of i32[2]");
    }

    #[test]
    fn a_case_states_its_own_tolerance() {
        let folder = std::env::temp_dir().join(format!("egret-tolerance-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let default = Tolerance::default();
        assert_eq!(Tolerance::of_case(&folder, default), Ok(default));
        std::fs::write(folder.join("data.json"), r#"{"rtol": 0.1, "url": "x"}"#).unwrap();
        assert_eq!(Tolerance::of_case(&folder, default), Ok(Tolerance { rtol: 0.1, ..default }));
        std::fs::write(folder.join("data.json"), "[").unwrap();
        assert!(Tolerance::of_case(&folder, default).is_err());
    }
}
