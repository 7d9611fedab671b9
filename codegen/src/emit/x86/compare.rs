//! Comparisons, and choices by them.

use iced_x86::Code::*;
use regalloc2::{RegClass, VReg};

use super::Level;
use super::codes::*;
use super::mir::{Arg, Mach, Place, Width};
use super::select::{Select, class, float_predicate};
use crate::builder::{CmpOp, Elem, Ty, Val};
use crate::error::CodegenError;

type Result<T> = std::result::Result<T, CodegenError>;

impl Select<'_> {
    pub(super) fn cmp(&mut self, op: CmpOp, a: Val, b: Val) -> Result<VReg> {
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

    pub(super) fn cmp_to_mask(&mut self, e: Elem, op: CmpOp, a: VReg, b: VReg) -> VReg {
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

    pub(super) fn cmp_lanes(&mut self, e: Elem, op: CmpOp, a: VReg, b: VReg) -> Result<VReg> {
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

    pub(super) fn select(&mut self, ty: Ty, cond: Val, a: Val, b: Val) -> Result<VReg> {
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
}
