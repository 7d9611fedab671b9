//! The register tile of a contraction: `rows` rows by `vecs` vectors of columns, accumulated over k in registers.
//!
//! Per step of k it loads the smaller side once (`vecs` vectors of B, or `rows` broadcast elements of A), streams the
//! other side through one register, and does `rows * vecs` multiply-adds. Rows of A are addressed by constant
//! displacements from one pointer, so A is read where it lies, in any strides, without packing.

use super::epilogue::Epilogue;
use super::multiply_add;
use crate::builder::{Builder, CmpOp, Elem, Target, Ty, Val};

/// Steps of k per turn of the inner loop. Cranelift's x86 multiply-add overwrites a factor instead of the sum, so sums
/// wander through the registers and are moved back, partly through the stack, once a turn; measured on Zen 4 for a 5x2
/// tile of 512 cubed: 53 % of peak at 4 steps, 81 % at 8, 91 % at 16.
pub(crate) const UNROLL: usize = 16;

/// Steps of the loop that does what [`UNROLL`] leaves. Wide multiply-adds accumulate in place, so that it is the only loop.
const SHORT_UNROLL: usize = 4;

/// Steps of k per turn of the inner loop of an emitter.
fn unroll(b: &Builder) -> usize {
    if b.lanes() > Target::X86_128.lanes { SHORT_UNROLL } else { UNROLL }
}

/// Size of a register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TileShape {
    /// Rows, each a broadcast element of A per step.
    pub(crate) rows: usize,
    /// Vectors of columns.
    pub(crate) vecs: usize,
}

/// Rows cut into tiles of two heights that differ by one: first `n_high` of `high`, then `n_low` of `high - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowSplit {
    pub(crate) high: usize,
    pub(crate) n_high: usize,
    pub(crate) n_low: usize,
}

impl RowSplit {
    pub(crate) fn new(m: usize, max_rows: usize) -> RowSplit {
        let tiles = m.div_ceil(max_rows.max(1));
        if tiles == 0 {
            return RowSplit { high: 1, n_high: 0, n_low: 0 };
        }
        let high = m.div_ceil(tiles);
        let n_low = tiles * high - m;
        RowSplit { high, n_high: tiles - n_low, n_low }
    }

    pub(crate) fn n_tiles(&self) -> usize {
        self.n_high + self.n_low
    }
}

/// Estimated cycles of one step of k: two multiply-adds, two loads a cycle, and a chain of 4 cycles per accumulator.
pub(crate) fn step_cycles(rows: usize, vecs: usize) -> f64 {
    let (rows, vecs) = (rows as f64, vecs as f64);
    (rows * vecs / 2.0).max((rows + vecs) / 2.0).max(4.0)
}

/// Cycles of a broadcast of A that several vectors of B share: Cranelift then keeps the load and the broadcast apart and
/// copies the register for each multiply-add but one; a broadcast with one reader is part of its load. An estimate: what the
/// copies take of the instructions that a cycle issues.
const SHARED_BROADCAST_CYCLES: f64 = 0.4;

/// The tile that needs the fewest estimated cycles for an `m x n` result on `target`.
pub(crate) fn choose(m: usize, n: usize, elem: Elem, target: Target) -> TileShape {
    choose_by(m, n, elem, target, 0.0)
}

/// As [`choose`] where B is packed once, so that narrow panels cost nothing: on x86-64 high tiles of one vector, unless
/// there are few rows.
pub(crate) fn choose_for_constant(m: usize, n: usize, elem: Elem, target: Target) -> TileShape {
    let broadcast_cycles = if target == Target::X86_128 { SHARED_BROADCAST_CYCLES } else { 0.0 };
    choose_by(m, n, elem, target, broadcast_cycles)
}

