//! Expressions to recorded operations: once for a scalar, or for a strip of neighbouring turns of a vector loop.
//!
//! Within a vector loop an expression is *uniform* (the same in all turns of the strip: one scalar) or *varying* (vector
//! parts, as many as the strip's elements fill). What vectors cannot do (divisions of integers, rare functions, loads that
//! must be guarded, indices that are not affine) is done lane by lane with scalars, so everything works in every loop.

use std::collections::{HashMap, HashSet};

use egret_ir::DType;
use egret_ir::loops::{Arena, ExprId, Node, Program, Role, Source, VarId};

use super::host::Host;
use super::ops::{self, elem, part_ty, scalar_ty};
use crate::builder::{Builder, CmpOp, Cvt, Elem, Target, Ty, UnOp, Val};

/// A value within a loop.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// One scalar.
    Uniform(Val),
    /// The parts of a strip.
    Varying(Vec<Val>),
}

/// A scalar that statements define.
#[derive(Clone, Debug)]
pub(super) enum Local {
    Plain {
        dtype: DType,
        value: Value,
    },
    /// The best value so far and its index (`i32`).
    Arg {
        dtype: DType,
        best: Value,
        index: Value,
    },
}

/// The vector loop being recorded.
#[derive(Clone)]
pub(super) struct Strip {
    pub(super) var: VarId,
    /// Turn of the first element.
    pub(super) base: Val,
    /// Number of elements, a multiple of the 32-bit lanes.
    pub(super) len: usize,
    /// Expressions that differ between turns.
    pub(super) varying: HashSet<ExprId>,
}

