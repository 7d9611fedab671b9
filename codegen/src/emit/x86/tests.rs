//! Every operation at every wide level of this machine, on ordinary and special elements, against the interpreter.

use std::collections::BTreeSet;

use super::Level;
use crate::builder::{BinOp, BuildError, Builder, CmpOp, Cvt, Elem, KernelFn, Reduce, Target, Ty, UnOp, Val};
use crate::error::CodegenError;
use crate::isa::{Effort, Isa};
use crate::jit::CompiledKernels;
use crate::testing::{Rng, bytes as view, interpret};

const ELEMS: [Elem; 6] = [Elem::I8, Elem::I16, Elem::I32, Elem::I64, Elem::F32, Elem::F64];

/// Vectors in a buffer of operands.
const OPERANDS: usize = 4;

fn levels() -> impl Iterator<Item = Level> {
    [Level::Avx2, Level::Avx512].into_iter().filter(|l| l.is_here())
}

fn target(level: Level) -> Target {
    Target { lanes: level.lanes(), ..Target::X86_128 }
}

fn build(level: Level, f: impl FnOnce(&mut Builder)) -> Result<KernelFn, BuildError> {
    let mut b = Builder::new("test", target(level));
    f(&mut b);
    b.finish()
}

/// Bytes of elements: special ones, small ones, and any bits.
fn elements(e: Elem, bytes: usize, rng: &mut Rng) -> Vec<u8> {
    let special: &[f64] =
        &[0.0, -0.0, 1.0, -1.5, 2.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3e9, -3e9, 5e9, 1e-40];
    let one = |rng: &mut Rng| -> Vec<u8> {
        let (pick, bits) = (rng.next() % 4, rng.next());
        let number = special[(bits >> 8) as usize % special.len()];
        match e {
            Elem::F32 if pick < 2 => (number as f32).to_le_bytes().to_vec(),
            Elem::F64 if pick < 2 => number.to_le_bytes().to_vec(),
            Elem::F32 if pick == 2 => (rng.coarse() * 100.0).to_le_bytes().to_vec(),
            Elem::F64 if pick == 2 => f64::from(rng.coarse() * 100.0).to_le_bytes().to_vec(),
            _ => {
                let edges = [0, 1, -1, i64::MIN, i64::MAX, i64::from(i32::MIN), i64::from(i32::MAX), 2, 7];
                let value = if pick < 2 { edges[(bits >> 8) as usize % edges.len()] } else { bits as i64 };
                value.to_le_bytes()[..e.size_bytes()].to_vec()
            }
        }
    };
    let mut out = Vec::new();
    while out.len() < bytes {
        out.extend(one(rng));
    }
    out
}

/// What a level refuses of what the recorder takes.
#[derive(Default)]
struct Refused(BTreeSet<String>);

impl Refused {
    /// Runs a kernel of operands of one element, interpreted and as machine code, with both allocators; what the recorder
    /// refuses is no kernel.
    fn check(&mut self, name: &str, level: Level, e: Elem, f: impl Fn(&mut Builder)) {
        let Ok(kernel) = build(level, f) else { return };
        let code = match CompiledKernels::compile_distinct(&[&kernel], &Isa::native(Effort::Quick).unwrap(), 1) {
            Err(CodegenError::Unsupported(_)) => {
                // Without counts of lanes and shifts.
                let what = name.split(" by ").next().unwrap_or(name).split(' ');
                let words = what.filter(|w| w.parse::<usize>().is_err() && !matches!(*w, "true" | "false"));
                self.0.insert([level.name()].into_iter().chain(words).collect::<Vec<_>>().join(" "));
                return;
            }
            Err(e) => panic!("{} {name}: {e}", level.name()),
            Ok(code) => code,
        };
        let mut rng = Rng::new(7);
        for _ in 0..8 {
            let mut x = elements(e, OPERANDS * 64, &mut rng);
            let (mut want, mut got) = (vec![0xa5u8; OPERANDS * 64], vec![0xa5u8; OPERANDS * 64]);
            interpret(&kernel, &mut [&mut x.clone(), &mut want], 5);
            let table = [x.as_mut_ptr(), got.as_mut_ptr()];
            // SAFETY: the kernels here read three vectors at most of the first buffer and write four of the second.
            unsafe { code.entry(0).call(table.as_ptr(), 0, 5) };
            let differs = want.chunks(8).zip(got.chunks(8)).position(|(w, g)| !alike(w, g));
            assert_eq!(differs, None, "{} {name}: of {x:?}\n{want:?} interpreted\n{got:?} compiled", level.name());
        }
    }
}

