//! Every operation of the builder against plain Rust, through the whole path: record, compile, run.

use crate::builder::{BinOp, Builder, CmpOp, Cvt, Elem, KernelFn, Reduce, Target, Ty, UnOp, Val};
use crate::testing::{Rng, bytes, run};

const F: Ty = Ty::V(Elem::F32);
const I: Ty = Ty::V(Elem::I32);

fn build(f: impl FnOnce(&mut Builder)) -> KernelFn {
    let mut b = Builder::new("test", Target::X86_128);
    f(&mut b);
    b.finish().unwrap()
}

/// `out[i] = f(x[i], y[i])` on one vector of type `ty`.
fn lanes<T: Copy + Default, R: Copy + Default>(
    ty: Ty,
    x: &[T],
    y: &[T],
    f: impl FnOnce(&mut Builder, Val, Val) -> Val,
) -> Vec<R> {
    let kernel = build(|b| {
        let (px, py, po) = (b.buf(0), b.buf(1), b.buf(2));
        let (vx, vy) = (b.load(ty, px, 0), b.load(ty, py, 0));
        let v = f(b, vx, vy);
        b.store(po, 0, v);
    });
    let (mut x, mut y, mut out) = (x.to_vec(), y.to_vec(), vec![R::default(); 16 / size_of::<R>().max(1)]);
    run(&kernel, &mut [bytes(&mut x), bytes(&mut y), bytes(&mut out)], 1);
    out
}

fn same(a: &[f32], b: &[f32]) {
    let eq = |x: f32, y: f32| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
    assert!(a.len() == b.len() && a.iter().zip(b).all(|(&x, &y)| eq(x, y)), "{a:?} vs {b:?}");
}

const X: [f32; 4] = [1.5, -0.0, f32::NAN, f32::INFINITY];
const Y: [f32; 4] = [-2.25, 0.0, 1.0, 3.0];

#[test]
fn float_arithmetic_is_ieee() {
    let zip = |f: fn(f32, f32) -> f32| -> Vec<f32> { X.iter().zip(Y).map(|(&x, y)| f(x, y)).collect() };
    for (op, f) in [
        (BinOp::Add, (|x, y| x + y) as fn(f32, f32) -> f32),
        (BinOp::Sub, |x, y| x - y),
        (BinOp::Mul, |x, y| x * y),
        (BinOp::Div, |x, y| x / y),
        (BinOp::Min, |x, y| if x < y { x } else { y }),
        (BinOp::Max, |x, y| if y < x { x } else { y }),
    ] {
        let got: Vec<f32> = lanes(F, &X, &Y, |b, x, y| b.bin(op, x, y));
        same(&got, &zip(f));
    }
}

#[test]
fn nan_propagating_minimum_orders_zeros() {
    let got: Vec<f32> = lanes(F, &X, &Y, |b, x, y| b.min_nan(x, y));
    same(&got, &[-2.25, -0.0, f32::NAN, 3.0]);
    let got: Vec<f32> = lanes(F, &X, &Y, |b, x, y| b.max_nan(y, x));
    same(&got, &[1.5, 0.0, f32::NAN, f32::INFINITY]);
}

#[test]
fn roundings_and_signs() {
    let x = [2.5, -2.5, 0.5, -1.25];
    for (op, f) in [
        (UnOp::Floor, f32::floor as fn(f32) -> f32),
        (UnOp::Ceil, f32::ceil),
        (UnOp::Trunc, f32::trunc),
        (UnOp::Nearest, f32::round_ties_even),
        (UnOp::Neg, |x| -x),
        (UnOp::Abs, f32::abs),
        (UnOp::Sqrt, f32::sqrt),
    ] {
        let got: Vec<f32> = lanes(F, &x, &x, |b, x, _| b.un(op, x));
        same(&got, &x.map(f));
    }
}

#[test]
fn fma_rounds_once_where_the_machine_can() {
    let x = [1.0 + f32::EPSILON; 4];
    let got: Vec<f32> = lanes(F, &x, &x, |b, x, y| {
        let c = b.vf32(-1.0);
        b.fma(x, y, c)
    });
    let isa = crate::isa::Isa::native(crate::isa::Effort::Speed).unwrap();
    let want = if isa.target.fused { x[0].mul_add(x[0], -1.0) } else { x[0] * x[0] - 1.0 };
    assert_eq!(got, [want; 4]);
}

