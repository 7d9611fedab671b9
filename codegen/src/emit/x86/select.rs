//! From recorded operations to machine instructions over virtual registers.
//!
//! Scalars are in the low sixteen vector registers and use VEX encodings at both levels; full vectors are `ymm` with AVX2
//! and `zmm` with AVX-512. Integers narrower than 64 bits have anything in the bits above. A mask is a vector of all-ones
//! lanes with AVX2 and a mask register with AVX-512. What has no short sequence is refused by name: such kernels are
//! recorded for 128 bits instead.

use std::collections::HashMap;

use iced_x86::Code;
use regalloc2::{Block, PReg, PRegSet, RegClass, VReg};

use super::mir::{Arg, BlockData, Flow, Mach, MachineFunction, Place, Width};
use super::{GENERAL_ARGS, Level, VECTOR_ARGS, clobbered_by_calls};
use crate::builder::{CmpOp, Elem, Inst, KernelFn, Op, Ty, UnOp, Val};
use crate::error::CodegenError;

type Result<T> = std::result::Result<T, CodegenError>;

/// The function of a kernel.
pub(super) fn select(kernel: &KernelFn, level: Level) -> Result<MachineFunction> {
    if kernel.lanes != level.lanes() {
        let text = format!(
            "kernel `{}` was recorded for {} lanes, the emitter has {}",
            kernel.name,
            kernel.lanes,
            level.lanes()
        );
        return Err(CodegenError::Unsupported(text));
    }
    let n = kernel.types.len();
    let mut s = Select {
        kernel,
        level,
        f: MachineFunction { vector_bytes: 4 * kernel.lanes, ..MachineFunction::default() },
        values: vec![None; n],
        consts: vec![None; n],
        args: [VReg::invalid(); 3],
        pool: HashMap::new(),
        block: 0,
    };
    let entry = s.new_block(&[]);
    s.enter(entry);
    s.args = [(); 3].map(|()| s.fresh(RegClass::Int));
    // The arguments leave their registers here.
    let mut begin = Mach::new(Code::INVALID);
    for (v, reg) in s.args.into_iter().zip(GENERAL_ARGS) {
        begin = begin.writes(v, Place::Fixed(PReg::new(reg, RegClass::Int)));
    }
    s.push(begin);
    s.body(&kernel.body)?;
    s.push(Mach::new(Code::Retnq).flow(Flow::Return));
    s.leave();
    s.in_order();
    Ok(s.f)
}

pub(super) struct Select<'a> {
    pub(super) kernel: &'a KernelFn,
    pub(super) level: Level,
    pub(super) f: MachineFunction,
    values: Vec<Option<VReg>>,
    /// Bits of scalar constants, which are made where they are used.
    consts: Vec<Option<u64>>,
    pub(super) args: [VReg; 3],
    pool: HashMap<Vec<u8>, u32>,
    /// The open block.
    block: usize,
}

/// The registers' class of a type.
pub(super) fn class(ty: Ty, level: Level) -> RegClass {
    match ty {
        Ty::Bool => RegClass::Int,
        Ty::S(e) if e.is_float() => RegClass::Float,
        Ty::S(_) => RegClass::Int,
        Ty::V(_) => RegClass::Float,
        Ty::Mask(_) if level == Level::Avx512 => RegClass::Vector,
        Ty::Mask(_) => RegClass::Float,
    }
}

pub(super) fn is_float(ty: Ty) -> bool {
    matches!(ty, Ty::S(e) | Ty::V(e) if e.is_float())
}

/// The constant's value, extended from its type.
pub(super) fn extended(bits: u64, e: Elem) -> i64 {
    let unused = 64 - 8 * e.size_bytes() as u32;
    ((bits << unused) as i64) >> unused
}

/// The predicate of a comparison of floats: ordered and quiet, but `Ne`, which is true of NaN.
pub(super) fn float_predicate(op: CmpOp) -> u8 {
    match op {
        CmpOp::Eq => 0x00,
        CmpOp::Ne => 0x04,
        CmpOp::Lt | CmpOp::LtU => 0x11,
        CmpOp::Le | CmpOp::LeU => 0x12,
        CmpOp::Gt => 0x1e,
        CmpOp::Ge => 0x1d,
    }
}

