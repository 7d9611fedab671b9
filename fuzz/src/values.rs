//! Elements of inputs, by class: what compilers get wrong is seldom the ordinary number.

use crate::choices::{Choices, pick};
use egret_ir::{Class, DType, Result, Tensor};

/// A class of elements.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Values {
    /// Numbers of ordinary size and both signs.
    Ordinary,
    /// Zeros and ones: in every operator's domain that has one at all.
    Tame,
    /// Inside of the operator's domain (`lo..hi`, read from its facts), where that is no whole line.
    Domain,
    /// Whole numbers, so that ties and equal elements occur.
    Whole,
    /// Integers that are an index into an axis of as many entries as the domain's upper end says, from either side.
    Index,
    /// Zeros of both signs, subnormal numbers, the least normal ones.
    Small,
    /// Numbers near the largest.
    Huge,
    /// Infinities, NaN and numbers beyond the ranges of integers among ordinary ones.
    Special,
    /// Any finite number of the type, integers evenly, floats by their exponents.
    Any,
}

impl Values {
    /// A class, ordinary ones most often; `special` allows infinities, NaN and overflow. Where an operator's result is of another
    /// type (`converts`), each number of the types is a case of its own.
    pub fn draw(choices: &mut dyn Choices, special: bool, converts: bool) -> Values {
        use Values::*;
        let list = [Ordinary, Domain, Whole, Tame, Small, Huge, Special, Any];
        let weights = match (special, converts) {
            (true, true) => [4, 2, 3, 1, 1, 2, 4, 5],
            (true, false) => [8, 4, 4, 1, 1, 2, 2, 1],
            (false, _) => [8, 4, 4, 1, 1, 0, 0, 0],
        };
        list[choices.weighted(&weights)]
    }
}

/// Whether no element is infinite or NaN.
pub(crate) fn is_finite(t: &Tensor) -> bool {
    !t.dtype().is_float() || t.floats().is_ok_and(|x| x.iter().all(|x| x.is_finite()))
}

/// A tensor of elements of a class; `domain` is the operator's, and for [`Values::Index`] its upper end the length of an axis.
///
/// # Errors
/// When it would be too large, or the element type is one of complex numbers.
pub fn tensor(
    dtype: DType,
    shape: &[usize],
    class: Values,
    domain: (f64, f64),
    choices: &mut dyn Choices,
) -> Result<Tensor> {
    let n = egret_ir::tensor::len_elems(shape)?;
    Ok(match dtype.class() {
        Class::Bool => Tensor::from_bools(shape, (0..n).map(|_| choices.chance(1, 2)).collect::<Vec<_>>()),
        Class::Signed | Class::Unsigned => {
            let (lo, hi) = dtype.int_range().unwrap_or((0, 1));
            let one = |choices: &mut dyn Choices| match class {
                Values::Tame => choices.below(2) as i128,
                Values::Index => {
                    let n = (domain.1.clamp(1.0, 1024.0) as i128).min(hi);
                    choices.below((n - (-n).max(lo)) as usize) as i128 + (-n).max(lo)
                }
                Values::Huge | Values::Special => *pick(choices, &[lo, hi, lo + 1, hi - 1, 0, 1, hi / 2]),
                Values::Any => {
                    let bits = (0..4).fold(0i128, |bits, _| bits << 16 | choices.below(1 << 16) as i128);
                    lo + bits % (hi - lo + 1)
                }
                _ => (choices.below(17) as i128 - 8).clamp(lo, hi),
            };
            Tensor::from_ints(dtype, shape, (0..n).map(|_| one(choices)).collect::<Vec<_>>())
        }
        Class::Float => {
            let (least, largest) = float_range(dtype);
            let one = |choices: &mut dyn Choices| match class {
                Values::Ordinary => 4.0 * choices.unit() - 2.0,
                Values::Tame => choices.below(2) as f64,
                Values::Domain => inside(domain, choices),
                Values::Whole | Values::Index => choices.below(9) as f64 - 4.0,
                Values::Small => *pick(choices, &[0.0, -0.0, least, -least, 3.0 * least, 1.0]),
                Values::Huge => *pick(choices, &[largest, -largest, largest / 2.0, largest.sqrt(), -1.0]),
                Values::Special => *pick(choices, SPECIAL),
                Values::Any => {
                    let (a, b) = (least.log2(), largest.log2());
                    let size = (a + (b - a) * choices.unit()).exp2() * (1.0 - choices.unit() / 4.0);
                    if choices.chance(1, 2) { size } else { -size }
                }
            };
            Tensor::from_floats(dtype, shape, (0..n).map(|_| one(choices)).collect::<Vec<_>>())
        }
        // Few different ones, so that some are equal; some begin alike.
        Class::String => {
            let one = |choices: &mut dyn Choices| (*pick(choices, TEXTS)).into();
            Tensor::from_strings(shape, (0..n).map(|_| one(choices)).collect())
        }
        _ => return Err(egret_ir::Error::unsupported(format!("no elements are drawn for {dtype}"))),
    })
}

