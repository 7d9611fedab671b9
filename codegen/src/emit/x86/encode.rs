//! From allocated registers to bytes: moves, frame, jumps, constants behind the code.

use iced_x86::{Code, Encoder, Instruction, OpKind, Register};
use regalloc2::{Allocation, AllocationKind, Block, Edit, Function, Inst, InstOrEdit, Output, PReg, RegClass};

use super::mir::{Arg, Flow, Mach, MachineFunction, Width};
use super::{CALLEE_SAVED, FRAME_ALIGN, Level};
use crate::emit::MachineCode;
use crate::error::CodegenError;

/// The bytes of a function.
pub(super) fn encode(f: &MachineFunction, out: &Output, level: Level, name: &str) -> Result<MachineCode, CodegenError> {
    let saved: Vec<usize> = CALLEE_SAVED.into_iter().filter(|r| is_used(f, out, *r)).collect();
    let spilled = (out.num_spillslots * 8) as u32;
    let mut e = Emit {
        f,
        level,
        name,
        encoder: Encoder::new(64),
        at: 0,
        starts: vec![0; f.blocks.len()],
        jumps: Vec::new(),
        pooled: Vec::new(),
        framed: f.calls || f.frame > 0 || spilled > 0,
        blocks_at: spilled.next_multiple_of(FRAME_ALIGN),
        saved,
    };
    e.prologue()?;
    for b in 0..f.blocks.len() {
        e.starts[b] = e.at;
        for step in out.block_insts_and_edits(f, Block::new(b)) {
            match step {
                InstOrEdit::Edit(Edit::Move { from, to }) => e.moved(*from, *to)?,
                InstOrEdit::Inst(i) => e.inst(b, i, out.inst_allocs(i))?,
            }
        }
    }
    let Emit { mut encoder, starts, jumps, pooled, .. } = e;
    let mut bytes = encoder.take_buffer();
    let set = |bytes: &mut [u8], at: usize, value: i64| -> Result<(), CodegenError> {
        let fail =
            |_| CodegenError::Emit { kernel: name.to_owned(), text: "the code is too long for its jumps".into() };
        bytes[at..at + 4].copy_from_slice(&i32::try_from(value).map_err(fail)?.to_le_bytes());
        Ok(())
    };
    for (end, block) in jumps {
        set(&mut bytes, end - 4, starts[block] as i64 - end as i64)?;
    }
    if !f.pool.is_empty() {
        let pool = bytes.len().next_multiple_of(POOL_ALIGN);
        bytes.resize(pool, 0xcc);
        bytes.extend_from_slice(&f.pool);
        for (at, end, offset) in pooled {
            set(&mut bytes, at, (pool + offset) as i64 - end as i64)?;
        }
    }
    Ok(MachineCode { bytes, align: POOL_ALIGN, listing: None })
}

/// Constants are vectors of up to 64 bytes.
const POOL_ALIGN: usize = 64;

fn is_used(f: &MachineFunction, out: &Output, reg: usize) -> bool {
    let is = |a: &Allocation| a.as_reg() == Some(PReg::new(reg, RegClass::Int));
    (0..f.num_insts()).any(|i| out.inst_allocs(Inst::new(i)).iter().any(is))
        || out.edits.iter().any(|(_, Edit::Move { from, to })| is(from) || is(to))
}

struct Emit<'a> {
    f: &'a MachineFunction,
    level: Level,
    name: &'a str,
    encoder: Encoder,
    at: usize,
    starts: Vec<usize>,
    /// End of a jump and its block.
    jumps: Vec<(usize, usize)>,
    /// Place of a displacement, end of its instruction, offset in the pool.
    pooled: Vec<(usize, usize, usize)>,
    framed: bool,
    /// Where the frame's explicit blocks begin, above the spilled registers.
    blocks_at: u32,
    saved: Vec<usize>,
}

/// The register of a number in a class, as so wide.
fn register(reg: PReg, width: Width) -> Register {
    let n = reg.hw_enc() as u32;
    // Numbers of registers in the order of their encoding.
    let first = match width {
        Width::Byte if (4..8).contains(&n) => {
            return [Register::SPL, Register::BPL, Register::SIL, Register::DIL][n as usize - 4];
        }
        Width::Byte if n >= 8 => return Register::R8L + (n - 8),
        Width::Byte => Register::AL,
        Width::Word => Register::AX,
        Width::Dword => Register::EAX,
        Width::Qword => Register::RAX,
        Width::Xmm => Register::XMM0,
        Width::Ymm => Register::YMM0,
        Width::Zmm => Register::ZMM0,
        Width::Mask => Register::K0,
    };
    first + n
}