#[test]
fn compare_and_select_by_lane() {
    for (op, f) in [
        (CmpOp::Eq, (|x, y| x == y) as fn(f32, f32) -> bool),
        (CmpOp::Ne, |x, y| x != y),
        (CmpOp::Lt, |x, y| x < y),
        (CmpOp::Le, |x, y| x <= y),
        (CmpOp::Gt, |x, y| x > y),
        (CmpOp::Ge, |x, y| x >= y),
    ] {
        let got: Vec<f32> = lanes(F, &X, &Y, |b, x, y| {
            let m = b.cmp(op, x, y);
            let (one, zero) = (b.vf32(1.0), b.vf32(0.0));
            b.select(m, one, zero)
        });
        let want: Vec<f32> = X.iter().zip(Y).map(|(&x, y)| f32::from(u8::from(f(x, y)))).collect();
        assert_eq!(got, want, "{op:?}");
    }
}

#[test]
fn masks_combine() {
    let got: Vec<i32> = lanes(F, &X, &Y, |b, x, y| {
        let (lt, gt) = (b.cmp(CmpOp::Lt, x, y), b.cmp(CmpOp::Gt, x, y));
        let either = b.or(lt, gt);
        let neither = b.not(either);
        b.bits(neither, I)
    });
    assert_eq!(got, [0, -1, -1, 0]);
}

#[test]
fn integer_vectors() {
    let x = [i32::MIN, -7, 7, i32::MAX];
    let y = [1, 2, -3, 1];
    let zip = |f: fn(i32, i32) -> i32| -> Vec<i32> { x.iter().zip(y).map(|(&x, y)| f(x, y)).collect() };
    for (op, f) in [
        (BinOp::Add, i32::wrapping_add as fn(i32, i32) -> i32),
        (BinOp::Sub, i32::wrapping_sub),
        (BinOp::Mul, i32::wrapping_mul),
        (BinOp::Min, i32::min),
        (BinOp::Max, i32::max),
        (BinOp::MinU, |x, y| (x as u32).min(y as u32) as i32),
        (BinOp::MaxU, |x, y| (x as u32).max(y as u32) as i32),
        (BinOp::And, |x, y| x & y),
        (BinOp::Xor, |x, y| x ^ y),
    ] {
        let got: Vec<i32> = lanes(I, &x, &y, |b, x, y| b.bin(op, x, y));
        assert_eq!(got, zip(f), "{op:?}");
    }
    let got: Vec<i32> = lanes(I, &x, &y, |b, x, _| b.sar_imm(x, 3));
    assert_eq!(got, x.map(|v| v >> 3));
    let got: Vec<i32> = lanes(I, &x, &y, |b, x, _| b.shr_imm(x, 3));
    assert_eq!(got, x.map(|v| ((v as u32) >> 3) as i32));
    let got: Vec<i32> = lanes(I, &x, &y, |b, x, _| b.shl_imm(x, 3));
    assert_eq!(got, x.map(|v| v << 3));
}

#[test]
fn wide_integer_vectors() {
    let (x, y) = ([i64::MIN, 5_000_000_007], [3, -2i64]);
    let ty = Ty::V(Elem::I64);
    for (op, f) in [
        (BinOp::Mul, i64::wrapping_mul as fn(i64, i64) -> i64),
        (BinOp::Min, i64::min),
        (BinOp::MaxU, |x, y| (x as u64).max(y as u64) as i64),
    ] {
        let got: Vec<i64> = lanes(ty, &x, &y, |b, x, y| b.bin(op, x, y));
        assert_eq!(got, [f(x[0], y[0]), f(x[1], y[1])], "{op:?}");
    }
}