fn choose_by(m: usize, n: usize, elem: Elem, target: Target, broadcast_cycles: f64) -> TileShape {
    let lanes = target.lanes * 4 / elem.size_bytes();
    let n_vecs = n.div_ceil(lanes).max(1);
    let mut best = (f64::INFINITY, TileShape { rows: 1, vecs: 1 });
    for vecs in 1..=n_vecs.min(target.vector_regs) {
        for rows in 1..=m.max(1) {
            // Accumulators, the smaller side, and room for the larger side as it streams.
            if rows * vecs + rows.min(vecs) + target.spare_regs > target.vector_regs {
                break;
            }
            let split = RowSplit::new(m, rows);
            if split.high != rows {
                continue;
            }
            let column_cycles = |vecs: usize| {
                // Prologue and epilogue of a tile cost about as much as one step per 8 accumulators.
                let shared = if vecs > 1 { broadcast_cycles } else { 0.0 };
                let per_tile = |r: usize| step_cycles(r, vecs) + shared * r as f64 + 0.02 * (r + vecs) as f64;
                split.n_high as f64 * per_tile(rows)
                    + split.n_low as f64 * if rows > 1 { per_tile(rows - 1) } else { 0.0 }
            };
            let tail = n_vecs % vecs;
            let mut cost = (n_vecs / vecs) as f64 * column_cycles(vecs);
            if tail > 0 {
                cost += column_cycles(tail);
            }
            // Equal costs: the larger tile loads less.
            if cost < best.0 - 1e-9 || (cost < best.0 + 1e-9 && rows * vecs > best.1.rows * best.1.vecs) {
                best = (cost, TileShape { rows, vecs });
            }
        }
    }
    best.1
}

/// Number of steps of k of one call of the tile.
#[derive(Clone, Copy)]
pub(crate) enum Steps {
    /// Known when recording.
    Const(usize),
    /// A multiple of [`UNROLL`] plus a rest below it, both `S(I64)`.
    Split(Val, Val),
}

/// Strides and form of the code for one tile.
pub(crate) struct TileCode {
    pub(crate) elem: Elem,
    pub(crate) rows: usize,
    pub(crate) vecs: usize,
    /// Valid lanes of the last vector; those above are computed and not stored.
    pub(crate) last_lanes: usize,
    /// Bytes between rows of A, and between its steps of k.
    pub(crate) a_row: usize,
    pub(crate) a_k: usize,
    /// Rows of A come in lines of so many, a line `a_line` bytes behind the one before.
    pub(crate) per_line: usize,
    pub(crate) a_line: usize,
    /// Bytes between steps of k of B.
    pub(crate) b_k: usize,
    /// Whether B must not be read past the valid lanes.
    pub(crate) b_exact: bool,
    /// Bytes between rows of the output.
    pub(crate) c_row: usize,
}

/// Where one tile lies.
pub(crate) struct TilePlace {
    /// First element of the output.
    pub(crate) c: Val,
    /// First element of each epilogue operand.
    pub(crate) operands: Vec<Val>,
}

impl TileCode {
    fn lanes(&self, b: &Builder) -> usize {
        b.lanes_of(self.elem)
    }

    fn ty(&self) -> Ty {
        Ty::V(self.elem)
    }

    fn off(&self, b: &mut Builder, bytes: usize) -> i32 {
        i32::try_from(bytes).unwrap_or_else(|_| {
            b.fail(format!("a displacement of {bytes} bytes inside one tile"));
            0
        })
    }

    /// Valid lanes of vector `j`, if they are fewer than all.
    fn partial(&self, b: &mut Builder, j: usize) -> Option<Val> {
        let lanes = self.lanes(b);
        (j + 1 == self.vecs && self.last_lanes < lanes).then(|| b.i64(self.last_lanes as i64))
    }

    fn load_vec(&self, b: &mut Builder, addr: Val, off: i32, n: Option<Val>) -> Val {
        match n {
            Some(n) => b.load_n(self.elem, addr, off, n),
            None => b.load(self.ty(), addr, off),
        }
    }

    fn store_vec(&self, b: &mut Builder, addr: Val, off: i32, value: Val, n: Option<Val>) {
        match n {
            Some(n) => b.store_n(addr, off, value, n),
            None => b.store(addr, off, value),
        }
    }