/// The rounding of an operation, precision exceptions left out.
pub(super) fn rounding(op: UnOp) -> u8 {
    match op {
        UnOp::Floor => 9,
        UnOp::Ceil => 10,
        UnOp::Trunc => 11,
        _ => 8,
    }
}

impl Select<'_> {
    // ---- blocks and registers ----

    pub(super) fn fresh(&mut self, class: RegClass) -> VReg {
        self.f.n_vregs += 1;
        VReg::new(self.f.n_vregs - 1, class)
    }

    /// Registers of the types of values.
    fn fresh_all(&mut self, like: &[Val]) -> Vec<VReg> {
        like.iter().map(|&v| self.fresh(class(self.ty(v), self.level))).collect()
    }

    pub(super) fn int(&mut self) -> VReg {
        self.fresh(RegClass::Int)
    }

    pub(super) fn float(&mut self) -> VReg {
        self.fresh(RegClass::Float)
    }

    pub(super) fn push(&mut self, inst: Mach) {
        self.f.insts.push(inst);
    }

    fn new_block(&mut self, params: &[VReg]) -> usize {
        self.f.blocks.push(BlockData { params: params.to_vec(), ..BlockData::default() });
        self.f.blocks.len() - 1
    }

    fn enter(&mut self, block: usize) {
        self.block = block;
        self.f.blocks[block].first = self.f.insts.len();
    }

    fn leave(&mut self) {
        self.f.blocks[self.block].end = self.f.insts.len();
    }

    fn edge(&mut self, to: usize) {
        let from = self.block;
        self.f.blocks[from].succs.push(Block::new(to));
        self.f.blocks[to].preds.push(Block::new(from));
    }

    fn jump(&mut self, to: usize, handed: &[VReg]) {
        self.push(Mach::new(Code::Jmp_rel32_64).flow(Flow::Jump));
        self.f.blocks[self.block].handed = handed.to_vec();
        self.edge(to);
        self.leave();
    }

    fn branch(&mut self, code: Code, yes: usize, no: usize) {
        self.push(Mach::new(code).flow(Flow::Branch));
        self.edge(yes);
        self.edge(no);
        self.leave();
    }

    /// Numbers blocks in the order of their instructions.
    fn in_order(&mut self) {
        let mut order: Vec<usize> = (0..self.f.blocks.len()).collect();
        order.sort_by_key(|&b| self.f.blocks[b].first);
        let mut at = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, &old)| at[old] = new);
        let mut blocks: Vec<BlockData> = order.iter().map(|&b| std::mem::take(&mut self.f.blocks[b])).collect();
        for b in &mut blocks {
            b.succs.iter_mut().chain(&mut b.preds).for_each(|x| *x = Block::new(at[x.index()]));
        }
        self.f.blocks = blocks;
    }

    pub(super) fn unsupported<T>(&self, what: &str) -> Result<T> {
        let text = format!("kernel `{}` at {}: {what}", self.kernel.name, self.level.name());
        Err(CodegenError::Unsupported(text))
    }

    pub(super) fn ty(&self, v: Val) -> Ty {
        self.kernel.ty(v)
    }

    fn set(&mut self, v: Val, reg: VReg) {
        self.values[v.idx()] = Some(reg);
    }

    /// The register of a value; constants are made anew.
    pub(super) fn get(&mut self, v: Val) -> VReg {
        if let Some(reg) = self.values[v.idx()] {
            return reg;
        }
        let bits = self.consts[v.idx()].expect("the recorder defines every value before its use");
        match self.ty(v) {
            Ty::S(Elem::F32) => self.pooled(&(bits as u32).to_le_bytes(), Code::VEX_Vmovss_xmm_m32),
            Ty::S(Elem::F64) => self.pooled(&bits.to_le_bytes(), Code::VEX_Vmovsd_xmm_m64),
            Ty::S(e) => self.number(extended(bits, e)),
            _ => self.number((bits & 1) as i64),
        }
    }

    fn get_all(&mut self, vs: &[Val]) -> Vec<VReg> {
        vs.iter().map(|&v| self.get(v)).collect()
    }

    /// The value of an integer constant.
    pub(super) fn known(&self, v: Val) -> Option<i64> {
        let bits = self.consts[v.idx()]?;
        match self.ty(v) {
            Ty::S(e) if !e.is_float() => Some(extended(bits, e)),
            _ => None,
        }
    }

    pub(super) fn number(&mut self, value: i64) -> VReg {
        let r = self.int();
        let inst = match u32::try_from(value) {
            Ok(value) => Mach::new(Code::Mov_r32_imm32).def(r, Place::Any, Width::Dword).arg(Arg::Imm32(value as i32)),
            Err(_) if i32::try_from(value).is_ok() => {
                Mach::new(Code::Mov_rm64_imm32).def(r, Place::Any, Width::Qword).arg(Arg::Imm32(value as i32))
            }
            Err(_) => Mach::new(Code::Mov_r64_imm64).def(r, Place::Any, Width::Qword).arg(Arg::Imm64(value as u64)),
        };
        self.push(inst);
        r
    }

    /// The place of a constant in the pool, aligned to its size.
    pub(super) fn constant(&mut self, bytes: &[u8]) -> Arg {
        if let Some(at) = self.pool.get(bytes) {
            return Arg::Pool(*at);
        }
        let at = self.f.pool.len().next_multiple_of(bytes.len());
        self.f.pool.resize(at, 0);
        self.f.pool.extend_from_slice(bytes);
        self.pool.insert(bytes.to_vec(), at as u32);
        Arg::Pool(at as u32)
    }

    fn pooled(&mut self, bytes: &[u8], code: Code) -> VReg {
        let (r, at) = (self.float(), self.constant(bytes));
        self.push(Mach::new(code).def(r, Place::Low, Width::Xmm).arg(at));
        r
    }

    /// The same element in all lanes, as a constant operand.
    pub(super) fn lanes(&mut self, e: Elem, bits: u64) -> Arg {
        let element = &bits.to_le_bytes()[..e.size_bytes()];
        let bytes: Vec<u8> = element.iter().copied().cycle().take(self.f.vector_bytes).collect();
        self.constant(&bytes)
    }

    // ---- vectors ----

    pub(super) fn wide(&self) -> Width {
        match self.level {
            Level::Avx2 => Width::Ymm,
            Level::Avx512 => Width::Zmm,
        }
    }

    pub(super) fn half(&self) -> Width {
        match self.level {
            Level::Avx2 => Width::Xmm,
            Level::Avx512 => Width::Ymm,
        }
    }

    /// The code of a level.
    pub(super) fn pick(&self, avx2: Code, avx512: Code) -> Code {
        match self.level {
            Level::Avx2 => avx2,
            Level::Avx512 => avx512,
        }
    }

    pub(super) fn v1(&mut self, codes: (Code, Code), a: VReg) -> VReg {
        let (r, w) = (self.float(), self.wide());
        self.push(Mach::new(self.pick(codes.0, codes.1)).def(r, Place::Any, w).used(a, Place::Any, w));
        r
    }

    pub(super) fn v2(&mut self, codes: (Code, Code), a: VReg, b: VReg) -> VReg {
        let (r, w) = (self.float(), self.wide());
        let inst = Mach::new(self.pick(codes.0, codes.1));
        self.push(inst.def(r, Place::Any, w).used(a, Place::Any, w).used(b, Place::Any, w));
        r
    }

    pub(super) fn v2_const(&mut self, codes: (Code, Code), a: VReg, b: Arg) -> VReg {
        let (r, w) = (self.float(), self.wide());
        let inst = Mach::new(self.pick(codes.0, codes.1));
        self.push(inst.def(r, Place::Any, w).used(a, Place::Any, w).arg(b));
        r
    }

    pub(super) fn v2_imm(&mut self, code: Code, a: VReg, b: VReg, imm: u8) -> VReg {
        let (r, w) = (self.float(), self.wide());
        let inst = Mach::new(code).def(r, Place::Any, w).used(a, Place::Any, w).used(b, Place::Any, w);
        self.push(inst.arg(Arg::Imm8(imm)));
        r
    }

    pub(super) fn v1_imm(&mut self, codes: (Code, Code), a: VReg, imm: u8) -> VReg {
        let (r, w) = (self.float(), self.wide());
        let inst = Mach::new(self.pick(codes.0, codes.1)).def(r, Place::Any, w).used(a, Place::Any, w);
        self.push(inst.arg(Arg::Imm8(imm)));
        r
    }

    /// A vector constant.
    pub(super) fn vector(&mut self, e: Elem, bits: u64) -> VReg {
        let (r, w) = (self.float(), self.wide());
        let inst = if bits == 0 {
            let zero = self.pick(Code::VEX_Vxorps_ymm_ymm_ymmm256, Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32);
            Mach::new(zero).def(r, Place::Any, w).arg(Arg::Reg(0, w)).arg(Arg::Reg(0, w))
        } else {
            let load = self.pick(Code::VEX_Vmovups_ymm_ymmm256, Code::EVEX_Vmovups_zmm_k1z_zmmm512);
            let at = self.lanes(e, bits);
            Mach::new(load).def(r, Place::Any, w).arg(at)
        };
        self.push(inst);
        r
    }

    /// A vector constant of any lanes.
    pub(super) fn vector_of(&mut self, bytes: &[u8]) -> VReg {
        let (r, w) = (self.float(), self.wide());
        let load = self.pick(Code::VEX_Vmovups_ymm_ymmm256, Code::EVEX_Vmovups_zmm_k1z_zmmm512);
        let at = self.constant(bytes);
        self.push(Mach::new(load).def(r, Place::Any, w).arg(at));
        r
    }

    // ---- general registers ----

    pub(super) fn r2(&mut self, codes: (Code, Code), wide: bool, a: VReg, b: VReg) -> VReg {
        let r = self.int();
        let (code, w) = if wide { (codes.1, Width::Qword) } else { (codes.0, Width::Dword) };
        self.push(Mach::new(code).modified(r, a, Place::Any, w).used(b, Place::Any, w));
        r
    }

    pub(super) fn r2_imm(&mut self, codes: (Code, Code), wide: bool, a: VReg, imm: i32) -> VReg {
        let r = self.int();
        let (code, w) = if wide { (codes.1, Width::Qword) } else { (codes.0, Width::Dword) };
        self.push(Mach::new(code).modified(r, a, Place::Any, w).arg(Arg::Imm32(imm)));
        r
    }

    pub(super) fn r2_imm8(&mut self, codes: (Code, Code), wide: bool, a: VReg, imm: u8) -> VReg {
        let r = self.int();
        let (code, w) = if wide { (codes.1, Width::Qword) } else { (codes.0, Width::Dword) };
        self.push(Mach::new(code).modified(r, a, Place::Any, w).arg(Arg::Imm8(imm)));
        r
    }

    pub(super) fn neg(&mut self, a: VReg) -> VReg {
        let r = self.int();
        self.push(Mach::new(Code::Neg_rm64).modified(r, a, Place::Any, Width::Qword));
        r
    }

    /// `cond` by the flags of the instruction before: 1 or 0.
    pub(super) fn flag(&mut self, set: Code) -> VReg {
        let (byte, r) = (self.int(), self.int());
        self.push(Mach::new(set).def(byte, Place::Any, Width::Byte));
        self.push(Mach::new(Code::Movzx_r32_rm8).def(r, Place::Any, Width::Dword).used(byte, Place::Any, Width::Byte));
        r
    }

    /// Compares integers of a size; the flags say how.
    pub(super) fn compare(&mut self, e: Elem, a: Val, b: Val) {
        let small = self.known(b).and_then(|k| i32::try_from(k).ok());
        let (code, code_imm, w) = match e.size_bytes() {
            8 => (Code::Cmp_r64_rm64, Code::Cmp_rm64_imm32, Width::Qword),
            4 => (Code::Cmp_r32_rm32, Code::Cmp_rm32_imm32, Width::Dword),
            2 => (Code::Cmp_r16_rm16, Code::INVALID, Width::Word),
            _ => (Code::Cmp_r8_rm8, Code::INVALID, Width::Byte),
        };
        let a = self.get(a);
        match small {
            Some(k) if code_imm != Code::INVALID => {
                self.push(Mach::new(code_imm).used(a, Place::Any, w).arg(Arg::Imm32(k)));
            }
            _ => {
                let b = self.get(b);
                self.push(Mach::new(code).used(a, Place::Any, w).used(b, Place::Any, w));
            }
        }
    }

    /// `flags ? yes : no`.
    pub(super) fn choose(&mut self, code: Code, yes: VReg, no: VReg) -> VReg {
        let r = self.int();
        self.push(Mach::new(code).modified(r, no, Place::Any, Width::Qword).used(yes, Place::Any, Width::Qword));
        r
    }

    // ---- instructions ----

    fn body(&mut self, insts: &[Inst]) -> Result<()> {
        insts.iter().try_for_each(|inst| self.inst(inst))
    }

    fn inst(&mut self, inst: &Inst) -> Result<()> {
        match inst {
            Inst::Def { dst, op } => {
                let ty = self.ty(*dst);
                if let (Op::Const(bits), Ty::S(_) | Ty::Bool) = (op, ty) {
                    self.consts[dst.idx()] = Some(*bits);
                    return Ok(());
                }
                let value = self.op(ty, op)?;
                self.set(*dst, value);
                Ok(())
            }
            Inst::Store { addr, off, value } => self.store(*addr, *off, *value),
            Inst::StoreN { addr, off, value, n } => self.store_n(*addr, *off, *value, *n),
            Inst::StoreNarrow { to, addr, off, value } => self.store_narrow(*to, *addr, *off, *value),
            Inst::For { lo, hi, step, idx, init, params, body, next, results } => {
                self.for_loop(*lo, *hi, *step, *idx, init, params, body, next, results)
            }
            Inst::If { cond, then_body, then_vals, else_body, else_vals, results } => {
                self.if_else(*cond, [then_body, else_body], [then_vals, else_vals], results)
            }
            Inst::CallHost { table, slot, args, dst } => self.call(*table, *slot, args, *dst),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn for_loop(
        &mut self,
        lo: Val,
        hi: Val,
        step: i64,
        idx: Val,
        init: &[Val],
        params: &[Val],
        body: &[Inst],
        next: &[Val],
        results: &[Val],
    ) -> Result<()> {
        let Ok(step) = i32::try_from(step) else { return self.unsupported("a loop step beyond 32 bits") };
        let mut enter = vec![self.get(lo)];
        enter.extend(self.get_all(init));
        let end = if self.known(hi).is_some() { None } else { Some(self.get(hi)) };
        let carried = self.fresh_all(params);
        let counter = self.int();
        let mut head_params = vec![counter];
        head_params.extend(&carried);
        let (head, turn, exit) = (self.new_block(&head_params), self.new_block(&[]), self.new_block(&[]));
        self.jump(head, &enter);
        self.enter(head);
        self.set(idx, counter);
        for ((&p, &r), &v) in params.iter().zip(results).zip(&carried) {
            self.set(p, v);
            self.set(r, v);
        }
        match end {
            Some(end) => {
                let inst = Mach::new(Code::Cmp_r64_rm64).used(counter, Place::Any, Width::Qword);
                self.push(inst.used(end, Place::Any, Width::Qword));
            }
            None => self.compare(Elem::I64, idx, hi),
        }
        self.branch(Code::Jge_rel32_64, exit, turn);
        self.enter(turn);
        self.body(body)?;
        let after = self.int();
        self.push(Mach::new(Code::Lea_r64_m).def(after, Place::Any, Width::Qword).mem(counter, step));
        let mut again = vec![after];
        again.extend(self.get_all(next));
        self.jump(head, &again);
        self.enter(exit);
        Ok(())
    }

    fn if_else(&mut self, cond: Val, bodies: [&[Inst]; 2], vals: [&[Val]; 2], results: &[Val]) -> Result<()> {
        let cond = self.get(cond);
        let joined = self.fresh_all(results);
        let (yes, no, join) = (self.new_block(&[]), self.new_block(&[]), self.new_block(&joined));
        let test = Mach::new(Code::Test_rm32_r32).used(cond, Place::Any, Width::Dword);
        self.push(test.used(cond, Place::Any, Width::Dword));
        self.branch(Code::Je_rel32_64, no, yes);
        for (block, body, vals) in [(yes, bodies[0], vals[0]), (no, bodies[1], vals[1])] {
            self.enter(block);
            self.body(body)?;
            let handed = self.get_all(vals);
            self.jump(join, &handed);
        }
        self.enter(join);
        results.iter().zip(joined).for_each(|(&r, v)| self.set(r, v));
        Ok(())
    }

    fn call(&mut self, table: Val, slot: u32, args: &[Val], dst: Option<Val>) -> Result<()> {
        self.f.calls = true;
        let table = self.get(table);
        let callee = self.int();
        let load = Mach::new(Code::Mov_r64_rm64).def(callee, Place::Any, Width::Qword);
        self.push(load.mem(table, slot as i32 * 8));
        // `callee` in a register that no argument has.
        let mut inst = Mach::new(Code::Call_rm64).used(callee, Place::Fixed(PReg::new(0, RegClass::Int)), Width::Qword);
        let (mut general, mut vectors) = (GENERAL_ARGS.into_iter(), 0..VECTOR_ARGS);
        for &arg in args {
            let reg = match self.ty(arg) {
                Ty::S(e) if e.is_float() => vectors.next().map(|k| PReg::new(k, RegClass::Float)),
                _ => general.next().map(|k| PReg::new(k, RegClass::Int)),
            };
            let Some(reg) = reg else { return self.unsupported("a call with arguments on the stack") };
            let v = self.get(arg);
            inst = inst.reads(v, Place::Fixed(reg));
        }
        let mut clobbers = clobbered_by_calls(self.level);
        if let Some(dst) = dst {
            let class = class(self.ty(dst), self.level);
            let (v, reg) = (self.fresh(class), PReg::new(0, class));
            let mut without = PRegSet::empty();
            clobbers.into_iter().filter(|r| *r != reg).for_each(|r| without.add(r));
            clobbers = without;
            inst = inst.writes(v, Place::Fixed(reg));
            self.set(dst, v);
        }
        self.push(inst.clobbers(clobbers));
        Ok(())
    }

    // ---- memory ----

    fn store(&mut self, addr: Val, off: i32, value: Val) -> Result<()> {
        let (ty, v, addr) = (self.ty(value), self.get(value), self.get(addr));
        let inst = match ty {
            Ty::V(_) => {
                let code = self.pick(Code::VEX_Vmovups_ymmm256_ymm, Code::EVEX_Vmovups_zmmm512_k1z_zmm);
                Mach::new(code).mem(addr, off).used(v, Place::Any, self.wide())
            }
            Ty::S(Elem::F32) => Mach::new(Code::VEX_Vmovss_m32_xmm).mem(addr, off).used(v, Place::Low, Width::Xmm),
            Ty::S(Elem::F64) => Mach::new(Code::VEX_Vmovsd_m64_xmm).mem(addr, off).used(v, Place::Low, Width::Xmm),
            Ty::S(Elem::I64) => Mach::new(Code::Mov_rm64_r64).mem(addr, off).used(v, Place::Any, Width::Qword),
            Ty::S(Elem::I32) => Mach::new(Code::Mov_rm32_r32).mem(addr, off).used(v, Place::Any, Width::Dword),
            Ty::S(Elem::I16) => Mach::new(Code::Mov_rm16_r16).mem(addr, off).used(v, Place::Any, Width::Word),
            Ty::S(Elem::I8) => Mach::new(Code::Mov_rm8_r8).mem(addr, off).used(v, Place::Any, Width::Byte),
            Ty::Bool | Ty::Mask(_) => return self.unsupported("a store of a truth value"),
        };
        self.push(inst);
        Ok(())
    }

    pub(super) fn load(&mut self, ty: Ty, addr: Val, off: i32) -> Result<VReg> {
        let addr = self.get(addr);
        let r = self.fresh(class(ty, self.level));
        let inst = match ty {
            Ty::V(_) => {
                let code = self.pick(Code::VEX_Vmovups_ymm_ymmm256, Code::EVEX_Vmovups_zmm_k1z_zmmm512);
                Mach::new(code).def(r, Place::Any, self.wide())
            }
            Ty::S(Elem::F32) => Mach::new(Code::VEX_Vmovss_xmm_m32).def(r, Place::Low, Width::Xmm),
            Ty::S(Elem::F64) => Mach::new(Code::VEX_Vmovsd_xmm_m64).def(r, Place::Low, Width::Xmm),
            Ty::S(Elem::I64) => Mach::new(Code::Mov_r64_rm64).def(r, Place::Any, Width::Qword),
            Ty::S(Elem::I32) => Mach::new(Code::Mov_r32_rm32).def(r, Place::Any, Width::Dword),
            Ty::S(Elem::I16) => Mach::new(Code::Movzx_r32_rm16).def(r, Place::Any, Width::Dword),
            Ty::S(Elem::I8) => Mach::new(Code::Movzx_r32_rm8).def(r, Place::Any, Width::Dword),
            Ty::Bool | Ty::Mask(_) => return self.unsupported("a load of a truth value"),
        };
        self.push(inst.mem(addr, off));
        Ok(r)
    }

    /// A mask of the first lanes: `n` of them, or all where there are not as many.
    fn first_lanes(&mut self, e: Elem, n: Val) -> Result<VReg> {
        let lanes = (self.f.vector_bytes / e.size_bytes()) as i64;
        match self.level {
            Level::Avx512 => {
                let mask = self.fresh(RegClass::Vector);
                let bits = match self.known(n) {
                    Some(k) => {
                        let k = k.clamp(0, lanes);
                        self.number(if k == 64 { -1 } else { ((1u64 << k) - 1) as i64 })
                    }
                    None => {
                        let (n, most, ones) = (self.get(n), self.number(lanes), self.number(-1));
                        let inst = Mach::new(Code::Cmp_r64_rm64).used(n, Place::Any, Width::Qword);
                        self.push(inst.used(most, Place::Any, Width::Qword));
                        let n = self.choose(Code::Cmovg_r64_rm64, most, n);
                        let r = self.int();
                        let inst = Mach::new(Code::VEX_Bzhi_r64_rm64_r64).def(r, Place::Any, Width::Qword);
                        self.push(inst.used(ones, Place::Any, Width::Qword).used(n, Place::Any, Width::Qword));
                        r
                    }
                };
                let inst = Mach::new(Code::VEX_Kmovq_kr_r64).def(mask, Place::Any, Width::Mask);
                self.push(inst.used(bits, Place::Any, Width::Qword));
                Ok(mask)
            }
            Level::Avx2 if e.size_bytes() >= 4 => {
                let n = match self.known(n) {
                    Some(k) => self.number(k.clamp(0, lanes)),
                    None => {
                        let (n, most) = (self.get(n), self.number(lanes));
                        let inst = Mach::new(Code::Cmp_r64_rm64).used(n, Place::Any, Width::Qword);
                        self.push(inst.used(most, Place::Any, Width::Qword));
                        self.choose(Code::Cmovg_r64_rm64, most, n)
                    }
                };
                let e = if e.size_bytes() == 8 { Elem::I64 } else { Elem::I32 };
                let n = self.splat(e, n);
                let iota: Vec<u8> = (0..lanes).flat_map(|l| l.to_le_bytes()[..e.size_bytes()].to_vec()).collect();
                let iota = self.constant(&iota);
                let more = match e {
                    Elem::I64 => Code::VEX_Vpcmpgtq_ymm_ymm_ymmm256,
                    _ => Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256,
                };
                Ok(self.v2_const((more, Code::INVALID), n, iota))
            }
            Level::Avx2 => self.unsupported("a part of a vector of narrow integers"),
        }
    }

    pub(super) fn load_n(&mut self, e: Elem, addr: Val, off: i32, n: Val) -> Result<VReg> {
        if self.known(n).is_some_and(|k| k >= (self.f.vector_bytes / e.size_bytes()) as i64) {
            return self.load(Ty::V(e), addr, off);
        }
        let (mask, addr) = (self.first_lanes(e, n)?, self.get(addr));
        let (r, w) = (self.float(), self.wide());
        let inst = match (self.level, e.size_bytes()) {
            (Level::Avx2, 8) => Mach::new(Code::VEX_Vmaskmovpd_ymm_ymm_m256),
            (Level::Avx2, _) => Mach::new(Code::VEX_Vmaskmovps_ymm_ymm_m256),
            (Level::Avx512, 8) => Mach::new(Code::EVEX_Vmovupd_zmm_k1z_zmmm512),
            (Level::Avx512, 4) => Mach::new(Code::EVEX_Vmovups_zmm_k1z_zmmm512),
            (Level::Avx512, 2) => Mach::new(Code::EVEX_Vmovdqu16_zmm_k1z_zmmm512),
            (Level::Avx512, _) => Mach::new(Code::EVEX_Vmovdqu8_zmm_k1z_zmmm512),
        };
        let inst = inst.def(r, Place::Any, w);
        self.push(match self.level {
            Level::Avx2 => inst.used(mask, Place::Any, w).mem(addr, off),
            Level::Avx512 => inst.mem(addr, off).masked(mask, true),
        });
        Ok(r)
    }

    fn store_n(&mut self, addr: Val, off: i32, value: Val, n: Val) -> Result<()> {
        let Ty::V(e) = self.ty(value) else { return self.unsupported("a part of what is no vector") };
        if self.known(n).is_some_and(|k| k >= (self.f.vector_bytes / e.size_bytes()) as i64) {
            return self.store(addr, off, value);
        }
        let (mask, addr, v, w) = (self.first_lanes(e, n)?, self.get(addr), self.get(value), self.wide());
        let inst = match (self.level, e.size_bytes()) {
            (Level::Avx2, 8) => Mach::new(Code::VEX_Vmaskmovpd_m256_ymm_ymm),
            (Level::Avx2, _) => Mach::new(Code::VEX_Vmaskmovps_m256_ymm_ymm),
            (Level::Avx512, 8) => Mach::new(Code::EVEX_Vmovupd_zmmm512_k1z_zmm),
            (Level::Avx512, 4) => Mach::new(Code::EVEX_Vmovups_zmmm512_k1z_zmm),
            (Level::Avx512, 2) => Mach::new(Code::EVEX_Vmovdqu16_zmmm512_k1z_zmm),
            (Level::Avx512, _) => Mach::new(Code::EVEX_Vmovdqu8_zmmm512_k1z_zmm),
        };
        let inst = inst.mem(addr, off);
        self.push(match self.level {
            Level::Avx2 => inst.used(mask, Place::Any, w).used(v, Place::Any, w),
            Level::Avx512 => inst.used(v, Place::Any, w).masked(mask, false),
        });
        Ok(())
    }

    fn store_narrow(&mut self, to: Elem, addr: Val, off: i32, value: Val) -> Result<()> {
        let (v, addr) = (self.get(value), self.get(addr));
        let inst = match (self.level, to) {
            (Level::Avx512, Elem::I8) => {
                Mach::new(Code::EVEX_Vpmovdb_xmmm128_k1z_zmm).mem(addr, off).used(v, Place::Any, Width::Zmm)
            }
            (Level::Avx512, _) => {
                Mach::new(Code::EVEX_Vpmovdw_ymmm256_k1z_zmm).mem(addr, off).used(v, Place::Any, Width::Zmm)
            }
            (Level::Avx2, to) => {
                // The wanted bytes to the front of each half, the halves to the front.
                let size = to.size_bytes() as u8;
                let pattern = |i: u8| if i < 4 * size { i / size * 4 + i % size } else { 0x80 };
                let bytes: Vec<u8> = (0..16u8).chain(0..16).map(pattern).collect();
                let at = self.constant(&bytes);
                let packed = self.v2_const((Code::VEX_Vpshufb_ymm_ymm_ymmm256, Code::INVALID), v, at);
                let order: [u32; 8] = if size == 1 { [0, 4, 1, 1, 1, 1, 1, 1] } else { [0, 1, 4, 5, 2, 2, 2, 2] };
                let order: Vec<u8> = order.iter().flat_map(|i| i.to_le_bytes()).collect();
                let order = self.vector_of(&order);
                let packed = self.v2((Code::VEX_Vpermd_ymm_ymm_ymmm256, Code::INVALID), order, packed);
                let code = if size == 1 { Code::VEX_Vmovq_xmmm64_xmm } else { Code::VEX_Vmovups_xmmm128_xmm };
                Mach::new(code).mem(addr, off).used(packed, Place::Any, Width::Xmm)
            }
        };
        self.push(inst);
        Ok(())
    }
}