#[test]
fn scalar_division_is_total() {
    for (x, y) in [(7i64, -2i64), (-7, 2), (i64::MIN, -1), (5, 0), (-5, 0)] {
        let kernel = build(|b| {
            let (p, o) = (b.buf(0), b.buf(1));
            let (x, y) = (b.load(Ty::S(Elem::I64), p, 0), b.load(Ty::S(Elem::I64), p, 8));
            for (i, op) in [BinOp::Div, BinOp::Rem, BinOp::DivU, BinOp::RemU].into_iter().enumerate() {
                let v = b.bin(op, x, y);
                b.store(o, 8 * i as i32, v);
            }
        });
        let (mut input, mut out) = ([x, y], [0i64; 4]);
        run(&kernel, &mut [bytes(&mut input), bytes(&mut out)], 1);
        let unsigned = |f: fn(u64, u64) -> Option<u64>| f(x as u64, y as u64).unwrap_or(0) as i64;
        let want = if y == 0 { [0; 2] } else { [x.wrapping_div(y), x.wrapping_rem(y)] };
        assert_eq!(out[..2], want, "{x} {y}");
        assert_eq!(out[2..], [unsigned(u64::checked_div), unsigned(u64::checked_rem)], "{x} {y}");
    }
}

#[test]
fn conversions_saturate() {
    let x = [f32::NAN, 3e9, -3e9, -1.75];
    let got: Vec<i32> = lanes(F, &x, &x, |b, x, _| b.cvt(Cvt::ToSintSat, x, I));
    assert_eq!(got, x.map(|v| v as i32));
    let got: Vec<u32> = lanes(F, &x, &x, |b, x, _| b.cvt(Cvt::ToUintSat, x, I));
    assert_eq!(got, x.map(|v| v as u32));
    let i = [i32::MAX, -5, 1 << 25, i32::MIN];
    let got: Vec<f32> = lanes(I, &i, &i, |b, x, _| b.cvt(Cvt::FromSint, x, F));
    same(&got, &i.map(|v| v as f32));
    let got: Vec<f32> = lanes(I, &i, &i, |b, x, _| b.cvt(Cvt::FromUint, x, F));
    same(&got, &i.map(|v| v as u32 as f32));
}

#[test]
fn widening_and_demoting() {
    let x = [1.5f32, -2.5, 3.25, 1e-40];
    let got: Vec<f64> = lanes(F, &x, &x, |b, x, _| b.cvt(Cvt::WidenHigh, x, Ty::V(Elem::F64)));
    assert_eq!(got, [3.25, f64::from(1e-40f32)]);
    let got: Vec<f32> = lanes(F, &x, &x, |b, x, _| {
        let (l, h) = (b.cvt(Cvt::WidenLow, x, Ty::V(Elem::F64)), b.cvt(Cvt::WidenHigh, x, Ty::V(Elem::F64)));
        b.demote_two(l, h)
    });
    same(&got, &x);
    let i = [1, -2, 3, -4];
    let got: Vec<i64> = lanes(I, &i, &i, |b, x, _| b.cvt(Cvt::WidenHigh, x, Ty::V(Elem::I64)));
    assert_eq!(got, [3, -4]);
}

#[test]
fn lanes_shuffle_extract_insert_reduce() {
    let (x, y) = ([1.0f32, 2.0, 4.0, 8.0], [16.0, 32.0, 64.0, 128.0]);
    let got: Vec<f32> = lanes(F, &x, &y, |b, x, y| b.shuffle(x, y, &[7, 0, 5, 2]));
    assert_eq!(got, [128.0, 1.0, 32.0, 4.0]);
    let got: Vec<f32> = lanes(F, &x, &y, |b, x, y| {
        let s = b.extract(y, 3);
        b.insert(x, 1, s)
    });
    assert_eq!(got, [1.0, 128.0, 4.0, 8.0]);
    for (op, want) in [(Reduce::Add, 15.0), (Reduce::Mul, 64.0), (Reduce::Min, 1.0), (Reduce::MaxNan, 8.0)] {
        let got: Vec<f32> = lanes(F, &x, &y, |b, x, _| {
            let s = b.hreduce(op, x);
            b.splat(s)
        });
        assert_eq!(got, [want; 4], "{op:?}");
    }
}

