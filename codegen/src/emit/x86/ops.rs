//! The operations, one by one.

use iced_x86::Code::{self, *};
use regalloc2::{PReg, RegClass, VReg};

use super::Level;
use super::mir::{Arg, Mach, Place, Width};
use super::select::{Select, class, float_predicate, is_float, rounding};
use crate::builder::{BinOp, CmpOp, Cvt, Elem, Op, Reduce, Ty, UnOp, Val};
use crate::error::CodegenError;

type Result<T> = std::result::Result<T, CodegenError>;

/// Codes of the two levels.
type Codes = (Code, Code);

const XOR: Codes = (VEX_Vxorps_ymm_ymm_ymmm256, EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32);
const AND: Codes = (VEX_Vandps_ymm_ymm_ymmm256, EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32);
const OR: Codes = (VEX_Vorps_ymm_ymm_ymmm256, EVEX_Vpord_zmm_k1z_zmm_zmmm512b32);
const MADD_PAIRS: Codes = (VEX_Vpmaddwd_ymm_ymm_ymmm256, EVEX_Vpmaddwd_zmm_k1z_zmm_zmmm512);

/// The code for vectors of an element; `INVALID` where there is none.
fn vector_code(op: BinOp, e: Elem) -> Option<Codes> {
    use BinOp as B;
    use Elem as E;
    let codes = match (op, e) {
        (B::Add, E::F32) => (VEX_Vaddps_ymm_ymm_ymmm256, EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er),
        (B::Add, E::F64) => (VEX_Vaddpd_ymm_ymm_ymmm256, EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er),
        (B::Add, E::I8) => (VEX_Vpaddb_ymm_ymm_ymmm256, EVEX_Vpaddb_zmm_k1z_zmm_zmmm512),
        (B::Add, E::I16) => (VEX_Vpaddw_ymm_ymm_ymmm256, EVEX_Vpaddw_zmm_k1z_zmm_zmmm512),
        (B::Add, E::I32) => (VEX_Vpaddd_ymm_ymm_ymmm256, EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32),
        (B::Add, E::I64) => (VEX_Vpaddq_ymm_ymm_ymmm256, EVEX_Vpaddq_zmm_k1z_zmm_zmmm512b64),
        (B::Sub, E::F32) => (VEX_Vsubps_ymm_ymm_ymmm256, EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er),
        (B::Sub, E::F64) => (VEX_Vsubpd_ymm_ymm_ymmm256, EVEX_Vsubpd_zmm_k1z_zmm_zmmm512b64_er),
        (B::Sub, E::I8) => (VEX_Vpsubb_ymm_ymm_ymmm256, EVEX_Vpsubb_zmm_k1z_zmm_zmmm512),
        (B::Sub, E::I16) => (VEX_Vpsubw_ymm_ymm_ymmm256, EVEX_Vpsubw_zmm_k1z_zmm_zmmm512),
        (B::Sub, E::I32) => (VEX_Vpsubd_ymm_ymm_ymmm256, EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32),
        (B::Sub, E::I64) => (VEX_Vpsubq_ymm_ymm_ymmm256, EVEX_Vpsubq_zmm_k1z_zmm_zmmm512b64),
        (B::Mul, E::F32) => (VEX_Vmulps_ymm_ymm_ymmm256, EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er),
        (B::Mul, E::F64) => (VEX_Vmulpd_ymm_ymm_ymmm256, EVEX_Vmulpd_zmm_k1z_zmm_zmmm512b64_er),
        (B::Mul, E::I16) => (VEX_Vpmullw_ymm_ymm_ymmm256, EVEX_Vpmullw_zmm_k1z_zmm_zmmm512),
        (B::Mul, E::I32) => (VEX_Vpmulld_ymm_ymm_ymmm256, EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32),
        (B::Mul, E::I64) => (INVALID, EVEX_Vpmullq_zmm_k1z_zmm_zmmm512b64),
        (B::Div, E::F32) => (VEX_Vdivps_ymm_ymm_ymmm256, EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er),
        (B::Div, E::F64) => (VEX_Vdivpd_ymm_ymm_ymmm256, EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er),
        (B::Min, E::F32) => (VEX_Vminps_ymm_ymm_ymmm256, EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae),
        (B::Min, E::F64) => (VEX_Vminpd_ymm_ymm_ymmm256, EVEX_Vminpd_zmm_k1z_zmm_zmmm512b64_sae),
        (B::Min, E::I8) => (VEX_Vpminsb_ymm_ymm_ymmm256, EVEX_Vpminsb_zmm_k1z_zmm_zmmm512),
        (B::Min, E::I16) => (VEX_Vpminsw_ymm_ymm_ymmm256, EVEX_Vpminsw_zmm_k1z_zmm_zmmm512),
        (B::Min, E::I32) => (VEX_Vpminsd_ymm_ymm_ymmm256, EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32),
        (B::Min, E::I64) => (INVALID, EVEX_Vpminsq_zmm_k1z_zmm_zmmm512b64),
        (B::Max, E::F32) => (VEX_Vmaxps_ymm_ymm_ymmm256, EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae),
        (B::Max, E::F64) => (VEX_Vmaxpd_ymm_ymm_ymmm256, EVEX_Vmaxpd_zmm_k1z_zmm_zmmm512b64_sae),
        (B::Max, E::I8) => (VEX_Vpmaxsb_ymm_ymm_ymmm256, EVEX_Vpmaxsb_zmm_k1z_zmm_zmmm512),
        (B::Max, E::I16) => (VEX_Vpmaxsw_ymm_ymm_ymmm256, EVEX_Vpmaxsw_zmm_k1z_zmm_zmmm512),
        (B::Max, E::I32) => (VEX_Vpmaxsd_ymm_ymm_ymmm256, EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32),
        (B::Max, E::I64) => (INVALID, EVEX_Vpmaxsq_zmm_k1z_zmm_zmmm512b64),
        (B::MinU, E::I8) => (VEX_Vpminub_ymm_ymm_ymmm256, EVEX_Vpminub_zmm_k1z_zmm_zmmm512),
        (B::MinU, E::I16) => (VEX_Vpminuw_ymm_ymm_ymmm256, EVEX_Vpminuw_zmm_k1z_zmm_zmmm512),
        (B::MinU, E::I32) => (VEX_Vpminud_ymm_ymm_ymmm256, EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32),
        (B::MinU, E::I64) => (INVALID, EVEX_Vpminuq_zmm_k1z_zmm_zmmm512b64),
        (B::MaxU, E::I8) => (VEX_Vpmaxub_ymm_ymm_ymmm256, EVEX_Vpmaxub_zmm_k1z_zmm_zmmm512),
        (B::MaxU, E::I16) => (VEX_Vpmaxuw_ymm_ymm_ymmm256, EVEX_Vpmaxuw_zmm_k1z_zmm_zmmm512),
        (B::MaxU, E::I32) => (VEX_Vpmaxud_ymm_ymm_ymmm256, EVEX_Vpmaxud_zmm_k1z_zmm_zmmm512b32),
        (B::MaxU, E::I64) => (INVALID, EVEX_Vpmaxuq_zmm_k1z_zmm_zmmm512b64),
        (B::And, e) if !e.is_float() => AND,
        (B::Or, e) if !e.is_float() => OR,
        (B::Xor, e) if !e.is_float() => XOR,
        _ => return None,
    };
    Some(codes)
}

