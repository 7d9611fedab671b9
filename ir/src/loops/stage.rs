//! One stage as a nest of loops.
//!
//! Axes that lie one after the other in memory are joined into one loop, a loop over neighbouring elements is marked for
//! vectors (the innermost axis, or the reduction's own variable where that is the contiguous one), and vector loops are
//! cut where a condition on their variable changes (padding, concat), so that conditions vanish inside.
//!
//! Every load is proven to lie inside its buffer, by the ranges of the variables and by the conditions that guard it, or
//! its index is clamped.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::compute::{Compute, Stage, TensorDesc, row_major_strides};
use super::expr::{Arena, BinOp, CmpOp, ExprId, Node, ReduceOp, Source, VarId};
use super::index::Linear;
use super::nest::{Buffer, LoopKind, Stmt};
use super::schedule::delinearize;
use crate::DType;

/// Elements of one parallel turn when a single loop is cut: large enough to hide the dispatch, small enough to balance.
const CHUNK: i64 = 4096;

/// A parallel turn has at least so many evaluations where there are enough of them.
const MIN_TURN: i64 = 512;

/// Fewer parallel turns than this are not worth keeping a loop whole for.
const MIN_TURNS: i64 = 16;

/// A vector loop is worth its set-up from so many turns on.
const MIN_VECTOR: i64 = 4;

/// Elements along each side of a transposition's tile: a cache line of `f32`, and as many lines as fit everywhere.
const TILE: i64 = 16;

/// A loop is cut at no more than so many places.
const MAX_CUTS: usize = 8;

/// Elements that a parallel turn does of each part of a vector axis.
const PART_TURN: i64 = 1024;

/// Loops around a vector loop are repeated for each of at most so many parts between its cuts.
const MAX_PARTS: usize = 64;

/// A window of at most so many elements is written out where conditions depend on the place in it.
const MAX_WINDOW: i64 = 16;

/// Where a stage's elements are kept within its kernel.
pub(super) enum Home {
    /// In buffers of the caller, or not decided.
    Outside,
    /// One value a row.
    Local(u32),
    /// A scratch block without the row axes.
    Scratch { buffer: usize, rows: Vec<usize> },
}

/// The state of scheduling one computation.
pub(super) struct Lower {
    pub(super) inputs: Vec<TensorDesc>,
    pub(super) stages: Vec<Stage>,
    pub(super) arena: Arena,
    pub(super) buffers: Vec<Buffer>,
    /// Buffers of the caller that each stage is stored to, with row-major indices.
    pub(super) homes: Vec<Vec<usize>>,
    pub(super) place: Vec<Home>,
    n_locals: u32,
}

/// A reduction to be computed before the expression that uses it.
#[derive(Clone)]
struct Reduction {
    local: u32,
    op: ReduceOp,
    vars: Vec<VarId>,
    body: ExprId,
    dtype: DType,
    /// Reductions inside `body`.
    inner: Vec<Reduction>,
}

/// A stage about to become loops.
#[derive(Clone)]
struct Work {
    axes: Vec<VarId>,
    reductions: Vec<Reduction>,
    value: ExprId,
    /// Buffer and flat index of each store; none if the value is a local.
    stores: Vec<(usize, ExprId)>,
    local: Option<u32>,
}

/// Which loop runs in vector lanes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Vectorize {
    Axis(usize),
    Reduction,
    Nothing,
}

fn visit(reductions: &mut [Reduction], f: &mut dyn FnMut(&mut ExprId)) {
    for r in reductions {
        f(&mut r.body);
        visit(&mut r.inner, f);
    }
}

impl Work {
    fn visit(&mut self, f: &mut dyn FnMut(&mut ExprId)) {
        f(&mut self.value);
        self.stores.iter_mut().for_each(|s| f(&mut s.1));
        visit(&mut self.reductions, f);
    }

    fn exprs(&mut self) -> Vec<ExprId> {
        let mut all = Vec::new();
        self.visit(&mut |e| all.push(*e));
        all
    }
}

impl Lower {
    pub(super) fn new(compute: Compute, buffers: Vec<Buffer>, homes: Vec<Vec<usize>>) -> Lower {
        let place = compute.stages.iter().map(|_| Home::Outside).collect();
        let Compute { inputs, stages, arena, .. } = compute;
        Lower { inputs, stages, arena, buffers, homes, place, n_locals: 0 }
    }

    pub(super) fn new_local(&mut self) -> u32 {
        self.n_locals += 1;
        self.n_locals - 1
    }