#[test]
fn integer_dot_products() {
    let mut rng = Rng::new(3);
    let a: Vec<u8> = (0..16).map(|_| rng.next() as u8).collect();
    let w: Vec<u8> = (0..16).map(|_| rng.next() as u8).collect();
    let got: Vec<i32> = lanes(Ty::V(Elem::I8), &a, &w, |b, a, w| {
        let acc = b.vi32(5);
        b.dot_u8_i8(acc, a, w)
    });
    for l in 0..4 {
        let want: i32 = (0..4).map(|q| i32::from(a[4 * l + q]) * i32::from(w[4 * l + q] as i8)).sum();
        assert_eq!(got[l], want + 5);
    }
    let a: Vec<i16> = (0..8).map(|_| rng.next() as i16).collect();
    let w: Vec<i16> = (0..8).map(|_| rng.next() as i16).collect();
    let got: Vec<i32> = lanes(Ty::V(Elem::I16), &a, &w, |b, a, w| {
        let acc = b.vi32(-1);
        b.dot_i16(acc, a, w)
    });
    for l in 0..4 {
        let pair = |q: usize| i32::from(a[2 * l + q]).wrapping_mul(i32::from(w[2 * l + q]));
        assert_eq!(got[l], pair(0).wrapping_add(pair(1)).wrapping_sub(1));
    }
}

#[test]
fn narrow_integers_widen_and_narrow() {
    let x: Vec<i8> = vec![-128, -1, 0, 127, 9, 9, 9, 9];
    for signed in [true, false] {
        let kernel = build(|b| {
            let (p, o) = (b.buf(0), b.buf(1));
            let v = b.load_widen(Elem::I8, signed, p, 0);
            b.store(o, 0, v);
            let w = b.load_widen(Elem::I16, signed, p, 0);
            b.store(o, 16, w);
            b.store_narrow(Elem::I8, o, 32, v);
            b.store_narrow(Elem::I16, o, 40, v);
        });
        let (mut input, mut out) = (x.clone(), [0u8; 48]);
        run(&kernel, &mut [bytes(&mut input), &mut out], 1);
        let i32_at = |at: usize| i32::from_le_bytes(out[at..at + 4].try_into().unwrap());
        for i in 0..4 {
            let wide = if signed { i32::from(x[i]) } else { i32::from(x[i] as u8) };
            assert_eq!(i32_at(4 * i), wide);
            let pair = i16::from_le_bytes([x[2 * i] as u8, x[2 * i + 1] as u8]);
            let wide16 = if signed { i32::from(pair) } else { i32::from(pair as u16) };
            assert_eq!(i32_at(16 + 4 * i), wide16);
            assert_eq!(out[32 + i], x[i] as u8);
            assert_eq!(out[40 + 2 * i..42 + 2 * i], (wide as i16).to_le_bytes());
        }
    }
}

#[test]
fn partial_access_touches_only_the_first_lanes() {
    for elem in [Elem::F32, Elem::F64, Elem::I8] {
        let (size, lanes) = (elem.size_bytes(), 16 / elem.size_bytes());
        for n in 0..=lanes + 1 {
            for known in [false, true] {
                let kernel = build(|b| {
                    let (p, o, end) = (b.buf(0), b.buf(1), b.end());
                    let n = if known { b.i64(n as i64) } else { end };
                    let v = b.load_n(elem, p, 0, n);
                    b.store(o, 0, v);
                    b.store_n(o, 16, v, n);
                });
                let (mut input, mut out) = ([7u8; 16], [1u8; 32]);
                run(&kernel, &mut [&mut input, &mut out], n as i64);
                let touched = size * n.min(lanes);
                let want = |i: usize, rest: u8| if i < touched { 7 } else { rest };
                for i in 0..16 {
                    assert_eq!(out[i], want(i, 0), "load_n {elem:?} {n} {known}");
                    assert_eq!(out[16 + i], want(i, 1), "store_n {elem:?} {n} {known}");
                }
            }
        }
    }
}

#[test]
fn loops_carry_values_and_stop_at_their_bounds() {
    for (begin, end, step) in [(0, 0, 1), (0, 1, 1), (3, 11, 4), (3, 12, 4), (-5, 5, 1), (4, 2, 1)] {
        for known in [false, true] {
            let kernel = build(|b| {
                let (o, lo, hi, zero) = (b.buf(0), b.begin(), b.end(), b.i64(0));
                let (lo, hi) = if known { (b.i64(begin), b.i64(end)) } else { (lo, hi) };
                let sums = b.for_loop(lo, hi, step, &[zero, lo], |b, i, c| {
                    let inner = b.for_loop(zero, i, 1, &[c[0]], |b, j, c| vec![b.add(c[0], j)]);
                    vec![inner[0], i]
                });
                b.store(o, 0, sums[0]);
                b.store(o, 8, sums[1]);
            });
            let mut out = [0i64; 2];
            let code = crate::testing::compile(&[kernel]);
            let table = [bytes(&mut out).as_mut_ptr()];
            // SAFETY: the kernel writes 16 bytes of its only buffer.
            unsafe { code.entry(0).call(table.as_ptr(), begin, end) };
            let turns: Vec<i64> = (begin..end).step_by(step as usize).collect();
            let sum: i64 = turns.iter().map(|&i| (0..i).sum::<i64>()).sum();
            assert_eq!(out, [sum, turns.last().copied().unwrap_or(begin)], "{begin} {end} {step} {known}");
        }
    }
}

