//! The portable emitter: kernels to Cranelift IR, 128-bit vectors, x86-64 and aarch64.
//!
//! Structured loops test at their head, with the carried values as its parameters. Testing at the end would use each
//! carried value twice (next turn and exit), and Cranelift folds loads only into chains of values that are used once.
//! Cranelift's optimiser moves pure operations to their first use, which would run the sums of a register tile one after
//! the other instead of side by side (measured: half the speed); kernels that ask for it keep their recorded order.
//! `Min` and `Max` are written as compare and select in the form that x86 selects `minps`/`maxps` for.

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    AbiParam, BlockArg, Endianness, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Type, Value,
    types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::MachineCode;
use crate::builder::{BinOp, CmpOp, Cvt, Elem, Inst, KernelFn, Op, Reduce, Ty, UnOp, Val};
use crate::error::CodegenError;
use crate::isa::Isa;

/// Bytes per vector of this emitter.
const VECTOR_BYTES: usize = 16;

/// Compiles one kernel; `scratch` is reused between calls.
pub fn compile(
    kernel: &KernelFn,
    isa: &Isa,
    scratch: &mut FunctionBuilderContext,
    listing: bool,
) -> Result<MachineCode, CodegenError> {
    let mut ctx = lower(kernel, isa, scratch)?;
    ctx.set_disasm(listing);
    let fail = |text: String| CodegenError::Emit { kernel: kernel.name.clone(), text };
    let target_isa = if kernel.in_order { &isa.in_order_isa } else { &isa.target_isa };
    ctx.compile(&**target_isa, &mut ControlPlane::default()).map_err(|e| fail(e.inner.to_string()))?;
    let code = ctx.compiled_code().ok_or_else(|| fail("no code after compilation".into()))?;
    if let Some(reloc) = code.buffer.relocs().first() {
        return Err(fail(format!("the code refers outside itself: {reloc:?}")));
    }
    Ok(MachineCode {
        bytes: code.code_buffer().to_vec(),
        align: (code.buffer.alignment as usize).max(VECTOR_BYTES),
        listing: code.vcode.clone(),
    })
}

/// The kernel as a Cranelift function, not yet compiled.
pub fn lower(kernel: &KernelFn, isa: &Isa, scratch: &mut FunctionBuilderContext) -> Result<Context, CodegenError> {
    if kernel.lanes * 4 != VECTOR_BYTES {
        let text = format!("kernel `{}` was recorded for {} lanes; this emitter has 4", kernel.name, kernel.lanes);
        return Err(CodegenError::Unsupported(text));
    }
    let mut ctx = Context::new();
    ctx.func.signature = Signature::new(isa.target_isa.default_call_conv());
    for _ in 0..3 {
        ctx.func.signature.params.push(AbiParam::new(types::I64));
    }
    let mut fb = FunctionBuilder::new(&mut ctx.func, scratch);
    let entry = fb.create_block();
    fb.append_block_params_for_function_params(entry);
    fb.switch_to_block(entry);
    let args = [fb.block_params(entry)[0], fb.block_params(entry)[1], fb.block_params(entry)[2]];
    let n = kernel.types.len();
    let mut emitter = Emitter { kernel, isa, fb, args, values: vec![None; n], consts: vec![None; n] };
    emitter.body(&kernel.body);
    let mut fb = emitter.fb;
    fb.ins().return_(&[]);
    fb.seal_all_blocks();
    fb.finalize(isa.target_isa.frontend_config());
    Ok(ctx)
}

struct Emitter<'a> {
    kernel: &'a KernelFn,
    isa: &'a Isa,
    fb: FunctionBuilder<'a>,
    args: [Value; 3],
    values: Vec<Option<Value>>,
    /// Integer value of scalar constants.
    consts: Vec<Option<i64>>,
}