/// Numbers among which each kind is that a conversion has a word for.
const SPECIAL: &[f64] = &[
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    300.0,
    -300.0,
    70_000.0,
    3e9,
    -3e9,
    1.6e19,
];

/// Texts that are drawn: none, beginnings of each other, numbers, letters of several bytes.
const TEXTS: &[&str] = &["", "a", "b", "ab", "abc", "A", " a ", "1", "-2.5", "é", "日本", "a,b"];

/// Somewhere in an open interval.
fn inside((lo, hi): (f64, f64), choices: &mut dyn Choices) -> f64 {
    let u = (choices.unit() + 1e-3) / 1.002;
    match (lo.is_finite(), hi.is_finite()) {
        (true, true) => lo + (hi - lo) * u,
        (true, false) => lo + 4.0 * u,
        (false, true) => hi - 4.0 * u,
        (false, false) => 4.0 * u - 2.0,
    }
}

/// Least positive (subnormal) and greatest finite element.
fn float_range(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F16 => (2f64.powi(-24), 65504.0),
        DType::BF16 => (2f64.powi(-133), 3.389_531_389_251_535_5e38),
        DType::F64 => (f64::from_bits(1), f64::MAX),
        DType::F8E4M3FN => (2f64.powi(-9), 448.0),
        DType::F8E4M3FNUZ => (2f64.powi(-10), 240.0),
        DType::F8E5M2 => (2f64.powi(-16), 57344.0),
        DType::F8E5M2FNUZ => (2f64.powi(-17), 57344.0),
        DType::F8E8M0 => (2f64.powi(-127), 2f64.powi(127)),
        DType::F4E2M1 => (0.5, 6.0),
        _ => (2f64.powi(-149), f64::from(f32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;

    #[test]
    fn every_class_gives_elements_of_every_plain_type() {
        let classes = [
            Values::Ordinary,
            Values::Tame,
            Values::Domain,
            Values::Whole,
            Values::Index,
            Values::Small,
            Values::Huge,
            Values::Special,
            Values::Any,
        ];
        for class in classes {
            for dtype in [
                DType::F32,
                DType::F16,
                DType::BF16,
                DType::F64,
                DType::I8,
                DType::U64,
                DType::Bool,
                DType::I2,
                DType::U4,
                DType::F8E5M2,
                DType::F4E2M1,
                DType::String,
            ] {
                let t = tensor(dtype, &[3, 0, 2], class, (0.0, f64::INFINITY), &mut Seeded::new(1, 0)).unwrap();
                assert_eq!(t.shape(), [3, 0, 2]);
                let t = tensor(dtype, &[3, 2], class, (0.0, f64::INFINITY), &mut Seeded::new(1, 0)).unwrap();
                assert_eq!(t.len(), 6);
            }
        }
    }

    #[test]
    fn indices_lie_within_an_axis_from_either_side() {
        let indices = |dtype| {
            let t = tensor(dtype, &[100], Values::Index, (0.0, 3.0), &mut Seeded::new(1, 0)).unwrap();
            t.ints().unwrap().into_iter().collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(indices(DType::I64), (-3..3).collect());
        assert_eq!(indices(DType::U8), (0..3).collect());
    }

    #[test]
    fn any_number_is_met() {
        let any = |dtype| tensor(dtype, &[1000], Values::Any, (0.0, 1.0), &mut Seeded::new(1, 0)).unwrap();
        let bytes: std::collections::BTreeSet<_> = any(DType::U8).ints().unwrap().into_iter().collect();
        assert!(bytes.len() > 240);
        let large = |dtype| any(dtype).ints().unwrap().into_iter().filter(|&v| v > 1 << 31).count();
        assert!((400..600).contains(&large(DType::U32)) && (400..600).contains(&large(DType::I64)));
        let floats = any(DType::F32).floats().unwrap();
        let normal = |x: &&f64| x.abs() > 1e-38;
        assert!(floats.iter().all(|x| x.is_finite()) && (800..960).contains(&floats.iter().filter(normal).count()));
    }

    #[test]
    fn elements_of_a_domain_lie_in_it() {
        let t = tensor(DType::F32, &[100], Values::Domain, (-1.0, 1.0), &mut Seeded::new(1, 0)).unwrap();
        assert!(t.floats().unwrap().iter().all(|x| x.abs() < 1.0));
    }
}
