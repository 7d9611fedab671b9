//! All operators. A new one is its file and two lines here: `pub mod name;` and `&name::DEF,`.

use crate::op::OpDef;
use std::collections::HashMap;
use std::sync::OnceLock;

pub mod common;
pub mod constant;
pub mod constant_of_shape;
pub mod contraction;
pub mod expand;
pub mod flatten;
pub mod gather;
pub mod identity;
pub mod lanes;
pub mod move_common;
pub mod pointwise;
pub mod range;
pub mod shape;
pub mod size;
pub mod slice;
pub mod split;
pub mod squeeze;
pub mod tile;
pub mod transpose;
pub mod unsqueeze;
pub mod window;

pub mod abs;
pub mod acos;
pub mod acosh;
pub mod add;
pub mod and;
pub mod asin;
pub mod asinh;
pub mod atan;
pub mod atanh;
pub mod bit_shift;
pub mod bitwise_and;
pub mod bitwise_not;
pub mod bitwise_or;
pub mod bitwise_xor;
pub mod ceil;
pub mod celu;
pub mod clip;
pub mod concat;
pub mod conv;
pub mod conv_transpose;
pub mod cos;
pub mod cosh;
pub mod div;
pub mod elu;
pub mod equal;
pub mod erf;
pub mod exp;
pub mod floor;
pub mod gelu;
pub mod gemm;
pub mod greater;
pub mod greater_or_equal;
pub mod hard_sigmoid;
pub mod hard_swish;
pub mod is_inf;
pub mod is_nan;
pub mod leaky_relu;
pub mod less;
pub mod less_or_equal;
pub mod log;
pub mod mat_mul;
pub mod max;
pub mod mean;
pub mod min;
pub mod mish;
pub mod modulo;
pub mod mul;
pub mod neg;
pub mod not;
pub mod or;
pub mod pow;
pub mod prelu;
pub mod reciprocal;
pub mod relu;
pub mod reshape;
pub mod round;
pub mod selu;
pub mod shrink;
pub mod sigmoid;
pub mod sign;
pub mod sin;
pub mod sinh;
pub mod softplus;
pub mod softsign;
pub mod sqrt;
pub mod sub;
pub mod sum;
pub mod swish;
pub mod tan;
pub mod tanh;
pub mod thresholded_relu;
pub mod r#where;
pub mod xor;

/// The registry: every operator's declaration.
#[rustfmt::skip] // One entry a line.
pub static OPS: &[&OpDef] = &[
    &abs::DEF,
    &acos::DEF,
    &acosh::DEF,
    &add::DEF,
    &and::DEF,
    &asin::DEF,
    &asinh::DEF,
    &atan::DEF,
    &atanh::DEF,
    &bit_shift::DEF,
    &bitwise_and::DEF,
    &bitwise_not::DEF,
    &bitwise_or::DEF,
    &bitwise_xor::DEF,
    &ceil::DEF,
    &celu::DEF,
    &clip::DEF,
    &concat::DEF,
    &conv::DEF,
    &conv_transpose::DEF,
    &cos::DEF,
    &cosh::DEF,
    &div::DEF,
    &elu::DEF,
    &equal::DEF,
    &erf::DEF,
    &exp::DEF,
    &floor::DEF,
    &gelu::DEF,
    &gemm::DEF,
    &greater::DEF,
    &greater_or_equal::DEF,
    &hard_sigmoid::DEF,
    &hard_swish::DEF,
    &is_inf::DEF,
    &is_nan::DEF,
    &leaky_relu::DEF,
    &less::DEF,
    &less_or_equal::DEF,
    &log::DEF,
    &mat_mul::DEF,
    &max::DEF,
    &mean::DEF,
    &min::DEF,
    &mish::DEF,
    &modulo::DEF,
    &mul::DEF,
    &neg::DEF,
    &not::DEF,
    &or::DEF,
    &pow::DEF,
    &prelu::DEF,
    &reciprocal::DEF,
    &relu::DEF,
    &reshape::DEF,
    &constant::DEF,
    &constant_of_shape::DEF,
    &expand::DEF,
    &flatten::DEF,
    &gather::DEF,
    &identity::DEF,
    &range::DEF,
    &shape::DEF,
    &size::DEF,
    &slice::DEF,
    &split::DEF,
    &squeeze::DEF,
    &tile::DEF,
    &transpose::DEF,
    &unsqueeze::DEF,
    &round::DEF,
    &selu::DEF,
    &shrink::DEF,
    &sigmoid::DEF,
    &sign::DEF,
    &sin::DEF,
    &sinh::DEF,
    &softplus::DEF,
    &softsign::DEF,
    &sqrt::DEF,
    &sub::DEF,
    &sum::DEF,
    &swish::DEF,
    &tan::DEF,
    &tanh::DEF,
    &thresholded_relu::DEF,
    &r#where::DEF,
    &xor::DEF,
];

/// The operator `name` of `domain` (`ai.onnx` and the empty string are one).
pub fn find(domain: &str, name: &str) -> Option<&'static OpDef> {
    static INDEX: OnceLock<HashMap<(&str, &str), &'static OpDef>> = OnceLock::new();
    let index = INDEX.get_or_init(|| OPS.iter().map(|&d| ((d.domain, d.name), d)).collect());
    index.get(&(if domain.is_empty() { "ai.onnx" } else { domain }, name)).copied()
}

/// The operator of a mnemonic in IR text.
pub fn find_mnemonic(word: &str) -> Option<&'static OpDef> {
    static INDEX: OnceLock<HashMap<String, &'static OpDef>> = OnceLock::new();
    INDEX.get_or_init(|| OPS.iter().map(|&d| (d.mnemonic(), d)).collect()).get(word).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_found_by_its_names_and_only_it() {
        for def in OPS {
            assert!(std::ptr::eq(find(def.domain, def.name).unwrap(), *def), "{def:?} is registered twice");
            assert!(std::ptr::eq(find_mnemonic(&def.mnemonic()).unwrap(), *def));
            assert!(def.since.is_sorted() && !def.since.is_empty(), "{def:?}");
            assert!(!def.summary.is_empty() && !def.summary.ends_with('.'), "{def:?}");
        }
    }
}