/// Shifts of all lanes by a constant.
fn shift_by_constant(op: BinOp, e: Elem) -> Option<Codes> {
    Some(match (op, e) {
        (BinOp::Shl, Elem::I16) => (VEX_Vpsllw_ymm_ymm_imm8, EVEX_Vpsllw_zmm_k1z_zmmm512_imm8),
        (BinOp::Shl, Elem::I32) => (VEX_Vpslld_ymm_ymm_imm8, EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8),
        (BinOp::Shl, Elem::I64) => (VEX_Vpsllq_ymm_ymm_imm8, EVEX_Vpsllq_zmm_k1z_zmmm512b64_imm8),
        (BinOp::ShrS, Elem::I16) => (VEX_Vpsraw_ymm_ymm_imm8, EVEX_Vpsraw_zmm_k1z_zmmm512_imm8),
        (BinOp::ShrS, Elem::I32) => (VEX_Vpsrad_ymm_ymm_imm8, EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8),
        (BinOp::ShrS, Elem::I64) => (INVALID, EVEX_Vpsraq_zmm_k1z_zmmm512b64_imm8),
        (BinOp::ShrU, Elem::I16) => (VEX_Vpsrlw_ymm_ymm_imm8, EVEX_Vpsrlw_zmm_k1z_zmmm512_imm8),
        (BinOp::ShrU, Elem::I32) => (VEX_Vpsrld_ymm_ymm_imm8, EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8),
        (BinOp::ShrU, Elem::I64) => (VEX_Vpsrlq_ymm_ymm_imm8, EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8),
        _ => return None,
    })
}

/// Shifts of all lanes by the low 64 bits of a register.
fn shift_by_register(op: BinOp, e: Elem) -> Option<Codes> {
    Some(match (op, e) {
        (BinOp::Shl, Elem::I16) => (VEX_Vpsllw_ymm_ymm_xmmm128, EVEX_Vpsllw_zmm_k1z_zmm_xmmm128),
        (BinOp::Shl, Elem::I32) => (VEX_Vpslld_ymm_ymm_xmmm128, EVEX_Vpslld_zmm_k1z_zmm_xmmm128),
        (BinOp::Shl, Elem::I64) => (VEX_Vpsllq_ymm_ymm_xmmm128, EVEX_Vpsllq_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrS, Elem::I16) => (VEX_Vpsraw_ymm_ymm_xmmm128, EVEX_Vpsraw_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrS, Elem::I32) => (VEX_Vpsrad_ymm_ymm_xmmm128, EVEX_Vpsrad_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrS, Elem::I64) => (INVALID, EVEX_Vpsraq_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrU, Elem::I16) => (VEX_Vpsrlw_ymm_ymm_xmmm128, EVEX_Vpsrlw_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrU, Elem::I32) => (VEX_Vpsrld_ymm_ymm_xmmm128, EVEX_Vpsrld_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrU, Elem::I64) => (VEX_Vpsrlq_ymm_ymm_xmmm128, EVEX_Vpsrlq_zmm_k1z_zmm_xmmm128),
        _ => return None,
    })
}

/// Two-operand instructions on scalar floats.
fn scalar_code(op: BinOp, e: Elem) -> Option<Code> {
    Some(match (op, e) {
        (BinOp::Add, Elem::F32) => VEX_Vaddss_xmm_xmm_xmmm32,
        (BinOp::Add, _) => VEX_Vaddsd_xmm_xmm_xmmm64,
        (BinOp::Sub, Elem::F32) => VEX_Vsubss_xmm_xmm_xmmm32,
        (BinOp::Sub, _) => VEX_Vsubsd_xmm_xmm_xmmm64,
        (BinOp::Mul, Elem::F32) => VEX_Vmulss_xmm_xmm_xmmm32,
        (BinOp::Mul, _) => VEX_Vmulsd_xmm_xmm_xmmm64,
        (BinOp::Div, Elem::F32) => VEX_Vdivss_xmm_xmm_xmmm32,
        (BinOp::Div, _) => VEX_Vdivsd_xmm_xmm_xmmm64,
        (BinOp::Min, Elem::F32) => VEX_Vminss_xmm_xmm_xmmm32,
        (BinOp::Min, _) => VEX_Vminsd_xmm_xmm_xmmm64,
        (BinOp::Max, Elem::F32) => VEX_Vmaxss_xmm_xmm_xmmm32,
        (BinOp::Max, _) => VEX_Vmaxsd_xmm_xmm_xmmm64,
        _ => return None,
    })
}