/// The same bits, but for which NaN it is, of either size.
fn alike(a: &[u8], b: &[u8]) -> bool {
    let long = |w: &[u8]| f64::from_le_bytes(w.try_into().unwrap()).is_nan();
    let short = |w: &[u8]| f32::from_le_bytes(w.try_into().unwrap()).is_nan();
    let words = || a.chunks(4).zip(b.chunks(4)).all(|(a, b)| a == b || short(a) && short(b));
    a == b || long(a) && long(b) || words()
}

/// Operands 0, 1 and 2 of a type, the results of `f` stored.
fn on(ty: Ty, f: impl Fn(&mut Builder, [Val; 3]) -> Vec<Val>) -> impl Fn(&mut Builder) {
    move |b| {
        let (x, o) = (b.buf(0), b.buf(1));
        let size = match ty {
            Ty::S(e) => e.size_bytes() as i32,
            _ => 4 * b.lanes() as i32,
        };
        let operands = [0, 1, 2].map(|k| b.load(ty, x, k * size));
        for (k, v) in f(b, operands).into_iter().enumerate() {
            let v = match b.ty(v) {
                Ty::Mask(m) => b.bits(v, Ty::V(m)),
                Ty::Bool => b.cvt(Cvt::ZeroExtend, v, Ty::S(Elem::I64)),
                _ => v,
            };
            b.store(o, 64 * k as i32, v);
        }
    }
}

fn types() -> impl Iterator<Item = (Elem, Ty)> {
    ELEMS.into_iter().flat_map(|e| [(e, Ty::S(e)), (e, Ty::V(e))])
}

