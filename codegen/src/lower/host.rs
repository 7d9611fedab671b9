//! Functions that generated code calls: rare elementary functions, powers, remainders, narrow floats.
//!
//! They are the interpreter's own definitions ([`egret_ir::loops::scalar`]), called one element at a time through the
//! function table, an array of code addresses whose order is `Host`'s.

use std::sync::OnceLock;

use egret_ir::DType;
use egret_ir::loops::{BinOp, Scalar, UnOp, scalar};
use egret_ir::num;

fn f32_of(v: Scalar) -> f32 {
    if let Scalar::F32(v) = v { v } else { v.as_f64() as f32 }
}

macro_rules! unary {
    ($($op:ident),*) => {
        /// Unary functions that have an entry, in the order of their entries; each as `f32`, then as `f64`.
        const UNARY: &[UnOp] = &[$(UnOp::$op),*];
        fn unary_addresses() -> Vec<usize> {
            let mut all = Vec::new();
            $({
                extern "C" fn single(x: f32) -> f32 {
                    f32_of(scalar::unary(UnOp::$op, DType::F32, Scalar::F32(x)))
                }
                extern "C" fn double(x: f64) -> f64 {
                    scalar::unary(UnOp::$op, DType::F64, Scalar::F64(x)).as_f64()
                }
                all.push(single as extern "C" fn(f32) -> f32 as usize);
                all.push(double as extern "C" fn(f64) -> f64 as usize);
            })*
            all
        }
    };
}

unary!(Exp, Expm1, Log, Log1p, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Sigmoid);

macro_rules! binary {
    ($($op:ident),*) => {
        const BINARY: &[BinOp] = &[$(BinOp::$op),*];
        fn binary_addresses() -> Vec<usize> {
            let mut all = Vec::new();
            $({
                extern "C" fn single(x: f32, y: f32) -> f32 {
                    f32_of(scalar::binary(BinOp::$op, DType::F32, Scalar::F32(x), Scalar::F32(y)))
                }
                extern "C" fn double(x: f64, y: f64) -> f64 {
                    scalar::binary(BinOp::$op, DType::F64, Scalar::F64(x), Scalar::F64(y)).as_f64()
                }
                extern "C" fn signed(x: i64, y: i64) -> i64 {
                    scalar::binary(BinOp::$op, DType::I64, Scalar::Int(x), Scalar::Int(y)).as_int()
                }
                extern "C" fn unsigned(x: i64, y: i64) -> i64 {
                    scalar::binary(BinOp::$op, DType::U64, Scalar::Int(x), Scalar::Int(y)).as_int()
                }
                all.push(single as extern "C" fn(f32, f32) -> f32 as usize);
                all.push(double as extern "C" fn(f64, f64) -> f64 as usize);
                all.push(signed as extern "C" fn(i64, i64) -> i64 as usize);
                all.push(unsigned as extern "C" fn(i64, i64) -> i64 as usize);
            })*
            all
        }
    };
}

binary!(Pow, Rem, FloorMod, FloorDiv, Div);

macro_rules! narrow {
    ($($t:ident),*) => {
        const NARROW: &[DType] = &[$(DType::$t),*];
        fn narrow_addresses() -> Vec<usize> {
            let mut all = Vec::new();
            $({
                extern "C" fn decode(code: i32) -> f32 {
                    num::decode(DType::$t, code as u8)
                }
                extern "C" fn encode(x: f32) -> i32 {
                    i32::from(num::encode(DType::$t, x, false))
                }
                extern "C" fn encode_saturating(x: f32) -> i32 {
                    i32::from(num::encode(DType::$t, x, true))
                }
                all.push(decode as extern "C" fn(i32) -> f32 as usize);
                all.push(encode as extern "C" fn(f32) -> i32 as usize);
                all.push(encode_saturating as extern "C" fn(f32) -> i32 as usize);
            })*
            all
        }
    };
}

narrow!(F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, F4E2M1);

/// A function of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// `f(x)` in `f32` or `f64`.
    Unary(UnOp, bool),
    /// `f(x, y)`; variant 0 `f32`, 1 `f64`, 2 `i64`, 3 `u64`.
    Binary(BinOp, usize),
    /// A narrow float's byte to `f32`.
    Decode(DType),
    /// `f32` to a narrow float's byte, saturating or not.
    Encode(DType, bool),
}

impl Host {
    /// Entry in the table, if there is one.
    pub(super) fn slot(self) -> Option<usize> {
        let (n_unary, n_binary) = (2 * UNARY.len(), 4 * BINARY.len());
        match self {
            Host::Unary(op, double) => UNARY.iter().position(|&o| o == op).map(|k| 2 * k + usize::from(double)),
            Host::Binary(op, variant) => BINARY.iter().position(|&o| o == op).map(|k| n_unary + 4 * k + variant),
            Host::Decode(t) => NARROW.iter().position(|&n| n == t).map(|k| n_unary + n_binary + 3 * k),
            Host::Encode(t, saturate) => {
                NARROW.iter().position(|&n| n == t).map(|k| n_unary + n_binary + 3 * k + 1 + usize::from(saturate))
            }
        }
    }
}

/// Whether the function at an entry has two operands.
#[cfg(test)]
pub(crate) fn is_binary(slot: usize) -> bool {
    (2 * UNARY.len()..2 * UNARY.len() + 4 * BINARY.len()).contains(&slot)
}

/// The name in the runtime library of the function at an entry of the table.
pub(crate) fn symbol(slot: usize) -> String {
    let (n_unary, n_binary) = (2 * UNARY.len(), 4 * BINARY.len());
    let lower = |t: &dyn std::fmt::Debug| format!("{t:?}").to_lowercase();
    match slot {
        k if k < n_unary => format!("egret_{}_{}", lower(&UNARY[k / 2]), ["f32", "f64"][k % 2]),
        k if k < n_unary + n_binary => {
            let k = k - n_unary;
            format!("egret_{}_{}", lower(&BINARY[k / 4]), ["f32", "f64", "i64", "u64"][k % 4])
        }
        k => {
            let k = k - n_unary - n_binary;
            format!("egret_{}_{}", ["decode", "encode", "encode_saturating"][k % 3], lower(&NARROW[k / 3]))
        }
    }
}

/// The function table that kernels of loop nests expect: code addresses, valid as long as the program runs.
pub fn host_table() -> &'static [usize] {
    static TABLE: OnceLock<Vec<usize>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut all = unary_addresses();
        all.extend(binary_addresses());
        all.extend(narrow_addresses());
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_in_the_table() {
        let n = host_table().len();
        assert_eq!(Host::Encode(DType::F4E2M1, true).slot(), Some(n - 1));
        assert_eq!(Host::Unary(UnOp::Exp, false).slot(), Some(0));
        assert_eq!(Host::Unary(UnOp::Sqrt, false).slot(), None);
    }
}