    /// One step of k at displacement `step` of both pointers.
    fn step(&self, b: &mut Builder, a: Val, bp: Val, step: usize, acc: &mut [Val]) {
        let vec_bytes = self.lanes(b) * self.elem.size_bytes();
        let load_b = |b: &mut Builder, j: usize| {
            let off = self.off(b, step * self.b_k + j * vec_bytes);
            let n = if self.b_exact { self.partial(b, j) } else { None };
            self.load_vec(b, bp, off, n)
        };
        let load_a = |b: &mut Builder, i: usize| {
            let row = i / self.per_line * self.a_line + i % self.per_line * self.a_row;
            let off = self.off(b, row + step * self.a_k);
            b.load_splat(self.elem, a, off)
        };
        if self.vecs <= self.rows {
            let cols: Vec<Val> = (0..self.vecs).map(|j| load_b(b, j)).collect();
            for i in 0..self.rows {
                let x = load_a(b, i);
                for j in 0..self.vecs {
                    let at = i * self.vecs + j;
                    acc[at] = multiply_add(b, x, cols[j], acc[at]);
                }
            }
        } else {
            let xs: Vec<Val> = (0..self.rows).map(|i| load_a(b, i)).collect();
            for j in 0..self.vecs {
                let col = load_b(b, j);
                for i in 0..self.rows {
                    let at = i * self.vecs + j;
                    acc[at] = multiply_add(b, xs[i], col, acc[at]);
                }
            }
        }
    }

    /// `unroll` steps a turn for `steps` steps (`S(I64)`, a multiple of `unroll`), carrying pointers and sums.
    fn k_loop(&self, b: &mut Builder, steps: Val, unroll: usize, carried: Vec<Val>) -> Vec<Val> {
        let zero = b.i64(0);
        b.for_loop(zero, steps, unroll as i64, &carried, |b, _, c| {
            let mut acc = c[2..].to_vec();
            for u in 0..unroll {
                self.step(b, c[0], c[1], u, &mut acc);
            }
            let a = b.add_imm(c[0], (unroll * self.a_k) as i64);
            let bp = b.add_imm(c[1], (unroll * self.b_k) as i64);
            let mut next = vec![a, bp];
            next.extend(acc);
            next
        })
    }

    /// `init + A B` over `steps` steps of k from pointers `a` and `bp`; sums row by row.
    pub(crate) fn accumulate(&self, b: &mut Builder, a: Val, bp: Val, steps: Steps, init: Vec<Val>) -> Vec<Val> {
        let mut carried = vec![a, bp];
        carried.extend(init);
        match steps {
            Steps::Const(k) => {
                let unroll = unroll(b);
                let main = b.i64((k / unroll * unroll) as i64);
                let c = self.k_loop(b, main, unroll, carried);
                let short = b.i64((k % unroll / SHORT_UNROLL * SHORT_UNROLL) as i64);
                let c = self.k_loop(b, short, SHORT_UNROLL, c);
                let mut acc = c[2..].to_vec();
                for u in 0..k % SHORT_UNROLL {
                    self.step(b, c[0], c[1], u, &mut acc);
                }
                acc
            }
            Steps::Split(main, rest) => {
                let unroll = unroll(b);
                let c = self.k_loop(b, main, unroll, carried);
                let c = self.k_loop(b, rest, 1, c);
                c[2..].to_vec()
            }
        }
    }

    /// Zero sums.
    pub(crate) fn zeros(&self, b: &mut Builder) -> Vec<Val> {
        let zero = b.zero(self.ty());
        vec![zero; self.rows * self.vecs]
    }

    fn each(&self, b: &mut Builder, mut f: impl FnMut(&mut Builder, usize, usize, i32, Option<Val>)) {
        let vec_bytes = self.lanes(b) * self.elem.size_bytes();
        for i in 0..self.rows {
            for j in 0..self.vecs {
                let off = self.off(b, i * self.c_row + j * vec_bytes);
                let n = self.partial(b, j);
                f(b, i, j, off, n);
            }
        }
    }

    /// The tile's present contents.
    pub(crate) fn load(&self, b: &mut Builder, c: Val) -> Vec<Val> {
        let mut sums = Vec::with_capacity(self.rows * self.vecs);
        self.each(b, |b, _, _, off, n| sums.push(self.load_vec(b, c, off, n)));
        sums
    }

    /// Stores sums as they are.
    pub(crate) fn store(&self, b: &mut Builder, c: Val, sums: &[Val]) {
        self.each(b, |b, i, j, off, n| self.store_vec(b, c, off, sums[i * self.vecs + j], n));
    }