    /// A stage that is a kernel of its own: variable and extent of the parallel loop, and its body.
    pub(super) fn single(&mut self, s: usize) -> (VarId, i64, Vec<Stmt>) {
        if self.stages[s].desc.len_elems() == 0 {
            return (self.arena.new_var(0..0), 0, Vec::new());
        }
        let mut work = self.prepare(s, &HashMap::new());
        let vectorize = self.choose(&mut work);
        let mut outer = work.axes.clone();
        let mut inner = Vec::new();
        if let Vectorize::Axis(a) = vectorize {
            inner.push(outer.remove(a));
        }
        let extent = |arena: &Arena, vars: &[VarId]| vars.iter().map(|&v| arena.extent(v)).product::<i64>();
        let per_element = work.reductions.iter().map(|r| extent(&self.arena, &r.vars)).max().unwrap_or(1).max(1);
        let chunk = (CHUNK / per_element).max(64);
        if let (Vectorize::Axis(_), [v]) = (vectorize, &inner[..]) {
            let (v, n, n_outer) = (*v, self.arena.extent(inner[0]), extent(&self.arena, &outer));
            if n_outer < MIN_TURNS && n > chunk {
                let n_chunks = (n + chunk - 1) / chunk;
                return self.chunked(work, &outer, v, chunk, n_chunks);
            }
        }
        if let (Vectorize::Axis(_), true, &[.., w], [v]) =
            (vectorize, work.reductions.is_empty(), &outer[..], &inner[..])
            && let Some(parts) = self.parts(&mut work, *v)
        {
            outer.pop();
            return self.by_parts(work, &outer, w, *v, parts);
        }
        while let Some(&last) = outer.last() {
            let left = extent(&self.arena, &outer) / self.arena.extent(last);
            if extent(&self.arena, &inner) * per_element >= MIN_TURN || left < MIN_TURNS {
                break;
            }
            outer.pop();
            inner.insert(0, last);
        }
        if let (Vectorize::Axis(_), true, [v]) = (vectorize, work.reductions.is_empty(), &inner[..])
            && let Some(across) = self.across(&mut work, *v, &outer)
        {
            let v = *v;
            return self.tiled(work, outer, v, across);
        }
        let total = extent(&self.arena, &outer);
        let parallel = self.arena.new_var(0..total);
        let turn = self.arena.var(parallel);
        self.fix_outer(&mut work, &outer, turn);
        let body = self.nest(&work, &inner, vectorize, None);
        (parallel, total, body)
    }

    /// The axis along which loads are contiguous, if those along the vector axis `v` are not: a transposition.
    fn across(&self, work: &mut Work, v: VarId, outer: &[VarId]) -> Option<VarId> {
        let exprs = work.exprs();
        let loads: Vec<ExprId> = self
            .arena
            .reachable(&exprs)
            .into_iter()
            .filter_map(|e| match self.arena.node(e) {
                Node::Load { index, .. } => Some(index[0]),
                _ => None,
            })
            .filter(|&i| self.stride(v, i).is_some_and(|s| s.unsigned_abs() >= TILE as u64))
            .collect();
        let contiguous = |w: VarId| loads.iter().any(|&i| self.stride(w, i) == Some(1));
        outer.iter().copied().find(|&w| contiguous(w) && self.arena.extent(w) > 1 && self.arena.extent(v) > TILE)
    }

    /// Both axes of a transposition cut into tiles, so that each cache line is used up while it is near: a parallel turn
    /// does [`TILE`] elements along `across`, for one tile of the vector axis `v` after the other.
    fn tiled(&mut self, mut work: Work, mut outer: Vec<VarId>, v: VarId, across: VarId) -> (VarId, i64, Vec<Stmt>) {
        outer.retain(|&w| w != across);
        let (n, n_across) = (self.arena.extent(v), self.arena.extent(across));
        let n_turns = (n_across + TILE - 1) / TILE;
        let n_outer = outer.iter().map(|&w| self.arena.extent(w)).product::<i64>();
        let parallel = self.arena.new_var(0..n_outer * n_turns);
        let turn = self.arena.var(parallel);
        let parts = delinearize(&mut self.arena, turn, &[n_outer as usize, n_turns as usize]);
        self.fix_outer(&mut work, &outer, parts[0]);
        let tile = self.arena.new_var(0..(n + TILE - 1) / TILE);
        let number = self.arena.var(tile);
        let (lo, hi) = self.tile_bounds(number, n);
        let inner = self.nest(&work, &[v], Vectorize::Axis(0), Some((lo, hi)));
        let (lo, hi) = self.tile_bounds(parts[1], n_across);
        let rows = Stmt::For { var: across, lo, hi, kind: LoopKind::Serial, body: inner };
        let (lo, hi) = self.bounds(tile);
        let body = vec![Stmt::For { var: tile, lo, hi, kind: LoopKind::Serial, body: vec![rows] }];
        (parallel, n_outer * n_turns, body)
    }

