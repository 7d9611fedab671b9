//! The recorder: one method per operation, loops and branches as closures.
//!
//! A wrongly typed operation does not panic: the first mistake is kept and [`Builder::finish`] returns it, so that kernel
//! generators read as straight code.

use super::ir::{BinOp, CmpOp, Cvt, Elem, Inst, KernelFn, Op, Reduce, Ty, UnOp, Val};

/// What the recorder has to know of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// 32-bit lanes per vector: 4 (128 bits), 8 or 16.
    pub lanes: usize,
    /// Architectural vector registers, which bound register blocking.
    pub vector_regs: usize,
    /// Registers that a tile leaves free beside its sums and the operand it keeps: 1 for the operand that streams, more
    /// where the emitter's multiply-add does not accumulate in place.
    pub spare_regs: usize,
    /// Whether `fma` rounds once; else it is a product and a sum.
    pub fused: bool,
}

impl Target {
    /// 128-bit vectors of x86-64: 16 registers.
    pub const X86_128: Target = Target { lanes: 4, vector_regs: 16, spare_regs: 4, fused: true };
    /// 256-bit vectors of x86-64: a multiply-add accumulates in place, one operand streams, one is broadcast.
    pub const X86_256: Target = Target { lanes: 8, vector_regs: 16, spare_regs: 2, fused: true };
    /// 512-bit vectors of x86-64: 32 registers.
    pub const X86_512: Target = Target { lanes: 16, vector_regs: 32, spare_regs: 2, fused: true };
    /// 128-bit vectors of aarch64: 32 registers.
    pub const AARCH64: Target = Target { lanes: 4, vector_regs: 32, spare_regs: 2, fused: true };

    /// The portable level for the same machine.
    pub const fn narrow(self) -> Target {
        Target { fused: self.fused, ..Target::baseline() }
    }

    /// The portable level of the machine that this program was compiled for.
    pub const fn baseline() -> Target {
        if cfg!(target_arch = "aarch64") { Target::AARCH64 } else { Target::X86_128 }
    }
}

/// A mistake in the recording of a kernel: a bug of the generator that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel `{kernel}`: {text}")]
pub struct BuildError {
    /// Name of the kernel.
    pub kernel: String,
    /// What was wrong with which operation.
    pub text: String,
}

/// Records one kernel.
pub struct Builder {
    name: String,
    target: Target,
    types: Vec<Ty>,
    /// Bits of the values that are constants, by value.
    consts: Vec<Option<u64>>,
    /// Open bodies, innermost last.
    bodies: Vec<Vec<Inst>>,
    error: Option<String>,
    in_order: bool,
}

impl Builder {
    /// Starts an empty kernel.
    pub fn new(name: impl Into<String>, target: Target) -> Builder {
        Builder {
            name: name.into(),
            target,
            types: Vec::new(),
            consts: Vec::new(),
            bodies: vec![Vec::new()],
            error: None,
            in_order: false,
        }
    }

    /// Ends the recording.
    pub fn finish(mut self) -> Result<KernelFn, BuildError> {
        match self.error {
            Some(text) => Err(BuildError { kernel: self.name, text }),
            None => Ok(KernelFn {
                name: self.name,
                lanes: self.target.lanes,
                in_order: self.in_order,
                types: self.types,
                body: self.bodies.pop().expect("the outermost body stays open until here"),
            }),
        }
    }

    /// Asks emitters to keep the recorded order, see [`KernelFn::in_order`].
    pub fn keep_order(&mut self) {
        self.in_order = true;
    }

    /// The machine that this kernel is recorded for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// 32-bit lanes per vector.
    pub fn lanes(&self) -> usize {
        self.target.lanes
    }

    /// Lanes of a vector of `elem`.
    pub fn lanes_of(&self, elem: Elem) -> usize {
        self.target.lanes * 4 / elem.size_bytes()
    }

    /// Type of a value.
    pub fn ty(&self, v: Val) -> Ty {
        self.types[v.idx()]
    }

    /// Records a mistake that [`Builder::finish`] will report; for generators that meet a case they do not support.
    pub fn fail(&mut self, text: impl Into<String>) {
        if self.error.is_none() {
            self.error = Some(text.into());
        }
    }

