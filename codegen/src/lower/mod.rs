//! Loop nests to kernels.
//!
//! [`lower_program`] records each kernel of an [`egret_ir::loops::Program`] through the kernel builder. A vector loop
//! becomes a loop over strips of several vectors (independent work that hides latencies, and several accumulators), one
//! over single vectors, and one over the rest, scalar by scalar; so nothing is ever read or written past the end.
//!
//! Pointer table of every kernel of a program: its outer buffers in order (inputs, outputs, temporaries), then the calling
//! thread's scratch block (the kernel's `scratch_bytes`, aligned to 64), then [`host_table`]'s address.
//!
//! Code map: `eval` expressions, `ops` single operations, `pointwise` the tails of products, [`math`] elementary functions, [`mod@host`] the functions that
//! generated code calls.

mod eval;
pub mod host;
pub mod math;
mod ops;
pub(crate) mod pointwise;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};

use egret_ir::DType;
use egret_ir::loops::stage::for_each_expr;
use egret_ir::loops::{BinOp, ExprId, Kernel, LoopKind, Node, Program, ReduceOp, Source, Stmt, VarId, scalar};

use crate::CodegenError;
use crate::builder::{Builder, CmpOp, Elem, KernelFn, Target, Ty, Val};
use crate::emit;
use eval::{Local, Recorder, Strip, Value};
use ops::{elem, scalar_ty};

pub use host::host_table;

/// A strip has at most this many vectors.
const MAX_UNROLL: usize = 4;

/// A kernel ready to be compiled, with what a planner needs to know.
#[derive(Clone, Debug)]
pub struct LoweredKernel {
    /// The code.
    pub kernel: KernelFn,
    /// Turns of the parallel loop.
    pub extent: i64,
    /// Scratch per thread, in bytes.
    pub scratch_bytes: usize,
    /// Estimated scalar operations of all turns.
    pub flops: f64,
    /// Estimated bytes moved by all turns.
    pub bytes: f64,
}

/// Records every kernel of a program, in order; `name` is for listings and symbols.
pub fn lower_program(program: &Program, name: &str, target: Target) -> Result<Vec<LoweredKernel>, CodegenError> {
    program
        .kernels
        .iter()
        .enumerate()
        .map(|(k, kernel)| {
            let name = if program.kernels.len() == 1 { name.to_owned() } else { format!("{name}_{k}") };
            Ok(LoweredKernel {
                kernel: emit::recorded(
                    width_for(program, kernel, target),
                    |t| lower_kernel(program, kernel, &name, t),
                    |k| k,
                )?,
                extent: kernel.extent,
                scratch_bytes: kernel.scratch_bytes,
                flops: kernel.flops,
                bytes: kernel.bytes,
            })
        })
        .collect()
}

/// The target whose vectors a kernel's loops fill: of a loop of 13 turns 16 lanes do nothing at once, and 8 lanes 8 turns.
fn width_for(program: &Program, kernel: &Kernel, target: Target) -> Target {
    // What is left of so many turns is worth a narrower vector.
    const WORTH: f64 = 0.8;
    let turns = |t: Target| vector_turns(program, &kernel.body, t.lanes).0;
    let narrower = [Target::X86_256, target.narrow()].into_iter().filter(|t| t.lanes < target.lanes);
    narrower
        .fold((target, turns(target)), |best, t| {
            let n = turns(t);
            if n < WORTH * best.1 { (t, n) } else { best }
        })
        .0
}

