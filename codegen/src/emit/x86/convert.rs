//! Conversions.

use iced_x86::Code::*;
use regalloc2::VReg;

use super::Level;
use super::mir::{Arg, Mach, Place, Width};
use super::select::{Select, is_float};
use crate::builder::{CmpOp, Cvt, Elem, Ty, Val};
use crate::error::CodegenError;

type Result<T> = std::result::Result<T, CodegenError>;

impl Select<'_> {
    pub(super) fn convert(&mut self, kind: Cvt, from: Ty, to: Ty, a: Val) -> Result<VReg> {
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

    pub(super) fn float_of_int(&mut self, from: Ty, to: Ty, v: VReg) -> Result<VReg> {
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
    pub(super) fn int_of_float(&mut self, from: Ty, to: Ty, v: VReg) -> Result<VReg> {
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
