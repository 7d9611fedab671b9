//! The operations, one by one.

use iced_x86::Code::{self, *};
use regalloc2::{PReg, RegClass, VReg};

use super::Level;
use super::codes::*;
use super::mir::{Arg, Mach, Place, Width};
use super::select::{Select, rounding};
use crate::builder::{BinOp, Elem, Op, Ty, UnOp, Val};
use crate::error::CodegenError;

type Result<T> = std::result::Result<T, CodegenError>;

impl Select<'_> {
    pub(super) fn op(&mut self, ty: Ty, op: &Op) -> Result<VReg> {
        Ok(match op {
            Op::Begin => self.args[1],
            Op::End => self.args[2],
            Op::Buf(n) => {
                let (r, table) = (self.int(), self.args[0]);
                self.push(Mach::new(Mov_r64_rm64).def(r, Place::Any, Width::Qword).mem(table, *n as i32 * 8));
                r
            }
            Op::Const(bits) => match ty {
                Ty::V(e) => self.vector(e, *bits),
                Ty::Mask(e) => self.mask_constant(e, *bits != 0),
                _ => return self.unsupported("a scalar constant here"),
            },
            Op::Un(op, a) => self.un(ty, *op, *a)?,
            Op::Bin(op, a, b) => self.bin(ty, *op, *a, *b)?,
            Op::Fma(a, b, c) => self.fma(ty, *a, *b, *c)?,
            Op::Cmp(op, a, b) => self.cmp(*op, *a, *b)?,
            Op::Select(cond, a, b) => self.select(ty, *cond, *a, *b)?,
            Op::Splat(a) => {
                let (e, a) = (ty.elem().unwrap_or(Elem::I32), self.get(*a));
                self.splat(e, a)
            }
            Op::Cvt(kind, a) => self.convert(*kind, self.ty(*a), ty, *a)?,
            Op::DemoteTwo(low, high) => {
                let (low, high) = (self.get(*low), self.get(*high));
                let [low, high] = [low, high].map(|v| {
                    let (r, w, h) = (self.float(), self.wide(), self.half());
                    let code = self.pick(VEX_Vcvtpd2ps_xmm_ymmm256, EVEX_Vcvtpd2ps_ymm_k1z_zmmm512b64_er);
                    self.push(Mach::new(code).def(r, Place::Any, h).used(v, Place::Any, w));
                    r
                });
                let (r, w, h) = (self.float(), self.wide(), self.half());
                let code = self.pick(VEX_Vinsertf128_ymm_ymm_xmmm128_imm8, EVEX_Vinsertf64x4_zmm_k1z_zmm_ymmm256_imm8);
                let inst = Mach::new(code).def(r, Place::Any, w).used(low, Place::Any, w).used(high, Place::Any, h);
                self.push(inst.arg(Arg::Imm8(1)));
                r
            }
            Op::Load { addr, off } => self.load(ty, *addr, *off)?,
            Op::LoadSplat { addr, off } => {
                let (r, w, addr) = (self.float(), self.wide(), self.get(*addr));
                let codes = match ty.elem().map_or(4, Elem::size_bytes) {
                    4 => (VEX_Vbroadcastss_ymm_m32, EVEX_Vbroadcastss_zmm_k1z_xmmm32),
                    8 => (VEX_Vbroadcastsd_ymm_m64, EVEX_Vbroadcastsd_zmm_k1z_xmmm64),
                    2 => (VEX_Vpbroadcastw_ymm_xmmm16, EVEX_Vpbroadcastw_zmm_k1z_xmmm16),
                    _ => (VEX_Vpbroadcastb_ymm_xmmm8, EVEX_Vpbroadcastb_zmm_k1z_xmmm8),
                };
                self.push(Mach::new(self.pick(codes.0, codes.1)).def(r, Place::Any, w).mem(addr, *off));
                r
            }
            Op::LoadN { addr, off, n } => self.load_n(ty.elem().unwrap_or(Elem::I32), *addr, *off, *n)?,
            Op::LoadWiden { from, signed, addr, off } => {
                let (r, w, addr) = (self.float(), self.wide(), self.get(*addr));
                let codes = match (from, signed) {
                    (Elem::I8, true) => (VEX_Vpmovsxbd_ymm_xmmm64, EVEX_Vpmovsxbd_zmm_k1z_xmmm128),
                    (Elem::I8, false) => (VEX_Vpmovzxbd_ymm_xmmm64, EVEX_Vpmovzxbd_zmm_k1z_xmmm128),
                    (_, true) => (VEX_Vpmovsxwd_ymm_xmmm128, EVEX_Vpmovsxwd_zmm_k1z_ymmm256),
                    (_, false) => (VEX_Vpmovzxwd_ymm_xmmm128, EVEX_Vpmovzxwd_zmm_k1z_ymmm256),
                };
                self.push(Mach::new(self.pick(codes.0, codes.1)).def(r, Place::Any, w).mem(addr, *off));
                r
            }
            Op::ExtractLane(v, lane) => {
                let (e, v) = (ty.elem().unwrap_or(Elem::I32), self.get(*v));
                self.extract(e, v, *lane as usize)
            }
            Op::InsertLane(v, lane, s) => {
                let e = ty.elem().unwrap_or(Elem::I32);
                let (v, s) = (self.get(*v), self.get(*s));
                self.insert(e, v, *lane as usize, s)
            }
            Op::Shuffle(a, b, idx) => self.shuffle(ty.elem().unwrap_or(Elem::I32), *a, *b, idx)?,
            Op::HReduce(op, v) => self.horizontal(*op, *v)?,
            Op::DotU8I8 { acc, a, b } => {
                let [acc, a, b] = [*acc, *a, *b].map(|v| self.get(v));
                self.dot_bytes(acc, a, b)
            }
            Op::DotI16 { acc, a, b } => {
                let [acc, a, b] = [*acc, *a, *b].map(|v| self.get(v));
                self.dot_words(acc, a, b)
            }
            Op::StackAddr { len_bytes } => {
                let at = self.f.frame.next_multiple_of(16);
                self.f.frame = at + len_bytes;
                let r = self.int();
                self.push(Mach::new(Lea_r64_m).def(r, Place::Any, Width::Qword).arg(Arg::Frame(at)));
                r
            }
        })
    }

    pub(super) fn scalar2(&mut self, code: Code, a: VReg, b: VReg) -> VReg {
        let r = self.float();
        let inst = Mach::new(code).def(r, Place::Low, Width::Xmm).used(a, Place::Low, Width::Xmm);
        self.push(inst.used(b, Place::Low, Width::Xmm));
        r
    }

    pub(super) fn scalar2_imm(&mut self, code: Code, a: VReg, b: VReg, imm: u8) -> VReg {
        let r = self.float();
        let inst = Mach::new(code).def(r, Place::Low, Width::Xmm).used(a, Place::Low, Width::Xmm);
        self.push(inst.used(b, Place::Low, Width::Xmm).arg(Arg::Imm8(imm)));
        r
    }

    /// Bits of an element in the lowest lanes of a register.
    pub(super) fn scalar_constant(&mut self, e: Elem, bits: u64) -> VReg {
        let bytes: Vec<u8> = bits.to_le_bytes()[..e.size_bytes()].iter().copied().cycle().take(16).collect();
        let (r, at) = (self.float(), self.constant(&bytes));
        self.push(Mach::new(VEX_Vmovups_xmm_xmmm128).def(r, Place::Low, Width::Xmm).arg(at));
        r
    }

    pub(super) fn sign(e: Elem) -> u64 {
        1 << (8 * e.size_bytes() - 1)
    }

    pub(super) fn un(&mut self, ty: Ty, op: UnOp, a: Val) -> Result<VReg> {
        let v = self.get(a);
        match ty {
            Ty::Bool => Ok(self.r2_imm((Xor_rm32_imm32, INVALID), false, v, 1)),
            Ty::Mask(e) => match self.level {
                Level::Avx512 => {
                    let r = self.fresh(RegClass::Vector);
                    self.push(Mach::new(VEX_Knotq_kr_kr).def(r, Place::Any, Width::Mask).used(
                        v,
                        Place::Any,
                        Width::Mask,
                    ));
                    Ok(r)
                }
                Level::Avx2 => {
                    let ones = self.lanes(e, u64::MAX);
                    Ok(self.v2_const(XOR, v, ones))
                }
            },
            Ty::S(e) if e.is_float() => self.un_scalar(e, op, v),
            Ty::S(e) => match op {
                UnOp::Neg => Ok(self.neg(v)),
                UnOp::Not => {
                    let r = self.int();
                    self.push(Mach::new(Not_rm64).modified(r, v, Place::Any, Width::Qword));
                    Ok(r)
                }
                UnOp::Abs if e.size_bytes() >= 4 => {
                    let wide = e == Elem::I64;
                    let sign = self.r2_imm8((Sar_rm32_imm8, Sar_rm64_imm8), wide, v, if wide { 63 } else { 31 });
                    let flipped = self.r2((Xor_r32_rm32, Xor_r64_rm64), wide, v, sign);
                    Ok(self.r2((Sub_r32_rm32, Sub_r64_rm64), wide, flipped, sign))
                }
                _ => self.unsupported(&format!("{op:?} of {ty:?}")),
            },
            Ty::V(e) => self.un_vector(e, op, v),
        }
    }

    pub(super) fn un_scalar(&mut self, e: Elem, op: UnOp, v: VReg) -> Result<VReg> {
        let single = e == Elem::F32;
        Ok(match op {
            UnOp::Neg => {
                let sign = self.scalar_constant(e, Self::sign(e));
                self.scalar2(VEX_Vxorps_xmm_xmm_xmmm128, v, sign)
            }
            UnOp::Abs => {
                let rest = self.scalar_constant(e, !Self::sign(e));
                self.scalar2(VEX_Vandps_xmm_xmm_xmmm128, v, rest)
            }
            UnOp::Sqrt => {
                let code = if single { VEX_Vsqrtss_xmm_xmm_xmmm32 } else { VEX_Vsqrtsd_xmm_xmm_xmmm64 };
                self.scalar2(code, v, v)
            }
            UnOp::Not => return self.unsupported("the complement of a float"),
            _ => {
                let code = if single { VEX_Vroundss_xmm_xmm_xmmm32_imm8 } else { VEX_Vroundsd_xmm_xmm_xmmm64_imm8 };
                self.scalar2_imm(code, v, v, rounding(op))
            }
        })
    }

    pub(super) fn un_vector(&mut self, e: Elem, op: UnOp, v: VReg) -> Result<VReg> {
        let single = e == Elem::F32;
        Ok(match op {
            UnOp::Neg if e.is_float() => {
                let sign = self.lanes(e, Self::sign(e));
                self.v2_const(XOR, v, sign)
            }
            UnOp::Neg => {
                let zero = self.vector(e, 0);
                let Some(codes) = vector_code(BinOp::Sub, e) else { return self.unsupported("a difference") };
                self.v2(codes, zero, v)
            }
            UnOp::Abs if e.is_float() => {
                let rest = self.lanes(e, !Self::sign(e));
                self.v2_const(AND, v, rest)
            }
            UnOp::Abs => {
                let codes = match e {
                    Elem::I8 => (VEX_Vpabsb_ymm_ymmm256, EVEX_Vpabsb_zmm_k1z_zmmm512),
                    Elem::I16 => (VEX_Vpabsw_ymm_ymmm256, EVEX_Vpabsw_zmm_k1z_zmmm512),
                    Elem::I32 => (VEX_Vpabsd_ymm_ymmm256, EVEX_Vpabsd_zmm_k1z_zmmm512b32),
                    _ => (INVALID, EVEX_Vpabsq_zmm_k1z_zmmm512b64),
                };
                self.checked(codes, "Abs", e)?;
                self.v1(codes, v)
            }
            UnOp::Not => {
                let ones = self.lanes(e, u64::MAX);
                self.v2_const(XOR, v, ones)
            }
            UnOp::Sqrt if single => self.v1((VEX_Vsqrtps_ymm_ymmm256, EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er), v),
            UnOp::Sqrt => self.v1((VEX_Vsqrtpd_ymm_ymmm256, EVEX_Vsqrtpd_zmm_k1z_zmmm512b64_er), v),
            _ if single => {
                let codes = (VEX_Vroundps_ymm_ymmm256_imm8, EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae);
                self.v1_imm(codes, v, rounding(op))
            }
            _ => {
                let codes = (VEX_Vroundpd_ymm_ymmm256_imm8, EVEX_Vrndscalepd_zmm_k1z_zmmm512b64_imm8_sae);
                self.v1_imm(codes, v, rounding(op))
            }
        })
    }

    /// Refuses what the level has no instruction for.
    pub(super) fn checked(&self, codes: Codes, what: &str, e: Elem) -> Result<()> {
        match self.pick(codes.0, codes.1) {
            INVALID => self.unsupported(&format!("{what} of V({e:?})")),
            _ => Ok(()),
        }
    }

    pub(super) fn bin(&mut self, ty: Ty, op: BinOp, a: Val, b: Val) -> Result<VReg> {
        match ty {
            Ty::S(e) if e.is_float() => self.bin_scalar(e, op, a, b),
            Ty::S(e) => self.bin_int(e, op, a, b),
            Ty::Bool => {
                let (a, b) = (self.get(a), self.get(b));
                let code = match op {
                    BinOp::And => And_r32_rm32,
                    BinOp::Or => Or_r32_rm32,
                    _ => Xor_r32_rm32,
                };
                Ok(self.r2((code, INVALID), false, a, b))
            }
            Ty::Mask(_) => {
                let (a, b) = (self.get(a), self.get(b));
                let (vector, mask) = match op {
                    BinOp::And => (AND, VEX_Kandq_kr_kr_kr),
                    BinOp::Or => (OR, VEX_Korq_kr_kr_kr),
                    _ => (XOR, VEX_Kxorq_kr_kr_kr),
                };
                Ok(match self.level {
                    Level::Avx2 => self.v2(vector, a, b),
                    Level::Avx512 => self.k2(mask, a, b),
                })
            }
            Ty::V(e) => self.bin_vector(e, op, a, b),
        }
    }

    pub(super) fn k2(&mut self, code: Code, a: VReg, b: VReg) -> VReg {
        let r = self.fresh(RegClass::Vector);
        let inst = Mach::new(code).def(r, Place::Any, Width::Mask).used(a, Place::Any, Width::Mask);
        self.push(inst.used(b, Place::Any, Width::Mask));
        r
    }

    pub(super) fn bin_scalar(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
        let (a, b) = (self.get(a), self.get(b));
        if let Some(code) = scalar_code(op, e) {
            return Ok(self.scalar2(code, a, b));
        }
        let single = e == Elem::F32;
        let (min, max, sub) = if single {
            (VEX_Vminss_xmm_xmm_xmmm32, VEX_Vmaxss_xmm_xmm_xmmm32, VEX_Vsubss_xmm_xmm_xmmm32)
        } else {
            (VEX_Vminsd_xmm_xmm_xmmm64, VEX_Vmaxsd_xmm_xmm_xmmm64, VEX_Vsubsd_xmm_xmm_xmmm64)
        };
        match op {
            BinOp::MinNan => {
                let (x, y) = (self.scalar2(min, a, b), self.scalar2(min, b, a));
                Ok(self.scalar2(VEX_Vorps_xmm_xmm_xmmm128, x, y))
            }
            BinOp::MaxNan => {
                let (x, y) = (self.scalar2(max, a, b), self.scalar2(max, b, a));
                let differ = self.scalar2(VEX_Vxorps_xmm_xmm_xmmm128, x, y);
                let either = self.scalar2(VEX_Vorps_xmm_xmm_xmmm128, x, y);
                Ok(self.scalar2(sub, either, differ))
            }
            _ => self.unsupported(&format!("{op:?} of S({e:?})")),
        }
    }

    pub(super) fn bin_vector(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
        if matches!(op, BinOp::Shl | BinOp::ShrS | BinOp::ShrU) {
            return self.shift_vector(e, op, a, b);
        }
        let (a, b) = (self.get(a), self.get(b));
        self.bin_of(e, op, a, b)
    }

    pub(super) fn shift_vector(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
        let bits = 8 * e.size_bytes() as i64;
        if let Some(k) = self.known(b) {
            let Some(codes) = shift_by_constant(op, e) else { return self.unsupported(&format!("{op:?} of V({e:?})")) };
            self.checked(codes, &format!("{op:?}"), e)?;
            let a = self.get(a);
            return Ok(self.v1_imm(codes, a, (k & (bits - 1)) as u8));
        }
        let Some(codes) = shift_by_register(op, e) else { return self.unsupported(&format!("{op:?} of V({e:?})")) };
        self.checked(codes, &format!("{op:?}"), e)?;
        let (a, b) = (self.get(a), self.get(b));
        let count = self.r2_imm((And_rm32_imm32, INVALID), false, b, bits as i32 - 1);
        let count = self.moved(VEX_Vmovd_xmm_rm32, count, Width::Dword);
        let (r, w) = (self.float(), self.wide());
        let inst = Mach::new(self.pick(codes.0, codes.1)).def(r, Place::Any, w).used(a, Place::Any, w);
        self.push(inst.used(count, Place::Any, Width::Xmm));
        Ok(r)
    }

    /// A general register's bits in a vector register.
    pub(super) fn moved(&mut self, code: Code, v: VReg, width: Width) -> VReg {
        let r = self.float();
        self.push(Mach::new(code).def(r, Place::Low, Width::Xmm).used(v, Place::Any, width));
        r
    }

    pub(super) fn bin_int(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
        use BinOp as B;
        let wide = e == Elem::I64;
        let small = self.known(b).and_then(|k| i32::try_from(k).ok());
        match op {
            B::Add | B::Sub | B::Mul | B::And | B::Or | B::Xor => {
                if let (Some(k), true) = (small, matches!(op, B::Add | B::Sub | B::Mul)) {
                    let (v, r, w) = (self.get(a), self.int(), if wide { Width::Qword } else { Width::Dword });
                    match op {
                        B::Mul => {
                            let code = if wide { Imul_r64_rm64_imm32 } else { Imul_r32_rm32_imm32 };
                            let inst = Mach::new(code).def(r, Place::Any, w).used(v, Place::Any, w);
                            self.push(inst.arg(Arg::Imm32(k)));
                            return Ok(r);
                        }
                        B::Sub if k == i32::MIN => {}
                        _ => {
                            let k = if op == B::Sub { -k } else { k };
                            self.push(Mach::new(Lea_r64_m).def(r, Place::Any, Width::Qword).mem(v, k));
                            return Ok(r);
                        }
                    }
                }
                let (a, b) = (self.get(a), self.get(b));
                if op == B::Add {
                    let r = self.int();
                    self.push(Mach::new(Lea_r64_m).def(r, Place::Any, Width::Qword).indexed(a, b));
                    return Ok(r);
                }
                let codes = match op {
                    B::Sub => (Sub_r32_rm32, Sub_r64_rm64),
                    B::Mul => (Imul_r32_rm32, Imul_r64_rm64),
                    B::And => (And_r32_rm32, And_r64_rm64),
                    B::Or => (Or_r32_rm32, Or_r64_rm64),
                    _ => (Xor_r32_rm32, Xor_r64_rm64),
                };
                Ok(self.r2(codes, wide, a, b))
            }
            B::Min | B::Max | B::MinU | B::MaxU => {
                self.compare(e, a, b);
                let code = match op {
                    B::Min => Cmovl_r64_rm64,
                    B::Max => Cmovg_r64_rm64,
                    B::MinU => Cmovb_r64_rm64,
                    _ => Cmova_r64_rm64,
                };
                // Constants are made by moves, which leave the flags.
                let (a, b) = (self.get(a), self.get(b));
                Ok(self.choose(code, a, b))
            }
            B::Shl | B::ShrS | B::ShrU => {
                if e.size_bytes() < 4 {
                    return self.unsupported(&format!("{op:?} of S({e:?})"));
                }
                let v = self.get(a);
                if let Some(k) = self.known(b) {
                    let codes = match op {
                        B::Shl => (Shl_rm32_imm8, Shl_rm64_imm8),
                        B::ShrS => (Sar_rm32_imm8, Sar_rm64_imm8),
                        _ => (Shr_rm32_imm8, Shr_rm64_imm8),
                    };
                    return Ok(self.r2_imm8(codes, wide, v, (k & if wide { 63 } else { 31 }) as u8));
                }
                let (r, count) = (self.int(), self.get(b));
                let (code, w) = match (op, wide) {
                    (B::Shl, false) => (VEX_Shlx_r32_rm32_r32, Width::Dword),
                    (B::Shl, true) => (VEX_Shlx_r64_rm64_r64, Width::Qword),
                    (B::ShrS, false) => (VEX_Sarx_r32_rm32_r32, Width::Dword),
                    (B::ShrS, true) => (VEX_Sarx_r64_rm64_r64, Width::Qword),
                    (_, false) => (VEX_Shrx_r32_rm32_r32, Width::Dword),
                    (_, true) => (VEX_Shrx_r64_rm64_r64, Width::Qword),
                };
                let inst = Mach::new(code).def(r, Place::Any, w).used(v, Place::Any, w);
                self.push(inst.used(count, Place::Any, w));
                Ok(r)
            }
            B::Div | B::Rem | B::DivU | B::RemU => self.division(e, op, a, b),
            B::MinNan | B::MaxNan => self.unsupported(&format!("{op:?} of S({e:?})")),
        }
    }

    /// Division that never traps: a zero divisor gives 0, the least number by -1 wraps.
    pub(super) fn division(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
        if e.size_bytes() < 4 {
            return self.unsupported(&format!("{op:?} of S({e:?})"));
        }
        let (wide, known) = (e == Elem::I64, self.known(b));
        let (a, b) = (self.get(a), self.get(b));
        let w = if wide { Width::Qword } else { Width::Dword };
        let (rax, rdx) = (PReg::new(0, RegClass::Int), PReg::new(2, RegClass::Int));
        let signed = matches!(op, BinOp::Div | BinOp::Rem);
        let divide = |s: &mut Self, divisor: VReg| {
            let (high, quotient, rest) = (s.int(), s.int(), s.int());
            let extend = match (signed, wide) {
                (true, true) => Mach::new(Cqo).reads(a, Place::Fixed(rax)).writes(high, Place::Fixed(rdx)),
                (true, false) => Mach::new(Cdq).reads(a, Place::Fixed(rax)).writes(high, Place::Fixed(rdx)),
                (false, _) => {
                    let inst = Mach::new(Xor_r32_rm32).def(high, Place::Any, Width::Dword);
                    inst.arg(Arg::Reg(0, Width::Dword))
                }
            };
            s.push(extend);
            let code = match (signed, wide) {
                (true, true) => Idiv_rm64,
                (true, false) => Idiv_rm32,
                (false, true) => Div_rm64,
                (false, false) => Div_rm32,
            };
            let inst = Mach::new(code).used(divisor, Place::Any, w).reads(a, Place::Fixed(rax));
            let inst = inst.reads(high, Place::Fixed(rdx));
            s.push(inst.writes(quotient, Place::Fixed(rax)).writes(rest, Place::Fixed(rdx)));
            if matches!(op, BinOp::Div | BinOp::DivU) { quotient } else { rest }
        };
        if known.is_some_and(|k| k != 0 && (k != -1 || !signed)) {
            return Ok(divide(self, b));
        }
        let test = |s: &mut Self, k: i32| {
            let code = if wide { Cmp_rm64_imm32 } else { Cmp_rm32_imm32 };
            s.push(Mach::new(code).used(b, Place::Any, w).arg(Arg::Imm32(k)));
        };
        let (one, zero) = (self.number(1), self.number(0));
        test(self, 0);
        let mut divisor = self.choose(Cmove_r64_rm64, one, b);
        if signed {
            test(self, -1);
            divisor = self.choose(Cmove_r64_rm64, one, divisor);
        }
        let mut result = divide(self, divisor);
        if signed {
            let special = if op == BinOp::Div { self.neg(a) } else { zero };
            test(self, -1);
            result = self.choose(Cmove_r64_rm64, special, result);
        }
        test(self, 0);
        Ok(self.choose(Cmove_r64_rm64, zero, result))
    }

    pub(super) fn fma(&mut self, ty: Ty, a: Val, b: Val, c: Val) -> Result<VReg> {
        let [a, b, c] = [a, b, c].map(|v| self.get(v));
        let r = self.float();
        let single = ty.elem() == Some(Elem::F32);
        let (code, place, w) = match ty {
            Ty::V(_) if single => (
                self.pick(VEX_Vfmadd231ps_ymm_ymm_ymmm256, EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er),
                Place::Any,
                self.wide(),
            ),
            Ty::V(_) => (
                self.pick(VEX_Vfmadd231pd_ymm_ymm_ymmm256, EVEX_Vfmadd231pd_zmm_k1z_zmm_zmmm512b64_er),
                Place::Any,
                self.wide(),
            ),
            _ if single => (VEX_Vfmadd231ss_xmm_xmm_xmmm32, Place::Low, Width::Xmm),
            _ => (VEX_Vfmadd231sd_xmm_xmm_xmmm64, Place::Low, Width::Xmm),
        };
        let inst = Mach::new(code).modified(r, c, place, w).used(a, place, w).used(b, place, w);
        self.push(inst);
        Ok(r)
    }

    /// An operation on vectors in registers.
    pub(super) fn bin_of(&mut self, e: Elem, op: BinOp, a: VReg, b: VReg) -> Result<VReg> {
        if let Some(codes) = vector_code(op, e) {
            self.checked(codes, &format!("{op:?}"), e)?;
            return Ok(self.v2(codes, a, b));
        }
        let code = |op| vector_code(op, e).unwrap_or((INVALID, INVALID));
        match op {
            BinOp::MinNan if e.is_float() => {
                let (x, y) = (self.v2(code(BinOp::Min), a, b), self.v2(code(BinOp::Min), b, a));
                Ok(self.v2(OR, x, y))
            }
            // Of zeros that differ the bits of either are -0, and -0 less -0 is 0; of equal ones it is that; NaN stays.
            BinOp::MaxNan if e.is_float() => {
                let (x, y) = (self.v2(code(BinOp::Max), a, b), self.v2(code(BinOp::Max), b, a));
                let (differ, either) = (self.v2(XOR, x, y), self.v2(OR, x, y));
                Ok(self.v2(code(BinOp::Sub), either, differ))
            }
            _ => self.unsupported(&format!("{op:?} of V({e:?})")),
        }
    }
}