/// Turns of vector loops, those of single elements too; and whether there is a vector loop. An extent that is not known is
/// taken to fill any vector.
fn vector_turns(program: &Program, body: &[Stmt], lanes: usize) -> (f64, bool) {
    let number = |e: ExprId| match program.arena.node(e) {
        Node::Const(bits) => Some(*bits as i64),
        _ => None,
    };
    let mut sum = (0.0, false);
    for stmt in body {
        let Stmt::For { lo, hi, kind, body, .. } = stmt else { continue };
        let n = number(*lo).zip(number(*hi)).map(|(lo, hi)| (hi - lo).max(0) as usize);
        let (inner, vectors) = vector_turns(program, body, lanes);
        let turns = match (kind, n) {
            (LoopKind::Vector, Some(n)) if !vectors => (n / lanes + n % lanes) as f64,
            (LoopKind::Vector, None) if !vectors => 256.0 / lanes as f64,
            (_, n) => n.unwrap_or(1) as f64 * inner,
        };
        sum = (sum.0 + turns, sum.1 || vectors || *kind == LoopKind::Vector);
    }
    sum
}

/// Records one kernel.
pub fn lower_kernel(program: &Program, kernel: &Kernel, name: &str, target: Target) -> Result<KernelFn, CodegenError> {
    let mut r = Recorder::new(program, name, target);
    let (begin, end) = (r.b.begin(), r.b.end());
    r.hoist(&kernel.body, &[kernel.parallel]);
    r.open_loop(begin, end, 1, Vec::new(), &mut |r, turn, _| {
        r.vars.insert(kernel.parallel, turn);
        r.body(&kernel.body);
        Vec::new()
    });
    Ok(r.b.finish()?)
}

/// Locals that a body accumulates into but does not define, and those that it defines.
fn locals_of(body: &[Stmt], defined: &mut BTreeSet<u32>, accumulated: &mut BTreeSet<u32>) {
    for stmt in body {
        match stmt {
            Stmt::For { body, .. } => locals_of(body, defined, accumulated),
            Stmt::Let { local, .. } | Stmt::Init { local, .. } => {
                defined.insert(*local);
            }
            Stmt::Accumulate { local, .. } => {
                accumulated.insert(*local);
            }
            Stmt::Store { .. } => {}
        }
    }
}

fn carried_locals(body: &[Stmt]) -> Vec<u32> {
    let (mut defined, mut accumulated) = (BTreeSet::new(), BTreeSet::new());
    locals_of(body, &mut defined, &mut accumulated);
    accumulated.difference(&defined).copied().collect()
}

fn vars_and_stores(body: &[Stmt], vars: &mut HashSet<VarId>, buffers: &mut HashSet<usize>) {
    for stmt in body {
        match stmt {
            Stmt::For { var, body, .. } => {
                vars.insert(*var);
                vars_and_stores(body, vars, buffers);
            }
            Stmt::Store { buffer, .. } => {
                buffers.insert(*buffer);
            }
            _ => {}
        }
    }
}