    fn require(&mut self, ok: bool, text: impl FnOnce() -> String) {
        if !ok && self.error.is_none() {
            self.error = Some(text());
        }
    }

    fn fresh(&mut self, ty: Ty) -> Val {
        let v = Val(self.types.len() as u32);
        self.types.push(ty);
        self.consts.push(None);
        v
    }

    fn push(&mut self, inst: Inst) {
        self.bodies.last_mut().expect("a body is always open").push(inst);
    }

    fn def(&mut self, ty: Ty, op: Op) -> Val {
        let dst = self.fresh(ty);
        if let Op::Const(bits) = op {
            self.consts[dst.idx()] = Some(bits);
        }
        self.push(Inst::Def { dst, op });
        dst
    }

    fn require_addr(&mut self, addr: Val) {
        let ty = self.ty(addr);
        self.require(ty == Ty::S(Elem::I64), || format!("an address has type {ty:?}, wanted S(I64)"));
    }

    // ---- arguments and constants ----

    /// First index of the parallel range to do.
    pub fn begin(&mut self) -> Val {
        self.def(Ty::S(Elem::I64), Op::Begin)
    }

    /// End of the parallel range to do.
    pub fn end(&mut self) -> Val {
        self.def(Ty::S(Elem::I64), Op::End)
    }

    /// Address in entry `n` of the pointer table.
    pub fn buf(&mut self, n: usize) -> Val {
        self.def(Ty::S(Elem::I64), Op::Buf(n as u32))
    }

    /// A constant of any type from its element's bits.
    pub fn const_bits(&mut self, ty: Ty, bits: u64) -> Val {
        self.def(ty, Op::Const(bits))
    }

    /// An integer constant (truncated to the element) in scalar or all lanes.
    pub fn const_int(&mut self, ty: Ty, value: i64) -> Val {
        let ok = ty.elem().is_some_and(|e| !e.is_float());
        self.require(ok, || format!("integer constant of type {ty:?}"));
        let size = ty.elem().map_or(8, Elem::size_bytes);
        let bits = if size == 8 { value as u64 } else { value as u64 & ((1 << (8 * size)) - 1) };
        self.const_bits(ty, bits)
    }

    /// A float constant (rounded to the element) in scalar or all lanes.
    pub fn const_float(&mut self, ty: Ty, value: f64) -> Val {
        match ty.elem() {
            Some(Elem::F32) => self.const_bits(ty, u64::from((value as f32).to_bits())),
            Some(Elem::F64) => self.const_bits(ty, value.to_bits()),
            _ => {
                self.fail(format!("float constant of type {ty:?}"));
                self.const_bits(ty, 0)
            }
        }
    }

    /// Zero of any type (false for masks and `Bool`).
    pub fn zero(&mut self, ty: Ty) -> Val {
        self.const_bits(ty, 0)
    }

    /// Scalar `I64` constant.
    pub fn i64(&mut self, value: i64) -> Val {
        self.const_int(Ty::S(Elem::I64), value)
    }

    /// Scalar `I32` constant.
    pub fn i32(&mut self, value: i32) -> Val {
        self.const_int(Ty::S(Elem::I32), i64::from(value))
    }

    /// Scalar `F32` constant.
    pub fn f32(&mut self, value: f32) -> Val {
        self.const_bits(Ty::S(Elem::F32), u64::from(value.to_bits()))
    }

    /// `F32` constant in all lanes.
    pub fn vf32(&mut self, value: f32) -> Val {
        self.const_bits(Ty::V(Elem::F32), u64::from(value.to_bits()))
    }

    /// `I32` constant in all lanes.
    pub fn vi32(&mut self, value: i32) -> Val {
        self.const_int(Ty::V(Elem::I32), i64::from(value))
    }

    /// The bits of `v` if it is a constant.
    pub fn const_value(&self, v: Val) -> Option<u64> {
        self.consts[v.idx()]
    }

    // ---- arithmetic ----