    /// Stores what the epilogue makes of the sums.
    pub(crate) fn finish(&self, b: &mut Builder, place: &TilePlace, epilogue: &Epilogue, sums: &[Val]) {
        let Some(apply) = &epilogue.apply else {
            return self.store(b, place.c, sums);
        };
        if epilogue.heavy {
            self.store(b, place.c, sums);
            return self.finish_in_cache(b, place, epilogue);
        }
        let size = self.elem.size_bytes();
        let vec_bytes = self.lanes(b) * size;
        self.each(b, |b, i, j, off, n| {
            let ops: Vec<Val> = epilogue
                .operands
                .iter()
                .zip(&place.operands)
                .map(|(operand, &base)| {
                    let at = self.off(b, i * operand.row_stride * size + j * operand.col_stride * vec_bytes);
                    match operand.col_stride {
                        0 => b.load_splat(self.elem, base, at),
                        _ => self.load_vec(b, base, at, n),
                    }
                })
                .collect();
            let value = apply(b, sums[i * self.vecs + j], &ops);
            self.store_vec(b, place.c, off, value, n);
        });
    }

    /// The epilogue as loops over the stored tile.
    fn finish_in_cache(&self, b: &mut Builder, place: &TilePlace, epilogue: &Epilogue) {
        let Some(apply) = &epilogue.apply else { return };
        let size = self.elem.size_bytes();
        let lanes = self.lanes(b);
        let (zero, rows, vecs) = (b.i64(0), b.i64(self.rows as i64), b.i64(self.vecs as i64));
        let (last, full) = (b.i64(self.vecs as i64 - 1), b.i64(lanes as i64));
        let mut bases = vec![place.c];
        bases.extend(&place.operands);
        b.for_loop(zero, rows, 1, &bases, |b, _, row| {
            b.for_loop(zero, vecs, 1, row, |b, j, at| {
                let n = if self.last_lanes < lanes {
                    let is_last = b.cmp(CmpOp::Eq, j, last);
                    let few = b.i64(self.last_lanes as i64);
                    Some(b.select(is_last, few, full))
                } else {
                    None
                };
                let sum = self.load_vec(b, at[0], 0, n);
                let ops: Vec<Val> = epilogue
                    .operands
                    .iter()
                    .zip(&at[1..])
                    .map(|(operand, &addr)| match operand.col_stride {
                        0 => b.load_splat(self.elem, addr, 0),
                        _ => self.load_vec(b, addr, 0, n),
                    })
                    .collect();
                let value = apply(b, sum, &ops);
                self.store_vec(b, at[0], 0, value, n);
                let mut next = vec![b.add_imm(at[0], (lanes * size) as i64)];
                for (operand, &addr) in epilogue.operands.iter().zip(&at[1..]) {
                    next.push(b.add_imm(addr, (operand.col_stride * lanes * size) as i64));
                }
                next
            });
            let mut next = vec![b.add_imm(row[0], self.c_row as i64)];
            for (operand, &addr) in epilogue.operands.iter().zip(&row[1..]) {
                next.push(b.add_imm(addr, (operand.row_stride * size) as i64));
            }
            next
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_split_into_two_heights() {
        for m in 0..60 {
            for max in 1..8 {
                let s = RowSplit::new(m, max);
                assert_eq!(s.n_high * s.high + s.n_low * (s.high - 1), m);
                assert!(s.high <= max && (s.high > 1 || s.n_low == 0));
            }
        }
    }

    #[test]
    fn tiles_hide_the_latency_of_the_multiply_add() {
        let t = choose(512, 512, Elem::F32, Target::X86_128);
        assert!(t.rows * t.vecs >= 8, "{t:?}");
        let t = choose(1, 512, Elem::F32, Target::X86_128);
        assert!(t.rows == 1 && t.vecs >= 8, "{t:?}");
    }

    #[test]
    fn tiles_of_constants_broadcast_as_they_load() {
        let tile = |m: usize| choose_for_constant(m, 512, Elem::F32, Target::X86_128);
        assert_eq!(tile(512), TileShape { rows: 11, vecs: 1 });
        assert_eq!(tile(20), TileShape { rows: 10, vecs: 1 });
        // Too few rows to hide the latency of the multiply-add.
        assert!(tile(1).vecs >= 8 && tile(4).vecs > 1, "{:?} {:?}", tile(1), tile(4));
    }
}