impl Recorder<'_> {
    /// A loop whose body is recorded by `f(self, index, carried)`.
    fn open_loop(
        &mut self,
        lo: Val,
        hi: Val,
        step: i64,
        carried: Vec<Val>,
        f: &mut dyn FnMut(&mut Self, Val, &[Val]) -> Vec<Val>,
    ) -> Vec<Val> {
        let mut b: Builder = self.take_builder();
        let out = b.for_loop(lo, hi, step, &carried, |b, i, c| self.within(b, |s| f(s, i, c)));
        self.give_back(b);
        out
    }

    fn body(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::For { var, lo, hi, kind: LoopKind::Serial, body } => self.serial_loop(*var, *lo, *hi, body),
                Stmt::For { var, lo, hi, kind: LoopKind::Vector, body } => {
                    if self.strip.is_none() && self.vector_works(body) {
                        self.vector_loop(*var, *lo, *hi, body);
                    } else {
                        self.serial_loop(*var, *lo, *hi, body);
                    }
                }
                Stmt::Let { local, value } => {
                    let dtype = self.arena.dtype(*value);
                    let value = self.eval(*value);
                    self.locals.insert(*local, Local::Plain { dtype, value });
                }
                Stmt::Init { local, op, dtype } => {
                    let neutral = self.neutral(*op, *dtype);
                    let local_value = if op.is_arg() {
                        let zero = self.constant(DType::I32, 0);
                        Local::Arg { dtype: *dtype, best: neutral, index: zero }
                    } else {
                        Local::Plain { dtype: *dtype, value: neutral }
                    };
                    self.locals.insert(*local, local_value);
                }
                Stmt::Accumulate { local, op, value, arg } => self.accumulate(*local, *op, *value, *arg),
                Stmt::Store { buffer, index, value } => {
                    let dtype = self.program.buffers[*buffer].dtype;
                    if self.strip.is_some() {
                        let parts = self.parts(*value);
                        self.store_parts(*buffer, *index, dtype, &parts);
                    } else {
                        let v = self.scalar(*value);
                        let (addr, off) = self.address(*buffer, *index, dtype);
                        self.store_scalar(dtype, addr, off, v);
                    }
                }
            }
        }
    }

    /// A constant in the present width: a scalar, or all lanes of the strip.
    fn constant(&mut self, dtype: DType, bits: u64) -> Value {
        let v = self.b.const_bits(scalar_ty(dtype), bits);
        if self.strip.is_some() { Value::Varying(self.widen(dtype, Value::Uniform(v))) } else { Value::Uniform(v) }
    }

    fn neutral(&mut self, op: ReduceOp, dtype: DType) -> Value {
        let bits = scalar::identity(op, dtype).to_bits();
        self.constant(dtype, if elem(dtype).size_bytes() == 4 { bits & 0xffff_ffff } else { bits })
    }

    fn accumulate(&mut self, local: u32, op: ReduceOp, value: ExprId, arg: Option<ExprId>) {
        let new = match (self.locals.get(&local).cloned(), op.bin(), arg) {
            (Some(Local::Plain { dtype, value: acc }), Some(bin), _) => {
                let value = if self.strip.is_some() {
                    let (acc, new) = (self.widen(dtype, acc), self.parts(value));
                    Value::Varying(self.join_parts(bin, dtype, &acc, &new))
                } else {
                    let (acc, new) = (self.one(acc), self.scalar(value));
                    Value::Uniform(ops::bin(&mut self.b, self.host, bin, dtype, acc, new))
                };
                Local::Plain { dtype, value }
            }
            (Some(Local::Arg { dtype, best, index }), None, Some(arg)) => {
                let at = self.scalar(arg);
                let at = self.b.cvt(crate::builder::Cvt::Truncate, at, Ty::S(Elem::I32));
                let wide = self.strip.is_some();
                let (best, index) = (self.all(dtype, best), self.all(DType::I32, index));
                let new = if wide { self.parts(value) } else { vec![self.scalar(value)] };
                let at = if wide { self.widen(DType::I32, Value::Uniform(at)) } else { vec![at] };
                let mut bests = Vec::new();
                let mut indices = Vec::new();
                for k in 0..new.len() {
                    let takes = self.arg_takes(op, dtype, best[k], new[k]);
                    bests.push(self.b.select(takes, new[k], best[k]));
                    indices.push(self.b.select(takes, at[k], index[k]));
                }
                let value = |parts: Vec<Val>| if wide { Value::Varying(parts) } else { Value::Uniform(parts[0]) };
                Local::Arg { dtype, best: value(bests), index: value(indices) }
            }
            _ => {
                self.b.fail(format!("accumulation into s{local}, which is no accumulator"));
                return;
            }
        };
        self.locals.insert(local, new);
    }

    /// See [`scalar::arg_takes`].
    fn arg_takes(&mut self, op: ReduceOp, dtype: DType, best: Val, new: Val) -> Val {
        use egret_ir::loops::CmpOp as Ir;
        let (strict, loose, last) = match op {
            ReduceOp::ArgMin { last } => (Ir::Lt, Ir::Le, last),
            ReduceOp::ArgMax { last } => (Ir::Gt, Ir::Ge, last),
            _ => (Ir::Gt, Ir::Ge, false),
        };
        let better = ops::cmp(&mut self.b, if last { loose } else { strict }, dtype, new, best);
        if !dtype.is_float() {
            return better;
        }
        let (new_nan, best_nan) = (self.b.cmp(CmpOp::Ne, new, new), self.b.cmp(CmpOp::Ne, best, best));
        let takes_nan = if last {
            new_nan
        } else {
            let fresh = self.b.not(best_nan);
            self.b.and(new_nan, fresh)
        };
        self.b.or(better, takes_nan)
    }

    fn one(&mut self, value: Value) -> Val {
        match value {
            Value::Uniform(v) => v,
            Value::Varying(parts) => parts[0],
        }
    }

    fn all(&mut self, dtype: DType, value: Value) -> Vec<Val> {
        match value {
            Value::Uniform(v) if self.strip.is_none() => vec![v],
            value => self.widen(dtype, value),
        }
    }

    fn join_parts(&mut self, op: BinOp, dtype: DType, a: &[Val], b: &[Val]) -> Vec<Val> {
        a.iter().zip(b).map(|(&a, &b)| ops::bin(&mut self.b, self.host, op, dtype, a, b)).collect()
    }

    // ---- loops ----

    /// The values that carried locals consist of.
    fn flatten_locals(&self, locals: &[u32]) -> Vec<Val> {
        let mut all = Vec::new();
        let mut push = |v: &Value| match v {
            Value::Uniform(v) => all.push(*v),
            Value::Varying(parts) => all.extend(parts),
        };
        for l in locals {
            match self.locals.get(l) {
                Some(Local::Plain { value, .. }) => push(value),
                Some(Local::Arg { best, index, .. }) => {
                    push(best);
                    push(index);
                }
                None => {}
            }
        }
        all
    }

    fn set_locals(&mut self, locals: &[u32], values: &[Val]) {
        let mut rest = values.iter().copied();
        let mut refill = |v: &mut Value| match v {
            Value::Uniform(v) => *v = rest.next().unwrap_or(*v),
            Value::Varying(parts) => parts.iter_mut().for_each(|p| *p = rest.next().unwrap_or(*p)),
        };
        for l in locals {
            match self.locals.get_mut(l) {
                Some(Local::Plain { value, .. }) => refill(value),
                Some(Local::Arg { best, index, .. }) => {
                    refill(best);
                    refill(index);
                }
                None => {}
            }
        }
    }

    fn serial_loop(&mut self, var: VarId, lo: ExprId, hi: ExprId, body: &[Stmt]) {
        self.hoist(body, &[var]);
        let (lo, hi) = (self.scalar(lo), self.scalar(hi));
        self.scalar_turns(var, lo, hi, body);
    }

    fn scalar_turns(&mut self, var: VarId, lo: Val, hi: Val, body: &[Stmt]) {
        let carried = carried_locals(body);
        let initial = self.flatten_locals(&carried);
        let results = self.open_loop(lo, hi, 1, initial, &mut |r, i, values| {
            r.set_locals(&carried, values);
            r.vars.insert(var, i);
            r.body(body);
            r.flatten_locals(&carried)
        });
        self.vars.remove(&var);
        self.set_locals(&carried, &results);
    }

    /// Whether the accumulations of a vector loop work on vectors.
    fn vector_works(&self, body: &[Stmt]) -> bool {
        body.iter().all(|stmt| match stmt {
            Stmt::Accumulate { op, value, .. } => {
                let t = self.arena.dtype(*value);
                // An index has 32 bits, and what compares must have as many lanes.
                let fits = !op.is_arg() || elem(t).size_bytes() == 4;
                fits && elem(t) != Elem::I64
                    && op.bin().is_none_or(|b| ops::bin_in_vectors(b, t))
                    && !ops::is_tiny_float(t)
            }
            Stmt::For { body, .. } => self.vector_works(body),
            _ => true,
        })
    }

    /// Expressions of a body that differ between the turns of `var`.
    fn varying(&self, var: VarId, body: &[Stmt]) -> HashSet<ExprId> {
        let mut exprs = Vec::new();
        for_each_expr(body, &mut |e| exprs.push(e));
        let (mut defined, mut accumulated) = (BTreeSet::new(), BTreeSet::new());
        locals_of(body, &mut defined, &mut accumulated);
        let mut varying = HashSet::new();
        for e in self.arena.reachable(&exprs) {
            let own = match self.arena.node(e) {
                Node::Var(v) => *v == var,
                Node::Local(l) => defined.contains(l),
                _ => self.arena.operands(e).iter().any(|o| varying.contains(o)),
            };
            if own {
                varying.insert(e);
            }
        }
        varying
    }

    /// Computes before a loop what no turn of it changes: loads, and what is made of them.
    fn hoist(&mut self, body: &[Stmt], loop_vars: &[VarId]) {
        let mut exprs = Vec::new();
        for_each_expr(body, &mut |e| exprs.push(e));
        let mut vars: HashSet<VarId> = loop_vars.iter().copied().collect();
        let mut stored = HashSet::new();
        vars_and_stores(body, &mut vars, &mut stored);
        let (mut defined, mut accumulated) = (BTreeSet::new(), BTreeSet::new());
        locals_of(body, &mut defined, &mut accumulated);
        let mut changes: HashSet<ExprId> = HashSet::new();
        let mut loads: HashSet<ExprId> = HashSet::new();
        for e in self.arena.reachable(&exprs) {
            let operands = self.arena.operands(e);
            let own = match self.arena.node(e) {
                Node::Var(v) => vars.contains(v),
                Node::Local(l) => defined.contains(l) || accumulated.contains(l) || !self.locals.contains_key(l),
                Node::Load { src: Source::Buffer(k), .. } => {
                    stored.contains(k) || operands.iter().any(|o| changes.contains(o))
                }
                _ => operands.iter().any(|o| changes.contains(o)),
            };
            if own {
                changes.insert(e);
                continue;
            }
            let is_load = matches!(self.arena.node(e), Node::Load { .. } | Node::Local(_));
            if is_load || operands.iter().any(|o| loads.contains(o)) {
                loads.insert(e);
                if self.is_safe(e) {
                    self.eval(e);
                }
            }
        }
    }

    fn vector_loop(&mut self, var: VarId, lo: ExprId, hi: ExprId, body: &[Stmt]) {
        self.hoist(body, &[var]);
        let (lo, hi) = (self.scalar(lo), self.scalar(hi));
        let as_int = |b: &Builder, v: Val| b.const_value(v).map(|bits| bits as i64);
        let known = as_int(&self.b, lo).zip(as_int(&self.b, hi)).map(|(lo, hi)| (hi - lo).max(0) as usize);
        let varying = self.varying(var, body);
        let lanes = self.target.lanes;
        // Many live values per element leave registers for few vectors.
        let unroll = match varying.len() {
            0..=16 => MAX_UNROLL,
            17..=60 => 2,
            _ => 1,
        };
        let carried = carried_locals(body);
        let scalars: Vec<Local> = carried.iter().filter_map(|l| self.locals.get(l).cloned()).collect();
        let mut partial: Option<Vec<Val>> = None;
        let mut at = lo;
        let mut left = known;
        let mut lens = vec![unroll * lanes, lanes];
        lens.dedup();
        for len in lens {
            if left.is_some_and(|n| n < len) {
                continue;
            }
            let end = match left {
                Some(n) => {
                    left = Some(n % len);
                    self.b.add_imm(at, (n - n % len) as i64)
                }
                None => {
                    let n = self.b.sub(hi, at);
                    let mask = self.b.i64(-(len as i64));
                    let n = self.b.and(n, mask);
                    let zero = self.b.i64(0);
                    let n = self.b.max(n, zero);
                    self.b.add(at, n)
                }
            };
            let strip = Strip { var, base: at, len, varying: varying.clone() };
            // Neutral values, but the first part goes on from the wider strips.
            self.strip = Some(strip.clone());
            for (k, local) in carried.iter().enumerate() {
                let Some(Local::Plain { dtype, .. }) = scalars.get(k) else { continue };
                let op = accumulation_op(body, *local).unwrap_or(ReduceOp::Sum);
                let mut value = self.neutral(op, *dtype);
                if let (Value::Varying(parts), Some(before)) = (&mut value, &partial) {
                    parts[0] = before[k];
                }
                self.locals.insert(*local, Local::Plain { dtype: *dtype, value });
            }
            self.strip = None;
            let initial = self.flatten_locals(&carried);
            let results = self.open_loop(at, end, len as i64, initial, &mut |r, i, values| {
                r.strip = Some(Strip { base: i, ..strip.clone() });
                r.set_locals(&carried, values);
                r.body(body);
                let out = r.flatten_locals(&carried);
                r.strip = None;
                out
            });
            self.set_locals(&carried, &results);
            partial = Some(self.fold_parts(&carried, body));
            at = end;
        }
        // Back to scalars: what lay before the loop, joined with the lanes.
        for (k, (local, before)) in carried.iter().zip(&scalars).enumerate() {
            let mut joined = before.clone();
            if let (Local::Plain { dtype, value: Value::Uniform(acc) }, Some(partial)) = (&mut joined, &partial) {
                let op = accumulation_op(body, *local).and_then(ReduceOp::bin).unwrap_or(BinOp::Add);
                *acc = self.fold_lanes(op, *dtype, *acc, partial[k]);
            }
            self.locals.insert(*local, joined);
        }
        if left != Some(0) {
            self.scalar_turns(var, at, hi, body);
        }
    }

    /// Each carried local's parts joined into one.
    fn fold_parts(&mut self, carried: &[u32], body: &[Stmt]) -> Vec<Val> {
        let mut out = Vec::new();
        for local in carried {
            let Some(Local::Plain { dtype, value: Value::Varying(parts) }) = self.locals.get(local).cloned() else {
                continue;
            };
            let op = accumulation_op(body, *local).and_then(ReduceOp::bin).unwrap_or(BinOp::Add);
            let mut parts = parts;
            while parts.len() > 1 {
                let upper = parts.split_off(parts.len().div_ceil(2));
                for (a, &b) in parts.iter_mut().zip(&upper) {
                    *a = ops::bin(&mut self.b, self.host, op, dtype, *a, b);
                }
            }
            out.push(parts[0]);
        }
        out
    }

    /// The lanes of one part joined with a scalar, as a tree.
    fn fold_lanes(&mut self, op: BinOp, dtype: DType, acc: Val, part: Val) -> Val {
        let lanes = self.b.lanes_of(elem(dtype));
        let mut values: Vec<Val> = (0..lanes).map(|lane| self.extract(dtype, &[part], lane)).collect();
        while values.len() > 1 {
            let upper = values.split_off(values.len().div_ceil(2));
            for (a, &b) in values.iter_mut().zip(&upper) {
                *a = ops::bin(&mut self.b, self.host, op, dtype, *a, b);
            }
        }
        ops::bin(&mut self.b, self.host, op, dtype, acc, values[0])
    }
}

/// The operation that a body joins a local by.
fn accumulation_op(body: &[Stmt], wanted: u32) -> Option<ReduceOp> {
    body.iter().find_map(|stmt| match stmt {
        Stmt::Accumulate { local, op, .. } if *local == wanted => Some(*op),
        Stmt::For { body, .. } => accumulation_op(body, wanted),
        _ => None,
    })
}