impl Emit<'_> {
    fn fail(&self, text: impl ToString) -> CodegenError {
        CodegenError::Emit { kernel: self.name.to_owned(), text: text.to_string() }
    }

    fn put(&mut self, inst: &Instruction) -> Result<(), CodegenError> {
        let len =
            self.encoder.encode(inst, self.at as u64).map_err(|e| self.fail(format!("{:?}: {e}", inst.code())))?;
        self.at += len;
        Ok(())
    }

    fn simple(&mut self, code: Code, regs: &[Register], imm: Option<i32>) -> Result<(), CodegenError> {
        let mut inst = Instruction::default();
        inst.set_code(code);
        for (k, &reg) in regs.iter().enumerate() {
            inst.set_op_kind(k as u32, OpKind::Register);
            inst.set_op_register(k as u32, reg);
        }
        if let Some(imm) = imm {
            inst.set_op_kind(regs.len() as u32, OpKind::Immediate32to64);
            inst.set_immediate32(imm as u32);
        }
        self.put(&inst)
    }

    /// A move between a register and a place in the frame or behind its pointer.
    fn slot(&mut self, code: Code, reg: Register, base: Register, disp: i64, store: bool) -> Result<(), CodegenError> {
        let mut inst = Instruction::default();
        inst.set_code(code);
        let (r, m) = if store { (1, 0) } else { (0, 1) };
        inst.set_op_kind(r, OpKind::Register);
        inst.set_op_register(r, reg);
        inst.set_op_kind(m, OpKind::Memory);
        inst.set_memory_base(base);
        inst.set_memory_displacement64(disp as u64);
        inst.set_memory_displ_size(1);
        self.put(&inst)
    }

    fn prologue(&mut self) -> Result<(), CodegenError> {
        if !self.framed && self.saved.is_empty() {
            return Ok(());
        }
        self.simple(Code::Push_r64, &[Register::RBP], None)?;
        self.simple(Code::Mov_r64_rm64, &[Register::RBP, Register::RSP], None)?;
        for reg in self.saved.clone() {
            self.simple(Code::Push_r64, &[Register::RAX + reg as u32], None)?;
        }
        if self.framed {
            let bytes = self.blocks_at + self.f.frame;
            self.simple(Code::Sub_rm64_imm32, &[Register::RSP], Some(bytes as i32))?;
            self.simple(Code::And_rm64_imm32, &[Register::RSP], Some(-(FRAME_ALIGN as i32)))?;
        }
        Ok(())
    }

    fn epilogue(&mut self) -> Result<(), CodegenError> {
        self.simple(Code::VEX_Vzeroupper, &[], None)?;
        if self.framed || !self.saved.is_empty() {
            let saved = -8 * self.saved.len() as i64;
            self.slot(Code::Lea_r64_m, Register::RSP, Register::RBP, saved, false)?;
            for reg in self.saved.clone().into_iter().rev() {
                self.simple(Code::Pop_r64, &[Register::RAX + reg as u32], None)?;
            }
            self.simple(Code::Pop_r64, &[Register::RBP], None)?;
        }
        self.simple(Code::Retnq, &[], None)
    }

    fn moved(&mut self, from: Allocation, to: Allocation) -> Result<(), CodegenError> {
        let class = from.as_reg().or(to.as_reg()).map_or(RegClass::Int, PReg::class);
        let zmm = self.level == Level::Avx512;
        let (width, load, store) = match class {
            RegClass::Int => (Width::Qword, Code::Mov_r64_rm64, Code::Mov_rm64_r64),
            RegClass::Float if zmm => {
                (Width::Zmm, Code::EVEX_Vmovaps_zmm_k1z_zmmm512, Code::EVEX_Vmovaps_zmmm512_k1z_zmm)
            }
            RegClass::Float => (Width::Ymm, Code::VEX_Vmovaps_ymm_ymmm256, Code::VEX_Vmovaps_ymmm256_ymm),
            RegClass::Vector => (Width::Mask, Code::VEX_Kmovq_kr_km64, Code::VEX_Kmovq_m64_kr),
        };
        match (from.kind(), to.kind()) {
            (AllocationKind::Reg, AllocationKind::Reg) => {
                let (from, to) = (from.as_reg(), to.as_reg());
                let (Some(from), Some(to)) = (from, to) else { return Err(self.fail("a move of nothing")) };
                self.simple(load, &[register(to, width), register(from, width)], None)
            }
            (AllocationKind::Stack, AllocationKind::Reg) => {
                let (Some(slot), Some(reg)) = (from.as_stack(), to.as_reg()) else {
                    return Err(self.fail("a move of nothing"));
                };
                self.slot(load, register(reg, width), Register::RSP, 8 * slot.index() as i64, false)
            }
            (AllocationKind::Reg, AllocationKind::Stack) => {
                let (Some(reg), Some(slot)) = (from.as_reg(), to.as_stack()) else {
                    return Err(self.fail("a move of nothing"));
                };
                self.slot(store, register(reg, width), Register::RSP, 8 * slot.index() as i64, true)
            }
            _ => Err(self.fail("a move between two places of the stack")),
        }
    }

    fn jump(&mut self, code: Code, block: usize) -> Result<(), CodegenError> {
        let inst = Instruction::with_branch(code, self.at as u64).map_err(|e| self.fail(e))?;
        self.put(&inst)?;
        self.jumps.push((self.at, block));
        Ok(())
    }

    fn inst(&mut self, block: usize, i: Inst, allocs: &[Allocation]) -> Result<(), CodegenError> {
        let m = &self.f.insts[i.index()];
        let succs = &self.f.blocks[block].succs;
        match m.flow {
            Flow::Return => self.epilogue(),
            Flow::Jump if succs[0].index() == block + 1 => Ok(()),
            Flow::Jump => self.jump(Code::Jmp_rel32_64, succs[0].index()),
            Flow::Branch => {
                self.jump(m.code, succs[0].index())?;
                match succs[1].index() {
                    next if next == block + 1 => Ok(()),
                    other => self.jump(Code::Jmp_rel32_64, other),
                }
            }
            Flow::Next if m.code == Code::INVALID => Ok(()),
            Flow::Next => {
                if m.code == Code::Call_rm64 {
                    self.simple(Code::VEX_Vzeroupper, &[], None)?;
                }
                self.plain(m, allocs)
            }
        }
    }

    fn plain(&mut self, m: &Mach, allocs: &[Allocation]) -> Result<(), CodegenError> {
        let reg = |at: u8, width: Width| -> Result<Register, CodegenError> {
            let reg = allocs.get(at as usize).and_then(|a| a.as_reg());
            Ok(register(reg.ok_or_else(|| self.fail("an operand has no register"))?, width))
        };
        let mut inst = Instruction::default();
        inst.set_code(m.code);
        let mut pooled = None;
        for (k, arg) in m.args.iter().enumerate() {
            let k = k as u32;
            match *arg {
                Arg::Reg(at, width) => {
                    inst.set_op_kind(k, OpKind::Register);
                    inst.set_op_register(k, reg(at, width)?);
                }
                Arg::Mem(base, disp) => {
                    inst.set_op_kind(k, OpKind::Memory);
                    inst.set_memory_base(reg(base, Width::Qword)?);
                    inst.set_memory_displacement64(i64::from(disp) as u64);
                    inst.set_memory_displ_size(1);
                }
                Arg::Indexed(base, index) => {
                    inst.set_op_kind(k, OpKind::Memory);
                    inst.set_memory_base(reg(base, Width::Qword)?);
                    inst.set_memory_index(reg(index, Width::Qword)?);
                    inst.set_memory_index_scale(1);
                    inst.set_memory_displ_size(1);
                }
                Arg::Pool(offset) => {
                    inst.set_op_kind(k, OpKind::Memory);
                    inst.set_memory_base(Register::RIP);
                    // Patched once the code has its length.
                    inst.set_memory_displacement64(self.at as u64);
                    inst.set_memory_displ_size(8);
                    pooled = Some(offset as usize);
                }
                Arg::Frame(offset) => {
                    inst.set_op_kind(k, OpKind::Memory);
                    inst.set_memory_base(Register::RSP);
                    inst.set_memory_displacement64(u64::from(self.blocks_at + offset));
                    inst.set_memory_displ_size(1);
                }
                Arg::Imm8(v) => {
                    inst.set_op_kind(k, OpKind::Immediate8);
                    inst.set_immediate8(v);
                }
                Arg::Imm32(v) => {
                    let wide = m.args.iter().any(|a| matches!(a, Arg::Reg(_, Width::Qword)));
                    inst.set_op_kind(k, if wide { OpKind::Immediate32to64 } else { OpKind::Immediate32 });
                    inst.set_immediate32(v as u32);
                }
                Arg::Imm64(v) => {
                    inst.set_op_kind(k, OpKind::Immediate64);
                    inst.set_immediate64(v);
                }
            }
        }
        if let Some(mask) = m.mask {
            inst.set_op_mask(reg(mask, Width::Mask)?);
            inst.set_zeroing_masking(m.zeroing);
        }
        let begin = self.at;
        self.put(&inst)?;
        if let Some(offset) = pooled {
            let at = begin + self.encoder.get_constant_offsets().displacement_offset();
            self.pooled.push((at, self.at, offset));
        }
        Ok(())
    }
}
