//! Machine instructions over virtual registers, in blocks, as the register allocator reads them.
//!
//! Classes of registers: `Int` are the general ones, `Float` the vector registers, `Vector` the mask registers of AVX-512
//! (the allocator knows three classes; it is the number that counts).

use iced_x86::Code;
use regalloc2::{
    Block, Function, Inst, InstRange, Operand, OperandConstraint, OperandKind, OperandPos, PReg, PRegSet, RegClass,
    VReg,
};

/// Registers with numbers below this have encodings without AVX-512: scalars stay in them.
pub(super) const LOW: usize = 16;

/// One operand of an instruction, in the order of its encoding.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg {
    /// A register, by its place among the operands that are allocated, seen as so many bytes wide.
    Reg(u8, Width),
    /// `base + disp` bytes, base by its place.
    Mem(u8, i32),
    /// `base + index`, by their places.
    Indexed(u8, u8),
    /// A constant of the kernel's pool, by its offset.
    Pool(u32),
    /// A block of the stack frame, by its offset.
    Frame(u32),
    /// A number of 8 bits.
    Imm8(u8),
    /// A number of 32 bits, extended where the instruction is wider.
    Imm32(i32),
    /// A number of 64 bits.
    Imm64(u64),
}

/// As what a register is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Byte,
    Word,
    Dword,
    Qword,
    Xmm,
    Ymm,
    Zmm,
    Mask,
}

/// What an instruction does beside its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Falls through.
    Next,
    /// Jumps to the first successor.
    Jump,
    /// Jumps to the first successor by a condition of the instruction before, which has code [`Mach::code`], else to the second.
    Branch,
    /// Returns.
    Return,
}

/// A machine instruction.
#[derive(Clone, Debug)]
pub(super) struct Mach {
    pub code: Code,
    pub args: Vec<Arg>,
    pub operands: Vec<Operand>,
    /// The mask register that it writes by, by its place.
    pub mask: Option<u8>,
    /// Whether lanes that are masked out become 0.
    pub zeroing: bool,
    pub clobbers: PRegSet,
    pub flow: Flow,
}

/// Where a register operand must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Any,
    /// Below [`LOW`].
    Low,
    Fixed(PReg),
}

impl Mach {
    pub(super) fn new(code: Code) -> Mach {
        Mach {
            code,
            args: Vec::new(),
            operands: Vec::new(),
            mask: None,
            zeroing: false,
            clobbers: PRegSet::empty(),
            flow: Flow::Next,
        }
    }

    fn operand(&mut self, v: VReg, place: Place, kind: OperandKind, pos: OperandPos) -> u8 {
        let constraint = match place {
            Place::Any => OperandConstraint::Reg,
            Place::Low => OperandConstraint::Limit(LOW),
            Place::Fixed(reg) => OperandConstraint::FixedReg(reg),
        };
        self.operands.push(Operand::new(v, constraint, kind, pos));
        (self.operands.len() - 1) as u8
    }

    /// A result; it may share the register of an operand.
    pub(super) fn def(mut self, v: VReg, place: Place, width: Width) -> Mach {
        let at = self.operand(v, place, OperandKind::Def, OperandPos::Late);
        self.args.push(Arg::Reg(at, width));
        self
    }

    /// An operand.
    pub(super) fn used(mut self, v: VReg, place: Place, width: Width) -> Mach {
        let at = self.operand(v, place, OperandKind::Use, OperandPos::Early);
        self.args.push(Arg::Reg(at, width));
        self
    }

    /// One encoded operand that is read as `before` and left as `after`.
    pub(super) fn modified(mut self, after: VReg, before: VReg, place: Place, width: Width) -> Mach {
        let at = self.operand(before, place, OperandKind::Use, OperandPos::Early);
        let reuse = OperandConstraint::Reuse(at as usize);
        self.operands.push(Operand::new(after, reuse, OperandKind::Def, OperandPos::Late));
        self.args.push(Arg::Reg(at + 1, width));
        self
    }