    fn tile_bounds(&mut self, number: ExprId, n: i64) -> (ExprId, ExprId) {
        let (size, n) = (self.arena.int(TILE), self.arena.int(n));
        let lo = self.arena.bin(BinOp::Mul, number, size);
        let end = self.arena.bin(BinOp::Add, lo, size);
        (lo, self.arena.bin(BinOp::Min, end, n))
    }

    /// The innermost loop cut into chunks, which join the parallel loop.
    fn chunked(
        &mut self,
        mut work: Work,
        outer: &[VarId],
        v: VarId,
        chunk: i64,
        n_chunks: i64,
    ) -> (VarId, i64, Vec<Stmt>) {
        let n = self.arena.extent(v);
        let total = outer.iter().map(|&v| self.arena.extent(v)).product::<i64>() * n_chunks;
        let parallel = self.arena.new_var(0..total);
        let turn = self.arena.var(parallel);
        let parts = delinearize(&mut self.arena, turn, &[(total / n_chunks) as usize, n_chunks as usize]);
        self.fix_outer(&mut work, outer, parts[0]);
        let size = self.arena.int(chunk);
        let lo = self.arena.bin(BinOp::Mul, parts[1], size);
        let end = self.arena.bin(BinOp::Add, lo, size);
        let n = self.arena.int(n);
        let hi = self.arena.bin(BinOp::Min, end, n);
        let body = self.nest(&work, &[v], Vectorize::Axis(0), Some((lo, hi)));
        (parallel, total, body)
    }

    /// A parallel turn does some elements along `w`, all of them for one part of the vector axis `v` after the other.
    fn by_parts(
        &mut self,
        mut work: Work,
        outer: &[VarId],
        w: VarId,
        v: VarId,
        parts: Vec<Range<i64>>,
    ) -> (VarId, i64, Vec<Stmt>) {
        let (n, n_v) = (self.arena.extent(w), self.arena.extent(v));
        let n_outer = outer.iter().map(|&w| self.arena.extent(w)).product::<i64>();
        let wanted = (PART_TURN * parts.len() as i64 / n_v).max(1);
        let chunk = wanted.min((n * n_outer / MIN_TURNS).max(1)).min(n);
        let n_chunks = (n + chunk - 1) / chunk;
        let parallel = self.arena.new_var(0..n_outer * n_chunks);
        let turn = self.arena.var(parallel);
        let at = delinearize(&mut self.arena, turn, &[n_outer as usize, n_chunks as usize]);
        self.fix_outer(&mut work, outer, at[0]);
        let size = self.arena.int(chunk);
        let lo = self.arena.bin(BinOp::Mul, at[1], size);
        let end = self.arena.bin(BinOp::Add, lo, size);
        let all = self.arena.int(n);
        let hi = self.arena.bin(BinOp::Min, end, all);
        let mut body = Vec::new();
        for part in parts {
            let (element, part) = (self.arena.new_var(0..n), self.arena.new_var(part));
            let map = HashMap::from([(w, self.arena.var(element)), (v, self.arena.var(part))]);
            let mut own = work.clone();
            own.visit(&mut |e| *e = self.arena.substitute(*e, &map));
            let inner = self.nest(&own, &[part], Vectorize::Axis(0), None);
            body.push(Stmt::For { var: element, lo, hi, kind: LoopKind::Serial, body: inner });
        }
        (parallel, n_outer * n_chunks, body)
    }

    /// Expresses the outer axes by the turn of the parallel loop.
    fn fix_outer(&mut self, work: &mut Work, outer: &[VarId], turn: ExprId) {
        let sizes: Vec<usize> = outer.iter().map(|&v| self.arena.extent(v) as usize).collect();
        let index = delinearize(&mut self.arena, turn, &sizes);
        let map: HashMap<VarId, ExprId> = outer.iter().copied().zip(index).collect();
        work.visit(&mut |e| *e = self.arena.substitute(*e, &map));
    }

    /// A stage within a kernel whose row axes have the values `fixed`.
    pub(super) fn stage(&mut self, s: usize, fixed: &HashMap<VarId, ExprId>) -> Vec<Stmt> {
        let axes = self.stages[s].axes.clone();
        if axes.iter().any(|v| self.arena.extent(*v) == 0) {
            return Vec::new();
        }
        let mut work = self.prepare(s, fixed);
        let vectorize = self.choose(&mut work);
        let mut inner = work.axes.clone();
        if let Vectorize::Axis(a) = vectorize {
            let v = inner.remove(a);
            inner.push(v);
        }
        self.nest(&work, &inner, vectorize, None)
    }