#[test]
fn operations_are_those_of_the_interpreter() {
    use BinOp as B;
    let unary = [UnOp::Neg, UnOp::Abs, UnOp::Not, UnOp::Sqrt, UnOp::Floor, UnOp::Ceil, UnOp::Trunc, UnOp::Nearest];
    let binary = [
        B::Add,
        B::Sub,
        B::Mul,
        B::Div,
        B::Rem,
        B::DivU,
        B::RemU,
        B::Min,
        B::Max,
        B::MinNan,
        B::MaxNan,
        B::MinU,
        B::MaxU,
        B::And,
        B::Or,
        B::Xor,
    ];
    let compared = [CmpOp::Eq, CmpOp::Ne, CmpOp::Lt, CmpOp::Le, CmpOp::Gt, CmpOp::Ge, CmpOp::LtU, CmpOp::LeU];
    let mut refused = Refused::default();
    for level in levels() {
        for (e, ty) in types() {
            for op in unary {
                refused.check(&format!("{op:?} {ty:?}"), level, e, on(ty, |b, [x, ..]| vec![b.un(op, x)]));
            }
            for op in binary {
                refused.check(&format!("{op:?} {ty:?}"), level, e, on(ty, |b, [x, y, _]| vec![b.bin(op, x, y)]));
            }
            for op in [B::Shl, B::ShrS, B::ShrU] {
                let by = |k: Option<i64>| {
                    move |b: &mut Builder, [x, ..]: [Val; 3]| {
                        let n = match k {
                            Some(k) => b.i64(k),
                            None => b.end(),
                        };
                        vec![b.bin(op, x, n)]
                    }
                };
                for k in [Some(3), None] {
                    refused.check(&format!("{op:?} {ty:?} by {k:?}"), level, e, on(ty, by(k)));
                }
            }
            for op in compared {
                let f = on(ty, |b, [x, y, z]| {
                    let (m, n) = (b.cmp(op, x, y), b.cmp(op, y, z));
                    let (both, either, odd) = (b.and(m, n), b.or(m, n), b.xor(m, n));
                    let (not, chosen) = (b.not(m), b.select(n, y, z));
                    // A choice of truth values.
                    let nested = b.select(m, both, odd);
                    let last = b.select(nested, chosen, x);
                    let _ = either;
                    vec![m, not, chosen, last]
                });
                refused.check(&format!("{op:?} {ty:?}"), level, e, f);
                let one = on(ty, |b, [x, y, _]| {
                    let m = b.cmp(op, x, y);
                    vec![b.select(m, y, x)]
                });
                refused.check(&format!("select by {op:?} {ty:?}"), level, e, one);
            }
            refused.check(&format!("Fma {ty:?}"), level, e, on(ty, |b, [x, y, z]| vec![b.fma(x, y, z), x, y]));
            if let Ty::S(_) = ty {
                refused.check(&format!("Splat {e:?}"), level, e, on(ty, |b, [x, ..]| vec![b.splat(x)]));
            }
            // A vector by one truth value.
            let by_bool = on(ty, |b, [x, y, _]| {
                let (n, four) = (b.end(), b.i64(4));
                let c = b.cmp(CmpOp::Gt, n, four);
                vec![b.select(c, x, y)]
            });
            refused.check(&format!("select by Bool {ty:?}"), level, e, by_bool);
        }
    }
    let conversions = [
        Cvt::SignExtend,
        Cvt::ZeroExtend,
        Cvt::Truncate,
        Cvt::FromSint,
        Cvt::FromUint,
        Cvt::ToSintSat,
        Cvt::ToUintSat,
        Cvt::Promote,
        Cvt::Demote,
        Cvt::WidenLow,
        Cvt::WidenHigh,
        Cvt::Bits,
    ];
    for level in levels() {
        for (e, from) in types() {
            for kind in conversions {
                for (_, to) in types() {
                    let name = format!("{kind:?} {from:?} {to:?}");
                    refused.check(&name, level, e, on(from, |b, [x, ..]| vec![b.cvt(kind, x, to)]));
                }
            }
        }
        for e in ELEMS {
            lanes_of(&mut refused, level, e);
        }
        let f = on(Ty::V(Elem::F64), |b, [x, y, _]| vec![b.demote_two(x, y)]);
        refused.check("DemoteTwo", level, Elem::F64, f);
        let dot = |b: &mut Builder, [x, y, z]: [Val; 3]| {
            let acc = b.bits(z, Ty::V(Elem::I32));
            vec![b.dot_u8_i8(acc, x, y)]
        };
        refused.check("DotU8I8", level, Elem::I8, on(Ty::V(Elem::I8), dot));
        let dot = |b: &mut Builder, [x, y, z]: [Val; 3]| {
            let acc = b.bits(z, Ty::V(Elem::I32));
            vec![b.dot_i16(acc, x, y)]
        };
        refused.check("DotI16", level, Elem::I16, on(Ty::V(Elem::I16), dot));
    }
    let is_here = |line: &&str| levels().any(|l| line.starts_with(&format!("{} ", l.name())));
    let wanted: Vec<&str> = REFUSED.lines().filter(is_here).collect();
    assert_eq!(refused.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n"), wanted.join("\n"));
}

/// Kernels with these are recorded for 128 bits.
const REFUSED: &str = include_str!("refused.txt");

fn lanes_of(refused: &mut Refused, level: Level, e: Elem) {
    let n = level.lanes() * 4 / e.size_bytes();
    for lane in [0, 1, n / 2 - 1, n / 2, n - 1] {
        let extract = on(Ty::V(e), |b, [x, ..]| vec![b.extract(x, lane)]);
        refused.check(&format!("extract {lane} {e:?}"), level, e, extract);
        let insert = on(Ty::V(e), |b, [x, y, _]| {
            let s = b.extract(y, n - 1 - lane);
            vec![b.insert(x, lane, s)]
        });
        refused.check(&format!("insert {lane} {e:?}"), level, e, insert);
    }
    let mut rng = Rng::new(3);
    for k in 0..4 {
        let idx: Vec<usize> = (0..n).map(|i| if k == 0 { n - 1 - i } else { rng.next() as usize % (2 * n) }).collect();
        let f = on(Ty::V(e), |b, [x, y, _]| vec![b.shuffle(x, y, &idx)]);
        refused.check(&format!("shuffle {k} {e:?}"), level, e, f);
    }
    for op in [Reduce::Add, Reduce::Mul, Reduce::Min, Reduce::Max, Reduce::MinNan, Reduce::MaxNan] {
        refused.check(&format!("{op:?} of lanes {e:?}"), level, e, on(Ty::V(e), |b, [x, ..]| vec![b.hreduce(op, x)]));
    }
    for count in [0, 1, n / 2, n - 1, n, n + 1] {
        for known in [true, false] {
            let part = move |b: &mut Builder| {
                let (x, o, five) = (b.buf(0), b.buf(1), b.end());
                let count = if known {
                    b.i64(count as i64)
                } else {
                    // `end` is 5.
                    b.add_imm(five, count as i64 - 5)
                };
                let v = b.load_n(e, x, 0, count);
                b.store(o, 0, v);
                let w = b.load(Ty::V(e), x, 64);
                b.store_n(o, 64, w, count);
            };
            refused.check(&format!("{count} lanes {e:?} {known}"), level, e, part);
        }
    }
    refused.check(&format!("LoadSplat {e:?}"), level, e, move |b| {
        let (x, o) = (b.buf(0), b.buf(1));
        let v = b.load_splat(e, x, 8);
        b.store(o, 0, v);
        // A constant of every element.
        let (three, zero) = (b.const_bits(Ty::V(e), 0x0101_0101_0101_0103), b.zero(Ty::V(e)));
        b.store(o, 64, three);
        b.store(o, 128, zero);
    });
    if matches!(e, Elem::I8 | Elem::I16) {
        for signed in [true, false] {
            refused.check(&format!("widen and narrow {e:?}"), level, e, move |b| {
                let (x, o) = (b.buf(0), b.buf(1));
                let v = b.load_widen(e, signed, x, 3);
                b.store(o, 0, v);
                b.store_narrow(e, o, 65, v);
            });
        }
    }
}

/// Sums of more values than there are registers, in nested loops with truth values, branches, calls and a frame between.
#[test]
fn what_has_no_register_is_kept() {
    extern "C" fn twice_plus(x: f32, n: i64) -> f32 {
        2.0 * x + n as f32
    }
    const VALUES: usize = 45;
    for level in levels() {
        let bytes = 4 * level.lanes();
        let kernel = build(level, |b| {
            let (x, o, table) = (b.buf(0), b.buf(1), b.buf(2));
            let (zero, three, n) = (b.i64(0), b.i64(3), b.end());
            let f = Ty::V(Elem::F32);
            let scratch = b.stack(64);
            let many: Vec<Val> = (0..VALUES).map(|k| b.load(f, x, (k * bytes) as i32)).collect();
            let counts: Vec<Val> = (0..20).map(|k| b.add_imm(n, k)).collect();
            let masks: Vec<Val> = (0..10).map(|k| b.cmp(CmpOp::Lt, many[k], many[k + 1])).collect();
            let start: Vec<Val> = many.iter().chain(&counts).copied().collect();
            let sums = b.for_loop(zero, n, 1, &start, |b, i, carried| {
                let inner = b.for_loop(zero, three, 1, carried, |b, j, c| {
                    let rotated = (0..VALUES).map(|k| {
                        let s = b.add(c[k], c[(k + 1) % VALUES]);
                        b.select(masks[k % masks.len()], s, c[k])
                    });
                    let rotated: Vec<Val> = rotated.collect();
                    let counted: Vec<Val> = (VALUES..c.len()).map(|k| b.add(c[k], j)).collect();
                    rotated.into_iter().chain(counted).collect()
                });
                let even = {
                    let (one, zero) = (b.i64(1), b.i64(0));
                    let bit = b.and(i, one);
                    b.cmp(CmpOp::Eq, bit, zero)
                };
                let first = b.extract(inner[0], 0);
                let called = b.call_host(table, 1, &[first, i], Some(Elem::F32)).unwrap();
                let joined = b.if_else(
                    even,
                    |b| {
                        let v = b.splat(called);
                        b.store(scratch, 0, v);
                        vec![b.add(inner[1], v)]
                    },
                    |b| {
                        b.store(scratch, 0, inner[2]);
                        vec![inner[1]]
                    },
                );
                let kept = b.load(f, scratch, 0);
                let mut next = inner.clone();
                (next[1], next[2]) = (joined[0], b.max(kept, inner[2]));
                next
            });
            for (k, v) in sums.iter().enumerate() {
                b.store(o, (k.min(VALUES) * bytes + k.saturating_sub(VALUES) * 8) as i32, *v);
            }
        })
        .unwrap();
        let mut x: Vec<f32> = Rng::new(5).floats(VALUES * level.lanes());
        let mut out = vec![0u8; VALUES * bytes + 20 * 8];
        let mut functions = [0usize, twice_plus as extern "C" fn(f32, i64) -> f32 as usize];
        crate::testing::run(&kernel, &mut [view(&mut x), &mut out, view(&mut functions)], 7);
    }
}