    /// Memory at a register and an offset.
    pub(super) fn mem(mut self, base: VReg, disp: i32) -> Mach {
        let at = self.operand(base, Place::Any, OperandKind::Use, OperandPos::Early);
        self.args.push(Arg::Mem(at, disp));
        self
    }

    /// Memory at two registers.
    pub(super) fn indexed(mut self, base: VReg, index: VReg) -> Mach {
        let at = self.operand(base, Place::Any, OperandKind::Use, OperandPos::Early);
        let by = self.operand(index, Place::Any, OperandKind::Use, OperandPos::Early);
        self.args.push(Arg::Indexed(at, by));
        self
    }

    pub(super) fn arg(mut self, arg: Arg) -> Mach {
        self.args.push(arg);
        self
    }

    /// Writes by a mask.
    pub(super) fn masked(mut self, mask: VReg, zeroing: bool) -> Mach {
        self.mask = Some(self.operand(mask, Place::Any, OperandKind::Use, OperandPos::Early));
        self.zeroing = zeroing;
        self
    }

    /// A register that it reads without an encoding.
    pub(super) fn reads(mut self, v: VReg, place: Place) -> Mach {
        self.operand(v, place, OperandKind::Use, OperandPos::Early);
        self
    }

    /// A register that it writes without an encoding.
    pub(super) fn writes(mut self, v: VReg, place: Place) -> Mach {
        self.operand(v, place, OperandKind::Def, OperandPos::Late);
        self
    }

    pub(super) fn clobbers(mut self, regs: PRegSet) -> Mach {
        self.clobbers = regs;
        self
    }

    pub(super) fn flow(mut self, flow: Flow) -> Mach {
        self.flow = flow;
        self
    }
}

/// A row of instructions that is entered at its beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockData {
    pub first: usize,
    pub end: usize,
    pub params: Vec<VReg>,
    pub succs: Vec<Block>,
    pub preds: Vec<Block>,
    /// What is handed to the parameters of the only successor.
    pub handed: Vec<VReg>,
}

/// A function before its registers are allocated.
#[derive(Debug, Default)]
pub(super) struct MachineFunction {
    pub insts: Vec<Mach>,
    pub blocks: Vec<BlockData>,
    pub n_vregs: usize,
    /// Constants, 64 bytes aligned.
    pub pool: Vec<u8>,
    /// Bytes of the frame's explicit blocks.
    pub frame: u32,
    /// Bytes of a vector register.
    pub vector_bytes: usize,
    /// Whether a function is called.
    pub calls: bool,
}

impl Function for MachineFunction {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        let b = &self.blocks[block.index()];
        InstRange::new(Inst::new(b.first), Inst::new(b.end))
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.blocks[block.index()].succs
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.blocks[block.index()].preds
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.blocks[block.index()].params
    }

    fn is_ret(&self, insn: Inst) -> bool {
        self.insts[insn.index()].flow == Flow::Return
    }

    fn is_branch(&self, insn: Inst) -> bool {
        matches!(self.insts[insn.index()].flow, Flow::Jump | Flow::Branch)
    }

    fn branch_blockparams(&self, block: Block, insn: Inst, _: usize) -> &[VReg] {
        match self.insts[insn.index()].flow {
            Flow::Jump => &self.blocks[block.index()].handed,
            _ => &[],
        }
    }

    fn inst_operands(&self, insn: Inst) -> &[Operand] {
        &self.insts[insn.index()].operands
    }

    fn inst_clobbers(&self, insn: Inst) -> PRegSet {
        self.insts[insn.index()].clobbers
    }

    fn num_vregs(&self) -> usize {
        self.n_vregs
    }

    fn spillslot_size(&self, class: RegClass) -> usize {
        match class {
            RegClass::Float => self.vector_bytes / 8,
            RegClass::Int | RegClass::Vector => 1,
        }
    }
}