    fn prepare(&mut self, s: usize, fixed: &HashMap<VarId, ExprId>) -> Work {
        let Stage { desc, axes, value } = self.stages[s].clone();
        let value = self.flatten(value, &mut Vec::new(), &mut HashMap::new());
        let value = self.arena.substitute(value, fixed);
        let mut stores = Vec::new();
        let mut local = None;
        for buffer in self.homes[s].clone() {
            let index: Vec<ExprId> = axes.iter().map(|&v| self.arena.var(v)).collect();
            let flat = self.flat(&index, &desc.shape);
            stores.push((buffer, self.arena.substitute(flat, fixed)));
        }
        match &self.place[s] {
            Home::Outside => {}
            Home::Local(l) => local = Some(*l),
            Home::Scratch { buffer, rows } => {
                let buffer = *buffer;
                let kept: Vec<usize> = (0..axes.len()).filter(|a| !rows.contains(a)).collect();
                let index: Vec<ExprId> = kept.iter().map(|&a| self.arena.var(axes[a])).collect();
                let shape: Vec<usize> = kept.iter().map(|&a| desc.shape[a]).collect();
                stores.push((buffer, self.flat(&index, &shape)));
            }
        }
        let free: BTreeSet<VarId> = self.arena.free_vars(value);
        let (value, reductions) = self.take_reductions(value, &free);
        let axes = axes.into_iter().filter(|v| !fixed.contains_key(v) && self.arena.extent(*v) != 1).collect();
        let mut work = Work { axes, reductions, value, stores, local };
        self.write_out_windows(&mut work);
        self.join_axes(&mut work);
        self.join_reductions(&mut work);
        work
    }

    /// Row-major position of `index`.
    fn flat(&mut self, index: &[ExprId], shape: &[usize]) -> ExprId {
        let mut sum = Linear::default();
        for (&i, stride) in index.iter().zip(row_major_strides(shape)) {
            let i = self.arena.linear(i);
            sum.add_scaled(&i, stride);
        }
        self.arena.from_linear(&sum)
    }

    /// Loads by flat indices of buffers, each inside its buffer wherever `facts` (linear forms that are not negative)
    /// hold.
    fn flatten(&mut self, e: ExprId, facts: &mut Vec<Linear>, done: &mut HashMap<(ExprId, usize), ExprId>) -> ExprId {
        // Facts only ever grow at the end and shrink from it, but two lists of one length may differ; those are kept
        // apart by emptying the memo whenever the facts change.
        if let Some(&known) = done.get(&(e, facts.len())) {
            return known;
        }
        let node = self.arena.node(e).clone();
        let dtype = self.arena.dtype(e);
        let new = match node {
            Node::Const(_) | Node::Var(_) | Node::Local(_) => e,
            Node::Load { src, index } => {
                let index: Vec<ExprId> = index.iter().map(|&i| self.flatten(i, facts, done)).collect();
                self.flat_load(dtype, src, index, facts)
            }
            Node::Select(c, a, b) => {
                let cond = self.flatten(c, facts, done);
                let mut branch = |lower: &mut Lower, holds: bool, e: ExprId| {
                    let n = facts.len();
                    lower.learn(cond, holds, facts);
                    let grew = facts.len() > n;
                    let mut own = HashMap::new();
                    let new = lower.flatten(e, facts, if grew { &mut own } else { &mut *done });
                    facts.truncate(n);
                    new
                };
                let a = branch(self, true, a);
                let b = branch(self, false, b);
                self.arena.select(cond, a, b)
            }
            mut node => {
                match &mut node {
                    Node::Un(_, a) | Node::Bitcast(a) | Node::Cast { value: a, .. } => {
                        *a = self.flatten(*a, facts, done);
                    }
                    Node::Bin(_, a, b) | Node::Cmp(_, a, b) => {
                        *a = self.flatten(*a, facts, done);
                        *b = self.flatten(*b, facts, done);
                    }
                    // A reduction is computed before the expression around it, so nothing guards it.
                    Node::Reduce { body, .. } => *body = self.flatten(*body, &mut Vec::new(), &mut HashMap::new()),
                    _ => {}
                }
                self.arena.make(node, dtype)
            }
        };
        done.insert((e, facts.len()), new);
        new
    }