    /// One-operand operation.
    pub fn un(&mut self, op: UnOp, a: Val) -> Val {
        let ty = self.ty(a);
        let ok = match op {
            UnOp::Neg | UnOp::Abs => matches!(ty, Ty::S(_) | Ty::V(_)),
            UnOp::Not => ty.elem().is_none_or(|e| !e.is_float()),
            _ => matches!(ty, Ty::S(e) | Ty::V(e) if e.is_float()),
        };
        self.require(ok, || format!("{op:?} of {ty:?}"));
        self.def(ty, Op::Un(op, a))
    }

    /// Two-operand operation.
    pub fn bin(&mut self, op: BinOp, a: Val, b: Val) -> Val {
        use BinOp::*;
        let (ta, tb) = (self.ty(a), self.ty(b));
        let is_float = ta.elem().is_some_and(Elem::is_float) && !matches!(ta, Ty::Mask(_));
        let is_number = matches!(ta, Ty::S(_) | Ty::V(_));
        let ok = match op {
            Add | Sub | Mul | Min | Max => is_number && ta == tb,
            Div => ta == tb && (is_float || matches!(ta, Ty::S(_))),
            Rem | DivU | RemU => ta == tb && matches!(ta, Ty::S(_)) && !is_float,
            MinNan | MaxNan => is_number && is_float && ta == tb,
            MinU | MaxU => is_number && !is_float && ta == tb,
            And | Or | Xor => !is_float && ta == tb,
            Shl | ShrS | ShrU => is_number && !is_float && matches!(tb, Ty::S(Elem::I32 | Elem::I64)),
        };
        self.require(ok, || format!("{op:?} of {ta:?} and {tb:?}"));
        self.def(ta, Op::Bin(op, a, b))
    }