/// The lanes' bytes of a mask by which the lanes in `at` are taken.
fn lane_mask(vector_bytes: usize, size: usize, at: impl Fn(usize) -> bool) -> Vec<u8> {
    (0..vector_bytes).map(|i| if at(i / size) { 0xff } else { 0 }).collect()
}

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
                let all = self.splat(e, s);
                let bytes = lane_mask(self.f.vector_bytes, e.size_bytes(), |l| l == *lane as usize);
                self.blend_constant(e, &bytes, all, v)
            }
            Op::Shuffle(a, b, idx) => self.shuffle(ty.elem().unwrap_or(Elem::I32), *a, *b, idx)?,
            Op::HReduce(op, v) => self.horizontal(*op, *v)?,
            Op::DotU8I8 { acc, a, b } => {
                let [acc, a, b] = [*acc, *a, *b].map(|v| self.get(v));
                self.dot_bytes(acc, a, b)
            }
            Op::DotI16 { acc, a, b } => {
                let [acc, a, b] = [*acc, *a, *b].map(|v| self.get(v));
                let sums = self.v2(MADD_PAIRS, a, b);
                self.add_i32(acc, sums)
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

    fn add_i32(&mut self, a: VReg, b: VReg) -> VReg {
        self.v2((VEX_Vpaddd_ymm_ymm_ymmm256, EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32), a, b)
    }

    /// Even and odd bytes as words, whose products are added in pairs: no sum saturates.
    fn dot_bytes(&mut self, acc: VReg, a: VReg, b: VReg) -> VReg {
        if self.level == Level::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni") {
            let r = self.float();
            let inst = Mach::new(EVEX_Vpdpbusd_zmm_k1z_zmm_zmmm512b32).modified(r, acc, Place::Any, Width::Zmm);
            self.push(inst.used(a, Place::Any, Width::Zmm).used(b, Place::Any, Width::Zmm));
            return r;
        }
        let left = (VEX_Vpsllw_ymm_ymm_imm8, EVEX_Vpsllw_zmm_k1z_zmmm512_imm8);
        let right = (VEX_Vpsraw_ymm_ymm_imm8, EVEX_Vpsraw_zmm_k1z_zmmm512_imm8);
        let right_unsigned = (VEX_Vpsrlw_ymm_ymm_imm8, EVEX_Vpsrlw_zmm_k1z_zmmm512_imm8);
        let a_even = self.v1_imm(left, a, 8);
        let a_even = self.v1_imm(right_unsigned, a_even, 8);
        let a_odd = self.v1_imm(right_unsigned, a, 8);
        let b_even = self.v1_imm(left, b, 8);
        let b_even = self.v1_imm(right, b_even, 8);
        let b_odd = self.v1_imm(right, b, 8);
        let even = self.v2(MADD_PAIRS, a_even, b_even);
        let odd = self.v2(MADD_PAIRS, a_odd, b_odd);
        let acc = self.add_i32(acc, even);
        self.add_i32(acc, odd)
    }

    fn mask_constant(&mut self, e: Elem, set: bool) -> VReg {
        match self.level {
            Level::Avx2 => self.vector(e, if set { u64::MAX } else { 0 }),
            Level::Avx512 => {
                let (bits, r) = (self.number(if set { -1 } else { 0 }), self.fresh(RegClass::Vector));
                let inst = Mach::new(VEX_Kmovq_kr_r64).def(r, Place::Any, Width::Mask);
                self.push(inst.used(bits, Place::Any, Width::Qword));
                r
            }
        }
    }

    fn scalar2(&mut self, code: Code, a: VReg, b: VReg) -> VReg {
        let r = self.float();
        let inst = Mach::new(code).def(r, Place::Low, Width::Xmm).used(a, Place::Low, Width::Xmm);
        self.push(inst.used(b, Place::Low, Width::Xmm));
        r
    }

    fn scalar2_imm(&mut self, code: Code, a: VReg, b: VReg, imm: u8) -> VReg {
        let r = self.float();
        let inst = Mach::new(code).def(r, Place::Low, Width::Xmm).used(a, Place::Low, Width::Xmm);
        self.push(inst.used(b, Place::Low, Width::Xmm).arg(Arg::Imm8(imm)));
        r
    }

    /// Bits of an element in the lowest lanes of a register.
    fn scalar_constant(&mut self, e: Elem, bits: u64) -> VReg {
        let bytes: Vec<u8> = bits.to_le_bytes()[..e.size_bytes()].iter().copied().cycle().take(16).collect();
        let (r, at) = (self.float(), self.constant(&bytes));
        self.push(Mach::new(VEX_Vmovups_xmm_xmmm128).def(r, Place::Low, Width::Xmm).arg(at));
        r
    }

    fn sign(e: Elem) -> u64 {
        1 << (8 * e.size_bytes() - 1)
    }

    fn un(&mut self, ty: Ty, op: UnOp, a: Val) -> Result<VReg> {
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

    fn un_scalar(&mut self, e: Elem, op: UnOp, v: VReg) -> Result<VReg> {
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

    fn un_vector(&mut self, e: Elem, op: UnOp, v: VReg) -> Result<VReg> {
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
    fn checked(&self, codes: Codes, what: &str, e: Elem) -> Result<()> {
        match self.pick(codes.0, codes.1) {
            INVALID => self.unsupported(&format!("{what} of V({e:?})")),
            _ => Ok(()),
        }
    }

    fn bin(&mut self, ty: Ty, op: BinOp, a: Val, b: Val) -> Result<VReg> {
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

    fn k2(&mut self, code: Code, a: VReg, b: VReg) -> VReg {
        let r = self.fresh(RegClass::Vector);
        let inst = Mach::new(code).def(r, Place::Any, Width::Mask).used(a, Place::Any, Width::Mask);
        self.push(inst.used(b, Place::Any, Width::Mask));
        r
    }

    fn bin_scalar(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
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

    fn bin_vector(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
        if matches!(op, BinOp::Shl | BinOp::ShrS | BinOp::ShrU) {
            return self.shift_vector(e, op, a, b);
        }
        let (a, b) = (self.get(a), self.get(b));
        self.bin_of(e, op, a, b)
    }

    fn shift_vector(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
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
    fn moved(&mut self, code: Code, v: VReg, width: Width) -> VReg {
        let r = self.float();
        self.push(Mach::new(code).def(r, Place::Low, Width::Xmm).used(v, Place::Any, width));
        r
    }

    fn bin_int(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
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
    fn division(&mut self, e: Elem, op: BinOp, a: Val, b: Val) -> Result<VReg> {
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

    fn fma(&mut self, ty: Ty, a: Val, b: Val, c: Val) -> Result<VReg> {
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

    fn cmp(&mut self, op: CmpOp, a: Val, b: Val) -> Result<VReg> {
        match self.ty(a) {
            Ty::S(e) if e.is_float() => {
                let (a, b) = (self.get(a), self.get(b));
                let code = if e == Elem::F32 { VEX_Vcmpss_xmm_xmm_xmmm32_imm8 } else { VEX_Vcmpsd_xmm_xmm_xmmm64_imm8 };
                let ones = self.scalar2_imm(code, a, b, float_predicate(op));
                let r = self.int();
                let inst = Mach::new(VEX_Vmovd_rm32_xmm).def(r, Place::Any, Width::Dword);
                self.push(inst.used(ones, Place::Low, Width::Xmm));
                Ok(self.r2_imm((And_rm32_imm32, INVALID), false, r, 1))
            }
            Ty::S(e) => {
                self.compare(e, a, b);
                Ok(self.flag(match op {
                    CmpOp::Eq => Sete_rm8,
                    CmpOp::Ne => Setne_rm8,
                    CmpOp::Lt => Setl_rm8,
                    CmpOp::Le => Setle_rm8,
                    CmpOp::Gt => Setg_rm8,
                    CmpOp::Ge => Setge_rm8,
                    CmpOp::LtU => Setb_rm8,
                    CmpOp::LeU => Setbe_rm8,
                }))
            }
            Ty::V(e) => {
                let (a, b) = (self.get(a), self.get(b));
                match self.level {
                    Level::Avx512 => Ok(self.cmp_to_mask(e, op, a, b)),
                    Level::Avx2 => self.cmp_lanes(e, op, a, b),
                }
            }
            other => self.unsupported(&format!("{op:?} of {other:?}")),
        }
    }

    fn cmp_to_mask(&mut self, e: Elem, op: CmpOp, a: VReg, b: VReg) -> VReg {
        let unsigned = matches!(op, CmpOp::LtU | CmpOp::LeU);
        let code = match (e, unsigned) {
            (Elem::F32, _) => EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae,
            (Elem::F64, _) => EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae,
            (Elem::I8, false) => EVEX_Vpcmpb_kr_k1_zmm_zmmm512_imm8,
            (Elem::I8, true) => EVEX_Vpcmpub_kr_k1_zmm_zmmm512_imm8,
            (Elem::I16, false) => EVEX_Vpcmpw_kr_k1_zmm_zmmm512_imm8,
            (Elem::I16, true) => EVEX_Vpcmpuw_kr_k1_zmm_zmmm512_imm8,
            (Elem::I32, false) => EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8,
            (Elem::I32, true) => EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8,
            (Elem::I64, false) => EVEX_Vpcmpq_kr_k1_zmm_zmmm512b64_imm8,
            (Elem::I64, true) => EVEX_Vpcmpuq_kr_k1_zmm_zmmm512b64_imm8,
        };
        let predicate = match op {
            _ if e.is_float() => float_predicate(op),
            CmpOp::Eq => 0,
            CmpOp::Lt | CmpOp::LtU => 1,
            CmpOp::Le | CmpOp::LeU => 2,
            CmpOp::Ne => 4,
            CmpOp::Ge => 5,
            CmpOp::Gt => 6,
        };
        let r = self.fresh(RegClass::Vector);
        let inst = Mach::new(code).def(r, Place::Any, Width::Mask).used(a, Place::Any, Width::Zmm);
        self.push(inst.used(b, Place::Any, Width::Zmm).arg(Arg::Imm8(predicate)));
        r
    }

    fn cmp_lanes(&mut self, e: Elem, op: CmpOp, a: VReg, b: VReg) -> Result<VReg> {
        if e.is_float() {
            let code = if e == Elem::F32 { VEX_Vcmpps_ymm_ymm_ymmm256_imm8 } else { VEX_Vcmppd_ymm_ymm_ymmm256_imm8 };
            return Ok(self.v2_imm(code, a, b, float_predicate(op)));
        }
        let (equal, greater) = match e {
            Elem::I8 => (VEX_Vpcmpeqb_ymm_ymm_ymmm256, VEX_Vpcmpgtb_ymm_ymm_ymmm256),
            Elem::I16 => (VEX_Vpcmpeqw_ymm_ymm_ymmm256, VEX_Vpcmpgtw_ymm_ymm_ymmm256),
            Elem::I32 => (VEX_Vpcmpeqd_ymm_ymm_ymmm256, VEX_Vpcmpgtd_ymm_ymm_ymmm256),
            _ => (VEX_Vpcmpeqq_ymm_ymm_ymmm256, VEX_Vpcmpgtq_ymm_ymm_ymmm256),
        };
        let (equal, greater) = ((equal, INVALID), (greater, INVALID));
        // Unsigned numbers compare as signed ones whose sign is flipped.
        let (a, b) = if matches!(op, CmpOp::LtU | CmpOp::LeU) {
            let sign = self.lanes(e, Self::sign(e));
            (self.v2_const(XOR, a, sign), self.v2_const(XOR, b, sign))
        } else {
            (a, b)
        };
        let (v, not) = match op {
            CmpOp::Eq => (self.v2(equal, a, b), false),
            CmpOp::Ne => (self.v2(equal, a, b), true),
            CmpOp::Gt => (self.v2(greater, a, b), false),
            CmpOp::Le | CmpOp::LeU => (self.v2(greater, a, b), true),
            CmpOp::Lt | CmpOp::LtU => (self.v2(greater, b, a), false),
            CmpOp::Ge => (self.v2(greater, b, a), true),
        };
        if !not {
            return Ok(v);
        }
        let ones = self.lanes(e, u64::MAX);
        Ok(self.v2_const(XOR, v, ones))
    }

    fn select(&mut self, ty: Ty, cond: Val, a: Val, b: Val) -> Result<VReg> {
        let by_lane = matches!(self.ty(cond), Ty::Mask(_));
        let [cond, a, b] = [cond, a, b].map(|v| self.get(v));
        if by_lane {
            return Ok(match (ty, self.level) {
                (Ty::Mask(_), Level::Avx512) => {
                    let (yes, no) = (self.k2(VEX_Kandq_kr_kr_kr, cond, a), self.k2(VEX_Kandnq_kr_kr_kr, cond, b));
                    self.k2(VEX_Korq_kr_kr_kr, yes, no)
                }
                _ => self.blend(ty.elem().unwrap_or(Elem::I32), cond, a, b),
            });
        }
        match class(ty, self.level) {
            RegClass::Int => {
                let test = Mach::new(Test_rm32_r32).used(cond, Place::Any, Width::Dword);
                self.push(test.used(cond, Place::Any, Width::Dword));
                Ok(self.choose(Cmovne_r64_rm64, a, b))
            }
            RegClass::Float => {
                let ones = self.neg(cond);
                match ty {
                    Ty::S(_) => {
                        let mask = self.moved(VEX_Vmovq_xmm_rm64, ones, Width::Qword);
                        let r = self.float();
                        let inst = Mach::new(VEX_Vblendvpd_xmm_xmm_xmmm128_xmm).def(r, Place::Low, Width::Xmm);
                        let inst = inst.used(b, Place::Low, Width::Xmm).used(a, Place::Low, Width::Xmm);
                        self.push(inst.used(mask, Place::Low, Width::Xmm));
                        Ok(r)
                    }
                    _ if self.level == Level::Avx2 => {
                        let mask = self.splat(Elem::I64, ones);
                        Ok(self.blend(Elem::I8, mask, a, b))
                    }
                    _ => {
                        let mask = self.fresh(RegClass::Vector);
                        let inst = Mach::new(VEX_Kmovq_kr_r64).def(mask, Place::Any, Width::Mask);
                        self.push(inst.used(ones, Place::Any, Width::Qword));
                        Ok(self.blend(Elem::I32, mask, a, b))
                    }
                }
            }
            RegClass::Vector => self.unsupported("a choice of masks by one truth value"),
        }
    }

    /// `mask ? a : b` by lanes of an element.
    fn blend(&mut self, e: Elem, mask: VReg, a: VReg, b: VReg) -> VReg {
        let (r, w) = (self.float(), self.wide());
        match self.level {
            Level::Avx2 => {
                let inst = Mach::new(VEX_Vpblendvb_ymm_ymm_ymmm256_ymm).def(r, Place::Any, w);
                let inst = inst.used(b, Place::Any, w).used(a, Place::Any, w).used(mask, Place::Any, w);
                self.push(inst);
            }
            Level::Avx512 => {
                let code = match e.size_bytes() {
                    1 => EVEX_Vpblendmb_zmm_k1z_zmm_zmmm512,
                    2 => EVEX_Vpblendmw_zmm_k1z_zmm_zmmm512,
                    4 => EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32,
                    _ => EVEX_Vblendmpd_zmm_k1z_zmm_zmmm512b64,
                };
                let inst = Mach::new(code).def(r, Place::Any, w).used(b, Place::Any, w).used(a, Place::Any, w);
                self.push(inst.masked(mask, false));
            }
        }
        r
    }

    /// `a` where the bytes are set, else `b`.
    fn blend_constant(&mut self, e: Elem, bytes: &[u8], a: VReg, b: VReg) -> VReg {
        let mask = match self.level {
            Level::Avx2 => self.vector_of(bytes),
            Level::Avx512 => {
                let size = e.size_bytes();
                let bits = bytes.iter().step_by(size).enumerate().fold(0u64, |m, (l, b)| m | u64::from(b & 1) << l);
                let (bits, r) = (self.number(bits as i64), self.fresh(RegClass::Vector));
                let inst = Mach::new(VEX_Kmovq_kr_r64).def(r, Place::Any, Width::Mask);
                self.push(inst.used(bits, Place::Any, Width::Qword));
                r
            }
        };
        self.blend(e, mask, a, b)
    }

    /// A scalar in all lanes.
    pub(super) fn splat(&mut self, e: Elem, a: VReg) -> VReg {
        let w = self.wide();
        let scalar = match e {
            Elem::F32 | Elem::F64 => a,
            Elem::I64 => self.moved(VEX_Vmovq_xmm_rm64, a, Width::Qword),
            _ => self.moved(VEX_Vmovd_xmm_rm32, a, Width::Dword),
        };
        let codes = match e {
            Elem::F32 => (VEX_Vbroadcastss_ymm_xmm, EVEX_Vbroadcastss_zmm_k1z_xmmm32),
            Elem::F64 => (VEX_Vbroadcastsd_ymm_xmm, EVEX_Vbroadcastsd_zmm_k1z_xmmm64),
            Elem::I8 => (VEX_Vpbroadcastb_ymm_xmmm8, EVEX_Vpbroadcastb_zmm_k1z_xmmm8),
            Elem::I16 => (VEX_Vpbroadcastw_ymm_xmmm16, EVEX_Vpbroadcastw_zmm_k1z_xmmm16),
            Elem::I32 => (VEX_Vpbroadcastd_ymm_xmmm32, EVEX_Vpbroadcastd_zmm_k1z_xmmm32),
            Elem::I64 => (VEX_Vpbroadcastq_ymm_xmmm64, EVEX_Vpbroadcastq_zmm_k1z_xmmm64),
        };
        let r = self.float();
        let inst = Mach::new(self.pick(codes.0, codes.1)).def(r, Place::Any, w);
        self.push(inst.used(scalar, Place::Any, Width::Xmm));
        r
    }

    /// 128 bits of a vector, in a low register.
    fn quarter(&mut self, v: VReg, at: u8) -> VReg {
        let r = self.float();
        let inst = match self.level {
            _ if at == 0 => {
                Mach::new(VEX_Vmovaps_xmm_xmmm128).def(r, Place::Low, Width::Xmm).used(v, Place::Low, Width::Xmm)
            }
            Level::Avx2 => {
                let inst = Mach::new(VEX_Vextractf128_xmmm128_ymm_imm8).def(r, Place::Low, Width::Xmm);
                inst.used(v, Place::Any, Width::Ymm).arg(Arg::Imm8(at))
            }
            Level::Avx512 => {
                let inst = Mach::new(EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8).def(r, Place::Low, Width::Xmm);
                inst.used(v, Place::Any, Width::Zmm).arg(Arg::Imm8(at))
            }
        };
        self.push(inst);
        r
    }

    fn extract(&mut self, e: Elem, v: VReg, lane: usize) -> VReg {
        let each = 16 / e.size_bytes();
        let part = self.quarter(v, (lane / each) as u8);
        let lane = (lane % each) as u8;
        if e.is_float() {
            if lane == 0 {
                return part;
            }
            let r = self.float();
            let code = if e == Elem::F32 { VEX_Vpermilps_xmm_xmmm128_imm8 } else { VEX_Vpermilpd_xmm_xmmm128_imm8 };
            let inst = Mach::new(code).def(r, Place::Low, Width::Xmm).used(part, Place::Low, Width::Xmm);
            self.push(inst.arg(Arg::Imm8(lane)));
            return r;
        }
        let (r, w) = (self.int(), if e == Elem::I64 { Width::Qword } else { Width::Dword });
        let code = match e {
            Elem::I8 => VEX_Vpextrb_r32m8_xmm_imm8,
            Elem::I16 => VEX_Vpextrw_r32_xmm_imm8,
            Elem::I32 => VEX_Vpextrd_rm32_xmm_imm8,
            _ => VEX_Vpextrq_rm64_xmm_imm8,
        };
        let inst = Mach::new(code).def(r, Place::Any, w).used(part, Place::Low, Width::Xmm);
        self.push(inst.arg(Arg::Imm8(lane)));
        r
    }

    fn shuffle(&mut self, e: Elem, a: Val, b: Val, idx: &[u8]) -> Result<VReg> {
        let (size, lanes) = (e.size_bytes(), idx.len());
        let (a, b) = (self.get(a), self.get(b));
        let w = self.wide();
        match (self.level, size) {
            (Level::Avx512, 2 | 4 | 8) => {
                let bytes: Vec<u8> = idx.iter().flat_map(|i| u64::from(*i).to_le_bytes()[..size].to_vec()).collect();
                let (order, r) = (self.vector_of(&bytes), self.float());
                let code = match size {
                    2 => EVEX_Vpermt2w_zmm_k1z_zmm_zmmm512,
                    4 => EVEX_Vpermt2ps_zmm_k1z_zmm_zmmm512b32,
                    _ => EVEX_Vpermt2pd_zmm_k1z_zmm_zmmm512b64,
                };
                let inst = Mach::new(code).modified(r, a, Place::Any, w).used(order, Place::Any, w);
                self.push(inst.used(b, Place::Any, w));
                Ok(r)
            }
            (Level::Avx2, 4 | 8) => {
                // In words of 32 bits, from one operand each, then by lanes.
                let words = size / 4;
                let word = |i: u8, k: usize| (usize::from(i) % lanes * words + k) as u32;
                let order = |i: &u8| (0..words).flat_map(|k| word(*i, k).to_le_bytes()).collect::<Vec<_>>();
                let bytes: Vec<u8> = idx.iter().flat_map(order).collect();
                let order = self.vector_of(&bytes);
                let from = |s: &mut Self, v| s.v2((VEX_Vpermps_ymm_ymm_ymmm256, INVALID), order, v);
                let of_b = |l: usize| usize::from(idx[l]) >= lanes;
                if (0..lanes).all(of_b) {
                    return Ok(from(self, b));
                }
                let first = from(self, a);
                if !(0..lanes).any(of_b) {
                    return Ok(first);
                }
                let second = from(self, b);
                let bytes = lane_mask(self.f.vector_bytes, size, of_b);
                Ok(self.blend_constant(e, &bytes, second, first))
            }
            _ => self.unsupported(&format!("a shuffle of V({e:?})")),
        }
    }

    /// Upper half onto lower half, until one lane is left; lanes that no longer count hold anything.
    fn horizontal(&mut self, op: Reduce, v: Val) -> Result<VReg> {
        let Ty::V(e) = self.ty(v) else { return self.unsupported("a reduction of what is no vector") };
        let single = e.size_bytes() == 4;
        let mut v = self.get(v);
        let mut bytes = self.f.vector_bytes;
        while bytes > e.size_bytes() {
            bytes /= 2;
            let upper = self.float();
            let (code, place, from, to, imm) = match bytes {
                32 => (EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8, Place::Any, Width::Zmm, Width::Ymm, 1),
                16 if self.level == Level::Avx512 => {
                    (EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8, Place::Any, Width::Zmm, Width::Xmm, 1)
                }
                16 => (VEX_Vextractf128_xmmm128_ymm_imm8, Place::Any, Width::Ymm, Width::Xmm, 1),
                8 if single => (VEX_Vpermilps_xmm_xmmm128_imm8, Place::Low, Width::Xmm, Width::Xmm, 0b1110),
                8 => (VEX_Vpermilpd_xmm_xmmm128_imm8, Place::Low, Width::Xmm, Width::Xmm, 1),
                _ => (VEX_Vpermilps_xmm_xmmm128_imm8, Place::Low, Width::Xmm, Width::Xmm, 1),
            };
            let inst = Mach::new(code).def(upper, place, to).used(v, place, from);
            self.push(inst.arg(Arg::Imm8(imm)));
            v = self.bin_of(e, op.bin(), v, upper)?;
        }
        if is_float(Ty::S(e)) {
            return Ok(self.quarter(v, 0));
        }
        Ok(self.extract(e, v, 0))
    }

    /// An operation on vectors in registers.
    fn bin_of(&mut self, e: Elem, op: BinOp, a: VReg, b: VReg) -> Result<VReg> {
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

    fn convert(&mut self, kind: Cvt, from: Ty, to: Ty, a: Val) -> Result<VReg> {
        let vectors = matches!(to, Ty::V(_));
        let v = self.get(a);
        match kind {
            Cvt::Bits => match (from, to) {
                (Ty::Mask(e), Ty::V(_)) if self.level == Level::Avx512 => {
                    let code = match e.size_bytes() {
                        1 => EVEX_Vpmovm2b_zmm_kr,
                        2 => EVEX_Vpmovm2w_zmm_kr,
                        4 => EVEX_Vpmovm2d_zmm_kr,
                        _ => EVEX_Vpmovm2q_zmm_kr,
                    };
                    let r = self.float();
                    self.push(Mach::new(code).def(r, Place::Any, Width::Zmm).used(v, Place::Any, Width::Mask));
                    Ok(r)
                }
                (Ty::S(f), Ty::S(t)) if f.is_float() != t.is_float() => Ok(match t {
                    Elem::F32 => self.moved(VEX_Vmovd_xmm_rm32, v, Width::Dword),
                    Elem::F64 => self.moved(VEX_Vmovq_xmm_rm64, v, Width::Qword),
                    t => {
                        let (code, w) = match t {
                            Elem::I64 => (VEX_Vmovq_rm64_xmm, Width::Qword),
                            _ => (VEX_Vmovd_rm32_xmm, Width::Dword),
                        };
                        let r = self.int();
                        self.push(Mach::new(code).def(r, Place::Any, w).used(v, Place::Low, Width::Xmm));
                        r
                    }
                }),
                _ => Ok(v),
            },
            Cvt::Truncate => Ok(v),
            Cvt::ZeroExtend | Cvt::SignExtend => {
                let signed = kind == Cvt::SignExtend;
                let (code, w, as_) = match (from, signed) {
                    (Ty::Bool, _) => return Ok(v),
                    (Ty::S(Elem::I8), true) => (Movsx_r64_rm8, Width::Qword, Width::Byte),
                    (Ty::S(Elem::I16), true) => (Movsx_r64_rm16, Width::Qword, Width::Word),
                    (_, true) => (Movsxd_r64_rm32, Width::Qword, Width::Dword),
                    (Ty::S(Elem::I8), false) => (Movzx_r32_rm8, Width::Dword, Width::Byte),
                    (Ty::S(Elem::I16), false) => (Movzx_r32_rm16, Width::Dword, Width::Word),
                    (_, false) => (Mov_r32_rm32, Width::Dword, Width::Dword),
                };
                let r = self.int();
                self.push(Mach::new(code).def(r, Place::Any, w).used(v, Place::Any, as_));
                Ok(r)
            }
            Cvt::Promote => Ok(self.scalar2(VEX_Vcvtss2sd_xmm_xmm_xmmm32, v, v)),
            Cvt::Demote => Ok(self.scalar2(VEX_Vcvtsd2ss_xmm_xmm_xmmm64, v, v)),
            Cvt::FromSint if vectors => {
                Ok(self.v1((VEX_Vcvtdq2ps_ymm_ymmm256, EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er), v))
            }
            Cvt::FromUint if vectors => {
                let codes = (INVALID, EVEX_Vcvtudq2ps_zmm_k1z_zmmm512b32_er);
                self.checked(codes, "FromUint", Elem::I32)?;
                Ok(self.v1(codes, v))
            }
            Cvt::FromSint => self.float_of_int(from, to, v),
            Cvt::FromUint => match from {
                Ty::S(Elem::I32) => {
                    let r = self.int();
                    self.push(Mach::new(Mov_r32_rm32).def(r, Place::Any, Width::Dword).used(
                        v,
                        Place::Any,
                        Width::Dword,
                    ));
                    self.float_of_int(Ty::S(Elem::I64), to, r)
                }
                _ => self.unsupported("an unsigned 64-bit number to a float"),
            },
            // Out of range the instruction gives the least number: above, its bits are flipped; of NaN none are left.
            Cvt::ToSintSat if vectors => {
                let whole = self.v1((VEX_Vcvttps2dq_ymm_ymmm256, EVEX_Vcvttps2dq_zmm_k1z_zmmm512b32_sae), v);
                let (most, limit) = (self.vector(Elem::I32, 0x7fff_ffff), self.vector(Elem::F32, 0x4f00_0000));
                let zero = self.vector(Elem::I32, 0);
                let (above, number) = match self.level {
                    Level::Avx512 => {
                        (self.cmp_to_mask(Elem::F32, CmpOp::Ge, v, limit), self.cmp_to_mask(Elem::F32, CmpOp::Eq, v, v))
                    }
                    Level::Avx2 => {
                        (self.cmp_lanes(Elem::F32, CmpOp::Ge, v, limit)?, self.cmp_lanes(Elem::F32, CmpOp::Eq, v, v)?)
                    }
                };
                let whole = self.blend(Elem::I32, above, most, whole);
                Ok(self.blend(Elem::I32, number, whole, zero))
            }
            // The greater of NaN and 0, as the instruction has it, is 0; above its range it gives the greatest number.
            Cvt::ToUintSat if vectors => {
                let codes = (INVALID, EVEX_Vcvttps2udq_zmm_k1z_zmmm512b32_sae);
                self.checked(codes, "ToUintSat", Elem::F32)?;
                let zero = self.vector(Elem::F32, 0);
                let v = self.v2((INVALID, EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae), v, zero);
                Ok(self.v1(codes, v))
            }
            Cvt::ToSintSat => self.int_of_float(from, to, v),
            Cvt::ToUintSat => self.unsupported(&format!("{kind:?} from {from:?} to {to:?}")),
            Cvt::WidenLow | Cvt::WidenHigh => {
                let (h, w) = (self.half(), self.wide());
                let half = if kind == Cvt::WidenLow {
                    v
                } else {
                    let code = self.pick(VEX_Vextractf128_xmmm128_ymm_imm8, EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8);
                    let r = self.float();
                    let inst = Mach::new(code).def(r, Place::Any, h).used(v, Place::Any, w);
                    self.push(inst.arg(Arg::Imm8(1)));
                    r
                };
                let code = if is_float(from) {
                    self.pick(VEX_Vcvtps2pd_ymm_xmmm128, EVEX_Vcvtps2pd_zmm_k1z_ymmm256b32_sae)
                } else {
                    self.pick(VEX_Vpmovsxdq_ymm_xmmm128, EVEX_Vpmovsxdq_zmm_k1z_ymmm256)
                };
                let r = self.float();
                self.push(Mach::new(code).def(r, Place::Any, w).used(half, Place::Any, h));
                Ok(r)
            }
        }
    }

    fn float_of_int(&mut self, from: Ty, to: Ty, v: VReg) -> Result<VReg> {
        let wide = from == Ty::S(Elem::I64);
        let code = match (to, wide) {
            (Ty::S(Elem::F32), false) => VEX_Vcvtsi2ss_xmm_xmm_rm32,
            (Ty::S(Elem::F32), true) => VEX_Vcvtsi2ss_xmm_xmm_rm64,
            (_, false) => VEX_Vcvtsi2sd_xmm_xmm_rm32,
            (_, true) => VEX_Vcvtsi2sd_xmm_xmm_rm64,
        };
        // The rest of the register comes from zeros, so that nothing waits for what it held.
        let zero = self.float();
        let inst = Mach::new(VEX_Vxorps_xmm_xmm_xmmm128).def(zero, Place::Low, Width::Xmm);
        self.push(inst.arg(Arg::Reg(0, Width::Xmm)).arg(Arg::Reg(0, Width::Xmm)));
        let r = self.float();
        let inst = Mach::new(code).def(r, Place::Low, Width::Xmm).used(zero, Place::Low, Width::Xmm);
        self.push(inst.used(v, Place::Any, if wide { Width::Qword } else { Width::Dword }));
        Ok(r)
    }

    /// As of vectors: out of range the instruction gives the least number.
    fn int_of_float(&mut self, from: Ty, to: Ty, v: VReg) -> Result<VReg> {
        let (single, wide) = (from == Ty::S(Elem::F32), to == Ty::S(Elem::I64));
        let e = if single { Elem::F32 } else { Elem::F64 };
        let (code, w) = match (single, wide) {
            (true, false) => (VEX_Vcvttss2si_r32_xmmm32, Width::Dword),
            (true, true) => (VEX_Vcvttss2si_r64_xmmm32, Width::Qword),
            (false, false) => (VEX_Vcvttsd2si_r32_xmmm64, Width::Dword),
            (false, true) => (VEX_Vcvttsd2si_r64_xmmm64, Width::Qword),
        };
        let whole = self.int();
        self.push(Mach::new(code).def(whole, Place::Any, w).used(v, Place::Low, Width::Xmm));
        let limit = match (single, wide) {
            (true, false) => u64::from((2f32.powi(31)).to_bits()),
            (true, true) => u64::from((2f32.powi(63)).to_bits()),
            (false, false) => 2f64.powi(31).to_bits(),
            (false, true) => 2f64.powi(63).to_bits(),
        };
        let limit = self.scalar_constant(e, limit);
        let compare = if single { VEX_Vcomiss_xmm_xmmm32 } else { VEX_Vcomisd_xmm_xmmm64 };
        let (most, zero) = (self.number(if wide { i64::MAX } else { i64::from(i32::MAX) }), self.number(0));
        let test = |s: &mut Self, a, b| {
            s.push(Mach::new(compare).used(a, Place::Low, Width::Xmm).used(b, Place::Low, Width::Xmm));
        };
        // NaN sets every flag, so "not below" is false of it.
        test(self, v, limit);
        let whole = self.choose(Cmovae_r64_rm64, most, whole);
        test(self, v, v);
        Ok(self.choose(Cmovp_r64_rm64, zero, whole))
    }
}