/// The state of recording one kernel.
pub(super) struct Recorder<'a> {
    pub(super) b: Builder,
    pub(super) target: Target,
    pub(super) program: &'a Program,
    pub(super) arena: &'a Arena,
    /// Address of each buffer of the program.
    pub(super) addresses: Vec<Val>,
    pub(super) host: Val,
    pub(super) vars: HashMap<VarId, Val>,
    pub(super) locals: HashMap<u32, Local>,
    /// Known values, one map per open scope.
    pub(super) memo: Vec<HashMap<ExprId, Value>>,
    pub(super) strip: Option<Strip>,
    /// The lane that scalars are taken from, while a strip is worked off lane by lane.
    pub(super) lane: Option<usize>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(program: &'a Program, name: &str, target: Target) -> Recorder<'a> {
        let mut b = Builder::new(name, target);
        let n_outer = program.n_outer_buffers();
        let mut addresses = Vec::new();
        let scratch = b.buf(n_outer);
        let host = b.buf(n_outer + 1);
        for (k, buffer) in program.buffers.iter().enumerate() {
            addresses.push(match buffer.role {
                Role::Scratch { offset_bytes } => b.add_imm(scratch, offset_bytes as i64),
                _ => b.buf(k),
            });
        }
        Recorder {
            b,
            target,
            program,
            arena: &program.arena,
            addresses,
            host,
            vars: HashMap::new(),
            locals: HashMap::new(),
            memo: vec![HashMap::new()],
            strip: None,
            lane: None,
        }
    }

    /// Runs `f` with this recorder while `b` is the open body of a loop or branch.
    pub(super) fn within<T>(&mut self, b: &mut Builder, f: impl FnOnce(&mut Self) -> T) -> T {
        std::mem::swap(&mut self.b, b);
        self.memo.push(HashMap::new());
        let out = f(self);
        self.memo.pop();
        std::mem::swap(&mut self.b, b);
        out
    }

    /// The builder, to open a loop or branch on; give it back with [`Recorder::give_back`].
    pub(super) fn take_builder(&mut self) -> Builder {
        std::mem::replace(&mut self.b, Builder::new("", self.target))
    }

    pub(super) fn give_back(&mut self, b: Builder) {
        self.b = b;
    }

    fn branch(
        &mut self,
        cond: Val,
        then: &mut dyn FnMut(&mut Self) -> Vec<Val>,
        otherwise: &mut dyn FnMut(&mut Self) -> Vec<Val>,
    ) -> Vec<Val> {
        let mut b = self.take_builder();
        let this = std::cell::RefCell::new(self);
        let out = b.if_else(
            cond,
            |b| this.borrow_mut().within(b, |s| then(s)),
            |b| this.borrow_mut().within(b, |s| otherwise(s)),
        );
        this.into_inner().give_back(b);
        out
    }

    /// Number of parts of a strip of `dtype`.
    fn n_parts(&self, dtype: DType, len: usize) -> usize {
        len / self.b.lanes_of(elem(dtype))
    }

    /// The value of `e`.
    pub(super) fn eval(&mut self, e: ExprId) -> Value {
        let varying = self.strip.as_ref().is_some_and(|s| s.varying.contains(&e));
        let known = self.memo.iter().rev().find_map(|scope| scope.get(&e));
        match known {
            Some(v @ Value::Uniform(_)) if !varying => return v.clone(),
            Some(v @ Value::Varying(p)) if varying => {
                let len = self.strip.as_ref().map_or(0, |s| s.len);
                if p.len() == self.n_parts(self.arena.dtype(e), len) {
                    return v.clone();
                }
            }
            _ => {}
        }
        let value = if varying { Value::Varying(self.eval_varying(e)) } else { Value::Uniform(self.compute_scalar(e)) };
        if let Some(scope) = self.memo.last_mut() {
            scope.insert(e, value.clone());
        }
        value
    }

    /// The value of an expression that is the same in all turns of the strip.
    pub(super) fn scalar(&mut self, e: ExprId) -> Val {
        match self.eval(e) {
            Value::Uniform(v) => v,
            Value::Varying(_) => {
                self.b.fail("a varying value where one scalar is wanted");
                self.b.zero(scalar_ty(self.arena.dtype(e)))
            }
        }
    }

    /// The value of `e` as parts of the strip.
    pub(super) fn parts(&mut self, e: ExprId) -> Vec<Val> {
        let value = self.eval(e);
        self.widen(self.arena.dtype(e), value)
    }

    /// A uniform value in all lanes of as many parts as the strip has.
    pub(super) fn widen(&mut self, dtype: DType, value: Value) -> Vec<Val> {
        match value {
            Value::Varying(parts) => parts,
            Value::Uniform(v) => {
                let len = self.strip.as_ref().map_or(self.target.lanes, |s| s.len);
                let part = self.splat(dtype, v);
                vec![part; self.n_parts(dtype, len)]
            }
        }
    }

    fn splat(&mut self, dtype: DType, v: Val) -> Val {
        if let Some(bits) = self.b.const_value(v) {
            let bits = if dtype == DType::Bool && bits & 1 != 0 { u64::from(u32::MAX) } else { bits };
            return self.b.const_bits(part_ty(dtype), bits);
        }
        if dtype != DType::Bool {
            return self.b.splat(v);
        }
        let int = self.b.cvt(Cvt::ZeroExtend, v, Ty::S(Elem::I32));
        let all = self.b.splat(int);
        self.mask_of(all)
    }

    fn mask_of(&mut self, v: Val) -> Val {
        let zero = self.b.zero(self.b.ty(v));
        self.b.cmp(CmpOp::Ne, v, zero)
    }

    /// Element `lane` of the strip.
    pub(super) fn extract(&mut self, dtype: DType, parts: &[Val], lane: usize) -> Val {
        let lanes = self.b.lanes_of(elem(dtype));
        let part = parts[lane / lanes];
        if dtype != DType::Bool {
            return self.b.extract(part, lane % lanes);
        }
        let bits = self.b.bits(part, Ty::V(Elem::I32));
        let v = self.b.extract(bits, lane % lanes);
        self.mask_of(v)
    }

    /// Parts from one scalar per element.
    fn gather(&mut self, dtype: DType, scalars: &[Val]) -> Vec<Val> {
        let lanes = self.b.lanes_of(elem(dtype));
        let mut parts = Vec::new();
        for chunk in scalars.chunks(lanes) {
            let mut part = self.b.zero(Ty::V(elem(dtype)));
            for (k, &s) in chunk.iter().enumerate() {
                let s = if dtype == DType::Bool { self.b.cvt(Cvt::ZeroExtend, s, Ty::S(Elem::I32)) } else { s };
                part = self.b.insert(part, k, s);
            }
            parts.push(if dtype == DType::Bool { self.mask_of(part) } else { part });
        }
        parts
    }

    /// `e` worked out with scalars, lane by lane.
    fn by_lanes(&mut self, e: ExprId) -> Vec<Val> {
        let Some(strip) = self.strip.take() else { return Vec::new() };
        let outer_lane = self.lane;
        let before = self.vars.get(&strip.var).copied();
        let mut scalars = Vec::new();
        for lane in 0..strip.len {
            self.memo.push(HashMap::new());
            let at = self.b.add_imm(strip.base, lane as i64);
            self.vars.insert(strip.var, at);
            self.lane = Some(lane);
            scalars.push(self.scalar(e));
            self.memo.pop();
        }
        self.lane = outer_lane;
        match before {
            Some(v) => self.vars.insert(strip.var, v),
            None => self.vars.remove(&strip.var),
        };
        self.strip = Some(strip);
        self.gather(self.arena.dtype(e), &scalars)
    }

    /// An operation on parts, element by element, for what vectors cannot do.
    fn op_by_lanes(
        &mut self,
        dtype: DType,
        operands: &[(DType, Vec<Val>)],
        op: &mut dyn FnMut(&mut Self, &[Val]) -> Val,
    ) -> Vec<Val> {
        let len = self.strip.as_ref().map_or(0, |s| s.len);
        let mut scalars = Vec::new();
        for lane in 0..len {
            let args: Vec<Val> = operands.iter().map(|(t, parts)| self.extract(*t, parts, lane)).collect();
            scalars.push(op(self, &args));
        }
        self.gather(dtype, &scalars)
    }

    /// Whether every load of `e` lies inside its buffer whatever the conditions around it say.
    pub(super) fn is_safe(&self, e: ExprId) -> bool {
        self.arena.reachable(&[e]).into_iter().all(|e| match self.arena.node(e) {
            Node::Load { src: Source::Buffer(k), index } => {
                let n = self.program.buffers[*k].len_elems as i64;
                index.iter().all(|&i| self.arena.range(i).is_some_and(|(lo, hi)| 0 <= lo && hi < n))
            }
            _ => true,
        })
    }

    // ---- scalars ----

    fn compute_scalar(&mut self, e: ExprId) -> Val {
        let arena = self.arena;
        let dtype = arena.dtype(e);
        match arena.node(e) {
            Node::Const(bits) => self.b.const_bits(scalar_ty(dtype), self.const_bits(dtype, *bits)),
            Node::Var(v) => match self.vars.get(v) {
                Some(&v) => v,
                None => {
                    self.b.fail("a loop variable outside its loop");
                    self.b.i64(0)
                }
            },
            Node::Local(l) => self.local_scalar(*l),
            Node::Load { src, index } => {
                let Source::Buffer(k) = *src else {
                    self.b.fail("a load that was not scheduled");
                    return self.b.zero(scalar_ty(dtype));
                };
                let (addr, off) = self.address(k, index[0], dtype);
                self.load_scalar(dtype, addr, off)
            }
            Node::Un(op, a) => {
                let x = self.scalar(*a);
                ops::un(&mut self.b, self.host, *op, arena.dtype(*a), x)
            }
            Node::Bin(op, x, y) => {
                let (x, y) = (self.scalar(*x), self.scalar(*y));
                ops::bin(&mut self.b, self.host, *op, dtype, x, y)
            }
            Node::Cmp(op, x, y) => {
                let t = arena.dtype(*x);
                let (x, y) = (self.scalar(*x), self.scalar(*y));
                ops::cmp(&mut self.b, *op, t, x, y)
            }
            Node::Select(cond, x, y) => {
                let cond = self.scalar(*cond);
                if self.is_safe(*x) && self.is_safe(*y) {
                    let (x, y) = (self.scalar(*x), self.scalar(*y));
                    return self.b.select(cond, x, y);
                }
                self.branch(cond, &mut |s| vec![s.scalar(*x)], &mut |s| vec![s.scalar(*y)])[0]
            }
            Node::Cast { saturate, value } => {
                let from = arena.dtype(*value);
                let v = self.scalar(*value);
                ops::cast(&mut self.b, self.host, from, dtype, *saturate, v)
            }
            Node::Bitcast(a) => {
                let from = arena.dtype(*a);
                let v = self.scalar(*a);
                self.bitcast(from, dtype, v)
            }
            Node::Reduce { .. } => {
                self.b.fail("a reduction that was not scheduled");
                self.b.zero(scalar_ty(dtype))
            }
        }
    }

    fn const_bits(&self, dtype: DType, bits: u64) -> u64 {
        match elem(dtype).size_bytes() {
            4 => bits & 0xffff_ffff,
            _ => bits,
        }
    }

    fn local_scalar(&mut self, l: u32) -> Val {
        match self.locals.get(&l).cloned() {
            Some(Local::Plain { dtype, value }) => self.one_lane(dtype, value),
            Some(Local::Arg { index, .. }) => {
                let v = self.one_lane(DType::I32, index);
                self.b.cvt(Cvt::SignExtend, v, Ty::S(Elem::I64))
            }
            None => {
                self.b.fail(format!("scalar s{l} is used before it is defined"));
                self.b.i64(0)
            }
        }
    }

    fn one_lane(&mut self, dtype: DType, value: Value) -> Val {
        match (value, self.lane) {
            (Value::Uniform(v), _) => v,
            (Value::Varying(parts), Some(lane)) => self.extract(dtype, &parts, lane),
            (Value::Varying(_), None) => {
                self.b.fail("a varying scalar outside its loop");
                self.b.zero(scalar_ty(dtype))
            }
        }
    }

    /// Address and constant offset in bytes of an element.
    pub(super) fn address(&mut self, buffer: usize, index: ExprId, dtype: DType) -> (Val, i32) {
        let size = dtype.size_bytes() as i64;
        let mut form = self.arena.linear(index);
        let offset = form.constant.checked_mul(size).and_then(|o| i32::try_from(o).ok());
        let mut addr = self.addresses[buffer];
        let off = match offset {
            Some(o) => o,
            None => {
                let bytes = self.b.i64(form.constant.wrapping_mul(size));
                addr = self.b.add(addr, bytes);
                0
            }
        };
        form.constant = 0;
        for (term, factor) in form.terms {
            let v = self.scalar(term);
            addr = self.b.index(addr, v, factor.wrapping_mul(size));
        }
        (addr, off)
    }

    pub(super) fn load_scalar(&mut self, dtype: DType, addr: Val, off: i32) -> Val {
        let b = &mut self.b;
        let int = Ty::S(Elem::I32);
        match dtype {
            DType::F32 | DType::F64 | DType::I32 | DType::U32 | DType::I64 | DType::U64 => {
                b.load(scalar_ty(dtype), addr, off)
            }
            _ => {
                let narrow = if dtype.size_bytes() == 2 { Elem::I16 } else { Elem::I8 };
                let signed = dtype.class() == egret_ir::Class::Signed;
                let v = b.load(Ty::S(narrow), addr, off);
                let v = b.cvt(if signed { Cvt::SignExtend } else { Cvt::ZeroExtend }, v, int);
                self.decode(dtype, v)
            }
        }
    }

    /// A value from the integer that lies in memory.
    fn decode(&mut self, dtype: DType, v: Val) -> Val {
        let b = &mut self.b;
        let float = b.ty(v).with_elem(Elem::F32);
        match dtype {
            DType::F16 => ops::from_f16_bits(b, v, float),
            DType::BF16 => ops::from_bf16_bits(b, v, float),
            DType::Bool => self.mask_of(v),
            t if ops::is_tiny_float(t) => ops::call(b, self.host, Host::Decode(t), &[v], Elem::F32),
            t => ops::normalize(b, t, v),
        }
    }

    /// The integer that lies in memory for a value.
    fn encode(&mut self, dtype: DType, v: Val) -> Val {
        let b = &mut self.b;
        match dtype {
            DType::F16 => ops::to_f16_bits(b, v),
            DType::BF16 => ops::to_bf16_bits(b, v),
            DType::Bool => ops::cast(b, self.host, DType::Bool, DType::I32, false, v),
            t if ops::is_tiny_float(t) => ops::call(b, self.host, Host::Encode(t, false), &[v], Elem::I32),
            _ => v,
        }
    }

    pub(super) fn store_scalar(&mut self, dtype: DType, addr: Val, off: i32, v: Val) {
        let v = self.encode(dtype, v);
        let v = match dtype.size_bytes() {
            1 => self.b.cvt(Cvt::Truncate, v, Ty::S(Elem::I8)),
            2 => self.b.cvt(Cvt::Truncate, v, Ty::S(Elem::I16)),
            _ => v,
        };
        self.b.store(addr, off, v);
    }

    fn bitcast(&mut self, from: DType, to: DType, v: Val) -> Val {
        match (elem(from), elem(to)) {
            (a, b) if a == b && from.size_bytes() >= 4 => v,
            (a, b) if from.size_bytes() >= 4 && a.size_bytes() == b.size_bytes() => {
                let ty = self.b.ty(v).with_elem(b);
                self.b.bits(v, ty)
            }
            _ => {
                let bits = self.encode(from, v);
                let bits = ops::normalize(
                    &mut self.b,
                    if to.class() == egret_ir::Class::Signed { to } else { DType::U16 },
                    bits,
                );
                self.decode(to, bits)
            }
        }
    }

    // ---- vectors ----

    fn eval_varying(&mut self, e: ExprId) -> Vec<Val> {
        let arena = self.arena;
        let dtype = arena.dtype(e);
        match arena.node(e) {
            Node::Local(l) => match self.locals.get(l).cloned() {
                Some(Local::Plain { dtype, value }) => self.widen(dtype, value),
                _ => self.by_lanes(e),
            },
            Node::Load { src: Source::Buffer(k), index } => self.load_parts(e, *k, index[0]),
            Node::Un(op, a) => {
                let t = arena.dtype(*a);
                let x = self.parts(*a);
                let op = *op;
                if ops::un_in_vectors(op, t) {
                    let masks: Vec<Val> = x.iter().map(|&x| ops::un(&mut self.b, self.host, op, t, x)).collect();
                    return if dtype == DType::Bool && t != DType::Bool { self.narrow_masks(t, masks) } else { masks };
                }
                self.op_by_lanes(dtype, &[(t, x)], &mut |s, v| ops::un(&mut s.b, s.host, op, t, v[0]))
            }
            Node::Bin(op, x, y) => {
                let (x, y, op) = (self.parts(*x), self.parts(*y), *op);
                if ops::bin_in_vectors(op, dtype) {
                    return x
                        .iter()
                        .zip(&y)
                        .map(|(&x, &y)| ops::bin(&mut self.b, self.host, op, dtype, x, y))
                        .collect();
                }
                self.op_by_lanes(dtype, &[(dtype, x), (dtype, y)], &mut |s, v| {
                    ops::bin(&mut s.b, s.host, op, dtype, v[0], v[1])
                })
            }
            Node::Cmp(op, x, y) => {
                let t = arena.dtype(*x);
                if t == DType::I64 {
                    // Conditions on indices.
                    return self.by_lanes(e);
                }
                let (x, y, op) = (self.parts(*x), self.parts(*y), *op);
                if elem(t) == Elem::I64 {
                    return self
                        .op_by_lanes(dtype, &[(t, x), (t, y)], &mut |s, v| ops::cmp(&mut s.b, op, t, v[0], v[1]));
                }
                let masks = x.iter().zip(&y).map(|(&x, &y)| ops::cmp(&mut self.b, op, t, x, y)).collect();
                self.narrow_masks(t, masks)
            }
            Node::Select(cond, x, y) => self.select_parts(e, *cond, *x, *y),
            Node::Cast { saturate, value } => self.cast_parts(*value, dtype, *saturate),
            Node::Bitcast(a) => {
                let from = arena.dtype(*a);
                let x = self.parts(*a);
                if from.size_bytes() >= 2 {
                    return x.iter().map(|&x| self.bitcast(from, dtype, x)).collect();
                }
                self.op_by_lanes(dtype, &[(from, x)], &mut |s, v| s.bitcast(from, dtype, v[0]))
            }
            _ => self.by_lanes(e),
        }
    }

    /// Masks from comparing elements of type `t`, as masks of 32-bit lanes.
    fn narrow_masks(&mut self, t: DType, masks: Vec<Val>) -> Vec<Val> {
        if elem(t).size_bytes() == 4 {
            return masks;
        }
        let even: Vec<usize> = (0..self.b.lanes_of(Elem::I32)).map(|k| 2 * k).collect();
        masks
            .chunks(2)
            .map(|pair| {
                let halves: Vec<Val> = pair
                    .iter()
                    .map(|&m| {
                        let wide = self.b.bits(m, Ty::V(Elem::I64));
                        self.b.bits(wide, Ty::V(Elem::I32))
                    })
                    .collect();
                let joined = self.b.shuffle(halves[0], halves[halves.len() - 1], &even);
                self.mask_of(joined)
            })
            .collect()
    }

    /// Masks of 32-bit lanes as masks of 64-bit lanes.
    fn wide_masks(&mut self, masks: &[Val]) -> Vec<Val> {
        let mut out = Vec::new();
        for &m in masks {
            let bits = self.b.bits(m, Ty::V(Elem::I32));
            for half in [Cvt::WidenLow, Cvt::WidenHigh] {
                let wide = self.b.cvt(half, bits, Ty::V(Elem::I64));
                out.push(self.mask_of(wide));
            }
        }
        out
    }

    fn select_parts(&mut self, e: ExprId, cond: ExprId, x: ExprId, y: ExprId) -> Vec<Val> {
        let dtype = self.arena.dtype(e);
        let safe = self.is_safe(x) && self.is_safe(y);
        match self.eval(cond) {
            Value::Uniform(cond) if safe => {
                let (x, y) = (self.parts(x), self.parts(y));
                x.iter().zip(&y).map(|(&x, &y)| self.b.select(cond, x, y)).collect()
            }
            Value::Uniform(cond) => self.branch(cond, &mut |s| s.parts(x), &mut |s| s.parts(y)),
            Value::Varying(_) if !safe => self.by_lanes(e),
            Value::Varying(masks) => {
                let masks = if elem(dtype).size_bytes() == 8 { self.wide_masks(&masks) } else { masks };
                let (x, y) = (self.parts(x), self.parts(y));
                masks.iter().zip(x.iter().zip(&y)).map(|(&m, (&x, &y))| self.b.select(m, x, y)).collect()
            }
        }
    }

    fn cast_parts(&mut self, value: ExprId, to: DType, saturate: bool) -> Vec<Val> {
        let from = self.arena.dtype(value);
        let x = self.parts(value);
        if ops::cast_in_vectors(from, to) {
            return x.iter().map(|&x| ops::cast(&mut self.b, self.host, from, to, saturate, x)).collect();
        }
        match (from, to) {
            (DType::F32 | DType::F16 | DType::BF16, DType::F64) => x
                .iter()
                .flat_map(|&x| [Cvt::WidenLow, Cvt::WidenHigh].map(|half| self.b.cvt(half, x, Ty::V(Elem::F64))))
                .collect(),
            (DType::F64, DType::F32 | DType::F16 | DType::BF16) => x
                .chunks(2)
                .map(|pair| {
                    let v = self.b.demote_two(pair[0], pair[pair.len() - 1]);
                    ops::round_to(&mut self.b, self.host, to, saturate, v)
                })
                .collect(),
            (_, DType::F64) if from.is_int() && elem(from) == Elem::I32 && from != DType::U32 => {
                x.iter().flat_map(|&x| self.ints_to_doubles(from, x)).collect()
            }
            (DType::F64, _) if to.is_int() && to.bits() < 32 => {
                x.chunks(2).map(|pair| self.doubles_to_narrow(to, pair[0], pair[pair.len() - 1])).collect()
            }
            _ => self.op_by_lanes(to, &[(from, x)], &mut |s, v| ops::cast(&mut s.b, s.host, from, to, saturate, v[0])),
        }
    }

    /// Signed integers of a register's lanes in `f64`, exact: by way of `f32`, which holds halves of them.
    fn ints_to_doubles(&mut self, from: DType, x: Val) -> [Val; 2] {
        let (floats, doubles) = (Ty::V(Elem::F32), Ty::V(Elem::F64));
        let b = &mut self.b;
        let widened = |b: &mut Builder, x: Val| {
            let x = b.cvt(Cvt::FromSint, x, floats);
            [Cvt::WidenLow, Cvt::WidenHigh].map(|half| b.cvt(half, x, doubles))
        };
        if from.bits() < 32 {
            return widened(b, x);
        }
        let mask = b.vi32(0xffff);
        let (low, high) = (b.and(x, mask), b.sar_imm(x, 16));
        let (low, high) = (widened(b, low), widened(b, high));
        let factor = b.const_float(doubles, 65536.0);
        [0, 1].map(|half| {
            let high = b.mul(high[half], factor);
            b.add(high, low[half])
        })
    }

    /// `f64` to integers below 32 bits, towards zero, held within the type, NaN to 0: what is in range is exact in `f32`.
    fn doubles_to_narrow(&mut self, to: DType, low: Val, high: Val) -> Val {
        let b = &mut self.b;
        let (least, most) = to.int_range().unwrap_or((0, 0));
        let [low, high] = [low, high].map(|v| {
            let v = b.un(UnOp::Trunc, v);
            let (least, most) = (b.const_float(b.ty(v), least as f64), b.const_float(b.ty(v), most as f64));
            // Both give their second operand where it is NaN.
            let v = b.max(least, v);
            b.min(most, v)
        });
        let v = b.demote_two(low, high);
        b.cvt(Cvt::ToSintSat, v, Ty::V(Elem::I32))
    }

    /// How an index grows from one turn of the strip to the next, if that is the same everywhere.
    pub(super) fn stride(&self, index: ExprId) -> Option<i64> {
        let strip = self.strip.as_ref()?;
        let mut stride = 0;
        for (term, factor) in self.arena.linear(index).terms {
            if matches!(self.arena.node(term), Node::Var(v) if *v == strip.var) {
                stride = factor;
            } else if strip.varying.contains(&term) {
                return None;
            }
        }
        Some(stride)
    }

    /// Address of the strip's first element.
    pub(super) fn base_address(&mut self, buffer: usize, index: ExprId, dtype: DType) -> (Val, i32) {
        let Some(strip) = self.strip.take() else { return self.address(buffer, index, dtype) };
        let before = self.vars.insert(strip.var, strip.base);
        // What is known of this index belongs to its first turn only.
        self.memo.push(HashMap::new());
        let at = self.address(buffer, index, dtype);
        self.memo.pop();
        match before {
            Some(v) => self.vars.insert(strip.var, v),
            None => self.vars.remove(&strip.var),
        };
        self.strip = Some(strip);
        at
    }

    fn load_parts(&mut self, e: ExprId, buffer: usize, index: ExprId) -> Vec<Val> {
        let dtype = self.arena.dtype(e);
        let len = self.strip.as_ref().map_or(0, |s| s.len);
        let size = dtype.size_bytes() as i64;
        match self.stride(index) {
            Some(1) if !ops::is_tiny_float(dtype) => {
                let (addr, off) = self.base_address(buffer, index, dtype);
                let lanes = self.b.lanes_of(elem(dtype));
                let mut parts = Vec::new();
                for k in 0..self.n_parts(dtype, len) {
                    let off = off.wrapping_add((k * lanes) as i32 * size as i32);
                    let part = if size >= 4 {
                        self.b.load(Ty::V(elem(dtype)), addr, off)
                    } else {
                        let from = if size == 2 { Elem::I16 } else { Elem::I8 };
                        let signed = dtype.class() == egret_ir::Class::Signed;
                        let v = self.b.load_widen(from, signed, addr, off);
                        self.decode(dtype, v)
                    };
                    parts.push(part);
                }
                parts
            }
            Some(stride) if (stride.unsigned_abs() as u128 * len as u128 * size as u128) < 1 << 30 => {
                let (addr, off) = self.base_address(buffer, index, dtype);
                let mut scalars = Vec::new();
                for lane in 0..len {
                    let off = off.checked_add((lane as i64 * stride * size) as i32);
                    let Some(off) = off else { return self.by_lanes(e) };
                    scalars.push(self.load_scalar(dtype, addr, off));
                }
                self.gather(dtype, &scalars)
            }
            _ => self.by_lanes(e),
        }
    }

    /// Writes a strip.
    pub(super) fn store_parts(&mut self, buffer: usize, index: ExprId, dtype: DType, parts: &[Val]) {
        let size = dtype.size_bytes();
        let len = self.strip.as_ref().map_or(0, |s| s.len);
        if self.stride(index) == Some(1) && !ops::is_tiny_float(dtype) {
            let (addr, off) = self.base_address(buffer, index, dtype);
            let lanes = self.b.lanes_of(elem(dtype));
            for (k, &part) in parts.iter().enumerate() {
                let off = off.wrapping_add((k * lanes * size) as i32);
                if size >= 4 {
                    self.b.store(addr, off, part);
                } else {
                    let v = self.encode(dtype, part);
                    self.b.store_narrow(if size == 2 { Elem::I16 } else { Elem::I8 }, addr, off, v);
                }
            }
            return;
        }
        let Some(strip) = self.strip.take() else { return };
        let before = self.vars.get(&strip.var).copied();
        for lane in 0..len {
            let v = self.extract(dtype, parts, lane);
            self.memo.push(HashMap::new());
            let at = self.b.add_imm(strip.base, lane as i64);
            self.vars.insert(strip.var, at);
            self.lane = Some(lane);
            let (addr, off) = self.address(buffer, index, dtype);
            self.store_scalar(dtype, addr, off, v);
            self.lane = None;
            self.memo.pop();
        }
        match before {
            Some(v) => self.vars.insert(strip.var, v),
            None => self.vars.remove(&strip.var),
        };
        self.strip = Some(strip);
    }
}