    /// Adds what `cond` (or its opposite) says about indices.
    fn learn(&mut self, cond: ExprId, holds: bool, facts: &mut Vec<Linear>) {
        match (self.arena.node(cond).clone(), holds) {
            (Node::Bin(BinOp::And, a, b), true) | (Node::Bin(BinOp::Or, a, b), false) => {
                self.learn(a, holds, facts);
                self.learn(b, holds, facts);
            }
            (Node::Un(super::expr::UnOp::Not, a), _) => self.learn(a, !holds, facts),
            (Node::Cmp(op, a, b), _) if self.arena.dtype(a) == DType::I64 => {
                let (a, b) = (self.arena.linear(a), self.arena.linear(b));
                let difference = |x: &Linear, y: &Linear, less: i64| {
                    let mut d = x.clone();
                    d.add_scaled(y, -1);
                    d.constant = d.constant.wrapping_sub(less);
                    d
                };
                match (op, holds) {
                    (CmpOp::Lt, true) | (CmpOp::Ge, false) => facts.push(difference(&b, &a, 1)),
                    (CmpOp::Le, true) | (CmpOp::Gt, false) => facts.push(difference(&b, &a, 0)),
                    (CmpOp::Gt, true) | (CmpOp::Le, false) => facts.push(difference(&a, &b, 1)),
                    (CmpOp::Ge, true) | (CmpOp::Lt, false) => facts.push(difference(&a, &b, 0)),
                    (CmpOp::Eq, true) | (CmpOp::Ne, false) => {
                        facts.push(difference(&a, &b, 0));
                        facts.push(difference(&b, &a, 0));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Whether a linear form is not negative, by ranges or by one of the facts.
    fn is_natural(&self, form: &Linear, facts: &[Linear]) -> bool {
        let natural = |f: &Linear| self.arena.linear_range(f).is_some_and(|r| r.0 >= 0);
        natural(form)
            || facts.iter().any(|fact| {
                let mut rest = form.clone();
                rest.add_scaled(fact, -1);
                natural(&rest)
            })
    }

    fn flat_load(&mut self, dtype: DType, src: Source, mut index: Vec<ExprId>, facts: &[Linear]) -> ExprId {
        let (buffer, shape, kept): (usize, Vec<usize>, Vec<usize>) = match src {
            Source::Input(i) => (i, self.inputs[i].shape.clone(), (0..index.len()).collect()),
            Source::Stage(s) => {
                let shape = self.stages[s].desc.shape.clone();
                match (&self.place[s], self.homes[s].first()) {
                    (_, Some(&home)) => (home, shape, (0..index.len()).collect()),
                    (Home::Local(l), None) => return self.arena.intern(dtype, Node::Local(*l)),
                    (Home::Scratch { buffer, rows }, None) => {
                        (*buffer, shape, (0..index.len()).filter(|a| !rows.contains(a)).collect())
                    }
                    (Home::Outside, None) => (usize::MAX, shape, Vec::new()),
                }
            }
            Source::Buffer(b) => (b, Vec::new(), Vec::new()),
        };
        if shape.contains(&0) {
            // Nothing can be read here, so nothing asks for it.
            return self.arena.constant(dtype, super::scalar::identity(ReduceOp::Sum, dtype));
        }
        for &axis in &kept {
            let last = shape[axis] as i64 - 1;
            let lower = self.arena.linear(index[axis]);
            let mut upper = Linear { terms: Vec::new(), constant: last };
            upper.add_scaled(&lower, -1);
            let zero = self.arena.int(0);
            let last = self.arena.int(last);
            if !self.is_natural(&lower, facts) {
                index[axis] = self.arena.bin(BinOp::Max, index[axis], zero);
            }
            if !self.is_natural(&upper, facts) {
                index[axis] = self.arena.bin(BinOp::Min, index[axis], last);
            }
        }
        let index: Vec<ExprId> = kept.iter().map(|&a| index[a]).collect();
        let shape: Vec<usize> = kept.iter().map(|&a| shape[a]).collect();
        let flat = self.flat(&index, &shape);
        self.arena.load(dtype, Source::Buffer(buffer), vec![flat])
    }

    /// Replaces the reductions of `e` that speak only of `outside` by locals.
    fn take_reductions(&mut self, e: ExprId, outside: &BTreeSet<VarId>) -> (ExprId, Vec<Reduction>) {
        let mut taken = Vec::new();
        let mut map: HashMap<ExprId, ExprId> = HashMap::new();
        for id in self.arena.reachable(&[e]) {
            let Node::Reduce { op, vars, body } = self.arena.node(id).clone() else { continue };
            if !self.arena.free_vars(id).is_subset(outside) {
                continue;
            }
            let body = self.arena.replace(body, map.clone());
            let mut within = outside.clone();
            within.extend(vars.iter().copied());
            let (body, inner) = self.take_reductions(body, &within);
            let local = self.new_local();
            let dtype = self.arena.dtype(body);
            let read = self.arena.intern(self.arena.dtype(id), Node::Local(local));
            taken.push(Reduction { local, op, vars, body, dtype, inner });
            map.insert(id, read);
        }
        (self.arena.replace(e, map), taken)
    }

    /// Small reductions whose conditions speak of the place in the window and of an axis (padded pooling) become plain
    /// expressions: each place then has conditions of its own, by which the loop over the axis can be cut.
    fn write_out_windows(&mut self, work: &mut Work) {
        let reductions = std::mem::take(&mut work.reductions);
        let mut written: HashMap<ExprId, ExprId> = HashMap::new();
        for mut r in reductions {
            r.body = self.arena.replace(r.body, written.clone());
            let n: i64 = r.vars.iter().map(|&v| self.arena.extent(v)).product();
            let guarded = self.arena.reachable(&[r.body]).into_iter().any(|e| match *self.arena.node(e) {
                Node::Cmp(_, a, b) if self.arena.dtype(a) == DType::I64 => {
                    let mut vars = self.arena.free_vars(a);
                    vars.extend(self.arena.free_vars(b));
                    vars.iter().any(|v| r.vars.contains(v)) && vars.iter().any(|v| work.axes.contains(v))
                }
                _ => false,
            });
            let (Some(op), true) = (r.op.bin(), guarded && r.inner.is_empty() && (1..=MAX_WINDOW).contains(&n)) else {
                work.reductions.push(r);
                continue;
            };
            let sizes: Vec<usize> = r.vars.iter().map(|&v| self.arena.extent(v) as usize).collect();
            let mut sum: Option<ExprId> = None;
            for k in 0..n {
                let at = self.arena.int(k);
                let index = delinearize(&mut self.arena, at, &sizes);
                let map: HashMap<VarId, ExprId> = r.vars.iter().copied().zip(index).collect();
                let term = self.arena.substitute(r.body, &map);
                sum = Some(sum.map_or(term, |s| self.arena.bin(op, s, term)));
            }
            if let Some(sum) = sum {
                let read = self.arena.intern(r.dtype, Node::Local(r.local));
                written.insert(read, sum);
            }
        }
        work.value = self.arena.replace(work.value, written);
    }

    /// Divisions and remainders of indices, which joining loops must not add.
    fn n_divisions(&self, exprs: &[ExprId]) -> usize {
        let is_division = |e: &ExprId| {
            self.arena.dtype(*e) == DType::I64
                && matches!(self.arena.node(*e), Node::Bin(BinOp::FloorDiv | BinOp::FloorMod, ..))
        };
        self.arena.reachable(exprs).iter().filter(|e| is_division(e)).count()
    }

    /// `exprs` with loop `b` inside loop `a` replaced by one loop, if that makes no index harder.
    fn try_join(&mut self, a: VarId, b: VarId, exprs: &[ExprId]) -> Option<(VarId, HashMap<VarId, ExprId>)> {
        let sizes = [self.arena.extent(a) as usize, self.arena.extent(b) as usize];
        let joined = self.arena.new_var(0..sizes.iter().product::<usize>() as i64);
        let position = self.arena.var(joined);
        let parts = delinearize(&mut self.arena, position, &sizes);
        let map = HashMap::from([(a, parts[0]), (b, parts[1])]);
        let before = self.n_divisions(exprs);
        let after: Vec<ExprId> = exprs.iter().map(|&e| self.arena.substitute(e, &map)).collect();
        (self.n_divisions(&after) <= before).then_some((joined, map))
    }

    fn join_axes(&mut self, work: &mut Work) {
        let mut k = work.axes.len();
        while k >= 2 {
            let (a, b) = (work.axes[k - 2], work.axes[k - 1]);
            let exprs = work.exprs();
            if let Some((joined, map)) = self.try_join(a, b, &exprs) {
                work.visit(&mut |e| *e = self.arena.substitute(*e, &map));
                work.axes.splice(k - 2..k, [joined]);
            }
            k -= 1;
        }
    }

    fn join_reductions(&mut self, work: &mut Work) {
        for r in &mut work.reductions {
            if r.op.is_arg() || !r.inner.is_empty() {
                continue;
            }
            let mut k = r.vars.len();
            while k >= 2 {
                if let Some((joined, map)) = self.try_join(r.vars[k - 2], r.vars[k - 1], &[r.body]) {
                    r.body = self.arena.substitute(r.body, &map);
                    r.vars.splice(k - 2..k, [joined]);
                }
                k -= 1;
            }
        }
    }

    /// How dear the memory accesses of `exprs` are when neighbouring lanes differ by one in `v`.
    fn stride_cost(&self, v: VarId, exprs: &[ExprId]) -> f64 {
        let mut cost = 0.0;
        for e in self.arena.reachable(exprs) {
            if let Node::Load { index, .. } = self.arena.node(e) {
                cost += self.access_cost(v, index[0]);
            }
        }
        cost
    }

    fn access_cost(&self, v: VarId, index: ExprId) -> f64 {
        match self.stride(v, index) {
            Some(0) => 0.25,
            Some(1) => 1.0,
            _ => 6.0,
        }
    }

    /// How much `index` grows when `v` grows by one, if that is the same everywhere.
    fn stride(&self, v: VarId, index: ExprId) -> Option<i64> {
        let mut stride = 0;
        for (term, factor) in self.arena.linear(index).terms {
            if matches!(self.arena.node(term), Node::Var(w) if *w == v) {
                stride = factor;
            } else if self.arena.free_vars(term).contains(&v) {
                return None;
            }
        }
        Some(stride)
    }

    fn choose(&self, work: &mut Work) -> Vectorize {
        let exprs = work.exprs();
        let n_axes = work.axes.len();
        let store = work.stores.first().map(|s| s.1);
        let axis_cost = |a: usize| {
            let v = work.axes[a];
            let written = store.map_or(0.0, |index| self.access_cost(v, index));
            (self.arena.extent(v) >= MIN_VECTOR).then(|| self.stride_cost(v, &exprs) + written)
        };
        let best = (0..n_axes).rev().filter_map(|a| axis_cost(a).map(|c| (a, c))).fold(
            None,
            |best: Option<(usize, f64)>, (a, c)| if best.is_none_or(|b| c < b.1) { Some((a, c)) } else { best },
        );
        let along_axis = best.map_or(Vectorize::Nothing, |(a, _)| Vectorize::Axis(a));
        if work.reductions.is_empty() {
            return along_axis;
        }
        let mut cost = 0.0;
        for r in &work.reductions {
            let Some(&v) = r.vars.last() else { return along_axis };
            if r.op.is_arg() || !r.inner.is_empty() || self.arena.extent(v) < MIN_VECTOR {
                return along_axis;
            }
            // Joining the lanes at the end costs about as much as a few turns.
            cost += self.stride_cost(v, &[r.body]) * (1.0 + 8.0 / self.arena.extent(v) as f64);
        }
        match best {
            Some((_, c)) if c <= cost => along_axis,
            _ => Vectorize::Reduction,
        }
    }

    /// Loops `inner` around the reductions and stores of a stage. `bounds` are those of the innermost loop, if they are
    /// not its variable's range.
    fn nest(
        &mut self,
        work: &Work,
        inner: &[VarId],
        vectorize: Vectorize,
        bounds: Option<(ExprId, ExprId)>,
    ) -> Vec<Stmt> {
        let mut body = Vec::new();
        for r in &work.reductions {
            self.reduction(r, vectorize == Vectorize::Reduction, &mut body);
        }
        match work.local {
            Some(local) => body.push(Stmt::Let { local, value: work.value }),
            None => {
                for &(buffer, index) in &work.stores {
                    body.push(Stmt::Store { buffer, index, value: work.value });
                }
            }
        }
        for (depth, &v) in inner.iter().enumerate().rev() {
            let innermost = depth + 1 == inner.len();
            let (lo, hi) = bounds.filter(|_| innermost).unwrap_or_else(|| self.bounds(v));
            let vector = innermost && matches!(vectorize, Vectorize::Axis(_));
            body = if vector {
                self.vector_loop(v, lo, hi, body)
            } else {
                vec![Stmt::For { var: v, lo, hi, kind: LoopKind::Serial, body }]
            };
        }
        body
    }

    fn bounds(&mut self, v: VarId) -> (ExprId, ExprId) {
        let range = self.arena.var_range(v);
        (self.arena.int(range.start), self.arena.int(range.end))
    }

    fn reduction(&mut self, r: &Reduction, vector: bool, out: &mut Vec<Stmt>) {
        out.push(Stmt::Init { local: r.local, op: r.op, dtype: r.dtype });
        let mut body = Vec::new();
        for inner in &r.inner {
            self.reduction(inner, false, &mut body);
        }
        let arg = if r.op.is_arg() { r.vars.first().map(|&v| self.arena.var(v)) } else { None };
        body.push(Stmt::Accumulate { local: r.local, op: r.op, value: r.body, arg });
        for (depth, &v) in r.vars.iter().enumerate().rev() {
            let (lo, hi) = self.bounds(v);
            body = if vector && depth + 1 == r.vars.len() {
                self.vector_loop(v, lo, hi, body)
            } else {
                vec![Stmt::For { var: v, lo, hi, kind: LoopKind::Serial, body }]
            };
        }
        out.extend(body);
    }

    /// The parts of the vector axis `v` between which conditions change, where each is long enough for vectors: then the
    /// loops around are repeated for each part instead of the parts in every turn of them.
    fn parts(&mut self, work: &mut Work, v: VarId) -> Option<Vec<Range<i64>>> {
        let exprs = work.exprs();
        let cuts = self.cuts(v, &exprs);
        if cuts.is_empty() || cuts.len() >= MAX_PARTS {
            return None;
        }
        let range = self.arena.var_range(v);
        let edges: Vec<i64> = std::iter::once(range.start).chain(cuts).chain([range.end]).collect();
        let parts: Vec<Range<i64>> = edges.windows(2).map(|e| e[0]..e[1]).collect();
        parts.iter().all(|p| p.end - p.start >= TILE).then_some(parts)
    }

    /// Where conditions on `v` alone change, inside its range.
    fn cuts(&self, v: VarId, exprs: &[ExprId]) -> BTreeSet<i64> {
        let range = self.arena.var_range(v);
        let mut cuts = BTreeSet::new();
        for e in self.arena.reachable(exprs) {
            let Node::Cmp(op, a, b) = *self.arena.node(e) else { continue };
            if self.arena.dtype(a) != DType::I64 {
                continue;
            }
            let mut difference = self.arena.linear(a);
            difference.add_scaled(&self.arena.linear(b), -1);
            let [(term, factor)] = difference.terms[..] else { continue };
            if !matches!(self.arena.node(term), Node::Var(w) if *w == v) {
                continue;
            }
            // The root of factor * v + constant lies between these two.
            let Some(minus) = difference.constant.checked_neg() else { continue };
            let (down, exact) = (minus.checked_div_euclid(factor), minus.checked_rem_euclid(factor) == Some(0));
            let Some(down) = down else { continue };
            // Rounded down for positive factors; for negative ones `div_euclid` rounds up.
            let first = if exact || factor < 0 { down } else { down + 1 };
            let behind = if exact { first + 1 } else { first };
            let places = match (op, factor > 0) {
                (CmpOp::Lt | CmpOp::Ge, true) | (CmpOp::Le | CmpOp::Gt, false) => [first, first],
                (CmpOp::Le | CmpOp::Gt, true) | (CmpOp::Lt | CmpOp::Ge, false) => [behind, behind],
                (CmpOp::Eq | CmpOp::Ne, _) => [first, behind],
            };
            for cut in places {
                if range.start < cut && cut < range.end {
                    cuts.insert(cut);
                }
            }
        }
        cuts
    }

    /// A vector loop, cut where a condition on `v` alone changes.
    fn vector_loop(&mut self, v: VarId, lo: ExprId, hi: ExprId, body: Vec<Stmt>) -> Vec<Stmt> {
        let range = self.arena.var_range(v);
        let mut exprs = Vec::new();
        for_each_expr(&body, &mut |e| exprs.push(e));
        let cuts = self.cuts(v, &exprs);
        if cuts.is_empty() || cuts.len() > MAX_CUTS {
            return vec![Stmt::For { var: v, lo, hi, kind: LoopKind::Vector, body }];
        }
        let mut edges: Vec<i64> = vec![range.start];
        edges.extend(cuts);
        edges.push(range.end);
        let mut out = Vec::new();
        for pair in edges.windows(2) {
            let part = self.arena.new_var(pair[0]..pair[1]);
            let (first, last) = (self.arena.int(pair[0]), self.arena.int(pair[1]));
            let lo = self.arena.bin(BinOp::Max, lo, first);
            let hi = self.arena.bin(BinOp::Min, hi, last);
            let map = HashMap::from([(v, self.arena.var(part))]);
            let body = map_exprs(&body, &mut |e| self.arena.substitute(e, &map));
            out.push(Stmt::For { var: part, lo, hi, kind: LoopKind::Vector, body });
        }
        out
    }
}

/// Every expression of a body.
pub fn for_each_expr(body: &[Stmt], f: &mut dyn FnMut(ExprId)) {
    for stmt in body {
        match stmt {
            Stmt::For { lo, hi, body, .. } => {
                f(*lo);
                f(*hi);
                for_each_expr(body, f);
            }
            Stmt::Let { value, .. } => f(*value),
            Stmt::Init { .. } => {}
            Stmt::Accumulate { value, arg, .. } => {
                f(*value);
                arg.iter().for_each(|&a| f(a));
            }
            Stmt::Store { index, value, .. } => {
                f(*index);
                f(*value);
            }
        }
    }
}

fn map_exprs(body: &[Stmt], f: &mut dyn FnMut(ExprId) -> ExprId) -> Vec<Stmt> {
    let mut out = Vec::with_capacity(body.len());
    for stmt in body {
        out.push(match stmt {
            Stmt::For { var, lo, hi, kind, body } => {
                Stmt::For { var: *var, lo: f(*lo), hi: f(*hi), kind: *kind, body: map_exprs(body, f) }
            }
            Stmt::Let { local, value } => Stmt::Let { local: *local, value: f(*value) },
            Stmt::Init { .. } => stmt.clone(),
            Stmt::Accumulate { local, op, value, arg } => {
                Stmt::Accumulate { local: *local, op: *op, value: f(*value), arg: arg.map(&mut *f) }
            }
            Stmt::Store { buffer, index, value } => Stmt::Store { buffer: *buffer, index: f(*index), value: f(*value) },
        });
    }
    out
}
