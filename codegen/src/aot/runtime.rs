//! The runtime library: what generated code calls through its table of functions.
//!
//! It is one file of Rust that needs nothing but `core` (`runtime/` beside this crate's sources). The build script
//! compiles it with the compiler of this crate, and the object file is embedded, so that an installed program has it at hand
//! without looking for files. For other targets the source is handed out with the command that builds it. Kernels that
//! call no function, which are most, need no library at all.

/// Name of the object file.
pub const LIBRARY_NAME: &str = "egret_runtime.o";

/// Name of the source.
pub const SOURCE_NAME: &str = "egret_runtime.rs";

/// The object file, if `triple` is the target that this program was built for.
pub fn library(triple: &str) -> Option<&'static [u8]> {
    const LIBRARY: &[u8] = include_bytes!(env!("EGRET_RUNTIME_LIBRARY"));
    (triple == env!("EGRET_RUNTIME_TARGET")).then_some(LIBRARY)
}

/// The source as one file.
pub fn source() -> String {
    const HEAD: &str = include_str!("../../runtime/lib.rs");
    HEAD.replace("include!(\"functions.rs\");\n", include_str!("../../runtime/functions.rs"))
}

/// The command that makes the object file from the source.
pub fn command(triple: &str) -> String {
    format!(
        "rustc --edition=2024 --crate-type=lib --emit=obj -Copt-level=2 -Cpanic=abort -Ccodegen-units=1 --target={triple} \
         -o {LIBRARY_NAME} {SOURCE_NAME}"
    )
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the library exports them")]
mod functions {
    include!("../../runtime/functions.rs");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::host;

    /// Calls every function of both tables on values that matter.
    #[test]
    fn the_library_means_what_the_interpreter_says() {
        let singles =
            [0.0f32, -0.0, 0.3, -0.7, 1.0, -1.0, 2.5, 17.0, -300.0, 1e-3, 448.0, 1e10, f32::NAN, f32::INFINITY];
        let doubles: Vec<f64> = singles.iter().map(|&v| v.into()).collect();
        let ints = [0i64, 1, -1, 2, -2, 7, -7, 63, 1 << 40, i64::MIN, i64::MAX];
        let close = |a: f64, b: f64, ulp: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= ulp * b.abs();
        for (slot, &theirs) in host::host_table().iter().enumerate() {
            let name = host::symbol(slot);
            let ours = functions::address(&name).unwrap_or_else(|| panic!("{name} is missing"));
            // SAFETY: the names say the signatures, and both tables hold functions of these.
            unsafe {
                if name.contains("_decode_") {
                    let f = |at| std::mem::transmute::<usize, extern "C" fn(i32) -> f32>(at);
                    for code in 0..256 {
                        let (a, b) = (f(ours)(code), f(theirs)(code));
                        assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{name}({code}): {a} {b}");
                    }
                } else if name.contains("_encode_") {
                    let f = |at| std::mem::transmute::<usize, extern "C" fn(f32) -> i32>(at);
                    for i in 0..20_000u32 {
                        // Every exponent, both signs, mantissas around ties.
                        let x = f32::from_bits(i.wrapping_mul(0x0003_4567) ^ (i & 3) << 19);
                        assert_eq!(f(ours)(x) & 255, f(theirs)(x) & 255, "{name}({x:e})");
                    }
                } else if name.ends_with("64") && name.contains("_i64") || name.contains("_u64") {
                    let f = |at| std::mem::transmute::<usize, extern "C" fn(i64, i64) -> i64>(at);
                    for x in ints {
                        for y in ints {
                            assert_eq!(f(ours)(x, y), f(theirs)(x, y), "{name}({x}, {y})");
                        }
                    }
                } else if host::is_binary(slot) {
                    for (i, &x) in singles.iter().enumerate() {
                        for (j, &y) in singles.iter().enumerate() {
                            let (a, b) = if name.ends_with("f32") {
                                let f = |at| std::mem::transmute::<usize, extern "C" fn(f32, f32) -> f32>(at);
                                (f(ours)(x, y).into(), f(theirs)(x, y).into())
                            } else {
                                let f = |at| std::mem::transmute::<usize, extern "C" fn(f64, f64) -> f64>(at);
                                (f(ours)(doubles[i], doubles[j]), f(theirs)(doubles[i], doubles[j]))
                            };
                            assert!(close(a, b, 4e-15), "{name}({x}, {y}): {a} {b}");
                        }
                    }
                } else {
                    for (&x, &double) in singles.iter().zip(&doubles) {
                        let (a, b, ulp) = if name.ends_with("f32") {
                            let f = |at| std::mem::transmute::<usize, extern "C" fn(f32) -> f32>(at);
                            (f(ours)(x).into(), f(theirs)(x).into(), 1.2e-7)
                        } else {
                            let f = |at| std::mem::transmute::<usize, extern "C" fn(f64) -> f64>(at);
                            (f(ours)(double), f(theirs)(double), 4e-15)
                        };
                        assert!(close(a, b, ulp), "{name}({x}): {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_library_is_there_for_this_target_only() {
        let library = library(env!("EGRET_RUNTIME_TARGET")).unwrap();
        assert!(library.len() > 1000);
        assert!(super::library("riscv64-unknown-none").is_none());
        assert!(source().contains("egret_pow_f32") && !source().contains("include!"));
    }
}