#[test]
fn branches_join_values() {
    for n in [0i64, 9] {
        let kernel = build(|b| {
            let (o, end, four) = (b.buf(0), b.end(), b.i64(4));
            let big = b.cmp(CmpOp::Gt, end, four);
            let v = b.if_else(big, |b| vec![b.i64(1)], |b| vec![b.add_imm(end, 100)]);
            b.store(o, 0, v[0]);
            b.if_then(big, |b| {
                let seven = b.i64(7);
                b.store(o, 8, seven);
            });
        });
        let mut out = [0i64; 2];
        run(&kernel, &mut [bytes(&mut out)], n);
        assert_eq!(out, if n > 4 { [1, 7] } else { [100 + n, 0] });
    }
}

#[test]
fn host_functions_are_called_through_the_table() {
    extern "C" fn twice_plus(x: f32, n: i64) -> f32 {
        2.0 * x + n as f32
    }
    let kernel = build(|b| {
        let (o, table, n) = (b.buf(0), b.buf(1), b.end());
        let x = b.f32(1.5);
        if let Some(y) = b.call_host(table, 1, &[x, n], Some(Elem::F32)) {
            b.store(o, 0, y);
        }
    });
    let mut out = [0f32];
    let mut functions = [0usize, twice_plus as extern "C" fn(f32, i64) -> f32 as usize];
    run(&kernel, &mut [bytes(&mut out), bytes(&mut functions)], 4);
    assert_eq!(out, [7.0]);
}

#[test]
fn stack_blocks_are_distinct() {
    let kernel = build(|b| {
        let (o, s, t) = (b.buf(0), b.stack(16), b.stack(16));
        let (one, two) = (b.vf32(1.0), b.vf32(2.0));
        b.store(s, 0, one);
        b.store(t, 0, two);
        let (x, y) = (b.load(F, s, 0), b.load(F, t, 0));
        b.store(o, 0, x);
        b.store(o, 16, y);
    });
    let mut out = [0f32; 8];
    run(&kernel, &mut [bytes(&mut out)], 1);
    assert_eq!(out, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
}

#[test]
fn pointwise_kernel_over_a_part_of_its_range() {
    // out[i] = max(x[i] * 2 + 1, 0) for i in begin..end, vectors with a masked tail.
    let kernel = build(|b| {
        let (x, o, lo, hi) = (b.buf(0), b.buf(1), b.begin(), b.end());
        let (two, one, zero, four) = (b.vf32(2.0), b.vf32(1.0), b.vf32(0.0), b.i64(4));
        b.for_loop(lo, hi, 4, &[], |b, i, _| {
            let (px, po, left) = (b.index(x, i, 4), b.index(o, i, 4), b.sub(hi, i));
            let n = b.min(left, four);
            let v = b.load_n(Elem::F32, px, 0, n);
            let v = b.fma(v, two, one);
            let v = b.max(v, zero);
            b.store_n(po, 0, v, n);
            vec![]
        });
    });
    let code = crate::testing::compile(&[kernel]);
    let mut x = Rng::new(1).floats(23);
    for (begin, end) in [(0, 23), (5, 5), (3, 6), (8, 16), (22, 23)] {
        let mut out = vec![9.0f32; 23];
        let table = [bytes(&mut x).as_mut_ptr(), bytes(&mut out).as_mut_ptr()];
        // SAFETY: both buffers hold 23 floats and the range lies in 0..23.
        unsafe { code.entry(0).call(table.as_ptr(), begin, end) };
        for i in 0..23i64 {
            let inside = (begin..end).contains(&i);
            let want = if inside { (x[i as usize] * 2.0 + 1.0).max(0.0) } else { 9.0 };
            assert_eq!(out[i as usize], want);
        }
    }
}