    pub fn add(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::Add, a, b)
    }
    pub fn sub(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::Sub, a, b)
    }
    pub fn mul(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::Mul, a, b)
    }
    pub fn div(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::Div, a, b)
    }
    /// See [`BinOp::Min`] for NaN.
    pub fn min(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::Min, a, b)
    }
    /// See [`BinOp::Max`] for NaN.
    pub fn max(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::Max, a, b)
    }
    pub fn min_nan(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::MinNan, a, b)
    }
    pub fn max_nan(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::MaxNan, a, b)
    }
    pub fn and(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::And, a, b)
    }
    pub fn or(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::Or, a, b)
    }
    pub fn xor(&mut self, a: Val, b: Val) -> Val {
        self.bin(BinOp::Xor, a, b)
    }
    pub fn not(&mut self, a: Val) -> Val {
        self.un(UnOp::Not, a)
    }
    pub fn neg(&mut self, a: Val) -> Val {
        self.un(UnOp::Neg, a)
    }
    pub fn abs(&mut self, a: Val) -> Val {
        self.un(UnOp::Abs, a)
    }
    pub fn sqrt(&mut self, a: Val) -> Val {
        self.un(UnOp::Sqrt, a)
    }

    /// Shift left by a constant.
    pub fn shl_imm(&mut self, a: Val, count: u32) -> Val {
        let n = self.i32(count as i32);
        self.bin(BinOp::Shl, a, n)
    }
    /// Arithmetic shift right by a constant.
    pub fn sar_imm(&mut self, a: Val, count: u32) -> Val {
        let n = self.i32(count as i32);
        self.bin(BinOp::ShrS, a, n)
    }
    /// Logical shift right by a constant.
    pub fn shr_imm(&mut self, a: Val, count: u32) -> Val {
        let n = self.i32(count as i32);
        self.bin(BinOp::ShrU, a, n)
    }

    /// `a + k` on integers; `a` itself for 0.
    pub fn add_imm(&mut self, a: Val, k: i64) -> Val {
        if k == 0 {
            return a;
        }
        let k = self.const_int(self.ty(a), k);
        self.add(a, k)
    }

    /// `a * k` on integers; `a` itself for 1.
    pub fn mul_imm(&mut self, a: Val, k: i64) -> Val {
        if k == 1 {
            return a;
        }
        let k = self.const_int(self.ty(a), k);
        self.mul(a, k)
    }

    /// `base + idx * scale`: an address.
    pub fn index(&mut self, base: Val, idx: Val, scale_bytes: i64) -> Val {
        if self.const_value(idx) == Some(0) {
            return base;
        }
        let offset = self.mul_imm(idx, scale_bytes);
        self.add(base, offset)
    }

    /// `a * b + c`.
    pub fn fma(&mut self, a: Val, b: Val, c: Val) -> Val {
        let tys = [self.ty(a), self.ty(b), self.ty(c)];
        let ok = matches!(tys[0], Ty::S(e) | Ty::V(e) if e.is_float()) && tys[0] == tys[1] && tys[0] == tys[2];
        self.require(ok, || format!("fma of {tys:?}"));
        self.def(tys[0], Op::Fma(a, b, c))
    }

    /// Comparison: `Bool` of scalars, `Mask` of vectors.
    pub fn cmp(&mut self, op: CmpOp, a: Val, b: Val) -> Val {
        let (ta, tb) = (self.ty(a), self.ty(b));
        let unsigned = matches!(op, CmpOp::LtU | CmpOp::LeU);
        let (ok, ty) = match ta {
            Ty::S(e) => (!(unsigned && e.is_float()), Ty::Bool),
            Ty::V(e) => (!(unsigned && e.is_float()), Ty::Mask(e.as_int())),
            Ty::Bool | Ty::Mask(_) => (false, ta),
        };
        self.require(ok && ta == tb, || format!("{op:?} of {ta:?} and {tb:?}"));
        self.def(ty, Op::Cmp(op, a, b))
    }

    /// `cond ? a : b`.
    pub fn select(&mut self, cond: Val, a: Val, b: Val) -> Val {
        let (tc, ta, tb) = (self.ty(cond), self.ty(a), self.ty(b));
        let ok = match tc {
            Ty::Bool => true,
            Ty::Mask(m) => matches!(ta, Ty::V(e) | Ty::Mask(e) if e.size_bytes() == m.size_bytes()),
            _ => false,
        };
        self.require(ok && ta == tb, || format!("select by {tc:?} of {ta:?} and {tb:?}"));
        self.def(ta, Op::Select(cond, a, b))
    }

    /// A scalar in all lanes.
    pub fn splat(&mut self, a: Val) -> Val {
        let ty = self.ty(a);
        self.require(matches!(ty, Ty::S(_)), || format!("splat of {ty:?}"));
        self.def(Ty::V(ty.elem().unwrap_or(Elem::I32)), Op::Splat(a))
    }

    /// Conversion to `to` (see [`Cvt`] for what each accepts).
    pub fn cvt(&mut self, kind: Cvt, a: Val, to: Ty) -> Val {
        use Cvt::*;
        let from = self.ty(a);
        let size = |ty: Ty| ty.elem().map_or(0, Elem::size_bytes);
        let int = |ty: Ty| ty.elem().is_some_and(|e| !e.is_float());
        let float = |ty: Ty| ty.elem().is_some_and(Elem::is_float);
        let scalars = matches!((from, to), (Ty::S(_), Ty::S(_)));
        let vectors32 = matches!((from, to), (Ty::V(_), Ty::V(_))) && size(from) == 4 && size(to) == 4;
        let wide_ints = |ty: Ty| size(ty) >= 4;
        let ok = match kind {
            SignExtend => scalars && int(from) && int(to) && size(from) < size(to),
            ZeroExtend => {
                (scalars && int(from) && int(to) && size(from) < size(to))
                    || (from == Ty::Bool && matches!(to, Ty::S(e) if !e.is_float()))
            }
            Truncate => scalars && int(from) && int(to) && size(from) > size(to),
            FromSint | FromUint => (scalars || vectors32) && int(from) && wide_ints(from) && float(to),
            ToSintSat | ToUintSat => (scalars || vectors32) && float(from) && int(to) && wide_ints(to),
            Promote => from == Ty::S(Elem::F32) && to == Ty::S(Elem::F64),
            Demote => from == Ty::S(Elem::F64) && to == Ty::S(Elem::F32),
            WidenLow | WidenHigh => {
                matches!((from, to), (Ty::V(Elem::F32), Ty::V(Elem::F64)) | (Ty::V(Elem::I32), Ty::V(Elem::I64)))
            }
            Bits => match (from, to) {
                (Ty::S(a), Ty::S(b)) => a.size_bytes() == b.size_bytes(),
                (Ty::V(_), Ty::V(_)) => true,
                (Ty::Mask(m), Ty::V(e)) => m == e,
                _ => false,
            },
        };
        self.require(ok, || format!("{kind:?} from {from:?} to {to:?}"));
        self.def(to, Op::Cvt(kind, a))
    }

    /// The same bits as another type.
    pub fn bits(&mut self, a: Val, to: Ty) -> Val {
        self.cvt(Cvt::Bits, a, to)
    }

    /// Two `V(F64)` to one `V(F32)`.
    pub fn demote_two(&mut self, low: Val, high: Val) -> Val {
        let tys = [self.ty(low), self.ty(high)];
        self.require(tys == [Ty::V(Elem::F64); 2], || format!("demote_two of {tys:?}"));
        self.def(Ty::V(Elem::F32), Op::DemoteTwo(low, high))
    }

    // ---- lanes ----

    /// Lane `lane` as a scalar.
    pub fn extract(&mut self, v: Val, lane: usize) -> Val {
        let elem = self.require_vector(v, lane);
        self.def(Ty::S(elem), Op::ExtractLane(v, lane as u8))
    }

    /// `v` with lane `lane` replaced by the scalar `s`.
    pub fn insert(&mut self, v: Val, lane: usize, s: Val) -> Val {
        let elem = self.require_vector(v, lane);
        let ts = self.ty(s);
        self.require(ts == Ty::S(elem), || format!("insert of {ts:?} into a vector of {elem:?}"));
        self.def(Ty::V(elem), Op::InsertLane(v, lane as u8, s))
    }

    fn require_vector(&mut self, v: Val, lane: usize) -> Elem {
        let ty = self.ty(v);
        let elem = ty.elem().unwrap_or(Elem::I32);
        let ok = matches!(ty, Ty::V(_)) && lane < self.lanes_of(elem);
        self.require(ok, || format!("lane {lane} of {ty:?}"));
        elem
    }

    /// Lane `i` of the result is lane `idx[i]` of `a` followed by `b`.
    pub fn shuffle(&mut self, a: Val, b: Val, idx: &[usize]) -> Val {
        let (ta, tb) = (self.ty(a), self.ty(b));
        let lanes = ta.elem().map_or(0, |e| self.lanes_of(e));
        let ok = matches!(ta, Ty::V(_)) && ta == tb && idx.len() == lanes && idx.iter().all(|&i| i < 2 * lanes);
        self.require(ok, || format!("shuffle {idx:?} of {ta:?} and {tb:?}"));
        self.def(ta, Op::Shuffle(a, b, idx.iter().map(|&i| i as u8).collect()))
    }

    /// All lanes reduced to a scalar.
    pub fn hreduce(&mut self, op: Reduce, v: Val) -> Val {
        let ty = self.ty(v);
        let nan = matches!(op, Reduce::MinNan | Reduce::MaxNan);
        let ok = matches!(ty, Ty::V(e) if e.size_bytes() >= 4 && (e.is_float() || !nan));
        self.require(ok, || format!("horizontal {op:?} of {ty:?}"));
        self.def(Ty::S(ty.elem().unwrap_or(Elem::I32)), Op::HReduce(op, v))
    }

    /// See [`Op::DotU8I8`].
    pub fn dot_u8_i8(&mut self, acc: Val, a: Val, b: Val) -> Val {
        let tys = [self.ty(acc), self.ty(a), self.ty(b)];
        let want = [Ty::V(Elem::I32), Ty::V(Elem::I8), Ty::V(Elem::I8)];
        self.require(tys == want, || format!("dot_u8_i8 of {tys:?}"));
        self.def(want[0], Op::DotU8I8 { acc, a, b })
    }

    /// See [`Op::DotI16`].
    pub fn dot_i16(&mut self, acc: Val, a: Val, b: Val) -> Val {
        let tys = [self.ty(acc), self.ty(a), self.ty(b)];
        let want = [Ty::V(Elem::I32), Ty::V(Elem::I16), Ty::V(Elem::I16)];
        self.require(tys == want, || format!("dot_i16 of {tys:?}"));
        self.def(want[0], Op::DotI16 { acc, a, b })
    }

    // ---- memory ----

    /// Scalar or full vector at `addr + off` bytes.
    pub fn load(&mut self, ty: Ty, addr: Val, off: i32) -> Val {
        self.require_addr(addr);
        self.require(matches!(ty, Ty::S(_) | Ty::V(_)), || format!("load of {ty:?}"));
        self.def(ty, Op::Load { addr, off })
    }

    /// One element in all lanes.
    pub fn load_splat(&mut self, elem: Elem, addr: Val, off: i32) -> Val {
        self.require_addr(addr);
        self.def(Ty::V(elem), Op::LoadSplat { addr, off })
    }

    /// The first `n` lanes (`S(I64)`), zeros above.
    pub fn load_n(&mut self, elem: Elem, addr: Val, off: i32, n: Val) -> Val {
        self.require_addr(addr);
        self.require_addr(n);
        self.def(Ty::V(elem), Op::LoadN { addr, off, n })
    }

    /// Narrow integers extended to `V(I32)`.
    pub fn load_widen(&mut self, from: Elem, signed: bool, addr: Val, off: i32) -> Val {
        self.require_addr(addr);
        self.require(matches!(from, Elem::I8 | Elem::I16), || format!("load_widen from {from:?}"));
        self.def(Ty::V(Elem::I32), Op::LoadWiden { from, signed, addr, off })
    }

    /// Scalar or full vector to `addr + off` bytes.
    pub fn store(&mut self, addr: Val, off: i32, value: Val) {
        self.require_addr(addr);
        let ty = self.ty(value);
        self.require(matches!(ty, Ty::S(_) | Ty::V(_)), || format!("store of {ty:?}"));
        self.push(Inst::Store { addr, off, value });
    }

    /// The first `n` lanes (`S(I64)`) only.
    pub fn store_n(&mut self, addr: Val, off: i32, value: Val, n: Val) {
        self.require_addr(addr);
        self.require_addr(n);
        let ty = self.ty(value);
        self.require(matches!(ty, Ty::V(_)), || format!("store_n of {ty:?}"));
        self.push(Inst::StoreN { addr, off, value, n });
    }

    /// Low bits of the lanes of a `V(I32)`.
    pub fn store_narrow(&mut self, to: Elem, addr: Val, off: i32, value: Val) {
        self.require_addr(addr);
        let ty = self.ty(value);
        let ok = matches!(to, Elem::I8 | Elem::I16) && ty == Ty::V(Elem::I32);
        self.require(ok, || format!("store_narrow of {ty:?} to {to:?}"));
        self.push(Inst::StoreNarrow { to, addr, off, value });
    }

    /// Address of `len_bytes` fresh bytes of the stack frame.
    pub fn stack(&mut self, len_bytes: u32) -> Val {
        self.def(Ty::S(Elem::I64), Op::StackAddr { len_bytes })
    }

    // ---- control ----

    /// `for idx in (lo..hi).step_by(step)` with carried values: `body(b, idx, carried)` returns the next ones; the last
    /// ones are returned (`carried` itself when the loop does not turn). A loop that is known to turn once at most is no loop.
    pub fn for_loop(
        &mut self,
        lo: Val,
        hi: Val,
        step: i64,
        carried: &[Val],
        body: impl FnOnce(&mut Builder, Val, &[Val]) -> Vec<Val>,
    ) -> Vec<Val> {
        self.require_addr(lo);
        self.require_addr(hi);
        self.require(step > 0, || format!("loop step {step}"));
        let tys: Vec<Ty> = carried.iter().map(|&v| self.ty(v)).collect();
        if let Some((l, h)) = self.const_value(lo).zip(self.const_value(hi)).map(|(l, h)| (l as i64, h as i64))
            && h <= l.saturating_add(step)
        {
            let last = if l < h { body(self, lo, carried) } else { carried.to_vec() };
            let last_tys: Vec<Ty> = last.iter().map(|&v| self.ty(v)).collect();
            self.require(tys == last_tys, || format!("loop carries {tys:?}, its body returned {last_tys:?}"));
            return last;
        }
        let idx = self.fresh(Ty::S(Elem::I64));
        let params: Vec<Val> = tys.iter().map(|&ty| self.fresh(ty)).collect();
        self.bodies.push(Vec::new());
        let next = body(self, idx, &params);
        let insts = self.bodies.pop().expect("pushed above");
        let next_tys: Vec<Ty> = next.iter().map(|&v| self.ty(v)).collect();
        self.require(tys == next_tys, || format!("loop carries {tys:?}, its body returned {next_tys:?}"));
        let results: Vec<Val> = tys.iter().map(|&ty| self.fresh(ty)).collect();
        let init = carried.to_vec();
        self.push(Inst::For { lo, hi, step, idx, init, params, body: insts, next, results: results.clone() });
        results
    }

    /// Both branches return values of the same types.
    pub fn if_else(
        &mut self,
        cond: Val,
        then: impl FnOnce(&mut Builder) -> Vec<Val>,
        otherwise: impl FnOnce(&mut Builder) -> Vec<Val>,
    ) -> Vec<Val> {
        let tc = self.ty(cond);
        self.require(tc == Ty::Bool, || format!("if of {tc:?}"));
        self.bodies.push(Vec::new());
        let then_vals = then(self);
        let then_body = self.bodies.pop().expect("pushed above");
        self.bodies.push(Vec::new());
        let else_vals = otherwise(self);
        let else_body = self.bodies.pop().expect("pushed above");
        let tys: Vec<Ty> = then_vals.iter().map(|&v| self.ty(v)).collect();
        let else_tys: Vec<Ty> = else_vals.iter().map(|&v| self.ty(v)).collect();
        self.require(tys == else_tys, || format!("branches return {tys:?} and {else_tys:?}"));
        let results: Vec<Val> = tys.iter().map(|&ty| self.fresh(ty)).collect();
        self.push(Inst::If { cond, then_body, then_vals, else_body, else_vals, results: results.clone() });
        results
    }

    /// A branch without values.
    pub fn if_then(&mut self, cond: Val, then: impl FnOnce(&mut Builder)) {
        self.if_else(
            cond,
            |b| {
                then(b);
                Vec::new()
            },
            |_| Vec::new(),
        );
    }

    /// Calls entry `slot` of the table of host functions at address `table`. Arguments and result are scalars of 32 or 64
    /// bits.
    pub fn call_host(&mut self, table: Val, slot: usize, args: &[Val], ret: Option<Elem>) -> Option<Val> {
        self.require_addr(table);
        let tys: Vec<Ty> = args.iter().map(|&v| self.ty(v)).collect();
        let ok = tys.iter().all(|ty| matches!(ty, Ty::S(e) if e.size_bytes() >= 4))
            && ret.is_none_or(|e| e.size_bytes() >= 4);
        self.require(ok, || format!("host call with {tys:?} -> {ret:?}"));
        let dst = ret.map(|e| self.fresh(Ty::S(e)));
        self.push(Inst::CallHost { table, slot: slot as u32, args: args.to_vec(), dst });
        dst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_mistake_is_reported() {
        let mut b = Builder::new("bad", Target::X86_128);
        let x = b.i64(1);
        let y = b.vf32(1.0);
        let z = b.add(x, y);
        b.sqrt(z);
        let e = b.finish().unwrap_err();
        assert!(e.text.starts_with("Add of S(I64)"), "{e}");
    }

    #[test]
    fn names_take_no_part_in_equality() {
        let make = |name: &str, k: i64| {
            let mut b = Builder::new(name, Target::X86_128);
            let p = b.buf(0);
            let v = b.i64(k);
            b.store(p, 0, v);
            b.finish().unwrap()
        };
        assert_eq!(make("a", 1), make("b", 1));
        assert_ne!(make("a", 1), make("a", 2));
    }

    #[test]
    fn loop_must_return_what_it_carries() {
        let mut b = Builder::new("l", Target::X86_128);
        let (lo, hi) = (b.i64(0), b.i64(4));
        let x = b.vf32(0.0);
        b.for_loop(lo, hi, 1, &[x], |_, i, _| vec![i]);
        assert!(b.finish().is_err());
    }
}
