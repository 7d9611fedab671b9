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

pub mod add;
pub mod concat;
pub mod conv;
pub mod conv_transpose;
pub mod gemm;
pub mod mat_mul;
pub mod relu;
pub mod reshape;

/// The registry: every operator's declaration.
#[rustfmt::skip] // One entry a line.
pub static OPS: &[&OpDef] = &[
    &add::DEF,
    &concat::DEF,
    &conv::DEF,
    &conv_transpose::DEF,
    &gemm::DEF,
    &mat_mul::DEF,
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