fn scalar_type(e: Elem) -> Type {
    match e {
        Elem::I8 => types::I8,
        Elem::I16 => types::I16,
        Elem::I32 => types::I32,
        Elem::I64 => types::I64,
        Elem::F32 => types::F32,
        Elem::F64 => types::F64,
    }
}

fn vector_type(e: Elem) -> Type {
    match e {
        Elem::I8 => types::I8X16,
        Elem::I16 => types::I16X8,
        Elem::I32 => types::I32X4,
        Elem::I64 => types::I64X2,
        Elem::F32 => types::F32X4,
        Elem::F64 => types::F64X2,
    }
}

fn clif_type(ty: Ty) -> Type {
    match ty {
        Ty::Bool => types::I8,
        Ty::S(e) => scalar_type(e),
        Ty::V(e) => vector_type(e),
        Ty::Mask(e) => vector_type(e.as_int()),
    }
}

/// Unaligned access that cannot fault: kernels stay inside their buffers by construction.
fn plain() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

fn block_args(values: &[Value]) -> Vec<BlockArg> {
    values.iter().map(|&v| BlockArg::Value(v)).collect()
}

impl Emitter<'_> {
    fn get(&self, v: Val) -> Value {
        self.values[v.idx()].expect("the recorder defines every value before its use")
    }

    fn get_all(&self, vs: &[Val]) -> Vec<Value> {
        vs.iter().map(|&v| self.get(v)).collect()
    }

    fn ty(&self, v: Val) -> Ty {
        self.kernel.ty(v)
    }

    fn set(&mut self, v: Val, value: Value) {
        self.values[v.idx()] = Some(value);
    }

    fn body(&mut self, insts: &[Inst]) {
        for inst in insts {
            self.inst(inst);
        }
    }

    fn inst(&mut self, inst: &Inst) {
        match inst {
            Inst::Def { dst, op } => {
                if let (Op::Const(bits), Ty::S(e)) = (op, self.ty(*dst)) {
                    let unused = 64 - 8 * e.size_bytes() as u32;
                    self.consts[dst.idx()] = Some(((bits << unused) as i64) >> unused);
                }
                let value = self.op(self.ty(*dst), op);
                self.set(*dst, value);
            }
            Inst::Store { addr, off, value } => {
                let (a, v) = (self.get(*addr), self.get(*value));
                self.fb.ins().store(plain(), v, a, *off);
            }
            Inst::StoreN { addr, off, value, n } => self.store_n(*addr, *off, *value, *n),
            Inst::StoreNarrow { to, addr, off, value } => {
                let (a, v) = (self.get(*addr), self.get(*value));
                let v = self.recast(types::I8X16, v);
                let (bytes, wide) = match to {
                    Elem::I8 => ([0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12], types::I32X4),
                    _ => ([0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13], types::I64X2),
                };
                let packed = self.shuffle_bytes(v, v, &bytes);
                let packed = self.recast(wide, packed);
                let low = self.fb.ins().extractlane(packed, 0u8);
                self.fb.ins().store(plain(), low, a, *off);
            }
            Inst::For { lo, hi, step, idx, init, params, body, next, results } => {
                self.for_loop(*lo, *hi, *step, *idx, init, params, body, next, results);
            }
            Inst::If { cond, then_body, then_vals, else_body, else_vals, results } => {
                self.if_else(*cond, then_body, then_vals, else_body, else_vals, results);
            }
            Inst::CallHost { table, slot, args, dst } => {
                let mut sig = Signature::new(self.isa.target_isa.default_call_conv());
                for &arg in args {
                    sig.params.push(AbiParam::new(clif_type(self.ty(arg))));
                }
                if let Some(dst) = dst {
                    sig.returns.push(AbiParam::new(clif_type(self.ty(*dst))));
                }
                let sig = self.fb.import_signature(sig);
                let table = self.get(*table);
                let args = self.get_all(args);
                let callee = self.fb.ins().load(types::I64, plain(), table, *slot as i32 * 8);
                let call = self.fb.ins().call_indirect(sig, callee, &args);
                if let Some(dst) = dst {
                    let value = self.fb.inst_results(call)[0];
                    self.set(*dst, value);
                }
            }
        }
    }

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
    ) {
        let (lo, hi, init) = (self.get(lo), self.get(hi), self.get_all(init));
        let (head, turn, exit) = (self.fb.create_block(), self.fb.create_block(), self.fb.create_block());
        let head_idx = self.fb.append_block_param(head, types::I64);
        for (&p, &r) in params.iter().zip(results) {
            let ty = clif_type(self.ty(p));
            let value = self.fb.append_block_param(head, ty);
            self.set(p, value);
            self.set(r, value);
        }
        let mut enter = vec![lo];
        enter.extend(&init);
        self.fb.ins().jump(head, &block_args(&enter));
        self.fb.switch_to_block(head);
        self.set(idx, head_idx);
        let turns = self.fb.ins().icmp(IntCC::SignedLessThan, head_idx, hi);
        self.fb.ins().brif(turns, turn, &[], exit, &[]);
        self.fb.switch_to_block(turn);
        self.body(body);
        let mut again = vec![self.fb.ins().iadd_imm_s(head_idx, step)];
        again.extend(self.get_all(next));
        self.fb.ins().jump(head, &block_args(&again));
        self.fb.switch_to_block(exit);
    }

    fn if_else(
        &mut self,
        cond: Val,
        then_body: &[Inst],
        then_vals: &[Val],
        else_body: &[Inst],
        else_vals: &[Val],
        results: &[Val],
    ) {
        let cond = self.get(cond);
        let (yes, no, join) = (self.fb.create_block(), self.fb.create_block(), self.fb.create_block());
        self.fb.ins().brif(cond, yes, &[], no, &[]);
        for (block, body, vals) in [(yes, then_body, then_vals), (no, else_body, else_vals)] {
            self.fb.switch_to_block(block);
            self.body(body);
            let vals = self.get_all(vals);
            self.fb.ins().jump(join, &block_args(&vals));
        }
        for &r in results {
            let ty = clif_type(self.ty(r));
            let value = self.fb.append_block_param(join, ty);
            self.set(r, value);
        }
        self.fb.switch_to_block(join);
    }

    fn op(&mut self, ty: Ty, op: &Op) -> Value {
        match op {
            Op::Begin => self.args[1],
            Op::End => self.args[2],
            Op::Buf(n) => self.fb.ins().load(types::I64, plain().with_readonly(), self.args[0], *n as i32 * 8),
            Op::Const(bits) => self.constant(ty, *bits),
            Op::Un(op, a) => {
                let a = self.get(*a);
                self.un(ty, *op, a)
            }
            Op::Bin(op, a, b) => {
                let known_divisor = self.consts[b.idx()];
                let (a, b) = (self.get(*a), self.get(*b));
                match op {
                    BinOp::Div | BinOp::Rem | BinOp::DivU | BinOp::RemU if !is_float(ty) => {
                        self.int_division(ty, *op, a, b, known_divisor)
                    }
                    _ => self.bin(ty, *op, a, b),
                }
            }
            Op::Fma(a, b, c) => {
                let (a, b, c) = (self.get(*a), self.get(*b), self.get(*c));
                if self.isa.target.fused {
                    self.fb.ins().fma(a, b, c)
                } else {
                    let product = self.fb.ins().fmul(a, b);
                    self.fb.ins().fadd(product, c)
                }
            }
            Op::Cmp(op, a, b) => {
                let float = is_float(self.ty(*a));
                let (a, b) = (self.get(*a), self.get(*b));
                self.compare(*op, float, a, b)
            }
            Op::Select(cond, a, b) => {
                let by_lane = matches!(self.ty(*cond), Ty::Mask(_));
                let (cond, a, b) = (self.get(*cond), self.get(*a), self.get(*b));
                if by_lane {
                    let cond = self.recast(clif_type(ty), cond);
                    self.fb.ins().bitselect(cond, a, b)
                } else {
                    self.fb.ins().select(cond, a, b)
                }
            }
            Op::Splat(a) => {
                let a = self.get(*a);
                self.fb.ins().splat(clif_type(ty), a)
            }
            Op::Cvt(kind, a) => {
                let from = self.ty(*a);
                let a = self.get(*a);
                self.convert(*kind, from, ty, a)
            }
            Op::DemoteTwo(low, high) => {
                let (low, high) = (self.get(*low), self.get(*high));
                let (low, high) = (self.fb.ins().fvdemote(low), self.fb.ins().fvdemote(high));
                self.shuffle_lanes(types::F32X4, low, high, &[0, 1, 4, 5])
            }
            Op::Load { addr, off } => {
                let a = self.get(*addr);
                self.fb.ins().load(clif_type(ty), plain(), a, *off)
            }
            Op::LoadSplat { addr, off } => {
                let a = self.get(*addr);
                let vector = clif_type(ty);
                // As a float, whatever it is: x86 broadcasts those from memory in one instruction.
                let float = match vector.lane_bits() {
                    32 => types::F32X4,
                    64 => types::F64X2,
                    _ => vector,
                };
                let scalar = self.fb.ins().load(float.lane_type(), plain(), a, *off);
                let lanes = self.fb.ins().splat(float, scalar);
                if float == vector { lanes } else { self.recast(vector, lanes) }
            }
            Op::LoadN { addr, off, n } => self.load_n(ty, *addr, *off, *n),
            Op::LoadWiden { from, signed, addr, off } => {
                let a = self.get(*addr);
                match (from, signed) {
                    (Elem::I16, true) => self.fb.ins().sload16x4(plain(), a, *off),
                    (Elem::I16, false) => self.fb.ins().uload16x4(plain(), a, *off),
                    (_, signed) => {
                        let four = self.fb.ins().load(types::I32, plain(), a, *off);
                        let four = self.fb.ins().scalar_to_vector(types::I32X4, four);
                        let four = self.recast(types::I8X16, four);
                        if *signed {
                            let half = self.fb.ins().swiden_low(four);
                            self.fb.ins().swiden_low(half)
                        } else {
                            let half = self.fb.ins().uwiden_low(four);
                            self.fb.ins().uwiden_low(half)
                        }
                    }
                }
            }
            Op::ExtractLane(v, lane) => {
                let v = self.get(*v);
                self.fb.ins().extractlane(v, *lane)
            }
            Op::InsertLane(v, lane, s) => {
                let (v, s) = (self.get(*v), self.get(*s));
                self.fb.ins().insertlane(v, s, *lane)
            }
            Op::Shuffle(a, b, idx) => {
                let (a, b) = (self.get(*a), self.get(*b));
                self.shuffle_lanes(clif_type(ty), a, b, idx)
            }
            Op::HReduce(op, v) => {
                let vector = self.ty(*v);
                let v = self.get(*v);
                self.horizontal(vector, *op, v)
            }
            Op::DotU8I8 { acc, a, b } => {
                let (acc, a, b) = (self.get(*acc), self.get(*a), self.get(*b));
                let (a_low, a_high) = (self.fb.ins().uwiden_low(a), self.fb.ins().uwiden_high(a));
                let (b_low, b_high) = (self.fb.ins().swiden_low(b), self.fb.ins().swiden_high(b));
                let low = self.multiply_add_pairs(a_low, b_low);
                let high = self.multiply_add_pairs(a_high, b_high);
                let sum = self.fb.ins().iadd_pairwise(low, high);
                self.fb.ins().iadd(acc, sum)
            }
            Op::DotI16 { acc, a, b } => {
                let (acc, a, b) = (self.get(*acc), self.get(*a), self.get(*b));
                let sum = self.multiply_add_pairs(a, b);
                self.fb.ins().iadd(acc, sum)
            }
            Op::StackAddr { len_bytes } => {
                let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, *len_bytes, 4);
                let slot = self.fb.create_sized_stack_slot(slot);
                self.fb.ins().stack_addr(types::I64, slot, 0)
            }
        }
    }

    /// `I16X8` products, neighbours added, as `I32X4`; in the form that x86 selects `pmaddwd` for.
    fn multiply_add_pairs(&mut self, a: Value, b: Value) -> Value {
        let (a_low, b_low) = (self.fb.ins().swiden_low(a), self.fb.ins().swiden_low(b));
        let low = self.fb.ins().imul(a_low, b_low);
        let (a_high, b_high) = (self.fb.ins().swiden_high(a), self.fb.ins().swiden_high(b));
        let high = self.fb.ins().imul(a_high, b_high);
        self.fb.ins().iadd_pairwise(low, high)
    }

    fn constant(&mut self, ty: Ty, bits: u64) -> Value {
        match ty {
            Ty::Bool => self.fb.ins().iconst(types::I8, (bits & 1) as i64),
            Ty::S(Elem::F32) => self.fb.ins().f32const(f32::from_bits(bits as u32)),
            Ty::S(Elem::F64) => self.fb.ins().f64const(f64::from_bits(bits)),
            Ty::S(e) => {
                let mask = if e.size_bytes() == 8 { u64::MAX } else { (1 << (8 * e.size_bytes())) - 1 };
                self.fb.ins().iconst(scalar_type(e), (bits & mask) as i64)
            }
            Ty::V(e) | Ty::Mask(e) => {
                let lane = &bits.to_le_bytes()[..e.size_bytes()];
                let data: Vec<u8> = lane.iter().copied().cycle().take(VECTOR_BYTES).collect();
                let constant = self.fb.func.dfg.constants.insert(data.into());
                self.fb.ins().vconst(clif_type(ty), constant)
            }
        }
    }

    /// Reinterprets a vector (no instruction).
    fn recast(&mut self, to: Type, v: Value) -> Value {
        if self.fb.func.dfg.value_type(v) == to {
            return v;
        }
        self.fb.ins().bitcast(to, MemFlagsData::new().with_endianness(Endianness::Little), v)
    }

    fn shuffle_bytes(&mut self, a: Value, b: Value, idx: &[u8; VECTOR_BYTES]) -> Value {
        let imm = self.fb.func.dfg.immediates.push(idx.to_vec().into());
        self.fb.ins().shuffle(a, b, imm)
    }

    fn shuffle_lanes(&mut self, ty: Type, a: Value, b: Value, idx: &[u8]) -> Value {
        let size = VECTOR_BYTES / idx.len();
        let mut bytes = [0; VECTOR_BYTES];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = idx[i / size] * size as u8 + (i % size) as u8;
        }
        let (a, b) = (self.recast(types::I8X16, a), self.recast(types::I8X16, b));
        let v = self.shuffle_bytes(a, b, &bytes);
        self.recast(ty, v)
    }

    fn un(&mut self, ty: Ty, op: UnOp, a: Value) -> Value {
        let float = is_float(ty);
        match op {
            UnOp::Neg if float => self.fb.ins().fneg(a),
            UnOp::Neg => self.fb.ins().ineg(a),
            UnOp::Abs if float => self.fb.ins().fabs(a),
            UnOp::Abs => self.fb.ins().iabs(a),
            UnOp::Not if ty == Ty::Bool => self.fb.ins().bxor_imm_u(a, 1),
            UnOp::Not => self.fb.ins().bnot(a),
            UnOp::Sqrt => self.fb.ins().sqrt(a),
            UnOp::Floor => self.fb.ins().floor(a),
            UnOp::Ceil => self.fb.ins().ceil(a),
            UnOp::Trunc => self.fb.ins().trunc(a),
            UnOp::Nearest => self.fb.ins().nearest(a),
        }
    }

    fn bin(&mut self, ty: Ty, op: BinOp, a: Value, b: Value) -> Value {
        let float = is_float(ty);
        match op {
            BinOp::Add if float => self.fb.ins().fadd(a, b),
            BinOp::Add => self.fb.ins().iadd(a, b),
            BinOp::Sub if float => self.fb.ins().fsub(a, b),
            BinOp::Sub => self.fb.ins().isub(a, b),
            BinOp::Mul if float => self.fb.ins().fmul(a, b),
            BinOp::Mul => self.fb.ins().imul(a, b),
            BinOp::Div | BinOp::Rem | BinOp::DivU | BinOp::RemU => self.fb.ins().fdiv(a, b),
            BinOp::Min => self.choose(ty, CmpOp::Lt, (a, b), a, b),
            BinOp::Max => self.choose(ty, CmpOp::Lt, (b, a), a, b),
            BinOp::MinNan => self.fb.ins().fmin(a, b),
            BinOp::MaxNan => self.fb.ins().fmax(a, b),
            BinOp::MinU => self.choose(ty, CmpOp::LtU, (a, b), a, b),
            BinOp::MaxU => self.choose(ty, CmpOp::LtU, (b, a), a, b),
            BinOp::And => self.fb.ins().band(a, b),
            BinOp::Or => self.fb.ins().bor(a, b),
            BinOp::Xor => self.fb.ins().bxor(a, b),
            BinOp::Shl => self.fb.ins().ishl(a, b),
            BinOp::ShrS => self.fb.ins().sshr(a, b),
            BinOp::ShrU => self.fb.ins().ushr(a, b),
        }
    }

    /// `cmp(pair) ? yes : no`.
    fn choose(&mut self, ty: Ty, op: CmpOp, pair: (Value, Value), yes: Value, no: Value) -> Value {
        let cond = self.compare(op, is_float(ty), pair.0, pair.1);
        if matches!(ty, Ty::V(_)) {
            let cond = self.recast(clif_type(ty), cond);
            self.fb.ins().bitselect(cond, yes, no)
        } else {
            self.fb.ins().select(cond, yes, no)
        }
    }

    fn compare(&mut self, op: CmpOp, float: bool, a: Value, b: Value) -> Value {
        if float {
            let cc = match op {
                CmpOp::Eq => FloatCC::Equal,
                CmpOp::Ne => FloatCC::NotEqual,
                CmpOp::Lt | CmpOp::LtU => FloatCC::LessThan,
                CmpOp::Le | CmpOp::LeU => FloatCC::LessThanOrEqual,
                CmpOp::Gt => FloatCC::GreaterThan,
                CmpOp::Ge => FloatCC::GreaterThanOrEqual,
            };
            self.fb.ins().fcmp(cc, a, b)
        } else {
            let cc = match op {
                CmpOp::Eq => IntCC::Equal,
                CmpOp::Ne => IntCC::NotEqual,
                CmpOp::Lt => IntCC::SignedLessThan,
                CmpOp::Le => IntCC::SignedLessThanOrEqual,
                CmpOp::Gt => IntCC::SignedGreaterThan,
                CmpOp::Ge => IntCC::SignedGreaterThanOrEqual,
                CmpOp::LtU => IntCC::UnsignedLessThan,
                CmpOp::LeU => IntCC::UnsignedLessThanOrEqual,
            };
            self.fb.ins().icmp(cc, a, b)
        }
    }

    /// Scalar division that never traps: a zero divisor gives 0, `MIN / -1` wraps.
    fn int_division(&mut self, ty: Ty, op: BinOp, a: Value, b: Value, known: Option<i64>) -> Value {
        let clif = clif_type(ty);
        let divide = |s: &mut Self, a: Value, b: Value| match op {
            BinOp::Div => s.fb.ins().sdiv(a, b),
            BinOp::Rem => s.fb.ins().srem(a, b),
            BinOp::DivU => s.fb.ins().udiv(a, b),
            _ => s.fb.ins().urem(a, b),
        };
        if known.is_some_and(|k| k != 0 && k != -1) {
            return divide(self, a, b);
        }
        let zero = self.fb.ins().iconst(clif, 0);
        let one = self.fb.ins().iconst(clif, 1);
        let by_zero = self.fb.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let mut divisor = self.fb.ins().select(by_zero, one, b);
        if matches!(op, BinOp::DivU | BinOp::RemU) {
            let q = divide(self, a, divisor);
            return self.fb.ins().select(by_zero, zero, q);
        }
        let by_minus_one = self.fb.ins().icmp_imm_s(IntCC::Equal, b, -1);
        divisor = self.fb.ins().select(by_minus_one, one, divisor);
        let q = divide(self, a, divisor);
        let special = if op == BinOp::Div { self.fb.ins().ineg(a) } else { zero };
        let q = self.fb.ins().select(by_minus_one, special, q);
        self.fb.ins().select(by_zero, zero, q)
    }

    fn convert(&mut self, kind: Cvt, from: Ty, to: Ty, a: Value) -> Value {
        let target = clif_type(to);
        match kind {
            Cvt::SignExtend => self.fb.ins().sextend(target, a),
            Cvt::ZeroExtend if target == types::I8 => a,
            Cvt::ZeroExtend => self.fb.ins().uextend(target, a),
            Cvt::Truncate => self.fb.ins().ireduce(target, a),
            Cvt::FromSint => self.fb.ins().fcvt_from_sint(target, a),
            Cvt::FromUint => self.fb.ins().fcvt_from_uint(target, a),
            Cvt::ToSintSat => self.fb.ins().fcvt_to_sint_sat(target, a),
            Cvt::ToUintSat => self.fb.ins().fcvt_to_uint_sat(target, a),
            Cvt::Promote => self.fb.ins().fpromote(target, a),
            Cvt::Demote => self.fb.ins().fdemote(target, a),
            Cvt::WidenLow if is_float(from) => self.fb.ins().fvpromote_low(a),
            Cvt::WidenLow => self.fb.ins().swiden_low(a),
            Cvt::WidenHigh if is_float(from) => {
                let high = self.shuffle_lanes(types::F32X4, a, a, &[2, 3, 2, 3]);
                self.fb.ins().fvpromote_low(high)
            }
            Cvt::WidenHigh => self.fb.ins().swiden_high(a),
            Cvt::Bits => self.recast(target, a),
        }
    }

    fn horizontal(&mut self, vector: Ty, op: Reduce, v: Value) -> Value {
        let ty = clif_type(vector);
        let lanes = ty.lane_count() as u8;
        let mut v = v;
        let mut width = lanes / 2;
        while width > 0 {
            let idx: Vec<u8> = (0..lanes).map(|i| if i < width { i + width } else { i }).collect();
            let upper = self.shuffle_lanes(ty, v, v, &idx);
            v = self.bin(vector, op.bin(), v, upper);
            width /= 2;
        }
        self.fb.ins().extractlane(v, 0u8)
    }

    /// First `count` lanes, known when compiling, without branches.
    fn load_some(&mut self, ty: Type, addr: Value, off: i32, count: usize) -> Value {
        let lane = ty.lane_type();
        let size = lane.bytes() as usize;
        if count * size >= VECTOR_BYTES {
            return self.fb.ins().load(ty, plain(), addr, off);
        }
        let zero = self.fb.func.dfg.constants.insert(vec![0u8; VECTOR_BYTES].into());
        let mut v = self.fb.ins().vconst(ty, zero);
        let mut done = 0;
        if count * size >= 8 {
            let half = self.fb.ins().load(types::F64, plain(), addr, off);
            let wide = self.recast(types::F64X2, v);
            let wide = self.fb.ins().insertlane(wide, half, 0u8);
            v = self.recast(ty, wide);
            done = 8 / size;
        }
        for i in done..count {
            let s = self.fb.ins().load(lane, plain(), addr, off + (i * size) as i32);
            v = self.fb.ins().insertlane(v, s, i as u8);
        }
        v
    }

    fn store_some(&mut self, ty: Type, addr: Value, off: i32, v: Value, count: usize) {
        let size = ty.lane_type().bytes() as usize;
        if count * size >= VECTOR_BYTES {
            self.fb.ins().store(plain(), v, addr, off);
            return;
        }
        let mut done = 0;
        if count * size >= 8 {
            let wide = self.recast(types::F64X2, v);
            let half = self.fb.ins().extractlane(wide, 0u8);
            self.fb.ins().store(plain(), half, addr, off);
            done = 8 / size;
        }
        for i in done..count {
            let s = self.fb.ins().extractlane(v, i as u8);
            self.fb.ins().store(plain(), s, addr, off + (i * size) as i32);
        }
    }

    fn load_n(&mut self, ty: Ty, addr: Val, off: i32, n: Val) -> Value {
        let ty = clif_type(ty);
        let addr = self.get(addr);
        if let Some(k) = self.consts[n.idx()] {
            return self.load_some(ty, addr, off, k.max(0) as usize);
        }
        let n = self.get(n);
        let lane = ty.lane_type();
        let lanes = ty.lane_count();
        let join = self.fb.create_block();
        let result = self.fb.append_block_param(join, ty);
        let (full, part) = (self.fb.create_block(), self.fb.create_block());
        let all = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, n, i64::from(lanes));
        self.fb.ins().brif(all, full, &[], part, &[]);
        self.fb.switch_to_block(full);
        let v = self.fb.ins().load(ty, plain(), addr, off);
        self.fb.ins().jump(join, &block_args(&[v]));
        self.fb.switch_to_block(part);
        let zero = self.fb.func.dfg.constants.insert(vec![0u8; VECTOR_BYTES].into());
        let mut v = self.fb.ins().vconst(ty, zero);
        for i in 0..lanes - 1 {
            let take = self.fb.create_block();
            let more = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThan, n, i64::from(i));
            self.fb.ins().brif(more, take, &[], join, &block_args(&[v]));
            self.fb.switch_to_block(take);
            let s = self.fb.ins().load(lane, plain(), addr, off + (i * lane.bytes()) as i32);
            v = self.fb.ins().insertlane(v, s, i as u8);
        }
        self.fb.ins().jump(join, &block_args(&[v]));
        self.fb.switch_to_block(join);
        result
    }

    fn store_n(&mut self, addr: Val, off: i32, value: Val, n: Val) {
        let ty = clif_type(self.ty(value));
        let (addr, v) = (self.get(addr), self.get(value));
        if let Some(k) = self.consts[n.idx()] {
            self.store_some(ty, addr, off, v, k.max(0) as usize);
            return;
        }
        let n = self.get(n);
        let lanes = ty.lane_count();
        let join = self.fb.create_block();
        let (full, part) = (self.fb.create_block(), self.fb.create_block());
        let all = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, n, i64::from(lanes));
        self.fb.ins().brif(all, full, &[], part, &[]);
        self.fb.switch_to_block(full);
        self.fb.ins().store(plain(), v, addr, off);
        self.fb.ins().jump(join, &[]);
        self.fb.switch_to_block(part);
        for i in 0..lanes - 1 {
            let take = self.fb.create_block();
            let more = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThan, n, i64::from(i));
            self.fb.ins().brif(more, take, &[], join, &[]);
            self.fb.switch_to_block(take);
            let s = self.fb.ins().extractlane(v, i as u8);
            self.fb.ins().store(plain(), s, addr, off + (i * ty.lane_type().bytes()) as i32);
        }
        self.fb.ins().jump(join, &[]);
        self.fb.switch_to_block(join);
    }
}

fn is_float(ty: Ty) -> bool {
    matches!(ty, Ty::S(e) | Ty::V(e) if e.is_float())
}
